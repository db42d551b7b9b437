"""Sees that every accounting record arrives: now, or from the spool when a server is there again.

It stands between the LNS and the RADIUS client. Records of one session are sent one after the
other, so that a Stop never overtakes its Start. When a record runs out of tries and no other was
acknowledged meanwhile, nobody is there: from then on records go to the spool without being tried,
and one of them at a time is sent to find out whether a server is back. What waits is then delivered
through a window that grows with every acknowledgement, beside the records of the moment.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Final

from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    AccountingRecord,
    AccountingStatus,
)
from l2tpns_core.radius.spool.errors import SpoolError
from l2tpns_core.radius.spool.parcel import AccountingClient, Done, Parcel
from l2tpns_core.radius.spool.queue import NO_SESSION, Entry, SpoolQueue, session_of
from l2tpns_core.radius.spool.record import decode_record, encode_record
from l2tpns_core.radius.spool.status import SpoolCounters, SpoolStatus
from l2tpns_core.radius.spool.writer import SpoolWriter

log = logging.getLogger("l2tpns.accounting")

WINDOW: Final = 32
"""Records of the spool that are out at once: less than the window of a server, so that there is
always room for what happens now."""
PROBED: Final = 8
"""Among so many of the oldest records the one with the fewest tries asks a silent server: should it
ignore one of them, another brings it back."""
REFUSALS: Final = 20
"""After so many a record is given up, which takes hours."""
REFUSALS_OF_BARRIER: Final = 1
"""The same for Accounting-On and -Off, which some servers never acknowledge."""
REST_S: Final = 10.0
"""How long a session's records rest after the first refusal; doubles with each one."""
MAX_REST_S: Final = 1800.0
COMPLAINT_S: Final = 60.0
"""Between two log lines about records for which there is no room."""
SUPERSEDING: Final = (AccountingStatus.INTERIM, AccountingStatus.STOP)
ONCE: Final = (AccountingStatus.START, AccountingStatus.STOP)


