"""Two hundred hostile telnet clients against a daemon: its subscribers notice nothing."""

import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import LNS_ADDRESS, PATIENCE_S, Stage, soon, until
from l2tpns_core.lab import Client
from l2tpns_core.lab.netns import veth
from support.site import HOST_ADDRESS
from support.telnet import Caller, resident_bytes

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

PORT = 2323
SESSIONS = 100
ATTACK_S = 15.0
SCRIPT = Path(__file__).parents[2] / "support" / "telnet_attack.py"
HOSTILE = "10.98.0.1"
"""The LNS on the attackers' line."""
SOURCES = [f"10.98.{1 + number % 8}.{1 + number // 8}" for number in range(50)]
PASSWORD = "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM."
MEMORY_GROWTH_BYTES = 8 << 20
"""What an attack may add to the daemon and to either half of its listener; docs/shell.md."""
MORE_LATENCY_MS = 50.0
"""Generous, because attackers, daemon and subscribers share the processors."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """In the user-space plane: there every packet of a subscriber waits for the daemon."""
    users = tmp_path / "users"
    users.write_text(f"admin:{PASSWORD}\nenable:up\n")
    users.chmod(0o600)
    directives = {"cli_port": PORT, "cli_bind_address": "0.0.0.0", "dataplane": "user"}
    with Stage(tmp_path, **directives) as stage:
        yield stage


async def latencies_ms(client: Client, seconds: float) -> list[float]:
    """Round trips of a subscriber's packets, one after the other."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        wanted, begun = client.echo_replies + 1, time.perf_counter()
        client.ping(HOST_ADDRESS, 64)
        while client.echo_replies < wanted:
            assert time.perf_counter() - begun < PATIENCE_S, "no echo reply"
            await asyncio.sleep(0.0005)
        found.append(1000 * (time.perf_counter() - begun))
        await asyncio.sleep(0.01)
    return found


def listener_pids(daemon: int) -> list[int]:
    """The half of the listener with the keys, and the one that talks with the network."""
    (keeper,) = children(daemon)
    return [keeper, *children(keeper)]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def attackers(stage: Stage) -> Iterator["subprocess.Popen[str]"]:
    site = stage.site
    veth(site.net, "bad0", "10.98.0.2/16", site.lns, "bad", f"{HOSTILE}/16")
    for source in SOURCES:
        site.net.add_address("bad0", f"{source}/16")
    process = site.net.popen(
        [sys.executable, str(SCRIPT), HOSTILE, str(PORT), str(ATTACK_S), *SOURCES],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def log_in(stage: Stage) -> None:
    """An honest operator, in the middle of it."""
    connect = socket.create_connection
    caller = Caller(stage.site.lac.call(connect, (LNS_ADDRESS, PORT), 15))
    with caller.connection:
        caller.until(b"Username: ")
        caller.send(b"admin\r\n")
        caller.until(b"Password: ")
        caller.send(b"secret\r\n")
        caller.until(b"> ")
        caller.send(b"show users | count\r\n")
        assert str(SESSIONS).encode() in caller.until(b"> ")


def test_two_hundred_hostile_clients_and_a_hundred_subscribers(stage: Stage) -> None:
    async def act(stage: Stage) -> None:
        await until(lambda: "telnet on" in stage.site.log(), "no telnet")
        clients = [stage.call(f"user-{n}", echo_interval_s=1.0) for n in range(SESSIONS)]
        for client in clients:
            await soon(client.up)
        await asyncio.to_thread(log_in, stage)
        pids = [stage.site.daemon.pid, *listener_pids(stage.site.daemon.pid)]
        before = [resident_bytes(pid) for pid in pids]
        calm = await latencies_ms(clients[0], 3.0)
        with attackers(stage) as process:
            await asyncio.sleep(1.0)
            attacked = await latencies_ms(clients[0], 6.0)
            await asyncio.to_thread(log_in, stage)
            output, _ = await asyncio.to_thread(process.communicate, timeout=ATTACK_S + 60)
        grown = [resident_bytes(pid) - old for pid, old in zip(pids, before, strict=True)]
        calls = json.loads(output)
        print(f"\ncalls {calls}; grown by {[size // 1024 for size in grown]} KB")
        for name, values in (("calm", calm), ("attacked", attacked)):
            p99 = statistics.quantiles(values, n=100)[98]
            median = statistics.median(values)
            print(f"{name}: {len(values)} pings, median {median:.2f} ms, p99 {p99:.2f} ms")
        assert sum(calls.values()) > 500
        assert listener_pids(stage.site.daemon.pid) == pids[1:]  # none of them had to be restarted
        assert max(grown) < MEMORY_GROWTH_BYTES
        assert statistics.median(attacked) < statistics.median(calm) + MORE_LATENCY_MS
        assert len(stage.ask("show session")) == SESSIONS
        assert not any(client.down.done() for client in clients)
        counters = stage.lac.ppp_counters
        assert counters.echo_replies_received >= counters.echo_requests_sent - SESSIONS

    stage.play(act)
