"""What a command answers: text for people, JSON for scripts, both made line by line.

A listing may be as long as there are sessions, so nothing is put together before it is sent. The
engine pulls lines in slices and lets the loop go on between them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Mode

Row = TypeVar("Row")


class Answer(Protocol):
    """What every command returns."""

    def text(self) -> Iterator[str | None]:
        """Lines for a terminal, without line ends; None where work was done but nothing is to be
        printed, so that the loop may go on."""

    def json(self) -> Iterator[str | None]:
        """The lines of one JSON document, or None as above."""


@dataclass(slots=True)
class Message:
    """A few sentences. With `failed` the command counts as failed, for instance because one of
    several sessions was not there."""

    lines: list[str] = field(default_factory=list)
    failed: str = ""

    def fail(self, sentence: str) -> None:
        """Add a sentence about something that could not be done."""
        self.failed = f"{self.failed}\n{sentence}" if self.failed else sentence

    def text(self) -> Iterator[str]:
        yield from self.lines

    def json(self) -> Iterator[str]:
        if not self.failed:
            yield json.dumps({"messages": self.lines})
        elif self.lines:
            yield json.dumps({"messages": self.lines, "error": self.failed})
        else:
            yield json.dumps({"error": self.failed})


@dataclass(slots=True)
class Deferred:
    """A message about something that may wait for a disk: the engine has it done beside the loop
    before it asks for the lines. `work` returns them or raises CommandError."""

    work: Callable[[], list[str]]
    done: Message = field(default_factory=Message)

    def wait(self) -> None:
        """Do the work."""
        try:
            self.done.lines = self.work()
        except CommandError as error:
            self.done.fail(str(error))

    def text(self) -> Iterator[str]:
        yield from self.done.text()
        self._tell()

    def json(self) -> Iterator[str]:
        yield from self.done.json()
        self._tell()

    def _tell(self) -> None:
        if self.done.failed:
            raise CommandError(self.done.failed)


@dataclass(slots=True)
class Relayed:
    """What another node answers: `work` waits for it beside the loop and returns its text, and
    whether that is why it failed; it raises LookupError when no answer comes."""

    work: Callable[[], tuple[str, bool]]
    _text: str = ""
    _failed: str = ""

    def wait(self) -> None:
        """Wait for the answer."""
        try:
            text, failed = self.work()
        except LookupError as error:
            text, failed = str(error), True
        if failed:
            self._failed = text
        else:
            self._text = text

    def text(self) -> Iterator[str]:
        yield from self._text.splitlines()
        self._tell()

    def json(self) -> Iterator[str]:
        if self._failed:
            yield json.dumps({"error": self._failed})
        yield from self._text.splitlines()
        self._tell()

    def _tell(self) -> None:
        if self._failed:
            raise CommandError(self._failed)


@dataclass(slots=True)
class ModeChange:
    """Nothing to print; the shell goes on in another mode, or ends (None)."""

    mode: Mode | None
    section: str = ""
    """What the mode is about, where it needs to know."""

    def text(self) -> Iterator[str]:
        yield from ()

    def json(self) -> Iterator[str]:
        yield "{}"


@dataclass(slots=True)
class ShellAction:
    """What the shell itself has to do, for instance ask for a password; nothing to print."""

    words: list[str]

    def text(self) -> Iterator[str]:
        yield from ()

    def json(self) -> Iterator[str]:
        yield "{}"


@dataclass(slots=True)
class Report:
    """Lines about one thing, and the same as one JSON object."""

    lines: Callable[[], Iterable[str]]
    data: Callable[[], Mapping[str, object]]

    def text(self) -> Iterator[str]:
        yield from self.lines()

    def json(self) -> Iterator[str]:
        yield json.dumps(self.data())


@dataclass(slots=True)
class Listing(Generic[Row]):
    """Many rows of one kind.

    In JSON an array of objects, one in each line; with `name` an object that has the array under
    that name, beside what `summary` gives when the rows are through.
    """

    rows: Iterable[Row | None]
    """None stands for something that was looked at and left out."""
    line: Callable[[Row], str | Iterable[str]]
    """The text of a row; more lines than one for the details of a session."""
    data: Callable[[Row], Mapping[str, object]]
    header: str = ""
    footer: Callable[[], Iterable[str]] = tuple
    name: str = ""
    summary: Callable[[], Mapping[str, object]] = dict

    def text(self) -> Iterator[str | None]:
        if self.header:
            yield self.header
        for row in self.rows:
            if row is None:
                yield None
                continue
            lines = self.line(row)
            if isinstance(lines, str):
                yield lines
            else:
                yield from lines
        yield from self.footer()

    def json(self) -> Iterator[str | None]:
        yield f"{{{json.dumps(self.name)}: [" if self.name else "["
        previous = ""
        for row in self.rows:
            if row is None:
                yield None
                continue
            if previous:
                yield previous + ","
            previous = json.dumps(self.data(row))
        if previous:
            yield previous
        if self.name:
            members = "".join(
                f", {json.dumps(name)}: {json.dumps(value)}"
                for name, value in self.summary().items()
            )
            yield f"]{members}}}"
        else:
            yield "]"
