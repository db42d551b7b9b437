"""All tunnels of one LNS: which datagram belongs to which, and who may open one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from l2tpns_core.l2tp.avp import AvpType
from l2tpns_core.l2tp.channel import MASK
from l2tpns_core.l2tp.codes import GeneralError, MessageType, StopResult
from l2tpns_core.l2tp.config import EndpointConfig, EndpointCounters, Peer, Shared
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.message import (
    ControlHeader,
    Message,
    decode_header,
    decode_message,
    encode_header,
)
from l2tpns_core.l2tp.saved import SavedChannel, SavedTunnel
from l2tpns_core.l2tp.setup import check_request, encode_stop
from l2tpns_core.l2tp.states import TunnelState
from l2tpns_core.l2tp.tunnel import Tunnel

__all__ = ["Endpoint", "EndpointConfig", "EndpointCounters", "Peer"]

MAX_ID: Final = 65535
MAX_RETIRED_IDS: Final = 4096
"""Ids of tunnels that are gone and not given out again yet."""
MAX_REPLIES: Final = 64
"""Refusals that wait for take_replies(); more are not sent, and the LAC asks again."""


class Endpoint:
    """The tunnels by our id.

    A tunnel counts as half open from its SCCRQ until its SCCCN or, if there is none, until it is
    forgotten. Whoever owns the endpoint forgets a tunnel upon its TunnelFinished.
    """

    __slots__ = (
        "_by_key",
        "_half_open",
        "_half_open_by_source",
        "_random",
        "_replies",
        "_retired",
        "_shared",
        "_touched",
        "config",
        "tunnels",
    )

    def __init__(self, config: EndpointConfig, random: Callable[[int], bytes]) -> None:
        self.config = config
        """May be replaced at any time; tunnels keep what they were opened with."""
        self.tunnels: dict[int, Tunnel] = {}
        self._random = random
        self._shared = Shared()
        self._by_key: dict[tuple[Peer, int], Tunnel] = {}  # the latest per LAC and its tunnel id
        self._half_open: dict[Tunnel, None] = {}
        self._half_open_by_source: dict[str, int] = {}
        self._replies: list[tuple[bytes, Peer, str]] = []
        self._touched: list[Tunnel] = []
        self._retired: dict[int, None] = {}

    @property
    def counters(self) -> EndpointCounters:
        return self._shared.counters

    def take_counters(self, counters: EndpointCounters) -> None:
        """Count on from where another endpoint was."""
        self._shared.counters = counters

    @property
    def accepting(self) -> bool:
        """False refuses new tunnels (StopCCN 6) and new calls (CDN 2/7)."""
        return self._shared.accepting

    @accepting.setter
    def accepting(self, value: bool) -> None:
        self._shared.accepting = value

    @property
    def half_open_count(self) -> int:
        """Tunnels whose LAC has not proved that it gets our answers."""
        return len(self._half_open)

    def receive(self, datagram: bytes, peer: Peer, local: str, now: float) -> Tunnel | None:
        """Take a control datagram that came from `peer` to our address `local`.

        Returns the tunnel that it touched, which may be a new one; its events and datagrams are to
        be fetched. Never raises.
        """
        counters = self._shared.counters
        counters.received += 1
        try:
            header, body = decode_header(datagram)
        except L2tpError:
            counters.malformed += 1
            return None
        if not header.tunnel_id:
            return self._receive_without_id(header, body, peer, local, now)
        tunnel = self.tunnels.get(header.tunnel_id)
        if tunnel is None:
            counters.unknown_tunnel += 1
            return None
        if tunnel.peer != peer:
            counters.wrong_peer += 1
            return None
        self._pass_on(tunnel, header, body, now)
        return tunnel

    def take_replies(self) -> list[tuple[bytes, Peer, str]]:
        """Refusals that belong to no tunnel, as (datagram, peer, local address)."""
        replies, self._replies = self._replies, []
        return replies

    def take_touched(self) -> list[Tunnel]:
        """Tunnels other than the returned one that receive() has ended: their LAC has opened a new
        one in their place. They have events."""
        touched, self._touched = self._touched, []
        return touched

    def restore(self, saved: SavedTunnel, channel: SavedChannel, now: float) -> Tunnel:
        """Go on with an established tunnel of another process, which counts as heard of just now.

        Raises ValueError when its id, or that of the LAC, belongs to another tunnel.
        """
        peer = (saved.address, saved.port)
        key = (peer, saved.peer_id)
        if saved.local_id in self.tunnels or key in self._by_key:
            raise ValueError(f"tunnel id {saved.local_id} or that of its LAC is taken")
        config = replace(self.config, receive_window=saved.receive_window)
        tunnel = Tunnel(saved.local_id, peer, saved.local, config, self._shared, self._random, now)
        tunnel.restore(saved, channel)
        self.tunnels[saved.local_id] = self._by_key[key] = tunnel
        return tunnel

    def forget(self, tunnel: Tunnel) -> None:
        """Drop a tunnel after its TunnelFinished; a second call does nothing."""
        if self.tunnels.get(tunnel.local_id) is not tunnel:
            return
        del self.tunnels[tunnel.local_id]
        self._retired[tunnel.local_id] = None
        if len(self._retired) > MAX_RETIRED_IDS:
            del self._retired[next(iter(self._retired))]
        self._leave_half_open(tunnel)
        key = (tunnel.peer, tunnel.peer_id)
        if self._by_key.get(key) is tunnel:
            del self._by_key[key]
            former = tunnel.replaces
            if former is not None and self.tunnels.get(former.local_id) is former:
                self._by_key[key] = former
        tunnel.replaces = None

    def _pass_on(self, tunnel: Tunnel, header: ControlHeader, body: bytes, now: float) -> None:
        before = tunnel.state
        tunnel.receive(header, body, now)
        if before is TunnelState.WAIT_CTL_CONN and tunnel.state is TunnelState.ESTABLISHED:
            self._leave_half_open(tunnel)
            former, tunnel.replaces = tunnel.replaces, None
            if former is not None and former.state is not TunnelState.CLOSING:
                self._shared.counters.superseded += 1
                former.abandon("the LAC has opened a new tunnel in its place", now)
                self._touched.append(former)

    # Datagrams for tunnel 0: the LAC does not know our id yet

    def _receive_without_id(
        self, header: ControlHeader, body: bytes, peer: Peer, local: str, now: float
    ) -> Tunnel | None:
        counters = self._shared.counters
        try:
            message = decode_message(body, self.config.secret)
        except L2tpError:
            counters.malformed += 1
            return None
        known = self._by_key.get((peer, message.number(AvpType.ASSIGNED_TUNNEL_ID)))
        if message.type == MessageType.STOPCCN:
            if known is None or known.state is not TunnelState.WAIT_CTL_CONN:
                counters.unknown_tunnel += 1
                return None
            self._pass_on(known, header, body, now)
            return known
        if message.type != MessageType.SCCRQ or header.session_id or header.ns:
            counters.malformed += 1
            return None
        if known is not None and self._is_duplicate(known, body, now):
            counters.duplicates_sccrq += 1
            known.receive_duplicate(now)
            return known
        counters.unknown_avp += message.ignored
        counters.hidden_failures += message.hidden_failures
        refusal = self._refusal_of(message, peer)
        if refusal is not None:
            self._refuse(refusal, header, message, peer, local)
            return None
        return self._open(header, body, message, peer, local, now)

    def _is_duplicate(self, known: Tunnel, body: bytes, now: float) -> bool:
        """Whether an SCCRQ is that of a tunnel that we have, sent again or delayed on its way. A
        LAC that has restarted may ask for a new one under the same id."""
        if known.state is TunnelState.WAIT_CTL_CONN:
            return True
        return (
            known.state is TunnelState.ESTABLISHED
            and known.request_digest == hash(body)
            and now - known.opened_at < self.config.retry_cycle_s
        )

    def _refusal_of(self, message: Message, peer: Peer) -> L2tpError | None:
        """Why an SCCRQ cannot be accepted, None when it can."""
        config, counters = self.config, self._shared.counters
        try:
            check_request(message)
        except L2tpError as refusal:
            counters.refused_sccrq += 1
            return refusal
        if not self._shared.accepting:
            counters.refused_sccrq += 1
            return L2tpError(StopResult.SHUTTING_DOWN, 0, "shutting down")
        from_source = self._half_open_by_source.get(peer[0], 0)
        if (
            len(self.tunnels) < min(config.max_tunnels, MAX_ID)
            and len(self._half_open) < config.max_half_open
            and from_source < config.max_half_open_per_source
        ):
            return None
        counters.refused_limit += 1
        text = "too many tunnels"
        return L2tpError(StopResult.GENERAL_ERROR, GeneralError.NO_RESOURCES, text)

    def _refuse(
        self, refusal: L2tpError, header: ControlHeader, message: Message, peer: Peer, local: str
    ) -> None:
        """Answer an SCCRQ with StopCCN and keep nothing: if it is lost the LAC asks again."""
        if len(self._replies) >= MAX_REPLIES:
            return
        stop = encode_stop(self._unused_id(), refusal.result, refusal.error, refusal.text)
        peer_id = message.number(AvpType.ASSIGNED_TUNNEL_ID)
        head = encode_header(peer_id, 0, 0, header.ns + 1 & MASK, len(stop))
        self._replies.append((head + stop, peer, local))

    def _open(
        self,
        header: ControlHeader,
        body: bytes,
        message: Message,
        peer: Peer,
        local: str,
        now: float,
    ) -> Tunnel:
        local_id = self._unused_id()
        tunnel = Tunnel(local_id, peer, local, self.config, self._shared, self._random, now)
        tunnel.open(header, body, message, now)
        self.tunnels[local_id] = tunnel
        key = (peer, tunnel.peer_id)
        tunnel.replaces = self._by_key.get(key)
        self._by_key[key] = tunnel
        self._half_open[tunnel] = None
        self._half_open_by_source[peer[0]] = self._half_open_by_source.get(peer[0], 0) + 1
        return tunnel

    def _leave_half_open(self, tunnel: Tunnel) -> None:
        if tunnel not in self._half_open:
            return
        del self._half_open[tunnel]
        source = tunnel.peer[0]
        left = self._half_open_by_source[source] - 1
        if left:
            self._half_open_by_source[source] = left
        else:
            del self._half_open_by_source[source]

    def _unused_id(self) -> int:
        """A tunnel id that is not in use and has not been lately, at random so that nobody can
        guess it."""
        while self._retired and len(self.tunnels) + len(self._retired) >= MAX_ID:
            del self._retired[next(iter(self._retired))]
        candidate = int.from_bytes(self._random(2), "big")
        for _ in range(MAX_ID):
            candidate = candidate % MAX_ID + 1
            if candidate not in self.tunnels and candidate not in self._retired:
                break
        return candidate
