"""What the client remembers of one port of one RADIUS server: is it alive, how fast, how busy."""

import asyncio
from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from l2tpns_core.observe.histogram import Histogram
from l2tpns_core.radius.attributes import Nas
from l2tpns_core.radius.status import ServerCounters, ServerInfo
from l2tpns_core.radius.transport import SocketLink, SocketPool
from l2tpns_core.timers import Timer

if TYPE_CHECKING:
    from l2tpns_core.radius.exchange import Exchange

INITIAL_WINDOW: Final = 128
"""Requests that are out at once, at first: less than the receive buffer of a server with default
settings holds (some 160 datagrams)."""
MIN_WINDOW: Final = 64
SLOW_REPLY_S: Final = 0.1
"""A server that takes longer is given more requests at once; a faster one needs no more."""
LATENCY_PERIOD_S: Final = 60.0
REPLY_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Latency:
    """Reply times of the current and the last period, in seconds; constant in size."""

    __slots__ = ("_current", "_last", "_started_at")

    def __init__(self) -> None:
        self._started_at = 0.0
        self._last = self._current = (0, 0.0, 0.0, 0.0)

    def add(self, seconds: float, now: float) -> None:
        self._turn(now)
        count, total, lowest, highest = self._current
        self._current = (
            count + 1,
            total + seconds,
            min(lowest, seconds) if count else seconds,
            max(highest, seconds),
        )

    def summary(self, now: float) -> tuple[float, float, float] | None:
        """Lowest, mean and highest of the last one to two minutes; None without a reply."""
        self._turn(now)
        periods = [period for period in (self._last, self._current) if period[0]]
        if not periods:
            return None
        count = sum(period[0] for period in periods)
        return (
            min(period[2] for period in periods),
            sum(period[1] for period in periods) / count,
            max(period[3] for period in periods),
        )

    def _turn(self, now: float) -> None:
        age = now - self._started_at
        if age < LATENCY_PERIOD_S:
            return
        self._last = self._current if age < 2 * LATENCY_PERIOD_S else (0, 0.0, 0.0, 0.0)
        self._current = (0, 0.0, 0.0, 0.0)
        self._started_at = now


class ServerPort:
    """One port of one server. It keeps no time and makes no decisions on requests.

    The window bounds the requests that are out at once: it grows with every slow reply and is
    halved when replies stay away, so that a burst of thousands does not drown a server that would
    have served it in a second.
    """

    __slots__ = (
        "_shrunk_at",
        "address",
        "counters",
        "dead_until",
        "heard_at",
        "histogram",
        "in_flight",
        "latency",
        "nas",
        "pool",
        "port",
        "probe",
        "pump_timer",
        "purpose",
        "sends_message_authenticator",
        "waiting",
        "window",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: str,
        port: int,
        purpose: str,
        on_datagram: Callable[["ServerPort", SocketLink, bytes], None],
        on_error: Callable[["ServerPort", OSError], None],
        on_room: Callable[["ServerPort", float], None],
    ) -> None:
        self.address = address
        self.port = port
        self.purpose = purpose
        self.pool = SocketPool(
            loop,
            ip_address(address),
            port,
            lambda link, datagram: on_datagram(self, link, datagram),
            lambda error: on_error(self, error),
        )
        self.nas: Nas | None = None
        """How we name ourselves to it; None until that is known."""
        self.heard_at = float("-inf")
        self.dead_until: float | None = None
        self.probe: Exchange | None = None
        """The one request that finds out whether a dead server is back."""
        self.in_flight: dict[Exchange, None] = {}
        self.waiting: dict[Exchange, None] = {}
        self.window = INITIAL_WINDOW
        self.pump_timer = Timer(lambda now: on_room(self, now))
        self._shrunk_at = float("-inf")
        self.sends_message_authenticator = False
        self.latency = Latency()
        self.histogram = Histogram(REPLY_BOUNDS_S)
        self.counters = ServerCounters()

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    @property
    def is_dead(self) -> bool:
        return self.dead_until is not None

    @property
    def has_room(self) -> bool:
        return len(self.in_flight) < self.window

    def may_be_asked(self, now: float) -> bool:
        """It is alive, or it is time to see whether it is back."""
        return self.dead_until is None or (self.probe is None and now >= self.dead_until)

    def heard(self, now: float, latency_s: float | None) -> None:
        """A verified reply came; its time is None if it may answer either of several sendings."""
        self.counters.replies += 1
        self.heard_at = now
        self.dead_until = None
        self.probe = None
        if latency_s is None:
            return
        self.latency.add(latency_s, now)
        self.histogram.add(latency_s)
        if latency_s > SLOW_REPLY_S:
            self.window = min(self.window + 1, self.pool.capacity)

    def missed(self, now: float, timeout_s: float) -> None:
        """A reply stayed away. A whole burst of that counts once."""
        self.counters.timeouts += 1
        if now - self._shrunk_at >= timeout_s:
            self._shrunk_at = now
            self.window = max(self.window // 2, MIN_WINDOW)

    def info(self, now: float) -> ServerInfo:
        return ServerInfo(
            self.address,
            self.port,
            self.purpose,
            self.is_dead,
            len(self.in_flight),
            len(self.waiting),
            self.pool.socket_count,
            self.sends_message_authenticator,
            self.latency.summary(now),
            self.histogram,
            self.counters,
        )
