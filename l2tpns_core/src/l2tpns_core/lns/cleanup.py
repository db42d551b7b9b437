"""The regular cleanup (manual, "cleanup_interval"): a search for what no event has put right.

Sessions and addresses are freed by events and timers. Should one ever be missed, this finds the
leftover within an interval or two, puts it right and says so in the log, instead of a pool that
runs dry over months. It looks at a slice at a time.
"""

import logging
from typing import TYPE_CHECKING, TypeVar

from l2tpns_core.session import Ending, Session, TerminateCause
from l2tpns_core.timers import Timer

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

T = TypeVar("T")
log = logging.getLogger("l2tpns.cleanup")

SLICE = 500
PAUSE_S = 0.05
ORPHAN = Ending("Tunnel is gone", TerminateCause.LOST_SERVICE, lac_knows=True)


class Cleanup:
    """Walks sessions and leases once per interval. `repaired` counts what it had to put right."""

    __slots__ = ("_interval", "_leases", "_lns", "_sessions", "_timer", "repaired")

    def __init__(self, lns: "Lns") -> None:
        self._lns = lns
        self._timer = Timer(self._continue)
        self._sessions: list[Session] = []
        self._leases: list[int] = []
        self._interval = 0
        self.repaired = 0

    def start(self, now: float) -> None:
        """Begin the first pass one interval from now."""
        self._interval = self._lns.config.cleanup_interval
        self._lns.timers.set(self._timer, now + self._interval)

    def configure(self, now: float) -> None:
        """Follow another interval at once: the old one may be a day. A pass that was begun goes
        on."""
        is_waiting = self._timer.active and not self._sessions and not self._leases
        if is_waiting and self._interval != self._lns.config.cleanup_interval:
            self.start(now)

    def _continue(self, now: float) -> None:
        if not self._sessions and not self._leases:
            self._sessions = list(self._lns.sessions.values())
            self._leases = self._lns.pool.leased()
        for session in _take_slice(self._sessions):
            self._check_session(session, now)
        for ip in _take_slice(self._leases):
            self._check_lease(ip, now)
        unfinished = self._sessions or self._leases
        if unfinished:
            self._lns.timers.set(self._timer, now + PAUSE_S)
        else:
            self.start(now)

    def _check_session(self, session: Session, now: float) -> None:
        if self._lns.sessions.get(session.key) is not session:
            return
        if self._lns.has_tunnel(session.tunnel_id):
            return
        self.repaired += 1
        log.error("cleanup: session without a tunnel", extra=session.log_ids())
        self._lns.end(session, ORPHAN, now)

    def _check_lease(self, ip: int, now: float) -> None:
        key = self._lns.pool.holder(ip)
        if key is None:
            return
        session = self._lns.sessions.get(key)
        if session is not None and session.ip == ip:
            return
        self.repaired += 1
        log.error("cleanup: address without a session")
        self._lns.pool.release(ip, key, now)


def _take_slice(rest: list[T]) -> list[T]:
    taken = rest[-SLICE:]
    del rest[-SLICE:]
    return taken
