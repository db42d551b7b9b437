"""Following the ways to LACs, in virtual time."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from l2tpns_core.dataplane.ebpf.paths import AT_ONCE, LOOK_S, LacPaths
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.ebpf.table import ASK, NextHop
from l2tpns_core.lab.virtual_loop import VirtualLoop
from unit.dataplane.ebpf.fakes import FakeFast, joined
from unit.dataplane.fakes import LAC, OTHER, route

HOST = LAC[0]


class Routes:
    """The kernel's routes, the interfaces, and a task that follows them."""

    def __init__(self, *interfaces: str) -> None:
        self.now = 0.0
        self.loop = VirtualLoop(lambda: self.now)
        self.fast = FakeFast(5000)
        self.plane: EbpfPlane = joined(self.loop, self.fast)
        self.ways: dict[str, tuple[int, str]] = {}
        self.indices: dict[str, int] = {}
        self.looks = 0
        self.task = self.loop.create_task(self._run(interfaces))
        self.loop.settle()

    async def _run(self, interfaces: tuple[str, ...]) -> None:
        await LacPaths(self.plane, self._find, interfaces, self._index_of).run()

    async def _find(self, host: str) -> tuple[int, str]:
        self.looks += 1
        if host not in self.ways:
            raise LookupError("no route")
        return self.ways[host]

    def _index_of(self, name: str) -> int:
        if name not in self.indices:
            raise OSError("no such interface")
        return self.indices[name]

    def install(self, *keys: int, peer: tuple[str, int] = LAC) -> None:
        for key in keys:
            self.plane.install(route(key=key, peer=peer))

    def wait(self, seconds: float) -> None:
        """Let time pass, from timer to timer."""
        end = self.now + seconds
        due = self.loop.settle()
        while due is not None and due <= end:
            self.now = due
            due = self.loop.settle()
        self.now = end

    def hops(self) -> set[NextHop]:
        return {hop for _, hop in self.fast.installed.values()}

    def close(self) -> None:
        self.task.cancel()
        self.loop.settle()
        self.loop.close()


@pytest.fixture
def routes() -> Iterator[Routes]:
    made = Routes()
    yield made
    made.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]


def test_the_interface_of_a_new_lac_is_attached_to_at_once(
    routes: Routes, caplog: pytest.LogCaptureFixture
) -> None:
    routes.ways[HOST] = (3, HOST)
    routes.wait(LOOK_S / 2)
    routes.install(1, 2)
    assert routes.hops() == {ASK}
    routes.loop.settle()
    assert routes.fast.attached == {3}
    assert routes.hops() == {NextHop(3, HOST)}
    routes.install(5)  # and those that come later know the way
    assert routes.hops() == {NextHop(3, HOST)}
    assert warnings(caplog) == []


def test_nothing_is_done_again_while_nothing_changes(routes: Routes) -> None:
    routes.ways[HOST] = (3, HOST)
    routes.install(1)
    routes.wait(0)
    routes.fast.calls.clear()
    routes.wait(10 * LOOK_S)
    assert routes.looks == 11
    assert routes.fast.calls == []
    assert routes.fast.attach_calls == [3]


def test_sessions_are_told_of_another_route_in_slices(routes: Routes) -> None:
    routes.ways[HOST] = (3, HOST)
    routes.install(*range(1, 2 * AT_ONCE + 11))
    routes.wait(0)
    routes.fast.calls.clear()
    routes.ways[HOST] = (4, "192.0.2.254")
    routes.wait(LOOK_S)
    assert [len(call) for call in routes.fast.calls] == [AT_ONCE, AT_ONCE, 10]
    assert routes.hops() == {NextHop(4, "192.0.2.254")}
    assert routes.fast.attached == {4}


