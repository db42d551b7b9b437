"""What a plugin has running beside its hooks: tasks, timers and RADIUS requests.

All of it ends with the plugin, and none of it can take the daemon with it: what raises is logged
with the plugin's name, counted, and over.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from l2tpns_core.plugins.watch import FAILURES, HookStatistics, Watch

MIN_INTERVAL_S: Final = 0.01

Result = TypeVar("Result")


class PluginScope:
    """The background of one plugin, until close()."""

    __slots__ = (
        "_handles",
        "_is_open",
        "_loop",
        "_name",
        "_tasks",
        "_undo",
        "_watch",
        "statistics",
    )

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, watch: Watch) -> None:
        self._name = name
        self._loop = loop
        self._watch = watch
        self._is_open = True
        self._tasks: set[asyncio.Task[Any]] = set()
        self._handles: set[_Repeated] = set()
        self._undo: dict[int, Callable[[], None]] = {}
        self.statistics = HookStatistics()
        """Of everything in here together."""

    def create_task(
        self, coroutine: Coroutine[Any, Any, Result], name: str = ""
    ) -> asyncio.Task[Result]:
        """Start a task. Raises RuntimeError when the plugin has been unloaded."""
        if not self._is_open:
            coroutine.close()
            raise RuntimeError(f"plugin {self._name} is unloaded")
        self.statistics.calls += 1
        task = self._loop.create_task(_guarded(coroutine), name=f"{self._name}: {name or 'task'}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def every(self, seconds: float, function: Callable[[], object]) -> Callable[[], None]:
        """Call a function again and again; return what stops that. Raises RuntimeError like
        create_task(), and ValueError for a time that makes no sense."""
        if inspect.iscoroutinefunction(function):
            raise TypeError("every() calls a plain function; it may call create_task()")
        if not seconds >= MIN_INTERVAL_S:
            raise ValueError(f"cannot call something every {seconds} seconds")
        if not self._is_open:
            raise RuntimeError(f"plugin {self._name} is unloaded")
        repeated = _Repeated(self._loop, seconds, lambda: self.call(function))
        self._handles.add(repeated)

        def stop() -> None:
            repeated.cancel()
            self._handles.discard(repeated)

        return stop

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function of the plugin, measured and guarded like a hook."""
        self.statistics.calls += 1
        started_at = time.perf_counter()
        try:
            function(*arguments)
        except FAILURES as error:  # border: not our code
            self._watch.failed(self._name, "the background", self.statistics, error)
        finally:
            spent = time.perf_counter() - started_at
            self.statistics.seconds += spent
            if spent > self._watch.slow_s:
                self._watch.was_slow(self._name, "the background", self.statistics, spent)

    def require_open(self) -> None:
        """Raises RuntimeError when the plugin has been unloaded."""
        if not self._is_open:
            raise RuntimeError(f"plugin {self._name} is unloaded")

    def own(self, key: int, undo: Callable[[], None]) -> None:
        """Have `undo` called when the plugin goes, unless it is disowned before."""
        self._undo[key] = undo

    def disown(self, key: int) -> bool:
        """Whether `key` was still owned; it no longer is."""
        return self._undo.pop(key, None) is not None

    def close(self) -> None:
        """End everything that is still running. Tasks see a CancelledError on the loop's next
        turn."""
        self._is_open = False
        for handle in self._handles:
            handle.cancel()
        self._handles.clear()
        for task in self._tasks:
            task.cancel()
        while self._undo:
            _, undo = self._undo.popitem()
            undo()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._watch.failed(self._name, task.get_name(), self.statistics, error)


async def _guarded(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """A task that calls exit() would end the loop, and with it the daemon."""
    try:
        return await coroutine
    except SystemExit as error:
        raise RuntimeError(f"it called exit({error.code!r})") from error


class _Repeated:
    """A timer that starts anew before each call, and skips what it has missed."""

    __slots__ = ("_at", "_function", "_handle", "_interval", "_loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, interval: float, function: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._interval = interval
        self._function = function
        self._at = loop.time()
        self._arm()

    def cancel(self) -> None:
        self._handle.cancel()

    def _arm(self) -> None:
        self._at = max(self._at + self._interval, self._loop.time())
        self._handle = self._loop.call_at(self._at, self._fire)

    def _fire(self) -> None:
        self._arm()
        self._function()
