"""Data messages, PPP packets and IPv4 packets of the lab's clients."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.lab.frames import (
    FaultError,
    Pinger,
    checksum,
    decode_data,
    decode_ipv4,
    decode_options,
    decode_packet,
    encode_data,
    encode_options,
    encode_packet,
    ipv4_packet,
    is_echo_reply,
    split_protocol,
    udp_packet,
)


@pytest.mark.parametrize("length", [False, True])
@pytest.mark.parametrize("ns", [None, 0, 65_535])
def test_a_data_message_comes_back_as_it_was(length: bool, ns: int | None) -> None:
    message = decode_data(encode_data(3, 4, b"payload", ns, length))
    assert (message.tunnel_id, message.session_id, message.ns) == (3, 4, ns)
    assert message.payload == b"payload"


def test_an_offset_is_skipped() -> None:
    datagram = struct.pack("!HHHH", 0x0202, 3, 4, 5) + b"....." + b"payload"
    assert decode_data(datagram).payload == b"payload"


@pytest.mark.parametrize(
    "datagram",
    [
        b"\x00\x02\x00\x01",
        b"\x00\x03" + bytes(8),
        b"\x20\x02" + bytes(8),
        b"\x00\x12" + bytes(8),
        b"\x40\x02\x00\x09" + bytes(4),
        b"\x02\x02" + bytes(4) + b"\x00\x09",
        b"\x08\x02" + bytes(5),
    ],
)
def test_wrong_data_messages_are_faults(datagram: bytes) -> None:
    with pytest.raises(FaultError):
        decode_data(datagram)


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_but_fault_error(data: bytes) -> None:
    for decode in (decode_data, decode_packet, decode_options, split_protocol, decode_ipv4):
        try:
            decode(data)
        except FaultError:
            pass


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=253)), max_size=5))
def test_options_come_back_as_they_were(options: list[tuple[int, bytes]]) -> None:
    assert decode_options(encode_options(options)) == options


def test_padding_after_a_packet_is_taken_off() -> None:
    frame = encode_packet(0xC021, 9, 7, b"magic") + b"\0\0"
    framed, protocol, width, start = split_protocol(frame)
    assert (framed, protocol, width) == (True, 0xC021, 2)
    assert decode_packet(frame[start:]) == (9, 7, b"magic")


def test_a_compressed_header_is_recognised() -> None:
    assert split_protocol(b"\x21E") == (False, 0x21, 1, 1)
    assert split_protocol(b"\xff\x03\x21E") == (True, 0x21, 1, 3)


@given(st.integers(0, 2**32 - 1), st.integers(0, 65_535), st.integers(28, 1500), st.integers(1, 99))
def test_every_ping_has_right_checksums(target: int, identifier: int, size: int, n: int) -> None:
    pinger = Pinger(0x0A000001, target, identifier, size)
    pinger.sequence = 65_500
    packet = b""
    for _ in range(n):
        packet = pinger.next_packet()
    assert len(packet) == size
    decoded = decode_ipv4(packet)
    assert (decoded.source, decoded.target, decoded.protocol) == (0x0A000001, target, 1)
    assert checksum(decoded.payload) == 0
    assert decoded.payload[6:8] == ((65_500 + n) & 0xFFFF).to_bytes(2, "big")


def test_an_echo_reply_is_known_by_its_identifier() -> None:
    reply = decode_ipv4(ipv4_packet(1, 2, 1, b"\0\0\0\0\x00\x07\x00\x01"))
    assert is_echo_reply(reply, 7)
    assert not is_echo_reply(reply, 8)
    assert not is_echo_reply(decode_ipv4(udp_packet(1, 2, 3, 4, b"data")), 7)


@pytest.mark.parametrize(
    "change", [lambda p: p[:-1], lambda p: p + b"x", lambda p: p[:8] + b"\1" + p[9:]]
)
def test_a_damaged_ipv4_packet_is_a_fault(change: object) -> None:
    with pytest.raises(FaultError):
        decode_ipv4(change(udp_packet(1, 2, 3, 4, b"data")))  # type: ignore[operator]
