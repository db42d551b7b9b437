"""Names that strangers chose, made fit for a log line or a terminal.

User names, calling numbers and host names come from the net. Nothing in them may end a line, move a
cursor, or pass for another column.
"""

import re
from typing import Final

FORGING: Final = re.compile(r"[\s\[\]\\]")
"""What a name may not contain where it stands between other fields."""


def printable(text: str) -> str:
    r"""The text with everything that does not print written as \xNN, one per UTF-8 byte."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def token(text: str) -> str:
    r"""The text as one word: like printable(), with blanks, brackets and \ written as \xNN too."""
    if text.isprintable() and not FORGING.search(text):
        return text
    return "".join(
        _escape(char) if FORGING.match(char) or not char.isprintable() else char for char in text
    )


def _escape(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))
