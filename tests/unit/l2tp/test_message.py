"""Control headers and bodies, and the golden bytes of what we send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.l2tp.avp import AvpType
from l2tpns_core.l2tp.codes import DisconnectCause, MessageType
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.message import (
    ControlHeader,
    Message,
    decode_header,
    decode_message,
    encode_header,
    encode_message,
)
from l2tpns_core.l2tp.values import Accm, CallErrors, ResultCode
from unit.l2tp.wire import avp, body_of, control, u16, u32

u16s = st.integers(0, 0xFFFF)


@given(u16s, u16s, u16s, u16s, st.binary(max_size=100), st.binary(max_size=10))
def test_header_round_trip_drops_what_follows_the_length(
    tunnel: int, session: int, ns: int, nr: int, body: bytes, tail: bytes
) -> None:
    datagram = encode_header(tunnel, session, ns, nr, len(body)) + body + tail
    assert decode_header(datagram) == (ControlHeader(tunnel, session, ns, nr), body)


def test_zlb_is_a_header_alone() -> None:
    assert encode_header(0x1234, 0, 5, 7).hex() == "c802000c1234000000050007"


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xc8",
        control(1, 2, 3, 4)[:11],
        b"\x48\x02" + control(1, 2, 3, 4)[2:],  # T clear
        b"\x88\x02" + control(1, 2, 3, 4)[2:],  # L clear
        b"\xc0\x02" + control(1, 2, 3, 4)[2:],  # S clear
        b"\xca\x02" + control(1, 2, 3, 4)[2:],  # O set
        b"\xc9\x02" + control(1, 2, 3, 4)[2:],  # P set
        b"\xc8\x00" + control(1, 2, 3, 4)[2:],
        b"\xc8\x01" + control(1, 2, 3, 4)[2:],
        b"\xc8\x03" + control(1, 2, 3, 4)[2:],
        b"\xc8\x0f" + control(1, 2, 3, 4)[2:],
        b"\xc8\x02\0\x0b" + control(1, 2, 3, 4)[4:],  # shorter than the header
        b"\xc8\x02\0\x0d" + control(1, 2, 3, 4)[4:],  # longer than the datagram
        b"\xc8\x02\xff\xff" + control(1, 2, 3, 4)[4:],
    ],
)
def test_header_that_is_none_is_refused(datagram: bytes) -> None:
    with pytest.raises(L2tpError):
        decode_header(datagram)


@pytest.mark.parametrize("flags", [0xD802, 0xE802, 0xCC02, 0xC8F2])
def test_reserved_header_bits_are_not_looked_at(flags: int) -> None:
    datagram = u16(flags) + control(1, 2, 3, 4)[2:]
    assert decode_header(datagram) == (ControlHeader(1, 2, 3, 4), b"")


@pytest.mark.parametrize(
    "body",
    [
        avp(14, u16(1)) + avp(0, u16(10)),
        avp(99, b"", 0) + avp(0, u16(10)),
        avp(0, u16(10), vendor=9),
        avp(0, b"\x0a"),
        avp(0, u16(10), 0x8400),
        b"\0",
    ],
)
def test_message_must_begin_with_its_type(body: bytes) -> None:
    with pytest.raises(L2tpError) as caught:
        decode_message(body)
    assert caught.value.result == 2


def test_m_bit_of_the_type_is_kept() -> None:
    assert decode_message(body_of(10)).mandatory
    assert not decode_message(body_of(10, bits=0)).mandatory


def test_accessors_give_a_default_for_what_is_missing_or_of_another_form() -> None:
    empty = Message(10, avps={9: "text", 7: 5, 11: 5, 1: 5, 46: 5, 34: 5, 35: 5})
    assert empty.number(AvpType.ASSIGNED_TUNNEL_ID, 3) == 3
    assert empty.number(AvpType.BEARER_TYPE) == 0
    assert empty.text(AvpType.HOST_NAME) == ""
    assert empty.raw(AvpType.CHALLENGE) is None
    assert empty.result() == ResultCode(0)
    assert empty.cause() is None
    assert empty.call_errors() is None
    assert empty.accm() is None


def test_accessors_give_what_is_there() -> None:
    body = body_of(
        14,
        avp(1, b"\0\2\0\6why"),
        avp(46, b"\0\3\xc0\x21\2bye", 0),
        avp(34, bytes(2) + b"".join(u32(i) for i in range(1, 7))),
        avp(35, bytes(2) + u32(1) + u32(2)),
        avp(11, b"challenge"),
        avp(7, b"lac"),
    )
    message = decode_message(body)
    assert message.result() == ResultCode(2, 6, "why")
    assert message.cause() == DisconnectCause(3, 0xC021, 2, "bye")
    assert message.call_errors() == CallErrors(1, 2, 3, 4, 5, 6)
    assert message.accm() == Accm(1, 2)
    assert message.raw(AvpType.CHALLENGE) == b"challenge"
    assert message.text(AvpType.HOST_NAME) == "lac"


def test_golden_icrp() -> None:
    body = encode_message(MessageType.ICRP, ((AvpType.ASSIGNED_SESSION_ID, 0x0102),))
    assert body.hex() == "800800000000000b" + "8008" + "0000" + "000e" + "0102"


def test_golden_cdn() -> None:
    body = encode_message(
        MessageType.CDN,
        (
            (AvpType.RESULT_CODE, ResultCode(2, 7, "full")),
            (AvpType.ASSIGNED_SESSION_ID, 3),
            (AvpType.DISCONNECT_CAUSE, DisconnectCause(1)),
        ),
    )
    assert body.hex() == (
        "800800000000000e"
        "800e00000001" + "0002" + "0007" + b"full".hex() + "80080000000e0003"
        "000b0000002e" + "0001" + "0000" + "00"
    )


@given(st.binary(max_size=400), st.binary(max_size=8))
def test_any_body_is_a_message_or_an_l2tp_error(body: bytes, secret: bytes) -> None:
    try:
        message = decode_message(body, secret)
    except L2tpError:
        return
    assert 0 <= message.type <= 0xFFFF
