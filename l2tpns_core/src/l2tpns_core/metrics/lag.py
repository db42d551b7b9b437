"""How late the event loop comes to its work: what everybody who waits for it feels."""

import asyncio
from typing import Final

from l2tpns_core.observe.histogram import Histogram

INTERVAL_S: Final = 0.1
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopLag:
    """Ten times a second: how much later than it should have a timer went off."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.histogram = Histogram(BOUNDS_S)
        self._loop = loop
        self._due = loop.time() + INTERVAL_S
        self._timer = loop.call_at(self._due, self._look)

    def close(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        self.histogram.add(max(0.0, now - self._due))
        self._due = now + INTERVAL_S
        self._timer = self._loop.call_at(self._due, self._look)
