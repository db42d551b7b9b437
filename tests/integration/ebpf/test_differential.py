"""The same packets through both planes: the kernel with user space for what it leaves, and user
space alone. Nothing that comes out differs, nor what is counted or told to the control plane.

The planes stand on the same real interfaces, one after the other. Where they differ, and may:

- The identification of outer packets and the UDP checksum, which the kernel's plane leaves out.
- A wrong UDP checksum, which the kernel's plane does not look at: the packet within has its own.
- Data from an impossible address: the kernel's plane counts it under wrong_peer, while it never
  comes to the socket of the other.
- socket_rx_octets and socket_tx_octets of packets that pass in the kernel, which are counted with
  the usual headers (see OVERHEAD in plane.py).
"""

import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from integration.dataplane.namespaces import FAR, LAC, LNS_OUTER, Topology
from integration.ebpf.packets import SESSION, Case, Maker, ip, key, routes, with_udp_checksum
from integration.ebpf.setting import SUBSCRIBER
from integration.ebpf.stand import ETH_P_IPV6, OURS, Outcome, Stand, one_cpu

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SEED = 4
UPWARD, DOWNWARD, BROKEN_DOWNWARD = 4000, 1500, 2000
APPROXIMATE = {"socket_rx_octets", "socket_tx_octets"}
SHOWN = 5

Way = Callable[[Stand, bytes], Outcome]


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    before = one_cpu()
    made = Topology("l2t-bpf-diff")
    yield made
    made.remove()
    os.sched_setaffinity(0, before)


def outcomes(
    topology: Topology, cases: list[Case], way: Way, *, ebpf: bool, routed: bool
) -> tuple[list[Outcome], int]:
    """What a plane makes of each, and how many it passed on in the kernel."""
    stand = Stand(topology, routes(), ebpf=ebpf)
    try:
        if routed:
            stand.route_subscribers("10.0.0.0/8")
        else:
            stand.refuse_what_comes_up()
        return [way(stand, case.packet) for case in cases], stand.hits()
    finally:
        stand.close()


def compare(topology: Topology, cases: list[Case], way: Way, *, routed: bool) -> int:
    """Fail where the planes differ; return how many packets passed in the kernel."""
    ours, hits = outcomes(topology, cases, way, ebpf=True, routed=routed)
    theirs, _ = outcomes(topology, cases, way, ebpf=False, routed=routed)
    print(Counter(name for outcome in theirs for name, _ in outcome.counters))
    different = [
        f"{case.what}\n  {case.packet.hex()}\n  {differences}"
        for case, our, their in zip(cases, ours, theirs, strict=True)
        if (differences := without_octets(our).differences(without_octets(their)))
        and not (way is Stand.from_lac and is_martian(case.packet) and is_refused(our, their))
    ]
    shortest = "\n".join(sorted(different, key=len)[:SHOWN])
    assert not different, f"{len(different)} of {len(cases)} differ, seed {SEED}:\n{shortest}"
    return hits


def without_octets(outcome: Outcome) -> Outcome:
    counters = tuple(entry for entry in outcome.counters if entry[0] not in APPROXIMATE)
    return replace(outcome, counters=counters)


def is_martian(outer: bytes) -> bool:
    """Whether an outer packet is from an address that no LAC has (RFC 1812 section 5.3.7)."""
    return outer[12] in (0, 127) or outer[12] >= 224 or outer[12:16] in OURS


def is_refused(ours: Outcome, theirs: Outcome) -> bool:
    """Whether the kernel refused a packet before any plane saw it, or did so under that name."""
    refused = (("socket_rx_packets", 1), ("wrong_peer", 1))
    return without_octets(ours).counters == refused and ours.is_silent() and theirs.is_silent()


def test_what_lacs_send(topology: Topology) -> None:
    maker = Maker(SEED)
    cases = [maker.upward() for _ in range(UPWARD)]
    hits = compare(topology, cases, Stand.from_lac, routed=False)
    assert UPWARD // 10 < hits < UPWARD


def test_what_the_network_sends_to_subscribers(topology: Topology) -> None:
    maker = Maker(SEED)
    cases = [maker.downward() for _ in range(DOWNWARD)]
    hits = compare(topology, cases, Stand.from_network, routed=True)
    assert DOWNWARD // 5 < hits < DOWNWARD


def test_what_routing_would_never_pass_on(topology: Topology) -> None:
    """Broken packets, put on the TUN device past the kernel's checks."""
    maker = Maker(SEED)
    cases = [maker.broken_downward() for _ in range(BROKEN_DOWNWARD)]
    hits = compare(topology, cases, Stand.into_tun, routed=False)
    assert BROKEN_DOWNWARD // 5 < hits < BROKEN_DOWNWARD


def test_ipv6_to_subscribers(topology: Topology) -> None:
    packet = bytes.fromhex("6000000000003b40") + bytes(32)

    def into_tun(stand: Stand, packet: bytes) -> Outcome:
        return stand.into_tun(packet, ETH_P_IPV6)

    assert compare(topology, [Case(packet, "IPv6")], into_tun, routed=False) == 0


def sound_message() -> bytes:
    """An outer packet with a UDP checksum and nothing special."""
    inner = ip(SUBSCRIBER, FAR, bytes(30), 253)
    message = struct.pack(">HI", 2, key(SESSION)) + b"\xff\x03\x00\x21" + inner
    datagram = struct.pack(">HHHH", 1701, 1701, 8 + len(message), 0) + message
    return ip(LAC, LNS_OUTER, with_udp_checksum(LAC, LNS_OUTER, datagram))


def test_a_wrong_udp_checksum_matters_to_user_space_alone(topology: Topology) -> None:
    packet = sound_message()
    damaged = packet[:26] + bytes(byte ^ 0x55 for byte in packet[26:28]) + packet[28:]
    cases = [Case(packet, "right"), Case(damaged, "wrong")]
    ours, _ = outcomes(topology, cases, Stand.from_lac, ebpf=True, routed=False)
    theirs, _ = outcomes(topology, cases, Stand.from_lac, ebpf=False, routed=False)
    assert ours[0].up == ours[1].up == theirs[0].up != ()
    assert theirs[1].is_silent()
