"""A daemon that is killed: its subscribers go on, and the next one finds everything in order."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.daemon.stage import PASSWORD, PATIENCE_S, Stage, ping, soon, until
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.keep import Keep
from l2tpns_core.lab import CallOptions, Client, PppOptions, TunnelOptions
from support.site import HOST_ADDRESS

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

PINGS = 200
PAUSE_S = 0.002
SILENCE_S = 0.3
BASE = Path("/sys/fs/bpf/l2tpns")
PROTOCOL = "42"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path, dataplane="ebpf", bpf_directory=BASE, route_protocol=PROTOCOL) as stage:
        yield stage


def lines_of(stage: Stage, *command: str) -> list[str]:
    """What a command in the namespace of the LNS prints."""
    return stage.site.lns.run(command).stdout.splitlines()


def directory_of(stage: Stage) -> Path:
    """Where the forwarding of this stage outlives its daemon."""
    return BASE / str(os.fstat(stage.site.lns.descriptor).st_ino)


def pinned(stage: Stage) -> list[str]:
    return [path.name for path in (directory_of(stage) / "pins").glob("*")]


def kill(stage: Stage) -> None:
    stage.site.daemon.kill()
    stage.site.daemon.wait()


async def start_again(stage: Stage, **directives: object) -> None:
    stage.site.write_config(**directives)
    stage.site.daemon = stage.site._start_daemon()
    await asyncio.to_thread(stage.site._wait_until_ready)


async def flowing(stage: Stage) -> None:
    """Wait until the kernel forwards both ways."""
    await until(lambda: stage.ask("show dataplane")["kernel"]["interfaces"], "nothing attached")


def play(stage: Stage, killed: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    """Run a scene after which the books of a daemon that was killed stay open."""

    async def run() -> None:
        async with stage.new_lac() as stage.lac:
            stage.tunnel = await stage.lac.open_tunnel(TunnelOptions())
            await killed(stage)
            stage.tunnel.vanish()
        assert "Traceback" not in stage.site.log(), stage.site.log()

    stage._runner.run(run())


async def pings_answered(client: Client) -> int:
    """How many of PINGS come back."""
    known = client.echo_replies
    for _ in range(PINGS):
        client.ping(HOST_ADDRESS)
        await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(SILENCE_S)
    return client.echo_replies - known


async def a_new_subscriber_is_served(stage: Stage) -> None:
    async with stage.new_lac() as lac:
        tunnel = await lac.open_tunnel(TunnelOptions())
        ppp = PppOptions(user="user2", password=PASSWORD, auth=("pap",))
        client = tunnel.call(CallOptions(ppp=ppp))
        await soon(client.up)
        await ping(client)
        tunnel.close()
        await soon(tunnel.closed)


def test_packets_flow_while_the_daemon_is_dead_and_nothing_is_doubled_later(stage: Stage) -> None:
    async def killed(stage: Stage) -> None:
        client = await stage.log_in("user1")
        await flowing(stage)
        kill(stage)
        assert await pings_answered(client) == PINGS
        await start_again(stage)
        assert "what it left in the kernel is removed" in stage.site.log()
        kernel = stage.ask("show dataplane")["kernel"]
        assert (kernel["sessions"], kernel["interfaces"], kernel["lacs"]) == (0, {}, {})
        assert kernel["hits"] == {"up": 0, "down": 0}
        assert len(lines_of(stage, "ip", "-br", "link", "show", "type", "tun")) == 1
        assert len(lines_of(stage, "ip", "route", "show", "proto", PROTOCOL)) == 1
        assert [name.partition("-")[0] for name in pinned(stage)].count("up") == 0
        assert [name.partition("-")[0] for name in pinned(stage)].count("down") == 1
        assert await pings_answered(client) == 0  # nobody knows its session any more
        await a_new_subscriber_is_served(stage)

    play(stage, killed)


def test_without_a_directory_the_forwarding_ends_with_the_daemon(tmp_path: Path) -> None:
    async def killed(stage: Stage) -> None:
        client = await stage.log_in("user1")
        await flowing(stage)
        await ping(client)
        kill(stage)
        assert await pings_answered(client) == 0
        assert not directory_of(stage).exists()

    with Stage(tmp_path, dataplane="ebpf", bpf_directory="") as stage:
        play(stage, killed)


def test_a_user_space_plane_clears_away_what_the_kernel_still_forwards(stage: Stage) -> None:
    async def killed(stage: Stage) -> None:
        client = await stage.log_in("user1")
        await flowing(stage)
        kill(stage)
        await start_again(stage, dataplane="user")
        assert not pinned(stage)
        assert len(lines_of(stage, "ip", "-br", "link", "show", "type", "tun")) == 1
        assert await pings_answered(client) == 0
        await a_new_subscriber_is_served(stage)

    play(stage, killed)


def test_a_clean_end_leaves_nothing(stage: Stage) -> None:
    async def ended(stage: Stage) -> None:
        await stage.log_in("user1")
        await flowing(stage)
        assert pinned(stage)
        stage.site.daemon.terminate()
        await asyncio.to_thread(stage.site.daemon.wait)
        assert not pinned(stage)
        assert not directory_of(stage).exists()
        assert not lines_of(stage, "ip", "-br", "link", "show", "type", "tun")

    play(stage, ended)


def test_a_second_daemon_of_the_same_place_leaves_the_first_alone(
    stage: Stage, tmp_path: Path
) -> None:
    async def both(stage: Stage) -> None:
        client = await stage.log_in("user1")
        await flowing(stage)
        with pytest.raises(FastPathError, match="another LNS"):
            stage.site.lns.call(Keep.open, BASE)
        assert await pings_answered(client) == PINGS

    play(stage, both)


def test_what_was_left_in_a_namespace_that_is_gone_goes_with_the_next_start(
    stage: Stage, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with Stage(other, dataplane="ebpf", bpf_directory=BASE) as gone:
        left = directory_of(gone)
        kill(gone)
    assert (left / "pins").is_dir()

    async def restarted(stage: Stage) -> None:
        kill(stage)
        await start_again(stage)

    deadline = time.monotonic() + PATIENCE_S
    while left.exists():  # the kernel takes its time to take a namespace apart
        assert time.monotonic() < deadline
        play(stage, restarted)
