"""One event's chain of plugins, compiled: called in load order until one ends it.

A plugin that raises, or that leaves something impossible behind, has failed: that is logged and
counted, and the chain goes on with the next plugin.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from l2tpns_core.plugins.events import Param, PluginResult

log = logging.getLogger("l2tpns.plugins")

REPORTS_IN_FULL: Final = 5
"""So many failures of a hook are logged each on its own, with a traceback."""
REPORT_INTERVAL_S: Final = 60.0
"""After those, one failure in this time is logged: a hook that fails for each packet does not fill
the disk."""

_RESULTS: Final[dict[object, PluginResult]] = {
    None: PluginResult.OK,
    **{int(result): result for result in PluginResult},
}


@dataclass(slots=True)
class HookStatistics:
    """What one hook of one plugin has done since the plugin was loaded."""

    calls: int = 0
    errors: int = 0
    """Calls that raised or left something impossible behind."""
    seconds: float = 0.0
    """Time spent in the hook."""
    next_report_at: float = 0.0


class HookError(Exception):
    """A hook returned, but what it left behind cannot be used."""


@dataclass(slots=True, eq=False)
class LoadedPlugin:
    """A plugin that is, or was, part of the chains."""

    name: str
    """Its entry point; what `load plugin` calls it."""
    instance: object
    distribution: str = ""
    """The distribution that it was installed with; "" when it came from elsewhere."""
    version: str = ""
    statistics: dict[str, HookStatistics] = field(default_factory=dict)
    """By event; the keys are the events that it listens to."""
    is_loaded: bool = True
    """False once it was unloaded, which a hook may do while a chain runs."""


@dataclass(slots=True, frozen=True)
class Step:
    """One plugin's hook in a chain."""

    plugin: LoadedPlugin
    call: Callable[[Param], object]
    statistics: HookStatistics


class Chain:
    """The hooks of one event in load order. Built anew for each load and unload."""

    __slots__ = ("_changeable", "_steps", "event")

    def __init__(self, event: str, param_class: type[Param], steps: Iterable[Step]) -> None:
        self.event = event
        self._changeable = tuple(param_class.CHANGEABLE.items())
        self._steps = tuple(steps)

    def run(self, param: Param) -> PluginResult:
        """Call the hooks until one returns anything but OK; return what ended the chain."""
        clock, changeable = time.perf_counter, self._changeable
        for step in self._steps:
            if not step.plugin.is_loaded:
                continue
            statistics = step.statistics
            statistics.calls += 1
            kept = [getattr(param, name) for name, _ in changeable] if changeable else ()
            started_at = clock()
            try:
                result = _result_of(step.call(param))
                if changeable:
                    self._check(param)
            except (Exception, SystemExit) as error:  # noqa: BLE001  (border: not our code)
                for (name, _), value in zip(changeable, kept, strict=True):
                    setattr(param, name, value)
                self._report(step, error, started_at)
                continue
            finally:
                statistics.seconds += clock() - started_at
            if result is not PluginResult.OK:
                return result
        return PluginResult.OK

    def _check(self, param: Param) -> None:
        for name, kind in self._changeable:
            value = getattr(param, name)
            if not isinstance(value, kind):
                raise HookError(f"set {name} to {type(value).__name__}, not {kind.__name__}")

    def _report(self, step: Step, error: BaseException, now: float) -> None:
        statistics = step.statistics
        statistics.errors += 1
        if statistics.errors > REPORTS_IN_FULL and now < statistics.next_report_at:
            return
        statistics.next_report_at = now + REPORT_INTERVAL_S
        log.error(
            "plugin %s failed in %s, failure %d: %s: %s",
            step.plugin.name,
            self.event,
            statistics.errors,
            type(error).__name__,
            error,
            exc_info=error if statistics.errors <= REPORTS_IN_FULL else None,
        )


def _result_of(returned: object) -> PluginResult:
    try:
        return _RESULTS[returned]
    except (KeyError, TypeError):  # TypeError: it cannot be hashed
        raise HookError(f"returned {returned!r:.80}, which is not a PLUGIN_RET_ value") from None
