"""Echo requests of many clients at a steady rate."""

from typing import Final

from l2tpns_core.lab.client import Client
from l2tpns_core.lab.transport import Clock
from l2tpns_core.timers import Timer

TICK_S: Final = 1 / 64
MAX_BURST: Final = 2000  # requests of one tick; a LAC that falls behind does not catch up


class Traffic:
    """Sends in turn for each client, so that every one of them has its share."""

    __slots__ = (
        "_clients",
        "_clock",
        "_due",
        "_last_at",
        "_next",
        "_rate",
        "_size",
        "_target",
        "_timer",
        "sent",
    )

    def __init__(self, clock: Clock, target: str, size: int = 64) -> None:
        """`size` is that of the IPv4 packets in bytes."""
        self._clock = clock
        self._target = target
        self._size = size
        self._clients: list[Client] = []
        self._rate = 0.0
        self._due = 0.0
        self._next = 0
        self._last_at = 0.0
        self._timer = Timer(self._tick)
        self.sent = 0

    def start(self, clients: list[Client], rate: float) -> None:
        """Send `rate` echo requests per second, over all clients."""
        self._clients = clients
        self._rate = rate
        self._due = 1.0  # the first one at once
        self._last_at = self._clock.now()
        if clients:
            self._clock.set(self._timer, self._last_at + TICK_S)

    def stop(self) -> None:
        self._clock.set(self._timer, None)

    def _tick(self, now: float) -> None:
        self._due = min(self._due + (now - self._last_at) * self._rate, MAX_BURST)
        self._last_at = now
        for _ in range(int(self._due)):
            client = self._clients[self._next]
            self._next = (self._next + 1) % len(self._clients)
            if client.is_up:
                client.ping(self._target, self._size)
                self.sent += 1
        self._due -= int(self._due)
        self._clock.set(self._timer, now + TICK_S)
