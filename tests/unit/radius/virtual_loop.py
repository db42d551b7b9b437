"""An asyncio loop on virtual time: where it would sleep, it moves its clock instead."""

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

START = 1000.0


class VirtualSelector(selectors.BaseSelector):
    """Reports what is ready now; time passes only when nothing is.

    Datagrams between sockets of one process arrive within send(), so nothing is ever on its way.
    """

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = START

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if not ready:
            assert timeout is not None, "the test waits for something that never happens"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at START seconds."""

    def __init__(self) -> None:
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now
