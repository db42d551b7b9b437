"""Packets that pass by the IP stack: the same comes out as when they go through it."""

import os
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from pyroute2 import IPRoute

from integration.dataplane.namespaces import FAR, LAC, LNS_INNER, LNS_OUTER, Namespace, Topology
from integration.ebpf.setting import (
    KEY,
    SUBSCRIBER,
    TUN_ADDRESS,
    Setting,
    message,
    number,
    opened,
    route,
    udp,
)
from integration.ebpf.stand import comparable, mac
from integration.ebpf.test_forwarding import forwarded, syn
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.ipv4 import checksum

pytestmark = pytest.mark.netns

OTHER = "10.0.1.2"
BEYOND = "8.8.8.8"
"""Behind the far host, which is the default gateway."""
END = 0xFFFF
"""The identification of the packet that comes after the others."""
UP_CASES = 400
DOWN_CASES = 400
ENVELOPE = 38
AT_ONCE = 20
PATIENCE_S = 10.0
OWN = frozenset(map(socket.inet_aton, (TUN_ADDRESS, LNS_INNER, LNS_OUTER, FAR)))


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-bpf-dir")
    for namespace in (made.lns, made.net):
        namespace.sysctl("ipv4/icmp_ratemask", "0")
        namespace.sysctl("ipv4/icmp_msgs_per_sec", "100000")
        namespace.sysctl("ipv4/icmp_msgs_burst", "100000")
    made.lns.route("0.0.0.0/0", FAR)
    with IPRoute(netns=made.lns.name) as kernel:
        kernel.route("add", dst="9.0.0.0/8", type="blackhole")
    yield made
    made.remove()


@pytest.fixture
def setting(topology: Topology) -> Iterator[Setting]:
    with opened(topology) as made:
        made.fast.install(
            route(key=KEY + 1, ip=number(OTHER), peer_session_id=10), NextHop(made.facing, LAC)
        )
        with IPRoute(netns=topology.lns.name) as kernel:
            facing = kernel.link_lookup(ifname="lns1")[0]
        with topology.lns.entered():
            made.fast.attach_network(facing)
        yield made


