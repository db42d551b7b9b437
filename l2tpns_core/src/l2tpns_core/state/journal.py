"""Writes down what changes, as it changes: in the kernel's hands at once, so that a process that is
killed loses nothing, and on the disk within a second, for the case that the power fails.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, Protocol

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.l2tp.saved import SavedChannel, SavedMessage
from l2tpns_core.lns import Lns
from l2tpns_core.lns.state import TunnelEntry
from l2tpns_core.radius.model import AccountingRecord
from l2tpns_core.session import Session, SessionState
from l2tpns_core.state.codec import encode
from l2tpns_core.state.counters import StateCounters
from l2tpns_core.state.image import SavedAddress
from l2tpns_core.state.lines import encode_line
from l2tpns_core.state.model import export, shifted
from l2tpns_core.state.reports import SavedReport
from l2tpns_core.state.store import SnapshotWriter, Store, write_all

log = logging.getLogger("l2tpns.state")

SLICE: Final = 64
"""Sessions that are written down before the loop is free again."""
COUNTERS_AT_ONCE: Final = 1000
"""Sessions whose counters are written down each second at least."""
COUNTERS_ROUND_S: Final = 30
"""How long it takes at most until those of all sessions are."""
COMPACT_BYTES: Final = 16 << 20
"""A journal that is larger than this, and than the snapshot before it, is replaced by a new one."""
RETRY_S: Final = 30.0
"""After the disk failed."""
MAX_PLUGIN_DATA: Final = 4096
"""Characters of JSON that plugins may keep with a session."""


class CountingPlane(Protocol):
    """What is asked of the data plane."""

    def counters(self, key: int) -> SessionCounters: ...

    def own_counters(self, key: int) -> SessionCounters:
        """The part of that which ends with this process."""


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
        self._sessions: dict[int, Session | None] = {}
        self._tunnels: dict[int, TunnelEntry] = {}
        self._reports: dict[str, SavedReport] = {}
        """Starts and Stops that are under way, by name."""
        self._known: dict[int, tuple[int, int, int, int]] = {}
        """Of tunnels in the present journal: acknowledged, next Ns and Nr, messages queued."""
        self._counted: dict[int, tuple[int, int]] = {}
        self._round: Iterator[int] = iter(())
        self._sync: asyncio.Future[None] | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._failed_at = float("-inf")
        self.counters = StateCounters()

    # What the LNS tells (lns.state.Keeper)

    def session_changed(self, session: Session) -> None:
        self._sessions[session.key] = session

    def session_ended(self, session: Session) -> None:
        self._sessions[session.key] = None

    def tunnel_changed(self, entry: TunnelEntry) -> None:
        self._tunnels[entry.tunnel.local_id] = entry

    def report_sent(self, record: AccountingRecord) -> None:
        report = SavedReport.of(record)
        if report is not None:
            self._reports[report.name] = report
            self._write([["e", encode(report)], *self._changes()])

    def report_settled(self, record: AccountingRecord) -> None:
        report = SavedReport.of(record)
        if report is not None and self._reports.pop(report.name, None) is not None:
            self._write([["E", report.name]])

    def commit(self) -> None:
        """Write down what was told. Never raises, and does not wait for the disk."""
        if self._descriptor is None or not (self._sessions or self._tunnels):
            return
        self._write(self._changes())

    def _changes(self) -> list[object]:
        """The records of what was told since the last time."""
        now, wall = self._lns.clock(), self._lns.wall()
        records: list[object] = []
        for key, session in self._sessions.items():
            if session is None or session.state is SessionState.ENDED:
                records.append(["S", key])
                self._counted.pop(key, None)
            else:
                records.append(session_record(session, now, wall))
        for entry in self._tunnels.values():
            records += self._tunnel_records(entry)
        self._sessions.clear()
        self._tunnels.clear()
        return records

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
        keys = self._next_in_turn(wanted)
        for start in range(0, len(keys), SLICE):
            self._write(self._counters_of(keys[start : start + SLICE]))
            await asyncio.sleep(0)
        self._write([self._time("w")])
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
        self._counted.clear()
        keys = list(self._lns.sessions)
        for start in range(0, len(keys), SLICE):
            self._write(self._counters_of(keys[start : start + SLICE]))
        self._write([self._time("stop")])
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

    # Records

    def _tunnel_records(self, entry: TunnelEntry) -> Iterable[object]:
        """What has changed of a tunnel since its last record."""
        tunnel = entry.tunnel
        number, channel = tunnel.local_id, tunnel.channel
        known = self._known.get(number)
        saved = tunnel.export()
        if saved is None or entry.ended:
            if self._known.pop(number, None) is not None:
                yield ["T", number]
            return
        if known is None:
            yield ["t", encode(saved)]
            part = channel.export()
        else:
            part = channel.export(channel.queued - known[-1])
        position = (part.acknowledged, part.next_ns, part.next_nr, channel.queued)
        if position != known:
            self._known[number] = position
            yield ["m", channel_record(number, part)]

    def _next_in_turn(self, wanted: int) -> list[int]:
        """The next sessions whose counters are written down."""
        keys = list(islice(self._round, wanted))
        if not keys:
            self._round = iter(list(self._lns.sessions))
            keys = list(islice(self._round, wanted))
        return keys

    def _counters_of(self, keys: Iterable[int]) -> Iterator[object]:
        """The counters of sessions, where they have changed."""
        ahead = self._lns.wall() - self._lns.clock()
        for key in keys:
            total = self._plane.counters(key)
            mark = (total.packets_in, total.packets_out)
            if self._counted.get(key, (0, 0)) != mark and key in self._lns.sessions:
                self._counted[key] = mark
                yield counters_record(key, total, self._plane.own_counters(key), ahead)

    def _time(self, kind: str) -> object:
        return [kind, {"time": self._lns.wall(), "unique": self._lns.highest_unique}]

    # Files

    def _write(self, records: Iterable[object]) -> None:
        if self._descriptor is None:
            return
        data = b"".join(map(encode_line, records))
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
            for records in self._everything():
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
            self._sessions.clear()
            self._tunnels.clear()
        self._size = 0
        self._known.clear()
        self._counted.clear()

    def _everything(self) -> Iterator[list[object]]:
        """All records of a snapshot, a slice at a time."""
        lns = self._lns
        yield [self._time("w")]
        for tunnel in list(lns.endpoint.tunnels.values()):
            saved = tunnel.export()
            if saved is not None:
                channel = channel_record(tunnel.local_id, tunnel.channel.export())
                yield [["t", encode(saved)], ["m", channel]]
        sessions = list(lns.sessions.values())
        for start in range(0, len(sessions), SLICE):
            now, wall = lns.clock(), lns.wall()
            some = [
                session
                for session in sessions[start : start + SLICE]
                if session.state is not SessionState.ENDED
            ]
            yield [
                *(session_record(session, now, wall) for session in some),
                *self._counters_of([session.key for session in some]),
            ]
        ahead = lns.wall() - lns.clock()
        reports = list(self._reports.values())
        for start in range(0, len(reports), SLICE):
            yield [["e", encode(report)] for report in reports[start : start + SLICE]]
        kept = lns.pool.kept()
        for start in range(0, len(kept), SLICE):
            yield [
                ["p", encode(SavedAddress(ip, user, freed_at + ahead))]
                for ip, user, freed_at in kept[start : start + SLICE]
            ]


def session_record(session: Session, now: float, wall: float) -> object:
    return ["s", encode(export(session, now, wall, plugin_data_of(session)))]


def channel_record(number: int, part: SavedChannel) -> object:
    messages = [[sid, encode(body), answer] for sid, body, answer in map(_fields, part.messages)]
    return [number, part.acknowledged, part.next_ns, part.next_nr, messages]


def counters_record(key: int, total: SessionCounters, own: SessionCounters, ahead: float) -> object:
    return ["c", [key, *shifted(total, ahead), *shifted(own, ahead)]]


def plugin_data_of(session: Session) -> str:
    """What plugins keep with a session, each as far as it is JSON and short."""
    kept = {}
    for name, value in (session.plugin_data or {}).items():
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            continue  # an object that means nothing to another process
        if len(text) <= MAX_PLUGIN_DATA:
            kept[name] = value
    return json.dumps(kept) if kept else ""


def _fields(message: SavedMessage) -> tuple[int, bytes, bool]:
    return message.session_id, message.body, message.is_answer


def _sync(descriptor: int) -> None:
    """Have a file on the disk, and close it."""
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        log.error("the journal does not get to the disk: %s", error.strerror)
    finally:
        os.close(descriptor)