def test_an_interface_is_left_when_its_last_lac_is_gone(routes: Routes) -> None:
    routes.ways |= {HOST: (3, HOST), OTHER[0]: (3, OTHER[0])}
    routes.install(1)
    routes.install(2, peer=OTHER)
    routes.wait(0)
    routes.plane.remove(1)
    routes.wait(LOOK_S)
    assert routes.fast.attached == {3}
    assert list(routes.plane.paths) == [OTHER[0]]
    routes.plane.remove(2)
    routes.wait(LOOK_S)
    assert routes.fast.attached == set()
    assert routes.plane.paths == {}
    routes.install(3)
    routes.wait(0)
    assert routes.fast.attached == {3}


def test_an_interface_that_went_and_came_back_is_attached_to_again(
    routes: Routes, caplog: pytest.LogCaptureFixture
) -> None:
    routes.ways[HOST] = (3, HOST)
    routes.install(1)
    routes.wait(0)
    del routes.ways[HOST]
    routes.wait(4 * LOOK_S)
    assert routes.fast.attached == set()
    assert routes.hops() == {ASK}  # the kernel looks for itself, and user space for an answer
    assert warnings(caplog) == [f"LAC {HOST} cannot be reached: no route"]
    routes.ways[HOST] = (9, HOST)
    routes.wait(LOOK_S)
    assert routes.fast.attached == {9}
    assert routes.hops() == {NextHop(9, HOST)}
    del routes.ways[HOST]
    routes.wait(LOOK_S)
    assert len(warnings(caplog)) == 2  # it is told each time that it happens


def test_an_interface_that_refuses_is_told_of_once_and_tried_again(
    routes: Routes, caplog: pytest.LogCaptureFixture
) -> None:
    routes.ways[HOST] = (3, HOST)
    routes.fast.refuses[3] = "interface 3 is not Ethernet"
    routes.install(1)
    routes.wait(10 * LOOK_S)
    told = "what LACs send goes through user space: interface 3 is not Ethernet"
    assert warnings(caplog) == [told]
    assert routes.hops() == {NextHop(3, HOST)}  # what goes down is another matter
    del routes.fast.refuses[3]
    routes.wait(LOOK_S)
    assert routes.fast.attached == {3}
    assert warnings(caplog) == [told]


def test_a_lac_without_a_route_is_told_of_once(
    routes: Routes, caplog: pytest.LogCaptureFixture
) -> None:
    routes.install(1)
    routes.wait(10 * LOOK_S)
    assert warnings(caplog) == [f"LAC {HOST} cannot be reached: no route"]
    assert routes.hops() == {ASK}
    assert routes.fast.calls == [[1]]


def test_a_lac_that_goes_while_it_is_looked_for_is_forgotten(routes: Routes) -> None:
    found = asyncio.Event()

    async def slow(host: str) -> tuple[int, str]:
        await found.wait()
        return 3, host

    paths = LacPaths(routes.plane, slow)
    routes.install(1)
    look = routes.loop.create_task(paths.look())
    routes.loop.settle()
    routes.plane.remove(1)
    found.set()
    routes.loop.settle()
    assert look.done()
    assert routes.plane.paths == {}
    assert routes.fast.attached == set()


def test_named_interfaces_are_the_only_ones(caplog: pytest.LogCaptureFixture) -> None:
    routes = Routes("eth0", "eth1")
    try:
        routes.indices["eth0"] = 3
        routes.wait(LOOK_S)
        assert routes.fast.attached == {3}
        routes.ways[HOST] = (7, HOST)
        routes.install(1)
        routes.wait(LOOK_S)
        assert routes.fast.attached == {3}
        assert routes.hops() == {NextHop(7, HOST)}
        assert warnings(caplog) == [
            f"there is no interface {name} (see lac_interfaces)" for name in ("eth0", "eth1")
        ]
        routes.indices |= {"eth0": 12, "eth1": 13}
        routes.wait(LOOK_S)
        assert routes.fast.attached == {12, 13}
        assert len(warnings(caplog)) == 2
    finally:
        routes.close()


def test_the_task_goes_on_for_ever(routes: Routes) -> None:
    routes.wait(100 * LOOK_S)
    assert not routes.task.done()
    assert routes.looks == 0
