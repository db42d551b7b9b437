"""Throttling and interception of subscribers of a real daemon, by RADIUS and by the operator."""

import asyncio
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from integration.daemon.stage import PASSWORD, Stage, ping, scene, until
from l2tpns_core.lab import Client, RadiusUser
from l2tpns_core.lab.snoop import SnoopReceiver
from l2tpns_core.lab.traffic import Traffic
from support.site import HOST_ADDRESS

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

RATE = 1_000
"""kbit/s"""
SIZE = 1_000
WINDOWS, WINDOW_S = 7, 0.8
SNOOP_PORT = 4000
TOLERANCE = 0.05
USERS = {
    "user*": RadiusUser(PASSWORD),
    "slow*": RadiusUser(PASSWORD, reply={"Cisco-AVPair": [f"throttle={RATE}"]}),
    "oneway*": RadiusUser(
        PASSWORD,
        reply={"Cisco-AVPair": [f"lcp:interface-config#1=service-policy output {RATE}"]},
    ),
    "heard*": RadiusUser(
        PASSWORD, reply={"Cisco-AVPair": [f"intercept={HOST_ADDRESS}:{SNOOP_PORT}"]}
    ),
    "yes*": RadiusUser(PASSWORD, reply={"Cisco-AVPair": ["intercept=yes,throttle=yes"]}),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(
        tmp_path_factory.mktemp("policies"),
        USERS,
        tail='load plugin "autothrottle"\nload plugin "autosnoop"\n',
        throttle_speed=28,
        snoop_host=HOST_ADDRESS,
        snoop_port=SNOOP_PORT,
        debug=4,
    ) as running:
        yield running


@dataclass
class Flooded:
    """What one client got of its flood."""

    kbits: float
    """Of answers per second: the median of some windows, so that a moment in which this machine
    did something else does not count."""
    answered: float
    """The part of its pings."""


async def flood(stage: Stage, *clients: Client, per_second: float) -> list[Flooded]:
    """Have each client send so many pings a second for some seconds, once the burst is spent."""
    floods = [Traffic(stage.lac.clock, HOST_ADDRESS, SIZE) for _ in clients]
    sent = [client.packets_sent for client in clients]
    replies = [client.echo_replies for client in clients]
    for traffic, client in zip(floods, clients, strict=True):
        traffic.start([client], per_second)
    await asyncio.sleep(1.0)
    windows: list[list[float]] = [[] for _ in clients]
    for _ in range(WINDOWS):
        before, started_at = [client.echo_replies for client in clients], time.monotonic()
        await asyncio.sleep(WINDOW_S)
        elapsed = time.monotonic() - started_at
        for rates, client, first in zip(windows, clients, before, strict=True):
            rates.append((client.echo_replies - first) * SIZE * 8 / 1000 / elapsed)
    for traffic in floods:
        traffic.stop()
    await asyncio.sleep(0.5)
    return [
        Flooded(
            statistics.median(rates),
            (client.echo_replies - first_reply) / (client.packets_sent - first),
        )
        for rates, client, first, first_reply in zip(windows, clients, sent, replies, strict=True)
    ]


@scene
async def test_a_throttled_subscriber_gets_his_rate_and_another_all_of_his(stage: Stage) -> None:
    slow, free = await stage.log_in("slow-one"), await stage.log_in("user-free")
    assert stage.session_of("slow-one")["throttled"]
    limited, unlimited = await flood(stage, slow, free, per_second=250)
    assert limited.kbits == pytest.approx(RATE, rel=TOLERANCE)
    assert unlimited.answered > 0.99
    (row,) = stage.ask("show throttle")
    assert (row["user"], row["throttle_in_kbps"], row["throttle_out_kbps"]) == (
        "slow-one",
        RATE,
        RATE,
    )
    assert row["dropped_in"] > 0
    assert row["dropped_out"] == 0


@scene
async def test_a_rate_for_one_direction_limits_that_one(stage: Stage) -> None:
    client = await stage.log_in("oneway")
    (limited,) = await flood(stage, client, per_second=250)
    assert limited.kbits == pytest.approx(RATE, rel=TOLERANCE)
    (row,) = stage.ask("show throttle")
    assert (row["throttle_in_kbps"], row["throttle_out_kbps"]) == (0, RATE)
    assert (row["dropped_in"] == 0, row["dropped_out"] > 0) == (True, True)


@scene
async def test_the_operator_throttles_and_unthrottles(stage: Stage) -> None:
    client = await stage.log_in("user-one")
    assert await stage.command(f"throttle user-one in {RATE}") == "Throttling user user-one\n"
    (limited,) = await flood(stage, client, per_second=250)
    assert await stage.command("no throttle user-one") == "Unthrottling user user-one\n"
    (free,) = await flood(stage, client, per_second=250)
    assert limited.kbits == pytest.approx(RATE, rel=TOLERANCE)
    assert free.answered > 0.99
    assert stage.ask("show throttle") == []


@scene
async def test_copies_of_every_packet_both_ways_reach_who_intercepts(stage: Stage) -> None:
    receiver = stage.site.net.call(SnoopReceiver, HOST_ADDRESS, SNOOP_PORT)
    try:
        client = await stage.log_in("heard")
        for size in (64, 1000, 1462):
            await ping(client, size, once=True)
        copies: list[bytes] = []

        def arrived() -> bool:
            copies.extend(copy.packet for copy in receiver.take())
            return len(copies) >= 6

        await until(arrived, "copies are missing")
        address = socket.inet_aton(client.ip)
        sent = [packet for packet in copies if packet[12:16] == address]
        answered = [packet for packet in copies if packet[16:20] == address]
        assert [len(packet) for packet in sent] == [64, 1000, 1462]
        assert [packet[28:] for packet in sent] == [packet[28:] for packet in answered]
        assert len(copies) == 6
        await stage.command("no snoop heard")
        await ping(client)
        assert receiver.take() == []
        said = await stage.command(f"snoop heard {HOST_ADDRESS} {SNOOP_PORT}")
        assert said == f"Snooping user heard to {HOST_ADDRESS}:{SNOOP_PORT}\n"
        await ping(client)
        await until(receiver.take, "no copy")
    finally:
        receiver.close()
    assert stage.session_of("heard")["intercepted"]
    assert "snoop" not in stage.site.log().replace("plugin autosnoop", "").lower()
    assert "intercept" not in stage.site.log()


@scene
async def test_the_manuals_pair_throttles_and_intercepts(stage: Stage) -> None:
    receiver = stage.site.net.call(SnoopReceiver, HOST_ADDRESS, SNOOP_PORT)
    try:
        client = await stage.log_in("yes-both")
        row = stage.session_of("yes-both")
        assert (row["throttled"], row["intercepted"]) == (True, True)
        await ping(client)
        await until(receiver.take, "no copy")
        (limit,) = stage.ask("show throttle")
        assert (limit["throttle_in_kbps"], limit["throttle_out_kbps"]) == (28, 28)
    finally:
        receiver.close()
