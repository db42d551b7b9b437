"""The way into the network for ICMP errors of our own.

Written into the TUN device they would be dropped: the kernel takes no packet with one of its own
addresses as source from outside ("martian source").
"""

import socket


class IcmpSocket:
    """A raw socket that only sends. Needs CAP_NET_RAW."""

    __slots__ = ("_socket",)

    def __init__(self) -> None:
        """Raises OSError (PermissionError) when raw sockets are not allowed."""
        self._socket = socket.socket(
            socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW
        )

    def send(self, packet: bytes) -> int:
        """Send a whole IPv4 packet to its destination. Raises OSError."""
        return self._socket.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))

    def close(self) -> None:
        self._socket.close()
