"""The ways to LACs: which interface leads to each, and by which neighbour. The fast path is
attached where LACs are, and follows when routes change."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.ebpf.table import NextHop

log = logging.getLogger("l2tpns.plane")

LOOK_S: Final = 5.0
"""How often routes are looked at; a packet that comes another way meanwhile goes through user
space."""
AT_ONCE: Final = 256
"""Sessions that are told about a new way before the loop is free again."""

Find = Callable[[str], Awaitable[tuple[int, str]]]
"""The interface and the gateway ("" for none) to an address; raises LookupError."""


class LacPaths:
    """Keeps the ways of a plane up to date. run() is a task of the daemon's."""

    def __init__(self, plane: EbpfPlane, find: Find) -> None:
        self._plane = plane
        self._find = find
        self._news = asyncio.Event()
        plane.on_new_lac = lambda host: self._news.set()

    async def run(self) -> None:
        """Look again and again, and at once when a LAC has come."""
        while True:
            self._news.clear()
            for host in self._plane.lacs():
                await self._look(host)
            for host in set(self._plane.paths) - set(self._plane.lacs()):
                del self._plane.paths[host]
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def _look(self, host: str) -> None:
        try:
            path = NextHop(*await self._find(host))
        except LookupError as error:
            log.debug("no way to LAC %s: %s", host, error)
            return
        if self._plane.paths.get(host) == path:
            return
        try:
            self._plane.fast.attach(path.ifindex)
        except FastPathError as error:
            log.warning("packets of LAC %s go through user space: %s", host, error)
        self._plane.paths[host] = path
        keys = self._plane.keys_of(host)
        for start in range(0, len(keys), AT_ONCE):
            self._plane.reinstall(keys[start : start + AT_ONCE])
            await asyncio.sleep(0)
