"""The direct way: packets between subscribers and the network that pass by the kernel's IP stack,
as long as nobody there would look at them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.fastpath import FastPath

log = logging.getLogger("l2tpns.plane")

LOOK_S: Final = 0.25
"""How often somebody may have come who wants to see packets."""
LEASE_S: Final = 2.0
"""How long packets go on passing by the stack when this task does not come to look."""
UNKNOWN_ROUTES: Final = "routes cannot be read"
SPECIAL_ROUTES: Final = "routes have an MTU of their own, or are for a type of service"
ROUTES_S: Final = 5.0
"""How often interfaces are looked at."""


class WaysOut(Protocol):
    """What routes say: see net.netlink."""

    @property
    def interfaces(self) -> frozenset[int]: ...
    @property
    def several(self) -> bool: ...
    @property
    def special(self) -> bool: ...


class DirectWay:
    """Opens and closes the direct way of a fast path. run() is a task of the daemon's."""

    def __init__(
        self,
        fast: FastPath,
        device: int,
        find_onlooker: Callable[[], str],
        ways_out: Callable[[], Awaitable[WaysOut | None]],
        clock: Callable[[], float],
    ) -> None:
        """`device` is the TUN device; `find_onlooker` says who would look, or ""; `ways_out` asks
        for what routes say, with None for no answer; `clock` is time.monotonic()."""
        self._fast = fast
        self._device = device
        self._find_onlooker = find_onlooker
        self._ways_out = ways_out
        self._routes: WaysOut | None = None
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
        if self._routes is None or self._clock() >= self._look_at_routes:
            await self._look_at_the_routes()
        obstacle = UNKNOWN_ROUTES
        if self._routes is not None:
            obstacle = SPECIAL_ROUTES if self._routes.special else self._find_onlooker()
        if obstacle != self.obstacle:
            self.obstacle = obstacle
            if obstacle:
                log.info("packets go through the IP stack: %s", obstacle)
            else:
                log.info("packets pass by the IP stack: nobody there looks at them")
        until = 0 if obstacle else self._clock() + LEASE_S
        self._fast.direct(until, many_paths=self._routes is None or self._routes.several)

    async def _look_at_the_routes(self) -> None:
        """Learn what they say. What cannot be read now is as it was, until the next look."""
        routes = await self._ways_out()
        if routes is not None:
            self._look_at_routes = self._clock() + ROUTES_S
            self._routes = routes
            self._follow(set(routes.interfaces) - {self._device})

    def _follow(self, wanted: set[int]) -> None:
        for ifindex in self._fast.networks() - wanted:
            self._fast.detach_network(ifindex)
        for ifindex in wanted - self._fast.networks():
            try:
                self._fast.attach_network(ifindex)
            except FastPathError as error:
                log.debug("packets from interface %d go through the IP stack: %s", ifindex, error)