class Sender:
    """A raw socket on an interface that hears nothing."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.bind((interface, 0))

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def close(self) -> None:
        self._socket.close()


def directly(setting: Setting, seconds: float = 60.0) -> None:
    setting.fast.direct(time.monotonic() + seconds, many_paths=False)


def build(tag: int, source: str, destination: str, body: bytes = b"", **fields: int) -> bytes:
    """An IP packet with `tag` for its identification, and fields that are not as usual."""
    total = fields.get("total", 20 + len(body))
    header = struct.pack(
        ">BBHHHBBH4s4s",
        fields.get("version", 0x45),
        fields.get("tos", 0),
        total,
        tag,
        fields.get("fragment", 0),
        fields.get("ttl", 64),
        fields.get("protocol", 17),
        0,
        socket.inet_aton(source),
        socket.inet_aton(destination),
    )
    right = checksum(header) ^ fields.get("wrong", 0)
    return header[:10] + struct.pack(">H", right) + header[12:] + body


def up_packet(tag: int, chance: random.Random) -> bytes:
    """Something that the session may send, to somewhere."""
    to = chance.choice(
        [
            *(FAR, BEYOND, BEYOND, "9.1.1.1", OTHER, "203.0.113.9"),
            *("224.0.0.1", "127.0.0.1", "0.0.0.1", "255.255.255.255", "240.0.0.1"),
            *(TUN_ADDRESS, LNS_INNER, "198.51.100.255"),
        ]
    )
    body = struct.pack(">HHHH", 1024, 4000, 0, 0) + bytes(chance.choice([0, 1, 40, 870, 1400]))
    return build(
        tag,
        SUBSCRIBER,
        to,
        body,
        tos=chance.choice([0, 0, 0x10, 0xB8, 0xFF]),
        ttl=chance.choice([64, 64, 2, 1, 0, 255]),
        fragment=chance.choice([0, 0, 0x4000, 0x2000, 0x00B9]),
        protocol=chance.choice([17, 6, 47, 253]),
    )


def down_frame(tag: int, chance: random.Random) -> bytes:
    """Something that arrives from the network, for a subscriber or not."""
    source = chance.choice(
        [
            *(FAR, FAR, BEYOND, BEYOND, OTHER, SUBSCRIBER, LNS_INNER, TUN_ADDRESS, "9.1.1.1"),
            *("127.0.0.1", "224.0.0.1", "0.0.0.1", "255.255.255.255", "192.0.2.77"),
            *("198.51.100.77", "240.0.0.1"),
        ]
    )
    body = struct.pack(">HHHH", 4000, 1024, 0, 0) + bytes(chance.choice([0, 1, 40, 1400, 1450]))
    packet = build(
        tag,
        source,
        chance.choice([SUBSCRIBER, SUBSCRIBER, SUBSCRIBER, OTHER, "10.9.9.9", TUN_ADDRESS]),
        body,
        tos=chance.choice([0, 0, 0x10, 0xFF]),
        ttl=chance.choice([64, 64, 2, 1, 0]),
        fragment=chance.choice([0, 0, 0x4000, 0x2000, 0x00B9]),
        protocol=chance.choice([17, 6, 47, 253]),
        wrong=chance.choice([0] * 9 + [1]),
        version=chance.choice([0x45] * 9 + [0x46, 0x44, 0x65]),
        total=chance.choice([20 + len(body)] * 9 + [19, 20, 25 + len(body)]),
    )
    return packet + bytes(chance.choice([0, 0, 6, 20]))  # padding


def seen(packets: list[bytes]) -> list[bytes]:
    """Packets without what the kernel is free to choose: in envelopes, and of its own ICMP."""
    found = []
    for packet in packets:
        if packet[12:16] == socket.inet_aton(LNS_OUTER) and packet[9] == 17:
            inner = packet[ENVELOPE:]
            head = comparable(packet[:ENVELOPE])
        else:
            inner, head = packet, b""
        if inner[12:16] in OWN and inner[9] == socket.IPPROTO_ICMP:
            inner = inner[:4] + bytes(2) + inner[6:10] + bytes(2) + inner[12:]
        found.append(head + inner)
    return sorted(found)


def gather(setting: Setting, sends: list[Callable[[], None]]) -> list[bytes]:
    """What arrives at both ends when something is sent, up to the last packet and a little later.
    Few at a time, or the sockets that listen have no room."""
    found: list[bytes] = []

    def listen(wait: float) -> None:
        for tap in (setting.at_far, setting.at_lac):
            found.extend(tap.packets(wait, 1000))

    for n, send in enumerate(sends):
        send()
        if n % AT_ONCE == 0:
            listen(0)
    deadline = time.monotonic() + PATIENCE_S
    while not any(END in (id_of(packet), id_of(packet[ENVELOPE:])) for packet in found):
        assert time.monotonic() < deadline, "the last packet did not arrive"
        listen(0.02)
    listen(0.1)
    return seen(found)


def id_of(packet: bytes) -> int:
    return int.from_bytes(packet[4:6], "big")


def counted(setting: Setting) -> list[tuple[int, ...]]:
    both = (setting.fast.counters(key) for key in (KEY, KEY + 1))
    return [(c.packets_in, c.octets_in, c.packets_out, c.octets_out) for c in both]


def change(before: list[tuple[int, ...]], after: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    return [
        tuple(b - a for a, b in zip(*pair, strict=True)) for pair in zip(before, after, strict=True)
    ]


Result = tuple[list[bytes], list[tuple[int, ...]]]


def assert_same(stack: Result, direct: Result) -> None:
    one, other = Counter(stack[0]), Counter(direct[0])
    only = [[packet.hex() for packet in part] for part in (one - other, other - one)]
    assert not any(only), f"through the stack {only[0]}, past it {only[1]}"
    assert stack[1] == direct[1]


def test_what_subscribers_send_is_forwarded_as_the_stack_does(setting: Setting) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    chance = random.Random(seed)
    packets = [up_packet(tag, chance) for tag in range(1, UP_CASES)]
    packets.append(build(END, SUBSCRIBER, FAR, bytes(8)))
    results = []
    for direct in (False, True):
        setting.fast.direct(0)
        if direct:
            directly(setting)
        before = counted(setting)
        found = gather(setting, [partial(setting.send_up, message(packet)) for packet in packets])
        results.append((found, change(before, counted(setting))))
    assert_same(*results)
    assert len(results[0][0]) > UP_CASES / 3
    outcomes = setting.outcomes()
    assert UP_CASES / 10 < outcomes["up_direct"] < outcomes["up_forwarded"] / 2


def test_what_comes_for_subscribers_is_forwarded_as_the_stack_does(setting: Setting) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print("seed", seed)
    chance = random.Random(seed)
    frames = [down_frame(tag, chance) for tag in range(1, DOWN_CASES)]
    frames.append(build(END, FAR, SUBSCRIBER, bytes(8)))
    topology = setting.topology
    head = mac(topology.lns, "lns1") + mac(topology.net, "net0") + b"\x08\x00"
    wire, results = Sender(topology.net, "net0"), []
    for direct in (False, True):
        setting.fast.direct(0)
        if direct:
            directly(setting)
        before = counted(setting)
        found = gather(setting, [partial(wire.send, head + frame) for frame in frames])
        results.append((found, change(before, counted(setting))))
    wire.close()
    assert_same(*results)
    assert len(results[0][0]) > DOWN_CASES / 10
    outcomes = setting.outcomes()
    assert DOWN_CASES / 40 < outcomes["down_direct"] < outcomes["down_forwarded"] / 2


def test_the_tun_device_sees_nothing_of_it(setting: Setting) -> None:
    directly(setting)
    before = setting.topology.lns.statistics(setting.device.name)
    packet = udp(SUBSCRIBER, FAR, b"hello")
    setting.send_up(message(packet))
    assert setting.at_far.packets() == [forwarded(packet)]
    setting.send_down(b"back")
    assert len(setting.at_lac.packets()) == 1
    assert setting.topology.lns.statistics(setting.device.name) == before
    assert setting.outcomes() == {
        "up_forwarded": 1,
        "up_direct": 1,
        "down_forwarded": 1,
        "down_direct": 1,
    }


def test_when_nobody_renews_it_packets_go_through_the_stack_again(setting: Setting) -> None:
    directly(setting, 0.05)
    time.sleep(0.1)
    setting.send_up(message(udp(SUBSCRIBER, FAR, b"hello")))
    setting.send_down(b"back")
    assert len(setting.at_far.packets()) == len(setting.at_lac.packets()) == 1
    assert setting.outcomes() == {"up_forwarded": 1, "down_forwarded": 1}


def test_a_route_that_changes_is_followed(setting: Setting) -> None:
    directly(setting)
    packet = udp(SUBSCRIBER, "13.0.0.1", b"hello")
    setting.send_up(message(packet))
    assert setting.at_far.packets() == [forwarded(packet)]
    with IPRoute(netns=setting.topology.lns.name) as kernel:
        kernel.route("add", dst="13.0.0.0/8", type="blackhole")
        time.sleep(0.1)  # what was found is good for half of that
        setting.send_up(message(packet))
        assert setting.at_far.packets(0.2) == []
        kernel.route("del", dst="13.0.0.0/8", type="blackhole")
    time.sleep(0.1)
    setting.send_up(message(packet))
    assert setting.at_far.packets() == [forwarded(packet)]


def test_where_a_reverse_path_is_another_the_stack_decides(setting: Setting) -> None:
    """With many paths too: the way back is asked for each sender."""
    setting.fast.direct(time.monotonic() + 60, many_paths=True)
    topology = setting.topology
    head = mac(topology.lns, "lns1") + mac(topology.net, "net0") + b"\x08\x00"
    wire = Sender(topology.net, "net0")
    for source in (OTHER, LAC, FAR):
        wire.send(head + build(1, source, SUBSCRIBER, bytes(8)))
    wire.close()
    assert len(setting.at_lac.packets(count=3)) == 3  # no reverse-path filter is on
    assert setting.outcomes() == {"down_forwarded": 3, "down_direct": 1}


def test_a_syn_is_clamped_on_the_direct_way(setting: Setting) -> None:
    setting.install(clamp_mss=1000)
    directly(setting)
    setting.send_up(message(syn(SUBSCRIBER, FAR, b"\x02\x04\x05\xb4")))
    expected = forwarded(syn(SUBSCRIBER, FAR, b"\x02\x04\x03\xe8"))
    assert setting.at_far.packets() == [expected]
    outcomes = setting.outcomes()
    assert (outcomes["up_direct"], outcomes["mss_clamped"]) == (1, 1)


def test_a_session_that_is_watched_does_not_pass_by(setting: Setting) -> None:
    setting.install(hooked=True)
    directly(setting)
    setting.send_down(b"back")
    assert len(setting.read_tun()) == 1
    assert setting.outcomes() == {"down_punt_flagged": 1}


def test_counters_are_carried_over_before_they_run_over(setting: Setting) -> None:
    """So many packets that 16 bits do not hold them, with both ways at work."""
    directly(setting)
    packet = message(udp(SUBSCRIBER, FAR, b"hello"))
    for n in range(70_000):
        setting.send_up(packet)
        if n % 1000 == 0:
            setting.send_down(b"back")
    before = setting.fast.counters(KEY)
    while True:  # the last ones are on their way
        time.sleep(0.05)
        counters = setting.fast.counters(KEY)
        if counters == before:
            break
        before = counters
    outcomes = setting.fast.statistics().outcomes
    assert counters.packets_in == outcomes["up_forwarded"] > 65_536
    assert counters.octets_in == outcomes["up_octets"] == counters.packets_in * 33
    assert (counters.packets_out, counters.octets_out) == (70, 70 * 32)
