"""Interception: each packet of a session, as it was forwarded, alone in a UDP datagram to whoever
is entitled to it (manual, "Interception").

Nothing that can go wrong with a copy is a subscriber's business: errors are only counted.
"""

import socket
from collections import Counter
from typing import Final

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.plane import Peer
from l2tpns_core.dataplane.udp import IP_MTU_DISCOVER, IP_PMTUDISC_OMIT

UDP: Final = 17
PLAIN_HEADER: Final = 0x45
UDP_PORTS_END: Final = 24
"""Behind an IP header without options."""
ENVELOPE: Final = 28
"""IP and UDP headers."""
SEND_BUFFER: Final = 4 << 20
MAX_COPY: Final = 65_507
"""The largest payload of a datagram."""


class Interceptor:
    """Sends the copies. Its socket is made with the first target and closed with the last."""

    __slots__ = ("_counters", "_own_port", "_socket", "_targets", "_wire_targets")

    def __init__(self, counters: PlaneCounters) -> None:
        self._counters = counters
        self._socket: socket.socket | None = None
        self._own_port = b""
        self._targets: Counter[Peer] = Counter()
        self._wire_targets: set[bytes] = set()
        """The same as destination address and port in a packet."""

    def add(self, target: Peer) -> None:
        """A session is to be copied to a target."""
        self._targets[target] += 1
        self._wire_targets.add(_on_the_wire(target))
        if self._socket is None:
            self._open()

    def discard(self, target: Peer) -> None:
        """A session no longer is."""
        if target not in self._targets:
            return  # since close()
        self._targets[target] -= 1
        if not self._targets[target]:
            del self._targets[target]
            self._wire_targets.discard(_on_the_wire(target))
        if not self._targets:
            self.close()

    def close(self) -> None:
        """Copy nothing any more, until add()."""
        self._targets.clear()
        self._wire_targets.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def origin(self, target: Peer) -> Peer | None:
        """Where copies for a target come from, for those who send some themselves; None when that
        is not known."""
        if self._socket is None:
            return None
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                asking.connect(target)
                address: str = asking.getsockname()[0]
        except (OSError, OverflowError):
            return None
        return address, int.from_bytes(self._own_port, "big")

    def forward(self, envelope: bytes) -> None:
        """Send a copy that the kernel has left to user space, with its target in the header."""
        target = envelope[16:20] + envelope[22:24]
        if target in self._wire_targets:  # else its intercept has just ended
            port = int.from_bytes(target[4:], "big")
            self.copy(envelope[ENVELOPE:], (socket.inet_ntoa(target[:4]), port))

    def copy(self, packet: bytes, target: Peer) -> None:
        """Send a copy of a packet."""
        if self._socket is None and self._targets:
            self._open()
        try:
            if self._socket is None or len(packet) > MAX_COPY:
                raise OSError
            self._socket.sendto(packet, target)
        except (OSError, OverflowError):  # the buffer is full, …: nobody's packet is late
            self._counters.snoop_failures += 1
        else:
            self._counters.packets_snooped += 1

    def is_own_copy(self, packet: bytes) -> bool:
        """Whether a packet to a subscriber is itself a copy on its way to a target, which then is
        a subscriber: copying copies would never end."""
        return (
            packet[0] == PLAIN_HEADER
            and packet[9] == UDP
            and len(packet) >= UDP_PORTS_END
            and packet[20:22] == self._own_port
            and packet[16:20] + packet[22:24] in self._wire_targets
        )

    def _open(self) -> None:
        try:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            # DF stays clear, or a narrow hop would swallow the copies of all large packets.
            made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT)
            made.bind(("", 0))
        except OSError:
            return  # copy() counts it, and tries again
        self._socket = made
        self._own_port = made.getsockname()[1].to_bytes(2, "big")


def _on_the_wire(target: Peer) -> bytes:
    return socket.inet_aton(target[0]) + target[1].to_bytes(2, "big")
