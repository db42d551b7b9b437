"""The reliable delivery of control messages (RFC 2661 section 5.8 and appendix A).

Numbers count modulo 2^16. Of two numbers the one up to 32767 ahead is the later one.
"""

from collections import deque
from typing import Final, NamedTuple

from l2tpns_core.l2tp.config import EndpointConfig
from l2tpns_core.l2tp.message import ControlHeader, encode_header
from l2tpns_core.l2tp.saved import SavedChannel, SavedMessage

MASK: Final = 0xFFFF
HALF: Final = 0x8000
DEFAULT_PEER_WINDOW: Final = 4
"""What a peer without a Receive Window Size takes (section 4.4.3)."""
ACK_EVERY: Final = 4
"""Messages that wait for their acknowledgement at most: a peer with the smallest usual window, or
still in its slow start, is not kept waiting."""
MIN_MARGIN_S: Final = 0.25
"""How much longer than the round trip the first wait is at least: peers may delay an
acknowledgement although they did not delay the ones before."""
MEASURED_FOR_S: Final = 30.0
"""How long a measured round trip counts when nothing is sent: the path may have changed since."""
FAST_AFTER: Final = 3
"""Repeated acknowledgements that show a loss; fewer than that come of datagrams that the network
doubled or reordered."""
MAX_HELD_BYTES: Final = 64 * 1024
"""Bytes of messages held because an earlier one is missing; more are dropped, and come again."""
MAX_ANSWERS: Final = 4096
"""Answers to the peer's requests that wait to be sent or acknowledged. A peer that asks for more
without acknowledging is not listened to until it does."""


class _Outgoing(NamedTuple):
    session_id: int
    body: bytes
    is_answer: bool


class _RoundTrip:
    """What is known of the round trip to the peer (RFC 6298 section 2)."""

    __slots__ = ("shortest_s", "smoothed_s", "variation_s")

    def __init__(self) -> None:
        self.smoothed_s: float | None = None
        self.variation_s = 0.0
        self.shortest_s = 0.0

    def add(self, sample: float) -> None:
        """Take a measurement."""
        if self.smoothed_s is None:
            self.smoothed_s, self.variation_s = sample, sample / 2
            self.shortest_s = sample
            return
        self.variation_s += (abs(sample - self.smoothed_s) - self.variation_s) / 4
        self.smoothed_s += (sample - self.smoothed_s) / 8
        self.shortest_s = min(sample, self.shortest_s)

    @property
    def wait_s(self) -> float:
        """How long an acknowledgement may take before the message counts as lost."""
        return (self.smoothed_s or 0.0) + max(4 * self.variation_s, MIN_MARGIN_S)


