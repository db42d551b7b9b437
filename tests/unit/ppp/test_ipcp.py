"""IPCP on a link, packet by packet."""

import pytest

from l2tpns_core.ppp.config import AuthProtocol, NetworkConfig
from l2tpns_core.ppp.events import NetworkClosed, NetworkOpened
from l2tpns_core.ppp.link import Link
from unit.ppp.wire import (
    ACK,
    CHAP,
    IPCP,
    LCP,
    NAK,
    NETWORK,
    PROTO_REJECT,
    REJECT,
    REQUEST,
    TERM_ACK,
    TERM_REQUEST,
    Sent,
    events,
    frame,
    log_in,
    make_link,
    open_ipcp,
    open_lcp,
    opts,
    sent,
)

OURS, THEIRS = b"\x0a\x14\x00\x01", b"\x0a\x14\x01\x01"
DNS1, DNS2 = b"\x0a\x14\x00\x35", b"\x0a\x14\x00\x36"
ZERO = bytes(4)


def started(network: NetworkConfig = NETWORK, **settings: object) -> tuple[Link, Sent]:
    """A logged in link that has sent its IPCP request, and that request."""
    link = make_link(**settings)
    log_in(link)
    link.open_network(network, 0.0)
    (request,) = sent(link)
    return link, request


def answer(link: Link, *options: tuple[int, bytes], number: int = 1) -> Sent:
    link.receive(frame(IPCP, REQUEST, number, opts(*options)), 0.0)
    return sent(link)[-1]


def test_our_request_names_our_address() -> None:
    _, request = started()
    assert (request.protocol, request.code) == (IPCP, REQUEST)
    assert request.options == {3: OURS}


@pytest.mark.parametrize(
    ("option", "code", "value"),
    [
        ((3, THEIRS), ACK, THEIRS),
        ((3, ZERO), NAK, THEIRS),
        ((3, OURS), NAK, THEIRS),
        ((3, b"\xff\xff\xff\xff"), NAK, THEIRS),
        ((3, b"\x0a"), NAK, THEIRS),
        ((129, DNS1), ACK, DNS1),
        ((129, ZERO), NAK, DNS1),
        ((131, ZERO), NAK, DNS2),
        ((130, ZERO), REJECT, ZERO),
        ((132, ZERO), REJECT, ZERO),
        ((2, b"\x00\x2d\x0f\x01"), REJECT, b"\x00\x2d\x0f\x01"),
        ((1, bytes(8)), REJECT, bytes(8)),
    ],
)
def test_options_of_the_peer(option: tuple[int, bytes], code: int, value: bytes) -> None:
    link, _ = started()
    options = {3: THEIRS, option[0]: option[1]}
    got = answer(link, *options.items())
    assert got.code == code
    assert got.options[option[0]] == value


def test_name_servers_that_there_are_not_are_rejected() -> None:
    link, _ = started(NetworkConfig(NETWORK.local_ip, NETWORK.peer_ip))
    assert answer(link, (3, THEIRS), (129, ZERO), (131, ZERO)).options == {129: ZERO, 131: ZERO}


def test_a_peer_that_does_not_ask_for_an_address_is_told_to_once() -> None:
    link, _ = started()
    got = answer(link, (129, DNS1))
    assert (got.code, got.options) == (NAK, {3: THEIRS})
    assert answer(link, (129, DNS1), number=2).code == ACK


def test_a_peer_that_insists_on_another_address_is_rejected_in_the_end() -> None:
    link, _ = started(max_failure=2)
    codes = [answer(link, (3, OURS), number=number).code for number in range(4)]
    assert codes == [NAK, NAK, REJECT, REJECT]


def test_the_network_opens_when_both_sides_agree() -> None:
    link, request = started()
    link.receive(frame(IPCP, ACK, request.identifier, request.data), 0.0)
    assert events(link) == []
    answer(link, (3, THEIRS))
    assert events(link) == [NetworkOpened()]


def test_our_address_is_not_the_peers_to_choose() -> None:
    link, request = started(max_configure=3)
    for _ in range(3):
        link.receive(frame(IPCP, NAK, request.identifier, opts((3, DNS1))), 0.0)
        (request,) = sent(link)
        assert request.options == {3: OURS}
    link.receive(frame(IPCP, NAK, request.identifier, opts((3, DNS1))), 0.0)
    assert [s.code for s in sent(link)] == [TERM_REQUEST]
    assert events(link) == [NetworkClosed("negotiation does not converge")]
    link.receive(frame(IPCP, TERM_ACK, 9), 0.0)
    assert (events(link), link.ipcp_state.label) == ([], "Closed")


def test_a_peer_that_does_not_want_to_know_our_address_need_not() -> None:
    link, request = started()
    link.receive(frame(IPCP, REJECT, request.identifier, opts((3, OURS), (7, b""))), 0.0)
    (request,) = sent(link)
    assert request.options == {}


