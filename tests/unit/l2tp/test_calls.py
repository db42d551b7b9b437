"""The calls of a tunnel: how they begin and end, and what is told to whom."""

import hashlib

import pytest

from l2tpns_core.l2tp.call import Call, ProxyInfo
from l2tpns_core.l2tp.codes import CdnResult, DisconnectCause, GeneralError
from l2tpns_core.l2tp.events import (
    CallClosed,
    CallConnected,
    CallErrorsReported,
    CallRequested,
    LinkInfoReceived,
)
from l2tpns_core.l2tp.hiding import hide, reveal
from l2tpns_core.l2tp.states import CallState, TunnelState
from l2tpns_core.l2tp.values import CallErrors
from unit.l2tp.wire import (
    CDN,
    ICRP,
    PEER_TUNNEL,
    SCCCN,
    SCCRP,
    SLI,
    WEN,
    Bench,
    avp,
    body_of,
    cdn,
    iccn,
    icrq,
    sccrq,
    u16,
    u32,
)


def response(kind: int, challenge: bytes, secret: bytes = b"secret") -> bytes:
    return hashlib.md5(bytes([kind]) + secret + challenge).digest()


def test_call_is_requested_accepted_connected_and_ended_by_the_lac() -> None:
    bench = Bench().open()
    bench.take_events()
    request = icrq(
        0x0909,
        avp(18, u32(1)),
        avp(25, u32(77), 0),
        avp(21, b"0800123"),
        avp(22, b"0441\xff"),
        avp(23, b"sub"),
    )
    bench.send(request)
    (requested,) = bench.take_events()
    assert isinstance(requested, CallRequested)
    call = requested.call
    assert (call.peer_session_id, call.serial_number, call.bearer_type) == (0x0909, 0x0909, 1)
    assert (call.called_number, call.calling_number) == ("0800123", "0441\\xff")
    assert (call.sub_address, call.physical_channel) == ("sub", 77)
    bench.open_tunnel.accept_call(call, 5, bench.now)
    (icrp,) = bench.take()
    assert (icrp.kind, icrp.session, icrp.number(14)) == (ICRP, 0x0909, 5)
    bench.send(iccn(avp(38, u32(2_000_000), 0), avp(37, b"vrf1", 0), avp(39, b"")), session=5)
    assert bench.take_events() == [CallConnected(bench.open_tunnel, call)]
    assert (call.tx_speed, call.rx_speed, call.framing_type) == (10_000_000, 2_000_000, 1)
    assert (call.private_group_id, call.sequencing_required, call.proxy) == ("vrf1", True, None)
    assert bench.open_tunnel.calls == {5: call}
    reason = avp(46, b"\0\3\0\0\1hung up", 0)
    bench.send(cdn(0x0909, b"\0\1", reason), session=5)
    cause = DisconnectCause(3, 0, 1, "hung up")
    assert bench.take_events() == [CallClosed(bench.open_tunnel, call, 1, 0, "", cause)]
    assert bench.open_tunnel.calls == {}
    assert call.state is CallState.CLOSED


def test_receive_speed_is_that_of_sending_unless_it_is_given() -> None:
    bench = Bench().open()
    call = bench.call(9, 5)
    assert (call.tx_speed, call.rx_speed, call.sequencing_required) == (
        10_000_000,
        10_000_000,
        False,
    )


def test_proxy_avps_are_kept_as_they_came() -> None:
    bench = Bench().open()
    call = bench.call(9, 5, connected=False)
    bench.send(
        iccn(
            avp(26, b"\x01\x04\x05\xdc", 0),
            avp(27, b"\x03\x04\xc0\x23", 0),
            avp(28, b"", 0),
            avp(29, u16(2), 0),
            avp(30, b"u\xff1", 0),
            avp(31, b"chal", 0),
            avp(32, u16(0x0107), 0),
            avp(33, b"resp", 0),
        ),
        session=5,
    )
    assert call.proxy == ProxyInfo(
        b"\x01\x04\x05\xdc", b"\x03\x04\xc0\x23", b"", 2, b"u\xff1", b"chal", 7, b"resp"
    )
    assert "resp" not in repr(call.proxy)


def test_one_proxy_avp_leaves_the_others_unknown() -> None:
    bench = Bench().open()
    call = bench.call(9, 5, connected=False)
    bench.send(iccn(avp(27, b"\x05\x06abcd", 0)), session=5)
    assert call.proxy == ProxyInfo(last_sent_lcp=b"\x05\x06abcd")


