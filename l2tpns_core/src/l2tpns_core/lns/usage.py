"""What every subscriber has used since the last time, for the files of accounting_dir.

A pass looks at a slice of the sessions at a time. What a session used since the pass before and its
end is in the next one.
"""

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.session import Session
from l2tpns_core.timers import Timer

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

SLICE: Final = 64
PAUSE_S: Final = 0.01
MAX_ENDED: Final = 8192
"""Lines of sessions that are over: with more of them a pass begins before its time."""
STANDARD: Final = 1
THROTTLED: Final = 2


class UsageReport:
    """Gives `on_report` the lines of each pass, as (Unix time, lines); without it nothing is done.

    A line is `username ip qos up down`, in bytes of IP packets (manual, "accounting_dir").
    """

    __slots__ = ("_ended", "_interval", "_lines", "_lns", "_rest", "_time", "_timer", "on_report")

    def __init__(self, lns: "Lns") -> None:
        self._lns = lns
        self._timer = Timer(self._continue)
        self._interval = 0
        self._ended: list[str] = []
        self._rest: list[Session] = []
        self._lines: list[str] = []
        self._time = 0.0
        self.on_report: Callable[[float, list[str]], None] | None = None

    def configure(self, now: float) -> None:
        """Begin, go on or stop, as the configuration says."""
        interval = self._lns.config.accounting_dir_interval
        if not self._lns.config.accounting_dir:
            self._lns.timers.cancel(self._timer)
            for pending in (self._rest, self._lines, self._ended):
                pending.clear()
        elif interval != self._interval or not self._timer.active:
            self._interval = interval
            self._lns.timers.set(self._timer, now + interval)

    def leave(self, session: Session, usage: SessionCounters) -> None:
        """A session has ended, or enters the walled garden: what it has used is its user's."""
        if not self._lns.config.accounting_dir or session.walled_garden:
            return
        line = self._line(session, usage)
        session.reported = (0, 0)
        if line:
            self._ended.append(line)
            if len(self._ended) >= MAX_ENDED:
                self._lns.timers.set(self._timer, self._lns.clock())

    def finish(self) -> None:
        """Report on all that is left at once, before the end."""
        if self._lns.config.accounting_dir:
            self._rest = self._rest or list(self._lns.sessions.values())
            self._look(len(self._rest))
            self._hand_over(self._time or self._lns.wall())

    def _continue(self, now: float) -> None:
        if not self._rest:
            self._time = self._lns.wall()
            self._rest = list(self._lns.sessions.values())
        self._look(SLICE)
        if self._rest:
            self._lns.timers.set(self._timer, now + PAUSE_S)
            return
        self._hand_over(self._time)
        begun_at = now - (self._lns.wall() - self._time)
        self._lns.timers.set(self._timer, max(begun_at + self._interval, now + PAUSE_S))

    def _look(self, count: int) -> None:
        taken = self._rest[-count:] if count else []
        for session in taken:
            if self._lns.sessions.get(session.key) is session and not session.walled_garden:
                line = self._line(session, self._lns.usage(session))
                if line:
                    self._lines.append(line)
        del self._rest[len(self._rest) - len(taken) :]

    def _hand_over(self, time: float) -> None:
        lines, self._lines, self._ended = self._ended + self._lines, [], []
        if lines and self.on_report is not None:
            self.on_report(time, lines)

    def _line(self, session: Session, usage: SessionCounters) -> str:
        """The line of a session; empty when it has used nothing since its last one."""
        before_in, before_out = session.reported
        up, down = usage.octets_in - before_in, usage.octets_out - before_out
        if not session.user or not session.ip or (up <= 0 and down <= 0):
            return ""
        session.reported = (usage.octets_in, usage.octets_out)
        self._lns.keeper.session_changed(session)
        qos = THROTTLED if session.throttle_in or session.throttle_out else STANDARD
        return f"{_word(session.user)} {IPv4Address(session.ip)} {qos} {max(up, 0)} {max(down, 0)}"


def _word(user: str) -> str:
    """A name as one word that does not begin a comment: anything else in it becomes %XX."""
    if user.isascii() and user.isalnum():
        return user
    return "".join(
        char
        if char.isprintable() and not char.isspace() and (index or char != "#")
        else "".join(f"%{octet:02X}" for octet in char.encode("utf-8", "surrogateescape"))
        for index, char in enumerate(user)
    )
