"""How good a line is: what became of its last LCP echoes (RFC 1661 section 5.8).

The echoes of a link are kept as octets, two for each, because there are as many links as there are
subscribers.
"""

from array import array
from itertools import pairwise
from typing import Final, NamedTuple

ECHOES: Final = 16
"""So many of the last ones are kept."""
STEPS_PER_S: Final = 10_000
"""The unit of a round trip is a tenth of a millisecond."""
LOST: Final = 0xFFFF
LONGEST: Final = LOST - 1
"""What takes longer counts as this, 6.5 seconds."""
OCTETS: Final = 2
BAD_FROM: Final = 4
"""A line is bad once so many of its last echoes are lost: a quarter of a full ring."""
GOOD_UP_TO: Final = 1
"""It is good again when no more than these are: so it does not change with every echo."""
BIG_ENDIAN: Final = array("H", [1]).tobytes()[0] == 0
"""Whether this machine is: the ring itself never is."""


class LineQuality(NamedTuple):
    """The last echoes of a line. Times are seconds; None without an echo that was answered."""

    echoes: int
    """Requests that were answered, or are known to be lost: at most ECHOES."""
    lost: int
    last_s: float | None
    """The newest round trip."""
    least_s: float | None
    median_s: float | None
    most_s: float | None
    jitter_s: float | None
    """By how much a round trip differs from the one before it, on average."""
    lost_at: float
    """When the newest loss was noticed, by the clock of the link; 0.0 for never."""

    @property
    def loss(self) -> float:
        """The share of echoes that were lost, 0 to 1."""
        return self.lost / self.echoes if self.echoes else 0.0


def recorded(ring: bytes, seconds: float | None) -> bytes:
    """The ring after one more echo; None is one that was lost."""
    value = LOST if seconds is None else min(max(0, round(seconds * STEPS_PER_S)), LONGEST)
    return (ring + value.to_bytes(OCTETS, "little"))[-ECHOES * OCTETS :]


def quality_of(ring: bytes, lost_at: float) -> LineQuality:
    """What a ring says."""
    values = _values(ring)
    answered = [value / STEPS_PER_S for value in values if value != LOST]
    if not answered:
        return LineQuality(len(values), len(values), None, None, None, None, None, lost_at)
    return LineQuality(
        echoes=len(values),
        lost=len(values) - len(answered),
        last_s=answered[-1],
        least_s=min(answered),
        median_s=_median(answered),
        most_s=max(answered),
        jitter_s=_jitter(answered),
        lost_at=lost_at,
    )


def is_bad(ring: bytes, was_bad: bool) -> bool:
    """Whether a line counts as bad now, after it did or did not."""
    lost = _values(ring).count(LOST)
    return lost > GOOD_UP_TO if was_bad else lost >= BAD_FROM


def brief_of(ring: bytes) -> tuple[float | None, float] | None:
    """The newest round trip and the share of echoes lost, or None for an empty ring: for those who
    look at every line."""
    if not ring:
        return None
    values = _values(ring)
    lost = values.count(LOST)
    last = next((value / STEPS_PER_S for value in reversed(values) if value != LOST), None)
    return last, lost / len(values)


def _median(values: list[float]) -> float:
    """Of an even number the lower one of the two in the middle."""
    return sorted(values)[(len(values) - 1) // 2]


def _jitter(values: list[float]) -> float | None:
    if len(values) < 2:
        return None
    steps = sum(abs(later - earlier) for earlier, later in pairwise(values))
    return round(steps / (len(values) - 1), 5)


def _values(ring: bytes) -> "array[int]":
    values = array("H")
    values.frombytes(ring)
    if BIG_ENDIAN:
        values.byteswap()
    return values
