"""A command line as words, and the output filters behind it."""

from collections.abc import Iterator
from typing import Final

from l2tpns_core.cli.errors import CommandError
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.quoting import split_words

MAX_LINE_CHARS: Final = 4096
MAX_WORDS: Final = 256


def split_line(line: str) -> tuple[list[str], list[list[str]]]:
    """The words of a command line and those of each output filter behind a `|`.

    Raises CommandError.
    """
    if len(line) > MAX_LINE_CHARS:
        raise CommandError(f"The line is longer than {MAX_LINE_CHARS} characters")
    try:
        command, *filters = [split_words(part) for part in _split_filters(line)]
    except ConfigError as error:
        raise CommandError(str(error)) from None
    if len(command) > MAX_WORDS:
        raise CommandError(f"The line has more than {MAX_WORDS} words")
    return command, filters


def _split_filters(line: str) -> Iterator[str]:
    """The parts of a line between those `|` that are not in quotes."""
    quote_mark, start = "", 0
    for position, char in enumerate(line):
        if quote_mark:
            if char == quote_mark:
                quote_mark = ""
        elif char in "\"'":
            quote_mark = char
        elif char == "|":
            yield line[start:position]
            start = position + 1
    yield line[start:]


def split_last(line: str) -> tuple[list[str], str]:
    """The complete words of a line, and the one that is still being typed (may be empty)."""
    last = "" if not line or line[-1].isspace() else line.split()[-1]
    try:
        words = split_words(line[: len(line) - len(last)])
    except ConfigError:
        return [], line
    return words, last


def in_quotes(line: str) -> bool:
    """Whether the end of a line is inside quotes."""
    quote_mark = ""
    for char in line:
        if quote_mark:
            quote_mark = "" if char == quote_mark else quote_mark
        elif char in "\"'":
            quote_mark = char
    return bool(quote_mark)
