"""Data headers: every combination of bits, and what lies."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.l2tp.data import DataHeader, decode_data, encode_data
from l2tpns_core.l2tp.errors import L2tpError

u16s = st.integers(0, 0xFFFF)
PAYLOAD = b"\xff\x03\xc0\x21payload"


@given(
    u16s,
    u16s,
    st.none() | st.tuples(u16s, u16s),
    st.none() | st.integers(0, 40),
    st.booleans(),
    st.booleans(),
)
def test_every_combination_of_fields_is_found(
    tunnel: int,
    session: int,
    sequence: tuple[int, int] | None,
    offset: int | None,
    with_length: bool,
    priority: bool,
) -> None:
    flags, tail = 2, b""
    if sequence is not None:
        flags |= 0x0800
        tail += struct.pack("!HH", *sequence)
    if offset is not None:
        flags |= 0x0200
        tail += struct.pack("!H", offset) + bytes(offset)
    flags |= 0x0100 if priority else 0
    ids = struct.pack("!HH", tunnel, session)
    if with_length:
        total = 4 + len(ids + tail + PAYLOAD)
        datagram = struct.pack("!HH", flags | 0x4000, total) + ids + tail + PAYLOAD + b"trailer"
    else:
        datagram = struct.pack("!H", flags) + ids + tail + PAYLOAD
    header = decode_data(datagram)
    assert (header.tunnel_id, header.session_id) == (tunnel, session)
    assert (header.ns, header.nr) == (sequence or (None, None))
    assert header.priority == priority
    assert datagram[header.payload_offset : header.payload_end] == PAYLOAD


@given(u16s, u16s, st.none() | u16s, st.booleans(), st.booleans())
def test_what_is_written_is_read_back(
    tunnel: int, session: int, ns: int | None, priority: bool, with_length: bool
) -> None:
    size = len(PAYLOAD) if with_length else None
    head = encode_data(tunnel, session, ns, priority, size)
    nr = None if ns is None else 0
    expected = DataHeader(tunnel, session, ns, nr, len(head), len(head) + len(PAYLOAD), priority)
    assert decode_data(head + PAYLOAD) == expected


def test_golden_headers() -> None:
    assert encode_data(1, 2).hex() == "000200010002"
    assert encode_data(1, 2, ns=0x10003, priority=True).hex() == "09020001000200030000"
    assert encode_data(1, 2, payload_bytes=4).hex() == "4002000c00010002"


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "0002000100",
        "c802000c0001000200000000",  # control
        "000300010002",
        "000100010002",
        "400200070001000200",  # length shorter than the header
        "4002000900010002",  # length longer than the datagram
        "08020001000200000",  # cut in Nr
        "020200010002",  # no offset size
        "0202000100020001",  # offset past the end
        "02020001000200ff00",
        "4a02000a00010002000000000000",  # length ends inside the sequence numbers
    ],
)
def test_header_that_does_not_fit_is_refused(raw: str) -> None:
    with pytest.raises(L2tpError):
        decode_data(bytes.fromhex(raw[: len(raw) & ~1]))


@given(st.binary(max_size=40))
def test_any_bytes_are_data_or_an_l2tp_error(datagram: bytes) -> None:
    try:
        header = decode_data(datagram)
    except L2tpError:
        return
    assert 6 <= header.payload_offset <= header.payload_end <= len(datagram)
