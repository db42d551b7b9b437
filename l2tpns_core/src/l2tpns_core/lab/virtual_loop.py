"""An asyncio loop in virtual time: it never waits, and says when it would have to."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class _Impatient(selectors.DefaultSelector):
    """Looks at its descriptors without waiting for them."""

    def __init__(self) -> None:
        super().__init__()
        self.on_idle: Callable[[float | None], None] = lambda timeout: None

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and (timeout is None or timeout > 0):
            self.on_idle(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what is ready when settle() is called; its clock is `clock`, which others move."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._virtual_clock = clock
        self._impatient = _Impatient()
        self._idle_s: float | None = None
        super().__init__(self._impatient)
        self._impatient.on_idle = self._stop_at_idle

    def time(self) -> float:
        """Seconds of the virtual clock."""
        return self._virtual_clock()

    def settle(self) -> float | None:
        """Run callbacks and tasks until all of them wait; return when the earliest timer is due,
        None when there is none."""
        self._idle_s = None
        self.run_forever()
        return None if self._idle_s is None else self.time() + self._idle_s

    def _stop_at_idle(self, timeout: float | None) -> None:
        self._idle_s = timeout
        self.stop()
