"""An endpoint and a LAC over a bad network: nothing is lost, nothing is doubled."""

import random

import pytest

from l2tpns_core.l2tp.codes import CdnResult
from l2tpns_core.l2tp.endpoint import EndpointConfig
from l2tpns_core.l2tp.events import (
    CallClosed,
    CallConnected,
    CallRequested,
    TunnelClosed,
    TunnelFinished,
    TunnelOpened,
)
from l2tpns_core.l2tp.states import TunnelState
from l2tpns_core.l2tp.tunnel import Tunnel
from unit.l2tp.lossy import Clock, Lac, Link, Server

PEER = ("192.0.2.1", 1701)
BAD = {"loss": 0.1, "duplication": 0.1, "reordering": 0.1}


def world(seed: int = 1, window: int = 8, **conditions: float) -> tuple[Clock, Server, Lac]:
    clock = Clock()
    link = Link(rng=random.Random(seed), **conditions)  # type: ignore[arg-type]
    config = EndpointConfig("lns", secret=b"s")
    server = Server(clock, link, config)
    return clock, server, Lac(server, PEER, window)


def connected(server: Server) -> list[int]:
    return [
        e.call.peer_session_id for e in server.of(CallConnected) if isinstance(e, CallConnected)
    ]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("window", [1, 4, 64])
def test_calls_come_and_go_over_a_bad_network(seed: int, window: int) -> None:
    clock, server, lac = world(seed, window, **BAD)
    calls = 150
    for session in range(1, calls + 1):
        clock.at(5 + session * 0.02, lambda session=session: lac.call(session))  # type: ignore[misc]
    clock.run(150)
    assert sorted(connected(server)) == list(range(1, calls + 1))
    assert len(server.of(CallRequested)) == calls
    assert len(server.of(TunnelOpened)) == 1
    (tunnel,) = server.endpoint.tunnels.values()
    assert set(lac.sessions) == set(range(1, calls + 1))
    assert set(lac.sessions.values()) == set(tunnel.calls)
    assert tunnel.channel.duplicates > 0, "the network was as bad as it should be"
    assert tunnel.channel.retransmissions > 0
    for session in range(1, 51):
        lac.hang_up(session)
    for session_id in list(tunnel.calls)[-50:]:
        tunnel.disconnect_call(session_id, CdnResult.ADMINISTRATIVE, 0, "bye", clock.now)
    server.pump(tunnel)
    clock.run(250)
    assert len(server.of(CallClosed)) == 50
    assert len(lac.ended) == len(set(lac.ended)) == 50
    assert len(tunnel.calls) == 50
    lac.stop()
    clock.run(400)
    assert len(server.of(TunnelClosed)) == 1
    assert len(server.of(TunnelFinished)) == 1
    assert server.endpoint.tunnels == {}


@pytest.mark.parametrize("seed", range(8))
def test_stop_of_ours_reaches_the_lac(seed: int) -> None:
    clock, server, lac = world(seed, **BAD)
    clock.run(30)
    (tunnel,) = server.endpoint.tunnels.values()
    tunnel.close(1, 0, "", clock.now)
    server.pump(tunnel)
    clock.run(200)
    assert lac.stopped
    assert server.endpoint.tunnels == {}


@pytest.mark.parametrize("seed", range(20))
def test_setup_opens_one_tunnel_however_often_the_sccrq_comes(seed: int) -> None:
    clock, server, _lac = world(seed, loss=0.3, duplication=0.3, reordering=0.3)
    clock.run(40)
    assert len(server.of(TunnelOpened)) == 1
    states = [tunnel.state for tunnel in server.endpoint.tunnels.values()]
    assert states == [TunnelState.ESTABLISHED]


def test_good_network_needs_no_retransmission_and_few_bare_acknowledgements() -> None:
    clock, server, lac = world(window=64)
    for session in range(1, 501):
        clock.at(1 + session * 0.002, lambda session=session: lac.call(session))  # type: ignore[misc]
    clock.run(30)
    (tunnel,) = server.endpoint.tunnels.values()
    assert len(tunnel.calls) == 500
    assert tunnel.channel.retransmissions == 0
    assert server.messages == 501
    assert server.zlbs < 60


def test_idle_tunnel_is_kept_by_hello() -> None:
    clock, server, lac = world(**BAD)
    clock.run(3600)
    (tunnel,) = server.endpoint.tunnels.values()
    assert tunnel.state is TunnelState.ESTABLISHED
    hellos = [packet for packet in lac.seen if packet.kind == 6]
    assert 50 <= len(hellos) <= 60


def test_lac_that_vanishes_is_noticed_and_forgotten() -> None:
    clock, server, lac = world()
    clock.run(1)
    lac.call(1)
    clock.run(5)
    lac.silent = True
    clock.run(5 + 60 + 47 + 1)
    (closed,) = server.of(TunnelClosed)
    assert isinstance(closed, TunnelClosed)
    assert closed.lost
    assert server.endpoint.tunnels == {}


def test_window_of_the_lac_is_respected_when_many_calls_end_at_once() -> None:
    """The LAC asserts that nothing beyond its window comes."""
    clock, server, lac = world(window=4)
    clock.run(1)
    for session in range(1, 201):
        lac.call(session)
    clock.run(30)
    (tunnel,) = server.endpoint.tunnels.values()
    for session_id in list(tunnel.calls):
        tunnel.disconnect_call(session_id, CdnResult.ADMINISTRATIVE, 0, "", clock.now)
    server.pump(tunnel)
    clock.run(60)
    assert len(lac.ended) == 200
    assert tunnel.channel.retransmissions == 0


def time_to_end_calls(seed: int, calls: int = 200, **conditions: float) -> tuple[float, Tunnel]:
    """How long it takes to tell the LAC over such a network that its calls have ended."""
    clock, server, lac = world(seed, window=64)
    clock.run(2)
    for session in range(1, calls + 1):
        lac.call(session)
    clock.run(20)
    (tunnel,) = server.endpoint.tunnels.values()
    server.link = Link(rng=server.link.rng, **conditions)  # type: ignore[arg-type]
    for session_id in list(tunnel.calls):
        tunnel.disconnect_call(session_id, CdnResult.ADMINISTRATIVE, 0, "", clock.now)
    server.pump(tunnel)
    while tunnel.channel.queue_length:
        clock.run(clock.now + 0.05)
    assert len(lac.ended) == calls
    return clock.now - 20, tunnel


def test_loss_costs_round_trips_and_not_seconds() -> None:
    times = [time_to_end_calls(seed, loss=0.05)[0] for seed in range(8)]
    assert sum(times) / len(times) < 1.5


def test_bad_network_is_slow_but_not_by_a_second_for_each_loss() -> None:
    times = [time_to_end_calls(seed, **BAD)[0] for seed in range(8)]
    assert sum(times) / len(times) < 5


def test_network_that_doubles_datagrams_does_not_look_lossy() -> None:
    for seed in range(8):
        duration, tunnel = time_to_end_calls(seed, duplication=0.3)
        assert duration < 0.3
        assert tunnel.channel.retransmissions < 20


@pytest.mark.parametrize("seed", range(4))
def test_calls_are_set_up_soon_over_a_bad_network(seed: int) -> None:
    """Most of the time goes to the LAC, which waits a second for everything it lost."""
    clock, server, lac = world(seed, window=64, **BAD)
    clock.run(20)
    for session in range(1, 101):
        lac.call(session)
    clock.run(27)
    assert len(server.of(CallConnected)) == 100
