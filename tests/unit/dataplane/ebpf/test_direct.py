"""When packets may pass by the IP stack, and from which interfaces."""

import asyncio
import logging

import pytest

from l2tpns_core.dataplane.ebpf.direct import LEASE_S, LOOK_S, ROUTES_S, DirectWay
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.net.netlink import WaysOut

TUN = 9


class Fast:
    """What DirectWay does to a fast path."""

    def __init__(self) -> None:
        self.until = 0.0
        self.many_paths = True
        self.attached: set[int] = set()
        self.refused: set[int] = set()

    def direct(self, until: float, *, many_paths: bool) -> None:
        self.until, self.many_paths = until, many_paths

    def networks(self) -> set[int]:
        return set(self.attached)

    def attach_network(self, ifindex: int) -> None:
        if ifindex in self.refused:
            raise FastPathError("interface 3 is not Ethernet")
        self.attached.add(ifindex)

    def detach_network(self, ifindex: int) -> None:
        self.attached.discard(ifindex)


class World:
    """Time, routes and onlookers."""

    def __init__(self) -> None:
        self.now = 100.0
        self.onlooker = ""
        self.ways: WaysOut | None = WaysOut(frozenset({2, 3, TUN}), several=False, special=False)
        self.fast = Fast()
        self.way = DirectWay(
            self.fast,  # type: ignore[arg-type]
            TUN,
            lambda: self.onlooker,
            self.ways_out,
            lambda: self.now,
        )

    async def ways_out(self) -> WaysOut | None:
        return self.ways

    def look(self, seconds: float = 0.0) -> None:
        self.now += seconds
        asyncio.run(self.way.look())


@pytest.fixture
def world() -> World:
    return World()


def test_while_nobody_looks_it_is_open_for_a_while(world: World) -> None:
    world.look()
    assert world.fast.until == world.now + LEASE_S
    assert world.way.obstacle == ""
    assert LOOK_S * 4 < LEASE_S, "or a busy loop closes it"


def test_somebody_who_looks_closes_it_at_once_and_until_he_goes(world: World) -> None:
    world.look()
    world.onlooker = "somebody captures packets"
    world.look(LOOK_S)
    assert (world.fast.until, world.way.obstacle) == (0, "somebody captures packets")
    world.onlooker = ""
    world.look(LOOK_S)
    assert world.fast.until > world.now


def test_each_change_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "l2tpns.plane")
    for onlooker in ("", "", "a chain", "a chain", ""):
        world.onlooker = onlooker
        world.look(LOOK_S)
    assert [record.getMessage() for record in caplog.records] == [
        "packets pass by the IP stack: nobody there looks at them",
        "packets go through the IP stack: a chain",
        "packets pass by the IP stack: nobody there looks at them",
    ]


def test_it_starts_where_routes_lead_but_not_at_the_tun_device(world: World) -> None:
    world.look()
    assert world.fast.attached == {2, 3}
    world.ways = WaysOut(frozenset({3, 4}), several=True, special=False)
    world.look(ROUTES_S)
    assert world.fast.attached == {3, 4}
    assert world.fast.many_paths


def test_routes_that_say_more_than_a_next_hop_close_it(world: World) -> None:
    world.ways = WaysOut(frozenset({2}), several=False, special=True)
    world.look()
    assert world.fast.until == 0
    assert "routes" in (world.way.obstacle or "")


def test_routes_that_cannot_be_read_are_as_they_were(world: World) -> None:
    ways, world.ways = world.ways, None
    world.look()
    assert (world.fast.until, world.way.obstacle) == (0, "routes cannot be read")
    world.ways = ways
    world.look(LOOK_S)
    assert world.fast.until > world.now
    world.ways = None
    world.look(ROUTES_S)
    assert world.fast.until > world.now
    assert world.fast.attached == {2, 3}
    world.ways = WaysOut(frozenset({2}), several=False, special=False)
    world.look(LOOK_S)
    assert world.fast.attached == {2}, "asked again at the next look, not later"


def test_an_interface_that_cannot_have_it_keeps_the_others(world: World) -> None:
    world.fast.refused = {3}
    world.look()
    assert world.fast.attached == {2}
    assert world.fast.until > world.now
