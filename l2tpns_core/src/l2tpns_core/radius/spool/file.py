"""The file of the spool: lines that are only ever appended, each with a checksum.

    l2tpns-accounting-spool 1
    5b0d3c11 + 17 {"status":2,"time":1795439001.5,"user":"alice",…}
    9f1c22e0 - 17

`+` keeps a record under a number, `-` says that it was delivered. A line whose writing was
interrupted by a crash is the last one, and is left out; any other bad line is damage.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final
from zlib import crc32

from l2tpns_core.radius.spool.errors import SpoolError

HEADER: Final = b"l2tpns-accounting-spool 1\n"
NAME: Final = "records"
MAX_LINE_BYTES: Final = 65_536
MAX_FILE_BYTES: Final = 4 << 30
MAX_NUMBER_DIGITS: Final = 18
SUM_DIGITS: Final = 8
CHUNK_BYTES: Final = 1 << 18


@dataclass(slots=True)
class Loaded:
    """What a file held: the records that were not delivered, by number, in their order."""

    records: dict[int, bytes] = field(default_factory=dict)
    last_number: int = 0
    notes: list[str] = field(default_factory=list)
    """For the log: what was wrong."""


def keep_line(number: int, body: bytes) -> bytes:
    return _summed(b"+ %d %b" % (number, body))


def delivered_line(number: int) -> bytes:
    return _summed(b"- %d" % number)


def _summed(text: bytes) -> bytes:
    return b"%08x %b\n" % (crc32(text), text)


def decode_line(line: bytes) -> tuple[int, bytes | None]:
    """The number of a line, and its record or None where that was delivered. Raises SpoolError."""
    text = line[SUM_DIGITS + 1 :].removesuffix(b"\n")
    if line != _summed(text):
        raise SpoolError("a checksum is wrong")
    kind, _, rest = text.partition(b" ")
    number, _, body = rest.partition(b" ")
    if kind not in (b"+", b"-") or not number.isdigit() or len(number) > MAX_NUMBER_DIGITS:
        raise SpoolError("a line is unknown")
    return int(number), body if kind == b"+" else None


class SpoolFile:
    """The file in its directory. Every method blocks; none is called while another one runs."""

    def __init__(self, directory: Path) -> None:
        """Make the directory and lock it. Raises OSError."""
        self.path = directory / NAME
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise
        self._file = -1
        self.size = 0
        """Bytes in the file."""

    def load(self) -> Loaded:
        """Read what a former process left, and write it anew without what was delivered. A damaged
        file is kept under another name. Raises OSError."""
        loaded = Loaded()
        if self.path.exists():
            try:
                damaged = self._read(loaded)
            except SpoolError as error:
                damaged, loaded = 1, Loaded()
                loaded.notes.append(f"{self.path}: {error}; no record is taken from it")
            else:
                if damaged:
                    loaded.notes.append(
                        f"{self.path}: {damaged} lines are damaged, "
                        f"{len(loaded.records)} records are good"
                    )
            if damaged:
                loaded.notes.append(f"the damaged file is kept as {self._keep_aside()}")
        self.rewrite([keep_line(number, body) for number, body in loaded.records.items()])
        return loaded

    def _read(self, loaded: Loaded) -> int:
        """Fill in the records; return how many lines are damaged. Raises SpoolError, OSError."""
        if self.path.stat().st_size > MAX_FILE_BYTES:
            raise SpoolError("the file is too large")
        damaged = bad = 0
        with self.path.open("rb") as file:
            if file.readline(len(HEADER)) != HEADER:
                raise SpoolError("the file is foreign, or of another version")
            for line in _lines(file):
                try:
                    number, body = decode_line(line)
                except SpoolError:
                    bad += 1
                    continue
                damaged, bad = damaged + bad, 0
                loaded.last_number = max(loaded.last_number, number)
                if body is not None:
                    loaded.records[number] = body
                else:
                    loaded.records.pop(number, None)
        if bad == 1 and not line.endswith(b"\n"):
            loaded.notes.append(f"{self.path}: the last line was never finished, it is left out")
            return damaged
        return damaged + bad

    def _keep_aside(self) -> Path:
        aside = self.path.with_name(f"{NAME}.damaged-{time.time_ns() // 1_000_000}")
        self.path.rename(aside)
        return aside

    def append(self, data: bytes) -> None:
        """Add lines, and see that they are on the disk. Raises OSError: then rewrite() is due."""
        self._write(self._file, data)
        os.fdatasync(self._file)
        self.size += len(data)

    def rewrite(self, lines: Sequence[bytes]) -> None:
        """Have the file hold these lines alone. Raises OSError; then it is as it was."""
        new = self.path.with_name(f"{NAME}.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        file = os.open(new, flags, 0o600)
        try:
            size = self._write(file, HEADER)
            for start in range(0, len(lines), 512):
                size += self._write(file, b"".join(lines[start : start + 512]))
            os.fsync(file)
            new.replace(self.path)
        except OSError:
            os.close(file)
            new.unlink(missing_ok=True)
            raise
        _sync_directory(self.path.parent)
        if self._file >= 0:
            os.close(self._file)
        self._file, self.size = file, size

    @staticmethod
    def _write(file: int, data: bytes) -> int:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view[:CHUNK_BYTES]) :]
        return len(data)

    def close(self) -> None:
        """Release the file and the lock."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines with their ends; one that is too long comes in pieces, which are no lines."""
    while line := file.readline(MAX_LINE_BYTES):
        yield line


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
