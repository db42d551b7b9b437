"""Proxy LCP and proxy authentication (RFC 2661 section 4.4.5)."""

from dataclasses import replace

import pytest

from l2tpns_core.ppp.config import AuthProtocol, LcpRenegotiation, ProxyLcp
from l2tpns_core.ppp.events import (
    AuthenticationRequested,
    ChapLogin,
    Login,
    MsChapV2Login,
    PapLogin,
)
from l2tpns_core.ppp.link import Link, Phase
from unit.ppp.wire import (
    ACK,
    CHAP,
    LCP,
    NAK,
    PAP,
    TERM_REQUEST,
    Sent,
    events,
    frame,
    make_link,
    opts,
    sent,
)

MD5, MSCHAP, PLAIN = AuthProtocol.CHAP_MD5, AuthProtocol.MSCHAP_V2, AuthProtocol.PAP
OUR_MAGIC, PEER_MAGIC = b"\xaa\xaa\xaa\xaa", b"\xbb\xbb\xbb\xbb"
RECEIVED = opts((1, b"\x05\x78"), (5, PEER_MAGIC), (7, b""), (8, b""))


def lcp_sent(auth: AuthProtocol) -> bytes:
    return opts((1, b"\x05\xd4"), (2, bytes(4)), (3, auth.value), (5, OUR_MAGIC))


def proxy_pap() -> ProxyLcp:
    return ProxyLcp(None, lcp_sent(PLAIN), RECEIVED, 3, b"u1", None, 77, b"wonder")


def proxy_chap(auth: AuthProtocol = MD5, size: int = 16) -> ProxyLcp:
    return ProxyLcp(None, lcp_sent(auth), RECEIVED, 2, b"u1", b"c" * 16, 77, b"r" * size)


def opened(proxy: ProxyLcp | None, *auth: AuthProtocol) -> Link:
    link = make_link(renegotiate=LcpRenegotiation.ON_MISMATCH, auth=auth or (PLAIN, MD5, MSCHAP))
    link.open(0.0, proxy)
    return link


def test_the_options_that_the_lac_agreed_on_are_taken_over() -> None:
    link = opened(proxy_pap())
    assert sent(link) == []
    assert (link.lcp_state.label, link.phase) == ("Opened", Phase.AUTHENTICATE)
    assert (link.peer_mru, link.ip_prefix) == (1400, b"\x21")
    assert (link.magic, link.peer_magic) == (0xAAAAAAAA, 0xBBBBBBBB)


@pytest.mark.parametrize(
    ("proxy", "protocol", "login"),
    [
        (proxy_pap(), PLAIN, PapLogin(b"wonder")),
        (proxy_chap(), MD5, ChapLogin(77, b"c" * 16, b"r" * 16)),
        (proxy_chap(MSCHAP, 49), MSCHAP, MsChapV2Login(77, b"c" * 16, b"r" * 49)),
    ],
)
def test_the_login_that_the_lac_collected_is_handed_over(
    proxy: ProxyLcp, protocol: AuthProtocol, login: Login
) -> None:
    link = opened(proxy)
    assert events(link) == [AuthenticationRequested(protocol, b"u1", login)]
    link.accept(0.1, b"hi")
    (answer,) = sent(link)
    if protocol is PLAIN:
        assert answer == Sent(PAP, 2, 77, b"\x02hi", compressed=True)
    else:
        assert answer == Sent(CHAP, 3, 77, b"hi", compressed=True)
    assert link.phase is Phase.NETWORK


def test_no_answer_to_a_request_is_awaited_after_a_takeover() -> None:
    link = opened(proxy_pap())
    own = opts((3, PLAIN.value), (5, OUR_MAGIC))
    link.receive(frame(LCP, ACK, 0, own), 0.0)
    link.receive(frame(LCP, NAK, 0, own), 0.0)
    assert (sent(link), link.lcp_state.label) == ([], "Opened")


def test_a_collected_login_that_is_refused_ends_the_link() -> None:
    link = opened(proxy_chap())
    link.reject(0.1)
    assert [s.code for s in sent(link)] == [4, TERM_REQUEST]


@pytest.mark.parametrize(
    "change",
    [
        {"auth_type": None},
        {"auth_type": 3},
        {"auth_type": 4},
        {"auth_name": None},
        {"auth_id": None},
        {"auth_response": None},
        {"auth_response": b"short"},
        {"auth_challenge": None},
        {"auth_challenge": b"c" * 254},
    ],
)
@pytest.mark.parametrize(("auth", "size"), [(MD5, 16), (MSCHAP, 49)])
def test_a_damaged_login_is_asked_for_again(
    change: dict[str, object], auth: AuthProtocol, size: int
) -> None:
    link = opened(replace(proxy_chap(auth, size), **change))  # type: ignore[arg-type]
    assert events(link) == []
    assert link.lcp_state.label == "Opened"
    assert [(s.protocol, s.code) for s in sent(link)] == [(CHAP, 1)]


def test_without_a_collected_pap_login_that_of_the_peer_is_awaited() -> None:
    link = opened(replace(proxy_pap(), auth_type=None))
    assert (sent(link), events(link)) == ([], [])
    link.receive(frame(PAP, 1, 5, b"\x02u1\x06wonder"), 0.0)
    assert len(events(link)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"last_sent_lcp": None},
        {"last_received_lcp": None},
        {"last_sent_lcp": b"\x03"},
        {"last_received_lcp": b"\x01\x01"},
        {"last_sent_lcp": opts((5, OUR_MAGIC))},
        {"last_sent_lcp": opts((3, b"\xc2\x27"))},
        {"last_sent_lcp": opts((3, PLAIN.value), (17, b"\x06\x4e"))},
        {"last_sent_lcp": opts((3, PLAIN.value), (5, b"short"))},
        {"last_received_lcp": opts((17, b"\x06\x4e"))},
        {"last_received_lcp": opts((1, b"\x00\x80"))},
        {"last_received_lcp": opts((5, OUR_MAGIC))},
    ],
)
def test_what_we_would_not_have_agreed_to_is_negotiated_anew(change: dict[str, object]) -> None:
    link = opened(replace(proxy_pap(), **change))  # type: ignore[arg-type]
    assert link.lcp_state.label == "Req-Sent"
    (request,) = sent(link)
    assert list(request.options) == [1, 3, 5]
    assert events(link) == []


def test_a_login_that_we_do_not_allow_is_negotiated_anew() -> None:
    assert opened(proxy_pap(), MD5).lcp_state.label == "Req-Sent"


def test_a_call_without_proxy_data_is_negotiated() -> None:
    assert opened(None).lcp_state.label == "Req-Sent"
