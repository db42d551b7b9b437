"""RADIUS is down while sessions end: the Stops arrive when it is back, from the real daemon.

What lasts ten minutes at an operator's lasts seconds here, as the directives are set.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.daemon.stage import PASSWORD, PATIENCE_S, Stage, soon, until
from l2tpns_core.lab import CallOptions, Client, PppOptions, RadiusRecord, TunnelOptions
from support.site import HOST_ADDRESS

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

MANY = 500
PINGS = 5
PING_SIZE = 100


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(
        tmp_path,
        pool="10.64.0.0/20\n",
        radius_timeout=1,
        radius_tries=1,
        radius_dead_time=1,
        debug=2,
    ) as stage:
        yield stage


async def log_in_all(stage: Stage, count: int) -> dict[str, Client]:
    """Users with a number, each up and known to accounting."""
    clients = {}
    for number in range(count):
        ppp = PppOptions(user=f"user{number}", password=PASSWORD, auth=("pap",))
        clients[f"user{number}"] = stage.tunnel.call(CallOptions(ppp=ppp))
        if number % 50 == 49:
            await asyncio.gather(*(soon(client.up) for client in clients.values()))
    await asyncio.gather(*(soon(client.up) for client in clients.values()))
    await stage.site.radius.wait_for_records("Start", count=count, timeout_s=PATIENCE_S)
    return clients


async def hang_up(stage: Stage, clients: dict[str, Client]) -> dict[str, float]:
    """End them one by one; when each ended, in Unix time."""
    ended = {}
    for user, client in clients.items():
        client.hangup()
        ended[user] = time.time()
        await asyncio.sleep(0.005)
    await until(lambda: stage.ask("show session") == [], "a session is left")
    return ended


def spool_of(stage: Stage) -> dict[str, float]:
    found: dict[str, float] = stage.ask("show radius")["spool"]
    return found


async def start_again(stage: Stage) -> None:
    stage.site.daemon.wait()
    stage.site.daemon = stage.site._start_daemon()
    await asyncio.to_thread(stage.site._wait_until_ready)


def assert_right(stop: RadiusRecord, start: RadiusRecord, ended: float) -> None:
    """Every field of a Stop that came late."""
    same = ("Acct-Session-Id", "Acct-Multi-Session-Id", "User-Name", "Framed-IP-Address")
    for name in (*same, "NAS-IP-Address", "NAS-Identifier", "NAS-Port", "NAS-Port-Type"):
        assert stop.get(name) == start.get(name), name
    assert stop["Acct-Terminate-Cause"] == "User-Request"
    assert abs(_seconds(stop, "Event-Timestamp") - ended) < 2
    assert abs(stop["Acct-Delay-Time"] - (stop.time - _seconds(stop, "Event-Timestamp"))) <= 2
    lasted = _seconds(stop, "Event-Timestamp") - _seconds(start, "Event-Timestamp")
    assert abs(stop["Acct-Session-Time"] - lasted) <= 2
    assert stop["Acct-Input-Packets"] == stop["Acct-Output-Packets"] == PINGS
    assert stop["Acct-Input-Octets"] == stop["Acct-Output-Octets"] == PINGS * PING_SIZE
    assert stop["Acct-Input-Gigawords"] == stop["Acct-Output-Gigawords"] == 0


def _seconds(record: RadiusRecord, name: str) -> float:
    return float(record[name])


def test_all_stops_of_an_outage_arrive_right_in_every_field(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        clients = await log_in_all(stage, MANY)
        for client in clients.values():
            for _ in range(PINGS):
                client.ping(HOST_ADDRESS, PING_SIZE)
            await asyncio.sleep(0.005)
        await until(
            lambda: all(client.echo_replies == PINGS for client in clients.values()), "no reply"
        )
        radius = stage.site.radius
        radius.silent = True
        ended = await hang_up(stage, clients)
        await until(lambda: spool_of(stage)["records"] == MANY, "they are not kept")
        assert spool_of(stage)["on_disk"]
        assert not radius.records("Stop")
        await asyncio.sleep(5)
        radius.silent = False
        stops = await radius.wait_for_records("Stop", count=MANY, timeout_s=PATIENCE_S)
        await until(lambda: spool_of(stage)["records"] == 0, "some are left")
        starts = {record["Acct-Session-Id"]: record for record in radius.records("Start")}
        assert len(stops) == len(starts) == MANY
        for stop in stops:
            assert_right(stop, starts[stop["Acct-Session-Id"]], ended[stop["User-Name"]])
        print(Counter(stop["Acct-Delay-Time"] for stop in stops))

    stage.play(scene)


def play(stage: Stage, scene: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    """Run a scene after which the daemon no longer knows the tunnel."""

    async def run() -> None:
        async with stage.new_lac() as stage.lac:
            stage.tunnel = await stage.lac.open_tunnel(TunnelOptions())
            await scene(stage)
            stage.tunnel.vanish()
        stage.assert_books_are_right()
        assert "Traceback" not in stage.site.log(), stage.site.log()

    stage._runner.run(run())


def test_a_daemon_that_is_killed_leaves_its_records_to_the_next(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        count = 60
        clients = await log_in_all(stage, count)
        radius = stage.site.radius
        radius.silent = True
        await hang_up(stage, clients)
        await until(lambda: spool_of(stage)["records"] == count, "they are not kept")
        await until(lambda: lines_on_disk(stage) >= count, "they are not on disk")
        os.kill(stage.site.daemon.pid, signal.SIGKILL)
        await start_again(stage)
        assert f"{count} accounting records wait" in stage.site.log()
        assert spool_of(stage)["records"] >= count
        radius.silent = False
        await radius.wait_for_records("Stop", count=count, timeout_s=PATIENCE_S)
        await until(lambda: spool_of(stage)["records"] == 0, "some are left")
        os.kill(stage.site.daemon.pid, signal.SIGKILL)
        await start_again(stage)
        await radius.wait_for_records("Accounting-On", count=3, timeout_s=PATIENCE_S)
        assert "records wait" not in stage.site.log()
        assert len(radius.records("Stop")) == count

    play(stage, scene)


def lines_on_disk(stage: Stage) -> int:
    lines = (stage.site.directory / "accounting" / "records").read_bytes().splitlines()
    return sum(line[9:10] == b"+" for line in lines)


def test_what_radius_does_not_take_at_the_stop_waits_for_the_next_start(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        clients = await log_in_all(stage, 20)
        radius = stage.site.radius
        radius.silent = True
        stopping_at = time.monotonic()
        stage.site.daemon.send_signal(signal.SIGTERM)
        for client in clients.values():
            await soon(client.down)
        await asyncio.to_thread(stage.site.daemon.wait)
        assert time.monotonic() - stopping_at < PATIENCE_S
        assert "accounting records wait for the next start" in stage.site.log()
        radius.silent = False
        await start_again(stage)
        await radius.wait_for_records("Stop", count=20, timeout_s=PATIENCE_S)
        await radius.wait_for_records("Accounting-On", count=2, timeout_s=PATIENCE_S)
        told = [record["Acct-Status-Type"] for record in radius.accounting]
        assert told[-22:] == ["Stop"] * 20 + ["Accounting-Off", "Accounting-On"]
        assert {r["Acct-Terminate-Cause"] for r in radius.records("Stop")} == {"Admin-Reboot"}

    play(stage, scene)
