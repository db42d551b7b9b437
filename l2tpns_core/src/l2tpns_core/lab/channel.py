"""The reliable control channel as a LAC sees it (RFC 2661 section 5.8 and appendix A).

Numbers are modulo 65,536. The caller gives the time and sends what `write` is called with.
"""

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from l2tpns_core.lab.avp import Control, encode_control

DEFAULT_PEER_WINDOW: Final = 4
REMEMBERED: Final = 64  # checksums kept of messages that came, to compare repetitions with
MIN_RETRANSMIT_S: Final = 0.3  # above the peer's delayed acknowledgement
MAX_QUEUE: Final = 100_000  # messages waiting for the window; a lab that exceeds it has a fault


@dataclass(slots=True)
class ChannelOptions:
    window: int = 64
    retransmit_s: float = 1.0
    """Before anything is known of the path; later the measured round trip shortens it."""
    retransmit_cap_s: float = 8.0
    max_retransmits: int = 7
    ack_delay_s: float = 0.05
    in_order: bool = True
    """The path loses and reorders nothing, so that every irregular number is a fault."""


@dataclass(slots=True)
class ChannelCounters:
    sent: int = 0
    acks_sent: int = 0
    retransmitted: int = 0
    received: int = 0
    acks_received: int = 0
    repeated: int = 0
    out_of_order: int = 0


@dataclass(slots=True)
class _Outgoing:
    ns: int
    session_id: int
    body: bytes
    on_sent: Callable[[], None] | None
    sent_count: int = 0
    sent_at: float = 0.0


def ahead(a: int, b: int) -> int:
    """How far a is ahead of b, from -32,768 to 32,767."""
    return ((a - b + 0x8000) & 0xFFFF) - 0x8000


