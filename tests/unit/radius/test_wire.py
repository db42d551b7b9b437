"""Packets as octets: what we build is checked with hashlib and pyrad, what we get by force."""

import hashlib
import hmac
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad.packet import AcctPacket, AuthPacket

from l2tpns_core.radius.wire import (
    Code,
    Discard,
    Reply,
    ReplyError,
    decode_reply,
    encode_access_request,
    encode_accounting_request,
    encode_attribute,
    encode_vendor_attribute,
    hide_password,
    split_vendor_attribute,
    verify_reply,
)
from unit.radius.stub import ACCOUNTING_RESPONSE, SECRET, reply_octets

AUTHENTICATOR = bytes(range(16))
REQUEST = encode_access_request(42, AUTHENTICATOR, encode_attribute(1, b"bob"), SECRET)


def verify(octets: bytes, *, required: bool = False, secret: bytes = SECRET) -> bool:
    return verify_reply(decode_reply(octets), Code.ACCESS_REQUEST, AUTHENTICATOR, secret, required)


def discarded(octets: bytes, *, required: bool = False) -> Discard:
    with pytest.raises(ReplyError) as caught:
        verify(octets, required=required)
    return caught.value.kind


@given(st.binary(max_size=128))
def test_a_password_is_hidden_block_by_block(password: bytes) -> None:
    hidden = hide_password(password, AUTHENTICATOR, SECRET)
    assert len(hidden) == max(16, (len(password) + 15) // 16 * 16)
    shown, last = b"", AUTHENTICATOR
    for start in range(0, len(hidden), 16):
        block = hidden[start : start + 16]
        mask = hashlib.md5(SECRET + last).digest()
        shown += bytes(octet ^ key for octet, key in zip(block, mask, strict=True))
        last = block
    assert shown == password.ljust(len(hidden), b"\0")


def test_a_password_that_no_attribute_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="129"):
        hide_password(bytes(129), AUTHENTICATOR, SECRET)


def test_the_message_authenticator_stands_first_in_an_access_request() -> None:
    assert REQUEST[:20] == struct.pack("!BBH", 1, 42, len(REQUEST)) + AUTHENTICATOR
    assert REQUEST[20:22] == b"\x50\x12"
    zeroed = REQUEST[:22] + bytes(16) + REQUEST[38:]
    assert REQUEST[22:38] == hmac.new(SECRET, zeroed, "md5").digest()


def test_pyrad_takes_our_access_request() -> None:
    packet = AuthPacket(packet=REQUEST, secret=SECRET)
    assert packet.verify_message_authenticator()
    assert packet[1] == [b"bob"]


def test_pyrad_takes_our_accounting_request() -> None:
    octets = encode_accounting_request(9, encode_attribute(44, b"1"), SECRET)
    packet = AcctPacket(packet=octets, secret=SECRET)
    assert packet.VerifyAcctRequest()
    assert (packet.id, packet[44]) == (9, [b"1"])


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(bytes(19), id="shorter than a header"),
        pytest.param(struct.pack("!BBH", 2, 1, 19) + bytes(16), id="length below the header"),
        pytest.param(struct.pack("!BBH", 2, 1, 21) + bytes(16), id="length past the datagram"),
        pytest.param(struct.pack("!BBH", 2, 1, 21) + bytes(16) + b"\x01", id="stray octet"),
        pytest.param(struct.pack("!BBH", 2, 1, 22) + bytes(16) + b"\x01\x00", id="length 0"),
        pytest.param(struct.pack("!BBH", 2, 1, 22) + bytes(16) + b"\x01\x01", id="length 1"),
        pytest.param(struct.pack("!BBH", 2, 1, 22) + bytes(16) + b"\x01\x03", id="past the end"),
        pytest.param(struct.pack("!BBH", 2, 1, 4097) + bytes(5000), id="longer than allowed"),
    ],
)
def test_wrong_lengths_are_malformed(octets: bytes) -> None:
    with pytest.raises(ReplyError) as caught:
        decode_reply(octets)
    assert caught.value.kind is Discard.MALFORMED


def test_octets_behind_the_packet_are_padding() -> None:
    octets = reply_octets(REQUEST, attributes=encode_attribute(18, b"hello"))
    assert decode_reply(octets + b"\xff\xff").octets == octets
    assert verify(octets + b"\xff\xff")


@given(st.binary(max_size=300))
def test_whatever_comes_is_decoded_or_a_reply_error(octets: bytes) -> None:
    try:
        reply = decode_reply(octets)
    except ReplyError:
        return
    joined = b"".join(encode_attribute(kind, value) for kind, value in reply.attributes)
    assert reply.octets == octets[:20] + joined


