"""A daemon that is stopped or killed with save_state: the next one goes on with its sessions."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.daemon.stage import Stage, ping, soon, until
from l2tpns_core.lab import TunnelOptions

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

BASE = Path("/sys/fs/bpf/l2tpns")


@pytest.fixture(params=["user", "ebpf"])
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with Stage(
        tmp_path,
        dataplane=request.param,
        bpf_directory=BASE if request.param == "ebpf" else "",
        save_state="yes",
    ) as stage:
        yield stage


async def stop(stage: Stage, number: signal.Signals) -> None:
    stage.site.daemon.send_signal(number)
    await asyncio.to_thread(stage.site.daemon.wait)


async def start(stage: Stage, **directives: object) -> None:
    stage.site.write_config(**directives)
    stage.site.daemon = stage.site._start_daemon()
    await asyncio.to_thread(stage.site._wait_until_ready)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_subscriber_goes_on_with_the_next_daemon(stage: Stage, number: signal.Signals) -> None:
    async def restarted(stage: Stage) -> None:
        client = await stage.log_in("user1")
        await ping(client)
        before = stage.session_of("user1")
        await stop(stage, number)
        await start(stage)
        print(stage.site.log())
        await ping(client)
        print(before, stage.session_of("user1"))
        other = await stage.log_in("user2")
        await ping(other)
        client.hangup()
        await soon(client.down)
        await stage.stop_of("user1", "User-Request")

    stage.play(restarted)
