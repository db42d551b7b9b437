"""Which datagram belongs to which tunnel, who may open one, and how little strangers can cost."""

import random

import pytest

from l2tpns_core.l2tp.endpoint import MAX_REPLIES, Endpoint, EndpointConfig
from l2tpns_core.l2tp.events import CallRequested, TunnelClosed, TunnelFinished
from l2tpns_core.l2tp.states import TunnelState
from l2tpns_core.l2tp.tunnel import Tunnel
from unit.l2tp.wire import (
    HELLO,
    LAC,
    LNS,
    PEER_TUNNEL,
    SCCCN,
    SCCRP,
    SCCRQ,
    STOPCCN,
    Bench,
    avp,
    body_of,
    control,
    icrq,
    parse,
    sccrq,
    stopccn,
    u16,
    u32,
)


def ask(endpoint: Endpoint, source: str, tunnel_id: int, now: float = 0.0) -> Tunnel | None:
    return endpoint.receive(control(0, 0, 0, 0, sccrq(tunnel_id)), (source, 1701), LNS, now)


def drop(endpoint: Endpoint, tunnel: Tunnel, now: float) -> None:
    """End a tunnel and forget it."""
    tunnel.abandon("test", now)
    events = []
    while (event := tunnel.next_event()) is not None:
        events.append(event)
    assert isinstance(events[-1], TunnelFinished)
    endpoint.forget(tunnel)


@pytest.mark.parametrize("datagram", [b"", b"\xc8\x02", bytes(12), b"GET / HTTP/1.0\r\n\r\n" * 4])
def test_garbage_is_counted_and_nothing_else(datagram: bytes) -> None:
    bench = Bench()
    assert bench.put(datagram) == []
    assert (bench.endpoint.counters.received, bench.endpoint.counters.malformed) == (1, 1)
    assert bench.endpoint.tunnels == {}


@pytest.mark.parametrize(
    "datagram",
    [
        control(0, 0, 0, 0),
        control(0, 0, 0, 0, body_of(HELLO)),
        control(0, 0, 0, 0, body_of(SCCCN)),
        control(0, 0, 0, 0, icrq(5)),
        control(0, 0, 0, 0, b"\0\1\2"),
        control(0, 0, 0, 0, avp(9, u16(5)) + avp(0, u16(SCCRQ))),
        control(0, 5, 0, 0, sccrq()),
        control(0, 0, 1, 0, sccrq()),
    ],
)
def test_only_a_proper_sccrq_may_come_without_a_tunnel_id(datagram: bytes) -> None:
    bench = Bench()
    assert bench.put(datagram) == []
    assert bench.endpoint.tunnels == {}
    assert bench.endpoint.counters.malformed == 1


def test_unknown_tunnel_is_counted() -> None:
    bench = Bench()
    assert bench.put(control(77, 0, 0, 0, body_of(HELLO))) == []
    assert bench.endpoint.counters.unknown_tunnel == 1


@pytest.mark.parametrize("peer", [("192.0.2.2", 1701), ("192.0.2.1", 1702)])
def test_tunnel_listens_to_its_own_peer_only(peer: tuple[str, int]) -> None:
    bench = Bench().open()
    tunnel = bench.open_tunnel
    assert bench.put(control(tunnel.local_id, 0, bench.ns, bench.nr, stopccn()), peer) == []
    assert tunnel.state is TunnelState.ESTABLISHED
    assert bench.endpoint.counters.wrong_peer == 1


def test_tunnel_keeps_the_addresses_that_the_lac_uses() -> None:
    bench = Bench()
    bench.put(control(0, 0, 0, 0, sccrq()), ("198.51.100.7", 40000))
    assert bench.open_tunnel.peer == ("198.51.100.7", 40000)
    assert bench.open_tunnel.local == LNS


# Repeated requests


def test_repeated_sccrq_is_answered_by_the_same_tunnel() -> None:
    bench = Bench()
    (first,) = bench.send(sccrq())
    (second,) = bench.put(control(0, 0, 0, 0, sccrq()))
    assert (first.kind, second) == (SCCRP, first)
    assert len(bench.endpoint.tunnels) == 1
    assert bench.endpoint.counters.duplicates_sccrq == 1


def test_sccrqs_of_two_lacs_with_the_same_id_are_two_tunnels() -> None:
    bench = Bench()
    bench.put(control(0, 0, 0, 0, sccrq()), ("192.0.2.1", 1701))
    bench.put(control(0, 0, 0, 0, sccrq()), ("192.0.2.1", 1702))
    bench.put(control(0, 0, 0, 0, sccrq()), ("192.0.2.2", 1701))
    assert len(bench.endpoint.tunnels) == 3


