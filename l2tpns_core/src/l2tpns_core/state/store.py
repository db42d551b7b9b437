"""The files of saved state in `state_dir`.

    sessions.lock                 locked by the process that uses the directory
    sessions-00000007.snapshot    everything at one time
    sessions-00000007.journal     every change since that snapshot was begun
    sessions-00000007.*.refused   what could not be used, kept aside

A snapshot is written beside the journal that grows meanwhile, and takes the place of all older
files when it is complete. So the state is the latest snapshot with every journal from its
generation on, in order, applied to it.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from l2tpns_core.state.errors import StateError
from l2tpns_core.state.image import Image
from l2tpns_core.state.lines import Lines, check_header, encode_line, header

SNAPSHOT: Final = "snapshot"
JOURNAL: Final = "journal"
LOCK: Final = "sessions.lock"
REFUSED: Final = ".refused"
MAX_REFUSED: Final = 8
"""Files that are kept aside; the oldest go."""
NAME: Final = re.compile(r"sessions-(\d{8})\.(snapshot|journal)")


class Loaded(NamedTuple):
    """What was found in the files."""

    image: Image
    refused: str = ""
    """Why nobody may go on with it; then `image` is what could be read in spite of that."""
    notes: tuple[str, ...] = ()
    """What an operator should know of otherwise."""


class Store:
    """The files, locked from open() to close()."""

    def __init__(self, directory: Path, lock: int) -> None:
        """Use open()."""
        self.directory = directory
        self._lock = lock
        self.generation = max((number for number, _, _ in self._files()), default=0)

    @classmethod
    def open(cls, directory: Path) -> "Store":
        """Make and lock the directory. Raises StateError."""
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"cannot use {directory}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StateError(f"another process uses {directory}") from None
        return cls(directory, lock)

    @staticmethod
    def exists(directory: Path) -> bool:
        """Whether somebody has saved state there."""
        try:
            return any(NAME.fullmatch(entry) for entry in os.listdir(directory))
        except OSError:
            return False

    def close(self) -> None:
        os.close(self._lock)

    # Reading

    def load(self) -> Loaded:
        """What the files say; never raises."""
        image, notes = Image(), []
        found = sorted(self._files())
        snapshots = [number for number, kind, _ in found if kind == SNAPSHOT]
        first = max(snapshots, default=0)
        used = [entry for entry in found if entry[0] >= first and entry[1] == JOURNAL]
        refused = ""
        if used and not snapshots:
            refused = f"{self.directory} has no snapshot"
        if snapshots:
            used.insert(0, (first, SNAPSHOT, self._path(first, SNAPSHOT)))
        if [number for number, kind, _ in used if kind == JOURNAL] != list(
            range(first, first + len(used) - len(snapshots[:1]))
        ):
            refused = refused or f"a journal is missing in {self.directory}"
        for position, (number, kind, path) in enumerate(used):
            is_last = position == len(used) - 1
            try:
                torn = self._read(image, path, kind, number, may_be_torn=is_last)
            except StateError as error:
                refused = refused or f"{path}: {error}"
                continue
            if torn:
                notes.append(f"{path} ends in the middle of a change, as after a power cut")
        return Loaded(image, refused, tuple(notes))

    def _read(self, image: Image, path: Path, kind: str, number: int, *, may_be_torn: bool) -> bool:
        """Apply a file; whether its end is torn. Raises StateError after all that can be read is
        applied."""
        lines = Lines(path)
        fault = ""
        ended = kind == JOURNAL
        count = 0
        for record in lines:
            try:
                if not count:
                    check_header(record, kind, number)
                elif kind == SNAPSHOT and record[0] == "end":
                    ended = record[1:] == [count]
                else:
                    image.apply(record)
            except StateError as error:
                fault = fault or str(error)
                if not count:
                    raise
            count += 1
        if lines.damaged or (lines.torn and (not may_be_torn or kind == SNAPSHOT)):
            fault = fault or "it is damaged"
        if not count:
            fault = fault or "it is empty or damaged"
        if not ended:
            fault = fault or "it is incomplete"
        if fault:
            raise StateError(fault)
        return lines.torn

    # Writing

    def begin_journal(self) -> int:
        """Make the journal of a new generation; return its descriptor. Raises OSError."""
        self.generation += 1
        path = self._path(self.generation, JOURNAL)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        os.write(descriptor, header(JOURNAL, self.generation))
        return descriptor

    def snapshot(self) -> "SnapshotWriter":
        """Begin the snapshot of the present generation. Raises OSError."""
        path = self._path(self.generation, SNAPSHOT)
        return SnapshotWriter(path, self.generation)

    def discard_older(self) -> None:
        """Remove what the snapshot of the present generation has replaced."""
        for number, _, path in self._files():
            if number < self.generation:
                path.unlink(missing_ok=True)

    def keep_aside(self) -> list[Path]:
        """Put all files out of the way; return where they are now."""
        moved = []
        for _, _, path in sorted(self._files()):
            target = path.with_name(path.name + REFUSED)
            with contextlib.suppress(OSError):
                path.replace(target)
                moved.append(target)
        self._forget_oldest()
        return moved

    def remove(self) -> None:
        """Nothing is saved any more."""
        for _, _, path in self._files():
            path.unlink(missing_ok=True)

    def _forget_oldest(self) -> None:
        refused = sorted(self.directory.glob(f"sessions-*{REFUSED}"))
        for path in refused[:-MAX_REFUSED]:
            path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[int, str, Path]]:
        for path in list(self.directory.iterdir()):
            match = NAME.fullmatch(path.name)
            if match is not None:
                yield int(match[1]), match[2], path

    def _path(self, generation: int, kind: str) -> Path:
        return self.directory / f"sessions-{generation:08}.{kind}"


class SnapshotWriter:
    """A snapshot that is being written under another name. Methods raise OSError."""

    def __init__(self, path: Path, generation: int) -> None:
        self._path = path
        self._new = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor = os.open(self._new, flags, 0o600)
        self._count = 1
        self.size = 0
        self._write(header(SNAPSHOT, generation))

    def add(self, records: Iterable[object]) -> None:
        lines = [encode_line(record) for record in records]
        self._count += len(lines)
        self._write(b"".join(lines))

    def finish(self) -> None:
        """Have it on the disk, and under its name. Blocks."""
        self._write(encode_line(["end", self._count]))
        os.fsync(self._descriptor)
        os.close(self._descriptor)
        os.replace(self._new, self._path)
        sync_directory(self._path.parent)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._new.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        write_all(self._descriptor, data)
        self.size += len(data)


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Have names in a directory on the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
