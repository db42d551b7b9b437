"""PAP, CHAP-MD5 and MS-CHAPv2 on a link, packet by packet."""

import pytest

from l2tpns_core.ppp.config import AuthProtocol
from l2tpns_core.ppp.events import (
    AuthenticationRequested,
    ChapLogin,
    CloseReason,
    LinkClosed,
    MsChapV2Login,
    PapLogin,
)
from l2tpns_core.ppp.link import Link, Phase
from unit.ppp.wire import (
    ACK,
    CHAP,
    LCP,
    NETWORK,
    PAP,
    REQUEST,
    TERM_ACK,
    TERM_REQUEST,
    Sent,
    events,
    frame,
    log_in,
    make_link,
    open_lcp,
    opts,
    sent,
)

PAP_LOGIN = b"\x02u1\x06wonder"
CHALLENGE, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4
MD5, MSCHAP, PLAIN = AuthProtocol.CHAP_MD5, AuthProtocol.MSCHAP_V2, AuthProtocol.PAP


def challenge(link: Link, now: float = 0.0) -> Sent:
    open_lcp(link, now)
    got = sent(link)
    assert [(s.protocol, s.code) for s in got] == [(CHAP, CHALLENGE)]
    return got[0]


def respond(
    link: Link, identifier: int, value: bytes = bytes(16), name: bytes = b"u1", now: float = 0.0
) -> list[AuthenticationRequested]:
    link.receive(frame(CHAP, RESPONSE, identifier, bytes((len(value),)) + value + name), now)
    return [event for event in events(link) if isinstance(event, AuthenticationRequested)]


def test_a_pap_login_is_handed_over_and_acknowledged() -> None:
    link = make_link()
    open_lcp(link)
    assert sent(link) == []
    link.receive(frame(PAP, 1, 9, PAP_LOGIN), 0.0)
    assert events(link) == [AuthenticationRequested(PLAIN, b"u1", PapLogin(b"wonder"))]
    assert sent(link) == []
    link.accept(0.1, b"hi")
    assert sent(link) == [Sent(PAP, 2, 9, b"\x02hi")]
    assert link.phase is Phase.NETWORK


def test_a_repeated_pap_request_is_answered_once_and_then_again_each_time() -> None:
    link = make_link()
    open_lcp(link)
    for number in (9, 10):
        link.receive(frame(PAP, 1, number, PAP_LOGIN), 0.0)
    assert len(events(link)) == 1
    link.accept(0.1, b"hi")
    link.receive(frame(PAP, 1, 11, PAP_LOGIN), 0.2)
    assert [(s.code, s.identifier, s.data) for s in sent(link)] == [
        (2, 10, b"\x02hi"),
        (2, 11, b"\x02hi"),
    ]
    assert events(link) == []


def test_a_refused_pap_login_ends_the_link() -> None:
    link = make_link()
    open_lcp(link)
    link.receive(frame(PAP, 1, 9, PAP_LOGIN), 0.0)
    events(link)
    link.reject(0.1, b"wrong")
    assert [(s.protocol, s.code) for s in sent(link)] == [(PAP, 3), (LCP, TERM_REQUEST)]
    link.receive(frame(PAP, 1, 10, PAP_LOGIN), 0.2)
    link.receive(frame(LCP, TERM_ACK, 2), 0.2)
    assert events(link) == [LinkClosed(CloseReason.AUTHENTICATION_FAILED, "login refused")]


def test_a_client_may_try_again_when_it_is_allowed_to() -> None:
    link = make_link(max_auth_failures=2)
    open_lcp(link)
    for number, codes in ((1, [(PAP, 3)]), (2, [(PAP, 3), (LCP, TERM_REQUEST)])):
        link.receive(frame(PAP, 1, number, PAP_LOGIN), 0.0)
        assert len(events(link)) == 1
        link.reject(0.1)
        assert [(s.protocol, s.code) for s in sent(link)] == codes


