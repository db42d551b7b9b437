"""The frames of the bench's load, and the programs that send and count them."""

import socket
import struct

import pytest

from l2tpns_core.lab.bench import assembler as asm
from l2tpns_core.lab.bench.assembler import R0, R1, Program
from l2tpns_core.lab.bench.load import (
    ETHERNET,
    FREE_PORT,
    INNER,
    IP,
    Load,
    Subscriber,
    checksum,
    downward,
    upward,
)
from l2tpns_core.lab.frames import decode_data, decode_ipv4

WHO = [Subscriber(7, 9, "10.64.0.1"), Subscriber(0xFFFE, 0x1234, "10.64.200.77")]
HEADER = bytes(12) + b"\x08\x00"


def up(size: int = 64, marked: tuple[bool, ...] = ()) -> Load:
    return upward(HEADER, "192.0.2.2", "192.0.2.1", "198.51.100.2", size, WHO, marked)


def frame_of(load: Load, number: int) -> bytes:
    """What the program makes of the frame for a session."""
    frame, row = bytearray(load.frame), load.row(number)
    for offset, size in load.fields:
        frame[offset : offset + size], row = row[:size], row[size:]
    assert row == b""
    return bytes(frame)


@pytest.mark.parametrize("size", [46, 64, 1400])
def test_upward_frames_are_l2tp_with_a_packet_of_that_size(size: int) -> None:
    for number, one in enumerate(WHO):
        frame = frame_of(up(size), number)
        outer = decode_ipv4(frame[ETHERNET:])
        message = decode_data(frame[ETHERNET + IP + 8 :])
        assert socket.inet_ntoa(outer.target.to_bytes(4, "big")) == "192.0.2.1"
        assert (message.tunnel_id, message.session_id) == (one.tunnel_id, one.session_id)
        assert len(frame) - INNER == size
        inner = decode_ipv4(frame[INNER:])
        assert socket.inet_ntoa(inner.source.to_bytes(4, "big")) == one.ip


def test_downward_frames_go_to_each_subscriber() -> None:
    load = downward(HEADER, "198.51.100.2", 512, WHO)
    for number, one in enumerate(WHO):
        frame = frame_of(load, number)
        packet = decode_ipv4(frame[ETHERNET:])
        assert socket.inet_ntoa(packet.target.to_bytes(4, "big")) == one.ip
        assert checksum(frame[ETHERNET : ETHERNET + IP]) == 0
        assert len(frame) - ETHERNET == 512


def test_marked_sessions_have_a_port_of_their_own() -> None:
    load = up(marked=(False, True))
    ports = [
        struct.unpack_from(">H", frame_of(load, number), INNER + IP + 2)[0] for number in (0, 1)
    ]
    assert ports == [FREE_PORT, FREE_PORT + 1]


def test_all_that_differs_is_among_the_headers_and_fits_a_row() -> None:
    for load in (up(), downward(HEADER, "198.51.100.2", 64, WHO)):
        assert all(offset + size <= load.headers for offset, size in load.fields)
        assert all(offset % 2 == 0 and size % 2 == 0 for offset, size in load.fields)
        assert max(len(load.row(number)) for number in (0, 1)) <= 16


def test_jumps_lead_to_their_labels() -> None:
    code = Program()
    code.jump_if_value(R0, "==", 7, "end")
    code.set(R1, 1 << 40)  # two instructions long
    code.label("end")
    code.exit(0)
    instructions = [code.code()[n : n + 8] for n in range(0, len(code.code()), 8)]
    assert len(instructions) == 5
    assert struct.unpack("=BBhi", instructions[0]) == (0x15, 0, 2, 7)
    assert struct.unpack("=BBhI", instructions[2])[3] == 1 << 8


def test_a_jump_to_nowhere_is_noticed() -> None:
    code = Program()
    code.jump("nowhere")
    with pytest.raises(KeyError):
        code.code()


def test_loads_and_stores_name_their_sizes() -> None:
    code = Program()
    code.load(asm.HALF, R0, R1, -2)
    code.store(asm.DOUBLE, R1, 8, R0)
    first, second = code.code()[:8], code.code()[8:]
    assert struct.unpack("=BBhi", first) == (0x69, 0x10, -2, 0)
    assert struct.unpack("=BBhi", second) == (0x7B, 0x01, 8, 0)