def test_delayed_sccrq_of_a_tunnel_that_is_up_is_acknowledged_only() -> None:
    bench = Bench().open()
    (ack,) = bench.put(control(0, 0, 0, 0, sccrq()))
    assert (ack.kind, ack.nr) == (0, 2)
    assert len(bench.endpoint.tunnels) == 1
    assert bench.open_tunnel.state is TunnelState.ESTABLISHED


def restarted(bench: Bench, *more: bytes) -> tuple[Tunnel, Tunnel]:
    """The tunnel that was up, and the one that its LAC asks for under the same id."""
    old = bench.open_tunnel
    (sccrp,) = bench.put(control(0, 0, 0, 0, sccrq(PEER_TUNNEL, *more)))
    new = bench.open_tunnel
    assert new is not old
    assert sccrp.number(9) == new.local_id
    assert old.state is TunnelState.ESTABLISHED
    return old, new


@pytest.mark.parametrize(("wait", "more"), [(0.0, (avp(6, u16(2), 0),)), (100.0, ())])
def test_lac_that_restarted_replaces_its_tunnel_once_it_has_proved_itself(
    wait: float, more: tuple[bytes, ...]
) -> None:
    bench = Bench(hello_interval_s=0.0).open()
    bench.take_events()
    bench.now += wait
    old, new = restarted(bench, *more)
    assert bench.endpoint.take_touched() == []
    bench.put(control(new.local_id, 0, 1, 1, body_of(SCCCN)))
    assert new.state is TunnelState.ESTABLISHED
    assert bench.endpoint.take_touched() == [old]
    assert bench.endpoint.take_touched() == []
    closed, finished = old.next_event(), old.next_event()
    assert isinstance(closed, TunnelClosed)
    assert closed.lost
    assert finished == TunnelFinished(old)
    assert old.datagrams_to_send(bench.now) == [], "it would hit the new tunnel"
    bench.endpoint.forget(old)
    assert bench.endpoint.tunnels == {new.local_id: new}
    assert bench.endpoint.counters.superseded == 1


def test_spoofed_sccrq_does_not_hurt_the_tunnel_that_is_up() -> None:
    bench = Bench(hello_interval_s=0.0).open()
    old, new = restarted(bench, avp(6, u16(2), 0))
    drop(bench.endpoint, new, bench.now)
    assert old.state is TunnelState.ESTABLISHED
    (ack,) = bench.put(control(0, 0, 0, 0, sccrq()))  # and its own is known again
    assert (ack.kind, ack.nr) == (0, 2)


def test_former_tunnel_that_is_gone_already_is_not_ended_again() -> None:
    bench = Bench(hello_interval_s=0.0).open()
    old, new = restarted(bench, avp(6, u16(2), 0))
    old.close(1, 0, "", bench.now)
    bench.put(control(new.local_id, 0, 1, 1, body_of(SCCCN)))
    assert bench.endpoint.take_touched() == []
    assert bench.endpoint.counters.superseded == 0


def test_forgetting_the_newcomer_after_the_former_leaves_nothing() -> None:
    bench = Bench(hello_interval_s=0.0).open()
    old, new = restarted(bench, avp(6, u16(2), 0))
    drop(bench.endpoint, old, bench.now)
    drop(bench.endpoint, new, bench.now)
    (again,) = bench.put(control(0, 0, 0, 0, sccrq()))
    assert again.kind == SCCRP
    assert len(bench.endpoint.tunnels) == 1


def test_lac_may_ask_again_while_its_closed_tunnel_is_remembered() -> None:
    bench = Bench().open()
    bench.send(stopccn())
    (sccrp,) = bench.put(control(0, 0, 0, 0, sccrq()))
    assert sccrp.kind == SCCRP
    assert len(bench.endpoint.tunnels) == 2


def test_lac_may_stop_before_it_knows_our_id() -> None:
    bench = Bench()
    bench.send(sccrq())
    bench.put(control(0, 0, 1, 0, stopccn()))
    (closed,) = bench.events
    assert isinstance(closed, TunnelClosed)
    assert closed.by_peer


def test_stop_without_our_id_does_not_reach_a_tunnel_that_is_up() -> None:
    bench = Bench().open()
    assert bench.put(control(0, 0, bench.ns, bench.nr, stopccn())) == []
    assert bench.open_tunnel.state is TunnelState.ESTABLISHED
    assert bench.put(control(0, 0, 0, 0, stopccn(99))) == []
    assert bench.endpoint.counters.unknown_tunnel == 2


# Refusals

BASICS = (avp(2, b"\1\0"), avp(3, u32(3)), avp(7, b"lac"), avp(9, u16(PEER_TUNNEL)))


