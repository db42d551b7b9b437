"""The plane of a slave follows the image of the master's state."""

import asyncio
from typing import Any

import pytest

from l2tpns_core.cluster.events import Forwarded
from l2tpns_core.clustering.counting import Counting
from l2tpns_core.clustering.forwarding import Channel, Passing, deliver
from l2tpns_core.clustering.tables import SlaveTables, changed_keys
from l2tpns_core.dataplane.plane import SessionCounters, SessionRoute
from l2tpns_core.l2tp.saved import SavedTunnel
from l2tpns_core.ppp.saved import SavedLink
from l2tpns_core.session import session_key
from l2tpns_core.state.image import Image
from l2tpns_core.state.model import SavedSession

TUNNEL = 7
LINK = SavedLink(auth=b"\xc0\x23", asked_auth=b"\xc0\x23", magic=99, acfc=True, pfc=True)
POOL = 0x0A400000


class Plane:
    def __init__(self) -> None:
        self.routes: dict[int, SessionRoute] = {}
        self.final = SessionCounters(10, 20, 1, 2)

    def install(self, route: SessionRoute) -> None:
        self.routes[route.key] = route

    def remove(self, key: int) -> SessionCounters:
        del self.routes[key]
        return self.final

    def counters(self, key: int) -> SessionCounters:
        return SessionCounters()


class Routes:
    """Those of the kernel; the pool is 10.64.0.0/16."""

    def __init__(self) -> None:
        self.there: set[tuple[int, int]] = set()

    def add(self, network: int, prefix_length: int) -> None:
        self.there.add((network, prefix_length))

    def remove(self, network: int, prefix_length: int) -> None:
        self.there.discard((network, prefix_length))

    def covers(self, ip: int) -> bool:
        return ip >> 16 == POOL >> 16


class Slave:
    """Tables with all that belongs to them."""

    def __init__(self) -> None:
        self.plane, self.routes = Plane(), Routes()
        self.counting = Counting(self.plane, lambda: 0.0)
        self.tables = SlaveTables(self.plane, self.routes, self.counting, lambda: 1454)
        self.image = Image()
        self.image.tunnels[TUNNEL] = SavedTunnel(TUNNEL, 70, "192.0.2.2", 1701, "203.0.113.1", 4, 4)
        asyncio.run(self.tables.follow(self.image))

    def have(self, number: int, **values: Any) -> int:
        """Give the image a session, and tell the tables of it as the master does."""
        fields: dict[str, Any] = {"link": LINK, "ip": POOL + number, "mru": 1500, **values}
        session = SavedSession(TUNNEL, number, 100 + number, number, 1.0, "192.0.2.2", **fields)
        self.image.sessions[session.key] = session
        self.tables.apply([["s", {"tunnel_id": TUNNEL, "session_id": number}]])
        return session.key

    def end(self, key: int) -> None:
        del self.image.sessions[key]
        self.tables.apply([["S", key]])

    def is_away(self, ip: int) -> bool:
        return self.tables.is_away(ip.to_bytes(4, "big"))


def test_a_plain_session_is_forwarded_here() -> None:
    slave = Slave()
    key = slave.have(1, routes=((0xAC100900, 24),))
    route = slave.plane.routes[key]
    assert (route.peer, route.local) == (("192.0.2.2", 1701), "203.0.113.1")
    assert (route.peer_tunnel_id, route.peer_session_id) == (70, 101)
    assert (route.ip, route.networks) == (POOL + 1, ((0xAC100900, 24),))
    assert (route.mru, route.clamp_mss, route.magic) == (1454, 1414, 99)
    assert route.ppp_prefix == b"\x21"
    assert slave.routes.there == {(0xAC100900, 24)}, "the pool covers its address"
    slave.end(key)
    assert not slave.plane.routes
    assert not slave.routes.there
    assert slave.counting.take([])[key][:4] == (10, 20, 1, 2)


def test_what_needs_care_is_left_to_the_master() -> None:
    for care in (
        {"throttle_in": 64},
        {"throttle_out": 64},
        {"snoop_ip": 1, "snoop_port": 9},
        {"walled_garden": True},
        {"filter_in": "web"},
        {"filter_out": "web"},
        {"sequencing_required": True},
    ):
        slave = Slave()
        key = slave.have(1, routes=((0xAC100900, 24),), **care)
        assert not slave.plane.routes, care
        assert slave.is_away(POOL + 1)
        assert slave.is_away(0xAC100905)
        assert not slave.is_away(0xAC100A05)
        assert slave.routes.there == {(0xAC100900, 24)}, "it is routed here all the same"
        slave.end(key)
        assert not slave.is_away(POOL + 1)
        assert not slave.routes.there


def test_a_session_moves_to_the_master_and_back() -> None:
    slave = Slave()
    key = slave.have(1)
    slave.have(1, throttle_in=64)
    assert not slave.plane.routes
    assert slave.counting.take([])[key][:4] == (10, 20, 1, 2)
    slave.have(1)
    assert key in slave.plane.routes
    assert not slave.is_away(POOL + 1)


def test_a_session_that_is_not_up_is_nowhere() -> None:
    slave = Slave()
    slave.have(1, link=None, ip=0)
    assert not slave.plane.routes
    assert not slave.is_away(POOL + 1)


def test_an_address_outside_of_the_pool_is_routed() -> None:
    slave = Slave()
    key = slave.have(1, ip=0xAC140007)
    assert slave.routes.there == {(0xAC140007, 32)}
    slave.end(key)
    assert not slave.routes.there


