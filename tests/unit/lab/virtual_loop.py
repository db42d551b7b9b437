"""An event loop whose clock jumps to the next timer when no socket has anything to read.

Datagrams between sockets of one process on the loopback arrive while they are sent, so that tests
with timers and sockets take no time and always go the same way.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.EpollSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jumped_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("the test waits for something that never comes")
        if not ready and timeout is not None:
            self.jumped_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time starts at 1,000 s and moves only in jumps."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return 1000.0 + self._jumping.jumped_s


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run main in a VirtualLoop to its end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
