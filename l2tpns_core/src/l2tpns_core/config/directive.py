"""What a directive is, and how its value is read and written."""

import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final

from l2tpns_core.config.errors import ConfigError, shown
from l2tpns_core.config.quoting import quote

Value = int | bool | str | IPv4Address
Check = Callable[[str], str]
"""Normalises a text value; raises ConfigError that says what was expected."""

METADATA_KEY: Final = "directive"
MAX_TEXT_CHARS: Final = 255
INTEGER: Final = re.compile(r"-?[0-9]{1,12}")
BOOLEANS: Final = {
    **dict.fromkeys(("yes", "true", "1", "on"), True),
    **dict.fromkeys(("no", "false", "0", "off"), False),
}


class Kind(enum.Enum):
    """The type of a value; the text is what the reference page calls it."""

    INTEGER = "integer"
    TEXT = "string"
    BOOLEAN = "boolean"
    ADDRESS = "IP address"
    CHOICE = "choice"


class ActsAt(enum.Enum):
    """When a changed value begins to act."""

    NOW = "at once"
    NEXT_TUNNEL = "with the next tunnel"
    NEXT_SESSION = "with the next session"
    RESTART = "at the next restart"


@dataclass(slots=True, frozen=True)
class Directive:
    """One entry of the table."""

    name: str
    kind: Kind
    default: Value
    help: str
    """One or two sentences for the operator."""
    unit: str = ""
    limits: tuple[int, int] | None = None
    """Smallest and largest integer."""
    choices: tuple[str, ...] = ()
    acts_at: ActsAt = ActsAt.NOW
    secret: bool = False
    """Shown to privileged operators only, and never in a log line or an error."""
    acts: bool = True
    """False when the value is accepted but has no effect in this release."""
    check: Check | None = None
    expected: str = ""
    """What a text value looks like, when not any text will do."""


def directive(
    default: Value,
    help_text: str,
    *,
    unit: str = "",
    limits: tuple[int, int] | None = None,
    choices: tuple[str, ...] = (),
    acts_at: ActsAt = ActsAt.NOW,
    secret: bool = False,
    acts: bool = True,
    check: Check | None = None,
    expected: str = "",
) -> Any:
    """A dataclass field that is a directive. Its kind follows from the default and the choices;
    its name is that of the field."""
    entry = Directive(
        name="",
        kind=_kind_of(default, choices),
        default=default,
        help=help_text,
        unit=unit,
        limits=limits,
        choices=choices,
        acts_at=acts_at,
        secret=secret,
        acts=acts,
        check=check,
        expected=expected,
    )
    return field(default=default, repr=not secret, metadata={METADATA_KEY: entry})


def _kind_of(default: Value, choices: Iterable[str]) -> Kind:
    if choices:
        return Kind.CHOICE
    if isinstance(default, bool):
        return Kind.BOOLEAN
    if isinstance(default, int):
        return Kind.INTEGER
    return Kind.TEXT if isinstance(default, str) else Kind.ADDRESS


def expectation(entry: Directive) -> str:
    """What a value must look like, as it ends the sentence "expected …"."""
    if entry.kind is Kind.CHOICE:
        return f"one of {', '.join(entry.choices)}"
    if entry.kind is Kind.BOOLEAN:
        return "yes or no"
    if entry.kind is Kind.ADDRESS:
        return "an IPv4 address"
    if entry.kind is Kind.INTEGER:
        unit = f" ({entry.unit})" if entry.unit else ""
        if entry.limits is None:
            return f"an integer{unit}"
        return f"an integer from {entry.limits[0]} to {entry.limits[1]}{unit}"
    return entry.expected or f"printable text of at most {MAX_TEXT_CHARS} characters"


def parse_value(entry: Directive, text: str) -> Value:
    """Read a value from its text. Raises ConfigError, which does not repeat a secret."""
    try:
        return _READERS[entry.kind](entry, text)
    except ValueError:
        found = "the value" if entry.secret else shown(text)
        raise ConfigError(
            f"{entry.name}: {found} is not valid",
            value="" if entry.secret else text,
            expected=expectation(entry),
        ) from None


def format_value(entry: Directive, value: Value) -> str:
    """A value as it stands in a `set` line; parse_value() reads it again, after the quotes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if entry.kind is Kind.TEXT:
        return quote(str(value))
    return str(value)


def _read_integer(entry: Directive, text: str) -> int:
    if not INTEGER.fullmatch(text):
        raise ValueError
    number = int(text)
    if entry.limits is not None and not entry.limits[0] <= number <= entry.limits[1]:
        raise ValueError
    return number


def _read_boolean(entry: Directive, text: str) -> bool:
    value = BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError
    return value


def _read_choice(entry: Directive, text: str) -> str:
    if text.lower() not in entry.choices:
        raise ValueError
    return text.lower()


def _read_address(entry: Directive, text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise ValueError from None


def _read_text(entry: Directive, text: str) -> str:
    if len(text) > MAX_TEXT_CHARS or not text.isprintable():
        raise ValueError
    return entry.check(text) if entry.check is not None else text


_READERS: Final[dict[Kind, Callable[[Directive, str], Value]]] = {
    Kind.INTEGER: _read_integer,
    Kind.TEXT: _read_text,
    Kind.BOOLEAN: _read_boolean,
    Kind.ADDRESS: _read_address,
    Kind.CHOICE: _read_choice,
}
