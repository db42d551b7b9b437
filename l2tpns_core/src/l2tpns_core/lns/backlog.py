"""Work on very many sessions, done a slice at a time so that the loop is never long away."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from l2tpns_core.timers import Timer, TimerQueue

T = TypeVar("T")

SLICE = 64
"""Items per turn: a few milliseconds."""


class Backlog(Generic[T]):
    """Items that wait for handler(item, now). What does not fit into a turn waits for the next."""

    __slots__ = ("_handler", "_items", "_timer", "_timers")

    def __init__(self, timers: TimerQueue, handler: Callable[[T, float], None]) -> None:
        self._timers = timers
        self._handler = handler
        self._items: deque[T] = deque()
        self._timer = Timer(self._turn)

    def add(self, items: Iterable[T], now: float) -> None:
        self._items.extend(items)
        self._timers.set(self._timer, now)

    def _turn(self, now: float) -> None:
        try:
            for _ in range(min(SLICE, len(self._items))):
                self._handler(self._items.popleft(), now)
        finally:
            if self._items:
                self._timers.set(self._timer, now)