@pytest.mark.parametrize("care", [{}, {"throttle_in": 64}], ids=["here", "away"])
def test_a_network_that_moves_to_another_session_stays(care: dict[str, Any]) -> None:
    """Whichever of the two the slave is told of first."""
    slave, networks = Slave(), ((0xAC100900, 24),)
    old = slave.have(1, ip=0xAC140007, routes=networks, **care)
    new = slave.have(2, ip=0xAC140007, routes=networks, **care)
    slave.end(old)
    assert slave.routes.there == {(0xAC100900, 24), (0xAC140007, 32)}
    assert slave.is_away(0xAC100905) is slave.is_away(0xAC140007) is bool(care)
    slave.end(new)
    assert not slave.routes.there
    assert not slave.is_away(0xAC100905)


@pytest.mark.parametrize("care", [{}, {"throttle_in": 64}], ids=["here", "away"])
def test_a_session_with_other_networks(care: dict[str, Any]) -> None:
    slave = Slave()
    slave.have(1, routes=((0xAC100900, 24), (0xAC100A00, 24)), **care)
    slave.have(1, routes=((0xAC100A00, 24), (0xAC100B00, 24)), **care)
    assert slave.routes.there == {(0xAC100A00, 24), (0xAC100B00, 24)}
    away = [slave.is_away(network) for network in (0xAC100901, 0xAC100A01, 0xAC100B01)]
    assert away == [False, bool(care), bool(care)]


def test_another_image_takes_the_place_of_the_one_before() -> None:
    slave = Slave()
    gone, stays = slave.have(1, ip=0xAC140007), slave.have(2)
    other = Image()
    other.tunnels, other.sessions = slave.image.tunnels, {stays: slave.image.sessions[stays]}
    asyncio.run(slave.tables.follow(other))
    assert set(slave.plane.routes) == {stays}
    assert not slave.routes.there
    assert slave.counting.take([]).keys() == {gone}


def test_a_master_hands_over_and_takes_over() -> None:
    slave = Slave()
    key = slave.have(1)
    slave.have(2, throttle_in=64)
    assert slave.tables.hand_over() == {key}
    assert len(slave.tables) == 0
    assert key in slave.plane.routes, "it goes on forwarding"
    slave.tables.inherit([(key, ((POOL + 1, 32),))])
    asyncio.run(slave.tables.follow(Image()))
    assert not slave.plane.routes


def test_rows_of_other_kinds_are_about_no_session() -> None:
    key = session_key(TUNNEL, 3)
    rows: list[list[object]] = [
        ["w", {"time": 1.0}],
        ["s", {"tunnel_id": TUNNEL, "session_id": 3}],
        ["S", key],
        ["s", {"tunnel_id": "x"}],
        ["S"],
        ["c", [key, 1]],
    ]
    assert list(changed_keys(rows)) == [key]


class Sent(list[tuple[int, bytes, tuple[int, int], int]]):
    def __call__(self, channel: int, packet: bytes, source: tuple[int, int], local: int) -> bool:
        self.append((channel, packet, source, local))
        return True


class Master:
    """What the master's LNS and plane are given."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, ...]] = []

    def control_received(self, *what: Any) -> None:
        self.got.append(("control", *what))

    def frame_received(self, *what: Any) -> None:
        self.got.append(("frame", *what))

    def unknown_session(self, *what: Any) -> None:
        raise AssertionError

    def take_from_lac(self, *what: Any) -> None:
        self.got.append(("from lac", *what))

    def take_to_subscriber(self, *what: Any) -> None:
        self.got.append(("to subscriber", *what))


def test_what_a_slave_passes_on_is_as_if_it_had_come_to_the_master() -> None:
    sent, master = Sent(), Master()
    passing = Passing(sent, lambda address: address == b"\x0a\x40\x00\x01")
    passing.control_received(b"control", ("192.0.2.2", 1701), "203.0.113.1", 1.0)
    passing.frame_received(0x70003, b"frame", 1.0)
    passing.from_lac(b"data", ("192.0.2.2", 40_000))
    away = bytes(16) + b"\x0a\x40\x00\x01"
    assert passing.to_subscriber(away)
    assert not passing.to_subscriber(bytes(20)), "nobody's: it is answered here"
    for channel, packet, (address, port), local in sent:
        event = Forwarded(9, channel, address, port, local, packet)
        assert deliver(event, master, master, 5.0)
    assert master.got == [
        ("control", b"control", ("192.0.2.2", 1701), "203.0.113.1", 5.0),
        ("frame", 0x70003, b"frame", 5.0),
        ("from lac", b"data", ("192.0.2.2", 40_000)),
        ("to subscriber", away),
    ]
    assert not deliver(Forwarded(9, 99, 0, 0, 0, b""), master, master, 5.0)
    assert [int(channel) for channel in Channel] == [1, 2, 3, 4], "part of the messages"


def test_a_session_that_the_plane_does_not_take_costs_nobody_else() -> None:
    slave = Slave()
    install = slave.plane.install

    def fail(route: SessionRoute) -> None:
        if route.ip == POOL + 1:
            raise ValueError("no such address")
        install(route)

    slave.plane.install = fail  # type: ignore[method-assign]
    slave.have(1)
    other = slave.have(2)
    assert set(slave.plane.routes) == {other}
    assert slave.is_away(POOL + 1), "the master serves it"


def test_packets_that_plugins_want_to_see_go_to_the_master() -> None:
    slave = Slave()
    shows: list[bool] = []
    tables = SlaveTables(
        slave.plane, slave.routes, slave.counting, lambda: 1454, lambda: bool(shows)
    )
    slave.tables = tables
    asyncio.run(tables.follow(slave.image))
    key = slave.have(1)
    assert key in slave.plane.routes
    shows.append(True)
    asyncio.run(tables.follow(slave.image))
    assert not slave.plane.routes
    assert slave.is_away(POOL + 1)
    shows.clear()
    asyncio.run(tables.follow(slave.image))
    assert key in slave.plane.routes
