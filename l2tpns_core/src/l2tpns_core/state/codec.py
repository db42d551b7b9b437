"""Dataclasses of plain values as JSON, and back: bounded, and with one error for all that is wrong.

What has its default is left out. Bytes become text of as many characters, each up to U+00FF.
"""

import json
import math
import types
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from l2tpns_core.state.errors import StateError

T = TypeVar("T")

MAX_TEXT: Final = 65_536
"""Characters of a text, or bytes."""
MAX_ITEMS: Final = 65_536
MAX_INTEGER: Final = (1 << 64) - 1

Check = Callable[[Any], Any]


def encode(value: Any) -> Any:
    """What json.dumps() takes, of a value whose type is known to decode()."""
    kind: Any = type(value)
    if kind is bytes:
        return value.decode("latin-1")
    if kind is tuple:
        return [encode(item) for item in value]
    plan = _plan_of(kind)
    if plan is None:
        return value
    encoded = {}
    for name, default in plan:
        found = getattr(value, name)
        if found != default:
            is_plain = type(found) in _PLAIN
            encoded[name] = found if is_plain else encode(found)
    return encoded


def decode(kind: type[T], raw: object) -> T:
    """The dataclass that encode() was given. Raises StateError."""
    key: Any = kind
    found: T = _check_of(key)(raw)
    return found


def without_unknown(kind: Any, raw: object) -> object:
    """Raw values of a dataclass without the fields that it does not have here: a later version may
    have more of them."""
    if not is_dataclass(kind) or not isinstance(raw, dict):
        return raw
    hints = get_type_hints(kind)
    known = {}
    for name in hints.keys() & raw.keys():
        inner = [each for each in (hints[name], *get_args(hints[name])) if is_dataclass(each)]
        known[name] = without_unknown(inner[0], raw[name]) if inner else raw[name]
    return known


def to_json(value: object) -> bytes:
    """Compact JSON of what encode() made, in one line of ASCII."""
    return _dump(value).encode("ascii")


def from_json(line: bytes) -> object:
    """Raises StateError."""
    try:
        return _load(line.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise StateError(f"no JSON: {error}") from None


_dump: Final = json.JSONEncoder(separators=(",", ":")).encode
_PLAIN: Final = frozenset((int, str, bool, float))


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number")


_load: Final = json.JSONDecoder(parse_constant=_refuse_constant).decode


@cache
def _plan_of(kind: Any) -> tuple[tuple[str, object], ...] | None:
    """The fields of a dataclass with their defaults."""
    if not is_dataclass(kind):
        return None
    return tuple((field.name, field.default) for field in fields(kind))


@cache
def _check_of(kind: Any) -> Check:
    """What turns raw JSON into a value of a type."""
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        checks = [_check_of(each) for each in arguments if each is not ...]
        return _repeated(checks[0]) if arguments[-1] is ... else _fixed(checks)
    if origin in (types.UnionType, Union):
        (other,) = (each for each in arguments if each is not types.NoneType)
        check = _check_of(other)
        return lambda raw: None if raw is None else check(raw)
    return _dataclass(kind)


def _dataclass(kind: Any) -> Check:
    hints = get_type_hints(kind)
    checks = {field.name: _check_of(hints[field.name]) for field in fields(kind)}
    needed = frozenset(field.name for field in fields(kind) if field.default is MISSING)

    def check(raw: object) -> object:
        if not isinstance(raw, dict):
            raise StateError(f"{kind.__name__} is no object")
        if not needed <= raw.keys():
            raise StateError(f"{kind.__name__} is incomplete")
        try:
            return kind(**{name: checks[name](value) for name, value in raw.items()})
        except KeyError as error:
            raise StateError(f"{kind.__name__} has no {error}") from None
        except ValueError as error:
            raise StateError(f"{kind.__name__}: {error}") from None

    return check


def _repeated(check: Check) -> Check:
    def run(raw: object) -> tuple[object, ...]:
        return tuple(check(item) for item in _list(raw, MAX_ITEMS))

    return run


def _fixed(checks: list[Check]) -> Check:
    def run(raw: object) -> tuple[object, ...]:
        items = _list(raw, len(checks))
        if len(items) != len(checks):
            raise StateError("a list has the wrong length")
        return tuple(check(item) for check, item in zip(checks, items, strict=True))

    return run


def _list(raw: object, limit: int) -> list[object]:
    if not isinstance(raw, list) or len(raw) > limit:
        raise StateError("what should be a list is none, or too long")
    return raw


def _integer(raw: object) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw <= MAX_INTEGER:
        raise StateError("what should be a number is none, or out of range")
    return raw


def _real(raw: object) -> float:
    if not isinstance(raw, (int, float)) or isinstance(raw, bool):
        raise StateError("what should be a number is none")
    try:
        value = float(raw)
    except OverflowError:
        raise StateError("a number is out of range") from None
    if not math.isfinite(value):
        raise StateError("a number is not finite")
    return value


def _flag(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise StateError("what should be true or false is neither")
    return raw


def _text(raw: object) -> str:
    if not isinstance(raw, str) or len(raw) > MAX_TEXT:
        raise StateError("what should be text is none, or too long")
    return raw


def _octets(raw: object) -> bytes:
    try:
        return _text(raw).encode("latin-1")
    except UnicodeEncodeError:
        raise StateError("what should be bytes is none") from None


_SIMPLE: Final[dict[Any, Check]] = {
    int: _integer,
    float: _real,
    bool: _flag,
    str: _text,
    bytes: _octets,
}
