"""The limits of a session in time: Session-Timeout, Idle-Timeout, interim reports, call set-up."""

from typing import TYPE_CHECKING

from l2tpns_core.session import Ending, Session, TerminateCause

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

SESSION_TIMEOUT = Ending("Session timeout", TerminateCause.SESSION_TIMEOUT)
IDLE_TIMEOUT = Ending("Idle timeout reached", TerminateCause.IDLE_TIMEOUT)
NEVER_CONNECTED = Ending("No ICCN from the LAC", TerminateCause.LOST_SERVICE)
NEVER_ASKED = Ending("No IPCP from the client", TerminateCause.LOST_SERVICE)


class Limits:
    """Each session carries its own deadlines (0.0: none); here they are set and met."""

    __slots__ = ("_lns",)

    def __init__(self, lns: "Lns") -> None:
        self._lns = lns

    def begin(self, session: Session, now: float) -> None:
        """The network of the session came up: its time runs."""
        session.ends_at = now + session.session_timeout if session.session_timeout else 0.0
        session.idle_check_at = now + session.idle_timeout if session.idle_timeout else 0.0

    def next_deadline(self, session: Session) -> float | None:
        """The earliest of the session's deadlines and of its link's timers."""
        earliest = session.link.get_timer() if session.link is not None else None
        for deadline in (
            session.setup_ends_at,
            session.ends_at,
            session.idle_check_at,
            session.next_interim_at,
        ):
            if deadline and (earliest is None or deadline < earliest):
                earliest = deadline
        return earliest

    def meet(self, session: Session, now: float) -> None:
        """Do what is due for a session."""
        if session.setup_ends_at and now >= session.setup_ends_at:
            why = NEVER_CONNECTED if session.link is None else NEVER_ASKED
            self._lns.close(session, why, now)
            return
        if session.ends_at and now >= session.ends_at:
            self._expire(session, SESSION_TIMEOUT, now)
        elif session.idle_check_at and now >= session.idle_check_at:
            self._check_idle(session, now)
        if session.next_interim_at and now >= session.next_interim_at:
            self._lns.accounting.interim(session, self._lns.usage(session))
            session.next_interim_at = self._lns.accounting.next_interim(session, now)

    def _check_idle(self, session: Session, now: float) -> None:
        """Idle is: no IP packet in either direction, which only the plane knows."""
        last = max(self._lns.usage(session).data_at, session.network_up_at)
        if now - last >= session.idle_timeout:
            self._expire(session, IDLE_TIMEOUT, now)
        else:
            session.idle_check_at = last + session.idle_timeout

    def lift(self, session: Session) -> None:
        """The session is going: nothing else is due."""
        session.setup_ends_at = session.ends_at = 0.0
        session.idle_check_at = session.next_interim_at = 0.0

    def _expire(self, session: Session, ending: Ending, now: float) -> None:
        self._lns.counters.session_timeout += 1
        self._lns.close(session, ending, now)
