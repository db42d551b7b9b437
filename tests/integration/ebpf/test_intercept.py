"""Interception: what the target gets, what the subscriber notices (nothing), and who copies."""

import os
import select
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from integration.dataplane.namespaces import FAR, LNS_INNER, Namespace, Topology
from integration.ebpf.mirror import MirrorLac, offload
from integration.ebpf.setting import KEY, SUBSCRIBER, Setting, message, number, opened, udp
from integration.ebpf.test_tcp import CONTENT, transfer
from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.intercept import Interceptor
from l2tpns_core.dataplane.plane import Peer
from l2tpns_core.lab.netns import ETHTOOL_STSO, ETHTOOL_STXCSUM

pytestmark = pytest.mark.netns

PORT = 4500
UP = udp(SUBSCRIBER, FAR, b"hello")
OTHER_KEY, OTHER = KEY + 1, "10.0.1.2"
SO_RCVBUFFORCE = 33
BUFFER = 64 << 20
SILENCE_S = 0.2


class Target:
    """Who is entitled to the copies."""

    def __init__(self, namespace: Namespace, address: str) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._socket.bind((address, PORT))
        self.peer: Peer = (address, PORT)
        self.sources: set[Peer] = set()

    def copies(self, wait: float = SILENCE_S) -> list[bytes]:
        """All that have come, and that come while there are not `wait` seconds between them."""
        found = []
        while select.select([self._socket], [], [], wait)[0]:
            data, source = self._socket.recvfrom(70000)
            self.sources.add(source)
            found.append(data)
        return found

    def close(self) -> None:
        self._socket.close()


class Snooping:
    """A fast path with the part of the user-space plane that sends copies."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.origin: Peer = ("", 0)
        """Where the copies come from."""
        self.counters = PlaneCounters()
        self.interceptor = Interceptor(self.counters)
        setting.fast.copies_from = self.interceptor.origin

    def snoop(self, target: Peer, **fields: object) -> None:
        with self.setting.topology.lns.entered():
            self.interceptor.add(target)
            self.setting.install(snoop=target, **fields)
            origin = self.interceptor.origin(target)
        self.origin = origin or ("", 0)

    def forward(self) -> int:
        """Do with what the kernel left in the TUN device what user space does."""
        left = self.setting.read_tun()
        for packet in left:
            assert packet[0] == 5, packet.hex()
            self.interceptor.forward(packet)
        return len(left)


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-bpf-snoop")
    yield made
    made.remove()


@pytest.fixture
def setting(topology: Topology) -> Iterator[Setting]:
    with opened(topology) as made:
        yield made


@pytest.fixture
def snooping(setting: Setting) -> Iterator[Snooping]:
    made = Snooping(setting)
    yield made
    made.interceptor.close()


@pytest.fixture
def target(topology: Topology) -> Iterator[Target]:
    made = Target(topology.net, FAR)
    yield made
    made.close()


def delivered(setting: Setting, count: int = 1) -> list[bytes]:
    """The packets that a LAC has got."""
    return [outer[38:] for outer in setting.at_lac.packets(SILENCE_S, count)]


def test_both_directions_are_copied_as_they_are_forwarded(
    snooping: Snooping, target: Target
) -> None:
    setting = snooping.setting
    snooping.snoop(target.peer)
    setting.send_up(message(UP, prefix=b"\x00\x21"))
    setting.send_down(b"back")
    (down,) = delivered(setting)
    assert down.endswith(b"back")
    assert target.copies() == [UP, down]
    assert target.sources == {(LNS_INNER, snooping.origin[1])}
    assert setting.outcomes() == {"up_forwarded": 1, "down_forwarded": 1, "packets_snooped": 2}
    assert setting.read_tun() == setting.punted() == []


def test_copies_past_the_ip_stack_are_the_same(snooping: Snooping, target: Target) -> None:
    setting = snooping.setting
    lns = setting.topology.lns
    snooping.snoop(target.peer)
    with IPRoute(netns=lns.name) as kernel, lns.entered():
        setting.fast.attach_network(kernel.link_lookup(ifname="lns1")[0])
    setting.fast.direct(time.monotonic() + 60)
    setting.send_up(message(UP))
    setting.send_down(b"back")
    (down,) = delivered(setting)
    assert target.copies() == [UP, down]
    outcomes = setting.outcomes()
    assert (outcomes["up_direct"], outcomes["down_direct"]) == (1, 1)


def test_what_does_not_pass_is_not_copied(snooping: Snooping, target: Target) -> None:
    setting = snooping.setting
    snooping.snoop(target.peer)
    setting.send_up(message(udp(OTHER, FAR, b"spoofed")))
    assert target.copies() == []
    assert setting.outcomes() == {"up_drop_source_spoofed": 1}


def test_after_its_end_nothing_is_copied(snooping: Snooping, target: Target) -> None:
    setting = snooping.setting
    snooping.snoop(target.peer)
    setting.send_down(b"1")
    setting.install()
    setting.send_up(message(UP))
    setting.send_down(b"2")
    assert [copy[28:] for copy in target.copies()] == [b"1"]
    assert setting.outcomes() == {"up_forwarded": 1, "down_forwarded": 2, "packets_snooped": 1}
    snooping.snoop(target.peer)
    setting.fast.remove(KEY)
    setting.install(key=OTHER_KEY)
    setting.send_down(b"3")
    assert target.copies() == []


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """Have the kernel do everything on one CPU: on two, packets overtake each other before they
    come to the LNS."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("one_cpu")
