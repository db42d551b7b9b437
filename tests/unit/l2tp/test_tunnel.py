"""A tunnel from SCCRQ to the end of its memory, and what its messages carry."""

import hashlib

import pytest

from l2tpns_core.l2tp.codes import StopResult
from l2tpns_core.l2tp.config import EndpointConfig, Shared
from l2tpns_core.l2tp.events import (
    CallClosed,
    TunnelClosed,
    TunnelFinished,
    TunnelOpened,
)
from l2tpns_core.l2tp.hiding import hide
from l2tpns_core.l2tp.message import ControlHeader
from l2tpns_core.l2tp.states import CallState, TunnelState
from l2tpns_core.l2tp.tunnel import Tunnel
from unit.l2tp.wire import (
    ALL_MESSAGES,
    CDN,
    HELLO,
    LAC,
    PEER_TUNNEL,
    SCCCN,
    SCCRP,
    SCCRQ,
    STOPCCN,
    Bench,
    avp,
    body_of,
    cdn,
    control,
    iccn,
    icrq,
    sccrq,
    stopccn,
    u16,
)

CYCLE = 1 + 2 + 4 + 8 * 5


def response(kind: int, challenge: bytes, secret: bytes = b"secret") -> bytes:
    return hashlib.md5(bytes([kind]) + secret + challenge).digest()


# Opening


def test_golden_sccrp() -> None:
    bench = Bench(vendor_name="us", receive_window=128)
    tunnel = bench.endpoint.receive(control(0, 0, 0, 0, sccrq()), ("192.0.2.1", 1701), "", 1.0)
    assert tunnel is not None
    (datagram,) = tunnel.datagrams_to_send(1.0)
    assert datagram.hex() == (
        "c802" + f"{len(datagram):04x}" + "1234" + "0000" + "0000" + "0001"
        "8008000000000002"
        "8008000000020100"
        "800a0000000300000003"
        "800900000007" + b"lns".hex() + "000800000008" + b"us".hex() + "800800000009"
        f"{tunnel.local_id:04x}"
        "80080000000a0080"
    )


def test_tunnel_opens_with_scccn() -> None:
    bench = Bench()
    (sccrp,) = bench.send(sccrq(PEER_TUNNEL, avp(8, b"acme", 0), avp(10, u16(16))))
    assert (sccrp.kind, sccrp.tunnel, sccrp.session) == (SCCRP, PEER_TUNNEL, 0)
    tunnel = bench.open_tunnel
    assert sccrp.number(9) == tunnel.local_id
    assert 8 not in sccrp.avps
    assert tunnel.state is TunnelState.WAIT_CTL_CONN
    assert bench.events == []
    bench.send(body_of(SCCCN))
    assert bench.events == [TunnelOpened(tunnel)]
    assert (tunnel.hostname, tunnel.vendor_name) == ("lac", "acme")
    assert (tunnel.peer_id, tunnel.channel.peer_window) == (PEER_TUNNEL, 16)
    assert tunnel.opened_at == 1000.0


def test_host_name_of_the_lac_is_printable() -> None:
    bench = Bench().open()
    hostile = Bench()
    hostile.send(sccrq(host=b"\x1b[31m\xff"))
    assert hostile.open_tunnel.hostname == "\\x1b[31m\\xff"
    assert bench.open_tunnel.hostname == "lac"


def test_challenge_is_answered() -> None:
    bench = Bench(secret=b"secret")
    (sccrp,) = bench.send(sccrq(PEER_TUNNEL, avp(11, b"who are you")))
    assert sccrp.avps[13] == response(SCCRP, b"who are you")
    assert 11 not in sccrp.avps


def test_challenge_without_a_secret_is_counted_and_left_to_the_lac() -> None:
    bench = Bench()
    (sccrp,) = bench.send(sccrq(PEER_TUNNEL, avp(11, b"who are you")))
    assert 13 not in sccrp.avps
    assert bench.endpoint.counters.unanswered_challenges == 1


def test_lac_that_proves_the_secret_gets_in() -> None:
    bench = Bench(secret=b"secret", challenge_peer=True)
    (sccrp,) = bench.send(sccrq())
    assert len(sccrp.avps[11]) == 16
    bench.send(body_of(SCCCN, avp(13, response(SCCCN, sccrp.avps[11]))))
    assert bench.open_tunnel.state is TunnelState.ESTABLISHED


