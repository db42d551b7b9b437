"""What the LNS does about the events of tunnels and calls."""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from l2tpns_core.l2tp import events as l2tp
from l2tpns_core.l2tp.call import ProxyInfo
from l2tpns_core.l2tp.codes import CdnResult, GeneralError
from l2tpns_core.life import Step
from l2tpns_core.lns import ending
from l2tpns_core.lns.state import TunnelEntry
from l2tpns_core.ppp.config import ProxyLcp
from l2tpns_core.ppp.link import Link
from l2tpns_core.session import Session, SessionState
from l2tpns_core.timers import Timer

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

log = logging.getLogger("l2tpns.tunnel")


class TunnelEvents:
    """Handlers for l2tp.events, by type."""

    __slots__ = ("_handlers", "_lns")

    def __init__(self, lns: "Lns") -> None:
        self._lns = lns
        self._handlers: dict[type[object], Callable[..., None]] = {
            l2tp.TunnelOpened: self._opened,
            l2tp.TunnelClosed: self._closed,
            l2tp.TunnelFinished: self._finished,
            l2tp.CallRequested: self._call_requested,
            l2tp.CallConnected: self._call_connected,
            l2tp.CallClosed: self._call_closed,
            l2tp.CallErrorsReported: self._call_errors,
            l2tp.LinkInfoReceived: self._link_info,
        }

    def handle(self, entry: TunnelEntry, event: l2tp.Event, now: float) -> None:
        self._handlers[type(event)](entry, event, now)

    def _opened(self, entry: TunnelEntry, event: l2tp.TunnelOpened, now: float) -> None:
        tunnel = entry.tunnel
        self._lns.counters.tunnel_created += 1
        log.warning(
            "tunnel up from %s (%s)", tunnel.peer[0], tunnel.hostname, extra=_ids(tunnel.local_id)
        )

    def _closed(self, entry: TunnelEntry, event: l2tp.TunnelClosed, now: float) -> None:
        """The tunnel is over on the wire; its sessions follow in slices."""
        entry.ended = True
        what = ending.of_tunnel(event)
        if event.lost:
            self._lns.counters.tunnel_timeout += 1
        log.warning("tunnel down: %s", what.reason, extra=_ids(entry.tunnel.local_id))
        self._lns.doom([self._lns.sessions[key] for key in entry.keys], what, now)

    def _finished(self, entry: TunnelEntry, event: l2tp.TunnelFinished, now: float) -> None:
        """A lost tunnel is finished at once, while its sessions still end in slices."""
        entry.finished = True

    def _call_requested(self, entry: TunnelEntry, event: l2tp.CallRequested, now: float) -> None:
        lns, tunnel, call = self._lns, entry.tunnel, event.call
        if not lns.endpoint.accepting or entry.drain_ends_at:
            tunnel.refuse_call(
                call, CdnResult.GENERAL_ERROR, GeneralError.TRY_ANOTHER, "shutting down", now
            )
            return
        full = len(lns.sessions) >= lns.config.max_sessions
        session_id = None if full else lns.tables.ids.take()
        if session_id is None:
            lns.counters.session_overflow += 1
            log.error(
                "call refused: %d sessions are up", len(lns.sessions), extra=_ids(tunnel.local_id)
            )
            tunnel.refuse_call(
                call, CdnResult.NO_FACILITIES_TEMPORARY, 0, "no session is free", now
            )
            return
        session = Session(
            tunnel_id=tunnel.local_id,
            session_id=session_id,
            peer_session_id=call.peer_session_id,
            unique=lns.next_unique(),
            opened=lns.wall(),
            link=None,
            lac_address=tunnel.peer[0],
            tunnel=tunnel,
            calling_number=call.calling_number,
            called_number=call.called_number,
            setup_ends_at=now + lns.settings.endpoint.setup_timeout_s,
        )
        session.timer = Timer(partial(lns.session_due, session))
        lns.timers.set(session.timer, session.setup_ends_at)
        numbers = f"{call.calling_number}>{call.called_number}"
        lns.lives.note(session, Step.CALLED, f"{tunnel.peer[0]} {numbers}")
        lns.tables.add(session)
        entry.keys[session.key] = None
        lns.counters.session_created += 1
        lns.keeper.session_changed(session)
        tunnel.accept_call(call, session_id, now)

    def _call_connected(self, entry: TunnelEntry, event: l2tp.CallConnected, now: float) -> None:
        lns, call = self._lns, event.call
        session = lns.session_of_call(entry, call.session_id)
        if session is None or session.link is not None:
            return
        session.tx_speed, session.rx_speed = call.tx_speed, call.rx_speed
        session.setup_ends_at = 0.0
        session.state = SessionState.LINK
        lns.lives.note(session, Step.CONNECTED, f"{call.tx_speed} {call.rx_speed}")
        session.link = Link(lns.settings.link, lns.random)
        lns.install(session)
        session.link.open(now, proxy_from(call.proxy))
        call.proxy = None
        lns.touch(session)

    def _call_closed(self, entry: TunnelEntry, event: l2tp.CallClosed, now: float) -> None:
        session = self._lns.session_of_call(entry, event.call.session_id)
        if session is not None:
            self._lns.end(session, ending.of_call(event), now)

    def _call_errors(self, entry: TunnelEntry, event: l2tp.CallErrorsReported, now: float) -> None:
        log.info(
            "LAC reports line errors: %s",
            event.errors,
            extra=_ids(entry.tunnel.local_id, event.call.session_id),
        )

    def _link_info(self, entry: TunnelEntry, event: l2tp.LinkInfoReceived, now: float) -> None:
        log.debug("LAC reports ACCMs", extra=_ids(entry.tunnel.local_id, event.call.session_id))


def _ids(tunnel_id: int, session_id: int = 0) -> dict[str, object]:
    """For `extra=` of a log call."""
    return {"tunnel": tunnel_id, "session": session_id}


def proxy_from(info: ProxyInfo | None) -> ProxyLcp | None:
    """What the LAC did before it passed the call on, in the words of PPP."""
    if info is None:
        return None
    return ProxyLcp(
        info.initial_received_lcp,
        info.last_sent_lcp,
        info.last_received_lcp,
        info.auth_type,
        info.auth_name,
        info.auth_challenge,
        info.auth_id,
        info.auth_response,
    )
