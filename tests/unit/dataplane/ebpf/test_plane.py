"""Two planes as one: where sessions go, and what is added up."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.plane import COUNTER_OF, EbpfPlane
from l2tpns_core.dataplane.ebpf.table import ASK, NextHop
from l2tpns_core.dataplane.plane import SessionCounters
from unit.dataplane.ebpf.fakes import FakeFast, joined
from unit.dataplane.fakes import KEY, LAC, OTHER, SUBSCRIBER, data_message, route, udp_packet

HOP = NextHop(3, LAC[0])
USED = SessionCounters(1000, 2000, 10, 20, 5.0, 4.0)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def fast() -> FakeFast:
    return FakeFast()


@pytest.fixture
def plane(loop: asyncio.AbstractEventLoop, fast: FakeFast) -> EbpfPlane:
    return joined(loop, fast)


def pass_in_user_space(plane: EbpfPlane, count: int) -> int:
    """Let packets of the subscriber come to the socket; return their octets."""
    packet = udp_packet(SUBSCRIBER, "198.51.100.7")
    socket = plane.user._socket
    socket.incoming.extend([(data_message(b"\xff\x03\x00\x21" + packet), LAC)] * count)  # type: ignore[attr-defined]
    plane.user._up.read()
    return count * len(packet)


def test_a_session_is_in_both_planes(plane: EbpfPlane, fast: FakeFast) -> None:
    plane.install(route())
    assert fast.installed == {KEY: (route(), ASK)}
    assert plane.session_count == plane.user.session_count == 1
    plane.paths[LAC[0]] = HOP
    plane.install(route(mru=1400))
    assert fast.installed == {KEY: (route(mru=1400), HOP)}
    plane.remove(KEY)
    assert fast.installed == {}
    assert plane.session_count == 0


def test_what_both_have_seen_is_added_up(plane: EbpfPlane, fast: FakeFast) -> None:
    plane.install(route())
    fast.used[KEY] = USED
    octets = pass_in_user_space(plane, 3)
    found = plane.counters(KEY)
    assert found[:4] == (1000 + octets, 2000, 13, 20)
    heard_at = plane.user.counters(KEY).heard_at
    assert (found.heard_at, found.data_at) == (max(5.0, heard_at), max(4.0, heard_at))
    assert plane.remove(KEY) == found
    assert plane.remove(KEY) == plane.counters(KEY) == SessionCounters()


def test_the_lacs_are_known_with_their_sessions(plane: EbpfPlane) -> None:
    told: list[str] = []
    plane.on_new_lac = told.append
    for key, peer in ((1, LAC), (2, LAC), (3, OTHER)):
        plane.install(route(key=key, peer=peer))
    plane.install(route(key=1, mru=1000))
    assert told == plane.lacs() == [LAC[0], OTHER[0]]
    assert sorted(plane.keys_of(LAC[0])) == [1, 2]
    plane.install(route(key=2, peer=OTHER))  # it moved
    assert (plane.keys_of(LAC[0]), plane.keys_of(OTHER[0])) == ([1], [3, 2])
    plane.remove(1)
    assert plane.lacs() == [OTHER[0]]
    assert plane.keys_of(LAC[0]) == []
    plane.install(route(key=1))
    assert told == [LAC[0], OTHER[0], LAC[0]]


def test_sessions_are_told_of_another_way_together(plane: EbpfPlane, fast: FakeFast) -> None:
    for key in (1, 2, 3):
        plane.install(route(key=key))
    fast.calls.clear()
    plane.paths[LAC[0]] = HOP
    plane.reinstall([1, 3, 77])
    assert fast.calls == [[1, 3]]
    assert [fast.installed[key][1] for key in (1, 2, 3)] == [HOP, ASK, HOP]


def test_what_the_kernel_has_no_place_for_is_left_to_user_space(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    fast = FakeFast(places=2)
    plane = joined(loop, fast)
    for key in (1, 2, 3, 4):
        plane.install(route(key=key))
    assert sorted(fast.installed) == [1, 2]
    assert plane.session_count == 4
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ["sessions are left to user space: all 2 places for sessions are taken"]
    plane.paths[LAC[0]] = HOP
    plane.reinstall([3, 1, 4, 2])  # one that fails is no reason to forget the others
    assert [hop for _, hop in fast.installed.values()] == [HOP, HOP]


def test_a_change_that_fails_ends_what_the_kernel_knew(
    plane: EbpfPlane, fast: FakeFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.install(route())
    fast.used[KEY] = USED
    with monkeypatch.context() as patched:
        patched.setattr(fast, "install_many", FakeFast(places=0).install_many)
        plane.install(route(mru=1000))
    assert fast.installed == {}
    assert plane.counters(KEY) == USED  # it is not forgotten what it used before
    plane.install(route(mru=1000))
    fast.used[KEY] = USED._replace(packets_in=1)
    assert plane.counters(KEY)[:4] == (2000, 4000, 11, 40)
    assert plane.remove(KEY)[:4] == (2000, 4000, 11, 40)


def test_limits_count_from_when_they_were_set(plane: EbpfPlane, fast: FakeFast) -> None:
    plane.install(route())
    fast.used[KEY], fast.dropped[KEY] = USED, (1, 2)
    assert plane.throttle_state(KEY) is None
    plane.install(route(throttle_in=100))
    fast.used[KEY] = USED._replace(packets_in=15, packets_out=30)
    fast.dropped[KEY] = (4, 2)
    state = plane.throttle_state(KEY)
    assert state is not None
    assert (state.rate_in, state.passed_in, state.dropped_in) == (100, 5, 3)
    assert (state.rate_out, state.passed_out, state.dropped_out) == (0, 0, 0)
    plane.install(route(throttle_in=200, throttle_out=300))
    fast.used[KEY] = USED._replace(packets_in=16, packets_out=37)
    fast.dropped[KEY] = (4, 4)
    state = plane.throttle_state(KEY)
    assert state is not None
    assert (state.rate_in, state.passed_in, state.dropped_in) == (200, 6, 3)
    assert (state.rate_out, state.passed_out, state.dropped_out) == (300, 7, 2)
    plane.install(route())
    assert plane.throttle_state(KEY) is None
    plane.install(route(throttle_in=100))
    state = plane.throttle_state(KEY)
    assert state is not None
    assert (state.passed_in, state.dropped_in) == (0, 0)


def test_the_counters_of_the_plane_are_of_both(plane: EbpfPlane, fast: FakeFast) -> None:
    plane.install(route())
    octets = pass_in_user_space(plane, 2)
    alone = plane.user.plane_counters().as_dict()
    fast.outcomes |= {
        "up_forwarded": 3,
        "up_octets": 300,
        "down_forwarded": 4,
        "down_octets": 4000,
        "up_drop_wrong_peer": 1,
        "up_drop_packet_errors": 2,
        "up_drop_source_spoofed": 3,
        "up_drop_throttled": 4,
        "down_drop_throttled": 5,
        "mss_clamped": 6,
        "up_punt_header": 1000,
    }
    found = plane.plane_counters().as_dict()
    grown = {name: value - alone[name] for name, value in found.items() if value != alone[name]}
    assert grown == {
        "socket_rx_packets": 3 + 10,
        "socket_rx_octets": 330,
        "socket_tx_packets": 4,
        "socket_tx_octets": 4040,
        "tun_rx_packets": 4 + 5,
        "tun_rx_octets": 4000,
        "tun_tx_packets": 3,
        "tun_tx_octets": 300,
        "wrong_peer": 1,
        "packet_errors": 2,
        "source_spoofed": 3,
        "throttle_drops": 9,
        "mss_clamped": 6,
    }
    assert alone["tun_tx_octets"] == octets
    assert plane.user.plane_counters().as_dict() == alone  # they were added, not put there


def test_every_drop_of_the_kernel_has_a_counter() -> None:
    drops = {name for name in layout.OUTCOMES if "_drop_" in name}
    assert drops - set(COUNTER_OF) == set()