@pytest.mark.parametrize("secret", [b"wrong", None])
def test_lac_that_does_not_prove_the_secret_is_turned_away(secret: bytes | None) -> None:
    bench = Bench(secret=b"secret", challenge_peer=True)
    (sccrp,) = bench.send(sccrq())
    proof = () if secret is None else (avp(13, response(SCCCN, sccrp.avps[11], secret)),)
    (stop,) = bench.send(body_of(SCCCN, *proof))
    assert (stop.kind, stop.result) == (STOPCCN, (4, 0))
    assert bench.endpoint.counters.not_authorized == 1
    assert [type(event) for event in bench.events] == [TunnelClosed]


def test_challenges_of_two_tunnels_differ() -> None:
    bench = Bench(secret=b"secret", challenge_peer=True)
    first = bench.put(control(0, 0, 0, 0, sccrq(1)))[0].avps[11]
    second = bench.put(control(0, 0, 0, 0, sccrq(2)))[0].avps[11]
    assert first != second


def test_setup_that_does_not_end_is_given_up() -> None:
    bench = Bench(setup_timeout_s=20.0)
    bench.send(sccrq())
    bench.acknowledge()
    packets = bench.wait(30)
    assert {(p.kind, p.result) for p in packets} == {(STOPCCN, (1, 0))}
    (closed,) = bench.events
    assert isinstance(closed, TunnelClosed)
    assert not closed.by_peer


def test_setup_that_is_never_acknowledged_is_given_up_after_the_retry_cycle() -> None:
    bench = Bench()
    bench.send(sccrq())
    packets = bench.wait(CYCLE + 1)
    assert [p.kind for p in packets] == [SCCRP] * 7
    assert [type(event) for event in bench.events] == [TunnelClosed, TunnelFinished]
    assert bench.endpoint.counters.peers_lost == 1
    assert bench.endpoint.counters.retransmissions == 7  # and stays when the tunnel is gone


@pytest.mark.parametrize("kind", [kind for kind in ALL_MESSAGES if kind != SCCRQ])
def test_tunnel_without_its_sccrq_passes_everything_over(kind: int) -> None:
    shared = Shared()
    tunnel = Tunnel(1, LAC, "", EndpointConfig("lns"), shared, bytes, 0.0)
    tunnel.receive(ControlHeader(1, 0, 0, 0), body_of(kind), 0.0)
    assert tunnel.state is TunnelState.IDLE
    assert tunnel.next_event() is None
    assert shared.counters.unexpected_message == 1


# Keeping


def test_hello_goes_out_when_the_lac_is_silent() -> None:
    bench = Bench(hello_interval_s=60.0).open()
    assert [p.kind for p in bench.wait(59)] == []
    assert [p.kind for p in bench.wait(1)] == [HELLO]
    bench.acknowledge()
    assert bench.wait(58) == []
    assert [p.kind for p in bench.wait(2.5)] == [HELLO]


def test_hello_is_put_off_by_whatever_the_lac_sends() -> None:
    bench = Bench(hello_interval_s=60.0).open()
    for _ in range(4):
        bench.wait(50)
        assert [p.kind for p in bench.acknowledge()] == []
    bench.wait(50)
    bench.open_tunnel.last_heard_at = bench.now  # data, seen by the owner
    assert bench.wait(50) == []


def test_no_hello_with_interval_zero() -> None:
    bench = Bench(hello_interval_s=0.0).open()
    assert bench.open_tunnel.get_timer() is None
    assert bench.wait(10_000) == []


def test_silent_lac_loses_its_tunnel_after_hello_and_a_retry_cycle() -> None:
    bench = Bench().open()
    bench.take_events()
    packets = bench.wait(60 + CYCLE + 1)
    assert [p.kind for p in packets] == [HELLO] * 8
    closed, finished = bench.events
    assert isinstance(closed, TunnelClosed)
    assert (closed.lost, closed.by_peer) == (True, False)
    assert finished == TunnelFinished(bench.open_tunnel)
    assert bench.open_tunnel.get_timer() is None
    bench.open_tunnel.handle_timer(bench.now + 1)
    assert bench.take() == []


