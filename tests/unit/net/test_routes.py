"""The queue of route changes, against a kernel in memory."""

import asyncio
import errno
from collections.abc import Awaitable, Callable

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from l2tpns_core.net.netlink import KernelRefused
from l2tpns_core.net.routes import Prefix, TunRoutes

NET = 0x0A000000
INDEX, PROTOCOL, METRIC = 7, 42, 1


class Kernel:
    """Routes as the kernel keeps them; each request takes one turn of the loop."""

    def __init__(self) -> None:
        self.routes: dict[Prefix, int] = {}
        self.requests: list[tuple[str, Prefix]] = []
        self.refused: dict[Prefix, Exception] = {}

    async def change_route(
        self, action: str, prefix: Prefix, index: int, protocol: int, metric: int
    ) -> None:
        assert (index, protocol) == (INDEX, PROTOCOL)
        await asyncio.sleep(0)
        self.requests.append((action, prefix))
        if prefix in self.refused:
            raise self.refused[prefix]
        if action == "add":
            self.routes[prefix] = metric
        elif self.routes.pop(prefix, None) != metric:
            raise refusal(errno.ESRCH)

    async def routes_of(self, index: int, protocol: int) -> list[tuple[Prefix, int]]:
        return list(self.routes.items())


def refusal(code: int) -> KernelRefused:
    return KernelRefused("cannot", NetlinkError(code, "no"))


def run(test: Callable[[Kernel, TunRoutes], Awaitable[None]]) -> None:
    async def main() -> None:
        kernel = Kernel()
        routes = TunRoutes(kernel, INDEX, PROTOCOL, METRIC)
        try:
            await test(kernel, routes)
        finally:
            await routes.close()

    asyncio.run(main())


def test_changes_reach_the_kernel_in_order() -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        await routes.start()
        routes.add(NET + 5, 32)
        routes.add(NET, 24)
        await routes.settle()
        routes.remove(NET + 5, 32)
        assert routes.pending == 1
        await routes.settle()
        assert kernel.requests == [
            ("add", (NET + 5, 32)),
            ("add", (NET, 24)),
            ("del", (NET + 5, 32)),
        ]
        assert kernel.routes == {(NET, 24): METRIC}
        assert routes.present == {(NET, 24)}
        assert (routes.counters.added, routes.counters.removed) == (2, 1)

    run(test)


def test_adding_and_removing_before_its_turn_asks_nothing() -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        await routes.start()
        for _ in range(1000):
            routes.add(NET + 5, 32)
            routes.remove(NET + 5, 32)
        assert routes.pending == 1
        await routes.settle()
        assert kernel.requests == []
        assert routes.counters.coalesced == 1999

    run(test)


def test_removal_while_the_route_is_being_added_is_not_lost() -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        await routes.start()
        routes.add(NET + 5, 32)
        await asyncio.sleep(0)
        assert routes.pending == 0  # the request is on its way
        routes.remove(NET + 5, 32)
        await routes.settle()
        assert kernel.routes == {}
        assert [action for action, _ in kernel.requests] == ["add", "del"]

    run(test)


def test_leftovers_are_removed_at_the_start() -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        kernel.routes = {(NET + 9, 32): 77, (NET, 24): METRIC}
        routes.set_pool([(NET, 24)])
        await routes.start()
        await routes.settle()
        assert kernel.routes == {(NET, 24): METRIC}

    run(test)


def test_pool_covers_its_networks_and_single_addresses() -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        outside = 0xC0A80005
        routes.set_pool([(NET + 3, 24)], [NET + 7, outside])
        await routes.start()
        await routes.settle()
        assert set(kernel.routes) == {(NET, 24), (outside, 32)}
        assert routes.covers(NET + 200)
        assert routes.covers(outside)
        assert not routes.covers(outside + 1)
        assert not routes.covers(NET + 256)

    run(test)


def test_routes_of_the_pool_survive_a_session_that_had_the_same() -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        routes.set_pool([(NET, 24)])
        await routes.start()
        routes.add(NET, 24)
        routes.remove(NET, 24)
        await routes.settle()
        assert set(kernel.routes) == {(NET, 24)}

    run(test)


def test_new_pool_replaces_the_old_one() -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        routes.set_pool([(NET, 24), (NET + 512, 24)])
        await routes.start()
        await routes.settle()
        routes.set_pool([(NET + 512, 24), (NET + 1024, 24)])
        await routes.settle()
        assert set(kernel.routes) == {(NET + 512, 24), (NET + 1024, 24)}
        assert not routes.covers(NET + 1)

    run(test)


@pytest.mark.parametrize("failure", [refusal(errno.EEXIST), OSError(errno.ENOBUFS, "no buffers")])
def test_refusal_is_logged_with_the_route_and_the_next_one_is_done(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        kernel.refused[NET + 5, 32] = failure
        await routes.start()
        routes.add(NET + 5, 32)
        routes.add(NET + 6, 32)
        await routes.settle()
        assert set(kernel.routes) == {(NET + 6, 32)}
        assert routes.counters.failed == 1
        assert "10.0.0.5/32" in caplog.text
        routes.remove(NET + 5, 32)
        await routes.settle()
        assert ("del", (NET + 5, 32)) not in kernel.requests

    run(test)


def test_route_that_somebody_else_removed_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        await routes.start()
        routes.add(NET + 5, 32)
        await routes.settle()
        kernel.routes.clear()
        routes.remove(NET + 5, 32)
        await routes.settle()
        assert routes.counters.failed == 0
        assert not caplog.records

    run(test)


def test_worker_that_dies_is_reported_and_nobody_waits_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        kernel.refused[NET + 5, 32] = ValueError("bug")
        await routes.start()
        routes.add(NET + 5, 32)
        await routes.settle()
        assert "no route is changed any more" in caplog.text

    run(test)


def test_withdraw_removes_all() -> None:
    async def test(kernel: Kernel, routes: TunRoutes) -> None:
        routes.set_pool([(NET, 24)], [0xC0A80005])
        routes.add(0xC0A80106, 32)
        await routes.start()
        await routes.settle()
        assert len(kernel.routes) == 3
        routes.withdraw()
        await routes.settle()
        assert kernel.routes == {}

    run(test)
