"""The routes to the TUN device: what the LNS wants, brought into the kernel in the background.

add() and remove() only note what is wanted and return. One task carries the notes out in order, one
netlink request at a time (a third of a millisecond each), so that a mass login does not stall the
loop. A prefix is noted once however often it changes before its turn: adding and removing it in the
meantime asks nothing of the kernel. So the queue is never longer than the prefixes that sessions
and pool have.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from l2tpns_core.net.netlink import KernelRefused, prefix_text

log = logging.getLogger("l2tpns.net")

ADDRESS_BITS: Final = 32
ALL_ONES: Final = 0xFFFFFFFF

Prefix = tuple[int, int]
"""Network and prefix length."""


class RouteChanger(Protocol):
    """The part of net.netlink.Netlink that this module needs."""

    async def change_route(
        self, action: str, prefix: Prefix, index: int, protocol: int, metric: int
    ) -> None: ...

    async def routes_of(self, index: int, protocol: int) -> list[tuple[Prefix, int]]: ...


@dataclass(slots=True)
class RouteCounters:
    added: int = 0
    removed: int = 0
    failed: int = 0
    coalesced: int = 0
    """Changes that another one undid before their turn."""


class TunRoutes:
    """KernelRoutes of the LNS: routes of one device with our own protocol number."""

    def __init__(self, netlink: RouteChanger, index: int, protocol: int, metric: int) -> None:
        """`index` is that of the TUN device, `protocol` marks our routes for others (and for us
        after a crash)."""
        self.counters = RouteCounters()
        self._netlink = netlink
        self._index = index
        self._protocol = protocol
        self._metric = metric
        self._wanted: set[Prefix] = set()
        self._present: set[Prefix] = set()
        self._changed: dict[Prefix, None] = {}
        self._pool: set[Prefix] = set()
        self._pool_masks: list[tuple[int, int]] = []
        self._wakeup = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._worker: asyncio.Task[None] | None = None
        self.on_add: Callable[[Prefix], None] = lambda prefix: None
        self.on_remove: Callable[[Prefix], None] = lambda prefix: None
        """Told what is routed to us, and what is not any more."""

    # What the LNS calls

    def add(self, network: int, prefix_length: int) -> None:
        """Route a network to the device; an address is a network of 32 bits."""
        prefix = _normal(network, prefix_length)
        if prefix not in self._wanted:
            self._wanted.add(prefix)
            self._note(prefix)
            self.on_add(prefix)

    def remove(self, network: int, prefix_length: int) -> None:
        """Undo add(). Routes of the pool stay."""
        prefix = _normal(network, prefix_length)
        if prefix in self._wanted and prefix not in self._pool:
            self._wanted.discard(prefix)
            self._note(prefix)
            self.on_remove(prefix)

    def covers(self, ip: int) -> bool:
        """Whether an address is routed with the pool, for good."""
        return any((ip & mask, length) in self._pool for mask, length in self._pool_masks)

    # What the daemon calls

    def set_pool(self, networks: Iterable[Prefix], addresses: Iterable[int] = ()) -> None:
        """Route the networks of the pool, and its addresses that are in none of them."""
        old = self._pool
        self._cover({_normal(*network) for network in networks})
        singles = {(ip, ADDRESS_BITS) for ip in addresses if not self.covers(ip)}
        self._cover(self._pool | singles)
        for prefix in sorted(self._pool - old):
            self.add(*prefix)
        for prefix in sorted(old - self._pool):
            self.remove(*prefix)

    async def start(self, *, adopt: bool = False) -> None:
        """Remove what a former run left behind and begin to work; with `adopt` that stays until
        prune(). Errors are logged."""
        for prefix, metric in await self._netlink.routes_of(self._index, self._protocol):
            if adopt and metric == self._metric:
                self._present.add(prefix)
                continue
            log.info("removing the route %s, left over", prefix_text(prefix))
            await self._change("del", prefix, metric)
        self._worker = asyncio.create_task(self._work(), name="routes")
        self._worker.add_done_callback(self._report_end)

    def prune(self) -> None:
        """Remove what a former run left and nobody has added again."""
        for prefix in sorted(self._present - self._wanted):
            self._note(prefix)

    async def settle(self) -> None:
        """Wait until the kernel has been told of every change. Only after start()."""
        await self._settled.wait()

    def withdraw(self) -> None:
        """Want no route any more, not even those of the pool."""
        self._cover(set())
        for prefix in sorted(self._wanted):
            self.remove(*prefix)

    async def close(self) -> None:
        """Stop working. Routes stay until the device goes; see withdraw() and settle()."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None

    @property
    def wanted(self) -> frozenset[Prefix]:
        """What is routed to us, or about to be."""
        return frozenset(self._wanted)

    @property
    def pending(self) -> int:
        """Changes that the kernel has not seen yet."""
        return len(self._changed)

    @property
    def present(self) -> frozenset[Prefix]:
        """The routes that are in the kernel."""
        return frozenset(self._present)

    def _cover(self, pool: set[Prefix]) -> None:
        self._pool = pool
        self._pool_masks = [(_mask(length), length) for length in {length for _, length in pool}]

    def _note(self, prefix: Prefix) -> None:
        if self._changed.pop(prefix, 0) is None:
            self.counters.coalesced += 1
        self._changed[prefix] = None
        self._settled.clear()
        self._wakeup.set()

    async def _work(self) -> None:
        while True:
            await self._wakeup.wait()
            while self._changed:
                prefix = next(iter(self._changed))
                del self._changed[prefix]
                await self._carry_out(prefix)
            self._wakeup.clear()
            self._settled.set()

    def _report_end(self, worker: asyncio.Task[None]) -> None:
        self._settled.set()
        if not worker.cancelled() and (error := worker.exception()) is not None:
            log.critical("no route is changed any more: %r", error, exc_info=error)

    async def _carry_out(self, prefix: Prefix) -> None:
        wanted, present = prefix in self._wanted, prefix in self._present
        if wanted and not present:
            if await self._change("add", prefix, self._metric):
                self._present.add(prefix)
                self.counters.added += 1
        elif present and not wanted:
            self._present.discard(prefix)
            if await self._change("del", prefix, self._metric):
                self.counters.removed += 1

    async def _change(self, action: str, prefix: Prefix, metric: int) -> bool:
        try:
            await self._netlink.change_route(action, prefix, self._index, self._protocol, metric)
        except KernelRefused as error:
            if action == "del" and error.errno == errno.ESRCH:
                return True  # somebody else removed it
            self.counters.failed += 1
            log.error("route %s: %s", prefix_text(prefix), error)
            return False
        except OSError as error:
            self.counters.failed += 1
            log.error("route %s: cannot %s it: %s", prefix_text(prefix), action, error)
            return False
        return True


def _mask(length: int) -> int:
    return ALL_ONES << (ADDRESS_BITS - length) & ALL_ONES


def _normal(network: int, length: int) -> Prefix:
    """The prefix without host bits, which the kernel would refuse."""
    return network & _mask(length), length
