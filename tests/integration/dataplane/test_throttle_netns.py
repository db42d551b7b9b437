"""Rates of throttled sessions between real kernels, by UDP and by TCP, both ways."""

import asyncio
import statistics
from collections.abc import Awaitable, Callable, Iterator

import pytest

from integration.dataplane.line import connected, flood, listening, tcp_rate
from integration.dataplane.namespaces import FAR, LAC, Topology
from integration.dataplane.setting import MTU, Setting, run
from l2tpns_core.dataplane.throttle import QUEUE_S
from unit.dataplane.fakes import KEY, SUBSCRIBER, number, route

pytestmark = pytest.mark.netns

RATE_IN, RATE_OUT, TCP_RATE = 2_000, 3_000, 6_000
"""kbit/s"""
TOLERANCE = 0.05
SIZE = 1_000
WARM_UP, SECONDS = 1.0, 3.0
PORT = 4001
OTHER = "10.0.0.6"


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-dp-rate")
    yield made
    made.remove()


def test_udp_at_twice_the_rate_gets_the_rate_both_ways(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        setting.install(throttle_in=RATE_IN, throttle_out=RATE_OUT)
        with (
            listening(topology.net, FAR, PORT) as far,
            listening(topology.lac, SUBSCRIBER, PORT) as subscriber,
        ):
            floods = [
                asyncio.create_task(flood(end, (target, PORT), 2 * rate, SIZE, WARM_UP + SECONDS))
                for end, target, rate in (
                    (subscriber.socket, FAR, RATE_IN),
                    (far.socket, SUBSCRIBER, RATE_OUT),
                )
            ]
            await asyncio.sleep(WARM_UP)
            up, down = await asyncio.gather(far.rate(SECONDS), subscriber.rate(SECONDS))
            sent_up, sent_down = await asyncio.gather(*floods)
            await asyncio.sleep(2 * QUEUE_S)
        assert up == pytest.approx(RATE_IN, rel=TOLERANCE)
        assert down == pytest.approx(RATE_OUT, rel=TOLERANCE)
        state, usage = setting.plane.throttle_state(KEY), setting.plane.counters(KEY)
        assert state is not None
        assert sent_up == state.passed_in + state.dropped_in
        assert sent_down == state.passed_out + state.dropped_out
        assert usage.packets_in == state.passed_in == len(far.numbers)
        assert usage.packets_out == state.passed_out == len(subscriber.numbers)
        assert (usage.octets_in, usage.octets_out) == (far.octets, subscriber.octets)
        for ear in (far, subscriber):
            assert ear.numbers == sorted(ear.numbers)
            assert max(ear.delays[len(ear.delays) // 2 :]) > QUEUE_S / 2  # the queue was in use

    run_on_a_line(topology, test)


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_tcp_gets_the_rate(topology: Topology, up: bool) -> None:
    async def test(setting: Setting) -> None:
        setting.install(throttle_in=TCP_RATE, throttle_out=TCP_RATE)
        rate = await tcp_rate(topology, SUBSCRIBER, up=up, warm_up=WARM_UP, seconds=SECONDS)
        assert rate == pytest.approx(TCP_RATE, rel=TOLERANCE)

    run_on_a_line(topology, test)


def test_another_session_loses_nothing_and_does_not_wait(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        setting.install(throttle_in=RATE_IN, throttle_out=RATE_OUT)
        setting.plane.install(route(key=KEY + 1, peer=(LAC, 1701), mru=MTU, ip=number(OTHER)))
        with (
            listening(topology.net, FAR, PORT) as far,
            listening(topology.net, FAR, PORT + 1) as far_of_other,
            listening(topology.lac, SUBSCRIBER, PORT) as subscriber,
            listening(topology.lac, OTHER, PORT + 1) as other,
        ):
            _, _, up, down = await asyncio.gather(
                flood(subscriber.socket, (FAR, PORT), 5 * RATE_IN, SIZE, SECONDS),
                flood(far.socket, (SUBSCRIBER, PORT), 5 * RATE_OUT, SIZE, SECONDS),
                flood(other.socket, (FAR, PORT + 1), RATE_IN, SIZE, SECONDS),
                flood(far_of_other.socket, (OTHER, PORT + 1), RATE_OUT, SIZE, SECONDS),
            )
            await asyncio.sleep(2 * QUEUE_S)
        assert far_of_other.numbers == list(range(up))
        assert other.numbers == list(range(down))
        for ear in (far_of_other, other):
            assert statistics.median(ear.delays) < QUEUE_S / 10
        assert statistics.median(far.delays) > QUEUE_S / 2

    run_on_a_line(topology, test)


def run_on_a_line(topology: Topology, test: Callable[[Setting], Awaitable[None]]) -> None:
    """Run a test with two subscribers' hosts, each at the end of a session."""

    async def with_hosts(setting: Setting) -> None:
        async with connected(setting, {SUBSCRIBER: KEY, OTHER: KEY + 1}):
            await test(setting)

    run(topology, with_hosts)
