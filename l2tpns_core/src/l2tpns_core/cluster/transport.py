"""The network and the clock of a node: UDP on cluster_interface, to a multicast group and to single
nodes.
"""

import asyncio
import fcntl
import logging
import socket
import struct
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import Final

from l2tpns_core.cluster.events import Event
from l2tpns_core.cluster.node import ClusterNode

log = logging.getLogger("l2tpns.cluster")

PORT: Final = 32_792
RECEIVE_BUFFER: Final = 4 << 20
PRIORITY: Final = 6
WORK_PAUSE_S: Final = 0.001
"""Between slices of a transfer, so that others come to their turn."""
AT_ONCE: Final = 64
"""Datagrams that are taken before the loop is free again."""
SIOCGIFADDR: Final = 0x8915
NAME_BYTES: Final = 15


def address_of(device: str) -> IPv4Address:
    """The IPv4 address of an interface. Raises OSError when it has none."""
    request = struct.pack("256s", device.encode()[:NAME_BYTES])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return IPv4Address(fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)[20:24])


def open_socket(
    device: str, address: IPv4Address, group: IPv4Address | None, port: int, ttl: int = 1
) -> socket.socket:
    """Raises OSError."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, PRIORITY)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if group is not None:
            member = group.packed + address.packed
            found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address.packed)
            found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
            found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        found.bind(("", port))
    except OSError:
        found.close()
        raise
    return found


class ClusterTransport:
    """Runs a node on a socket. Call kick() after each call of the node's own methods."""

    def __init__(
        self,
        node: ClusterNode,
        sock: socket.socket,
        on_event: Callable[[Event], None],
        *,
        group: IPv4Address | None,
        port: int = PORT,
        peers: Sequence[IPv4Address] = (),
    ) -> None:
        """What is for all goes to `group`, or else to each of `peers`."""
        self._node = node
        self._socket = sock
        self._on_event = on_event
        self._group = group
        self._port = port
        self._peers = peers
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._clock_at = 0.0
        self.send_failures = 0
        self._loop.add_reader(sock.fileno(), self._readable)
        self.kick()

    def close(self) -> None:
        """Send what is there still, and stop."""
        self._send()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def set_peers(self, peers: Sequence[IPv4Address]) -> None:
        """What is for all goes to these from now on, where there is no group."""
        self._peers = peers

    def kick(self) -> None:
        """Tell the events, send what is to be sent, and set the timer."""
        while (event := self._node.next_event()) is not None:
            try:
                self._on_event(event)
            except Exception:  # heartbeats must go on, whatever is made of an event
                log.exception("an event of the cluster was not handled: %s", type(event).__name__)
        self._send()
        if self._timer is not None:
            self._timer.cancel()
        due, now = self._node.get_timer(), self._loop.time()
        if due != float("inf"):
            at = max(due, now + WORK_PAUSE_S)
            self._timer = self._loop.call_at(at, self._timer_due)

    def _timer_due(self) -> None:
        now = self._loop.time()
        self._node.set_wall_ahead(time.time() - now)
        try:
            self._node.handle_timer(now)
        except Exception:  # the timer must be set again, whatever went wrong
            log.exception("a timer of the cluster failed")
        self.kick()

    def _readable(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data = self._socket.recv(65_536)
            except OSError:
                break
            self._node.receive(data, self._loop.time())
        self.kick()

    def _send(self) -> None:
        for to, data in self._node.datagrams_to_send():
            if to is not None:
                self._send_to(IPv4Address(to), data)
            elif self._group is not None:
                self._send_to(self._group, data)
            else:
                for peer in self._peers:
                    self._send_to(peer, data)

    def _send_to(self, address: IPv4Address, data: bytes) -> None:
        """What the network does not take is lost, as on the network."""
        try:
            self._socket.sendto(data, (str(address), self._port))
        except OSError:
            self.send_failures += 1
