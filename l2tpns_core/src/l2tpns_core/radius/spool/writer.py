"""Keeps the file of the spool as the queue is, without the loop ever waiting for a disk."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from l2tpns_core.radius.spool.file import SpoolFile, delivered_line, keep_line
from l2tpns_core.radius.spool.queue import Entry, SpoolQueue

log = logging.getLogger("l2tpns.accounting")

InThread = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs something that blocks where it does not stop the loop."""
RETRY_S: Final = 10.0
"""After a failure of the disk."""
WASTE_BYTES: Final = 1 << 20
"""The file is written anew when it holds more than this, and more than the records that wait, of
what is not needed any more."""


@dataclass(slots=True)
class _Note:
    line: bytes
    done: Callable[[], None] | None


class SpoolWriter:
    """Writes lines in their order. A disk that fails costs durability only: the queue in memory
    goes on, and the file is written anew as soon as that is possible."""

    def __init__(
        self,
        file: SpoolFile,
        queue: SpoolQueue,
        loop: asyncio.AbstractEventLoop,
        in_thread: InThread,
    ) -> None:
        self._file = file
        self._queue = queue
        self._loop = loop
        self._in_thread = in_thread
        self._notes: list[_Note] = []
        self._task: asyncio.Task[None] | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._is_broken = False

    @property
    def is_broken(self) -> bool:
        """What is in the queue is not on the disk."""
        return self._is_broken

    def keep(self, entry: Entry, done: Callable[[], None]) -> None:
        """Write a record down; done() when it is safe, or as safe as can be."""
        self._note(keep_line(entry.number, entry.body), done)

    def forget(self, entry: Entry) -> None:
        """Write down that a record does not wait any more."""
        self._note(delivered_line(entry.number), None)

    async def flush(self) -> None:
        """Wait until everything is written, or cannot be."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Write the rest and close the file."""
        await self.flush()
        if self._retry is not None:
            self._retry.cancel()
            self._begin()
            await self.flush()
        if self._retry is not None:
            self._retry.cancel()
        self._file.close()

    def _note(self, line: bytes, done: Callable[[], None] | None) -> None:
        if self._retry is not None:  # it is in the queue, which will be written anew
            if done is not None:
                self._loop.call_soon(done)
            return
        self._notes.append(_Note(line, done))
        if self._task is None:
            self._begin()

    def _begin(self) -> None:
        self._retry = None
        self._task = self._loop.create_task(self._run(), name="accounting spool")

    async def _run(self) -> None:
        try:
            while self._notes and self._retry is None:
                notes, self._notes = self._notes, []
                await self._write(notes)
                for note in notes:
                    if note.done is not None:
                        note.done()
        finally:
            self._task = None

    async def _write(self, notes: list[_Note]) -> None:
        try:
            if self._is_broken or self._wastes():
                await self._in_thread(partial(_rewrite, self._file, self._queue.entries()))
            else:
                data = b"".join(note.line for note in notes)
                await self._in_thread(partial(self._file.append, data))
        except OSError as error:
            self._failed(error)
            return
        if self._is_broken:
            log.warning("accounting records are on disk again")
        self._is_broken = False

    def _wastes(self) -> bool:
        live = self._queue.octets
        return self._file.size - live > max(live, WASTE_BYTES)

    def _failed(self, error: OSError) -> None:
        if not self._is_broken:
            log.error(
                "accounting records cannot be written to %s: %s; they are kept in memory only",
                self._file.path,
                error.strerror,
            )
        self._is_broken = True
        self._notes.append(_Note(b"", None))  # have it written anew, with whatever comes meanwhile
        self._retry = self._loop.call_later(RETRY_S, self._begin)


def _rewrite(file: SpoolFile, entries: list[Entry]) -> None:
    file.rewrite([keep_line(entry.number, entry.body) for entry in entries])