@pytest.mark.parametrize("at_the_end", [False, True], ids=["first", "last"])
def test_a_right_message_authenticator_counts_wherever_it_stands(at_the_end: bool) -> None:
    hello = encode_attribute(18, b"hello")
    octets = reply_octets(REQUEST, attributes=hello, at_the_end=at_the_end)
    assert verify(octets, required=True) is True


def test_a_reply_without_message_authenticator_is_good_unless_one_is_required() -> None:
    octets = reply_octets(REQUEST, message_authenticator=False)
    assert verify(octets) is False
    assert discarded(octets, required=True) is Discard.NO_MESSAGE_AUTHENTICATOR


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_one_changed_octet_spoils_a_reply(place: int, change: int) -> None:
    octets = bytearray(reply_octets(REQUEST, attributes=encode_attribute(18, b"hello")))
    place %= len(octets)
    octets[place] ^= change
    with pytest.raises(ReplyError):
        verify(bytes(octets))


def test_a_reply_under_another_secret_is_forged() -> None:
    octets = reply_octets(REQUEST, secret=b"guess", message_authenticator=False)
    assert discarded(octets) is Discard.WRONG_AUTHENTICATOR


def signed_anew(octets: bytes) -> bytes:
    """The same reply with a right Response Authenticator."""
    digest = hashlib.md5(octets[:4] + AUTHENTICATOR + octets[20:] + SECRET).digest()
    return octets[:4] + digest + octets[20:]


def test_a_wrong_message_authenticator_spoils_a_reply_that_is_right_otherwise() -> None:
    octets = reply_octets(REQUEST)
    wrong = signed_anew(octets[:22] + bytes(16) + octets[38:])
    assert discarded(wrong) is Discard.WRONG_MESSAGE_AUTHENTICATOR


@pytest.mark.parametrize(
    "attributes", [b"\x50\x02", b"\x50\x11" + bytes(15), (b"\x50\x12" + bytes(16)) * 2]
)
def test_a_malformed_message_authenticator_spoils_a_reply(attributes: bytes) -> None:
    octets = reply_octets(REQUEST, attributes=attributes, message_authenticator=False)
    assert discarded(octets) is Discard.WRONG_MESSAGE_AUTHENTICATOR


def test_proxy_state_that_was_never_sent_is_the_mark_of_a_forgery() -> None:
    octets = reply_octets(REQUEST, attributes=encode_attribute(33, b"x"))
    assert discarded(octets) is Discard.PROXY_STATE


@pytest.mark.parametrize("code", [0, 1, 4, 5, 12, 255])
def test_only_three_codes_answer_an_access_request(code: int) -> None:
    assert discarded(reply_octets(REQUEST, code)) is Discard.WRONG_CODE


@pytest.mark.parametrize("vector", ["request", "zero"])
def test_accounting_responses_may_be_signed_over_either_vector(vector: str) -> None:
    request = encode_accounting_request(1, encode_attribute(44, b"1"), SECRET)
    octets = reply_octets(request, ACCOUNTING_RESPONSE)
    if vector == "request":
        header = octets[:4] + request[4:20]
        empty = b"\x50\x12" + bytes(16)
        attributes = empty[:2] + hmac.new(SECRET, header + empty, "md5").digest()
        digest = hashlib.md5(header + attributes + SECRET).digest()
        octets = octets[:4] + digest + attributes
    reply: Reply = decode_reply(octets)
    assert verify_reply(reply, Code.ACCOUNTING_REQUEST, request[4:20], SECRET, False)


@given(st.integers(0, 2**32 - 1), st.integers(0, 255), st.binary(max_size=247))
def test_a_vendor_attribute_comes_out_of_its_envelope(vendor: int, kind: int, value: bytes) -> None:
    octets = encode_vendor_attribute(vendor, kind, value)
    assert octets[0] == 26
    assert octets[1] == len(octets)
    assert split_vendor_attribute(octets[2:]) == (vendor, [(kind, value)])


@pytest.mark.parametrize(
    "value", [b"", bytes(5), b"\0\0\0\x09\x01\x00", b"\0\0\0\x09\x01\x01", b"\0\0\0\x09\x01\x09a"]
)
def test_a_malformed_envelope_is_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError, match="Vendor-Specific"):
        split_vendor_attribute(value)


@pytest.mark.parametrize(
    "encode", [encode_attribute, lambda k, v: encode_vendor_attribute(9, k, v)]
)
def test_a_value_that_does_not_fit_is_a_value_error(encode: object) -> None:
    assert callable(encode)
    with pytest.raises(ValueError, match="254"):
        encode(1, bytes(254))
