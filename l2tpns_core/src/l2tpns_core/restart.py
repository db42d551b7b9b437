"""Sessions over a restart, as the daemon sees it: what a former process saved is taken over at the
start, what changes is written down, and a stop may leave everything to the next process."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Iterator
from pathlib import Path

from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.tun import UserPlane
from l2tpns_core.lns import Lns
from l2tpns_core.startup import StartError
from l2tpns_core.state.adoption import MAX_AGE_S, Adoption
from l2tpns_core.state.counters import StateCounters
from l2tpns_core.state.errors import StateError
from l2tpns_core.state.journal import Journal
from l2tpns_core.state.store import Loaded, Store

log = logging.getLogger("l2tpns.state")


class Restart:
    """What a daemon has to do with saved state, in the order of its calls. What it opens the stack
    closes."""

    def __init__(self, config: Config, stack: contextlib.AsyncExitStack) -> None:
        """Read what was saved. Raises StartError."""
        self._config = config
        self._stack = stack
        self._closes = False
        self._store: Store | None = None
        self._loaded: Loaded | None = None
        self._journal: Journal | None = None
        self._adoption: Adoption | None = None
        directory = Path(config.state_dir)
        if not config.save_state and not Store.exists(directory):
            return
        try:
            self._store = Store.open(directory)
        except StateError as error:
            raise StartError(f"cannot save sessions: {error} (see state_dir)") from error
        stack.callback(self._store.close)
        self._loaded = self._store.load()
        for note in self._loaded.notes:
            log.warning("%s", note)

    async def _close_journal(self) -> None:
        if self._journal is not None:
            await self._journal.close()

    @property
    def has_sessions(self) -> bool:
        """Whether a former process left sessions, to go on with or to close."""
        return self._loaded is not None and not self._loaded.image.is_empty

    @property
    def counters(self) -> StateCounters:
        """What was written down since the start."""
        return StateCounters() if self._journal is None else self._journal.counters

    def take(self, lns: Lns) -> None:
        """Bring the sessions into the tables of the LNS, before plugins are loaded."""
        for _ in self._taking(lns):
            pass

    async def take_in_slices(self, lns: Lns) -> None:
        """The same on a loop that has other work, too."""
        for _ in self._taking(lns):
            await asyncio.sleep(0)

    def _taking(self, lns: Lns) -> Iterator[None]:
        loaded, store = self._loaded, self._store
        if loaded is None or store is None:
            return
        config = self._config
        local = str(config.bind_address) if int(config.bind_address) else ""
        self._adoption = Adoption(lns, loaded.image, local)
        age = lns.wall() - loaded.image.time
        if loaded.refused:
            kept = ", ".join(str(path) for path in store.keep_aside())
            self._adoption.refuse(f"{loaded.refused}; kept as {kept}")
        elif not config.save_state:
            if not loaded.image.is_empty:
                self._adoption.refuse("save_state is no")
            store.remove()
        elif loaded.image.is_empty:
            return
        elif age > MAX_AGE_S:
            kept = ", ".join(str(path) for path in store.keep_aside())
            self._adoption.refuse(f"they are {age:.0f} s old; kept as {kept}")
        else:
            yield from self._adoption.taking()

    async def install(self, lns: Lns, plane: UserPlane | EbpfPlane) -> None:
        """Bring them into the plane, when plugins are loaded. From then on changes are written
        down, as soon as begin() was called."""
        if self._config.save_state and self._store is not None:
            self._start_journal(lns, plane)
        if self._adoption is not None:
            await self._adoption.install(plane)
            gc.freeze()  # it stays for long: a search for garbage in it would stall the loop
        self._loaded = self._adoption = None

    def _start_journal(self, lns: Lns, plane: UserPlane | EbpfPlane) -> None:
        assert self._store is not None
        loop = asyncio.get_running_loop()
        self._journal = Journal(
            lns, plane, self._store, lambda work: loop.run_in_executor(None, work)
        )
        lns.keeper.add(self._journal)
        if not self._closes:  # once, however often this node takes over
            self._closes = True
            self._stack.push_async_callback(self._close_journal)

    @property
    def saved_time(self) -> float:
        """When what was saved was so; Unix seconds, 0.0 for nothing."""
        return self._loaded.image.time if self._loaded is not None and self.has_sessions else 0.0

    async def keep(self, lns: Lns, plane: UserPlane | EbpfPlane) -> None:
        """Write down from now on what changes, in a daemon that took over from another node. It
        begins with begin()."""
        if self._config.save_state and self._store is not None and self._journal is None:
            self._start_journal(lns, plane)

    async def pause(self, lns: Lns) -> None:
        """Write nothing down any more: another node has the sessions."""
        if self._journal is not None:
            lns.keeper.discard(self._journal)
            await self._journal.close()
            self._journal = None

    async def begin(self) -> None:
        """Write everything down."""
        if self._journal is not None:
            await self._journal.begin()

    async def tick(self) -> None:
        """Once a second."""
        if self._journal is not None:
            await self._journal.tick()

    async def hand_over(self) -> bool:
        """Write down the last of it for the next process; False when that is not possible."""
        return self._journal is not None and await self._journal.finish()

    def forget(self) -> None:
        """Everybody was disconnected, or is another's: there is nothing to go on with."""
        self._loaded = None
        if self._store is not None:
            self._store.remove()
