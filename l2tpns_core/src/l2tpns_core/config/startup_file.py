"""The startup-config on the disk, as `write memory` replaces it: all of it or nothing."""

import contextlib
import os
import stat
import tempfile
import threading
from pathlib import Path
from typing import Final

from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.merge import Wanted, merged
from l2tpns_core.config.startup_config import MAX_FILE_BYTES, digest_of, parse

OWNER_ONLY: Final = 0o600
"""A new file may hold secrets."""


class StartupFile:
    """One startup-config. save() may be called from any thread."""

    def __init__(self, path: Path, digest: bytes) -> None:
        """`digest` is that of the text that the running configuration was read from."""
        self.path = path
        self.digest = digest
        self._lock = threading.Lock()

    def save(self, wanted: Wanted, *, force: bool = False) -> str:
        """Have the file mean `wanted`; return the line to print. Unless with `force`, a file that
        somebody else has changed is left alone. Raises ConfigError."""
        with self._lock:
            try:
                return self._save(wanted, force=force)
            except OSError as error:
                raise ConfigError(
                    f"cannot write {self.path}: {error.strerror or error}; it is as it was"
                ) from None

    def _save(self, wanted: Wanted, *, force: bool) -> str:
        path = Path(os.path.realpath(self.path))
        before = _read(path)
        if digest_of(before) != self.digest and not force:
            raise ConfigError(
                f"{self.path} has changed since it was read: `reload` takes it as it is, "
                "`write memory force` puts the running configuration into it"
            )
        after = merged(before or b"", wanted)
        if len(after) > MAX_FILE_BYTES:
            raise ConfigError(f"{self.path} would get longer than {MAX_FILE_BYTES} bytes")
        if parse(after, str(path)).config != wanted.config:
            raise ConfigError(f"{self.path} cannot be changed to mean what runs; it is as it was")
        if after == before:
            return f"{self.path} says that already"
        _replace(path, after)
        self.digest = digest_of(after)
        return f"Configuration written to {self.path} ({len(after)} bytes)"


def _read(path: Path) -> bytes | None:
    """The text of a file; None when there is none. Raises OSError."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None


def _replace(path: Path, data: bytes) -> None:
    """Put a new file in the place of one, with its owner and mode. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _take_after(path, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _take_after(path: Path, descriptor: int) -> None:
    """Give a new file the owner and the mode of the one that it replaces."""
    try:
        before = path.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, OWNER_ONLY)
        return
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):  # then it is ours, and others cannot read more
            os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
