"""What a plugin has running ends with it, and hurts nobody else."""

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from l2tpns_core.plugins.scope import PluginScope
from l2tpns_core.plugins.watch import REPORTS_IN_FULL, Watch


def in_loop(body: Callable[[PluginScope], object], watch: Watch | None = None) -> PluginScope:
    """Run `body`, or await what it returns, with a scope on a running loop."""

    async def run() -> PluginScope:
        scope = PluginScope("p", asyncio.get_running_loop(), watch or Watch())
        result = body(scope)
        if asyncio.iscoroutine(result):
            await result
        return scope

    return asyncio.run(run())


def test_a_task_runs_and_ends_by_itself() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    async def body(scope: PluginScope) -> None:
        await scope.create_task(work(), "w")

    assert in_loop(body).statistics.calls == 1
    assert done == ["work"]


def test_closing_cancels_what_still_runs() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("cancelled")

    async def body(scope: PluginScope) -> None:
        task = scope.create_task(work())
        scope.every(0.01, lambda: seen.append("tick"))
        await asyncio.sleep(0.05)
        scope.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        ticks = seen.count("tick")
        await asyncio.sleep(0.05)
        assert seen.count("tick") == ticks >= 1

    in_loop(body)
    assert seen[-1] == "cancelled" or "cancelled" in seen


def test_a_closed_scope_starts_nothing() -> None:
    async def work() -> None:
        raise AssertionError

    async def body(scope: PluginScope) -> None:
        scope.close()
        with pytest.raises(RuntimeError, match="plugin p is unloaded"):
            scope.create_task(work())
        with pytest.raises(RuntimeError, match="plugin p is unloaded"):
            scope.every(1.0, print)

    in_loop(body)


def test_what_fails_is_logged_with_the_name_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise OSError("no route")

    async def body(scope: PluginScope) -> None:
        task = scope.create_task(work(), "fetch")
        await asyncio.wait([task])
        await asyncio.sleep(0)

    scope = in_loop(body)
    assert scope.statistics.errors == 1
    assert "plugin p failed in p: fetch, failure 1: OSError: no route" in caplog.text


def test_a_repeated_call_that_fails_goes_on_and_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    enough = asyncio.Event()

    def fail() -> None:
        if scope_of.statistics.calls > REPORTS_IN_FULL + 3:
            enough.set()
        raise ValueError("again")

    async def body(scope: PluginScope) -> None:
        nonlocal scope_of
        scope_of = scope
        scope.every(0.01, fail)
        async with asyncio.timeout(5):
            await enough.wait()
        scope.close()

    scope_of: PluginScope

    assert in_loop(body).statistics.errors > REPORTS_IN_FULL + 3
    assert len(caplog.records) == REPORTS_IN_FULL


def test_a_repeated_call_can_be_stopped() -> None:
    ticks: list[str] = []

    async def body(scope: PluginScope) -> None:
        stop = scope.every(0.01, lambda: ticks.append("tick"))
        await asyncio.sleep(0.05)
        stop()
        stop()
        seen = len(ticks)
        await asyncio.sleep(0.05)
        assert len(ticks) == seen >= 1
        scope.close()

    in_loop(body)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), 0.001])
def test_a_time_that_makes_no_sense_is_refused(seconds: float) -> None:
    def body(scope: PluginScope) -> None:
        with pytest.raises(ValueError, match="every"):
            scope.every(seconds, print)

    in_loop(body)


def test_a_slow_call_is_reported_with_its_time(caplog: pytest.LogCaptureFixture) -> None:
    def body(scope: PluginScope) -> None:
        scope.call(time.sleep, 0.02)
        scope.call(time.sleep, 0.02)

    with caplog.at_level(logging.ERROR):
        scope = in_loop(body, Watch(slow_s=0.01))
    assert scope.statistics.slow == 2
    assert scope.statistics.slowest >= 0.02
    assert len(caplog.records) == 1
    assert "plugin p took" in caplog.text


def test_what_is_owned_is_undone_once() -> None:
    undone: list[int] = []

    def body(scope: PluginScope) -> None:
        scope.own(1, lambda: undone.append(1))
        scope.own(2, lambda: undone.append(2))
        assert scope.disown(1)
        assert not scope.disown(1)
        scope.close()
        scope.close()

    in_loop(body)
    assert undone == [2]


def test_a_task_that_calls_exit_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def body(scope: PluginScope) -> None:
        task = scope.create_task(leave(), "leave")
        await asyncio.wait([task])
        await asyncio.sleep(0)

    assert in_loop(body).statistics.errors == 1
    assert "it called exit(3)" in caplog.text


def test_what_is_repeated_is_a_plain_function() -> None:
    async def work() -> None:
        raise AssertionError

    def body(scope: PluginScope) -> None:
        with pytest.raises(TypeError, match="a plain function"):
            scope.every(1.0, work)

    in_loop(body)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), asyncio.CancelledError()])
def test_nothing_that_a_call_raises_gets_out(error: BaseException) -> None:
    def fail() -> None:
        raise error

    assert in_loop(lambda scope: scope.call(fail)).statistics.errors == 1
