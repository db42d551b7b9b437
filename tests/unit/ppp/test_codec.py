"""Frames, packets, options, and the packets of PAP and CHAP."""

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.ppp import chap, pap
from l2tpns_core.ppp.errors import PppError
from l2tpns_core.ppp.frame import Packet, decode_frame, decode_packet, encode_frame, encode_packet
from l2tpns_core.ppp.options import MAX_OPTIONS, Option, decode_options, encode_options

DECODERS: list[Callable[[bytes], object]] = [
    decode_frame,
    decode_packet,
    decode_options,
    pap.decode_request,
    lambda data: chap.decode_response(data, 16),
    lambda data: chap.decode_response(data, 49),
]


@pytest.mark.parametrize(
    ("raw", "protocol", "information"),
    [
        ("ff03 c021 0101", 0xC021, "0101"),
        ("c021 0101", 0xC021, "0101"),
        ("ff03 0021 45", 0x0021, "45"),
        ("ff03 21 45", 0x0021, "45"),
        ("21 45", 0x0021, "45"),
        ("ff03 21", 0x0021, ""),
        ("c021", 0xC021, ""),
        ("ff04 45", 0x00FF, "0445"),
        ("0020 45", 0x0020, "45"),
    ],
)
def test_frames_are_read_in_every_form(raw: str, protocol: int, information: str) -> None:
    assert decode_frame(bytes.fromhex(raw)) == (protocol, bytes.fromhex(information))


@pytest.mark.parametrize("raw", ["", "ff03", "ff03c0", "00"])
def test_a_frame_without_a_whole_protocol_is_an_error(raw: str) -> None:
    with pytest.raises(PppError):
        decode_frame(bytes.fromhex(raw))


def test_frames_are_written_with_or_without_address_and_control() -> None:
    assert encode_frame(0xC021, b"x") == b"\xff\x03\xc0\x21x"
    assert encode_frame(0x8021, b"x", short=True) == b"\x80\x21x"


def test_padding_after_a_packet_is_dropped() -> None:
    assert decode_packet(bytes.fromhex("0907 0006 aabb 0000")) == Packet(9, 7, b"\xaa\xbb")


@pytest.mark.parametrize("raw", ["", "010200", "01020003", "01020005", "0102ffff00"])
def test_a_packet_with_a_wrong_length_is_an_error(raw: str) -> None:
    with pytest.raises(PppError):
        decode_packet(bytes.fromhex(raw))


def test_a_packet_too_long_for_its_length_field_is_cut() -> None:
    raw = encode_packet(Packet(9, 1, bytes(70000)))
    assert raw[2:4] == b"\xff\xff"
    assert len(raw) == 0xFFFF


@pytest.mark.parametrize("raw", ["01", "0100", "0101", "010405", "0104 05dc 02"])
def test_an_option_that_does_not_fit_is_an_error(raw: str) -> None:
    with pytest.raises(PppError):
        decode_options(bytes.fromhex(raw))


def test_more_options_than_the_limit_are_an_error() -> None:
    assert len(decode_options(b"\x07\x02" * MAX_OPTIONS)) == MAX_OPTIONS
    with pytest.raises(PppError):
        decode_options(b"\x07\x02" * (MAX_OPTIONS + 1))


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=253)), max_size=10))
def test_options_survive_a_round_trip(items: list[tuple[int, bytes]]) -> None:
    options = [Option(*item) for item in items]
    assert decode_options(encode_options(options)) == options


@given(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300), st.binary(max_size=9))
def test_packets_survive_a_round_trip(code: int, number: int, data: bytes, padding: bytes) -> None:
    packet = Packet(code, number, data)
    assert decode_packet(encode_packet(packet) + padding) == packet


def test_a_pap_request_is_split_into_user_and_password() -> None:
    assert pap.decode_request(b"\x02u1\x06wonder") == (b"u1", b"wonder")
    assert pap.decode_request(b"\x00\x00pad") == (b"", b"")
    assert pap.decode_request(b"\xff" + bytes(255) + b"\xff" + bytes(255)) == (bytes(255),) * 2


@pytest.mark.parametrize("raw", [b"", b"\x02u", b"\x02u1", b"\x02u1\x02p"])
def test_a_pap_request_with_a_field_past_the_end_is_an_error(raw: bytes) -> None:
    with pytest.raises(PppError):
        pap.decode_request(raw)


def test_a_long_message_is_cut_to_what_its_field_holds() -> None:
    raw = pap.encode_answer(pap.PapCode.NAK, 5, b"m" * 300)
    assert raw == b"\x03\x05\x01\x04\xff" + b"m" * 255
    assert (
        chap.encode_result(chap.ChapCode.SUCCESS, 5, b"m" * 300) == b"\x03\x05\x01\x03" + b"m" * 255
    )


def test_a_chap_response_is_split_into_value_and_name() -> None:
    assert chap.decode_response(b"\x10" + bytes(16) + b"u1", 16) == (bytes(16), b"u1")


@pytest.mark.parametrize(
    "raw", [b"", b"\x0f" + bytes(15), b"\x10" + bytes(15), b"\x10" + bytes(16 + 256)]
)
def test_a_chap_response_of_another_size_is_an_error(raw: bytes) -> None:
    with pytest.raises(PppError):
        chap.decode_response(raw, 16)


@pytest.mark.parametrize("decoder", DECODERS)
@given(data=st.binary(max_size=600))
def test_decoders_raise_nothing_but_their_error(
    decoder: Callable[[bytes], object], data: bytes
) -> None:
    with contextlib.suppress(PppError):
        assert decoder(data) is not None