@pytest.mark.parametrize(
    ("body", "peer_id", "result"),
    [
        (body_of(SCCRQ, *BASICS[1:]), PEER_TUNNEL, (2, 3)),
        (body_of(SCCRQ, BASICS[0], BASICS[1], BASICS[3]), PEER_TUNNEL, (2, 3)),
        (body_of(SCCRQ, *BASICS[:3]), 0, (2, 3)),
        (sccrq(0), 0, (2, 3)),
        (sccrq(host=b""), PEER_TUNNEL, (2, 2)),
        (body_of(SCCRQ, avp(2, b"\2\0"), *BASICS[1:]), PEER_TUNNEL, (5, 0x0100)),
        (body_of(SCCRQ, avp(2, b"\3\0"), avp(99, b""), *BASICS[1:]), PEER_TUNNEL, (5, 0x0100)),
        (sccrq(PEER_TUNNEL, avp(99, b"")), PEER_TUNNEL, (2, 8)),
        (sccrq(PEER_TUNNEL, avp(99, b"", vendor=9)), PEER_TUNNEL, (2, 8)),
        (sccrq(PEER_TUNNEL, avp(11, b"")), PEER_TUNNEL, (2, 2)),
        (sccrq(PEER_TUNNEL, avp(11, bytes(16), 0xC000)), PEER_TUNNEL, (2, 6)),
        (sccrq() + b"\x80\xff\0", PEER_TUNNEL, (2, 2)),
    ],
)
def test_bad_sccrq_is_refused_and_leaves_nothing(
    body: bytes, peer_id: int, result: tuple[int, int]
) -> None:
    bench = Bench()
    (stop,) = bench.put(control(0, 0, 0, 0, body))
    assert (stop.kind, stop.tunnel, stop.result) == (STOPCCN, peer_id, result)
    assert (stop.ns, stop.nr) == (0, 1)
    assert stop.number(9) != 0
    assert bench.endpoint.tunnels == {}
    assert bench.endpoint.counters.refused_sccrq == 1


@pytest.mark.parametrize("version", [b"\0\0", b"\1\0", b"\1\7"])
def test_versions_that_are_accepted(version: bytes) -> None:
    (sccrp,) = Bench().send(body_of(SCCRQ, avp(2, version), *BASICS[1:]))
    assert (sccrp.kind, sccrp.avps[2]) == (SCCRP, b"\1\0")


def test_tie_breaker_is_read_and_its_sender_wins() -> None:
    (sccrp,) = Bench().send(sccrq(PEER_TUNNEL, avp(5, bytes(8), 0)))
    assert sccrp.kind == SCCRP
    assert 5 not in sccrp.avps


def test_new_tunnels_are_refused_while_shutting_down() -> None:
    bench = Bench()
    bench.endpoint.accepting = False
    assert not bench.endpoint.accepting
    (stop,) = bench.send(sccrq())
    assert (stop.kind, stop.result) == (STOPCCN, (6, 0))


def test_refusals_that_nobody_takes_are_bounded() -> None:
    endpoint = Endpoint(EndpointConfig("lns"), random.Random(1).randbytes)
    for _ in range(MAX_REPLIES + 10):
        assert endpoint.receive(control(0, 0, 0, 0, sccrq(0)), LAC, LNS, 0.0) is None
    assert len(endpoint.take_replies()) == MAX_REPLIES
    assert endpoint.take_replies() == []


# Limits


def test_one_source_cannot_open_more_than_its_share() -> None:
    endpoint = Endpoint(
        EndpointConfig("lns", max_half_open_per_source=4), random.Random(1).randbytes
    )
    tunnels = [ask(endpoint, "192.0.2.1", number) for number in range(1, 6)]
    assert [tunnel is not None for tunnel in tunnels] == [True] * 4 + [False]
    ((datagram, peer, local),) = endpoint.take_replies()
    assert (peer, local) == (LAC, LNS)
    assert parse(datagram).result == (2, 4)
    assert endpoint.counters.refused_limit == 1
    assert ask(endpoint, "192.0.2.2", 1) is not None
    first = tunnels[0]
    assert first is not None
    endpoint.receive(control(first.local_id, 0, 1, 0, body_of(SCCCN)), LAC, LNS, 0.0)
    assert ask(endpoint, "192.0.2.1", 6) is not None
    assert ask(endpoint, "192.0.2.1", 7) is None


def test_half_open_tunnels_are_bounded_and_make_room_when_they_are_up_or_gone() -> None:
    endpoint = Endpoint(EndpointConfig("lns", max_half_open=2), random.Random(1).randbytes)
    first, second = ask(endpoint, "192.0.2.1", 1), ask(endpoint, "192.0.2.2", 1)
    assert first is not None
    assert second is not None
    assert ask(endpoint, "192.0.2.3", 1) is None
    endpoint.receive(control(first.local_id, 0, 1, 0, body_of(SCCCN)), first.peer, LNS, 0.0)
    assert endpoint.half_open_count == 1
    assert ask(endpoint, "192.0.2.3", 1) is not None
    assert ask(endpoint, "192.0.2.4", 1) is None
    drop(endpoint, second, 0.0)
    assert endpoint.half_open_count == 1
    assert ask(endpoint, "192.0.2.4", 1) is not None


