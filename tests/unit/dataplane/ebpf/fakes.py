"""A fast path in memory that remembers what it was told, and a plane around it."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.fastpath import FastPath, Statistics
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.ebpf.table import NEVER, NextHop
from l2tpns_core.dataplane.plane import SessionCounters, SessionRoute
from l2tpns_core.dataplane.tun import UserPlane
from unit.dataplane.fakes import FakeDevice, FakeEvents, FakeSocket


class FakeFast:
    """Takes the place of FastPath."""

    def __init__(self, places: int = 1000) -> None:
        self.places = places
        self.installed: dict[int, tuple[SessionRoute, NextHop]] = {}
        self.calls: list[list[int]] = []
        """The keys of each call of install_many()."""
        self.used: dict[int, SessionCounters] = {}
        self.dropped: dict[int, tuple[int, int]] = {}
        self.outcomes = dict.fromkeys(layout.OUTCOMES, 0)
        self.attached: set[int] = set()
        self.attach_calls: list[int] = []
        self.refuses: dict[int, str] = {}
        """What attach() says, by interface."""

    def install_many(self, routes: Iterable[tuple[SessionRoute, NextHop]]) -> None:
        pairs = list(routes)
        self.calls.append([route.key for route, _ in pairs])
        for route, hop in pairs:
            if route.key not in self.installed and len(self.installed) >= self.places:
                raise FastPathError(f"all {self.places} places for sessions are taken")
            self.installed[route.key] = route, hop

    def remove(self, key: int) -> SessionCounters:
        self.installed.pop(key, None)
        return self.used.pop(key, NEVER)

    def remove_many(self, keys: Iterable[int]) -> dict[int, SessionCounters]:
        return {key: self.remove(key) for key in list(keys)}

    def keys(self) -> list[int]:
        return list(self.installed)

    def counters(self, key: int) -> SessionCounters:
        return self.used.get(key, NEVER)

    def throttled(self, key: int) -> tuple[int, int]:
        return self.dropped.get(key, (0, 0))

    def statistics(self) -> Statistics:
        return Statistics(self.outcomes, len(self.installed), self.places, {}, {})

    def attach(self, ifindex: int) -> None:
        self.attach_calls.append(ifindex)
        if ifindex in self.refuses:
            raise FastPathError(self.refuses[ifindex])
        self.attached.add(ifindex)

    def detach(self, ifindex: int) -> None:
        self.attached.discard(ifindex)


class _Socket(FakeSocket):
    def overruns(self) -> int:
        return 0


def joined(loop: asyncio.AbstractEventLoop, fast: FakeFast) -> EbpfPlane:
    """A plane of a fast path and the real one in user space, on fakes."""
    user = UserPlane(loop, FakeDevice(), cast(Any, _Socket()), FakeEvents())
    return EbpfPlane(user, cast(FastPath, fast))