class Channel:
    """One end of a control connection."""

    __slots__ = (
        "_ack_at",
        "_congestion",
        "_early",
        "_fraction",
        "_peer_acked",
        "_queue",
        "_recover_to",
        "_remembered",
        "_resend_at",
        "_round_trip",
        "_round_trip_spread",
        "_sent",
        "_threshold",
        "_unacked_received",
        "counters",
        "expected",
        "failed",
        "next_ns",
        "options",
        "peer_window",
        "tunnel_id",
        "violation",
        "write",
    )

    def __init__(
        self,
        options: ChannelOptions,
        counters: ChannelCounters,
        write: Callable[[bytes], None],
        violation: Callable[[str], None],
    ) -> None:
        self.options = options
        self.counters = counters
        self.write = write
        self.violation = violation
        self.tunnel_id = 0
        """The LNS's id for the tunnel, once it is known."""
        self.peer_window = DEFAULT_PEER_WINDOW
        self.next_ns = 0
        self.expected = 0
        self.failed = False
        """No answer after the last retransmission."""
        self._queue: deque[_Outgoing] = deque()
        self._sent: deque[_Outgoing] = deque()
        self._early: dict[int, Control] = {}
        self._remembered: dict[int, int] = {}
        self._peer_acked = 0
        self._recover_to: int | None = None
        self._ack_at: float | None = None
        self._resend_at: float | None = None
        self._unacked_received = 0
        self._round_trip: float | None = None
        self._round_trip_spread = 0.0
        self._congestion = 1
        self._threshold = DEFAULT_PEER_WINDOW
        self._fraction = 0

    @property
    def idle(self) -> bool:
        """Everything that was sent has been acknowledged."""
        return not self._queue and not self._sent

    def set_peer_window(self, size: int) -> None:
        """What the LNS's Receive Window Size says."""
        self.peer_window = max(1, size)
        self._threshold = self.peer_window

    def send(
        self,
        session_id: int,
        body: bytes,
        now: float,
        on_sent: Callable[[], None] | None = None,
    ) -> None:
        """Queue a message; it goes out when the window allows, and then on_sent is called."""
        if len(self._queue) >= MAX_QUEUE:
            self.failed = True
            return
        self._queue.append(_Outgoing(self.next_ns, session_id, body, on_sent))
        self.next_ns = (self.next_ns + 1) & 0xFFFF
        self._fill_window(now)

    def _fill_window(self, now: float) -> None:
        limit = min(self.peer_window, self._congestion)
        while self._queue and len(self._sent) < limit:
            item = self._queue.popleft()
            item.sent_at = now
            self._sent.append(item)
            self._transmit(item)
            if self._resend_at is None:
                self._resend_at = now + self._wait()
            if item.on_sent is not None:
                item.on_sent()

    def _transmit(self, item: _Outgoing) -> None:
        item.sent_count += 1
        self.counters.sent += 1
        self._ack_at = None
        self._unacked_received = 0
        self.write(
            encode_control(self.tunnel_id, item.session_id, item.ns, self.expected, item.body)
        )

    def write_ack(self) -> None:
        """Send a ZLB at once."""
        self._ack_at = None
        self._unacked_received = 0
        self.counters.acks_sent += 1
        # A ZLB carries the number of the next message that has not been sent yet.
        ns = self._queue[0].ns if self._queue else self.next_ns
        self.write(encode_control(self.tunnel_id, 0, ns, self.expected, b""))

    def receive(self, message: Control, body: bytes, now: float) -> list[Control]:
        """Take a message; return what is now deliverable in order (never a ZLB)."""
        self._take_ack(message, now)
        if message.kind == 0 and not body:
            self._check_zlb(message)
            return []
        self.counters.received += 1
        distance = ahead(message.ns, self.expected)
        if distance < 0:
            self._take_repetition(message, body)
            return []
        if distance >= self.options.window:
            self.violation(f"Ns {message.ns} beyond our window (we expect {self.expected})")
            return []
        if distance > 0:
            self.counters.out_of_order += 1
            if self.options.in_order:
                self.violation(f"Ns {message.ns} where {self.expected} is next")
        if message.ns in self._early:
            self.counters.repeated += 1
        self._remember(message.ns, body)
        self._early[message.ns] = message
        return self._deliverable(now)

    def _deliverable(self, now: float) -> list[Control]:
        ready = []
        while (following := self._early.pop(self.expected, None)) is not None:
            ready.append(following)
            self.expected = (self.expected + 1) & 0xFFFF
        self._unacked_received += len(ready)
        if self._unacked_received * 2 >= self.options.window:
            self.write_ack()
        elif ready and self._ack_at is None:
            self._ack_at = now + self.options.ack_delay_s
        return ready

    def _take_repetition(self, message: Control, body: bytes) -> None:
        self.counters.repeated += 1
        known = self._remembered.get(message.ns)
        if known is not None and known != zlib.crc32(body):
            self.violation(f"message Ns {message.ns} came again with other content")
        self.write_ack()

    def _remember(self, ns: int, body: bytes) -> None:
        self._remembered[ns] = zlib.crc32(body)
        self._remembered.pop((ns - REMEMBERED) & 0xFFFF, None)

    def _check_zlb(self, message: Control) -> None:
        self.counters.acks_received += 1
        distance = ahead(message.ns, self.expected)
        if distance and self.options.in_order:
            self.violation(f"ZLB with Ns {message.ns} where {self.expected} is next")
        elif abs(distance) > self.options.window:
            self.violation(f"ZLB with Ns {message.ns} far from {self.expected}")

    def _take_ack(self, message: Control, now: float) -> None:
        sent_to = self._queue[0].ns if self._queue else self.next_ns
        if ahead(message.nr, sent_to) > 0:
            self.violation(f"Nr {message.nr} acknowledges what was not sent (next is {sent_to})")
            return
        if ahead(message.nr, self._peer_acked) < 0:
            if self.options.in_order:
                self.violation(f"Nr went back from {self._peer_acked} to {message.nr}")
            return
        self._peer_acked = message.nr
        acked = 0
        item = None
        while self._sent and ahead(message.nr, self._sent[0].ns) > 0:
            item = self._sent.popleft()
            acked += 1
        if item is not None:
            if item.sent_count == 1:
                self._measure(now - item.sent_at)
            self._grow(acked)
            self._resend_at = now + self._wait() if self._sent else None
            self._recover(message.nr)
        self._fill_window(now)

    def _measure(self, sample: float) -> None:
        """Learn the round trip as TCP does (RFC 6298 section 2)."""
        if self._round_trip is None:
            self._round_trip, self._round_trip_spread = sample, sample / 2
            return
        self._round_trip_spread += (abs(sample - self._round_trip) - self._round_trip_spread) / 4
        self._round_trip += (sample - self._round_trip) / 8

    def _wait(self) -> float:
        """How long to wait for an acknowledgement at first."""
        if self._round_trip is None:
            return self.options.retransmit_s
        wait = self._round_trip + 4 * self._round_trip_spread
        return min(self.options.retransmit_s, max(MIN_RETRANSMIT_S, wait))

    def _recover(self, acked_to: int) -> None:
        """After a timeout, what is still missing of that window was lost too: repeat it now."""
        if self._recover_to is None:
            return
        if ahead(acked_to, self._recover_to) >= 0 or not self._sent:
            self._recover_to = None
            return
        self.counters.retransmitted += 1
        self._transmit(self._sent[0])

    def _grow(self, acked: int) -> None:
        for _ in range(acked):
            if self._congestion < self._threshold:
                self._congestion += 1
            elif self._congestion < self.peer_window:
                self._fraction += 1
                if self._fraction >= self._congestion:
                    self._fraction = 0
                    self._congestion += 1

    def get_timer(self) -> float | None:
        """When handle_timer has something to do."""
        if self._ack_at is None or self._resend_at is None:
            return self._ack_at if self._resend_at is None else self._resend_at
        return min(self._ack_at, self._resend_at)

    def handle_timer(self, now: float) -> None:
        """Send a due acknowledgement or repeat what was not answered."""
        if self._ack_at is not None and self._ack_at <= now:
            self.write_ack()
        if self._resend_at is None or self._resend_at > now or not self._sent:
            return
        first = self._sent[0]
        if first.sent_count > self.options.max_retransmits:
            self.failed = True
            self._resend_at = None
            return
        self._threshold = max(len(self._sent) // 2, 1)
        self._congestion = 1
        self._fraction = 0
        self._recover_to = (self._sent[-1].ns + 1) & 0xFFFF
        self.counters.retransmitted += 1
        self._transmit(first)
        wait = self._wait() * 2 ** (first.sent_count - 1)
        self._resend_at = now + min(wait, self.options.retransmit_cap_s)

    def stop(self) -> None:
        """Send nothing more, ever."""
        self._queue.clear()
        self._sent.clear()
        self._early.clear()
        self._ack_at = self._resend_at = None
