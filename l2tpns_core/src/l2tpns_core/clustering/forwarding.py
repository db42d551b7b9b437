"""What a slave passes on to the master, and what the master makes of it."""

from collections.abc import Callable
from enum import IntEnum
from ipaddress import AddressValueError, IPv4Address
from typing import Final, Protocol

from l2tpns_core.cluster.events import Forwarded
from l2tpns_core.dataplane.plane import Peer, PlaneEvents

KEY_BYTES: Final = 4
DESTINATION: Final = slice(16, 20)


class Channel(IntEnum):
    """What a forwarded packet is. The numbers are part of the messages between nodes."""

    CONTROL = 1
    """An L2TP control datagram."""
    FRAME = 2
    """The key of a session and a PPP frame of it."""
    FROM_LAC = 3
    """An L2TP data message of a session that slaves do not serve."""
    TO_SUBSCRIBER = 4
    """An IP packet to such a session."""


class Sender(Protocol):
    """Something like ClusterNode.forward with the time."""

    def __call__(
        self, channel: int, packet: bytes, source: tuple[int, int], local: int
    ) -> bool: ...


class TakingPlane(Protocol):
    """What is asked of the data plane of the master."""

    def take_from_lac(self, datagram: bytes, peer: Peer) -> None: ...
    def take_to_subscriber(self, packet: bytes) -> None: ...


class Passing:
    """PlaneEvents and Elsewhere of a slave's plane."""

    def __init__(self, send: Sender, is_served: Callable[[bytes], bool]) -> None:
        """`is_served` says whether the master serves an address, 4 octets."""
        self._send = send
        self._is_served = is_served

    # dataplane.plane.PlaneEvents

    def control_received(self, datagram: bytes, peer: Peer, local: str, now: float) -> None:
        here = int(IPv4Address(local)) if local else 0
        self._send(Channel.CONTROL, datagram, _numbers(peer), here)

    def frame_received(self, key: int, frame: bytes, now: float) -> None:
        self._send(Channel.FRAME, key.to_bytes(KEY_BYTES, "big") + frame, (0, 0), 0)

    def unknown_session(self, tunnel_id: int, session_id: int, peer: Peer, now: float) -> None:
        """Such data went to from_lac()."""

    # dataplane.plane.Elsewhere

    def from_lac(self, datagram: bytes, peer: Peer) -> None:
        self._send(Channel.FROM_LAC, datagram, _numbers(peer), 0)

    def to_subscriber(self, packet: bytes) -> bool:
        if not self._is_served(packet[DESTINATION]):
            return False
        self._send(Channel.TO_SUBSCRIBER, packet, (0, 0), 0)
        return True


def deliver(event: Forwarded, events: PlaneEvents, plane: TakingPlane, now: float) -> bool:
    """Handle on the master what a slave has passed on, as if it had come here; False for what this
    release does not know."""
    peer = str(IPv4Address(event.address)), event.port
    packet = event.packet
    match event.channel:
        case Channel.CONTROL:
            local = str(IPv4Address(event.local)) if event.local else ""
            events.control_received(packet, peer, local, now)
        case Channel.FRAME:
            key = int.from_bytes(packet[:KEY_BYTES], "big")
            events.frame_received(key, packet[KEY_BYTES:], now)
        case Channel.FROM_LAC:
            plane.take_from_lac(packet, peer)
        case Channel.TO_SUBSCRIBER:
            plane.take_to_subscriber(packet)
        case _:
            return False
    return True


def _numbers(peer: Peer) -> tuple[int, int]:
    try:
        return int(IPv4Address(peer[0])), peer[1]
    except AddressValueError:
        return 0, 0
