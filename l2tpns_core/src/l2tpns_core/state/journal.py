"""Writes down what changes, as it changes: in the kernel's hands at once, so that a process that is
killed loses nothing, and on the disk within a second, for the case that the power fails.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import Final

from l2tpns_core.lns import Lns
from l2tpns_core.lns.state import TunnelEntry
from l2tpns_core.radius.model import AccountingRecord
from l2tpns_core.session import Session
from l2tpns_core.state.counters import StateCounters
from l2tpns_core.state.lines import encode_line
from l2tpns_core.state.records import SLICE, CountingPlane, Records
from l2tpns_core.state.store import SnapshotWriter, Store, write_all

log = logging.getLogger("l2tpns.state")

COUNTERS_AT_ONCE: Final = 1000
"""Sessions whose counters are written down each second at least."""
COUNTERS_ROUND_S: Final = 30
"""How long it takes at most until those of all sessions are."""
COMPACT_BYTES: Final = 16 << 20
"""A journal that is larger than this, and than the snapshot before it, is replaced by a new one."""
RETRY_S: Final = 30.0
"""After the disk failed."""


class Journal:
    """The Keeper of an LNS (lns.state.Keeper)."""

    def __init__(
        self,
        lns: Lns,
        plane: CountingPlane,
        store: Store,
        run_blocking: Callable[[Callable[[], None]], "asyncio.Future[None]"],
    ) -> None:
        """`run_blocking` runs what may wait for the disk, beside the loop."""
        self._lns = lns
        self._plane = plane
        self._store = store
        self._run_blocking = run_blocking
        self._descriptor: int | None = None
        self._size = 0
        self._snapshot_size = 0
        self._records = Records(lns, plane)
        self._sync: asyncio.Future[None] | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._failed_at = float("-inf")
        self.counters = StateCounters()

    # What the LNS tells (lns.state.Keeper)

    def session_changed(self, session: Session) -> None:
        self._records.session_changed(session)

    def session_ended(self, session: Session) -> None:
        self._records.session_ended(session)

    def tunnel_changed(self, entry: TunnelEntry) -> None:
        self._records.tunnel_changed(entry)

    def report_sent(self, record: AccountingRecord) -> None:
        self._write(self._records.report_sent(record))

    def report_settled(self, record: AccountingRecord) -> None:
        self._write(self._records.report_settled(record))

    def commit(self) -> None:
        """Write down what was told. Never raises, and does not wait for the disk."""
        if self._descriptor is not None and self._records.has_changes:
            self._write(self._records.changes())

    # What the daemon does with it

    async def begin(self) -> None:
        """Write down everything that is there; from now on every change. Logs what fails."""
        await self._compact()

    async def tick(self) -> None:
        """Once a second: counters, the time, and all of it to the disk."""
        now = self._lns.clock()
        if self._descriptor is None:
            if now - self._failed_at > RETRY_S:
                self._start_compaction()
            return
        self.commit()
        wanted = max(COUNTERS_AT_ONCE, len(self._lns.sessions) // COUNTERS_ROUND_S)
        keys = self._records.next_in_turn(wanted)
        for start in range(0, len(keys), SLICE):
            self._write(self._records.counters_of(keys[start : start + SLICE]))
            await asyncio.sleep(0)
        if self._descriptor is None:  # it failed, or was closed meanwhile
            return
        self._write([self._records.time("w")])
        if self._size > max(COMPACT_BYTES, self._snapshot_size):
            self._start_compaction()
        if self._descriptor is not None and (self._sync is None or self._sync.done()):
            try:
                descriptor = os.dup(self._descriptor)
            except OSError as error:
                self._fail(error)
            else:
                self._sync = self._run_blocking(lambda: _sync(descriptor))

    async def finish(self) -> bool:
        """Write down all there is, for the process that comes next, and wait for the disk; False
        when the disk does not take it. Nothing is written down from then on."""
        await self._stop_compaction()
        self.commit()
        if self._descriptor is None:
            await self._compact()
        self._records.counted.clear()
        keys = list(self._lns.sessions)
        for start in range(0, len(keys), SLICE):
            self._write(self._records.counters_of(keys[start : start + SLICE]))
        self._write([self._records.time("stop")])
        descriptor, self._descriptor = self._descriptor, None
        self._failed_at = float("inf")
        if descriptor is None:
            return False
        await self._run_blocking(lambda: _sync(descriptor))
        return True

    async def close(self) -> None:
        """Stop without a word; what is written stays."""
        await self._stop_compaction()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    # Files

    def _write(self, records: Iterable[object]) -> None:
        if self._descriptor is None:
            return
        data = b"".join(map(encode_line, records))
        if not data:
            return
        try:
            write_all(self._descriptor, data)
        except OSError as error:
            self._fail(error)
        else:
            self.counters.journal_writes += 1
            self.counters.journal_octets += len(data)
        self._size += len(data)

    def _fail(self, error: OSError) -> None:
        self.counters.failures += 1
        log.error(
            "cannot write to %s: %s; sessions would not survive a restart until that is over",
            self._store.directory,
            error.strerror,
        )
        self._failed_at = self._lns.clock()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _start_compaction(self) -> None:
        if self._compaction is None or self._compaction.done():
            self._compaction = asyncio.get_running_loop().create_task(
                self._compact(), name="snapshot"
            )

    async def _stop_compaction(self) -> None:
        if self._compaction is not None:
            self._compaction.cancel()
            await asyncio.gather(self._compaction, return_exceptions=True)

    async def _compact(self) -> None:
        """Begin a new journal, and write the snapshot that goes before it."""
        writer: SnapshotWriter | None = None
        try:
            self._switch()
            writer = self._store.snapshot()
            for records in self._records.everything():
                writer.add(records)
                await asyncio.sleep(0)
            await self._run_blocking(writer.finish)
            self._snapshot_size, writer = writer.size, None
            self._store.discard_older()
        except OSError as error:
            self._fail(error)
        finally:
            if writer is not None:
                writer.abandon()

    def _switch(self) -> None:
        """Have changes go into a new journal, in which each tunnel is told from the start."""
        self.commit()
        before, self._descriptor = self._descriptor, self._store.begin_journal()
        self.counters.snapshots += 1
        if before is not None:
            os.close(before)
        else:  # the snapshot has it all
            self._records.forget_changes()
        self._size = 0
        self._records.start_over()


def _sync(descriptor: int) -> None:
    """Have a file on the disk, and close it."""
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        log.error("the journal does not get to the disk: %s", error.strerror)
    finally:
        os.close(descriptor)
