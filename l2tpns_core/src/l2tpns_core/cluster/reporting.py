"""What a slave has counted and no master has accounted for yet."""

from collections.abc import Mapping
from typing import Final

from l2tpns_core.cluster.counts import Count, in_reports, pack_counts, together
from l2tpns_core.cluster.messages import Report

MAX_PENDING: Final = 4_096
IN_FLIGHT: Final = 64
NUMBER_BITS: Final = 32
"""Of the number of a report; what is above is the start of the process, so that numbers grow."""


class Reporting:
    """Reports, each with a number, that are sent until they show up in changes.

    A master notes the number of a report in the same changes as what it makes of it. So whoever is
    master next knows exactly which reports are in its state, and counts none twice.
    """

    def __init__(self, started_s: int) -> None:
        self._last = started_s << NUMBER_BITS
        self._settled = self._last
        self._pending: dict[int, dict[int, Count]] = {}

    @property
    def last(self) -> int:
        return self._last

    def add(self, counts: Mapping[int, Count]) -> bool:
        """Take counts over; False when there are too many already, then nothing is taken."""
        parts = list(in_reports(counts))
        if len(self._pending) + len(parts) > MAX_PENDING:
            return False
        for part in parts:
            self._last += 1
            self._pending[self._last] = part
        return True

    def settle(self, number: int) -> None:
        """A state that we have contains all up to this report."""
        self._settled = max(self._settled, min(number, self._last))
        for pending in [each for each in self._pending if each <= number]:
            del self._pending[pending]

    def to_send(self, reign: int) -> list[Report]:
        return [
            Report(reign, number, pack_counts(counts), self._settled)
            for number, counts in list(self._pending.items())[:IN_FLIGHT]
        ]

    def take_all(self) -> dict[int, Count]:
        """All that is pending, to account for it here."""
        totals: dict[int, Count] = {}
        for counts in self._pending.values():
            for key, count in counts.items():
                totals[key] = together(totals[key], count) if key in totals else count
        self._pending.clear()
        self._settled = self._last
        return totals
