"""The LAC's own codec of control messages, and the faults that it finds."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.l2tp import hiding
from l2tpns_core.lab.avp import (
    Attr,
    Avp,
    DecodeError,
    Kind,
    challenge_response,
    decode_control,
    encode_avps,
    encode_control,
    hide,
    reveal,
    u16,
    u32,
)

SCCRP = [
    Avp(Attr.PROTOCOL_VERSION, b"\x01\x00"),
    Avp(Attr.FRAMING_CAPABILITIES, u32(3)),
    Avp(Attr.HOST_NAME, b"lns"),
    Avp(Attr.ASSIGNED_TUNNEL_ID, u16(9)),
]
ICRP = [Avp(Attr.ASSIGNED_SESSION_ID, u16(5))]


def faults(kind: int, avps: list[Avp], secret: bytes = b"") -> list[str]:
    return decode_control(encode_control(1, 0, 0, 1, encode_avps(kind, avps)), secret).faults


def test_a_message_comes_back_as_it_was() -> None:
    message = decode_control(encode_control(7, 0, 3, 4, encode_avps(Kind.SCCRP, SCCRP)))
    assert (message.tunnel_id, message.session_id, message.ns, message.nr) == (7, 0, 3, 4)
    assert message.kind == Kind.SCCRP
    assert message.number(Attr.ASSIGNED_TUNNEL_ID) == 9
    assert message.avps[Attr.HOST_NAME] == b"lns"
    assert message.faults == []


def test_a_zlb_has_no_kind_and_no_fault() -> None:
    message = decode_control(encode_control(7, 0, 3, 4, b""))
    assert (message.kind, message.faults) == (0, [])


def test_a_result_is_split_into_codes_and_text() -> None:
    value = u16(2) + u16(6) + b"too many"
    avps = [Avp(Attr.ASSIGNED_TUNNEL_ID, u16(1)), Avp(Attr.RESULT_CODE, value)]
    message = decode_control(encode_control(7, 0, 3, 4, encode_avps(Kind.STOPCCN, avps)))
    assert message.result() == (2, 6, "too many")
    assert message.faults == []


@pytest.mark.parametrize(
    ("kind", "avps", "fault"),
    [
        (Kind.ICRP, [], "ICRP without AVP 14"),
        (Kind.ICRP, [*ICRP, *ICRP], "AVP 14 twice"),
        (Kind.ICRP, [Avp(14, u16(5), mandatory=False)], "AVP 14 with no M bit"),
        (Kind.ICRP, [Avp(14, b"\0\0\5")], "AVP 14 with a value of 3 bytes"),
        (Kind.ICRP, [*ICRP, Avp(Attr.HOST_NAME, b"x")], "ICRP with AVP 7"),
        (Kind.SCCRP, [*SCCRP, Avp(8, b"v", True)], "AVP 8 with M although the RFC asks for 0"),
        (Kind.ICRP, [*ICRP, Avp(1, b"x", True, 99)], "mandatory vendor AVP 99/1"),
        (Kind.ICRQ, ICRP, "message type 10 from an LNS"),
        (Kind.CDN, [*ICRP, Avp(1, b"\0\1\0")], "result code AVP with a value of 3 bytes"),
    ],
)
def test_each_fault_of_the_lns_is_found(kind: int, avps: list[Avp], fault: str) -> None:
    assert fault in faults(kind, avps)


def test_a_vendor_attribute_without_m_is_no_fault() -> None:
    assert faults(Kind.ICRP, [*ICRP, Avp(1, b"x", False, 99)]) == []


def test_the_message_type_must_come_first() -> None:
    body = encode_avps(Kind.ICRP, ICRP)
    swapped = body[8:] + body[:8]
    assert "the first AVP is 14, not the message type" in (
        decode_control(encode_control(1, 0, 0, 1, swapped)).faults
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda d: struct.pack("!H", 0xCA02) + d[2:], "header flags 0xca02 instead of 0xc802"),
        (lambda d: d + b"xx", "length field 28 in a datagram of 30 bytes"),
        (lambda d: d[:20] + bytes((d[20] | 0x04,)) + d[21:], "AVP 0/14 with reserved bits set"),
        (lambda d: d[:21] + b"\x05" + d[22:], "AVP 14 with length 5"),
        (lambda d: d[:21] + b"\xff" + d[22:], "AVP 14 with length 255"),
    ],
)
def test_damage_in_header_and_attributes_is_found(change: object, fault: str) -> None:
    datagram = encode_control(1, 0, 0, 1, encode_avps(Kind.ICRP, ICRP))
    assert fault in decode_control(change(datagram)).faults  # type: ignore[operator]


@pytest.mark.parametrize("datagram", [b"", b"\xc8\x02\x00\x0c", bytes(12), b"\xc8\x03" + bytes(10)])
def test_what_is_no_control_message_is_refused(datagram: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_control(datagram)


@given(st.binary(max_size=80), st.binary(max_size=8))
def test_no_bytes_raise_anything_but_decode_error(body: bytes, secret: bytes) -> None:
    decode_control(encode_control(1, 2, 3, 4, body), secret)
    try:
        decode_control(body, secret)
    except DecodeError:
        pass


def test_hidden_attributes_are_found_and_read() -> None:
    hidden = [Avp(Attr.ASSIGNED_SESSION_ID, u16(5), hidden=True)]
    body = encode_avps(Kind.ICRP, hidden, b"secret", random=bytes)
    datagram = encode_control(1, 0, 0, 1, body)
    message = decode_control(datagram, b"secret")
    assert message.faults == []
    assert message.number(Attr.ASSIGNED_SESSION_ID) == 5
    assert "hidden AVP 14 although there is no secret" in decode_control(datagram).faults
    assert decode_control(datagram, b"wrong").avps.get(Attr.ASSIGNED_SESSION_ID) != u16(5)


def test_what_must_not_be_hidden_stays_readable() -> None:
    body = encode_avps(Kind.SCCRP, SCCRP, b"s", hide_all=True, random=bytes)
    assert b"lns" in body
    assert b"\x00\x09\x00\x09" not in body  # tunnel id 9
    assert decode_control(encode_control(1, 0, 0, 1, body), b"s").avps[Attr.HOST_NAME] == b"lns"


def test_the_first_block_is_hidden_as_the_rfc_says() -> None:
    pad = hashlib.md5(b"\x00\x0e" + b"secret" + b"vector").digest()
    expected = bytes(a ^ b for a, b in zip(b"\x00\x02\x00\x05", pad, strict=False))
    assert hide(14, u16(5), b"secret", b"vector") == expected


@given(
    st.integers(0, 65535),
    st.binary(max_size=200),
    st.binary(min_size=1, max_size=20),
    st.binary(min_size=1, max_size=20),
    st.binary(max_size=20),
)
def test_a_hidden_value_comes_back(
    attr: int, value: bytes, secret: bytes, vector: bytes, padding: bytes
) -> None:
    assert reveal(attr, hide(attr, value, secret, vector, padding), secret, vector) == value


@given(st.integers(0, 40), st.binary(max_size=100), st.binary(min_size=16, max_size=16))
def test_the_lns_reads_what_the_lac_hides(attr: int, value: bytes, vector: bytes) -> None:
    assert hiding.reveal(attr, hide(attr, value, b"shared", vector), b"shared", vector) == value


def test_the_challenge_response_is_the_one_of_the_rfc() -> None:
    expected = hashlib.md5(b"\x02secretchallenge").digest()
    assert challenge_response(Kind.SCCRP, b"secret", b"challenge") == expected
