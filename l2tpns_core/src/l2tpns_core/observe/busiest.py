"""Which sessions carry the most traffic: two looks at all counters, some time apart.

Only while somebody asks: the figures of the look before are kept for a minute, then forgotten.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

KEPT: Final = 50
"""Sessions that a look finds."""
MIN_PAUSE_S: Final = 1.0
"""Who asks again sooner gets the same answer; 60,000 counters are not read for nothing."""
FORGET_S: Final = 60.0
NEVER: Final = float("-inf")
BITS: Final = 8


class Rates(NamedTuple):
    """What a session carries."""

    key: int
    in_bps: float
    """Bits per second from the subscriber."""
    out_bps: float

    @property
    def total_bps(self) -> float:
        return self.in_bps + self.out_bps


class Busiest:
    """The busiest sessions between the last two looks."""

    __slots__ = ("_before", "_is_looking", "_looked_at", "found", "interval_s")

    def __init__(self) -> None:
        self.found: list[Rates] = []
        """The busiest first."""
        self.interval_s = 0.0
        """The time that they are counted over; 0 before the second look."""
        self._before: dict[int, tuple[int, int]] = {}
        self._looked_at = NEVER
        self._is_looking = False

    def look(self, octets: Iterable[tuple[int, int, int]], now: float) -> Iterator[None]:
        """Go through the counters: key, octets from and to the subscriber. Yields after each,
        for the loop to go on; does nothing when somebody else looks or has just looked."""
        if self._is_looking or now - self._looked_at < MIN_PAUSE_S:
            return
        self._is_looking = True
        try:
            elapsed = now - self._looked_at if self._looked_at > NEVER else 0.0
            yield from self._look(octets, elapsed)
            self._looked_at, self.interval_s = now, elapsed
        finally:
            self._is_looking = False

    def forget_if_unused(self, now: float) -> None:
        """Give the memory back when nobody has asked for a while."""
        if not self._is_looking and NEVER < self._looked_at < now - FORGET_S:
            self._before, self.found = {}, []
            self._looked_at, self.interval_s = NEVER, 0.0

    def _look(self, octets: Iterable[tuple[int, int, int]], elapsed: float) -> Iterator[None]:
        before, after = self._before, {}
        best: list[tuple[int, int, int, int]] = []
        for key, octets_in, octets_out in octets:
            after[key] = octets_in, octets_out
            was_in, was_out = before.get(key, (0, 0))
            grown_in, grown_out = max(0, octets_in - was_in), max(0, octets_out - was_out)
            if elapsed and (grown_in or grown_out):
                entry = (grown_in + grown_out, key, grown_in, grown_out)
                if len(best) < KEPT:
                    heapq.heappush(best, entry)
                elif entry > best[0]:
                    heapq.heapreplace(best, entry)
            yield None
        factor = BITS / elapsed if elapsed else 0.0
        self.found = [
            Rates(key, grown_in * factor, grown_out * factor)
            for _, key, grown_in, grown_out in sorted(best, reverse=True)
        ]
        self._before = after
