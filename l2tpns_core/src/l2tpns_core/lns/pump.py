"""Carries out what a call from outside has changed, once, at the end of that call.

Whoever changes a session or a tunnel notes it (touch); flush() takes the events of everything that
was noted, sends what is to be sent and sets the timers, until nothing more follows. No handler runs
inside another.
"""

import logging
from typing import TYPE_CHECKING

from l2tpns_core.lns.links import LinkEvents
from l2tpns_core.lns.state import TunnelEntry
from l2tpns_core.lns.tunnels import TunnelEvents
from l2tpns_core.ppp.link import Phase
from l2tpns_core.session import Session, SessionState

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

log = logging.getLogger("l2tpns.lns")


class Pump:
    """What was touched, and what follows from it."""

    __slots__ = ("_is_running", "_link_events", "_lns", "_sessions", "_tunnel_events", "_tunnels")

    def __init__(self, lns: "Lns") -> None:
        self._lns = lns
        self._tunnel_events = TunnelEvents(lns)
        self._link_events = LinkEvents(lns)
        self._tunnels: dict[TunnelEntry, None] = {}
        self._sessions: dict[Session, None] = {}
        self._is_running = False

    def touch(self, session: Session) -> None:
        """Something happened to a session."""
        self._sessions[session] = None

    def touch_tunnel(self, entry: TunnelEntry) -> None:
        """Something happened to a tunnel."""
        self._tunnels[entry] = None

    def forget(self, session: Session) -> None:
        """The session has ended."""
        self._sessions.pop(session, None)

    def forget_tunnel(self, entry: TunnelEntry) -> None:
        """The tunnel is over."""
        self._tunnels.pop(entry, None)

    def flush(self, now: float) -> None:
        """Carry out what was noted. What a plugin asks for meanwhile is carried out by the flush
        that is under way."""
        if self._is_running:
            return
        self._is_running = True
        try:
            while self._sessions or self._tunnels:
                while self._sessions:
                    session, _ = self._sessions.popitem()
                    self._pump_session(session, now)
                while self._tunnels:
                    entry, _ = self._tunnels.popitem()
                    self._pump_tunnel(entry, now)
        finally:
            self._is_running = False
            self._lns.keeper.commit()
        if self._lns.on_rest is not None and self._lns.at_rest:
            self._lns.on_rest()

    def _pump_session(self, session: Session, now: float) -> None:
        lns = self._lns
        try:
            if session.state is SessionState.LINK:
                lns.lives.watch_link(session)
            while session.link is not None:
                event = session.link.next_event()
                if event is None:
                    break
                self._link_events.handle(session, event, now)
            self._stop_traffic_of_ending_link(session)
        except Exception:  # noqa: BLE001  (border: costs this session only)
            lns.fail(session, now)
        if session.link is not None:
            frames = session.link.frames_to_send()
            if frames:
                lns.plane.send_frames(session.key, frames)
        if session.timer is not None:
            lns.timers.set(session.timer, lns.limits.next_deadline(session))

    def _stop_traffic_of_ending_link(self, session: Session) -> None:
        """A link that ends from our side reports it when the client has answered or has not;
        until then its PPP is at work, its network is not."""
        link = session.link
        if session.network_up and link is not None and link.phase is Phase.TERMINATE:
            session.network_up = False
            self._lns.install(session)

    def _pump_tunnel(self, entry: TunnelEntry, now: float) -> None:
        lns, tunnel = self._lns, entry.tunnel
        while (event := tunnel.next_event()) is not None:
            try:
                self._tunnel_events.handle(entry, event, now)
            except Exception:
                log.exception("an event of a tunnel failed", extra={"tunnel": tunnel.local_id})
        if entry.finished and not entry.keys:
            lns.forget_tunnel(entry)
        draining = entry.drain_ends_at > 0.0 and not entry.ended
        if draining and (not entry.keys or now >= entry.drain_ends_at):
            entry.ended, draining = True, False
            tunnel.close(entry.drain_result, 0, entry.drain_reason, now)
        datagrams = tunnel.datagrams_to_send(now)
        lns.keeper.tunnel_changed(entry)
        if datagrams:
            lns.keeper.commit()
            peer, local = tunnel.peer, tunnel.local
            lns.plane.send_control([(datagram, peer, local) for datagram in datagrams])
        if lns.has_tunnel(tunnel.local_id):
            deadline = tunnel.get_timer()
            if draining and (deadline is None or entry.drain_ends_at < deadline):
                deadline = entry.drain_ends_at
            lns.timers.set(entry.timer, deadline)
