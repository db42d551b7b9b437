"""The files of accounting_dir (manual, "accounting_dir"): what every subscriber has used.

One is complete or not there. They are written in a thread; what could not be written is in the next
one.
"""

import asyncio
import errno
import logging
import os
import time
from pathlib import Path
from typing import Final

log = logging.getLogger("l2tpns.usage")

MAX_KEPT: Final = 200_000
"""Lines that wait for a directory that can be written to; the oldest are lost."""
MAX_SAME_NAME: Final = 100
FORMAT: Final = "username ip qos uptxoctets downrxoctets"


class UsageFiles:
    """Writes one file after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, endpoint: str) -> None:
        """`endpoint` is the address of this LNS, for the header."""
        self._loop = loop
        self._endpoint = endpoint
        self._started_time = time.time()
        self._kept: list[str] = []
        self._task: asyncio.Task[None] | None = None
        self._next: tuple[Path, str, float] | None = None

    def put(self, directory: str, hostname: str, at: float, lines: list[str]) -> None:
        """Have lines written to a new file, which is named after a Unix time."""
        self._kept += lines
        if len(self._kept) > MAX_KEPT:
            log.error("%d usage lines are lost", len(self._kept) - MAX_KEPT)
            del self._kept[:-MAX_KEPT]
        self._next = (Path(directory), hostname, at)
        if self._task is None:
            self._task = self._loop.create_task(self._run(), name="usage files")

    async def close(self) -> None:
        """Wait until the last file is written, or cannot be."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._next is not None:
                await self._write(*self._next)
        finally:
            self._task = None

    async def _write(self, directory: Path, hostname: str, at: float) -> None:
        self._next = None
        lines, self._kept = self._kept, []
        header = [
            "# dslwatch.pl dump file V1.01",
            f"# host: {hostname}",
            f"# endpoint: {self._endpoint}",
            f"# time: {int(at)}",
            f"# uptime: {int(at - self._started_time)}",
            f"# format: {FORMAT}",
        ]
        try:
            await self._loop.run_in_executor(None, write_file, directory, at, header, lines)
        except OSError as error:
            self._kept = lines + self._kept
            log.error(
                "cannot write usage to %s: %s (see accounting_dir); the next file will have it",
                directory,
                error.strerror,
            )


def write_file(directory: Path, at: float, header: list[str], lines: list[str]) -> Path:
    """Write a file whose name is a Unix time in local time, or a second later where that is taken;
    nobody sees it before it is complete. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    new = directory / f".new.{os.getpid()}"
    try:
        with new.open("w", encoding="utf-8", errors="backslashreplace") as file:
            for part in (header, lines):
                file.writelines(f"{line}\n" for line in part)
            file.flush()
            os.fsync(file.fileno())
        return _name(new, at)
    finally:
        new.unlink(missing_ok=True)


def _name(new: Path, at: float) -> Path:
    for later in range(MAX_SAME_NAME):
        path = new.with_name(time.strftime("%Y%m%d%H%M%S", time.localtime(at + later)))
        try:
            path.hardlink_to(new)
        except FileExistsError:
            continue
        return path
    raise FileExistsError(errno.EEXIST, "too many files with names of the next seconds", str(new))
