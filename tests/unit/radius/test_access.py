import hashlib
import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from l2tpns_core.radius.access import (
    MAX_CLASSES,
    MAX_PROBLEMS,
    MAX_ROUTES,
    UnsendableError,
    decode_access_reply,
    decode_route,
    encode_access_attributes,
)
from l2tpns_core.radius.attributes import Nas
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    ChapCredentials,
    Credentials,
    FramedRoute,
    MsChapV2Credentials,
    PapCredentials,
    SessionIdentity,
)
from l2tpns_core.radius.wire import Reply, encode_attribute, encode_vendor_attribute
from unit.radius.lab import identity
from unit.radius.stub import ACCEPT, CHALLENGE, REJECT, walk

NAS = Nas(ip_address("192.0.2.1"), "lns")
AUTHENTICATOR = bytes(range(100, 116))
SECRET = b"s3cret"
PAP = PapCredentials(b"pw")

BEHIND_THE_PROOF = [
    (5, b"\0\0\0\x07"),
    (6, b"\0\0\0\x02"),
    (7, b"\0\0\0\x01"),
    (30, b"isp"),
    (31, b"0123456789"),
    (4, b"\xc0\0\x02\x01"),
    (32, b"lns"),
    (61, b"\0\0\0\x05"),
    (77, b"1024000/128000"),
    (64, b"\0\0\0\x03"),
    (65, b"\0\0\0\x01"),
    (66, b"198.51.100.9"),
    (44, b"000000016553F100"),
]


def sent(
    credentials: Credentials = PAP,
    user: bytes = b"alice",
    who: SessionIdentity | None = None,
    nas: Nas = NAS,
) -> list[tuple[int, bytes]]:
    request = AccessRequest(who or identity(), user, credentials)
    return walk(encode_access_attributes(request, nas, AUTHENTICATOR, SECRET))


def taken(*attributes: bytes, code: int = ACCEPT) -> AccessReply:
    return decode_access_reply(Reply(code, 1, bytes(16), b"", walk(b"".join(attributes))))


def text(kind: int, value: str) -> bytes:
    return encode_attribute(kind, value.encode())


def number(kind: int, value: int) -> bytes:
    return encode_attribute(kind, value.to_bytes(4))


def test_a_pap_request_in_full() -> None:
    mask = hashlib.md5(SECRET + AUTHENTICATOR).digest()
    hidden = bytes(a ^ b for a, b in zip(b"pw".ljust(16, b"\0"), mask, strict=True))
    assert sent() == [(1, b"alice"), (2, hidden), *BEHIND_THE_PROOF]


def test_a_chap_request_in_full() -> None:
    challenge = b"0x61626364656667"  # octets go out as they are, never read as hexadecimal
    proof = [(3, b"\x05" + bytes(16)), (60, challenge)]
    attributes = sent(ChapCredentials(5, challenge, bytes(16)))
    assert attributes == [(1, b"alice"), *proof, *BEHIND_THE_PROOF]


def test_an_ms_chap_v2_request_in_full() -> None:
    challenge, peer, nt = b"C" * 16, b"P" * 16, b"N" * 24
    microsoft = struct.pack("!I", 311)
    proof = [
        (26, microsoft + b"\x0b\x12" + challenge),
        (26, microsoft + b"\x19\x34" + b"\x09\x00" + peer + bytes(8) + nt),
    ]
    attributes = sent(MsChapV2Credentials(9, challenge, peer + bytes(8) + nt + b"\x01"))
    assert attributes == [(1, b"alice"), *proof, *BEHIND_THE_PROOF]


def test_the_address_goes_along_once_it_is_known() -> None:
    who = identity(ip=0xC0000207, netmask=0xFFFFFF00)
    assert sent(who=who)[5:7] == [(8, b"\xc0\0\x02\x07"), (9, b"\xff\xff\xff\0")]


def test_a_user_name_goes_out_as_the_exact_octets() -> None:
    assert sent(user=b"\xff\x00\xe9@isp")[0] == (1, b"\xff\x00\xe9@isp")


def test_empty_texts_are_left_out() -> None:
    who = identity(calling_number="", called_number="", connect_info="", lac_address="")
    kinds = [kind for kind, _ in sent(user=b"", who=who, nas=Nas(None, "lns"))]
    assert kinds == [2, 5, 6, 7, 32, 61, 64, 65, 44]


def test_long_and_undecodable_texts_are_sent_as_far_as_they_fit() -> None:
    attributes = dict(sent(who=identity(called_number="é" * 500, calling_number="\udcff\ud800")))
    assert attributes[30] == ("é" * 500).encode()[:253]
    assert attributes[31] == b"??"


