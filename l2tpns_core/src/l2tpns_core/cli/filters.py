"""Output filters behind a `|`: begin, include, exclude, grep, count.

They look at one line at a time and do no more than find text in it, so that a filter costs a
listing no more than its length. `grep` takes -i (upper and lower case are the same) and -v (lines
that do not have the text).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from l2tpns_core.cli.errors import CommandError
from l2tpns_core.config.errors import shown

MAX_FILTERS: Final = 8


class LineFilter(Protocol):
    """One filter of a line; made for one command."""

    def keep(self, line: str) -> bool:
        """Whether a line goes on to the next filter."""

    def finish(self) -> Iterable[str]:
        """What is printed at the end."""


class Containing:
    """Lines that have a text, or with `wanted` False those that do not."""

    def __init__(self, text: str, *, wanted: bool = True, fold: bool = False) -> None:
        self._text = text.lower() if fold else text
        self._wanted = wanted
        self._fold = fold

    def keep(self, line: str) -> bool:
        return (self._text in (line.lower() if self._fold else line)) is self._wanted

    def finish(self) -> Iterable[str]:
        return ()


class From:
    """Everything from the first line on that has a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._begun = False

    def keep(self, line: str) -> bool:
        self._begun = self._begun or self._text in line
        return self._begun

    def finish(self) -> Iterable[str]:
        return ()


class Count:
    """Only the number of lines."""

    def __init__(self) -> None:
        self._lines = 0

    def keep(self, line: str) -> bool:
        self._lines += 1
        return False

    def finish(self) -> Iterable[str]:
        return (str(self._lines),)


def make_filters(specifications: Sequence[Sequence[str]]) -> list[LineFilter]:
    """The filters of a command line. Raises CommandError."""
    if len(specifications) > MAX_FILTERS:
        raise CommandError(f"A line may have at most {MAX_FILTERS} filters")
    return [_make(words) for words in specifications]


def filtered(lines: Iterable[str | None], filters: Sequence[LineFilter]) -> Iterator[str | None]:
    """The lines that pass every filter. None stands for a line that does not, so that the reader
    can tell how much work was done."""
    for line in lines:
        keep = line is not None and all(one.keep(line) for one in filters)
        yield line if keep else None
    for position, one in enumerate(filters):
        for line in one.finish():
            if all(later.keep(line) for later in filters[position + 1 :]):
                yield line


def _make(words: Sequence[str]) -> LineFilter:
    if not words:
        raise CommandError("Incomplete command")
    name, arguments = words[0].lower(), list(words[1:])
    found = [known for known in _MAKERS if known.startswith(name)]
    if len(found) != 1:
        raise CommandError(f"Invalid filter {shown(words[0])}")
    return _MAKERS[found[0]](arguments)


def _one_text(name: str, arguments: list[str]) -> str:
    if not arguments:
        raise CommandError(f"{name} filter needs a text")
    return " ".join(arguments)


def _make_grep(arguments: list[str]) -> LineFilter:
    options = ""
    while arguments and arguments[0].startswith("-"):
        options += arguments.pop(0)[1:]
    if set(options) - {"i", "v"}:
        raise CommandError("grep filter takes the options -i and -v")
    text = _one_text("Grep", arguments)
    return Containing(text, wanted="v" not in options, fold="i" in options)


def _make_count(arguments: list[str]) -> LineFilter:
    if arguments:
        raise CommandError("Count filter does not take arguments")
    return Count()


_MAKERS: Final[dict[str, Callable[[list[str]], LineFilter]]] = {
    "begin": lambda arguments: From(_one_text("Begin", arguments)),
    "count": _make_count,
    "exclude": lambda arguments: Containing(_one_text("Exclude", arguments), wanted=False),
    "grep": _make_grep,
    "include": lambda arguments: Containing(_one_text("Include", arguments)),
}
