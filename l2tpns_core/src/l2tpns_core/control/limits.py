"""How often the sources of control requests may ask, and how often the log tells of refusals."""

from collections import OrderedDict
from typing import Final

PER_SOURCE: Final = 200
"""Requests a second from one address; what comes on top is dropped without an answer."""
IN_ALL: Final = 1000
"""Requests a second from all addresses together."""
MAX_SOURCES: Final = 1024
"""Addresses that are remembered; beyond that the one that was quiet for longest is forgotten, so
that only IN_ALL holds back a flood from more."""
LINES_PER_MINUTE: Final = 6
PLUGIN_REQUESTS: Final = 5
"""Loads and unloads a second: each looks through everything that is installed."""


class _Bucket:
    """Room for `size` events; a full bucket's worth comes back every `refill_s`."""

    __slots__ = ("_at", "_left", "_refill_s", "_size")

    def __init__(self, size: int, refill_s: float, now: float) -> None:
        self._size = size
        self._refill_s = refill_s
        self._left = float(size)
        self._at = now

    def take(self, now: float) -> bool:
        earned = max(0.0, now - self._at) * self._size / self._refill_s
        self._left = min(float(self._size), self._left + earned)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class RequestLimit:
    """Says which requests are heard. Times are monotonic seconds."""

    __slots__ = ("_all", "_sources")

    def __init__(self, now: float) -> None:
        self._all = _Bucket(IN_ALL, 1.0, now)
        self._sources: OrderedDict[str, _Bucket] = OrderedDict()

    def allows(self, address: str, now: float) -> bool:
        bucket = self._sources.get(address)
        if bucket is None:
            if len(self._sources) >= MAX_SOURCES:
                self._sources.popitem(last=False)
            bucket = self._sources[address] = _Bucket(PER_SOURCE, 1.0, now)
        else:
            self._sources.move_to_end(address)
        return bucket.take(now) and self._all.take(now)


class PluginLimit:
    """Says which loads and unloads are tried."""

    __slots__ = ("_bucket",)

    def __init__(self, now: float) -> None:
        self._bucket = _Bucket(PLUGIN_REQUESTS, 1.0, now)

    def allows(self, now: float) -> bool:
        return self._bucket.take(now)


class LogLimit:
    """Lets LINES_PER_MINUTE through and counts what it keeps back."""

    __slots__ = ("_bucket", "_kept_back")

    def __init__(self, now: float) -> None:
        self._bucket = _Bucket(LINES_PER_MINUTE, 60.0, now)
        self._kept_back = 0

    def take(self, now: float) -> int | None:
        """None: write no line. Else how many were kept back since the last one."""
        if not self._bucket.take(now):
            self._kept_back += 1
            return None
        kept_back, self._kept_back = self._kept_back, 0
        return kept_back