def test_a_second_chap_try_has_a_new_challenge() -> None:
    link = make_link(auth=(MD5,), max_auth_failures=2)
    first = challenge(link)
    respond(link, first.identifier)
    link.reject(0.1)
    failure, second = sent(link)
    assert (failure.code, failure.identifier) == (FAILURE, first.identifier)
    assert second.identifier != first.identifier
    assert second.data != first.data
    assert respond(link, first.identifier) == []
    assert len(respond(link, second.identifier)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_chap_challenge_has_16_to_32_bytes_and_our_name(seed: int) -> None:
    link = make_link(auth=(MD5,))
    link.random(seed)
    got = challenge(link)
    length = got.data[0]
    assert 16 <= length <= 32
    assert got.data[1 + length :] == b"lns"


def test_a_chap_login_is_handed_over_with_its_challenge() -> None:
    link = make_link(auth=(MD5,))
    asked = challenge(link)
    value = bytes(range(16))
    requests = respond(link, asked.identifier, value, b"user@isp")
    own = asked.data[1 : 1 + asked.data[0]]
    login = ChapLogin(asked.identifier, own, value)
    assert requests == [AuthenticationRequested(MD5, b"user@isp", login)]
    assert respond(link, asked.identifier, value) == []
    link.accept(0.1, b"welcome")
    assert sent(link) == [Sent(CHAP, SUCCESS, asked.identifier, b"welcome")]
    assert respond(link, asked.identifier, value) == []
    assert sent(link) == [Sent(CHAP, SUCCESS, asked.identifier, b"welcome")]


def test_an_mschap_v2_login_is_handed_over_whole() -> None:
    link = make_link(auth=(MSCHAP,))
    asked = challenge(link)
    assert asked.data[0] == 16
    value = bytes(range(49))
    requests = respond(link, asked.identifier, value)
    login = MsChapV2Login(asked.identifier, asked.data[1:17], value)
    assert requests == [AuthenticationRequested(MSCHAP, b"u1", login)]
    link.accept(0.1, b"S=ABC")
    assert sent(link) == [Sent(CHAP, SUCCESS, asked.identifier, b"S=ABC")]


def test_an_mschap_v2_failure_is_passed_through() -> None:
    link = make_link(auth=(MSCHAP,))
    asked = challenge(link)
    respond(link, asked.identifier, bytes(49))
    link.reject(0.1, b"E=691 R=0")
    assert sent(link)[0] == Sent(CHAP, FAILURE, asked.identifier, b"E=691 R=0")


@pytest.mark.parametrize(("auth", "size"), [(MD5, 49), (MD5, 15), (MD5, 0), (MSCHAP, 16)])
def test_a_response_of_the_wrong_size_is_dropped(auth: AuthProtocol, size: int) -> None:
    link = make_link(auth=(auth,))
    asked = challenge(link)
    assert respond(link, asked.identifier, bytes(size)) == []
    assert link.discarded == 1


def test_a_response_to_another_challenge_is_ignored() -> None:
    link = make_link(auth=(MD5,))
    asked = challenge(link)
    assert respond(link, (asked.identifier + 1) % 256) == []
    assert link.discarded == 0


@pytest.mark.parametrize("code", [CHALLENGE, SUCCESS, FAILURE, 9])
def test_other_authentication_packets_of_the_peer_are_ignored(code: int) -> None:
    link = make_link(auth=(MD5, PLAIN))
    asked = challenge(link)
    link.receive(frame(CHAP, code, asked.identifier, b"\x10" + bytes(16)), 0.0)
    link.receive(frame(PAP, code + 1, 1, PAP_LOGIN), 0.0)
    assert (events(link), sent(link)) == ([], [])


def test_a_challenge_is_repeated_unchanged_and_then_given_up() -> None:
    link = make_link(auth=(MD5,), chap_retry_s=3.0, chap_max_tries=3)
    asked = challenge(link)
    for now in (3.0, 6.0):
        assert link.get_timer() == now
        link.handle_timer(now)
        assert sent(link) == [asked]
    link.handle_timer(9.0)
    assert [s.code for s in sent(link)] == [TERM_REQUEST]
    link.receive(frame(LCP, TERM_ACK, 2), 9.1)
    assert events(link)[-1] == LinkClosed(
        CloseReason.AUTHENTICATION_TIMEOUT, "no answer to CHAP challenge"
    )


def test_a_login_that_does_not_come_in_time_ends_the_link() -> None:
    link = make_link(login_timeout_s=20.0, echo_interval_s=0.0)
    open_lcp(link)
    assert link.get_timer() == 20.0
    link.handle_timer(20.0)
    link.receive(frame(LCP, TERM_ACK, 2), 20.1)
    assert events(link) == [LinkClosed(CloseReason.AUTHENTICATION_TIMEOUT, "no login in time")]


def test_authentication_before_lcp_is_up_is_ignored() -> None:
    link = make_link()
    link.open(0.0)
    link.receive(frame(PAP, 1, 9, PAP_LOGIN), 0.0)
    assert events(link) == []
    open_by_hand(link)
    assert events(link) == []


def open_by_hand(link: Link) -> None:
    """Bring LCP of an open link up, the peer's half first."""
    request = sent(link)[0]
    link.receive(frame(LCP, REQUEST, 1), 0.0)
    link.receive(frame(LCP, ACK, request.identifier, request.data), 0.0)


@pytest.mark.parametrize("size", [6, 600])
def test_a_pap_request_that_overtakes_the_last_ack_is_kept(size: int) -> None:
    link = make_link()
    link.open(0.0)
    request = sent(link)[0]
    link.receive(frame(LCP, REQUEST, 1), 0.0)
    link.receive(frame(PAP, 1, 9, PAP_LOGIN.ljust(size, b"\0")), 0.0)
    assert events(link) == []
    link.receive(frame(LCP, ACK, request.identifier, request.data), 0.0)
    assert len(events(link)) == (1 if size == 6 else 0)


def test_a_malformed_pap_request_that_was_kept_does_no_harm() -> None:
    link = make_link()
    link.open(0.0)
    request = sent(link)[0]
    link.receive(frame(LCP, REQUEST, 1), 0.0)
    link.receive(frame(PAP, 1, 9, b"\xff"), 0.0)
    link.receive(frame(LCP, ACK, request.identifier, request.data), 0.0)
    assert (events(link), link.discarded) == ([], 1)


def test_a_chap_response_before_lcp_is_up_is_not_kept() -> None:
    link = make_link(auth=(MD5,))
    link.open(0.0)
    request = sent(link)[0]
    link.receive(frame(LCP, REQUEST, 1), 0.0)
    for number in range(256):
        link.receive(frame(CHAP, RESPONSE, number, b"\x10" + bytes(16) + b"u1"), 0.0)
    link.receive(frame(LCP, ACK, request.identifier, request.data), 0.0)
    assert events(link) == []


def test_pap_instead_of_chap_is_taken_where_pap_is_allowed() -> None:
    link = make_link(auth=(MD5, PLAIN))
    asked = challenge(link)
    link.receive(frame(PAP, 1, 9, PAP_LOGIN), 0.0)
    assert events(link) == [AuthenticationRequested(PLAIN, b"u1", PapLogin(b"wonder"))]
    assert link.auth_protocol is PLAIN
    assert respond(link, asked.identifier) == []
    link.accept(0.1)
    assert [(s.protocol, s.code) for s in sent(link)] == [(PAP, 2)]


def test_pap_instead_of_chap_is_ignored_where_pap_is_not_allowed() -> None:
    link = make_link(auth=(MD5,))
    asked = challenge(link)
    link.receive(frame(PAP, 1, 9, PAP_LOGIN), 0.0)
    assert (events(link), sent(link)) == ([], [])
    assert len(respond(link, asked.identifier)) == 1


@pytest.mark.parametrize("verdict", [False, True])
def test_pap_beside_a_chap_login_is_ignored(verdict: bool) -> None:
    link = make_link(auth=(MD5, PLAIN))
    respond(link, challenge(link).identifier)
    if verdict:
        link.accept(0.0)
        sent(link)
    link.receive(frame(PAP, 1, 9, PAP_LOGIN), 0.0)
    assert (events(link), sent(link)) == ([], [])
    assert link.auth_protocol is MD5


def test_chap_instead_of_pap_is_ignored() -> None:
    link = make_link(auth=(PLAIN, MD5))
    open_lcp(link)
    assert respond(link, 0) == []


def test_a_verdict_that_nobody_waits_for_is_ignored() -> None:
    link = make_link()
    link.accept(0.0)
    link.reject(0.0)
    open_lcp(link)
    link.accept(0.0)
    link.reject(0.0)
    assert (sent(link), link.phase) == ([], Phase.AUTHENTICATE)


def rechallenged(**settings: object) -> tuple[Link, Sent]:
    """A CHAP link that is up and has just been challenged again."""
    link = make_link(auth=(MD5,), rechallenge_s=100.0, echo_interval_s=0.0, **settings)
    respond(link, challenge(link).identifier)
    link.accept(0.0)
    link.open_network(NETWORK, 0.0)
    request = sent(link)[-1]
    link.receive(frame(request.protocol, ACK, request.identifier, request.data), 0.0)
    link.receive(frame(request.protocol, REQUEST, 1, opts((3, b"\x0a\x14\x01\x01"))), 0.0)
    events(link)
    sent(link)
    at = link.get_timer()
    assert at is not None
    assert 100.0 <= at < 125.0
    link.handle_timer(at)
    again = sent(link)[0]
    assert again.code == CHALLENGE
    return link, again


def test_a_rechallenge_that_is_answered_leaves_the_link_up() -> None:
    link, again = rechallenged(dead_after_s=0.0)
    requests = respond(link, again.identifier, now=130.0)
    assert [request.repeated for request in requests] == [True]
    link.accept(130.0)
    assert [s.code for s in sent(link)] == [SUCCESS]
    assert (link.phase, link.ipcp_state.label) == (Phase.NETWORK, "Opened")
    at = link.get_timer()
    assert at is not None
    assert 230.0 <= at < 255.0


def test_a_rechallenge_that_fails_ends_the_link_at_once() -> None:
    link, again = rechallenged(max_auth_failures=9)
    respond(link, again.identifier, now=130.0)
    link.reject(130.0)
    assert [s.code for s in sent(link)] == [FAILURE, TERM_REQUEST]


def test_a_rechallenge_that_is_not_answered_ends_the_link() -> None:
    link, _ = rechallenged(chap_max_tries=1)
    link.handle_timer(140.0)
    assert [s.code for s in sent(link)] == [TERM_REQUEST]
    assert link.phase is Phase.TERMINATE


def test_pap_is_not_rechallenged() -> None:
    link = make_link(rechallenge_s=100.0, echo_interval_s=0.0, dead_after_s=0.0)
    log_in(link)
    assert link.get_timer() is None


def test_no_password_shows_in_an_event() -> None:
    event = AuthenticationRequested(PLAIN, b"u1", PapLogin(b"wonder"))
    assert "wonder" not in repr(event)
    assert "secret" not in repr(ChapLogin(1, b"secret", b"secret"))
    assert "secret" not in repr(MsChapV2Login(1, b"secret", b"secret"))
