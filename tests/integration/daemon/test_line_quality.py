"""The quality of a line as an operator sees it, over a path that is slow, or loses everything.

The path is made bad on the LAC's side of its socket, because not every kernel has netem. No time is
held against an upper bound: a busy machine only makes a line look slower.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.daemon.stage import Stage, ping, until

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

DELAY_S = 0.15
STEP_S = 0.001
"""Clocks of two processes and the unit of the ring."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path, echo_timeout=1, line_quality_interval=2) as stage:
        yield stage


def quality(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.session_of("user1")["line_quality"] or {}
    return found


def test_a_slow_path_shows_as_a_round_trip(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        path = stage.lac.options.impairments
        path.data = True
        await stage.log_in("user1")
        await until(lambda: quality(stage).get("echoes", 0) >= 2, "no echoes")
        before = quality(stage)
        path.delay_s = DELAY_S
        wanted = 2 * DELAY_S - STEP_S
        await until(lambda: quality(stage)["last_s"] >= wanted, "the path is not slower")
        now = quality(stage)
        assert now["lost"] == 0
        assert now["max_s"] >= wanted
        assert now["min_s"] == before["min_s"]
        assert now["jitter_s"] > 0
        path.delay_s = 0.0
        await until(lambda: quality(stage)["last_s"] < wanted, "the path is still slow")

    stage.play(act)


def test_a_path_that_loses_everything_shows_as_loss(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        path = stage.lac.options.impairments
        path.control = False  # the tunnel stays
        path.data = True
        await stage.log_in("user1")
        await until(lambda: quality(stage).get("last_s") is not None, "no echo")
        assert quality(stage)["lost"] == 0
        path.loss = 100.0
        await until(lambda: quality(stage)["lost"] >= 4, "no loss")
        now = quality(stage)
        assert now["loss"] == pytest.approx(now["lost"] / now["echoes"], abs=0.0001)
        assert now["lost_s_ago"] is not None
        path.loss = 0.0
        lost = now["lost"] + 1  # one may have been on its way
        answered = now["echoes"] - now["lost"]
        await until(
            lambda: quality(stage)["echoes"] - quality(stage)["lost"] >= answered + 2,
            "no answer again",
        )
        assert quality(stage)["lost"] <= lost + 1
        assert "The line got bad: 4 of the last" in await stage.command("why user1")

    stage.play(act)


def test_a_busy_line_is_measured_too(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        client = await stage.log_in("user1")

        def asked() -> bool:
            return bool(quality(stage).get("echoes", 0) >= 3)

        for _ in range(1000):
            await ping(client)
            if asked():
                break
        assert asked()
        assert quality(stage)["lost"] == 0

    stage.play(act)
