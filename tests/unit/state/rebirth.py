"""An LNS in memory that writes its journal, and another that goes on with it."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.dataplane.recording import RecordingPlane
from l2tpns_core.l2tp.saved import SavedChannel, SavedTunnel
from l2tpns_core.state.adoption import Adoption
from l2tpns_core.state.journal import Journal
from l2tpns_core.state.model import SavedSession, export
from l2tpns_core.state.store import Loaded, Store
from support.memory import World


class Plane:
    """A RecordingPlane that counts on; `kernel` is what a kernel has counted meanwhile."""

    def __init__(self, plane: RecordingPlane) -> None:
        self._plane = plane
        self.kernel: dict[int, SessionCounters] = {}

    def counters(self, key: int) -> SessionCounters:
        return self._plane.counters(key)

    def own_counters(self, key: int) -> SessionCounters:
        return self._plane.counters(key)

    def resume(self, key: int, total: SessionCounters, own: SessionCounters) -> None:
        self._plane.set_usage(key, total)

    def take_unclaimed(self) -> dict[int, SessionCounters]:
        return self.kernel


def at_once(work: Callable[[], None]) -> "asyncio.Future[None]":
    work()
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


class Life:
    """A world whose changes are written down, from begin() to its end."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.world = World(**options)
        self._options = options
        self.store = Store.open(directory)
        self.journal = Journal(self.world.lns, Plane(self.world.plane), self.store, at_once)

    def attach(self) -> None:
        self.world.lns.keeper.add(self.journal)

    def begin(self) -> "Life":
        self.attach()
        run(self.journal.begin())
        return self

    def second(self) -> None:
        """The daemon's tick."""
        run(self.journal.tick())

    def kill(self) -> None:
        run(self.journal.close())
        self.store.close()

    def finish(self) -> None:
        assert run(self.journal.finish())
        self.store.close()

    def load(self) -> Loaded:
        """What the files say."""
        store = Store.open(self.directory)
        try:
            return store.load()
        finally:
            store.close()

    def reborn(self, later_s: float = 0.0, refuse: str = "", **changes: Any) -> "Life":
        """The next process, so much later, with the LACs of this one."""
        loaded = self.load()
        next_life = Life(self.directory, **{**self._options, **changes})
        world, before = next_life.world, self.world
        world.now = before.now + later_s - 333.0  # clocks of processes differ, the time does not
        world.wall_offset = before.wall_offset + 333.0
        world.lacs = before.lacs
        for lac in world.lacs:
            lac.world = world
        adoption = Adoption(world.lns, loaded.image)
        if refuse or loaded.refused:
            adoption.refuse(refuse or loaded.refused)
        else:
            adoption.take()
        next_life.attach()
        run(adoption.install(Plane(world.plane)))
        next_life.begin()
        world.run()
        return next_life


def tunnels_of(world: World) -> dict[int, tuple[SavedTunnel, SavedChannel]]:
    found = {}
    for tunnel in world.lns.endpoint.tunnels.values():
        saved = tunnel.export()
        if saved is not None:
            found[tunnel.local_id] = (saved, tunnel.channel.export())
    return found


def sessions_of(world: World) -> dict[int, SavedSession]:
    now = world.now
    return {
        session.key: export(session, now, now + world.wall_offset)
        for session in world.lns.sessions.values()
    }
