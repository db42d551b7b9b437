"""The ways to LACs: which interface leads to each, and by which neighbour. The fast path is
attached where LACs are, or to the interfaces that the operator names, and follows when routes and
interfaces change."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.ebpf.table import ASK, NextHop

log = logging.getLogger("l2tpns.plane")

LOOK_S: Final = 5.0
"""How often routes and interfaces are looked at; a packet that comes another way meanwhile goes
through user space."""
AT_ONCE: Final = 256
"""Sessions that are told about a new way before the loop is free again."""

Find = Callable[[str], Awaitable[tuple[int, str]]]
"""The interface to an address, and where packets go from there; raises LookupError."""


class LacPaths:
    """Keeps the ways of a plane up to date. run() is a task of the daemon's."""

    def __init__(
        self,
        plane: EbpfPlane,
        find: Find,
        interfaces: Sequence[str] = (),
        index_of: Callable[[str], int] = socket.if_nametoindex,
    ) -> None:
        """`interfaces` are the only ones to attach to; none for those that lead to LACs."""
        self._plane = plane
        self._find = find
        self._names = tuple(interfaces)
        self._index_of = index_of
        self._news = asyncio.Event()
        self._attached: set[int] = set()
        self._told: set[object] = set()
        """What is wrong and was logged."""
        plane.on_new_lac = lambda host: self._news.set()

    async def run(self) -> None:
        """Look again and again, and at once when a LAC has come."""
        while True:
            self._news.clear()
            await self.look()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Bring everything up to date."""
        for host in self._plane.lacs():
            await self._follow(host)
        lacs = set(self._plane.lacs())
        for host in set(self._plane.paths) - lacs:
            del self._plane.paths[host]
        wrong: set[object] = {("way", host) for host in lacs - set(self._plane.paths)}
        wanted = self._named(wrong) if self._names else self._in_use()
        for ifindex in self._attached - wanted:
            self._plane.fast.detach(ifindex)
        self._attached &= wanted
        for ifindex in wanted - self._attached:
            self._attach(ifindex, wrong)
        self._told &= wrong  # what is right again is told when it goes wrong again

    async def _follow(self, host: str) -> None:
        """Find the way to a LAC, and tell its sessions when it is another."""
        path: NextHop | None = None
        try:
            path = NextHop(*await self._find(host))
        except LookupError as error:
            self._tell(("way", host), "LAC %s cannot be reached: %s", host, error)
        if path == self._plane.paths.get(host):
            return
        if path is None:
            del self._plane.paths[host]
        else:
            self._plane.paths[host] = path
            log.debug("way to LAC %s: interface %d, %s", host, *path)
        keys = self._plane.keys_of(host)
        for start in range(0, len(keys), AT_ONCE):
            self._plane.reinstall(keys[start : start + AT_ONCE])
            await asyncio.sleep(0)

    def _in_use(self) -> set[int]:
        return {path.ifindex for path in self._plane.paths.values()} - {ASK.ifindex}

    def _named(self, wrong: set[object]) -> set[int]:
        """The operator's interfaces, as far as they are there."""
        found = set()
        for name in self._names:
            try:
                found.add(self._index_of(name))
            except OSError:
                wrong.add(("name", name))
                self._tell(("name", name), "there is no interface %s (see lac_interfaces)", name)
        return found

    def _attach(self, ifindex: int, wrong: set[object]) -> None:
        try:
            self._plane.fast.attach(ifindex)
        except FastPathError as error:
            fault = ("attach", ifindex, str(error))
            wrong.add(fault)
            self._tell(fault, "what LACs send goes through user space: %s", error)
            return
        self._attached.add(ifindex)

    def _tell(self, fault: object, text: str, *words: object) -> None:
        """Log what is wrong, once until it is right again."""
        if fault not in self._told:
            self._told.add(fault)
            log.warning(text, *words)
