"""TCP through the tunnel: super-packets, checksums and offloads, throttles."""

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pyroute2 import IPRoute

from integration.dataplane.namespaces import FAR, LAC, Namespace, Topology
from integration.ebpf.mirror import MirrorLac, offload
from integration.ebpf.setting import KEY, SUBSCRIBER, Setting, number, opened, route
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.ipv4 import checksum
from l2tpns_core.lab.netns import ETHTOOL_STSO, ETHTOOL_STXCSUM

pytestmark = pytest.mark.netns

CONTENT = os.urandom(1 << 20) * 8
PORT = 5001
OFFLOADS = {
    # The LAC's interface cuts in any case: a real one receives no super-packets of a tunnel.
    "the kernel cuts": {ETHTOOL_STSO: False, ETHTOOL_STXCSUM: True},
    "the kernel cuts and sums": {ETHTOOL_STSO: False, ETHTOOL_STXCSUM: False},
}
TOLERANCE = 0.03
THROTTLE_S = 10.0
TRIES = 5
TCP = 6


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-bpf-tcp")
    yield made
    made.remove()


@pytest.fixture(params=OFFLOADS)
def setting(topology: Topology, request: pytest.FixtureRequest) -> Iterator[Setting]:
    with tunnelled(topology, OFFLOADS[request.param]) as made:
        yield made


@contextlib.contextmanager
def tunnelled(topology: Topology, offloads: dict[int, bool]) -> Iterator[Setting]:
    for command, on in offloads.items():
        offload(topology.lns, "lns0", command, on=on)
        offload(topology.lac, "lac0", command, on=on)
    with opened(topology) as setting:
        mirror = MirrorLac(topology)
        try:
            yield setting
        finally:
            mirror.close()
            for command in offloads:
                offload(topology.lns, "lns0", command, on=True)
                offload(topology.lac, "lac0", command, on=True)


def transfer(
    receiver: Namespace,
    at: str,
    sender: Namespace,
    content: bytes,
    seconds: float = 60.0,
    note: Callable[[float], None] = lambda now: None,
) -> bytes:
    """Send content over TCP; return what arrived until the time was over. `note` is called when the
    connection is there and at the last octets."""
    with receiver.entered():
        listener = socket.create_server((at, PORT))
    stop = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):
            connection.connect((at, PORT))
            while not stop.is_set():
                connection.sendall(content)
                if seconds >= 60:
                    break
        connection.close()

    with sender.entered():
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(60)
    thread = threading.Thread(target=send)
    thread.start()
    listener.settimeout(5)
    peer, _ = listener.accept()
    peer.settimeout(5)
    found, started = bytearray(), time.monotonic()
    note(started)
    while part := peer.recv(1 << 16):
        now = time.monotonic()
        found += part
        if now - started > seconds:
            break
    note(time.monotonic())
    stop.set()
    peer.close()
    listener.close()
    thread.join()
    return bytes(found)


def test_tcp_arrives_from_the_network(setting: Setting) -> None:
    topology = setting.topology
    found = transfer(topology.lac, SUBSCRIBER, topology.net, CONTENT)
    assert hashlib.sha256(found).digest() == hashlib.sha256(CONTENT).digest()
    counters, outcomes = setting.fast.counters(KEY), setting.outcomes()
    assert counters.octets_out > len(CONTENT)
    assert counters.packets_out > 3 * outcomes["down_forwarded"], "no super-packets"
    assert set(outcomes) <= {"up_forwarded", "down_forwarded"}


def test_tcp_arrives_from_the_subscriber(setting: Setting) -> None:
    topology = setting.topology
    found = transfer(topology.net, FAR, topology.lac, CONTENT)
    assert hashlib.sha256(found).digest() == hashlib.sha256(CONTENT).digest()
    assert setting.fast.counters(KEY).octets_in > len(CONTENT)
    assert set(setting.outcomes()) <= {"up_forwarded", "down_forwarded"}


def test_tcp_arrives_past_the_stack(setting: Setting) -> None:
    topology = setting.topology
    with IPRoute(netns=topology.lns.name) as kernel:
        facing = kernel.link_lookup(ifname="lns1")[0]
    with topology.lns.entered():
        setting.fast.attach_network(facing)
    setting.fast.direct(time.monotonic() + 60)
    for ends in ((topology.lac, SUBSCRIBER, topology.net), (topology.net, FAR, topology.lac)):
        found = transfer(*ends, CONTENT)
        assert hashlib.sha256(found).digest() == hashlib.sha256(CONTENT).digest()
    counters, outcomes = setting.fast.counters(KEY), setting.outcomes()
    assert outcomes["down_direct"] == outcomes["down_forwarded"]
    assert outcomes["up_direct"] == outcomes["up_forwarded"]
    assert counters.packets_out > 1.5 * outcomes["down_forwarded"], "no super-packets"


