"""What the LNS does about the events of a PPP link."""

import logging
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from l2tpns_core.life import Step
from l2tpns_core.lns import ending
from l2tpns_core.plugins.events import ParamNewSession
from l2tpns_core.ppp import events as ppp
from l2tpns_core.session import Ending, Session, SessionState, TerminateCause

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

log = logging.getLogger("l2tpns.session")


class LinkEvents:
    """Handlers for ppp.events, by type."""

    __slots__ = ("_handlers", "_lns")

    def __init__(self, lns: "Lns") -> None:
        self._lns = lns
        self._handlers: dict[type[object], Callable[..., None]] = {
            ppp.AuthenticationRequested: lns.login.requested,
            ppp.AddressRequested: lns.login.address_requested,
            ppp.NetworkOpened: self._network_opened,
            ppp.NetworkClosed: self._network_closed,
            ppp.LineChanged: self._line_changed,
            ppp.LinkRestarted: self._restarted,
            ppp.LinkClosed: self._closed,
        }

    def handle(self, session: Session, event: ppp.Event, now: float) -> None:
        self._handlers[type(event)](session, event, now)

    def _network_opened(self, session: Session, event: ppp.NetworkOpened, now: float) -> None:
        """IPCP is open: the session is fully set up (event new_session)."""
        lns = self._lns
        first = not session.network_up_at
        session.network_up = True
        if session.link is not None:
            session.mru = session.link.peer_mru
        if first:
            session.network_up_at = now
            lns.plugins.new_session(
                ParamNewSession(t=session.tunnel_id, s=session.session_id, session=session)
            )
            if session.is_going:
                return  # a plugin dropped it
        lns.install(session)
        lns.lives.note(session, Step.ONLINE)
        if first:
            lns.limits.begin(session, now)
            if not session.walled_garden:
                lns.accounting.start(session)
                session.next_interim_at = lns.accounting.next_interim(session, now)
                if session.accounting_started:
                    lns.lives.note(session, Step.ACCOUNTING, "Start")
            log.warning(
                "login by %s at %s from %s",
                session.user,
                IPv4Address(session.ip),
                session.lac_address,
                extra=session.log_ids(),
            )

    def _network_closed(self, session: Session, event: ppp.NetworkClosed, now: float) -> None:
        """IPCP left Opened while the link is up: nothing is forwarded until it is back."""
        session.network_up = False
        self._lns.install(session)
        self._lns.lives.note(session, Step.OFFLINE, event.reason)
        if not event.renegotiating:
            ending = Ending(f"No IPCP: {event.reason}", TerminateCause.LOST_SERVICE)
            self._lns.close(session, ending, now)

    def _line_changed(self, session: Session, event: ppp.LineChanged, now: float) -> None:
        step = Step.LINE_BAD if event.bad else Step.LINE_GOOD
        self._lns.lives.note(session, step, f"{event.lost} {event.echoes}")

    def _restarted(self, session: Session, event: ppp.LinkRestarted, now: float) -> None:
        """The client negotiates LCP anew: nothing is forwarded before it has logged in again."""
        self._lns.login.abandon(session)
        self._lns.lives.note_restart(session)
        session.network_up = False
        session.setup_ends_at = 0.0
        session.state = SessionState.LINK
        self._lns.install(session)

    def _closed(self, session: Session, event: ppp.LinkClosed, now: float) -> None:
        self._lns.end(session, ending.of_link(event), now)
