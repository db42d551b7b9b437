"""The UDP side of the lab's LAC: sockets, drain loops, and a path that can be made bad."""

import asyncio
import errno
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from l2tpns_core.timers import Timer, TimerQueue

READ_BATCH: Final = 128  # datagrams read before the loop gets a turn
RECEIVE_BUFFER_BYTES: Final = 8 << 20
SO_RCVBUFFORCE: Final = 33  # Linux; the socket module does not name it
MAX_DELAY_S: Final = 0.06  # how long reordering holds a datagram back at most
MAX_DELAYED: Final = 10_000  # datagrams held back at once; beyond that they go straight on

Address = tuple[str, int]
SocketMaker = Callable[[str, int], socket.socket]
"""Makes a non-blocking UDP socket bound to address and port (0: any)."""


@dataclass(slots=True)
class Impairments:
    """What the path does to datagrams, both ways, in percent. May be changed at any time."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_s: float = 0.0
    """Time that each datagram takes longer, each way, rounded up to a tick of the timers."""
    control: bool = True
    """Acts on control messages."""
    data: bool = False
    """Acts on data messages."""
    seed: int = 1

    @property
    def active(self) -> bool:
        return bool(self.loss or self.duplicate or self.reorder or self.delay_s)

    def spoils(self, control: bool) -> bool:
        """Whether control (else data) messages can go missing or arrive out of order."""
        return self.active and (self.control if control else self.data)


@dataclass(slots=True)
class TransportCounters:
    sent: int = 0
    received: int = 0
    send_failed: int = 0
    """The kernel's queue was full, or it refused."""
    refused: int = 0
    """ICMP unreachable came back."""
    impaired_lost: int = 0
    impaired_doubled: int = 0
    impaired_delayed: int = 0


class Clock:
    """One timer heap for a LAC, driven by the event loop."""

    __slots__ = ("_closed", "_handle", "loop", "queue")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.queue = TimerQueue()
        self.queue.on_earlier = self._wake_at
        self._handle: asyncio.TimerHandle | None = None
        self._closed = False

    def now(self) -> float:
        """Monotonic seconds."""
        return self.loop.time()

    def set(self, timer: Timer, at: float | None) -> None:
        """Move timer to `at`, or cancel it with None."""
        self.queue.set(timer, at)

    def after(self, delay_s: float, function: Callable[[], None]) -> None:
        """Call function once, delay_s from now."""
        self.queue.set(Timer(lambda _now: function()), self.now() + delay_s)

    def _wake_at(self, at: float) -> None:
        if self._closed:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self.loop.call_at(at, self._expire)

    def _expire(self) -> None:
        self._handle = None
        self.queue.expire(self.now())
        following = self.queue.next_deadline()
        if following is not None:
            self._wake_at(following)

    def close(self) -> None:
        """No timer fires any more."""
        self._closed = True
        if self._handle is not None:
            self._handle.cancel()


def make_udp_socket(address: str, port: int) -> socket.socket:
    """A non-blocking UDP socket in this network namespace. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.bind((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def enlarge_receive_buffer(sock: socket.socket) -> None:
    """Room for a burst; beyond the system's limit where we may."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


class Port:
    """One UDP socket and what arrives on it."""

    __slots__ = ("_clock", "_counters", "_delayed", "_impairments", "_random", "_receive", "sock")

    def __init__(
        self,
        sock: socket.socket,
        clock: Clock,
        counters: TransportCounters,
        impairments: Impairments,
        receive: Callable[[bytes, Address, "Port"], None],
    ) -> None:
        self.sock = sock
        self._clock = clock
        self._counters = counters
        self._impairments = impairments
        self._random = random.Random(impairments.seed)
        self._receive = receive
        self._delayed = 0
        enlarge_receive_buffer(sock)
        clock.loop.add_reader(sock.fileno(), self._read)

    @property
    def address(self) -> Address:
        host, port = self.sock.getsockname()
        return host, port

    def close(self) -> None:
        if self.sock.fileno() >= 0:
            self._clock.loop.remove_reader(self.sock.fileno())
            self.sock.close()

    def send(self, datagram: bytes, to: Address) -> None:
        """Send, by way of the impairments."""
        if self._impairments.active and self._impairments.spoils(datagram[0] & 0x80 != 0):
            self._spoil(lambda: self._send_now(datagram, to))
        else:
            self._send_now(datagram, to)

    def _send_now(self, datagram: bytes, to: Address) -> None:
        if self.sock.fileno() < 0:
            return
        try:
            self.sock.sendto(datagram, to)
        except BlockingIOError:
            self._counters.send_failed += 1
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                self._counters.refused += 1
            else:
                self._counters.send_failed += 1
        else:
            self._counters.sent += 1

    def _read(self) -> None:
        receive_from = self.sock.recvfrom
        for _ in range(READ_BATCH):
            try:
                datagram, source = receive_from(65535)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ECONNREFUSED:
                    raise
                self._counters.refused += 1
                continue
            self._counters.received += 1
            self._take(datagram, source)
            if self.sock.fileno() < 0:  # closed by what it received
                return

    def _take(self, datagram: bytes, source: Address) -> None:
        if (
            self._impairments.active
            and datagram
            and self._impairments.spoils(datagram[0] & 0x80 != 0)
        ):
            self._spoil(lambda: self._receive(datagram, source, self))
        else:
            self._receive(datagram, source, self)

    def _spoil(self, deliver: Callable[[], None]) -> None:
        impairments, counters, chance = self._impairments, self._counters, self._random.random
        if chance() * 100 < impairments.loss:
            counters.impaired_lost += 1
            return
        copies = 1
        if chance() * 100 < impairments.duplicate:
            counters.impaired_doubled += 1
            copies = 2
        for _ in range(copies):
            delay_s = impairments.delay_s
            if chance() * 100 < impairments.reorder:
                delay_s += chance() * MAX_DELAY_S
            if delay_s and self._delayed < MAX_DELAYED:
                counters.impaired_delayed += 1
                self._delayed += 1
                self._clock.after(delay_s, lambda: self._deliver_late(deliver))
            else:
                deliver()

    def _deliver_late(self, deliver: Callable[[], None]) -> None:
        self._delayed -= 1
        if self.sock.fileno() >= 0:
            deliver()
