"""UDP towards one port of a RADIUS server: connected sockets, and the identifiers on them.

An identifier has 8 bits, so a socket carries 256 requests at a time; more of them open further
sockets. An identifier rests after use until no reply to the old request can still come: a late one
must not meet a new request, and the server must not take the new request for a repeated old one.
"""

import asyncio
import random
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from l2tpns_core.radius.wire import MAX_PACKET_OCTETS, NO_AUTHENTICATOR

if TYPE_CHECKING:
    from l2tpns_core.radius.exchange import Exchange

IDENTIFIERS: Final = 256
MAX_SOCKETS: Final = 64
"""Per port of a server; when all their identifiers are in use, requests wait for one."""
DRAIN_LIMIT: Final = 64
"""Datagrams that are read from a socket before the loop may do something else."""
ANSWERED_REST_S: Final = 1.0
"""How long an identifier rests after its reply has come."""
UNANSWERED_REST_S: Final = 30.0
"""How long it rests when a reply, or a second one to a repeated request, may be on its way."""


class Slot:
    """One identifier on one socket, and the request that it was last used for."""

    __slots__ = (
        "answered",
        "authenticator",
        "exchange",
        "free_at",
        "identifier",
        "link",
        "secret",
        "sendings",
        "sent_at",
    )

    def __init__(self, link: "SocketLink", identifier: int) -> None:
        self.link = link
        self.identifier = identifier
        self.exchange: Exchange | None = None
        self.answered = False
        self.authenticator = NO_AUTHENTICATOR
        self.secret = b""
        self.sent_at = 0.0
        self.sendings = 0
        """How often the request went out under this identifier."""
        self.free_at = 0.0

    def take(self, exchange: "Exchange", secret: bytes, now: float) -> None:
        """Begin a request under this identifier."""
        self.exchange = exchange
        self.answered = False
        self.secret = secret
        self.sent_at = now
        self.sendings = 0


@dataclass(slots=True, eq=False)
class SocketLink:
    """One connected socket of a pool."""

    pool: "SocketPool"
    index: int
    socket: socket.socket
    slots: list[Slot | None]


class SocketPool:
    """The sockets towards one address and port. Whoever owns it gets every datagram and error."""

    __slots__ = (
        "_address",
        "_answered",
        "_fresh",
        "_links",
        "_loop",
        "_max_sockets",
        "_on_datagram",
        "_on_error",
        "_port",
        "_unanswered",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: IPv4Address | IPv6Address,
        port: int,
        on_datagram: Callable[[SocketLink, bytes], None],
        on_error: Callable[[OSError], None],
        max_sockets: int = MAX_SOCKETS,
    ) -> None:
        self._loop = loop
        self._address = address
        self._port = port
        self._on_datagram = on_datagram
        self._on_error = on_error
        self._max_sockets = max_sockets
        self._links: list[SocketLink] = []
        self._fresh: list[Slot] = []
        self._answered: deque[Slot] = deque()
        self._unanswered: deque[Slot] = deque()

    @property
    def capacity(self) -> int:
        """How many requests can be under way at once."""
        return self._max_sockets * IDENTIFIERS

    @property
    def socket_count(self) -> int:
        return len(self._links)

    def acquire(self, now: float) -> Slot | None:
        """An identifier that is free; None while all of them are in use or rest.

        Raises OSError when no socket can be had (no route, no file descriptor).
        """
        for resting in (self._answered, self._unanswered):
            if resting and resting[0].free_at <= now:
                return resting.popleft()
        if not self._fresh:
            if len(self._links) >= self._max_sockets:
                return None
            self._open()
        return self._fresh.pop()

    def release(self, slot: Slot, now: float, *, answered: bool) -> None:
        """The request of a slot is over; its identifier rests."""
        slot.exchange = None
        slot.answered = answered
        if answered and slot.sendings == 1:
            slot.free_at = now + ANSWERED_REST_S
            self._answered.append(slot)
        else:
            slot.free_at = now + UNANSWERED_REST_S
            self._unanswered.append(slot)

    def next_free_at(self) -> float | None:
        """When the next resting identifier becomes free."""
        return min(
            (resting[0].free_at for resting in (self._answered, self._unanswered) if resting),
            default=None,
        )

    def send(self, slot: Slot, datagram: bytes) -> bool:
        """Send once; False when the kernel took it not, which is like a loss on the way."""
        sock = slot.link.socket
        slot.sendings += 1
        try:
            sock.send(datagram)
        except BlockingIOError:
            return False
        except OSError as error:
            # An ICMP error to an earlier datagram is reported here; this one was not sent yet.
            self._on_error(error)
            try:
                sock.send(datagram)
            except OSError:
                return False
        return True

    def local_address(self) -> str:
        """The address that the server sees us under; raises OSError like acquire()."""
        if not self._links:
            self._open()
        return str(self._links[0].socket.getsockname()[0])

    def close(self) -> None:
        """Close every socket; slots of this pool must not be used any more."""
        for link in self._links:
            self._loop.remove_reader(link.socket)
            link.socket.close()
        self._links.clear()
        self._fresh.clear()
        self._answered.clear()
        self._unanswered.clear()

    def _open(self) -> None:
        family = socket.AF_INET6 if self._address.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect((str(self._address), self._port))
        except OSError:
            sock.close()
            raise
        link = SocketLink(self, len(self._links), sock, [None] * IDENTIFIERS)
        self._links.append(link)
        identifiers = list(range(IDENTIFIERS))
        random.SystemRandom().shuffle(identifiers)
        self._fresh = [Slot(link, identifier) for identifier in identifiers]
        for slot in self._fresh:
            link.slots[slot.identifier] = slot
        self._loop.add_reader(sock, self._drain, link)

    def _drain(self, link: SocketLink) -> None:
        for _ in range(DRAIN_LIMIT):
            try:
                datagram = link.socket.recv(MAX_PACKET_OCTETS + 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._on_error(error)
                if link.socket.fileno() < 0:
                    return
                continue
            self._on_datagram(link, datagram)
            if link.socket.fileno() < 0:
                return  # closed by what the datagram set off