def test_tunnel_that_failed_in_setup_counts_until_it_is_forgotten() -> None:
    """Otherwise SCCRQ and StopCCN in turn would fill the table."""
    endpoint = Endpoint(EndpointConfig("lns", max_half_open=1), random.Random(1).randbytes)
    tunnel = ask(endpoint, "192.0.2.1", 1)
    assert tunnel is not None
    endpoint.receive(control(tunnel.local_id, 0, 1, 0, stopccn(1)), LAC, LNS, 0.0)
    assert tunnel.state is TunnelState.CLOSING
    assert ask(endpoint, "192.0.2.1", 2) is None
    drop_after = tunnel.get_timer()
    assert drop_after is not None
    tunnel.datagrams_to_send(0.0)
    tunnel.handle_timer(1000.0)
    endpoint.forget(tunnel)
    assert ask(endpoint, "192.0.2.1", 2) is not None


def test_tunnels_are_bounded() -> None:
    endpoint = Endpoint(EndpointConfig("lns", max_tunnels=2), random.Random(1).randbytes)
    assert ask(endpoint, "192.0.2.1", 1) is not None
    assert ask(endpoint, "192.0.2.1", 2) is not None
    assert ask(endpoint, "192.0.2.1", 3) is None


def test_flood_of_spoofed_requests_leaves_a_tunnel_that_is_up_alone() -> None:
    bench = Bench(max_half_open=50).open()
    for number in range(2000):
        ask(bench.endpoint, f"10.{number >> 8}.{number & 255}.1", 1, bench.now)
        bench.endpoint.take_replies()
    assert bench.endpoint.half_open_count == 50
    assert len(bench.endpoint.tunnels) == 51
    bench.take_events()
    bench.send(icrq(9))
    assert [type(event) for event in bench.events] == [CallRequested]


def test_forgetting_twice_does_nothing() -> None:
    bench = Bench().open()
    tunnel = bench.open_tunnel
    drop(bench.endpoint, tunnel, bench.now)
    other = ask(bench.endpoint, "192.0.2.9", 1)
    bench.endpoint.forget(tunnel)
    assert list(bench.endpoint.tunnels.values()) == [other]


# Ids


def test_tunnel_ids_are_never_zero_in_use_or_lately_used() -> None:
    endpoint = Endpoint(EndpointConfig("lns", max_half_open=99999), bytes)
    seen = []
    for number in range(1, 1001):
        tunnel = ask(endpoint, f"10.0.{number >> 8}.{number & 255}", number)
        assert tunnel is not None
        seen.append(tunnel.local_id)
        if number % 2:
            endpoint.forget(tunnel)
    assert len(set(seen)) == len(seen)
    assert 0 not in seen


def test_ids_that_were_used_lately_come_back_some_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A random source that always says the same is the worst case."""
    monkeypatch.setattr("l2tpns_core.l2tp.endpoint.MAX_RETIRED_IDS", 100)
    endpoint = Endpoint(EndpointConfig("lns"), bytes)
    used = set()
    for number in range(500):
        tunnel = ask(endpoint, "192.0.2.1", 1 + number)
        assert tunnel is not None
        used.add(tunnel.local_id)
        endpoint.forget(tunnel)
    assert len(used) == 101


def test_table_can_be_filled_to_the_last_id() -> None:
    config = EndpointConfig("lns", max_half_open=70_000, max_half_open_per_source=70_000)
    endpoint = Endpoint(config, random.Random(1).randbytes)
    for number in range(1, 101):
        tunnel = ask(endpoint, "192.0.2.1", number)
        assert tunnel is not None
        endpoint.forget(tunnel)
    stand_in = ask(endpoint, "192.0.2.1", 1)
    assert stand_in is not None
    free = 777 if stand_in.local_id != 777 else 778
    endpoint.tunnels.update((n, stand_in) for n in range(1, 65536) if n != free)
    last = ask(endpoint, "192.0.2.1", 2)
    assert last is not None
    assert last.local_id == free
    assert ask(endpoint, "192.0.2.1", 3) is None


def test_configuration_may_change_while_tunnels_are_up() -> None:
    bench = Bench().open()
    bench.endpoint.config = EndpointConfig("new-name")
    (sccrp,) = bench.put(control(0, 0, 0, 0, sccrq(9)), ("192.0.2.9", 1701))
    assert sccrp.avps[7] == b"new-name"


def test_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(EndpointConfig("lns", secret=b"hunter2"))