@pytest.mark.parametrize("clamped", [False, True])
def test_a_stream_of_super_packets_is_copied_whole_and_in_order(
    topology: Topology, snooping: Snooping, target: Target, clamped: bool
) -> None:
    setting = snooping.setting
    ends = [(topology.lns, "lns0"), (topology.lac, "lac0"), (topology.lns, "lns1")]
    for end in ends:
        offload(*end, ETHTOOL_STSO, on=False)
        offload(*end, ETHTOOL_STXCSUM, on=False)
    mirror = MirrorLac(topology)
    try:
        snooping.snoop(target.peer, clamp_mss=1000 if clamped else 0)
        found = transfer(topology.lac, SUBSCRIBER, topology.net, CONTENT)
        copies = target.copies()
    finally:
        mirror.close()
        for end in ends:
            offload(*end, ETHTOOL_STSO, on=True)
            offload(*end, ETHTOOL_STXCSUM, on=True)
    assert found == CONTENT
    assert assembled([copy for copy in copies if copy[16:20] == socket.inet_aton(SUBSCRIBER)]) == (
        CONTENT
    )
    counters, outcomes = setting.fast.counters(KEY), setting.outcomes()
    assert outcomes["packets_snooped"] == counters.packets_in + counters.packets_out == len(copies)
    assert counters.packets_out > 2 * outcomes["down_forwarded"], "no super-packets"
    assert sum(map(len, copies)) == counters.octets_in + counters.octets_out


def assembled(copies: list[bytes]) -> bytes:
    """What a TCP stream has carried. Fails when a segment is missing, or comes before its turn."""
    found, expected = bytearray(), 0
    for copy in copies:
        total, sequence = struct.unpack_from(">2xH20xI", copy)
        assert total == len(copy)
        load = copy[20 + (copy[32] >> 4) * 4 :]
        if copy[33] & 2:
            expected = sequence + 1 & 0xFFFFFFFF
        elif sequence == expected:
            found += load
            expected = expected + len(load) + (copy[33] & 1) & 0xFFFFFFFF  # a FIN counts
        else:
            assert (expected - sequence) & 0xFFFFFFFF < 1 << 31, "a gap"
    return bytes(found)


def test_a_full_packet_reaches_a_target_on_a_link_that_it_just_does_not_fit(
    topology: Topology, snooping: Snooping, target: Target
) -> None:
    setting = snooping.setting
    widths = {"lns0": 1600, setting.device.name: 1500}
    for interface, mtu in widths.items():
        setting.set_mtu(interface, mtu)
    try:
        snooping.snoop(target.peer, mru=1500)
        for size in (1472, 1473, 1500):
            setting.send_down(bytes(size - 28))
        assert snooping.forward() == 2
        assert [len(copy) for copy in target.copies()] == [1472, 1473, 1500]
    finally:
        setting.set_mtu("lns0", 1500)
    assert setting.outcomes() == {
        "down_forwarded": 3,
        "packets_snooped": 1,
        "copies_to_user_space": 2,
    }
    assert snooping.counters.packets_snooped == 2


