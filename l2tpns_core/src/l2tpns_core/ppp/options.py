"""Configuration options: type, length, value (RFC 1661 section 6)."""

import enum
from collections.abc import Iterable
from typing import Final, NamedTuple

from l2tpns_core.ppp.errors import PppError

MAX_OPTIONS: Final = 64
"""More options than this in one packet make it malformed; real ones have fewer than ten."""
MAX_VALUE_BYTES: Final = 253


class Option(NamedTuple):
    """One option; `value` is what follows the length."""

    type: int
    value: bytes


class Verdict(enum.Enum):
    """What becomes of an option of the peer that is not answered with a better value."""

    ACCEPT = "accept"
    REJECT = "reject"


def decode_options(data: bytes) -> list[Option]:
    """The options of a Configure packet in their order. Raises PppError when one does not fit."""
    options: list[Option] = []
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise PppError("option without a length")
        length = data[position + 1]
        if length < 2 or position + length > len(data):
            raise PppError("option length out of range")
        if len(options) == MAX_OPTIONS:
            raise PppError("too many options")
        options.append(Option(data[position], data[position + 2 : position + length]))
        position += length
    return options


def encode_options(options: Iterable[Option]) -> bytes:
    """Options as they stand in a packet; a value holds at most MAX_VALUE_BYTES."""
    return b"".join(
        bytes((option.type, len(option.value) + 2)) + option.value for option in options
    )
