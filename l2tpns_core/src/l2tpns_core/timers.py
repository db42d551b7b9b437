"""One queue for every timer of the daemon: O(1) to set, move and cancel.

Deadlines are grouped into ticks. A heap holds each tick once, however many timers fall due in it,
so that 60,000 sessions with a handful of timers each cost no more than the ticks that are in use.
The queue is told the time and never asks for it.
"""

import heapq
import math
from collections.abc import Callable
from typing import Final

DEFAULT_RESOLUTION_S: Final = 1 / 64  # a power of two, so that ticks convert to seconds exactly


class Timer:
    """One deadline and what to do at it. Belongs to one TimerQueue; reusable after it fired."""

    __slots__ = ("callback", "tick")

    def __init__(self, callback: Callable[[float], None]) -> None:
        self.callback = callback
        self.tick: int | None = None

    @property
    def active(self) -> bool:
        return self.tick is not None


class TimerQueue:
    """Timers by deadline, in monotonic seconds. None fires early, nor more than a tick late."""

    __slots__ = ("_buckets", "_firing", "_resolution", "_ticks", "on_earlier")

    def __init__(self, resolution_s: float = DEFAULT_RESOLUTION_S) -> None:
        self._resolution = resolution_s
        self._buckets: dict[int, dict[Timer, None]] = {}
        self._ticks: list[int] = []
        self._firing: int | None = None
        self.on_earlier: Callable[[float], None] | None = None
        """Told when something falls due before everything else did, so that a loop can wake up
        earlier; not while expire() runs."""

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def set(self, timer: Timer, deadline: float | None) -> None:
        """Move timer to deadline; None cancels it."""
        if deadline is None:
            self.cancel(timer)
            return
        tick = math.ceil(deadline / self._resolution)
        if self._firing is not None and tick <= self._firing:
            tick = self._firing + 1
        if timer.tick == tick:
            return
        self.cancel(timer)
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heapq.heappush(self._ticks, tick)
        bucket[timer] = None
        timer.tick = tick
        if self._ticks[0] == tick and self._firing is None and self.on_earlier is not None:
            self.on_earlier(tick * self._resolution)

    def cancel(self, timer: Timer) -> None:
        """Take timer out; harmless when it is not set."""
        if timer.tick is None:
            return
        bucket = self._buckets.get(timer.tick)
        if bucket is not None:
            bucket.pop(timer, None)  # an empty bucket goes when its tick comes up
        timer.tick = None

    def next_deadline(self) -> float | None:
        """When expire() next has something to do, or None."""
        while self._ticks and not self._buckets[self._ticks[0]]:
            del self._buckets[heapq.heappop(self._ticks)]
        return self._ticks[0] * self._resolution if self._ticks else None

    def expire(self, now: float, limit: int | None = None) -> int:
        """Fire the timers that are due, limit of them at most; return how many.

        A callback may set timers, its own included: what it sets fires in a later tick.
        """
        due = math.floor(now / self._resolution)
        self._firing = due
        try:
            return self._fire(due, now, limit)
        finally:
            self._firing = None

    def _fire(self, due: int, now: float, limit: int | None) -> int:
        fired = 0
        while self._ticks and self._ticks[0] <= due:
            tick = self._ticks[0]
            bucket = self._buckets[tick]
            while bucket:
                if fired == limit:
                    return fired
                timer, _ = bucket.popitem()
                timer.tick = None
                fired += 1
                timer.callback(now)
            del self._buckets[heapq.heappop(self._ticks)]
        return fired
