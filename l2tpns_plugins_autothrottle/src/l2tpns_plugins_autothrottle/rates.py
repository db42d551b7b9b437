"""The Cisco-AVPairs that are about rates: what they mean, and how they are written."""

from collections.abc import Iterator
from typing import Final

MAX_RATE: Final = 10_000_000
"""kbit/s, that of the directive throttle_speed."""
MAX_DIGITS: Final = 8
KEEP: Final = -1
PAIR: Final = "throttle"
INTERFACE_PAIR: Final = "lcp:interface-config"
POLICY: Final = "service-policy"
MIN_POLICY_CHARS: Final = 4
"""Cisco lets commands be shortened, and so did the C program, down to `serv`."""
WORDS: Final = 3
"""In such a command: itself, the direction, the rate."""
DIRECTIONS: Final = ("input", "output")
MAX_SHOWN_CHARS: Final = 60

Rates = tuple[int, int]
"""What the subscriber may send (input) and receive (output) in kbit/s: 0 is no limit, KEEP leaves
that direction as it is."""


class RateError(ValueError):
    """A pair that is about rates, but has none that can be used; the text says why."""


def rates_of(key: str, value: str, throttle_speed: int) -> Rates | None:
    """The rates that a pair asks for, None when it is not about rates. Raises RateError."""
    key = key.strip().lower()
    if key == PAIR:
        return _both(value.strip(), throttle_speed)
    if key.partition("#")[0] == INTERFACE_PAIR:
        return _one(value)
    return None


def pairs_of(rate_in: int, rate_out: int) -> Iterator[str]:
    """The pairs that tell the rates of a session, numbered from 1."""
    rates = zip(DIRECTIONS, (rate_in, rate_out), strict=True)
    limited = [(direction, rate) for direction, rate in rates if rate]
    for number, (direction, rate) in enumerate(limited, 1):
        yield f"{INTERFACE_PAIR}#{number}={POLICY} {direction} {rate}"


def _both(value: str, throttle_speed: int) -> Rates:
    word = value.lower()
    if word == "no":
        return 0, 0
    if word == "yes":
        if not throttle_speed:
            raise RateError("throttle=yes: throttle_speed is 0")
        return throttle_speed, throttle_speed
    rate = _number(word)
    if rate <= 0:
        raise RateError(f"throttle={_shown(value)}: no rate from 1 to {MAX_RATE}, yes or no")
    return rate, rate


def _one(value: str) -> Rates | None:
    """The rate of a `service-policy` command; None for a command about something else."""
    error = RateError(f"{INTERFACE_PAIR}={_shown(value)}: not {POLICY} input|output RATE")
    words = value.lower().split()
    if not words or not words[0].startswith(POLICY[:MIN_POLICY_CHARS]):
        return None
    if len(words) != WORDS or not POLICY.startswith(words[0]):
        raise error
    rate = _number(words[2])
    if rate < 0:
        raise error
    if DIRECTIONS[0].startswith(words[1]):
        return rate, KEEP
    if DIRECTIONS[1].startswith(words[1]):
        return KEEP, rate
    raise error


def _number(word: str) -> int:
    """A decimal number up to MAX_RATE, -1 for anything else."""
    if not word.isascii() or not word.isdigit() or len(word) > MAX_DIGITS:
        return -1
    return int(word) if int(word) <= MAX_RATE else -1


def _shown(value: str) -> str:
    return value if len(value) <= MAX_SHOWN_CHARS else value[:MAX_SHOWN_CHARS] + "…"