class Channel:
    """One side of a control connection.

    What is not acknowledged stays in a queue. The first `_in_flight` of it count as under way, the
    first `_sent` have been transmitted at least once; after a timeout the former starts anew.

    A timeout or repeated acknowledgements begin a recovery, which counts as one loss. It ends when
    the peer acknowledges a message that was first sent after that; before, what the peer says may
    be about our repetitions. That later message is the last of the `_recovering` first ones.
    """

    __slots__ = (
        "_ack_at",
        "_acknowledged",
        "_answers",
        "_config",
        "_credit",
        "_fast",
        "_held",
        "_held_bytes",
        "_in_flight",
        "_interval_s",
        "_progress_at",
        "_queue",
        "_recovering",
        "_repaired_at",
        "_repeat_first",
        "_repeated_acks",
        "_retransmit_at",
        "_round_trip",
        "_sent",
        "_threshold",
        "_timed",
        "_timed_at",
        "_unacknowledged",
        "congestion_window",
        "dropped",
        "duplicates",
        "next_nr",
        "peer_id",
        "peer_window",
        "queued",
        "retransmissions",
    )

    def __init__(self, config: EndpointConfig, peer_id: int) -> None:
        self._config = config
        self.peer_id = peer_id
        """The tunnel id in the headers that we send."""
        self.next_nr = 0
        """The number of the message that we expect next."""
        self.peer_window = DEFAULT_PEER_WINDOW
        self.congestion_window = 1
        self.retransmissions = 0
        self.duplicates = 0
        """Messages that came again."""
        self.dropped = 0
        """Messages beyond our window or our bounds, or with an impossible Nr."""
        self.queued = 0
        """Messages that were ever handed to send()."""
        self._queue: deque[_Outgoing] = deque()
        self._acknowledged = 0  # number of the first message in the queue
        self._in_flight = 0
        self._sent = 0
        self._answers = 0
        self._threshold = DEFAULT_PEER_WINDOW
        self._credit = 0
        self._recovering = 0
        self._fast = False  # the recovery began without a timeout
        self._repaired_at = 0.0  # when a fast recovery last repeated the first message
        self._repeated_acks = 0
        self._interval_s = config.retransmit_initial_s
        self._retransmit_at: float | None = None
        self._progress_at = 0.0  # with a _retransmit_at: since when the peer owes an answer
        self._round_trip = _RoundTrip()
        self._timed = 0  # which message of the queue is measured, counted from 1; 0: none
        self._timed_at = 0.0
        self._repeat_first = False
        self._held: dict[int, tuple[int, bytes]] = {}
        self._held_bytes = 0
        self._unacknowledged = 0
        self._ack_at: float | None = None

    @property
    def next_ns(self) -> int:
        """The number of the next message that is transmitted for the first time."""
        return self._acknowledged + self._sent & MASK

    @property
    def queue_length(self) -> int:
        """Messages that the peer has not acknowledged, sent or not."""
        return len(self._queue)

    def set_peer_window(self, size: int) -> None:
        """Take the peer's Receive Window Size; 0, which is not allowed, counts as 1."""
        self.peer_window = self._threshold = min(max(size, 1), HALF)

    def send(self, session_id: int, body: bytes, is_answer: bool = False) -> None:
        """Queue a message. `is_answer` says that the peer made us send it."""
        self._queue.append(_Outgoing(session_id, body, is_answer))
        self._answers += is_answer
        self.queued += 1

    def export(self, latest: int | None = None) -> SavedChannel:
        """Where the channel is, with the `latest` messages of its queue; None is all of it."""
        count = len(self._queue) if latest is None else min(latest, len(self._queue))
        return SavedChannel(
            self._acknowledged,
            self.next_ns,
            self.next_nr,
            tuple(SavedMessage(*self._queue[index]) for index in range(-count, 0)),
        )

    def restore(self, saved: SavedChannel) -> None:
        """Go on in a new channel where another was: what is not acknowledged is sent again."""
        self._acknowledged, self.next_nr = saved.acknowledged, saved.next_nr
        for message in saved.messages:
            self.send(message.session_id, message.body, message.is_answer)
        self._sent = min(saved.next_ns - saved.acknowledged & MASK, len(self._queue))

    def receive(self, header: ControlHeader, body: bytes, now: float) -> list[tuple[int, bytes]]:
        """Take a message or ZLB; return what is in order now, as (session id, body)."""
        acknowledged = header.nr - self._acknowledged & MASK
        if acknowledged > self._sent:
            if acknowledged < HALF:
                self.dropped += 1
                return []
            acknowledged = 0  # an older number than we know of: overtaken on the way
        if acknowledged:
            self._forget_acknowledged(acknowledged, now)
        elif not body and header.nr == self._acknowledged:
            self._note_repeated_ack(now)
        if not body:
            return []
        ahead = header.ns - self.next_nr & MASK
        if ahead >= HALF:
            self.duplicates += 1
            self.acknowledge_now(now)
            return []
        if ahead >= self._config.receive_window or self._answers >= MAX_ANSWERS:
            self.dropped += 1
            return []
        if ahead:
            self._hold(header, body)
            self.acknowledge_now(now)  # the peer sees from repeated ones that one is missing
            return []
        return self._deliver(header.session_id, body, now)

    def acknowledge_now(self, now: float) -> None:
        """Do not wait with the acknowledgement."""
        self._ack_at = now

    def repeat_first(self) -> None:
        """Transmit the oldest message that is under way once more, because the peer has shown that
        it did not get it."""
        self._repeat_first = self._in_flight > 0

    def clear(self) -> None:
        """Send and hold nothing any more, nor an acknowledgement that waits; what is still to come
        is acknowledged."""
        self._acknowledged = self.next_ns
        self._in_flight = self._sent = self._answers = self._recovering = self._timed = 0
        self._retransmit_at = self._ack_at = None
        self._queue.clear()
        self._held.clear()
        self._held_bytes = 0

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """What is to be transmitted now."""
        datagrams = []
        if self._repeat_first and self._in_flight:
            datagrams.append(self._datagram(0))
            self._count_retransmission()
        self._repeat_first = False
        limit = min(self.congestion_window, self.peer_window, len(self._queue))
        while self._in_flight < limit:
            datagrams.append(self._datagram(self._in_flight))
            self._in_flight += 1
            if self._in_flight <= self._sent:
                self._count_retransmission()
                continue
            self._sent = self._in_flight
            if not self._timed:
                self._begin_measurement(now)
        if datagrams:
            if self._retransmit_at is None:
                self._progress_at = now
                self._retransmit_at = now + self._interval_s
        elif self._ack_at is not None and self._ack_at <= now:
            datagrams.append(encode_header(self.peer_id, 0, self.next_ns, self.next_nr))
        if datagrams:
            self._ack_at = None
            self._unacknowledged = 0
        return datagrams

    def get_timer(self) -> float | None:
        """When handle_timer() or datagrams_to_send() next has something to do."""
        if self._ack_at is None:
            return self._retransmit_at
        if self._retransmit_at is None:
            return self._ack_at
        return min(self._ack_at, self._retransmit_at)

    def handle_timer(self, now: float) -> bool:
        """Let the oldest message be transmitted again if it is time to; False when the peer has not
        acknowledged anything for as long as the configured retries take, and counts as dead.

        A short round trip does not shorten that time, it puts more retransmissions into it.
        """
        if self._retransmit_at is None or now < self._retransmit_at:
            return True
        dead_at = self._progress_at + self._config.retry_cycle_s
        if now >= dead_at:
            return False
        self._begin_recovery(fast=False)
        self.congestion_window = 1
        self._in_flight = 0
        self._interval_s = min(self._interval_s * 2, self._config.retransmit_cap_s)
        self._retransmit_at = min(now + self._interval_s, dead_at)
        return True

    def _datagram(self, index: int) -> bytes:
        session_id, body, _ = self._queue[index]
        ns = self._acknowledged + index & MASK
        return encode_header(self.peer_id, session_id, ns, self.next_nr, len(body)) + body

    def _forget_acknowledged(self, count: int, now: float) -> None:
        for _ in range(count):
            self._answers -= self._queue.popleft().is_answer
            self._widen()
        self._acknowledged = self._acknowledged + count & MASK
        self._sent -= count
        self._in_flight = max(self._in_flight - count, 0)
        self._repeated_acks = 0
        self._measure(count, now)
        self._recovering = max(self._recovering - count, 0)
        if self._fast and self._recovering > 1:
            self._repair_next(now)
        self._progress_at = now
        self._retransmit_at = now + self._interval_s if self._in_flight else None

    def _begin_measurement(self, now: float) -> None:
        if now - self._timed_at > MEASURED_FOR_S:
            self._round_trip = _RoundTrip()
            self._interval_s = self._config.retransmit_initial_s
        self._timed, self._timed_at = self._sent, now

    def _measure(self, count: int, now: float) -> None:
        """Learn from an acknowledgement of so many messages how long to wait for the next one.

        After a timeout the longer wait stays until something is measured (Karn's rule), or a path
        that has become slower would never be measured. The configured first wait is the longest.
        """
        longest = self._config.retransmit_initial_s
        if 0 < self._timed <= count:
            self._timed = 0
            self._round_trip.add(now - self._timed_at)
            self._interval_s = min(self._round_trip.wait_s, longest)
        else:
            self._timed = max(self._timed - count, 0)
            self._interval_s = min(self._interval_s, longest)

    def _count_retransmission(self) -> None:
        """An acknowledgement could now be that of either transmission: it measures nothing."""
        self.retransmissions += 1
        self._timed = 0

    def _note_repeated_ack(self, now: float) -> None:
        """Retransmit without waiting when ZLBs tell again and again that the oldest message is
        missing. Only ZLBs tell: messages with an unchanged Nr have a reason of their own to come.
        """
        if self._recovering or self._in_flight <= FAST_AFTER:
            return  # so many messages behind the first one cannot have arrived
        self._repeated_acks += 1
        if self._repeated_acks < FAST_AFTER:
            return
        self._begin_recovery(fast=True)
        self.congestion_window = self._threshold
        self._repair(now)
        self._retransmit_at = now + self._interval_s

    def _repair_next(self, now: float) -> None:
        """Retransmit the next one that was lost with the first (RFC 6582 section 3.2)."""
        if now - self._repaired_at < self._round_trip.shortest_s / 2:
            # Too soon for an answer: the first one was late, not lost.
            self._recovering = 0
            self.congestion_window = self._threshold * 2
        else:
            self._repair(now)

    def _repair(self, now: float) -> None:
        self.repeat_first()
        self._repaired_at = now

    def _begin_recovery(self, fast: bool) -> None:
        if self._recovering <= 1:  # else it has been lowered for this loss
            self._threshold = max(self.congestion_window // 2, 1)
        self._recovering = self._sent + 1
        self._fast = fast
        self._credit = 0

    def _widen(self) -> None:
        """Slow start, then congestion avoidance (appendix A)."""
        if self.congestion_window >= self.peer_window:
            return
        if self.congestion_window < self._threshold:
            self.congestion_window += 1
            return
        self._credit += 1
        if self._credit >= self.congestion_window:
            self._credit = 0
            self.congestion_window += 1

    def _hold(self, header: ControlHeader, body: bytes) -> None:
        """Keep a message that came before its turn."""
        if header.ns in self._held:
            self.duplicates += 1
        elif self._held_bytes + len(body) > MAX_HELD_BYTES:
            self.dropped += 1
        else:
            self._held[header.ns] = (header.session_id, body)
            self._held_bytes += len(body)

    def _deliver(self, session_id: int, body: bytes, now: float) -> list[tuple[int, bytes]]:
        ready = [(session_id, body)]
        self.next_nr = self.next_nr + 1 & MASK
        while self._held and (held := self._held.pop(self.next_nr, None)) is not None:
            self._held_bytes -= len(held[1])
            ready.append(held)
            self.next_nr = self.next_nr + 1 & MASK
        self._unacknowledged += len(ready)
        enough = max(min(self._config.receive_window // 2, ACK_EVERY), 1)
        if self._unacknowledged >= enough or len(ready) > 1 or self._held:
            self._ack_at = now
        elif self._ack_at is None:
            self._ack_at = now + self._config.ack_delay_s
        return ready
