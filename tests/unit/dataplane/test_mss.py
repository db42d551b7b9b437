"""The MSS of TCP connections through the tunnel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.dataplane.mss import clamp_mss
from unit.dataplane.fakes import tcp_checksum, tcp_packet, udp_packet, with_fields

A, B = "10.0.0.1", "10.0.0.2"
MSS_1460 = b"\x02\x04\x05\xb4"
MSS_1400 = b"\x02\x04\x05\x78"
SACK_PERMITTED = b"\x04\x02"
WINDOW_SCALE = b"\x03\x03\x07"


@pytest.mark.parametrize(
    "before",
    [b"", b"\x01", SACK_PERMITTED, WINDOW_SCALE, b"\x01" + SACK_PERMITTED + b"\x01\x01"],
)
@pytest.mark.parametrize("flags", [0x02, 0x12])
@pytest.mark.parametrize("ip_options", [b"", b"\x01\x01\x01\x00"])
def test_mss_of_a_syn_is_lowered_and_the_checksum_stays_right(
    before: bytes, flags: int, ip_options: bytes
) -> None:
    packet = tcp_packet(A, B, before + MSS_1460, flags, ip_options, b"data")
    clamped = clamp_mss(packet, 1400)
    tcp = 20 + len(ip_options)
    at = tcp + 20 + len(before)
    assert clamped[at : at + 4] == MSS_1400
    assert tcp_checksum(A, B, clamped[tcp:]) == 0
    assert clamped[:tcp] == packet[:tcp]
    assert len(clamped) == len(packet)


@given(st.integers(0, 65535), st.integers(0, 65535), st.booleans())
def test_checksum_is_right_for_every_value_at_any_alignment(old: int, new: int, odd: bool) -> None:
    options = b"\x01" * odd + b"\x02\x04" + old.to_bytes(2, "big")
    clamped = clamp_mss(tcp_packet(A, B, options), new)
    assert tcp_checksum(A, B, clamped[20:]) == 0
    at = 42 + odd
    assert int.from_bytes(clamped[at : at + 2], "big") == min(old, new)


@pytest.mark.parametrize(
    "packet",
    [
        tcp_packet(A, B, MSS_1400),
        tcp_packet(A, B, b""),
        tcp_packet(A, B, MSS_1460, tcp_flags=0x10),
        tcp_packet(A, B, b"\x00" + MSS_1460),
        tcp_packet(A, B, b"\x03\x00" + MSS_1460),
        tcp_packet(A, B, b"\x03\x01" + MSS_1460),
        tcp_packet(A, B, b"\x03\xff" + MSS_1460),
        tcp_packet(A, B, b"\x02\x03\xff\x00"),
        with_fields(tcp_packet(A, B, MSS_1460), flags=1),
        tcp_packet(A, B, MSS_1460)[:41],
        udp_packet(A, B, bytes(40)),
        b"",
    ],
    ids=[
        "low enough",
        "no option",
        "no SYN",
        "behind the end of options",
        "option of length 0",
        "option of length 1",
        "option past the end",
        "MSS of wrong length",
        "not the first fragment",
        "cut inside the option",
        "UDP",
        "empty",
    ],
)
def test_everything_else_is_left_alone(packet: bytes) -> None:
    assert clamp_mss(packet, 1400) is packet


@given(st.binary(max_size=80), st.integers(0, 15))
def test_no_bytes_make_it_fail(tail: bytes, header_words: int) -> None:
    packet = bytes([0x40 | header_words]) + bytes(8) + b"\x06" + tail
    assert len(clamp_mss(packet, 0)) == len(packet)
