"""Brings what a former process left in the spool back to life."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from l2tpns_core.radius.spool.courier import Courier
from l2tpns_core.radius.spool.errors import SpoolError
from l2tpns_core.radius.spool.file import SpoolFile
from l2tpns_core.radius.spool.queue import Entry, SpoolQueue, session_of
from l2tpns_core.radius.spool.record import decode_record
from l2tpns_core.radius.spool.writer import SpoolWriter

log = logging.getLogger("l2tpns.accounting")


@dataclass(slots=True)
class OpenedSpool:
    file: SpoolFile
    queue: SpoolQueue
    last_number: int
    notes: list[str]


def read_spool(directory: Path) -> OpenedSpool:
    """Blocks. Raises OSError when the directory cannot be used."""
    file = SpoolFile(directory)
    try:
        loaded = file.load()
    except OSError:
        file.close()
        raise
    queue = SpoolQueue()
    for number, body in loaded.records.items():
        try:
            record = decode_record(body)
        except SpoolError as error:
            loaded.notes.append(f"record {number} is left out: {error}: {body!r}")
            continue
        queue.add(Entry(number, session_of(record), record.status, record.event_time, body))
    return OpenedSpool(file, queue, loaded.last_number, loaded.notes)


async def open_spool(
    courier: Courier, directory: Path, loop: asyncio.AbstractEventLoop, *, is_needed: bool
) -> None:
    """Have a courier keep records in a directory. Where that cannot be, say so and go on."""
    try:
        opened = await loop.run_in_executor(None, read_spool, directory)
    except OSError as error:
        reason = error.strerror
        if isinstance(error, BlockingIOError):
            reason = "another daemon uses it"
        if is_needed:
            log.error(
                "accounting records that no RADIUS server takes will be lost: cannot use %s: %s "
                "(see accounting_spool)",
                directory,
                reason,
            )
        return
    for note in opened.notes:
        log.error("%s", note)

    async def in_thread(work: Callable[[], None]) -> None:
        await loop.run_in_executor(None, work)

    writer = SpoolWriter(opened.file, opened.queue, loop, in_thread)
    courier.open(opened.queue, writer, opened.last_number)
