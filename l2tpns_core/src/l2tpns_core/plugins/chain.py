"""One event's chain of plugins, compiled: called in load order until one ends it.

A plugin that raises, or that leaves something impossible behind, has failed: that is logged and
counted, and the chain goes on with the next plugin.
"""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from l2tpns_core.plugins.api import PluginApi
from l2tpns_core.plugins.events import Param, PluginResult
from l2tpns_core.plugins.watch import FAILURES, HookStatistics, Watch

_RESULTS: Final[dict[object, PluginResult]] = {
    None: PluginResult.OK,
    **{int(result): result for result in PluginResult},
}


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
    api: PluginApi | None = None
    """What it was given, if it was made here."""
    is_loaded: bool = True
    """False once it was unloaded, which a hook may do while a chain runs."""

    @property
    def background(self) -> HookStatistics | None:
        """What its tasks and timers have done; None for a plugin without an api."""
        return None if self.api is None else self.api.scope.statistics


@dataclass(slots=True, frozen=True)
class Step:
    """One plugin's hook in a chain."""

    plugin: LoadedPlugin
    call: Callable[[Param], object]
    statistics: HookStatistics


class Chain:
    """The hooks of one event in load order. Built anew for each load and unload."""

    __slots__ = ("_changeable", "_steps", "_watch", "event")

    def __init__(
        self,
        event: str,
        param_class: type[Param],
        steps: Iterable[Step],
        watch: Watch | None = None,
    ) -> None:
        self.event = event
        self._watch = watch or Watch()
        self._changeable = tuple(param_class.CHANGEABLE.items())
        self._steps = tuple(steps)

    def of(self, plugin: LoadedPlugin) -> "Chain | None":
        """The part of the chain that is one plugin's."""
        own = copy.copy(self)
        own._steps = tuple(step for step in self._steps if step.plugin is plugin)
        return own if own._steps else None

    def run(self, param: Param) -> PluginResult:
        """Call the hooks until one returns anything but OK; return what ended the chain."""
        clock, changeable = time.perf_counter, self._changeable
        for step in self._steps:
            if not step.plugin.is_loaded:
                continue
            statistics = step.statistics
            statistics.calls += 1
            kept = [_copy(getattr(param, name)) for name, _ in changeable] if changeable else ()
            started_at = clock()
            try:
                result = _result_of(step.call(param))
                if changeable:
                    self._check(param)
            except FAILURES as error:  # border: not our code
                for (name, _), value in zip(changeable, kept, strict=True):
                    setattr(param, name, value)
                self._watch.failed(step.plugin.name, self.event, statistics, error)
                continue
            finally:
                spent = clock() - started_at
                statistics.seconds += spent
                if spent > self._watch.slow_s:
                    self._watch.was_slow(step.plugin.name, self.event, statistics, spent)
            if result is not PluginResult.OK:
                return result
        return PluginResult.OK

    def _check(self, param: Param) -> None:
        for name, kind in self._changeable:
            value = getattr(param, name)
            if not isinstance(value, kind):
                raise HookError(f"set {name} to {type(value).__name__}, not {kind.__name__}")


def _copy(value: object) -> object:
    """What a hook cannot change behind our back."""
    return list(value) if type(value) is list else value


def _result_of(returned: object) -> PluginResult:
    try:
        return _RESULTS[returned]
    except (KeyError, TypeError):  # TypeError: it cannot be hashed
        raise HookError(f"returned {returned!r:.80}, which is not a PLUGIN_RET_ value") from None
