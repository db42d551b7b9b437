"""The direct way: packets between subscribers and the network that pass by the kernel's IP stack,
as long as nobody there would look at them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.fastpath import FastPath

log = logging.getLogger("l2tpns.plane")

LOOK_S: Final = 0.25
"""How often somebody may have come who wants to see packets."""
LEASE_S: Final = 2.0
"""How long packets go on passing by the stack when this task does not come to look."""
ROUTES_S: Final = 5.0
"""How often interfaces are looked at."""


class DirectWay:
    """Opens and closes the direct way of a fast path. run() is a task of the daemon's."""

    def __init__(
        self,
        fast: FastPath,
        find_onlooker: Callable[[], str],
        ways_out: Callable[[], Awaitable[tuple[set[int], bool]]],
        clock: Callable[[], float],
    ) -> None:
        """`find_onlooker` says who would look, or ""; `ways_out` are the interfaces
        that routes lead to, and whether one has several next hops; `clock` is time.monotonic()."""
        self._fast = fast
        self._find_onlooker = find_onlooker
        self._ways_out = ways_out
        self._many_paths = True
        self._clock = clock
        self._look_at_routes = 0.0
        self.obstacle: str | None = None
        """Why packets go through the stack; "" when they do not, None before the first look."""

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Bring everything up to date."""
        obstacle = self._find_onlooker()
        if obstacle != self.obstacle:
            self.obstacle = obstacle
            if obstacle:
                log.info("packets go through the IP stack: %s", obstacle)
            else:
                log.info("packets pass by the IP stack: nobody there looks at them")
        if self._clock() >= self._look_at_routes:
            self._look_at_routes = self._clock() + ROUTES_S
            interfaces, self._many_paths = await self._ways_out()
            self._follow(interfaces)
        until = 0 if obstacle else self._clock() + LEASE_S
        self._fast.direct(until, many_paths=self._many_paths)

    def _follow(self, wanted: set[int]) -> None:
        for ifindex in self._fast.networks() - wanted:
            self._fast.detach_network(ifindex)
        for ifindex in wanted - self._fast.networks():
            try:
                self._fast.attach_network(ifindex)
            except FastPathError as error:
                log.debug("packets from interface %d go through the IP stack: %s", ifindex, error)
