"""The L2TP fuzz entry under hypothesis, on raw bytes and on messages that nearly make sense."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_l2tp import CONNECTED_CALL, WAITING_CALL, Driver, one_input, split
from l2tpns_core.l2tp.states import CallState, TunnelState

VALUES = [b"", b"\0\1", b"\1\0", b"\0\2\0\6text", bytes(4), bytes(16), b"\0\x77", b"name\xff"]
KINDS = [0, 1, 2, 7, 9, 10, 11, 12, 13, 14, 14, 19, 22, 24, 29, 34, 35, 36, 39, 46, 77]


@st.composite
def avps(draw: st.DrawFn) -> bytes:
    value = draw(st.sampled_from(VALUES) | st.binary(max_size=30))
    bits = draw(st.sampled_from([0x8000, 0x8000, 0, 0xC000, 0x4000, 0x8400]))
    length = 6 + len(value) + draw(st.sampled_from([0] * 9 + [1, -1, -6]))
    vendor = draw(st.sampled_from([0] * 9 + [9]))
    kind = draw(st.sampled_from(KINDS))
    return struct.pack("!HHH", bits | length & 0x3FF, vendor, kind) + value


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    kind = draw(st.integers(0, 17))
    bits = draw(st.sampled_from([0x8008, 0x8008, 0x0008]))
    rest = b"".join(draw(st.lists(avps(), max_size=5)))
    return struct.pack("!HHHH", bits, 0, 0, kind) + rest


@st.composite
def pieces(draw: st.DrawFn) -> bytes:
    """A body, or a whole datagram without a tunnel id; with its length before it."""
    body = draw(bodies())
    if draw(st.booleans()):
        body = struct.pack("!6H", 0xC802, 12 + len(body), 0, 0, draw(st.integers(0, 1)), 0) + body
    body = body[:255]
    return bytes((len(body),)) + body


def test_the_calls_of_the_entry_are_in_the_states_they_are_meant_to_be() -> None:
    tunnel = Driver(opened=True).tunnel
    assert tunnel.state is TunnelState.ESTABLISHED
    assert tunnel.calls[CONNECTED_CALL].state is CallState.ESTABLISHED
    assert tunnel.calls[WAITING_CALL].state is CallState.WAIT_CONNECT
    assert Driver(opened=False).tunnel.state is TunnelState.WAIT_CTL_CONN


def test_split_takes_every_byte() -> None:
    assert split(b"\x02ab\x00\x05cd") == [b"ab", b"", b"cd"]


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    one_input(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces(), max_size=10))
def test_messages_that_nearly_make_sense(messages: list[bytes]) -> None:
    one_input(b"".join(messages))


@settings(max_examples=100, deadline=None)
@given(bodies())
def test_one_body_to_every_decoder(body: bytes) -> None:
    one_input(body)
