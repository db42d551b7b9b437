"""Notes what happens to sessions, and keeps the lives of those that ended for a while."""

from collections import deque
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Final

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.life import Life, PastLife, Step
from l2tpns_core.ppp.automaton import State
from l2tpns_core.session import Session

MAX_PAST: Final = 10_000
"""Sessions that have ended and can still be asked about; at most some 12 MB, commonly 5."""


class Lives:
    """The lives of all sessions. A live session carries its own."""

    __slots__ = ("_past", "_wall")

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._past: deque[PastLife] = deque(maxlen=MAX_PAST)

    def note(self, session: Session, step: Step, detail: str = "") -> None:
        """Something happened to a session."""
        life = session.life
        if life is None:
            life = session.life = Life()
        life.add(self._wall(), step, detail)

    def note_login(self, session: Session, protocol: str, user: str) -> None:
        """A client gave a name."""
        self.note(session, Step.LOGIN, f"{protocol} {user}")
        if session.life is not None:
            session.life.claimed = user

    def note_address(self, session: Session) -> None:
        """The session has got its address."""
        if session.ip:
            source = session.address_source.value
            self.note(session, Step.ADDRESS, f"{IPv4Address(session.ip)} {source}")

    def note_restart(self, session: Session) -> None:
        """The client negotiates LCP anew."""
        self.note(session, Step.RENEGOTIATION)
        if session.life is not None:
            session.life.lcp_up = False

    def watch_link(self, session: Session) -> None:
        """Note that LCP came up, once; the link has no event for it."""
        life, link = session.life, session.link
        if life is None or life.lcp_up or link is None or link.lcp_state is not State.OPENED:
            return
        life.lcp_up = True
        self.note(session, Step.LCP_UP, str(link.peer_mru))

    def end(self, session: Session, usage: SessionCounters) -> None:
        """The session is over; called before its Stop is sent."""
        why = session.ending
        cause = f" ({why.cause.name.title().replace('_', '-')})" if why is not None else ""
        stop = "Stop" if session.accounting_started else "-"
        traffic = f"{usage.octets_in} {usage.octets_out} {stop}"
        self.note(session, Step.ENDED, f"{traffic} {why.reason if why else ''}{cause}")
        life = session.life
        if life is not None:
            user = session.user or life.claimed
            ids = (session.tunnel_id, session.session_id, session.accounting_id)
            self._past.append(PastLife(user, *ids, life))

    def past_of_user(self, user: str) -> Iterator[PastLife]:
        """Sessions of a user that have ended, the newest first."""
        wanted = user.casefold()
        return (past for past in reversed(self._past) if past.user.casefold() == wanted)

    def past_of_id(self, session_id: int, tunnel_id: int = 0) -> Iterator[PastLife]:
        """The same by session id, which is used again after a while; a tunnel of 0 is any."""
        return (
            past
            for past in reversed(self._past)
            if past.session_id == session_id and tunnel_id in (0, past.tunnel_id)
        )
