"""Watching over code that is not ours: what it did, how long it took, and telling the log when it
fails or holds everything up.
"""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

log = logging.getLogger("l2tpns.plugins")

FAILURES: Final = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)
"""What code that is not ours may raise without taking the daemon with it: exit() included, and the
CancelledError of a task whose result it asked for."""

REPORTS_IN_FULL: Final = 5
"""So many failures of a hook are logged each on its own, with a traceback."""
REPORT_INTERVAL_S: Final = 60.0
"""After those, one failure in this time is logged: a hook that fails for each packet does not fill
the disk. Slow calls are logged at this interval from the first on."""
SLOW_S: Final = 0.05
"""How long a call may take, unless `plugin_slow_ms` says otherwise."""


@dataclass(slots=True)
class HookStatistics:
    """What one hook of one plugin has done since the plugin was loaded."""

    calls: int = 0
    errors: int = 0
    """Calls that raised or left something impossible behind."""
    seconds: float = 0.0
    """Time spent in the hook."""
    slow: int = 0
    """Calls that took longer than they may."""
    slowest: float = 0.0
    """Seconds of the slowest of those."""
    next_report_at: float = 0.0
    next_slow_report_at: float = 0.0


class Watch:
    """Tells the log, though not too often, what plugins do wrong. One for all of them."""

    __slots__ = ("slow_s",)

    def __init__(self, slow_s: float = SLOW_S) -> None:
        self.slow_s = slow_s
        """Calls that take longer are reported."""

    def failed(
        self, plugin: str, where: str, statistics: HookStatistics, error: BaseException
    ) -> None:
        """Count and report a failure."""
        now = time.perf_counter()
        statistics.errors += 1
        if statistics.errors > REPORTS_IN_FULL and now < statistics.next_report_at:
            return
        statistics.next_report_at = now + REPORT_INTERVAL_S
        log.error(
            "plugin %s failed in %s, failure %d: %s: %s",
            plugin,
            where,
            statistics.errors,
            type(error).__name__,
            error,
            exc_info=error if statistics.errors <= REPORTS_IN_FULL else None,
        )

    def was_slow(self, plugin: str, where: str, statistics: HookStatistics, seconds: float) -> None:
        """Count and report a call that nothing else could run beside."""
        now = time.perf_counter()
        statistics.slow += 1
        statistics.slowest = max(statistics.slowest, seconds)
        if now < statistics.next_slow_report_at:
            return
        statistics.next_slow_report_at = now + REPORT_INTERVAL_S
        log.error(
            "plugin %s took %.0f ms in %s, time %d: all else waited (see plugin_slow_ms)",
            plugin,
            seconds * 1000,
            where,
            statistics.slow,
        )