def test_ipv6_everywhere() -> None:
    nas = Nas(ip_address("2001:db8::1"), "")
    attributes = dict(sent(who=identity(lac_address="2001:db8::9"), nas=nas))
    assert attributes[95] == bytes.fromhex("20010db8000000000000000000000001")
    assert attributes[65] == b"\0\0\0\x02"
    assert 4 not in attributes


@pytest.mark.parametrize(
    "credentials",
    [
        PapCredentials(bytes(129)),
        ChapCredentials(1, b"c", bytes(15)),
        ChapCredentials(1, b"", bytes(16)),
        ChapCredentials(1, bytes(254), bytes(16)),
        MsChapV2Credentials(1, bytes(16), bytes(48)),
        MsChapV2Credentials(1, bytes(15), bytes(49)),
    ],
)
def test_a_proof_that_no_request_can_carry_is_unsendable(credentials: Credentials) -> None:
    with pytest.raises(UnsendableError):
        sent(credentials)


def test_a_user_name_that_no_request_can_carry_is_unsendable() -> None:
    with pytest.raises(UnsendableError):
        sent(user=bytes(254))


def test_no_credential_shows_in_a_repr() -> None:
    request = AccessRequest(identity(), b"alice", PapCredentials(b"hunter2"))
    assert "hunter2" not in repr(request)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(ACCEPT, AccessOutcome.ACCEPT), (REJECT, AccessOutcome.REJECT)],
)
def test_the_code_is_the_verdict(code: int, outcome: AccessOutcome) -> None:
    assert taken(code=code) == AccessReply(outcome)


def test_a_challenge_is_taken_for_a_reject() -> None:
    reply = taken(code=CHALLENGE)
    assert reply.outcome is AccessOutcome.REJECT
    assert "Access-Challenge" in reply.problems[0]


def test_every_attribute_that_the_lns_acts_upon() -> None:
    reply = taken(
        number(8, 0xC0000207),
        number(9, 0xFFFFFFF0),
        text(22, "10.1.2.0/24 0.0.0.0 1"),
        text(22, "172.16.0.0 0.0.0.0"),
        number(27, 0),
        number(28, 600),
        number(85, 300),
        encode_attribute(25, b"\x00\xff"),
        encode_attribute(25, b"two"),
        text(18, "Hello,"),
        text(18, "world"),
        text(11, "dsl.in"),
        encode_vendor_attribute(9, 1, b"throttle=yes,intercept=no"),
        encode_vendor_attribute(9, 1, b"a=b"),
    )
    assert reply.problems == ()
    attributes = reply.attributes
    assert replace(reply, attributes={}) == AccessReply(
        AccessOutcome.ACCEPT,
        framed_ip=0xC0000207,
        framed_netmask=0xFFFFFFF0,
        routes=(FramedRoute(0x0A010200, 24), FramedRoute(0xAC100000, 16)),
        session_timeout=0,
        idle_timeout=600,
        interim_interval=300,
        classes=(b"\x00\xff", b"two"),
        reply_message="Hello,\nworld",
        filter_ids=("dsl.in",),
        avpairs=(("throttle", "yes"), ("intercept", "no"), ("a", "b")),
    )
    assert attributes["Framed-IP-Address"] == ["192.0.2.7"]
    assert attributes["Class"] == [b"\x00\xff", b"two"]
    assert attributes["Cisco-AVPair"] == ["throttle=yes,intercept=no", "a=b"]


def test_what_only_protects_the_packet_is_not_handed_on() -> None:
    assert taken(encode_attribute(80, bytes(16))) == AccessReply(AccessOutcome.ACCEPT)


def test_a_route_that_comes_twice_counts_once() -> None:
    assert len(taken(text(22, "10.0.0.0/8"), text(22, "10.0.0.1/8 0.0.0.0")).routes) == 1


@pytest.mark.parametrize("value", [0xFFFFFFFE, 0xFFFFFFFF])
def test_special_addresses_are_given_as_they_came(value: int) -> None:
    assert taken(number(8, value)).framed_ip == value


@pytest.mark.parametrize(
    "attributes",
    [
        (encode_attribute(135, b"\x0a\0\0\x01"), encode_attribute(136, b"\x0a\0\0\x02")),
        (
            encode_vendor_attribute(529, 135, b"\x0a\0\0\x01"),
            encode_vendor_attribute(529, 136, b"\x0a\0\0\x02"),
        ),
        (
            encode_vendor_attribute(311, 28, b"\x0a\0\0\x01"),
            encode_vendor_attribute(311, 29, b"\x0a\0\0\x02"),
        ),
    ],
    ids=["plain", "Ascend", "Microsoft"],
)
def test_dns_servers_of_every_vendor(attributes: tuple[bytes, bytes]) -> None:
    assert taken(*attributes).dns == (0x0A000001, 0x0A000002)