class Courier:
    """An Authenticator that loses no accounting record. Without a writer, or with a limit of 0
    octets, there is no spool: what nobody takes is lost."""

    def __init__(
        self,
        radius: AccountingClient,
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float],
    ) -> None:
        self.counters = SpoolCounters()
        self._radius = radius
        self._loop = loop
        self._wall = wall
        self._queue = SpoolQueue()
        self._writer: SpoolWriter | None = None
        self._limit = 0
        self._pause_s = 30.0
        self._lines: dict[str, deque[Parcel]] = {}
        self._flying: dict[Entry, float] = {}
        """Records of the spool that are out, and since when."""
        self._is_down = False
        self._is_closed = False
        self._window = 1
        self._probe_at = 0.0
        self._acknowledged_at = float("-inf")
        self._last_number = 0
        self._complained_at = float("-inf")
        self._alarm: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()

    # Setting up

    def configure(self, limit: int, pause_s: float) -> None:
        """The room for records in octets, and the time between two attempts to reach a server."""
        self._limit = limit
        self._pause_s = pause_s

    def open(self, queue: SpoolQueue, writer: SpoolWriter, last_number: int) -> None:
        """Keep records with a writer from now on; the queue has those of a former process."""
        self._queue, self._writer, self._last_number = queue, writer, last_number
        if len(queue):
            log.warning("%d accounting records wait to be delivered", len(queue))
        self._wake()

    # The interface of the LNS (radius.model.Authenticator)

    def authenticate(self, request: AccessRequest, done: Callable[[AccessReply], None]) -> int:
        """Ask for a verdict. An answer shows that the server is back."""
        if not self._is_down:
            return self._radius.authenticate(request, done)

        def answered(reply: AccessReply) -> None:
            if reply.outcome is not AccessOutcome.TIMEOUT:
                self._probe_at = self._loop.time()
                self._wake()
            done(reply)

        return self._radius.authenticate(request, answered)

    def cancel(self, handle: int) -> None:
        self._radius.cancel(handle)

    def account(self, record: AccountingRecord, done: Done) -> int:
        """Report; done(True) when a server acknowledged it or it is safe in the spool, done(False)
        when it is lost. Cannot be cancelled."""
        parcel = Parcel(record, done)
        session = session_of(record)
        if session in self._lines:
            self._lines[session].append(parcel)
            return 0
        self._lines[session] = deque([parcel])
        if session != NO_SESSION or len(self._lines) == 1:
            self._dispatch(session)
        return 0

    # Records of the moment

    def _dispatch(self, session: str) -> None:
        """Send what is first in the line of a session; if the spool is where it belongs, the whole
        line goes there."""
        if self._is_closed or (self._has_spool and self._must_wait(session)):
            for parcel in self._lines.pop(session):
                self._keep(parcel)
            self._wake()
            return
        parcel = self._lines[session][0]
        parcel.is_sent, parcel.sent_at = True, self._loop.time()
        parcel.handle = self._radius.account(parcel.record, partial(self._settled, session, parcel))

    def _must_wait(self, session: str) -> bool:
        if self._queue.has(session) or self._queue.barriers:
            return True
        return len(self._queue) > 0 and (self._is_down or session == NO_SESSION)

    def _settled(self, session: str, parcel: Parcel, delivered: bool) -> None:
        """The RADIUS client is done with a record of the moment."""
        line = self._lines.get(session)
        if line is None or line[0] is not parcel:
            return
        if delivered:
            self._note_success()
        else:
            self._note_failure(parcel.sent_at)
        if delivered or not self._has_spool or self._is_unwanted(session, parcel):
            line.popleft()
            parcel.done(delivered)
            if line:
                self._dispatch(session)
            else:
                del self._lines[session]
        else:
            for waiting in self._lines.pop(session):
                self._keep(waiting)
            if not self._is_down:
                self._queue.rest(session, self._loop.time() + REST_S)
        self._release_barrier()
        self._wake()

    def _is_unwanted(self, session: str, parcel: Parcel) -> bool:
        """An Accounting-On or -Off that a server ignores while it acknowledges others: those have
        overtaken it, so that it would do harm later."""
        if session != NO_SESSION or self._acknowledged_at <= parcel.sent_at:
            return False
        self.counters.refused += 1
        return True

    def _release_barrier(self) -> None:
        """Send the Accounting-Off, when the Stops before it are through."""
        line = self._lines.get(NO_SESSION)
        if line is not None and len(self._lines) == 1 and not line[0].is_sent:
            self._dispatch(NO_SESSION)

    # What servers do

    def _note_success(self) -> None:
        self._acknowledged_at = self._loop.time()
        if self._is_down and not self._is_closed:
            self._is_down = False
            self._window = 1
            log.warning("RADIUS takes accounting again, %d records wait", len(self._queue))

    def _note_failure(self, sent_at: float) -> None:
        """A record ran out of tries. Where no other was acknowledged meanwhile, nobody is there."""
        self._window = 1
        if self._acknowledged_at > sent_at:
            return
        self._probe_at = self._loop.time() + self._pause_s
        if not self._is_down:
            self._is_down = True
            self.counters.outages += 1
            log.error("no RADIUS server takes accounting: records are kept until one does")
            self._loop.call_soon(self._take_back)

    def _take_back(self) -> None:
        """Have what waits for its turn at a silent server wait on the disk instead."""
        if not self._has_spool or not self._is_down:
            return
        for session, line in list(self._lines.items()):
            if line[0].is_sent and self._radius.take_back(line[0].handle):
                for parcel in self._lines.pop(session):
                    self._keep(parcel)
        self._release_barrier()
        self._wake()

    # Into the spool

    @property
    def _has_spool(self) -> bool:
        return self._writer is not None and self._limit > 0

    def _keep(self, parcel: Parcel) -> None:
        """Put a record into the spool, unless there is no room."""
        record, session = parcel.record, session_of(parcel.record)
        known = self._queue.of(session) if session else []
        if record.status in ONCE and any(entry.status is record.status for entry in known):
            self._loop.call_soon(parcel.done, True)
            return
        if record.status in SUPERSEDING:
            for entry in known:
                if entry.status is AccountingStatus.INTERIM and not entry.in_flight:
                    self.counters.superseded += 1
                    self._remove(entry)
        body = encode_record(record)
        if self._writer is None or self._queue.octets + len(body) > self._limit:
            self._drop(parcel)
            return
        self._last_number += 1
        entry = Entry(self._last_number, session, record.status, record.event_time, body)
        self.counters.kept += 1
        self._queue.add(entry)
        self._writer.keep(entry, partial(parcel.done, True))

    def _drop(self, parcel: Parcel) -> None:
        self.counters.dropped += 1
        self._loop.call_soon(parcel.done, False)
        now = self._loop.time()
        if now - self._complained_at >= COMPLAINT_S:
            self._complained_at = now
            log.error(
                "%d accounting records are lost so far: there is room for %d bytes "
                "(see accounting_spool_size)",
                self.counters.dropped,
                self._limit,
            )

    def _remove(self, entry: Entry) -> None:
        self._queue.remove(entry)
        if self._writer is not None:
            self._writer.forget(entry)

    # Out of the spool

    def _wake(self) -> None:
        """Send what may be sent, and see to it that this is looked at again in time."""
        self._changed.set()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._is_closed or not len(self._queue):
            return
        now = self._loop.time()
        next_at = self._queue.wake(now)
        if not self._is_down:
            room = self._window - len(self._flying)
            for entry in list(islice(self._queue.ready(is_down=False), max(room, 0))):
                self._send(entry, now)
        elif not self._flying:
            if now >= self._probe_at:
                self._probe(now)
            else:
                next_at = min(next_at or self._probe_at, self._probe_at)
        if next_at is not None:
            self._alarm = self._loop.call_at(next_at, self._wake)

    def _probe(self, now: float) -> None:
        oldest = islice(self._queue.ready(is_down=True), PROBED)
        entry = min(oldest, key=lambda entry: entry.tries, default=None)
        if entry is not None:
            self._send(entry, now)

    def _send(self, entry: Entry, now: float) -> None:
        try:
            record = decode_record(entry.body)
        except SpoolError as error:  # the checksum was right: written by somebody else
            log.error("an accounting record of the spool is left out: %s", error)
            self.counters.refused += 1
            self._remove(entry)
            self._loop.call_soon(self._wake)
            return
        entry.in_flight = True
        self._flying[entry] = now
        self._radius.account(record, partial(self._returned, entry))

    def _returned(self, entry: Entry, delivered: bool) -> None:
        """The RADIUS client is done with a record of the spool."""
        sent_at = self._flying.pop(entry, None)
        if sent_at is None:
            return
        entry.in_flight = False
        entry.tries += 1
        if delivered:
            self._note_success()
            self._window = min(self._window + 1, WINDOW)
            self.counters.delivered += 1
            self._remove(entry)
            if not len(self._queue):
                log.warning("all accounting records that were kept are delivered")
        else:
            self._note_failure(sent_at)
            self._judge(entry, sent_at)
        self._wake()

    def _judge(self, entry: Entry, sent_at: float) -> None:
        """A record of the spool failed. If others do not, it is the record's fault."""
        now = self._loop.time()
        since = entry.failed_at if entry.is_barrier else sent_at
        was_refused = self._acknowledged_at > since and entry.tries > entry.is_barrier
        entry.failed_at = now
        if not was_refused:
            return
        entry.refusals += 1
        if entry.refusals >= (REFUSALS_OF_BARRIER if entry.is_barrier else REFUSALS):
            log.error("RADIUS never acknowledges this record, it is given up: %s", entry.body)
            self.counters.refused += 1
            self._remove(entry)
        elif not entry.is_barrier:
            rest_s = min(REST_S * 2 ** (entry.refusals - 1), MAX_REST_S)
            self._queue.rest(entry.session, now + rest_s)

    # For the operator, and the end

    def status(self) -> SpoolStatus:
        """The spool as it is."""
        oldest = self._queue.oldest_time()
        return SpoolStatus(
            records=len(self._queue),
            octets=self._queue.octets,
            limit=self._limit,
            oldest_age_s=None if oldest is None else max(self._wall() - oldest, 0.0),
            in_flight=len(self._flying),
            dropped=self.counters.dropped,
            is_down=self._is_down,
            on_disk=self._writer is not None and not self._writer.is_broken,
        )

    def abandon(self) -> None:
        """Send no more of what is under way: another node of the cluster does. What is in the
        spool stays ours."""
        for session in list(self._lines):
            line = self._lines.pop(session)
            if line[0].is_sent:
                self._radius.cancel(line[0].handle)
        self._wake()

    async def settle(self, timeout_s: float) -> None:
        """Wait until what is under way is delivered, as long as somebody takes it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._lines or (self._flying and not self._is_down):
                    self._changed.clear()
                    await self._changed.wait()

    async def drain(self, timeout_s: float) -> None:
        """Wait until everything is delivered, as long as somebody takes it, then put what is left
        into the spool."""
        await self.settle(timeout_s)
        self._is_closed = self._has_spool
        if self._is_closed:
            for session in sorted(self._lines, key=lambda session: session == NO_SESSION):
                self._give_back(session)
        if self._writer is not None:
            await self._writer.flush()

    def _give_back(self, session: str) -> None:
        line = self._lines.pop(session)
        self._radius.cancel(line[0].handle)
        for parcel in line:
            self._keep(parcel)

    async def close(self) -> None:
        """Close the file; what waits is there for the next process."""
        self._is_closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        if self._writer is not None:
            await self._writer.close()
        if len(self._queue):
            log.warning("%d accounting records wait for the next start", len(self._queue))
