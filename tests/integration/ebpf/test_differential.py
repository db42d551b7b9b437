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
from l2tpns_core.access_lists.lists import AccessLists
from l2tpns_core.access_lists.parse import parse_rule
from l2tpns_core.access_lists.rules import Kind

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SEED = 4
UPWARD, DOWNWARD, BROKEN_DOWNWARD = 4000, 1500, 2000
FILTERED = 2500
APPROXIMATE = {"socket_rx_octets", "socket_tx_octets"}
SHOWN = 5
RULES_IN = (
    "deny udp any gt 1024 any",
    "permit udp any eq 1024 any range 1 9",
    "deny tcp any any eq 80 match-all +syn +ack",
    "permit tcp any range 1000 2000 any neq 81 match-any +syn -ack",
    "permit tcp any any established",
    "deny ip any any fragments",
    "deny tcp any any",
    "deny ip 10.7.0.0 0.0.255.255 any",
    f"permit ip any host {FAR}",
)
RULES_OUT = (
    "permit udp any lt 1025 any eq 9",
    "deny ip any any fragments",
    "permit tcp any eq 1024 any match-all +syn -ack",
    f"deny ip host {FAR} 10.7.0.0 0.0.127.255",
    "permit tcp any any established",
    "deny tcp any any",
    "permit ip any any",
)

Way = Callable[[Stand, bytes], Outcome]


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    before = one_cpu()
    made = Topology("l2t-bpf-diff")
    yield made
    made.remove()
    os.sched_setaffinity(0, before)


def outcomes(
    topology: Topology,
    cases: list[Case],
    way: Way,
    *,
    ebpf: bool,
    routed: bool,
    lists: AccessLists | None = None,
) -> tuple[list[Outcome], int]:
    """What a plane makes of each, and how many it passed on in the kernel. With lists, all
    sessions are filtered by them, and what rules have matched in the kernel is added to them."""
    sessions = routes()
    if lists is not None:
        pair = {f"filter_{each.name}": each for each in lists}
        sessions = [replace(route, **pair) for route in sessions]
    stand = Stand(topology, sessions, ebpf=ebpf)
    try:
        if routed:
            stand.route_subscribers("10.0.0.0/8")
        else:
            stand.refuse_what_comes_up()
        found = [way(stand, case.packet) for case in cases]
        for each in lists or () if ebpf else ():
            counted = zip(each.hits, stand.fast.filters.hits(each), strict=True)
            each.hits = [here + there for here, there in counted]
        return found, stand.hits()
    finally:
        stand.close()


def compare(topology: Topology, cases: list[Case], way: Way, *, routed: bool) -> int:
    """Fail where the planes differ; return how many packets passed in the kernel."""
    ours, hits = outcomes(topology, cases, way, ebpf=True, routed=routed)
    theirs, _ = outcomes(topology, cases, way, ebpf=False, routed=routed)
    print(Counter(name for outcome in theirs for name, _ in outcome.counters))
    report_differences(cases, ours, theirs, way)
    return hits


def report_differences(
    cases: list[Case], ours: list[Outcome], theirs: list[Outcome], way: Way
) -> None:
    """Fail when there are any."""
    different = [
        f"{case.what}\n  {case.packet.hex()}\n  {differences}"
        for case, our, their in zip(cases, ours, theirs, strict=True)
        if (differences := without_octets(our).differences(without_octets(their)))
        and not (way is Stand.from_lac and is_martian(case.packet) and is_refused(our, their))
    ]
    shortest = "\n".join(sorted(different, key=len)[:SHOWN])
    assert not different, f"{len(different)} of {len(cases)} differ, seed {SEED}:\n{shortest}"


def without_octets(outcome: Outcome) -> Outcome:
    left_out = APPROXIMATE
    if any(name == "filter_drops_out" for name, _ in outcome.counters):
        left_out = APPROXIMATE | {"tun_rx_octets"}
    counters = tuple(entry for entry in outcome.counters if entry[0] not in left_out)
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


def access_lists() -> AccessLists:
    """Lists that look at everything that the packets have, one for each direction."""
    lists = AccessLists()
    for name, lines in (("in", RULES_IN), ("out", RULES_OUT)):
        for line in lines:
            lists.add_rule(Kind.EXTENDED, name, parse_rule(Kind.EXTENDED, line.split()))
    return lists


@pytest.mark.parametrize("direction", ["up", "down", "into the TUN device"])
def test_sessions_with_access_lists(topology: Topology, direction: str) -> None:
    """The same packets pass, and each rule matches the same ones. What the kernel drops of them is
    not in tun_rx_octets."""
    maker = Maker(SEED)
    make, way, routed = {
        "up": (maker.upward, Stand.from_lac, False),
        "down": (maker.downward, Stand.from_network, True),
        "into the TUN device": (maker.broken_downward, Stand.into_tun, False),
    }[direction]
    cases = [make() for _ in range(FILTERED)]
    lists, theirs_lists = access_lists(), access_lists()
    ours, hits = outcomes(topology, cases, way, ebpf=True, routed=routed, lists=lists)
    theirs, _ = outcomes(topology, cases, way, ebpf=False, routed=routed, lists=theirs_lists)
    report_differences(cases, ours, theirs, way)
    matched = [each.hits for each in lists]
    assert matched == [each.hits for each in theirs_lists]
    print(direction, hits, matched)
    assert all(matched[direction != "up"]), "a rule was never tried"
    name = "filter_drops_in" if direction == "up" else "filter_drops_out"
    dropped = sum(dict(outcome.counters).get(name, 0) for outcome in ours)
    assert dropped > FILTERED // 40
    assert hits > FILTERED // 20


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