def test_a_peer_that_never_answers_is_reported_once() -> None:
    link, request = started(max_configure=3)
    for now in (3.0, 6.0):
        link.handle_timer(now)
        assert sent(link) == [request]
    link.handle_timer(9.0)
    assert (sent(link), events(link)) == ([], [NetworkClosed("no answer to IPCP")])


def test_a_chap_success_is_repeated_while_the_peer_shows_no_sign_of_having_it() -> None:
    link = make_link(auth=(AuthProtocol.CHAP_MD5,))
    open_lcp(link)
    (challenge,) = sent(link)
    link.receive(frame(CHAP, 2, challenge.identifier, b"\x10" + bytes(16) + b"u1"), 0.0)
    link.accept(0.0, b"hi")
    link.open_network(NETWORK, 0.0)
    first = sent(link)
    assert [s.code for s in first] == [3, REQUEST]
    link.handle_timer(3.0)
    assert sent(link) == first
    answer(link, (3, ZERO))
    link.handle_timer(6.0)
    assert sent(link) == first[1:]


@pytest.mark.parametrize("protocol", [b"\x80\x21", b"\x00\x21"])
def test_a_peer_that_rejects_ip_keeps_its_link(protocol: bytes) -> None:
    link, _ = started()
    link.receive(frame(LCP, PROTO_REJECT, 1, protocol + b"\x01\x01"), 0.0)
    assert events(link) == [NetworkClosed("peer rejects IP")]
    assert (link.ipcp_state.label, link.lcp_state.label) == ("Stopped", "Opened")


def test_a_peer_that_rejects_an_open_network_closes_it_once() -> None:
    link = make_link()
    open_ipcp(link)
    link.receive(frame(LCP, PROTO_REJECT, 1, b"\x80\x21\x01\x01"), 0.0)
    assert [s.code for s in sent(link)] == [TERM_REQUEST]
    assert events(link) == [NetworkClosed("peer rejects IP")]
    link.handle_timer(3.0)
    link.handle_timer(6.0)
    assert (events(link), link.ipcp_state.label) == ([], "Stopped")


def test_a_peer_may_close_ip_and_open_it_again() -> None:
    link = make_link()
    open_ipcp(link)
    link.receive(frame(IPCP, TERM_REQUEST, 4), 0.0)
    assert [(s.code, s.identifier) for s in sent(link)] == [(TERM_ACK, 4)]
    assert events(link) == [NetworkClosed("peer closed IPCP")]
    link.handle_timer(3.0)
    link.receive(frame(IPCP, REQUEST, 5, opts((3, THEIRS))), 4.0)
    request, ack = sent(link)
    assert ack.code == ACK
    link.receive(frame(IPCP, ACK, request.identifier, request.data), 4.0)
    assert events(link) == [NetworkOpened()]


def test_a_peer_that_negotiates_ip_anew_says_so() -> None:
    link = make_link()
    open_ipcp(link)
    link.receive(frame(IPCP, REQUEST, 5, opts((3, THEIRS))), 0.0)
    request, _ = sent(link)
    assert events(link) == [NetworkClosed("peer renegotiates IPCP", renegotiating=True)]
    link.receive(frame(IPCP, ACK, request.identifier, request.data), 0.0)
    assert events(link) == [NetworkOpened()]


def test_a_new_negotiation_asks_for_everything_again() -> None:
    link, request = started()
    answer(link)
    link.receive(frame(IPCP, REJECT, request.identifier, opts((3, OURS))), 0.0)
    (request,) = sent(link)
    answer(link, number=2)
    link.receive(frame(IPCP, ACK, request.identifier, request.data), 0.0)
    assert events(link) == [NetworkOpened()]
    link.receive(frame(IPCP, REQUEST, 5), 0.0)
    request, _ = sent(link)
    assert request.options == {3: OURS}
    link.receive(frame(IPCP, REQUEST, 6), 0.0)
    assert [s.code for s in sent(link)] == [NAK]


def test_the_last_request_before_the_network_starts_is_kept() -> None:
    link = make_link()
    log_in(link)
    link.receive(frame(IPCP, TERM_REQUEST, 3), 0.0)
    link.receive(frame(IPCP, REQUEST, 4, opts((3, ZERO))), 0.0)
    link.receive(frame(IPCP, REQUEST, 5, opts((3, ZERO))), 0.0)
    assert sent(link) == []
    link.open_network(NETWORK, 1.0)
    assert [(s.code, s.identifier) for s in sent(link)] == [(REQUEST, 1), (NAK, 5)]


def test_ip_before_the_login_is_ignored() -> None:
    link = make_link()
    open_lcp(link)
    link.receive(frame(IPCP, REQUEST, 4, opts((3, ZERO))), 0.0)
    link.open_network(NETWORK, 0.0)
    assert (sent(link), link.ipcp_state.label) == ([], "Initial")


def test_the_network_is_opened_only_once() -> None:
    link, _ = started()
    link.open_network(NETWORK, 0.0)
    assert sent(link) == []
