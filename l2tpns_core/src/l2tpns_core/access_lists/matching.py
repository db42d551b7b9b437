"""The rules of a list in the form in which packets are compared with them.

The first rule that matches decides. A fragment other than the first has neither ports nor flags:
rules that deny by these are passed over for it, and those that permit by them look at the rest
only, as in the original. A first fragment, or a whole packet, that is too short for the ports of
its protocol (in TCP, for the flags) matches nothing.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from l2tpns_core.access_lists.rules import (
    ALL_BITS,
    MAX_PORT,
    TCP,
    UDP,
    FlagTest,
    Hosts,
    Ports,
    Rule,
)

NO_MATCH: Final = -1
OFFSET_MASK: Final = 0x1FFF
IP_HEADER: Final = 20
PORTS_END: Final = 4
FLAGS_AT: Final = 13
FLAGS_MASK: Final = 0x3F
SYN: Final = 0x02
ACK_OR_RST: Final = 0x14
REMEMBERED: Final = 8192
"""Packets whose rule is remembered, by what the rules look at."""

fields: Final[Callable[[bytes], tuple[int, int, int, int, int, int]]] = struct.Struct(
    ">BxH2xHxB2xII"
).unpack_from
"""Version and header length, total length, fragment offset, protocol, source, destination."""
ports_at: Final[Callable[[bytes, int], tuple[int, int]]] = struct.Struct(">HH").unpack_from


class Inside(NamedTuple):
    """The tests of what is behind the IP header."""

    source: tuple[int, int, bool]
    """First and last port, and whether the others are meant."""
    destination: tuple[int, int, bool]
    test: FlagTest | None
    set: int
    clear: int


class Step(NamedTuple):
    """A rule to compare with."""

    place: int
    """Of the rule in its list."""
    protocol: int
    source_mask: int
    source: int
    destination_mask: int
    destination: int
    inside: Inside | None


class Matcher:
    """Finds the rule for a packet. The verdict of a packet like one before is remembered."""

    __slots__ = ("_known", "_later", "_whole", "permits")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.permits = tuple(rule.permit for rule in rules)
        self._whole = tuple(
            _step(index, rule) for index, rule in enumerate(rules) if not rule.fragments
        )
        self._later = tuple(
            _step(index, rule)._replace(inside=None)
            for index, rule in enumerate(rules)
            if rule.permit or not rule.looks_inside
        )
        self._known: dict[tuple[bytes, int], int] = {}

    def find(self, packet: bytes) -> int:
        """The index of the rule that decides about an IPv4 packet, NO_MATCH for none."""
        if len(packet) < IP_HEADER:
            return NO_MATCH
        header, total, offset, protocol, source, destination = fields(packet)
        if header >> 4 != 4:
            return NO_MATCH
        if offset & OFFSET_MASK:
            return _search(self._later, protocol, source, destination, b"", 0, 0)
        start = (header & 0x0F) * 4
        size = min(total, len(packet))
        flags = 0
        if protocol == TCP:
            if size <= start + FLAGS_AT:
                return NO_MATCH
            flags = packet[start + FLAGS_AT] & FLAGS_MASK
        elif protocol != UDP:
            return _search(self._whole, protocol, source, destination, packet, start, 0)
        elif size < start + PORTS_END:
            return NO_MATCH
        # Addresses and ports are side by side where there are no options.
        key = (
            packet[12:24]
            if start == IP_HEADER
            else packet[12:20] + packet[start : start + PORTS_END],
            protocol << 8 | flags,
        )
        found = self._known.get(key)
        if found is None:
            found = _search(self._whole, protocol, source, destination, packet, start, flags)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = found
        return found


def _search(
    steps: tuple[Step, ...],
    protocol: int,
    source: int,
    destination: int,
    packet: bytes,
    start: int,
    flags: int,
) -> int:
    for place, wanted, source_mask, from_, destination_mask, to, inside in steps:
        if (
            (not wanted or wanted == protocol)
            and source & source_mask == from_
            and destination & destination_mask == to
            and (inside is None or _matches_inside(inside, packet, start, flags))
        ):
            return place
    return NO_MATCH


def _matches_inside(inside: Inside, packet: bytes, start: int, flags: int) -> bool:
    source, destination = ports_at(packet, start)
    first, last, outside = inside.source
    if (first <= source <= last) is outside:
        return False
    first, last, outside = inside.destination
    if (first <= destination <= last) is outside:
        return False
    if inside.test is None:
        return True
    if inside.test is FlagTest.ESTABLISHED:
        return bool(flags & ACK_OR_RST) and not flags & SYN
    if inside.test is FlagTest.ANY:
        return bool(flags & inside.set or ~flags & inside.clear)
    return flags & inside.set == inside.set and not flags & inside.clear


def _step(place: int, rule: Rule) -> Step:
    source, destination = rule.source, rule.destination or Hosts()
    inside = None
    if rule.looks_inside:
        flags = rule.flags
        inside = Inside(
            _bounds(rule.source_ports),
            _bounds(rule.destination_ports),
            flags.test if flags is not None else None,
            flags.set if flags is not None else 0,
            flags.clear if flags is not None else 0,
        )
    source_mask, destination_mask = source.wildcard ^ ALL_BITS, destination.wildcard ^ ALL_BITS
    return Step(
        place,
        rule.protocol,
        source_mask,
        source.address & source_mask,
        destination_mask,
        destination.address & destination_mask,
        inside,
    )


def _bounds(ports: Ports | None) -> tuple[int, int, bool]:
    if ports is None:
        return 0, MAX_PORT, False
    return *ports.bounds, ports.outside