def test_super_packets_are_cut_as_the_sender_meant(topology: Topology) -> None:
    with tunnelled(topology, OFFLOADS["the kernel cuts and sums"]) as setting:
        transfer(topology.lac, SUBSCRIBER, topology.net, CONTENT[: 1 << 18])
        outers = setting.at_lac.packets(0.2, 100)
    assert len(outers) > 90
    assert max(map(len, outers)) == 1462 + 38
    for outer in outers:
        assert checksum(outer[:20]) == 0
        total, length = struct.unpack_from(">2xH20xH", outer)
        assert (total, length) == (len(outer), len(outer) - 20)
        inner = outer[38:]
        ends = inner[12:20] + struct.pack(">HH", TCP, len(inner) - 20)
        assert checksum(inner[:20]) == checksum(ends + inner[20:]) == 0


def test_with_offloads_a_super_packet_leaves_whole(topology: Topology) -> None:
    with opened(topology) as setting:
        mirror = MirrorLac(topology)
        try:
            with topology.lac.entered():
                listener = socket.create_server((SUBSCRIBER, PORT))
            with topology.net.entered():
                sender = socket.create_connection((SUBSCRIBER, PORT), 5)
            sender.sendall(CONTENT[:100_000])
            sizes = [len(outer) for outer in setting.at_lac.packets(0.2, 10)]
            sender.close()
            listener.close()
        finally:
            mirror.close()
    assert max(sizes) > 5000


def throttled_rate(topology: Topology, direction: str, rate: int) -> float:
    """What TCP of a throttled session comes to, as a part of its rate, in octets of IP that passed
    from when the connection was there until the last octets were read."""
    noted: list[tuple[float, int]] = []
    with tunnelled(topology, OFFLOADS["the kernel cuts"]) as setting:

        def note(now: float) -> None:
            counters = setting.fast.counters(KEY)
            noted.append((now, counters.octets_in if direction == "in" else counters.octets_out))

        setting.install(**{f"throttle_{direction}": rate})
        ends = (topology.lac, SUBSCRIBER, topology.net)
        if direction == "in":
            ends = (topology.net, FAR, topology.lac)
        transfer(*ends, CONTENT, THROTTLE_S, note)
        dropped = setting.fast.throttled(KEY)
        assert (dropped[0] > 0, dropped[1] > 0) == (direction == "in", direction == "out")
    (began, before), (ended, after) = noted
    return (after - before) * 8 / 1000 / (ended - began) / rate


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1_000, 20_000])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_throttled_flow_has_its_rate(topology: Topology, direction: str, rate: int) -> None:
    """It never has more; on a machine that does other things TCP may once get less."""
    for _ in range(TRIES):
        part = throttled_rate(topology, direction, rate)
        assert part < 1 + TOLERANCE
        if part > 1 - TOLERANCE:
            return
    pytest.fail(f"{TRIES} times too slow, at last {part:.3f} of the rate")


def test_what_a_kernel_has_tunnelled_may_go_to_another_subscriber(setting: Setting) -> None:
    """The mirror leaves its mark on packets: that they were in a tunnel."""
    topology, other = setting.topology, "10.0.1.2"
    setting.fast.install(
        route(key=KEY + 1, ip=number(other), peer_session_id=10), NextHop(setting.facing, LAC)
    )
    with IPRoute(netns=topology.lac.name) as kernel:
        tun = kernel.link_lookup(kind="tun")[0]
        kernel.route("add", dst=f"{other}/32", oif=tun, prefsrc=SUBSCRIBER)
        with topology.lac.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"neighbour", (other, 9))
        header, outer = struct.pack(">HHH", 2, 7, 10), b""
        while outer[28:34] != header:  # an ICMP redirect may come first
            (outer,) = setting.at_lac.packets()
        kernel.route("del", dst=f"{other}/32", oif=tun)
    assert outer.endswith(b"neighbour")
    assert "down_drop_failed" not in setting.outcomes()
