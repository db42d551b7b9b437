"""LCP of a link, packet by packet."""

import pytest

from l2tpns_core.ppp.config import AuthProtocol
from l2tpns_core.ppp.events import CloseReason, LinkClosed, LinkRestarted
from l2tpns_core.ppp.link import MAX_QUEUED_FRAMES, MAX_REJECTS, REJECT_WINDOW_S, Link, Phase
from unit.ppp.wire import (
    ACK,
    CHAP,
    CODE_REJECT,
    DISCARD,
    ECHO_REPLY,
    ECHO_REQUEST,
    IDENTIFICATION,
    IPCP,
    LCP,
    NAK,
    PAP,
    PROTO_REJECT,
    REJECT,
    REQUEST,
    TERM_ACK,
    TERM_REQUEST,
    TIME_REMAINING,
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

MAGIC = (5, b"\x01\x02\x03\x04")


def start(link: Link) -> Sent:
    link.open(0.0)
    return sent(link)[0]


def answer(link: Link, *options: tuple[int, bytes], number: int = 1) -> Sent:
    """What the link answers to a Configure-Request with these options."""
    link.receive(frame(LCP, REQUEST, number, opts(*options)), 0.0)
    return sent(link)[-1]


def closed(link: Link) -> LinkClosed:
    found = [event for event in events(link) if isinstance(event, LinkClosed)]
    assert len(found) == 1
    return found[0]


def test_the_first_request_asks_for_mru_authentication_and_magic() -> None:
    request = start(make_link(auth=(AuthProtocol.CHAP_MD5, AuthProtocol.PAP)))
    assert (request.protocol, request.code) == (LCP, REQUEST)
    assert list(request.options) == [1, 3, 5]
    assert request.options[1] == (1462).to_bytes(2, "big")
    assert request.options[3] == b"\xc2\x23\x05"
    assert request.options[5] != bytes(4)


@pytest.mark.parametrize(
    ("option", "code", "value"),
    [
        ((1, b"\x02\x40"), ACK, b"\x02\x40"),
        ((1, b"\xff\xff"), ACK, b"\xff\xff"),
        ((1, b"\x02\x3f"), NAK, b"\x02\x40"),
        ((1, b"\x00\x00"), NAK, b"\x02\x40"),
        ((1, b"\x05"), NAK, b"\x02\x40"),
        ((2, b"\x00\x0a\x00\x00"), ACK, b"\x00\x0a\x00\x00"),
        ((2, b"\x00"), NAK, bytes(4)),
        ((3, b"\xc0\x23"), REJECT, b"\xc0\x23"),
        ((4, b"\xc0\x25\x00\x00\x00\x64"), REJECT, b"\xc0\x25\x00\x00\x00\x64"),
        ((7, b""), ACK, b""),
        ((7, b"x"), NAK, b""),
        ((8, b""), ACK, b""),
        ((13, b"\x06"), REJECT, b"\x06"),
        ((17, b"\x06\x4e"), REJECT, b"\x06\x4e"),
        ((18, b""), REJECT, b""),
        ((19, b"\x02\x0a\x00\x00\x01"), REJECT, b"\x02\x0a\x00\x00\x01"),
        ((200, b"?"), REJECT, b"?"),
    ],
)
def test_options_of_the_peer(option: tuple[int, bytes], code: int, value: bytes) -> None:
    link = make_link()
    start(link)
    got = answer(link, option)
    assert (got.code, got.identifier, got.options) == (code, 1, {option[0]: value})


@pytest.mark.parametrize("value", [bytes(4), b"\x01\x02"])
def test_a_bad_magic_number_is_answered_with_a_good_one(value: bytes) -> None:
    link = make_link()
    start(link)
    got = answer(link, (5, value))
    assert got.code == NAK
    assert len(got.options[5]) == 4
    assert got.options[5] != bytes(4)


def test_what_is_refused_outright_is_named_before_what_is_only_wrong() -> None:
    link = make_link()
    start(link)
    assert answer(link, (1, bytes(2)), (17, b"ab"), MAGIC).options == {17: b"ab"}


def test_an_option_that_keeps_being_wrong_is_rejected_in_the_end() -> None:
    link = make_link(max_failure=3)
    start(link)
    codes = [answer(link, (1, bytes(2)), MAGIC, number=number).code for number in range(5)]
    assert codes == [NAK, NAK, NAK, REJECT, REJECT]
    assert answer(link, MAGIC).code == ACK


def test_the_options_of_the_peer_take_effect() -> None:
    link = make_link()
    open_lcp(link, 0.0, (1, b"\x05\x78"), MAGIC, (7, b""))
    assert (link.peer_mru, link.peer_magic) == (1400, 0x01020304)
    assert link.ip_prefix == b"\xff\x03\x21"
    assert link.magic != 0


def test_options_that_the_peer_leaves_out_have_their_defaults() -> None:
    link = make_link()
    open_lcp(link)
    assert (link.peer_mru, link.ip_prefix) == (1500, b"\xff\x03\x00\x21")


def test_our_request_goes_out_again_before_the_answer_to_the_first_of_the_peer() -> None:
    link = make_link()
    request = start(link)
    link.receive(frame(LCP, REQUEST, 1, opts(MAGIC)), 0.2)
    got = sent(link)
    assert got[0] == request
    assert [s.code for s in got] == [REQUEST, ACK]
    link.receive(frame(LCP, REQUEST, 2, opts(MAGIC)), 0.3)
    assert [s.code for s in sent(link)] == [ACK]


def test_a_second_answer_to_the_same_request_is_ignored() -> None:
    link = make_link()
    request = start(link)
    for _ in range(3):
        link.receive(frame(LCP, ACK, request.identifier, request.data), 0.0)
        assert link.lcp_state.label == "Ack-Rcvd"
    assert sent(link) == []


@pytest.mark.parametrize("change", ["identifier", "options"])
def test_an_ack_of_something_else_is_ignored(change: str) -> None:
    link = make_link()
    request = start(link)
    number = request.identifier + (change == "identifier")
    data = request.data if change == "identifier" else request.data[:-1] + b"\0"
    link.receive(frame(LCP, ACK, number, data), 0.0)
    assert link.lcp_state.label == "Req-Sent"


def refuse(link: Link, code: int, request: Sent, *options: tuple[int, bytes]) -> Sent | None:
    """Answer our request with a Nak or Reject; return our next one."""
    link.receive(frame(LCP, code, request.identifier, opts(*options)), 0.0)
    got = sent(link)
    return got[0] if got else None


@pytest.mark.parametrize(
    ("mru", "asked"), [(1400, 1400), (576, 576), (1500, 1462), (100, 1462), (0, 1462)]
)
def test_a_smaller_mru_is_taken_from_a_nak(mru: int, asked: int) -> None:
    link = make_link()
    again = refuse(link, NAK, start(link), (1, mru.to_bytes(2, "big")))
    assert again is not None
    assert again.options[1] == asked.to_bytes(2, "big")


def test_rejected_options_are_not_asked_for_again() -> None:
    link = make_link()
    request = start(link)
    again = refuse(link, REJECT, request, (1, request.options[1]), (5, request.options[5]))
    assert again is not None
    assert list(again.options) == [3]
    assert again.identifier != request.identifier
    assert link.magic == 0


def test_a_nak_of_an_option_that_we_never_asked_for_changes_nothing() -> None:
    link = make_link()
    request = start(link)
    again = refuse(link, NAK, request, (7, b""), (1, b"x"))
    assert again is not None
    assert again.options == request.options


def test_a_rejected_magic_number_is_not_brought_back_by_a_nak() -> None:
    link = make_link()
    request = start(link)
    again = refuse(link, REJECT, request, (5, request.options[5]))
    assert again is not None
    again = refuse(link, NAK, again, MAGIC)
    assert again is not None
    assert 5 not in again.options


def test_a_nak_with_an_unknown_protocol_leads_to_the_next_of_our_list() -> None:
    link = make_link(auth=(AuthProtocol.MSCHAP_V2, AuthProtocol.PAP))
    again = refuse(link, NAK, start(link), (3, b"\xc2\x27"))
    assert again is not None
    assert again.options[3] == b"\xc0\x23"


def test_a_protocol_that_was_refused_is_not_taken_up_again() -> None:
    link = make_link(auth=(AuthProtocol.CHAP_MD5, AuthProtocol.PAP))
    again = refuse(link, NAK, start(link), (3, b"\xc0\x23"))
    assert again is not None
    over = refuse(link, NAK, again, (3, b"\xc2\x23\x05"))
    assert over is not None
    assert over.code == TERM_REQUEST


def test_a_peer_that_refuses_for_ever_is_given_up() -> None:
    link = make_link(max_configure=4)
    request: Sent | None = start(link)
    rounds = 0
    while request is not None and request.code == REQUEST:
        request = refuse(link, NAK, request, MAGIC)
        rounds += 1
    assert rounds == 5
    link.receive(frame(LCP, TERM_ACK, 1), 0.0)
    assert closed(link).text == "negotiation does not converge"


def test_a_looped_line_is_noticed() -> None:
    link = make_link()
    link.open(0.0)
    rounds = 0
    while link.phase is not Phase.DEAD and rounds < 50:
        rounds += 1
        for raw in link.frames_to_send():
            link.receive(raw, 0.0)
    assert rounds < 10
    assert closed(link).reason is CloseReason.LOOPED


def test_echoes_that_come_back_mean_a_looped_line() -> None:
    link = make_link()
    magic = open_lcp(link, 0.0, MAGIC)
    sent(link)
    for _ in range(4):
        link.receive(frame(LCP, ECHO_REQUEST, 1, magic.to_bytes(4, "big")), 0.0)
    link.receive(frame(LCP, ECHO_REQUEST, 1, MAGIC[1]), 0.0)
    assert [s.code for s in sent(link)] == [ECHO_REPLY]
    for _ in range(5):
        link.receive(frame(LCP, ECHO_REQUEST, 1, magic.to_bytes(4, "big")), 0.0)
    assert sent(link) == []
    assert closed(link).reason is CloseReason.LOOPED


def test_an_echo_is_answered_with_our_magic_number() -> None:
    link = make_link()
    magic = open_lcp(link)
    link.receive(frame(LCP, ECHO_REQUEST, 42, MAGIC[1] + b"ping"), 0.0)
    got = sent(link)[-1]
    assert (got.code, got.identifier) == (ECHO_REPLY, 42)
    assert got.data == magic.to_bytes(4, "big") + b"ping"


def test_an_echo_reply_is_no_larger_than_the_mru_of_the_peer() -> None:
    link = make_link()
    open_lcp(link, 0.0, (1, b"\x02\x40"))
    link.receive(frame(LCP, ECHO_REQUEST, 42, bytes(9000)), 0.0)
    assert len(sent(link)[-1].data) == 576 - 4


def test_an_echo_before_lcp_is_up_is_not_answered() -> None:
    link = make_link()
    start(link)
    link.receive(frame(LCP, ECHO_REQUEST, 42, MAGIC[1]), 0.0)
    assert sent(link) == []


@pytest.mark.parametrize("code", [DISCARD, IDENTIFICATION, TIME_REMAINING, ECHO_REPLY])
def test_some_packets_are_taken_in_silence(code: int) -> None:
    link = make_link()
    open_lcp(link)
    sent(link)
    link.receive(frame(LCP, code, 3, MAGIC[1] + b"pppd"), 0.0)
    assert sent(link) == []
    assert link.lcp_state.label == "Opened"


def test_an_unknown_code_is_rejected_within_the_mru_of_the_peer() -> None:
    link = make_link()
    open_lcp(link, 0.0, (1, b"\x02\x40"))
    sent(link)
    link.receive(frame(LCP, 99, 3, bytes(2000)), 0.0)
    got = sent(link)[0]
    assert got.code == CODE_REJECT
    assert got.data[:4] == b"\x63\x03\x07\xd4"
    assert len(got.data) == 576 - 4


def test_rejects_are_rate_bounded() -> None:
    link = make_link()
    log_in(link)
    for number in range(50):
        link.receive(frame(LCP, 99, number), 1.0)
        link.receive(b"\x80\x57\x01\x01\x00\x04", 1.0)
    assert len(sent(link)) == MAX_REJECTS
    for number in range(50):
        link.receive(frame(LCP, 99, number), 1.0 + REJECT_WINDOW_S + 10)
    assert len(sent(link)) == MAX_REJECTS


def test_a_code_reject_is_never_answered() -> None:
    link = make_link()
    open_lcp(link)
    sent(link)
    for data in (b"", b"\x63\x01\x00\x04", b"\x09\x01\x00\x04"):
        link.receive(frame(LCP, CODE_REJECT, 3, data), 0.0)
    assert sent(link) == []
    assert link.lcp_state.label == "Opened"


def test_a_peer_that_rejects_a_vital_code_loses_the_link() -> None:
    link = make_link()
    start(link)
    link.receive(frame(LCP, CODE_REJECT, 3, b"\x01\x01\x00\x04"), 0.0)
    assert closed(link).reason is CloseReason.NEGOTIATION_FAILED
    assert link.phase is Phase.DEAD


@pytest.mark.parametrize("protocol", [0x8057, 0x80FD, 0x8281, 0x0057, 0x00FD, 0x0003])
def test_unknown_protocols_are_rejected_once_the_peer_is_logged_in(protocol: int) -> None:
    link = make_link()
    information = b"\x01\x07\x00\x04"
    raw = b"\xff\x03" + protocol.to_bytes(2, "big") + information
    link.receive(raw, 0.0)
    open_lcp(link)
    sent(link)
    link.receive(raw, 0.0)
    assert sent(link) == []
    other = make_link()
    log_in(other)
    other.receive(raw, 0.0)
    got = sent(other)[0]
    assert (got.protocol, got.code) == (LCP, PROTO_REJECT)
    assert got.data == protocol.to_bytes(2, "big") + information


def test_a_protocol_reject_is_no_larger_than_the_mru_of_the_peer() -> None:
    link = make_link()
    log_in(link, 0.0, (1, b"\x02\x40"))
    link.receive(b"\xff\x03\x80\x57" + bytes(1500), 0.0)
    assert len(sent(link)[0].data) == 576 - 4


def test_ip_packets_are_none_of_the_links_business() -> None:
    link = make_link()
    log_in(link)
    link.receive(b"\xff\x03\x00\x21" + bytes(40), 0.0)
    assert sent(link) == []


@pytest.mark.parametrize("protocol", [LCP, PAP, CHAP])
def test_a_peer_that_rejects_lcp_or_the_login_loses_the_link(protocol: int) -> None:
    link = make_link()
    open_lcp(link)
    sent(link)
    link.receive(frame(LCP, PROTO_REJECT, 1, protocol.to_bytes(2, "big") + b"\x01\x01"), 0.0)
    assert sent(link)[0].code == TERM_REQUEST
    assert link.phase is Phase.TERMINATE
    link.handle_timer(3.0)
    link.handle_timer(6.0)
    assert closed(link).reason is CloseReason.NEGOTIATION_FAILED


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x57", b"\x80\x21"])
def test_other_protocol_rejects_do_no_harm(data: bytes) -> None:
    link = make_link()
    open_lcp(link)
    sent(link)
    link.receive(frame(LCP, PROTO_REJECT, 1, data), 0.0)
    assert (sent(link), link.lcp_state.label) == ([], "Opened")


def test_a_protocol_reject_before_lcp_is_up_is_ignored() -> None:
    link = make_link()
    start(link)
    link.receive(frame(LCP, PROTO_REJECT, 1, b"\xc0\x21"), 0.0)
    assert link.lcp_state.label == "Req-Sent"


def test_an_administrative_close_is_acknowledged_by_the_peer() -> None:
    link = make_link()
    open_ipcp(link)
    link.close(5.0, "bye")
    assert link.phase is Phase.TERMINATE
    request = sent(link)[0]
    assert request.code == TERM_REQUEST
    assert events(link) == []
    link.close(5.0, "again")
    link.receive(frame(LCP, TERM_ACK, request.identifier), 5.1)
    assert events(link) == [LinkClosed(CloseReason.LOCAL, "bye")]
    assert link.get_timer() is None


def test_an_administrative_close_ends_without_the_peer_too() -> None:
    link = make_link(max_terminate=2)
    open_ipcp(link)
    link.close(5.0)
    first = sent(link)[0]
    link.handle_timer(8.0)
    assert sent(link) == [first]
    link.handle_timer(11.0)
    assert sent(link) == []
    assert events(link) == [LinkClosed(CloseReason.LOCAL, "")]


def test_a_link_that_never_opened_can_be_closed() -> None:
    link = make_link()
    link.close(0.0, "no call")
    link.close(0.0, "no call")
    link.open(1.0)
    assert events(link) == [LinkClosed(CloseReason.LOCAL, "no call")]
    assert sent(link) == []


def test_an_open_link_cannot_be_opened_again() -> None:
    link = make_link()
    start(link)
    link.open(1.0)
    assert sent(link) == []


def test_a_peer_that_terminates_twice_is_acknowledged_twice() -> None:
    link = make_link()
    open_ipcp(link)
    for number in (7, 8):
        link.receive(frame(LCP, TERM_REQUEST, number), 0.0)
    assert [(s.code, s.identifier) for s in sent(link)] == [(TERM_ACK, 7), (TERM_ACK, 8)]
    assert closed(link).reason is CloseReason.PEER_TERMINATED
    phases = [link.phase]
    link.handle_timer(3.0)
    phases.append(link.phase)
    assert phases == [Phase.TERMINATE, Phase.DEAD]
    assert events(link) == []


def test_a_peer_that_terminates_before_lcp_is_up_may_begin_again() -> None:
    link = make_link()
    start(link)
    link.receive(frame(LCP, TERM_REQUEST, 7), 0.0)
    assert [s.code for s in sent(link)] == [TERM_ACK]
    assert events(link) == []
    assert answer(link, MAGIC).code == ACK


@pytest.mark.parametrize(
    ("code", "data", "codes"),
    [
        (REQUEST, opts(MAGIC), [REQUEST, ACK]),
        (REQUEST, opts((17, b"ab")), [REQUEST, REJECT]),
        (TERM_ACK, b"", [REQUEST]),
    ],
)
def test_a_new_negotiation_takes_everything_down(code: int, data: bytes, codes: list[int]) -> None:
    link = make_link()
    open_ipcp(link)
    magic = link.magic
    link.receive(frame(LCP, code, 50, data), 9.0)
    assert [s.code for s in sent(link)] == codes
    assert events(link) == [LinkRestarted()]
    assert (link.phase, link.ipcp_state.label) == (Phase.ESTABLISH, "Initial")
    assert link.magic != magic
    assert link.auth_protocol is None
    assert link.heard_at is None
    assert link.quality is None


def test_a_peer_that_only_ever_restarts_does_not_put_off_the_login_timeout() -> None:
    link = make_link(login_timeout_s=60.0)
    now = 0.0
    open_lcp(link)
    while link.phase is not Phase.TERMINATE:
        now += 1.0
        assert now < 61.5
        link.handle_timer(now)
        link.receive(frame(LCP, REQUEST, int(now), opts(MAGIC)), now)
        for request in [s for s in sent(link) if s.code == REQUEST]:
            link.receive(frame(LCP, ACK, request.identifier, request.data), now)


def test_lcp_that_takes_too_long_is_a_failed_negotiation() -> None:
    link = make_link(login_timeout_s=5.0)
    start(link)
    assert link.get_timer() == 3.0
    link.handle_timer(3.0)
    assert link.get_timer() == 5.0
    link.handle_timer(5.0)
    link.receive(frame(LCP, TERM_ACK, 1), 5.0)
    assert closed(link) == LinkClosed(CloseReason.NEGOTIATION_FAILED, "LCP took too long")


def test_a_timer_that_fires_early_does_nothing() -> None:
    link = make_link()
    start(link)
    link.handle_timer(2.9)
    assert sent(link) == []


def test_malformed_frames_are_counted_and_nothing_else() -> None:
    link = make_link()
    start(link)
    for raw in (b"", b"\xff\x03", b"\xc0\x21\x01", frame(LCP, REQUEST, 1, b"\x01\x01")):
        link.receive(raw, 0.0)
    assert link.discarded == 4
    assert (sent(link), link.lcp_state.label) == ([], "Req-Sent")


def test_a_dead_link_hears_nothing() -> None:
    link = make_link()
    link.receive(frame(LCP, REQUEST, 1), 0.0)
    link.handle_timer(9.0)
    assert (sent(link), events(link), link.get_timer()) == ([], [], None)


def test_frames_that_nobody_takes_do_not_pile_up() -> None:
    link = make_link()
    open_lcp(link)
    for number in range(MAX_QUEUED_FRAMES + 50):
        link.receive(frame(LCP, ECHO_REQUEST, number % 256, MAGIC[1]), 0.0)
    assert len(link.frames_to_send()) == MAX_QUEUED_FRAMES
    assert link.frames_to_send() == []


def test_unknown_codes_of_an_ncp_are_rejected_too() -> None:
    link = make_link()
    open_ipcp(link)
    link.receive(frame(IPCP, 9, 1, b"abc"), 0.0)
    got = sent(link)[0]
    assert (got.protocol, got.code) == (IPCP, CODE_REJECT)


def test_a_configuration_without_a_way_to_log_in_is_refused() -> None:
    with pytest.raises(ValueError, match="authentication"):
        make_link(auth=())


def test_a_magic_number_is_never_zero() -> None:
    link = make_link()
    link.random = bytes  # zeros
    assert start(link).options[5] == b"\0\0\0\1"
