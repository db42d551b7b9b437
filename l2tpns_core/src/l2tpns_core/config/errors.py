"""What is said about a line of configuration that cannot be used."""

from dataclasses import dataclass
from typing import Final

from l2tpns_core.observe.text import printable

MAX_SHOWN_CHARS: Final = 60


class ConfigError(ValueError):
    """A line, a name or a value that cannot be used; its text is one sentence for the operator.

    `value` is what was found ("" when it is a secret or not to the point), `expected` what would
    have been right, `nearest` the name that was probably meant.
    """

    def __init__(
        self, message: str, *, value: str = "", expected: str = "", nearest: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.value = value
        self.expected = expected
        self.nearest = nearest

    def __str__(self) -> str:
        text = self.message
        if self.expected:
            text += f": expected {self.expected}"
        if self.nearest:
            text += f'; did you mean "{self.nearest}"?'
        return text


class OtherReleaseError(ConfigError):
    """A line that means something to the C program, and nothing here."""

    def __init__(self, what: str, done: str, why: str) -> None:
        super().__init__(f"{what} is not known to this release, {done}: {why}")


@dataclass(slots=True, frozen=True)
class Problem:
    """Something to tell about one line of a file; the line was skipped unless `harmless`."""

    file: str
    line: int
    """Counted from 1; 0 when it is about the file as a whole."""
    message: str
    harmless: bool = False
    """The line counts, but has no effect in this release."""
    of_other_release: bool = False
    """The line is one that the C program knows."""

    @classmethod
    def of(cls, error: ConfigError, file: str, line: int) -> "Problem":
        """What an error says about a line."""
        is_other = isinstance(error, OtherReleaseError)
        return cls(file, line, str(error), of_other_release=is_other)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


def shown(text: str) -> str:
    """A word of the file as it appears in a message: printable, quoted and not too long."""
    text = printable(text[: MAX_SHOWN_CHARS + 1])
    if len(text) > MAX_SHOWN_CHARS:
        text = text[:MAX_SHOWN_CHARS] + "…"
    return f'"{text}"'
