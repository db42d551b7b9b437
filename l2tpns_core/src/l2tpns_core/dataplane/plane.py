"""What the control plane asks of a data plane, whichever one forwards.

A session enters the plane when its call is connected (`ip` 0: only PPP control frames pass) and is
replaced by a richer route when its network comes up. `key` is session.session_key().
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from l2tpns_core.access_lists.lists import AccessList

Peer = tuple[str, int]


@dataclass(slots=True, frozen=True)
class SessionRoute:
    """All that a plane must know to move one session's packets. Addresses are host-order
    integers, rates kbit/s, sizes bytes."""

    key: int
    peer: Peer
    """Address and UDP port of the LAC."""
    local: str
    """Our address that the LAC talks to; "" for the socket's own."""
    peer_tunnel_id: int
    peer_session_id: int
    ppp_prefix: bytes = b"\xff\x03\x00\x21"
    """What goes before an IPv4 packet to the subscriber (ACFC and PFC honoured)."""
    ip: int = 0
    networks: tuple[tuple[int, int], ...] = ()
    """Framed-Routes as (network, prefix length); ours to accept as source and to deliver to."""
    mru: int = 1500
    clamp_mss: int = 0
    """Largest TCP MSS to let through in either direction; 0 leaves it alone."""
    send_sequence: bool = False
    """The LAC asked for sequence numbers (Sequencing Required, RFC 2661 section 5.4)."""
    throttle_in: int = 0
    throttle_out: int = 0
    snoop: Peer | None = None
    """Where a copy of each packet goes."""
    hooked: bool = False
    """A plugin listens to packet_rx or packet_tx: every packet is shown to it."""
    filter_in: AccessList | None = None
    """Which packets of the subscriber pass."""
    filter_out: AccessList | None = None
    """Which packets to the subscriber pass."""
    magic: int = 0
    """Our LCP Magic-Number once LCP is open: the plane may answer Echo-Requests with it. 0: it may
    not."""


class SessionCounters(NamedTuple):
    """Traffic in IP bytes and packets, 64 bit; `in` is from the subscriber. The times are
    monotonic seconds of the last frame from (`heard_at`: any frame) and of the last IP packet in
    either direction (`data_at`); 0.0 for never."""

    octets_in: int = 0
    octets_out: int = 0
    packets_in: int = 0
    packets_out: int = 0
    heard_at: float = 0.0
    data_at: float = 0.0


class ThrottleState(NamedTuple):
    """The limits of a session at work, since they were set: rates in kbit/s, else packets."""

    rate_in: int = 0
    rate_out: int = 0
    queued_in: int = 0
    queued_out: int = 0
    passed_in: int = 0
    passed_out: int = 0
    delayed_in: int = 0
    delayed_out: int = 0
    dropped_in: int = 0
    dropped_out: int = 0


class DataPlane(Protocol):
    """The interface of every plane. Nothing here blocks, and nothing walks all sessions."""

    name: str

    def install(self, route: SessionRoute) -> None:
        """Add a session or replace what is known of it; counters and sequence numbers go on."""

    def remove(self, key: int) -> SessionCounters:
        """Forget a session and return its final counters (zeros when it was not there)."""

    def counters(self, key: int) -> SessionCounters:
        """The counters of one session so far."""

    def throttle_state(self, key: int) -> ThrottleState | None:
        """How the limits of a session fare; None when it has none in the plane."""

    def send_frames(self, key: int, frames: Iterable[bytes]) -> None:
        """Send PPP frames (from the address field on) to the subscriber's LAC."""

    def send_control(self, datagrams: Iterable[tuple[bytes, Peer, str]]) -> None:
        """Send L2TP control datagrams as (payload, peer, local address or "")."""


class PassedOn:
    """A DataPlane that has another one do everything: to be changed in part."""

    __slots__ = ("_plane", "name")

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self.name = plane.name

    def install(self, route: SessionRoute) -> None:
        self._plane.install(route)

    def remove(self, key: int) -> SessionCounters:
        return self._plane.remove(key)

    def counters(self, key: int) -> SessionCounters:
        return self._plane.counters(key)

    def throttle_state(self, key: int) -> ThrottleState | None:
        return self._plane.throttle_state(key)

    def send_frames(self, key: int, frames: Iterable[bytes]) -> None:
        self._plane.send_frames(key, frames)

    def send_control(self, datagrams: Iterable[tuple[bytes, Peer, str]]) -> None:
        self._plane.send_control(datagrams)


class PlaneEvents(Protocol):
    """What a plane reports to the control plane."""

    def control_received(self, datagram: bytes, peer: Peer, local: str, now: float) -> None:
        """A datagram with the T bit set, or one that is not L2TP data at all."""

    def frame_received(self, key: int, frame: bytes, now: float) -> None:
        """A PPP frame (from the address field or the protocol on) that the plane does not
        forward itself: PPP control, or IP of a session whose network is not up."""

    def unknown_session(self, tunnel_id: int, session_id: int, peer: Peer, now: float) -> None:
        """A data message for a session that does not exist."""


class Elsewhere(Protocol):
    """Takes packets that this node cannot forward, because another one serves their session."""

    def from_lac(self, datagram: bytes, peer: Peer) -> None:
        """A data message for a session that is not in the plane."""

    def to_subscriber(self, packet: bytes) -> bool:
        """An IP packet for an address that no session of the plane has; False when it is nobody
        else's either."""


PacketHook = Callable[[int, bytes], bytes | None]
"""(key, IP packet) -> the packet to go on with, or None to drop it."""


class Nobody:
    """PlaneEvents of a plane whose control plane is not there yet: everything is dropped."""

    def control_received(self, datagram: bytes, peer: Peer, local: str, now: float) -> None:
        pass

    def frame_received(self, key: int, frame: bytes, now: float) -> None:
        pass

    def unknown_session(self, tunnel_id: int, session_id: int, peer: Peer, now: float) -> None:
        pass