def test_refused_call_gets_cdn_and_can_be_asked_for_again() -> None:
    bench = Bench().open()
    call = bench.request(9)
    bench.open_tunnel.refuse_call(call, CdnResult.BUSY, 0, "full", bench.now)
    (answer,) = bench.take()
    assert (answer.kind, answer.session, answer.result) == (CDN, 9, (8, 0))
    assert answer.number(14) != 0
    bench.open_tunnel.refuse_call(call, CdnResult.BUSY, 0, "full", bench.now)
    assert bench.take() == []
    assert bench.call(9, 5).state is CallState.ESTABLISHED


def test_disconnect_tells_the_lac_why() -> None:
    bench = Bench().open()
    call = bench.call(9, 5)
    bench.take_events()
    cause = DisconnectCause(16, 0xC023, 1, "bad password")
    bench.open_tunnel.disconnect_call(5, 2, GeneralError.TRY_ANOTHER, "why", bench.now, cause)
    (answer,) = bench.take()
    assert (answer.kind, answer.session, answer.number(14)) == (CDN, 9, 5)
    assert answer.avps[1] == b"\0\2\0\7why"
    assert answer.avps[46] == b"\0\x10\xc0\x23\1bad password"
    assert call.state is CallState.CLOSED
    assert bench.events == []


def test_disconnecting_what_is_not_there_is_silent() -> None:
    bench = Bench().open()
    bench.open_tunnel.disconnect_call(5, 3, 0, "", bench.now)
    assert bench.take() == []


def test_lac_that_gives_up_before_our_answer_names_the_call_by_its_own_id() -> None:
    bench = Bench().open()
    call = bench.request(9)
    bench.take_events()
    bench.send(cdn(9))
    bench.open_tunnel.accept_call(call, 5, bench.now)
    assert [p.kind for p in bench.take()] == []
    assert bench.open_tunnel.calls == {}
    (closed,) = bench.take_events()
    assert isinstance(closed, CallClosed)
    assert closed.call.session_id == 5, "the LNS finds its session by the id it gave"


def test_cdn_for_a_call_that_was_accepted_meanwhile_reaches_it() -> None:
    bench = Bench().open()
    call = bench.call(9, 5, connected=False)
    bench.send(cdn(9))
    assert call.state is CallState.CLOSED
    assert bench.open_tunnel.calls == {}


def test_accepted_id_must_be_free() -> None:
    bench = Bench().open()
    bench.call(9, 5)
    call = bench.request(10)
    for session_id in (5, 0, 65536):
        with pytest.raises(ValueError, match="not free"):
            bench.open_tunnel.accept_call(call, session_id, bench.now)


def test_accepting_a_call_of_a_closed_tunnel_does_nothing() -> None:
    bench = Bench().open()
    call = bench.request(9)
    bench.open_tunnel.close(1, 0, "", bench.now)
    bench.take()
    bench.open_tunnel.accept_call(call, 5, bench.now)
    assert bench.take() == []
    assert bench.open_tunnel.calls == {}


@pytest.mark.parametrize("ids", [(avp(14, u16(0)),), ()])
def test_request_without_a_session_id_is_refused(ids: tuple[bytes, ...]) -> None:
    bench = Bench().open()
    bench.take_events()
    (answer,) = bench.send(body_of(10, *ids, avp(15, u32(1))))
    assert (answer.kind, answer.session, answer.result) == (CDN, 0, (2, 3))
    assert bench.events == []


def test_session_id_of_the_lac_used_twice_ends_the_former_call_in_silence() -> None:
    """The LAC sends what we send to that id to the new subscriber."""
    bench = Bench().open()
    old = bench.call(9, 5)
    bench.take_events()
    assert [p.kind for p in bench.send(icrq(9))] == []
    closed, requested = bench.take_events()
    assert isinstance(closed, CallClosed)
    assert isinstance(requested, CallRequested)
    assert closed.call is old
    assert requested.call is not old
    bench.open_tunnel.accept_call(requested.call, 6, bench.now)
    assert set(bench.open_tunnel.calls) == {6}


def test_calls_of_a_tunnel_are_bounded() -> None:
    bench = Bench(max_sessions_per_tunnel=2).open()
    bench.call(9, 5)
    bench.request(10)
    (answer,) = bench.send(icrq(11))
    assert (answer.kind, answer.session, answer.result[0]) == (CDN, 11, 4)
    bench.open_tunnel.disconnect_call(5, 3, 0, "", bench.now)
    bench.take()
    assert isinstance(bench.request(11), Call)


