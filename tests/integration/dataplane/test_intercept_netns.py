"""Copies of intercepted packets between real kernels."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator

import pytest

from integration.dataplane.namespaces import FAR, LAC, Topology
from integration.dataplane.setting import HEADER_BYTES, MTU, Setting, receive, run, until
from unit.dataplane.fakes import IP_PREFIX, KEY, SUBSCRIBER, route, udp_packet

pytestmark = pytest.mark.netns

PORT = 4000
TARGET = (FAR, PORT)
NOBODY = (FAR, 4444)
NOWHERE = ("192.0.99.1", PORT)
"""No route leads there."""
SIZES = (28, 64, 1000, MTU)
IP_MTU_DISCOVER = 10
DONT_FRAGMENT_AND_OFFSET = 0x7FFF
ETHERNET = 14
SETTLED_S = 0.2


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-dp-copy")
    yield made
    made.remove()


@contextlib.contextmanager
def receiver(topology: Topology) -> Iterator[socket.socket]:
    with topology.net.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    made.bind(TARGET)
    with made:
        yield made


def intercept(setting: Setting, **fields: object) -> None:
    """The socket of the copies belongs to the namespace in which it is made."""
    with setting.topology.lns.entered():
        setting.plane.install(route(**({"peer": (LAC, 1701), "mru": MTU} | fields)))


def packet_up(size: int = 100) -> bytes:
    return udp_packet(SUBSCRIBER, FAR, bytes(index % 251 for index in range(size - 28)))


def drained(end: socket.socket) -> list[bytes]:
    """What waits at a socket."""
    datagrams = []
    with contextlib.suppress(BlockingIOError):
        while True:
            datagrams.append(end.recv(65_535))
    return datagrams


def test_copies_are_what_the_subscriber_sent_and_was_sent(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        intercept(setting, snoop=TARGET)
        with receiver(topology) as ear:
            for size in SIZES:
                sent = packet_up(size)
                setting.send_up(IP_PREFIX + sent)
                assert (await receive(setting.far))[0] == sent[28:]
                assert (await receive(ear))[0] == sent
                setting.far.sendto(sent[28:], (SUBSCRIBER, 1024))
                arrived = (await receive(setting.lac))[0][HEADER_BYTES:]
                assert arrived[28:] == sent[28:]
                assert (await receive(ear))[0] == arrived
            setting.install()
            setting.send_up(IP_PREFIX + packet_up())
            await receive(setting.far)
            assert drained(ear) == []
        counters = setting.plane.plane_counters()
        assert (counters.packets_snooped, counters.snoop_failures) == (2 * len(SIZES), 0)

    run(topology, test)


def test_fragments_are_copied_as_they_went(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        intercept(setting, mru=576, snoop=TARGET)
        setting.far.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        with receiver(topology) as ear:
            setting.far.sendto(bytes(1200), (SUBSCRIBER, 7))
            for _ in range(3):
                arrived = (await receive(setting.lac))[0][HEADER_BYTES:]
                assert (await receive(ear))[0] == arrived

    run(topology, test)


def test_what_a_throttled_subscriber_loses_is_not_copied(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        intercept(setting, snoop=TARGET, throttle_in=1_000)
        with receiver(topology) as ear:
            for _ in range(200):
                setting.send_up(IP_PREFIX + packet_up(1000))
            await until(lambda: (state := setting.plane.throttle_state(KEY)) and state.dropped_in)
            await asyncio.sleep(2 * SETTLED_S)
            state = setting.plane.throttle_state(KEY)
            assert state is not None
            assert state.passed_in + state.dropped_in == 200
            assert len(drained(ear)) == len(drained(setting.far)) == state.passed_in

    run(topology, test)


def test_copies_may_be_fragmented_on_their_way(topology: Topology) -> None:
    """With DF, one narrow hop would swallow the copies of all large packets."""

    async def test(setting: Setting) -> None:
        with topology.net.entered():
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        with tap, receiver(topology) as ear:
            tap.bind(("net0", 0))
            tap.setblocking(False)
            intercept(setting, snoop=TARGET)
            sent = packet_up(MTU)
            setting.send_up(IP_PREFIX + sent)
            assert (await receive(ear))[0] == sent
            frames = [frame[ETHERNET:] for frame in drained(tap)]
            (copy,) = [packet for packet in frames if sent in packet]
            assert int.from_bytes(copy[6:8], "big") & DONT_FRAGMENT_AND_OFFSET == 0

    run(topology, test)


@pytest.mark.parametrize("target", [NOBODY, NOWHERE], ids=["refused", "no route"])
def test_a_target_that_is_not_there_changes_nothing(
    topology: Topology, caplog: pytest.LogCaptureFixture, target: tuple[str, int]
) -> None:
    async def test(setting: Setting) -> None:
        intercept(setting, snoop=target)
        for _ in range(20):
            setting.send_up(IP_PREFIX + packet_up())
            payload, sender = await receive(setting.far)
            setting.far.sendto(payload, sender)
            await receive(setting.lac)
        counters = setting.plane.plane_counters()
        failures = (
            40 if target is NOWHERE else 0
        )  # of refusals an unconnected socket learns nothing
        assert (counters.packets_snooped, counters.snoop_failures) == (40 - failures, failures)
        assert setting.plane.counters(KEY).packets_in == 20
        assert setting.plane.counters(KEY).packets_out == 20

    caplog.set_level(logging.DEBUG)
    run(topology, test)
    assert [record for record in caplog.records if record.name.startswith("l2tpns")] == []


@pytest.mark.parametrize("size", SIZES)
def test_a_subscriber_who_is_his_own_target_gets_each_copy_once(
    topology: Topology, size: int
) -> None:
    async def test(setting: Setting) -> None:
        intercept(setting, snoop=(SUBSCRIBER, PORT))
        sent = packet_up(size)
        setting.send_up(IP_PREFIX + sent)
        await receive(setting.far)
        await asyncio.sleep(SETTLED_S)
        packets = [datagram[HEADER_BYTES:] for datagram in drained(setting.lac)]
        assert sent in packets[0] if size < MTU else sent[:1000] in packets[0]
        # What does not fit is cut by the kernel. A later piece has no ports: it is copied, once.
        assert len(packets) == (1 if size < MTU else 3)
        setting.far.sendto(sent[28:], (SUBSCRIBER, 1024))
        await asyncio.sleep(SETTLED_S)
        assert len(drained(setting.lac)) == (2 if size < MTU else 4)

    run(topology, test)
