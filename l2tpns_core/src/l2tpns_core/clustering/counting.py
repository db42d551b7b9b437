"""What a slave has counted and not reported, and what a master makes of reports.

The counters of a plane only grow, so what is to be reported of a session is the difference to what
was. Nothing is counted twice, and nothing gets lost but with the node that counted it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, Protocol

from l2tpns_core.cluster.counts import Count, together
from l2tpns_core.dataplane.plane import SessionCounters

NOTHING: Final = SessionCounters()
AT_ONCE: Final = 1000
"""Sessions that are looked at in each turn at least."""
TURNS: Final = 20
"""In so many turns at most all are."""


class CountedPlane(Protocol):
    """What is asked of the data plane."""

    def counters(self, key: int) -> SessionCounters: ...


class Counting:
    """The counters of a plane, and what of them the master knows."""

    def __init__(self, plane: CountedPlane, wall_ahead: Callable[[], float]) -> None:
        self._plane = plane
        self._wall_ahead = wall_ahead
        self._known: dict[int, SessionCounters] = {}
        self._left: dict[int, Count] = {}
        """Of sessions that are not in the plane any more."""
        self._round: Iterator[int] = iter(())

    def start(self, known: Mapping[int, SessionCounters]) -> None:
        """Begin as a slave: the master knows so much of what the plane says."""
        self._known = dict(known)
        self._left.clear()

    def known(self, key: int) -> SessionCounters:
        """What of the plane's counters is in the state, or on its way."""
        return self._known.get(key, NOTHING)

    def begin(self, key: int) -> None:
        """A session has come into the plane. What the plane has of it by now is of a former
        process, which has told it."""
        self._known[key] = self._plane.counters(key)

    def leave(self, key: int, final: SessionCounters) -> None:
        """A session has left the plane with these counters."""
        count = difference(final, self._known.pop(key, NOTHING), self._wall_ahead())
        if is_something(count):
            self._left[key] = together(self._left[key], count) if key in self._left else count

    def in_turn(self, keys: Iterable[int], total: int) -> list[int]:
        """The sessions to look at now, of all that there are."""
        wanted = max(AT_ONCE, total // TURNS)
        found = list(islice(self._round, wanted))
        if len(found) < wanted:
            self._round = iter(list(keys))
            found += islice(self._round, wanted - len(found))
        return list(dict.fromkeys(found))

    def take(self, keys: Iterable[int]) -> dict[int, Count]:
        """What is to be reported: of these sessions and of all that have left. Give it back when
        it cannot be reported now."""
        found, self._left = self._left, {}
        ahead = self._wall_ahead()
        for key in keys:
            total = self._plane.counters(key)
            before = self._known.get(key, NOTHING)
            if total[:4] == before[:4]:
                continue
            count = difference(total, before, ahead)
            self._known[key] = total
            found[key] = together(found[key], count) if key in found else count
        return found

    def give_back(self, counts: Mapping[int, Count]) -> None:
        """Report it another time."""
        for key, count in counts.items():
            self._left[key] = together(self._left[key], count) if key in self._left else count


def difference(total: SessionCounters, before: SessionCounters, ahead: float) -> Count:
    """What a session has used since it was looked at before."""
    return Count(
        max(total.octets_in - before.octets_in, 0),
        max(total.octets_out - before.octets_out, 0),
        max(total.packets_in - before.packets_in, 0),
        max(total.packets_out - before.packets_out, 0),
        int(total.data_at + ahead) if total.data_at else 0,
    )


def is_something(count: Count) -> bool:
    return any(count[:4])


def as_counters(count: Count, ahead: float) -> SessionCounters:
    """A count as the plane has it: its time by our clock, as of now at the latest."""
    at = count.data_time - ahead if count.data_time else 0.0
    return SessionCounters(*count[:4], at if count.packets_in else 0.0, at)