def test_calls_are_refused_while_shutting_down() -> None:
    bench = Bench().open()
    bench.endpoint.accepting = False
    bench.take_events()
    (answer,) = bench.send(icrq(9))
    assert (answer.kind, answer.result) == (CDN, (2, 7))
    assert bench.events == []
    assert bench.endpoint.counters.refused_calls == 1


def test_refusal_finds_an_id_even_if_most_are_in_use() -> None:
    bench = Bench().open()
    bench.open_tunnel.calls.update((n, Call(n, n)) for n in range(1, 65536))
    (answer,) = bench.send(body_of(7, avp(14, u16(8))))
    assert answer.number(14) != 0


def test_refusals_do_not_use_the_id_of_a_live_call() -> None:
    bench = Bench().open()
    for number in range(65530, 65536):
        bench.call(number, number)
    ids = {bench.send(body_of(7, avp(14, u16(8))))[0].number(14) for _ in range(4)}
    assert len(ids) == 4
    assert not ids & set(range(65530, 65536))


def test_answer_to_a_request_that_we_never_made_is_not_answered_without_an_id() -> None:
    bench = Bench().open()
    assert bench.send(body_of(11)) == []
    assert bench.endpoint.counters.unexpected_message == 1


def test_reports_of_the_lac_are_passed_on() -> None:
    bench = Bench().open()
    call = bench.call(9, 5)
    bench.take_events()
    counts = b"".join(u32(number) for number in range(1, 7))
    bench.send(body_of(WEN, avp(34, b"\0\0" + counts)), session=5)
    bench.send(body_of(SLI, avp(35, b"\0\0" + u32(0xA) + u32(0xB))), session=5)
    tunnel = bench.open_tunnel
    assert bench.take_events() == [
        CallErrorsReported(tunnel, call, CallErrors(1, 2, 3, 4, 5, 6)),
        LinkInfoReceived(tunnel, call, 0xA, 0xB),
    ]


@pytest.mark.parametrize("kind", [WEN, SLI])
def test_report_that_says_nothing_is_passed_over(kind: int) -> None:
    bench = Bench().open()
    bench.call(9, 5)
    bench.take_events()
    assert bench.send(body_of(kind), session=5) == []
    assert bench.events == []
    assert bench.endpoint.counters.unexpected_message == 1


def test_hidden_avps_both_ways() -> None:
    bench = Bench(secret=b"secret", hide_avps=True)
    vector = b"0123456789abcdef"

    def hidden(kind: int, value: bytes) -> bytes:
        return avp(kind, hide(kind, value, b"secret", vector, bytes(7)), 0xC000)

    (sccrp,) = bench.send(
        body_of(
            1,
            avp(2, b"\1\0"),
            avp(7, b"lac"),
            avp(36, vector),
            hidden(3, u32(3)),
            hidden(9, u16(PEER_TUNNEL)),
            hidden(11, b"a challenge that is longer than sixteen bytes"),
        )
    )
    assert sccrp.tunnel == PEER_TUNNEL
    assert sccrp.avps[9] == u16(bench.open_tunnel.local_id)
    challenge = b"a challenge that is longer than sixteen bytes"
    assert sccrp.avps[13] == response(SCCRP, challenge)
    bench.send(body_of(SCCCN))
    bench.send(body_of(10, avp(36, vector), hidden(14, u16(9)), hidden(22, b"555")))
    event = bench.events[-1]
    assert isinstance(event, CallRequested)
    assert (event.call.peer_session_id, event.call.calling_number) == (9, "555")
    bench.open_tunnel.accept_call(event.call, 5, bench.now)
    icrp = bench.take()[-1]
    assert reveal(14, icrp.avps[14], b"secret", icrp.avps[36]) == u16(5)


def test_nothing_is_hidden_without_a_secret() -> None:
    (sccrp,) = Bench(hide_avps=True).send(sccrq())
    assert 36 not in sccrp.avps


@pytest.mark.parametrize(
    "body",
    [iccn(avp(77, b"?")), icrq(2), b"\0", body_of(WEN, avp(34, b"short")), body_of(ICRP)],
)
def test_bad_message_for_one_call_leaves_a_thousand_others_alone(body: bytes) -> None:
    bench = Bench().open()
    tunnel = bench.open_tunnel
    for number in range(1, 1001):
        call = bench.request(number)
        tunnel.accept_call(call, number, bench.now)
        bench.take()
        bench.send(iccn(), session=number)
    bench.send(body, session=500)
    assert tunnel.state is TunnelState.ESTABLISHED
    assert set(tunnel.calls) == set(range(1, 1001)) - {500}
