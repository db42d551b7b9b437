"""Messages as fields, each with a tag and a length, so that a node skips those it does not know.

    0      tag, the number of the field in its dataclass
    1      length, 2 octets
    3      value: a number without leading zeros, octets, or numbers of 8 octets each

A field of a message may be added at its end, with a default, and must never be removed.
"""

from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import cache
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Any, Final, TypeVar, get_type_hints

from l2tpns_core.cluster.errors import ClusterError, Refusal

T = TypeVar("T")

MAX_INTEGER: Final = (1 << 64) - 1
MAX_NUMBERS: Final = 256
"""Numbers in one field."""
NUMBER_BYTES: Final = 8
_FIELD: Final = Struct("!BH")

Coder = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]


def encode(message: object) -> bytes:
    """The fields that do not have their default."""
    kind: Any = type(message)
    parts: list[bytes] = []
    for tag, name, default, (pack, _) in _plan_of(kind):
        value = getattr(message, name)
        if value != default:
            body = pack(value)
            parts += (_FIELD.pack(tag, len(body)), body)
    return b"".join(parts)


def decode(kind: type[T], data: bytes) -> T:
    """The message that encode() was given. Raises ClusterError."""
    any_kind: Any = kind
    known = {tag: (name, unpack) for tag, name, _, (_, unpack) in _plan_of(any_kind)}
    values: dict[str, object] = {}
    at = 0
    while at < len(data):
        try:
            tag, length = _FIELD.unpack_from(data, at)
        except StructError:
            raise ClusterError(Refusal.BODY, "a field is cut off") from None
        at += _FIELD.size
        if at + length > len(data):
            raise ClusterError(Refusal.BODY, "a field is longer than its message")
        if tag in known:
            name, unpack = known[tag]
            if name in values:
                raise ClusterError(Refusal.BODY, f"{name} comes twice")
            values[name] = unpack(data[at : at + length])
        at += length
    try:
        return kind(**values)
    except TypeError:
        raise ClusterError(Refusal.BODY, f"{kind.__name__} is incomplete") from None


@cache
def _plan_of(kind: Any) -> tuple[tuple[int, str, object, Coder], ...]:
    hints = get_type_hints(kind)
    return tuple(
        (
            tag,
            field.name,
            None if field.default is MISSING else field.default,
            _CODERS[hints[field.name]],
        )
        for tag, field in enumerate(fields(kind), 1)
    )


def _pack_number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _number(data: bytes) -> int:
    if len(data) > NUMBER_BYTES:
        raise ClusterError(Refusal.BODY, "a number is too long")
    return int.from_bytes(data, "big")


def _flag(data: bytes) -> bool:
    number = _number(data)
    if number > 1:
        raise ClusterError(Refusal.BODY, "a flag is neither 0 nor 1")
    return bool(number)


def _pack_numbers(values: tuple[int, ...]) -> bytes:
    return b"".join(value.to_bytes(NUMBER_BYTES, "big") for value in values)


def _numbers(data: bytes) -> tuple[int, ...]:
    count, rest = divmod(len(data), NUMBER_BYTES)
    if rest or count > MAX_NUMBERS:
        raise ClusterError(Refusal.BODY, "a list of numbers has a wrong length")
    return tuple(
        int.from_bytes(data[at : at + NUMBER_BYTES], "big")
        for at in range(0, len(data), NUMBER_BYTES)
    )


_CODERS: Final[dict[Any, Coder]] = {
    int: (_pack_number, _number),
    bool: (_pack_number, _flag),
    bytes: (bytes, bytes),
    tuple[int, ...]: (_pack_numbers, _numbers),
}
