"""Which rule decides about a packet, compared with a plain reading of the rules."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.access_lists.matching import NO_MATCH, REMEMBERED, Matcher
from l2tpns_core.access_lists.parse import parse_rule
from l2tpns_core.access_lists.rules import Kind, Rule
from unit.access_lists.rule_maker import expected, extended, packets


def rules(*lines: str) -> list[Rule]:
    return [parse_rule(Kind.EXTENDED, line.split()) for line in lines]


def packet(
    protocol: int = 6, offset: int = 0, body: bytes = struct.pack(">HH9xB6x", 1024, 80, 0x10)
) -> bytes:
    header = struct.pack(
        ">BBHHHBBHII", 0x45, 0, 20 + len(body), 0, offset, 64, protocol, 0, 0x0A000001, 0x0A000002
    )
    return header + body


@given(st.lists(extended(), max_size=6), st.lists(packets(), min_size=1, max_size=5))
def test_the_first_rule_that_fits_decides(made: list[Rule], shown: list[bytes]) -> None:
    matcher = Matcher(made)
    for one in [*shown, *shown]:  # the second time from memory
        assert matcher.find(one) == expected(made, one)


@given(st.lists(extended(), max_size=4), st.binary(max_size=80))
def test_no_bytes_do_harm(made: list[Rule], data: bytes) -> None:
    assert NO_MATCH <= Matcher(made).find(data) < len(made)


def test_what_is_behind_the_total_length_is_not_looked_at() -> None:
    matcher = Matcher(rules("permit ip any any"))
    short = packet(17, 0, b"\x04\x00\x00")
    assert matcher.find(short) == matcher.find(short + b"\x50") == NO_MATCH
    assert matcher.find(packet(17, 0, b"\x04\x00\x00\x50")) == 0


def test_a_later_fragment_has_no_ports() -> None:
    matcher = Matcher(rules("deny tcp any any eq 80", "permit tcp any any eq 25"))
    assert matcher.find(packet()) == 0
    assert matcher.find(packet(offset=0x2000)) == 0
    assert matcher.find(packet(offset=185)) == 1


def test_the_word_fragments_means_later_ones() -> None:
    matcher = Matcher(rules("deny ip any any fragments", "permit ip any any"))
    assert [matcher.find(packet(offset=offset)) for offset in (0, 0x2000, 1)] == [1, 1, 0]


@pytest.mark.parametrize(
    ("flags", "is_established"),
    [(0x02, False), (0x12, False), (0x10, True), (0x04, True), (0, False)],
)
def test_established(flags: int, is_established: bool) -> None:
    matcher = Matcher(rules("permit tcp any any established"))
    body = struct.pack(">HH9xB6x", 1024, 80, flags)
    assert (matcher.find(packet(body=body)) == 0) is is_established


def test_memory_is_bounded() -> None:
    matcher = Matcher(rules("permit udp any any"))
    for port in range(REMEMBERED + 10):
        assert matcher.find(packet(17, 0, struct.pack(">HHHH", port, 80, 8, 0))) == 0
    assert len(matcher._known) <= REMEMBERED