def test_hello_of_the_lac_is_acknowledged() -> None:
    bench = Bench().open()
    assert bench.send(body_of(HELLO)) == []
    assert [p.kind for p in bench.wait(0.2)] == [0]


# Ending


def test_golden_stopccn() -> None:
    bench = Bench().open()
    tunnel = bench.open_tunnel
    tunnel.close(StopResult.SHUTTING_DOWN, 0, "", bench.now)
    (datagram,) = tunnel.datagrams_to_send(bench.now)
    assert datagram.hex() == (
        "c8020024" + "12340000" + "00010002" + "8008000000000004"
        f"800800000009{tunnel.local_id:04x}"
        "8008000000010006"
    )


def test_close_tells_the_lac_and_remembers_the_tunnel_for_a_retry_cycle() -> None:
    bench = Bench().open()
    bench.call(9, 5)
    bench.take_events()
    bench.open_tunnel.close(StopResult.GENERAL_REQUEST, 0, "maintenance", bench.now)
    (stop,) = bench.take()
    assert (stop.kind, stop.result, stop.avps[1][4:]) == (STOPCCN, (1, 0), b"maintenance")
    closed_at = bench.now
    (closed,) = bench.take_events()
    assert closed == TunnelClosed(bench.open_tunnel, 1, 0, "maintenance", by_peer=False)
    assert bench.open_tunnel.calls == {}
    bench.acknowledge()
    assert bench.open_tunnel.get_timer() == closed_at + CYCLE
    bench.wait(CYCLE - 1)
    assert bench.take_events() == []
    bench.wait(2)
    assert bench.take_events() == [TunnelFinished(bench.open_tunnel)]


def test_second_close_does_nothing() -> None:
    bench = Bench().open()
    bench.open_tunnel.close(1, 0, "", bench.now)
    bench.open_tunnel.close(6, 0, "", bench.now)
    assert len(bench.take()) == 1
    assert len(bench.take_events()) == 2  # opened, closed


def test_what_was_queued_goes_out_before_the_stopccn() -> None:
    bench = Bench().open(avp(10, u16(1)))
    bench.call(9, 5)
    bench.call(10, 6)
    tunnel = bench.open_tunnel
    for session in (5, 6):
        tunnel.disconnect_call(session, 3, 0, "", bench.now)
    tunnel.close(1, 0, "", bench.now)
    kinds = [packet.kind for packet in bench.take()]
    while tunnel.channel.queue_length:
        kinds += [packet.kind for packet in bench.acknowledge()]
    assert kinds == [CDN, CDN, STOPCCN]


def test_unacknowledged_stopccn_ends_the_memory_too() -> None:
    bench = Bench().open()
    bench.open_tunnel.close(1, 0, "", bench.now)
    bench.take()
    bench.wait(CYCLE + 1)
    assert [type(event) for event in bench.events] == [TunnelOpened, TunnelClosed, TunnelFinished]
    assert bench.endpoint.counters.peers_lost == 0


def test_stopccn_of_the_lac_is_acknowledged_at_once_and_again() -> None:
    bench = Bench().open()
    bench.call(9, 5)
    bench.take_events()
    (ack,) = bench.send(stopccn(result=b"\0\2\0\4out of memory"))
    assert ack.kind == 0
    tunnel = bench.open_tunnel
    assert bench.take_events() == [TunnelClosed(tunnel, 2, 4, "out of memory", by_peer=True)]
    bench.ns -= 1
    bench.now += 8
    (again,) = bench.send(stopccn(result=b"\0\2\0\4out of memory"))
    assert (again.kind, again.nr) == (0, ack.nr)
    bench.wait(CYCLE)
    assert bench.take_events() == [TunnelFinished(tunnel)]


def test_stopccn_ends_what_we_had_to_send() -> None:
    bench = Bench().open()
    bench.open_tunnel.disconnect_call(bench.call(9, 5).session_id, 3, 0, "", bench.now)
    packets = bench.send(stopccn())
    assert [p.kind for p in packets] == [0]
    assert bench.open_tunnel.channel.queue_length == 0


def test_stopccn_counts_whatever_else_is_in_it() -> None:
    bench = Bench().open()
    bench.send(body_of(STOPCCN, avp(77, b"?")))
    assert bench.events[-1] == TunnelClosed(bench.open_tunnel, 0, 0, "", by_peer=True)


