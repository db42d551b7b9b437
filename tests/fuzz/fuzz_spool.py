"""Fuzz entry for what is read from the accounting spool.

`one_input` returns when nothing is wrong and raises otherwise, so that any fuzzer can drive it: a
decoder may raise SpoolError and nothing else, and a whole file, however damaged, nothing at all.
"""

import contextlib
import tempfile
from pathlib import Path

from l2tpns_core.radius.spool.errors import SpoolError
from l2tpns_core.radius.spool.file import HEADER, decode_line, keep_line
from l2tpns_core.radius.spool.opening import read_spool
from l2tpns_core.radius.spool.record import decode_record, encode_record


def one_input(data: bytes) -> None:
    """Try one input everywhere."""
    with contextlib.suppress(SpoolError):
        decode_line(data)
    with contextlib.suppress(SpoolError):
        record = decode_record(data)
        assert decode_record(encode_record(record)) == record
    for content in (data, HEADER + data, HEADER + keep_line(1, data) + data):
        _file(content)


def _file(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "records").write_bytes(content)
        opened = read_spool(Path(directory))
        opened.file.close()
        again = read_spool(Path(directory))
        again.file.close()
        assert len(again.queue) == len(opened.queue)
        assert all("damaged" not in note for note in again.notes)
