"""What the bench sets at interfaces: offloads, and the kernel threads that receive from them."""

import ctypes
import fcntl
import os
import socket
import struct
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from l2tpns_core.lab.netns import Namespace

SIOCGIFHWADDR: Final = 0x8927
ETHTOOL_SGRO: Final = 0x2C
MNT_DETACH: Final = 2
SYSFS_FLAGS: Final = 0

_libc = ctypes.CDLL(None, use_errno=True)


def thread_napi(space: Namespace, link: str) -> list[int]:
    """Have kernel threads of its own receive from an interface; return their process ids.

    The interface needs NAPI: GRO must be on. Empty where the kernel cannot (before Linux 5.12).
    """
    before = set(_threads(link))
    with suppress(OSError):
        space.call(_write_sysfs, f"class/net/{link}/threaded", "1")
    return [pid for pid in _threads(link) if pid not in before]


def index_of(space: Namespace, link: str) -> int:
    return space.call(socket.if_nametoindex, link)


def mac_of(space: Namespace, link: str) -> bytes:
    """The address of an Ethernet interface."""

    def ask() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            answer = fcntl.ioctl(asking, SIOCGIFHWADDR, struct.pack("=16s24x", link.encode()))
        return answer[18:24]

    return space.call(ask)


def _threads(link: str) -> list[int]:
    """Kernel threads that receive from interfaces of this name, in any namespace."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if path.read_text().startswith(f"napi/{link}-"[:15]):
                found.append(int(path.parent.name))
    return sorted(found)


def _write_sysfs(name: str, value: str) -> None:
    """The /sys of the namespace that the calling thread is in. The mount is the process's own:
    become_lab_root has seen to that."""
    with tempfile.TemporaryDirectory(prefix="sys-") as directory:
        target = directory.encode()
        if _libc.mount(b"sysfs", target, b"sysfs", SYSFS_FLAGS, None):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        try:
            Path(directory, name).write_text(value)
        finally:
            _libc.umount2(target, MNT_DETACH)