@pytest.mark.usefixtures("one_cpu")
def test_super_packets_for_a_target_that_user_space_serves_are_cut(
    topology: Topology, snooping: Snooping
) -> None:
    here = Target(topology.lns, LNS_INNER)
    setting = snooping.setting
    for end in ((topology.lns, "lns0"), (topology.lac, "lac0")):
        offload(*end, ETHTOOL_STSO, on=False)
        offload(*end, ETHTOOL_STXCSUM, on=False)
    mirror = MirrorLac(topology)
    content = CONTENT[: 1 << 18]
    try:
        snooping.snoop(here.peer)
        transfer(topology.lac, SUBSCRIBER, topology.net, content)
        left = snooping.forward()
        copies = here.copies()
    finally:
        here.close()
        mirror.close()
        for end in ((topology.lns, "lns0"), (topology.lac, "lac0")):
            offload(*end, ETHTOOL_STSO, on=True)
            offload(*end, ETHTOOL_STXCSUM, on=True)
    assert left == len(copies) == setting.outcomes()["copies_to_user_space"]
    assert assembled([copy for copy in copies if copy[16:20] == socket.inet_aton(SUBSCRIBER)]) == (
        content
    )


def test_a_target_that_is_a_subscriber_gets_the_copies_once(
    topology: Topology, snooping: Snooping, target: Target
) -> None:
    setting = snooping.setting
    snooping.snoop((OTHER, PORT))
    snooping.snoop(target.peer, key=OTHER_KEY, ip=number(OTHER), peer_session_id=10)
    setting.send_up(message(UP))
    assert snooping.forward() == 1
    (copy,) = delivered(setting)
    assert copy[20:24] == struct.pack(">HH", snooping.origin[1], PORT)
    assert copy[28:] == UP
    assert target.copies() == []
    # Neither port alone makes a packet a copy.
    setting.far.sendto(b"to the port", (OTHER, PORT))
    assert [copy[28:] for copy in target.copies()] == [b"to the port"]
    assert setting.outcomes() == {
        "up_forwarded": 1,
        "down_forwarded": 2,
        "packets_snooped": 1,
        "copies_to_user_space": 1,
    }


def test_a_subscriber_may_be_the_target_of_the_own_intercept(snooping: Snooping) -> None:
    setting = snooping.setting
    snooping.snoop((SUBSCRIBER, PORT))
    setting.send_up(message(UP))
    assert snooping.forward() == 1
    assert [copy[28:] for copy in delivered(setting)] == [UP]
    assert snooping.forward() == 0


def test_the_subscriber_gets_packets_in_the_order_in_which_they_came(
    snooping: Snooping, target: Target
) -> None:
    setting = snooping.setting
    snooping.snoop(target.peer)
    outers = []
    for first in range(0, 2000, 50):
        for n in range(first, first + 50):
            setting.send_down(n.to_bytes(4, "big") + bytes(n * 37 % 1400))
        outers += [setting.lac.recv(2000) for _ in range(50)]
    copies = target.copies()
    assert [int.from_bytes(copy[28:32], "big") for copy in copies] == list(range(2000))
    assert [int.from_bytes(outer[38:42], "big") for outer in outers] == list(range(2000))


def test_what_the_kernel_cannot_copy_user_space_does(topology: Topology, target: Target) -> None:
    with opened(topology, max_intercepts=1) as setting:
        snooping = Snooping(setting)
        snooping.snoop(target.peer)
        snooping.snoop(target.peer, key=OTHER_KEY, ip=number(OTHER))
        setting.send_down(b"x", OTHER)
        setting.send_down(b"y")
        assert [packet[28:] for packet in setting.read_tun()] == [b"x"]
        assert [copy[28:] for copy in target.copies()] == [b"y"]
        setting.fast.remove(KEY)
        snooping.snoop((FAR, PORT + 1), key=OTHER_KEY, ip=number(OTHER))
        setting.send_down(b"x", OTHER)
        assert setting.outcomes()["packets_snooped"] == 2
        snooping.snoop(("240.0.0.1", PORT), key=OTHER_KEY, ip=number(OTHER))
        setting.send_down(b"z", OTHER)
        assert [packet[28:] for packet in setting.read_tun()] == [b"z"]
        snooping.interceptor.close()
