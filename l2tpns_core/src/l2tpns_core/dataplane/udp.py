"""The L2TP UDP socket: buffers, overruns, and which of our addresses a LAC talks to."""

import errno
import logging
import socket
import struct
from collections.abc import Callable
from typing import Final

from l2tpns_core.dataplane.forwarding import Ancillary
from l2tpns_core.dataplane.plane import Peer

log = logging.getLogger("l2tpns.plane")

ANY_ADDRESS: Final = "0.0.0.0"

# Linux, where the socket module does not name them (asm-generic/socket.h, linux/in.h)
SO_RCVBUFFORCE: Final = 33
SO_MEMINFO: Final = 55
MEMINFO_FIELDS: Final = 9
MEMINFO_DROPS: Final = 8
IP_MTU_DISCOVER: Final = 10
IP_PMTUDISC_OMIT: Final = 5
IP_PKTINFO: Final = 8

PKTINFO: Final = struct.Struct("=I4s4s")
"""struct in_pktinfo: interface index, local address of the route, destination in the header."""
PKTINFO_SPACE: Final = socket.CMSG_SPACE(PKTINFO.size)

Received = tuple[bytes, list[tuple[int, int, bytes]], int, Peer]


class L2tpSocket:
    """A bound, non-blocking UDP socket.

    Bound to 0.0.0.0 it learns from IP_PKTINFO which of our addresses a datagram came to, so that
    the answer can leave from it. Bound to one address it need not ask, which is cheaper.
    """

    __slots__ = ("_ancillaries", "_ancillary_space", "_socket", "address", "port", "wildcard")

    def __init__(self, address: str, port: int, receive_buffer: int) -> None:
        """Raises OSError when the address cannot be bound."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind((address or ANY_ADDRESS, port))
            self.address, self.port = self._socket.getsockname()
            self.wildcard = self.address == ANY_ADDRESS
            # The path MTU that strangers' ICMP claims is ignored and DF stays clear: what does not
            # fit is fragmented, where the default would refuse to send it (EMSGSIZE).
            self._socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT)
            if self.wildcard:
                self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        except OSError:
            self._socket.close()
            raise
        self._ancillary_space = PKTINFO_SPACE if self.wildcard else 0
        self._ancillaries: dict[str, Ancillary] = {}
        self.set_receive_buffer(receive_buffer)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    @property
    def receive(self) -> Callable[[int, int], Received]:
        """recvmsg() of the socket: (size, ancillary space) -> (data, ancillary, flags, peer)."""
        return self._socket.recvmsg

    @property
    def send(self) -> Callable[[bytes, Peer], int]:
        """sendto() of the socket, from the address that the kernel picks."""
        return self._socket.sendto

    @property
    def ancillary_space(self) -> int:
        """What receive() needs to report the local address; 0 when there is but one."""
        return self._ancillary_space

    def send_from(self, data: bytes, peer: Peer, ancillary: Ancillary) -> int:
        """Send from the address that ancillary_for() was asked for."""
        return self._socket.sendmsg((data,), ancillary, 0, peer)

    def ancillary_for(self, local: str) -> Ancillary | None:
        """What makes a datagram leave from a local address; None where that goes by itself."""
        if not self.wildcard or not local:
            return None
        known = self._ancillaries.get(local)
        if known is None:
            info = PKTINFO.pack(0, socket.inet_aton(local), bytes(4))
            known = [(socket.IPPROTO_IP, IP_PKTINFO, info)]
            self._ancillaries[local] = known  # as many as this host has addresses
        return known

    def local_of(self, ancillary: list[tuple[int, int, bytes]]) -> str:
        """The address that a datagram came to."""
        for level, kind, data in ancillary:
            if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO) and len(data) >= PKTINFO.size:
                return socket.inet_ntoa(PKTINFO.unpack_from(data)[1])
        return "" if self.wildcard else self.address

    def set_receive_buffer(self, size: int) -> None:
        """Make the receive buffer `size` bytes, past the system's limit where we may."""
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        except OSError as error:
            if error.errno != errno.EPERM:
                log.error("cannot set the receive buffer to %d bytes: %s", size, error)
                return
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        granted = self.receive_buffer
        if granted < size:
            log.warning("receive buffer is %d bytes, not %d: net.core.rmem_max", granted, size)

    @property
    def receive_buffer(self) -> int:
        """The size of the receive buffer in bytes, as it was asked for (the kernel doubles it)."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2

    def overruns(self) -> int:
        """Datagrams dropped so far because the receive buffer was full; 32 bits in the kernel."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * MEMINFO_FIELDS)
        if len(raw) < 4 * MEMINFO_FIELDS:
            return 0
        return int(struct.unpack_from("=I", raw, 4 * MEMINFO_DROPS)[0])
