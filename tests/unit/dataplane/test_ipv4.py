"""Checksums and fragments."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.dataplane.ipv4 import build, checksum, fragment, header_length
from unit.dataplane.fakes import reseal, slow_checksum, udp_packet, with_fields

DF, MF = 0x4000, 0x2000


@given(st.binary(max_size=200))
def test_checksum_is_that_of_rfc_1071(data: bytes) -> None:
    assert checksum(data) == slow_checksum(data)


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\xff\xff", b"\xff\xff\0\0", b"\x80"])
def test_checksum_at_the_ends_of_its_range(data: bytes) -> None:
    assert checksum(data) == slow_checksum(data)


def test_built_packet_has_a_sound_header() -> None:
    packet = build(b"\x0a\0\0\1", b"\x0a\0\0\2", 17, b"payload")
    assert header_length(packet) == 20
    assert slow_checksum(packet[:20]) == 0
    assert packet[12:20] == b"\x0a\0\0\1\x0a\0\0\2"
    assert packet[20:] == b"payload"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        bytes(19),
        udp_packet("10.0.0.1", "10.0.0.2")[:-1],
        b"\x60" + bytes(39),
        b"\x44" + udp_packet("10.0.0.1", "10.0.0.2")[1:],
        b"\x4f" + udp_packet("10.0.0.1", "10.0.0.2")[1:],
    ],
    ids=["empty", "short", "cut", "version 6", "header of 16", "header past the end"],
)
def test_no_whole_packet_has_no_header_length(packet: bytes) -> None:
    assert header_length(packet) is None
    assert fragment(packet, 1000) is None


def reassemble(fragments: list[bytes]) -> tuple[bytes, bool]:
    """The payload of fragments in any order, and whether the last one is among them."""
    found, last = {}, False
    for piece in fragments:
        length = (piece[0] & 15) * 4
        assert slow_checksum(piece[:length]) == 0
        assert struct.unpack_from(">H", piece, 2)[0] == len(piece)
        word = struct.unpack_from(">H", piece, 6)[0]
        found[(word & 0x1FFF) * 8] = piece[length:]
        last = last or not word & MF
    payload = b""
    for offset in sorted(found):
        assert offset == len(payload) + min(found)
        payload += found[offset]
    return payload, last


@given(st.binary(min_size=1, max_size=3000), st.integers(68, 1500))
def test_fragments_fit_and_carry_the_whole_payload(payload: bytes, mtu: int) -> None:
    packet = udp_packet("10.0.0.1", "10.0.0.2", payload, identification=0xBEEF)
    pieces = fragment(packet, mtu)
    assert pieces is not None
    assert all(len(piece) <= mtu for piece in pieces)
    assert all(piece[4:6] == b"\xbe\xef" for piece in pieces)
    assert reassemble(pieces) == (packet[20:], True)


def test_packet_that_fits_stays_whole() -> None:
    packet = udp_packet("10.0.0.1", "10.0.0.2", bytes(100))
    assert fragment(packet, len(packet)) == [packet]


def test_fragment_of_a_fragment_keeps_its_place_and_its_more_flag() -> None:
    packet = with_fields(udp_packet("10.0.0.1", "10.0.0.2", bytes(800)), flags=MF | 100)
    pieces = fragment(packet, 576)
    assert pieces is not None
    words = [struct.unpack_from(">H", piece, 6)[0] for piece in pieces]
    assert words == [MF | 100, MF | 100 + 69]


def test_dont_fragment_forbids_it() -> None:
    packet = udp_packet("10.0.0.1", "10.0.0.2", bytes(1000), flags=DF)
    assert fragment(packet, 576) is None


def test_mtu_without_room_for_data_is_refused() -> None:
    assert fragment(udp_packet("10.0.0.1", "10.0.0.2", bytes(100)), 27) is None


def test_only_options_to_be_copied_are_in_later_fragments() -> None:
    record_route = b"\x07\x07\x04\0\0\0\0"
    stream_id = b"\x88\x04\x00\x2a"
    options = record_route + b"\x01" + stream_id
    plain = udp_packet("10.0.0.1", "10.0.0.2", bytes(1000))
    head = bytes([0x45 + len(options) // 4]) + plain[1:2]
    head += struct.pack(">H", len(plain) + len(options))
    packet = reseal(head + plain[4:20] + options + plain[20:])
    pieces = fragment(packet, 576)
    assert pieces is not None
    assert pieces[0][20:32] == options
    assert pieces[1][0] == 0x46
    assert pieces[1][20:24] == stream_id
    assert reassemble(pieces) == (plain[20:], True)


@given(st.binary(max_size=120), st.integers(0, 200))
def test_no_bytes_make_it_fail(data: bytes, mtu: int) -> None:
    pieces = fragment(data, mtu)
    assert pieces is None or all(len(piece) <= mtu for piece in pieces)
