"""The lines that saved state is made of: a checksum and JSON, so that whatever is damaged shows,
and what comes after it can still be read.

    1c291ca3 ["w",1795439001.5,17]
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

from l2tpns_core.state.codec import from_json, to_json
from l2tpns_core.state.errors import StateError

MAX_LINE_BYTES: Final = 4 << 20
MAX_FILE_BYTES: Final = 1 << 30
SUM_BYTES: Final = 8

FORMAT: Final = 1
"""Counts up with every change after which what was written before cannot be read any more."""
MAGIC: Final = "l2tpns-state"


def encode_line(record: object) -> bytes:
    body = to_json(record)
    return b"%08x %b\n" % (crc32(body), body)


def decode_line(line: bytes) -> list[object]:
    """The record of a line without its end. Raises StateError."""
    if len(line) > MAX_LINE_BYTES:
        raise StateError("a line is too long")
    body = line[SUM_BYTES + 1 :]
    if b"%08x " % crc32(body) != line[: SUM_BYTES + 1]:
        raise StateError("a checksum is wrong")
    record = from_json(body)
    if not isinstance(record, list) or not record:
        raise StateError("a line is no record")
    return record


def header(kind: str, generation: int) -> bytes:
    """The first line of a file."""
    return encode_line([MAGIC, FORMAT, kind, generation])


def check_header(record: list[object], kind: str, generation: int) -> None:
    """Raise StateError unless a file is of this program, version, kind and generation."""
    if record[0] != MAGIC:
        raise StateError("it was not written by l2tpns")
    if record[1:2] != [FORMAT]:
        raise StateError(f"it has format {record[1:2]}, this version reads {FORMAT}")
    if record[2:] != [kind, generation]:
        raise StateError("it has been renamed")


class Lines:
    """The lines of a file, as far as they are good."""

    def __init__(self, path: Path) -> None:
        """Raises StateError when the file cannot be read or is too large."""
        self._path = path
        self.damaged = 0
        """Bad lines that good ones come after."""
        self.torn = False
        """The last line is bad: its writing was interrupted."""
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise StateError(f"{path} is too large")
            self._file = path.open("rb")
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror}") from None

    def __iter__(self) -> Iterator[list[object]]:
        bad = 0
        with self._file as file:
            while line := self._next(file):
                try:
                    if not line.endswith(b"\n"):
                        raise StateError("a line has no end")
                    record = decode_line(line[:-1])
                except StateError:
                    bad += 1
                    continue
                self.damaged += bad
                bad = 0
                yield record
        self.torn = bad > 0

    def _next(self, file: "object") -> bytes:
        try:
            line: bytes = file.readline(MAX_LINE_BYTES + SUM_BYTES + 2)  # type: ignore[attr-defined]
        except OSError as error:
            raise StateError(f"cannot read {self._path}: {error.strerror}") from None
        return line
