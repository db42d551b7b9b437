"""Where the fast path outlives the process: a directory of a bpffs for each network namespace.

    <base>/<inode of the namespace>/           locked by the process that uses it
    <base>/<inode of the namespace>/pins/      the programs and maps (loader.py)

The kernel forwards with what is pinned there, whether or not there is a process. What a process
left that did not end cleanly is found here by the next one.
"""

import contextlib
import ctypes
import fcntl
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from l2tpns_core.dataplane.ebpf.attach import Direction, leftovers
from l2tpns_core.dataplane.ebpf.errors import FastPathError, kernel_refused
from l2tpns_core.dataplane.ebpf.libbpf import pinned
from l2tpns_core.dataplane.ebpf.loader import MAP_PREFIX, remove_pins
from l2tpns_core.dataplane.ebpf.maps import Map

log = logging.getLogger("l2tpns.plane")

OWN_NAMESPACE: Final = Path("/proc/thread-self/ns/net")
BPFFS_MAGIC: Final = 0xCAFE4A11
LIBC: Final = "libc.so.6"
INDEX_BYTES: Final = 4
"""In the settings of every version the index of the TUN device comes first."""
LINKS: Final = tuple(f"{direction.value}-" for direction in Direction)


class Keep:
    """The directory of this namespace, locked from open() to close()."""

    def __init__(self, directory: Path, lock: int) -> None:
        """Use open()."""
        self.pins = directory / "pins"
        self._directory = directory
        self._lock = lock

    @classmethod
    def open(cls, base: Path) -> "Keep":
        """Make and lock the directory of this namespace below `base`.

        Raises FastPathError: no bpffs there, or another process has the directory.
        """
        ensure_bpffs(base.parent)
        directory = base / str(OWN_NAMESPACE.stat().st_ino)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FastPathError(f"cannot make {directory}: {error.strerror}") from None
        lock = _lock(directory)
        if lock is None:
            raise FastPathError(
                f"another LNS of this network namespace uses {directory}", "see bpf_directory"
            )
        _sweep(base, directory)
        return cls(directory, lock)

    @classmethod
    def exists(cls, base: Path) -> bool:
        """Whether some process made the directory of this namespace."""
        try:
            return (base / str(OWN_NAMESPACE.stat().st_ino)).is_dir()
        except OSError:
            return False

    @property
    def is_empty(self) -> bool:
        """Whether no former process left anything."""
        return not self.pins.is_dir()

    def tun_device(self) -> str:
        """The name of the TUN device that a former process left; "" when there is none."""
        try:
            descriptor = pinned(self.pins / f"{MAP_PREFIX}settings")
        except FastPathError:
            return ""
        try:
            settings = Map(descriptor, "settings").lookup(bytes(4))
            index = int.from_bytes(settings[:INDEX_BYTES], sys.byteorder) if settings else 0
            return socket.if_indextoname(index) if index else ""
        except OSError:
            return ""
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Remove what a former process left: its programs no longer forward."""
        remove_pins(self.pins)

    def close(self) -> None:
        """Give the directory up; it goes, unless something is pinned."""
        if self.is_empty:
            with contextlib.suppress(OSError):
                self._directory.rmdir()
        os.close(self._lock)


def ensure_bpffs(directory: Path) -> None:
    """See that a directory is on a bpffs; where it is not, mount one there, as iproute2 does.

    Raises FastPathError.
    """
    remedy = f"mount -t bpf bpf {directory}"
    if not directory.is_dir():
        raise FastPathError(f"{directory} is not there", remedy)
    if _filesystem(directory) == BPFFS_MAGIC:
        return
    libc = ctypes.CDLL(LIBC, use_errno=True)
    if libc.mount(b"bpf", str(directory).encode(), b"bpf", 0, b"mode=0700") < 0:
        raise FastPathError(f"no bpffs at {directory}: {os.strerror(ctypes.get_errno())}", remedy)


def _lock(directory: Path) -> int | None:
    """A descriptor that holds the lock of a directory, or None when another process holds it."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise kernel_refused(f"opening {directory}", error.errno or 0) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _sweep(base: Path, own: Path) -> None:
    """Remove what was left in namespaces that are gone: none of its links has an interface."""
    for directory in _others(base, own):
        pins = directory / "pins"
        try:
            lock = _lock(directory)
        except FastPathError:
            continue  # its owner has just removed it
        if lock is None:
            continue
        try:
            if not pins.is_dir():
                directory.rmdir()
            elif any(path.name.startswith(LINKS) for path in pins.iterdir()) and not leftovers(
                pins
            ):
                log.info("removing %s, of a network namespace that is gone", directory)
                remove_pins(pins)
                directory.rmdir()
        except (OSError, FastPathError) as error:
            log.debug("%s: %s", directory, error)
        finally:
            os.close(lock)


def _others(base: Path, own: Path) -> Iterator[Path]:
    for directory in sorted(base.iterdir()):
        if directory != own and directory.name.isdecimal() and directory.is_dir():
            yield directory


def _filesystem(path: Path) -> int:
    """The magic number of the file system of a directory (statfs(2))."""
    libc = ctypes.CDLL(LIBC, use_errno=True)
    answer = (ctypes.c_long * 32)()  # more than struct statfs has; f_type comes first
    if libc.statfs(str(path).encode(), ctypes.byref(answer)) < 0:
        return 0
    return int(answer[0])
