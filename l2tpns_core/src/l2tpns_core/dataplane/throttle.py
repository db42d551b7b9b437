"""Limits on what a session sends and receives: a token bucket with a short queue each way.

A packet that finds credit passes at once. One that does not waits in the queue until the credit is
there, and is dropped when the queue is full, so that TCP finds its rate by itself and short bursts
are delayed rather than lost. Rates count IP bytes, 1 kbit/s being 1,000 bit/s.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Final

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.plane import ThrottleState

if TYPE_CHECKING:
    from l2tpns_core.dataplane.forwarding import Entry

BYTES_PER_KBIT: Final = 125
BURST_S: Final = 0.05
"""So much time's worth of credit may be saved up."""
MIN_BURST: Final = 3_028
"""Bytes: two full packets, or a slow line would never pass one at once."""
QUEUE_S: Final = 0.2
"""So long a packet may have to wait."""
MIN_QUEUE: Final = 12_000
MAX_QUEUE_PACKETS: Final = 4_096
TURN_S: Final = 0.002
"""The least time between two turns of the loop for packets that waited."""
PACKETS_IN_A_TURN: Final = 256
"""So many packets that waited are sent before the loop is free again."""

Send = Callable[["Entry", bytes, float], object]


class Bucket:
    """The limit of one direction of one session."""

    __slots__ = (
        "_at",
        "_burst",
        "_credit",
        "_limit",
        "_rate",
        "delayed",
        "dropped",
        "passed",
        "queue",
        "queued_octets",
        "rate_kbit",
        "wake_at",
    )

    def __init__(self, rate_kbit: int, now: float) -> None:
        self._at = now
        self._credit = 0.0
        self.queue: deque[bytes] = deque()
        self.queued_octets = 0
        self.passed = self.delayed = self.dropped = 0
        self.wake_at = 0.0
        """When the shaper will look at it, 0.0 for never."""
        self.rate_kbit = 0
        self._rate = self._burst = self._limit = 0.0
        self.set_rate(rate_kbit, now)
        self._credit = self._burst

    def set_rate(self, rate_kbit: int, now: float) -> int:
        """Go on with another rate. Of what waits, the oldest is dropped until the rest is what may
        wait at that rate; return how many packets that were."""
        self._earn(now)
        self.rate_kbit = rate_kbit
        self._rate = float(rate_kbit * BYTES_PER_KBIT)
        self._burst = max(self._rate * BURST_S, MIN_BURST)
        self._limit = max(self._rate * QUEUE_S, MIN_QUEUE)
        self._credit = min(self._credit, self._burst)
        before = len(self.queue)
        while self.queued_octets > self._limit:
            self.queued_octets -= len(self.queue.popleft())
        cut = before - len(self.queue)
        self.dropped += cut
        return cut

    def passes(self, octets: int, now: float) -> bool:
        """Whether a packet may pass at once; its credit is spent then."""
        if self.queue:
            return False
        self._earn(now)
        if self._credit < octets and self._credit < self._burst:
            return False
        self._credit -= octets
        self.passed += 1
        return True

    def enqueue(self, packet: bytes) -> bool:
        """Have a packet wait; False when there is no room for it."""
        if self.queued_octets + len(packet) > self._limit or len(self.queue) >= MAX_QUEUE_PACKETS:
            self.dropped += 1
            return False
        self.queue.append(packet)
        self.queued_octets += len(packet)
        self.delayed += 1
        return True

    def take(self, now: float) -> bytes | None:
        """The next packet that waited and has its credit now."""
        if not self.queue:
            return None
        self._earn(now)
        octets = len(self.queue[0])
        if self._credit < octets and self._credit < self._burst:
            return None
        self._credit -= octets
        self.queued_octets -= octets
        self.passed += 1
        packet = self.queue.popleft()
        if not self.queue:
            self._credit = min(self._credit, self._burst)
        return packet

    def due_at(self, now: float) -> float:
        """When the first packet that waits has its credit; only with something in the queue."""
        missing = min(len(self.queue[0]), self._burst) - self._credit
        return now + max(0.0, missing / self._rate)

    def drain(self) -> list[bytes]:
        """Everything that waits; it no longer does."""
        packets = list(self.queue)
        self.queue.clear()
        self.queued_octets = 0
        return packets

    def _earn(self, now: float) -> None:
        """While packets wait, the time that this process was kept from sending them is not lost:
        they may make up for it, as far as a queue goes."""
        if now > self._at:
            most = self._limit if self.queue else self._burst
            self._credit = min(most, self._credit + (now - self._at) * self._rate)
            self._at = now