def test_tunnel_that_has_ended_is_not_abandoned_again() -> None:
    bench = Bench().open()
    bench.send(stopccn())
    bench.take_events()
    bench.open_tunnel.abandon("superseded", bench.now)
    assert bench.take() == []
    assert bench.events == []


# Bad messages


def test_unknown_mandatory_avp_in_a_tunnel_message_ends_the_tunnel() -> None:
    bench = Bench().open()
    (stop,) = bench.send(body_of(HELLO, avp(77, b"?")))
    assert (stop.kind, stop.result) == (STOPCCN, (2, 8))
    assert b"77" in stop.avps[1]


def test_unknown_optional_avp_is_passed_over_and_counted() -> None:
    bench = Bench().open(avp(77, b"?", 0), avp(1, b"?", 0, vendor=9))
    assert bench.open_tunnel.state is TunnelState.ESTABLISHED
    assert bench.endpoint.counters.unknown_avp == 2


@pytest.mark.parametrize("fault", [avp(77, b"?"), avp(1, b"v", vendor=311), avp(39, b"odd")])
def test_mandatory_avp_that_is_unknown_in_a_session_message_ends_that_call(fault: bytes) -> None:
    bench = Bench().open()
    call, other = bench.call(9, 5, connected=False), bench.call(10, 6)
    bench.take_events()
    (answer,) = bench.send(iccn(fault), session=5)
    assert (answer.kind, answer.session, answer.result[0]) == (CDN, 9, 2)
    (closed,) = bench.events
    assert isinstance(closed, CallClosed)
    assert (closed.call, closed.by_peer) == (call, False)
    assert other.state is CallState.ESTABLISHED
    assert bench.open_tunnel.state is TunnelState.ESTABLISHED


def test_request_with_an_unknown_mandatory_avp_is_refused() -> None:
    bench = Bench().open()
    bench.take_events()
    (answer,) = bench.send(icrq(9, avp(77, b"?")))
    assert (answer.kind, answer.session, answer.result) == (CDN, 9, (2, 8))
    assert answer.number(14) != 0
    assert bench.events == []


def test_faulty_message_for_a_call_that_is_gone_is_counted() -> None:
    bench = Bench().open()
    assert bench.send(iccn(avp(77, b"?")), session=5) == []
    assert bench.endpoint.counters.faulty_messages == 1


def test_cdn_counts_whatever_else_is_in_it() -> None:
    bench = Bench().open()
    call = bench.call(9, 5)
    bench.take_events()
    assert bench.send(cdn(9, b"\0\1", avp(77, b"?")), session=5) == []
    assert bench.events == [CallClosed(bench.open_tunnel, call, 1, 0, "")]


@pytest.mark.parametrize(
    "body", [b"\0", avp(14, u16(9)) + avp(0, u16(10)), b"\x80\x05\0\0\0\0\0\x0a", bytes(40)]
)
def test_message_that_nobody_can_read_ends_its_tunnel_or_call(body: bytes) -> None:
    bench = Bench().open()
    call = bench.call(9, 5)
    (answer,) = bench.send(body, session=5)
    assert (answer.kind, answer.session) == (CDN, 9)
    assert call.state is CallState.CLOSED
    assert bench.send(body, session=77) == []
    (stop,) = bench.send(body)
    assert (stop.kind, stop.result[0]) == (STOPCCN, 2)
    assert bench.endpoint.counters.faulty_messages == 3


def test_unknown_message_type_ends_the_tunnel_if_it_is_mandatory() -> None:
    bench = Bench().open()
    bench.send(body_of(17, bits=0))
    assert [p.kind for p in bench.wait(0.2)] == [0]
    assert bench.endpoint.counters.unknown_message == 1
    (stop,) = bench.send(body_of(17))
    assert (stop.kind, stop.result) == (STOPCCN, (2, 8))


def test_hidden_avp_without_our_knowing_the_secret_is_a_fault() -> None:
    bench = Bench(secret=b"secret").open()
    vector = b"0123456789abcdef"
    hidden = avp(14, hide(14, u16(9), b"other", vector, bytes(12)), 0xC000)
    (answer,) = bench.send(body_of(10, avp(36, vector), hidden))
    assert (answer.kind, answer.session, answer.result) == (CDN, 0, (2, 2))
    assert bench.endpoint.counters.hidden_failures == 1
