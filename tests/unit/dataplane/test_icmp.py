"""ICMP errors, and when there must be none."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.dataplane.icmp import fragmentation_needed, host_unreachable, may_answer
from l2tpns_core.dataplane.ipv4 import build
from unit.dataplane.fakes import slow_checksum, udp_packet

US = b"\xcb\x00\x71\x01"


def test_host_unreachable_goes_from_us_to_the_source_and_quotes_the_packet() -> None:
    packet = udp_packet("198.51.100.7", "10.0.0.9", b"lost")
    error = host_unreachable(packet, US)
    assert error is not None
    assert error[12:20] == US + packet[12:16]
    assert error[9] == 1
    assert slow_checksum(error[:20]) == 0
    assert slow_checksum(error[20:]) == 0
    assert error[20:22] == b"\x03\x01"
    assert error[28:] == packet


def test_fragmentation_needed_names_the_mtu() -> None:
    error = fragmentation_needed(udp_packet("198.51.100.7", "10.0.0.9", bytes(1400)), US, 1280)
    assert error is not None
    assert error[20:22] == b"\x03\x04"
    assert struct.unpack_from(">HH", error, 24) == (0, 1280)
    assert slow_checksum(error[20:]) == 0


def test_error_is_no_larger_than_576_bytes() -> None:
    error = host_unreachable(udp_packet("198.51.100.7", "10.0.0.9", bytes(1400)), US)
    assert error is not None
    assert len(error) == 576


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_no_error_about_an_error(kind: int) -> None:
    packet = build(b"\xc6\x33\x64\x07", b"\x0a\0\0\x09", 1, bytes([kind]) + bytes(7))
    assert host_unreachable(packet, US) is None


@pytest.mark.parametrize("kind", [0, 8, 13])
def test_icmp_queries_are_answered(kind: int) -> None:
    packet = build(b"\xc6\x33\x64\x07", b"\x0a\0\0\x09", 1, bytes([kind]) + bytes(7))
    assert host_unreachable(packet, US) is not None


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("0.0.0.0", "10.0.0.9"),
        ("127.0.0.1", "10.0.0.9"),
        ("224.0.0.1", "10.0.0.9"),
        ("255.255.255.255", "10.0.0.9"),
        ("198.51.100.7", "224.0.0.5"),
        ("198.51.100.7", "255.255.255.255"),
    ],
)
def test_no_error_to_or_about_what_is_no_single_host(source: str, destination: str) -> None:
    assert not may_answer(udp_packet(source, destination))


def test_only_the_first_fragment_is_answered() -> None:
    assert may_answer(udp_packet("198.51.100.7", "10.0.0.9", flags=0x2000))
    assert not may_answer(udp_packet("198.51.100.7", "10.0.0.9", flags=0x2001))


def test_icmp_without_a_type_is_not_answered() -> None:
    assert not may_answer(build(b"\xc6\x33\x64\x07", b"\x0a\0\0\x09", 1, b""))


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    host_unreachable(data, US)