class Shaper:
    """The buckets of all sessions in one direction. `send` passes a packet that waited; `schedule`
    is told when release() has work."""

    __slots__ = ("_counters", "_heap", "_numbers", "_schedule", "_send")

    def __init__(
        self, counters: PlaneCounters, send: Send, schedule: Callable[[float], None]
    ) -> None:
        self._counters = counters
        self._send = send
        self._schedule = schedule
        self._heap: list[tuple[float, int, Entry, Bucket]] = []
        self._numbers = count()

    def passes(self, entry: "Entry", bucket: Bucket, packet: bytes, now: float) -> bool:
        """Whether the caller may send the packet now; else it waits, or is dropped."""
        if bucket.passes(len(packet), now):
            return True
        if not bucket.enqueue(packet):
            self._counters.throttle_drops += 1
            return False
        self._counters.throttle_delayed += 1
        if len(bucket.queue) == 1:
            self._wait(entry, bucket, now)
        return False

    @property
    def next_at(self) -> float | None:
        """When release() has work, None for never."""
        return self._heap[0][0] if self._heap else None

    def release(self, now: float) -> None:
        """Send what has its credit now, as far as that fits into one turn."""
        heap, left = self._heap, PACKETS_IN_A_TURN
        while heap and heap[0][0] <= now and left > 0:
            at, _, entry, bucket = heapq.heappop(heap)
            if at != bucket.wake_at:
                continue  # it was to be looked at earlier, and was
            bucket.wake_at = 0.0
            try:
                while left > 0 and (packet := bucket.take(now)) is not None:
                    left -= 1
                    self._send(entry, packet, now)
            finally:
                if bucket.queue:
                    self._wait(entry, bucket, now)

    def follow(
        self, entry: "Entry", bucket: Bucket | None, rate_kbit: int, now: float
    ) -> Bucket | None:
        """The bucket of a session whose rate is `rate_kbit` from now on, 0 for no limit."""
        if bucket is None:
            return Bucket(rate_kbit, now) if rate_kbit else None
        if not rate_kbit:
            for packet in bucket.drain():
                self._send(entry, packet, now)
            return None
        if bucket.rate_kbit != rate_kbit:
            self._counters.throttle_drops += bucket.set_rate(rate_kbit, now)
            if bucket.queue:
                self._wait(entry, bucket, now)
        return bucket

    def discard(self, bucket: Bucket | None) -> None:
        """The session is gone, or has no network: nothing that waits is sent any more."""
        if bucket is not None:
            dropped = len(bucket.drain())
            bucket.dropped += dropped
            self._counters.throttle_drops += dropped

    def _wait(self, entry: "Entry", bucket: Bucket, now: float) -> None:
        """Have a bucket looked at when its first packet has its credit, unless it will be looked
        at earlier anyway."""
        due_at = max(bucket.due_at(now), now + TURN_S)
        if bucket.wake_at and bucket.wake_at <= due_at:
            return
        bucket.wake_at = due_at
        heapq.heappush(self._heap, (due_at, next(self._numbers), entry, bucket))
        if self._heap[0][3] is bucket:
            self._schedule(due_at)


def state_of(into: Bucket | None, out: Bucket | None) -> ThrottleState | None:
    """What an operator is shown; None for a session without a limit."""
    if into is None and out is None:
        return None
    return ThrottleState(
        rate_in=into.rate_kbit if into else 0,
        rate_out=out.rate_kbit if out else 0,
        queued_in=len(into.queue) if into else 0,
        queued_out=len(out.queue) if out else 0,
        passed_in=into.passed if into else 0,
        passed_out=out.passed if out else 0,
        delayed_in=into.delayed if into else 0,
        delayed_out=out.delayed if out else 0,
        dropped_in=into.dropped if into else 0,
        dropped_out=out.dropped if out else 0,
    )
