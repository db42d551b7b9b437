"""Words and quotes, in the startup-config and on the command line (manual, "startup-config").

Blanks separate words. Text in " or ' is taken as it is; there is no escape character, so a value
that contains both quotes is written as adjacent pieces: "it's "'"so"'.
"""

from typing import Final

from l2tpns_core.config.errors import ConfigError

QUOTES: Final = "\"'"


def split_words(line: str, *, comments: bool = False) -> list[str]:
    """The words of a line, without their quotes.

    With `comments`, a `#` outside quotes ends the line. Raises ConfigError for a quote that is not
    closed and for a `#` in the middle of a word, where a comment cannot be told from a value.
    """
    words: list[str] = []
    word: list[str] | None = None
    quote_mark = ""
    for char in line:
        if quote_mark:
            if char == quote_mark:
                quote_mark = ""
            elif word is not None:
                word.append(char)
        elif char in QUOTES:
            quote_mark = char
            word = [] if word is None else word
        elif char.isspace():
            if word is not None:
                words.append("".join(word))
            word = None
        elif char == "#" and comments:
            if word is not None:
                raise ConfigError("a value that contains # must be quoted")
            break
        else:
            word = [] if word is None else word
            word.append(char)
    if quote_mark:
        raise ConfigError(f"a quotation mark ({quote_mark}) is not closed")
    if word is not None:
        words.append("".join(word))
    return words


def comment_at(line: str) -> int | None:
    """Where the comment at the end of a line begins; None when there is none."""
    quote_mark = ""
    for index, char in enumerate(line):
        if quote_mark:
            quote_mark = "" if char == quote_mark else quote_mark
        elif char in QUOTES:
            quote_mark = char
        elif char == "#":
            return index
    return None


def quote(text: str) -> str:
    """The text in quotes, so that split_words() gives it back."""
    if '"' not in text:
        return f'"{text}"'
    if "'" not in text:
        return f"'{text}'"
    return "'\"'".join(f'"{piece}"' for piece in text.split('"'))