def test_several_attributes_in_one_envelope() -> None:
    inner = b"\x1c\x06\x0a\0\0\x01\x1d\x06\x0a\0\0\x02"
    assert taken(encode_attribute(26, b"\0\0\x01\x37" + inner)).dns == (0x0A000001, 0x0A000002)


def test_ms_chap_answers_lose_their_identifier() -> None:
    success = b"S=" + b"0123456789ABCDEF0123456789ABCDEF01234567"
    reply = taken(encode_vendor_attribute(311, 26, b"\x07" + success))
    assert reply.ms_chap2_success == success
    for value in (b"\x07E=691 R=1 V=3", b"E=691 R=1 V=3"):
        reply = taken(encode_vendor_attribute(311, 2, value), code=REJECT)
        assert reply.ms_chap_error == b"E=691 R=1 V=3"


@pytest.mark.parametrize(
    ("attribute", "problem"),
    [
        (encode_attribute(8, b"\x01\x02\x03"), "Framed-IP-Address"),
        (encode_attribute(9, b"\xff\x00\xff\x00"), "Framed-IP-Netmask"),
        (encode_attribute(27, b""), "Session-Timeout"),
        (encode_attribute(28, bytes(8)), "Idle-Timeout"),
        (text(22, "somewhere"), "Framed-Route"),
        (text(22, "0.0.0.0/0 192.0.2.1 1"), "Framed-Route"),
        (encode_attribute(250, b"x"), "attribute 250"),
        (encode_vendor_attribute(14988, 8, b"10M"), "attribute 8 of vendor 14988"),
        (encode_attribute(26, b"\0\0\0\x09\x01\x00"), "vendor 9"),
        (encode_vendor_attribute(311, 26, b"\x01S=short"), "MS-CHAP2-Success"),
        (encode_vendor_attribute(311, 2, b""), "MS-CHAP-Error"),
        (encode_vendor_attribute(311, 28, b"\x0a"), "MS-Primary-DNS-Server"),
    ],
)
def test_a_bad_attribute_is_named_and_the_others_count(attribute: bytes, problem: str) -> None:
    reply = taken(attribute, number(85, 60), attribute)
    assert reply.outcome is AccessOutcome.ACCEPT
    assert reply.interim_interval == 60
    assert len(reply.problems) == 2
    assert problem in reply.problems[0]
    assert replace(reply, interim_interval=None, attributes={}, problems=()) == AccessReply(
        AccessOutcome.ACCEPT
    )
    assert list(reply.attributes) == ["Acct-Interim-Interval"]


def test_one_bad_value_does_not_spoil_its_siblings() -> None:
    reply = taken(encode_attribute(8, b"\x01"), number(8, 0xC0000207))
    assert reply.framed_ip == 0xC0000207
    assert len(reply.problems) == 1


def test_what_a_server_sends_too_much_of_is_cut_and_told() -> None:
    routes = [text(22, f"10.0.{i}.0/24 0.0.0.0") for i in range(MAX_ROUTES + 1)]
    classes = [encode_attribute(25, bytes((i,))) for i in range(MAX_CLASSES + 1)]
    unknown = [encode_attribute(250, b"")] * (MAX_PROBLEMS + 3)
    reply = taken(*routes, *classes, *unknown)
    assert len(reply.routes) == MAX_ROUTES
    assert len(reply.classes) == MAX_CLASSES
    assert len(reply.problems) == MAX_PROBLEMS + 1
    assert reply.problems[-1] == "and 5 more"


@pytest.mark.parametrize(
    ("words", "network", "length"),
    [
        ("10.0.0.0/8 192.0.2.1 1", 0x0A000000, 8),
        ("10.1.2.3/24", 0x0A010200, 24),
        ("192.0.2.7/32 0.0.0.0 1 2 3", 0xC0000207, 32),
        ("  10.0.0.0/8\0", 0x0A000000, 8),
        ("10.0.0.0 192.0.2.1", 0x0A000000, 8),
        ("172.16.0.0 192.0.2.1", 0xAC100000, 16),
        ("192.168.5.0 192.0.2.1", 0xC0A80500, 24),
    ],
)
def test_routes(words: str, network: int, length: int) -> None:
    assert decode_route(words) == FramedRoute(network, length)


@pytest.mark.parametrize(
    "words",
    ["", "\0", "10.0.0/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.256/24", "10.0.0.0/-1", "::/0",
     "224.0.0.0", "0.0.0.0", "10.0.0.٣/24", "10.0.0.0/255.0.0.0", "0.0.0.0/0", "1.2.3.4.5/8"],
)  # fmt: skip
def test_what_is_no_route(words: str) -> None:
    with pytest.raises(ValueError, match="not a route"):
        decode_route(words)
