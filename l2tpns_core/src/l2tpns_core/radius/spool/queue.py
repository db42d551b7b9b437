"""The records of the spool in memory: in which order they may be sent. No I/O, no clock.

Records of one session go out one after the other. Accounting-On and -Off say something about all
sessions: they go out alone, after everything older and before everything newer.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from l2tpns_core.radius.model import AccountingRecord, AccountingStatus

NO_SESSION: Final = ""
"""Stands for the session of an Accounting-On or -Off."""
PATIENCE: Final = 2
"""Tries after which an Accounting-On or -Off is no longer all that a silent server is asked."""


@dataclass(slots=True, eq=False)
class Entry:
    """A record that waits."""

    number: int
    session: str
    """Its Acct-Session-Id."""
    status: AccountingStatus
    event_time: float
    body: bytes
    """The record as it is written down (spool.record)."""
    in_flight: bool = False
    tries: int = 0
    refusals: int = 0
    """Tries that failed although other records were acknowledged."""
    failed_at: float = float("-inf")

    @property
    def is_barrier(self) -> bool:
        return self.session == NO_SESSION


def session_of(record: AccountingRecord) -> str:
    return record.identity.accounting_id if record.identity is not None else NO_SESSION


class SpoolQueue:
    """All records that wait, the oldest first; sessions that rest are left out meanwhile."""

    __slots__ = ("_by_session", "_count", "_order", "_resting", "_wakes", "barriers", "octets")

    def __init__(self) -> None:
        self.octets = 0
        self.barriers = 0
        self._count = 0
        self._order: OrderedDict[int, Entry] = OrderedDict()  # its front is found at once
        self._by_session: dict[str, list[Entry]] = {}
        self._resting: set[str] = set()
        self._wakes: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return self._count

    def entries(self) -> list[Entry]:
        """All of them."""
        found = list(self._order.values())
        for session in self._resting:
            found += self._by_session[session]
        return found

    def has(self, session: str) -> bool:
        """Whether records of a session wait."""
        return session in self._by_session

    def of(self, session: str) -> list[Entry]:
        """What waits of a session, the oldest first."""
        return list(self._by_session.get(session, ()))

    def oldest_time(self) -> float | None:
        """The time of the event that waits longest."""
        times = [entry.event_time for entry in islice(self._order.values(), 1)]
        times += [self._by_session[session][0].event_time for session in self._resting]
        return min(times, default=None)

    def add(self, entry: Entry) -> None:
        self._by_session.setdefault(entry.session, []).append(entry)
        self._count += 1
        self.octets += len(entry.body)
        self.barriers += entry.is_barrier
        if entry.session not in self._resting:
            self._order[entry.number] = entry

    def remove(self, entry: Entry) -> None:
        entries = self._by_session[entry.session]
        entries.remove(entry)
        if not entries:
            del self._by_session[entry.session]
            self._resting.discard(entry.session)
        self._order.pop(entry.number, None)
        self._count -= 1
        self.octets -= len(entry.body)
        self.barriers -= entry.is_barrier

    def ready(self, *, is_down: bool) -> Iterator[Entry]:
        """Those that may be sent now, the oldest first."""
        seen: set[str] = set()
        for entry in self._order.values():
            if entry.is_barrier:
                if seen or entry.in_flight:
                    return
                yield entry
                if is_down and entry.tries >= PATIENCE:
                    continue  # a server that never acknowledges these must not stop everything
                return
            if entry.session in seen:
                continue
            seen.add(entry.session)
            if not entry.in_flight:
                yield entry

    def rest(self, session: str, until: float) -> None:
        """Leave a session out for a while."""
        if session in self._resting or session not in self._by_session:
            return
        self._resting.add(session)
        heapq.heappush(self._wakes, (until, session))
        for entry in self._by_session[session]:
            self._order.pop(entry.number, None)

    def wake(self, now: float) -> float | None:
        """Let sessions back in whose rest is over; return when the next one's is."""
        while self._wakes and self._wakes[0][0] <= now:
            _, session = heapq.heappop(self._wakes)
            if session in self._resting:
                self._resting.remove(session)
                self._order |= {entry.number: entry for entry in self._by_session[session]}
        return self._wakes[0][0] if self._wakes else None
