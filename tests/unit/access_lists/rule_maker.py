"""Rules and packets by chance, and what the original makes of them, written from its description:
one comparison after the other, nothing prepared or remembered."""

import struct

from hypothesis import strategies as st

from l2tpns_core.access_lists.rules import (
    FLAGS,
    TCP,
    UDP,
    FlagTest,
    Hosts,
    Ports,
    PortTest,
    Rule,
    TcpFlags,
)

ADDRESSES = [0x0A000001, 0x0A000002, 0x0A000101, 0xC0000201]
WILDCARDS = [0, 0xFF, 0xFFFF, 0x00FF00FF, 0xFFFFFFFF]
PORTS = [1, 2, 79, 80, 81, 65_535]
FLAG_BITS = list(FLAGS.values())

hosts = st.builds(
    lambda address, wildcard: Hosts(address & ~wildcard, wildcard),
    st.sampled_from(ADDRESSES),
    st.sampled_from(WILDCARDS),
)


@st.composite
def some_ports(draw: st.DrawFn) -> Ports:
    test = draw(st.sampled_from(PortTest))
    first = draw(st.sampled_from(PORTS))
    last = draw(st.sampled_from([port for port in PORTS if port >= first]))
    return Ports(test, first, last if test is PortTest.RANGE else first)


@st.composite
def some_flags(draw: st.DrawFn) -> TcpFlags:
    test = draw(st.sampled_from(FlagTest))
    if test is FlagTest.ESTABLISHED:
        return TcpFlags(test)
    wanted = draw(st.integers(0, 63))
    return TcpFlags(test, wanted, draw(st.integers(0 if wanted else 1, 63)))


@st.composite
def extended(draw: st.DrawFn) -> Rule:
    protocol = draw(st.sampled_from([0, TCP, UDP]))
    source_ports = draw(st.none() | some_ports()) if protocol else None
    destination_ports = draw(st.none() | some_ports()) if protocol else None
    flags = draw(st.none() | some_flags()) if protocol == TCP else None
    inside = source_ports or destination_ports or flags
    return Rule(
        draw(st.booleans()),
        draw(hosts),
        draw(hosts),
        protocol,
        source_ports,
        destination_ports,
        flags,
        not inside and draw(st.booleans()),
    )


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A packet with a sound header: whole, a fragment, with options, or too short inside."""
    protocol = draw(st.sampled_from([1, TCP, UDP, 47]))
    offset = draw(st.sampled_from([0, 0, 0, 0x2000, 1, 0x2001, 0x4000]))
    words = draw(st.sampled_from([5, 5, 6, 15]))
    body = struct.pack(">HH", draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS)))
    body += bytes(9) + bytes([draw(st.integers(0, 255))]) + bytes(6)
    body = body[: draw(st.sampled_from([20, 20, 20, 14, 13, 8, 4, 3, 0]))]
    source, destination = draw(st.sampled_from(ADDRESSES)), draw(st.sampled_from(ADDRESSES))
    total = words * 4 + len(body)
    return (
        struct.pack(
            ">BBHHHBBHII", 0x40 | words, 0, total, 0, offset, 64, protocol, 0, source, destination
        )
        + bytes(words * 4 - 20)
        + body
    )


def same_hosts(wanted: Hosts, address: int) -> bool:
    return all(
        wanted.wildcard >> bit & 1 or wanted.address >> bit & 1 == address >> bit & 1
        for bit in range(32)
    )


def same_port(wanted: Ports | None, port: int) -> bool:
    if wanted is None:
        return True
    return {
        PortTest.EQUAL: port == wanted.first,
        PortTest.UNEQUAL: port != wanted.first,
        PortTest.GREATER: port > wanted.first,
        PortTest.LESS: port < wanted.first,
        PortTest.RANGE: wanted.first <= port <= wanted.last,
    }[wanted.test]


def same_flags(wanted: TcpFlags | None, flags: int) -> bool:
    if wanted is None:
        return True
    if wanted.test is FlagTest.ESTABLISHED:
        return bool(flags & (FLAGS["ack"] | FLAGS["rst"])) and not flags & FLAGS["syn"]
    tests = [bool(flags & bit) for bit in FLAG_BITS if wanted.set & bit]
    tests += [not flags & bit for bit in FLAG_BITS if wanted.clear & bit]
    return any(tests) if wanted.test is FlagTest.ANY else all(tests)


def expected(rules: list[Rule], packet: bytes) -> int:
    """The index of the rule that decides, -1 for none."""
    start, protocol = (packet[0] & 15) * 4, packet[9]
    is_later = bool((packet[6] << 8 | packet[7]) & 0x1FFF)
    source, destination = struct.unpack(">II", packet[12:20])
    inside = packet[start:]
    if not is_later and protocol in (TCP, UDP):
        if len(inside) < (14 if protocol == TCP else 4):
            return -1
        ports = struct.unpack(">HH", inside[:4])
        flags = inside[13] if protocol == TCP else 0
    for place, rule in enumerate(rules):
        if rule.protocol and rule.protocol != protocol:
            continue
        if not same_hosts(rule.source, source):
            continue
        if rule.destination is not None and not same_hosts(rule.destination, destination):
            continue
        layer_4 = rule.source_ports or rule.destination_ports or rule.flags
        if is_later:
            if layer_4 and not rule.permit:
                continue
        elif rule.fragments or (
            layer_4
            and not (
                same_port(rule.source_ports, ports[0])
                and same_port(rule.destination_ports, ports[1])
                and same_flags(rule.flags, flags)
            )
        ):
            continue
        return place
    return -1
