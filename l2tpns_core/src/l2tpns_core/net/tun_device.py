"""The TUN device: one network interface for all subscribers."""

import fcntl
import io
import os
import struct
from typing import Final

CLONE_DEVICE: Final = "/dev/net/tun"
MAX_NAME_BYTES: Final = 15
DEFAULT_NAME: Final = "tun%d"
"""The kernel puts the first free number in."""

# linux/if_tun.h
TUNSETIFF: Final = 0x400454CA
TUNSETPERSIST: Final = 0x400454CB
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
IFREQ: Final = struct.Struct("=16sH22x")


class TunDevice:
    """An open TUN device. It carries plain IP packets and goes when it is closed, with its routes,
    unless it was made persistent."""

    __slots__ = ("_file", "name", "read", "write")

    def __init__(self, name: str = "") -> None:
        """Make the device, or open the existing one of that name ("" lets the kernel choose).

        Raises OSError: no such driver, no permission, name taken; ValueError for a bad name.
        """
        raw = (name or DEFAULT_NAME).encode()
        if len(raw) > MAX_NAME_BYTES or b"/" in raw or b" " in raw:
            raise ValueError(f"not a name of a network interface: {name!r}")
        fd = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            request = fcntl.ioctl(fd, TUNSETIFF, IFREQ.pack(raw, IFF_TUN | IFF_NO_PI))
        except OSError:
            os.close(fd)
            raise
        self.name = IFREQ.unpack(request)[0].rstrip(b"\0").decode()
        # A raw file reports "not now" as None, where os.read() would raise.
        self._file = io.FileIO(fd, "r+")
        self.read = self._file.read
        """One packet of at most so many bytes, or None when there is none."""
        self.write = self._file.write
        """Give the kernel one packet; None when it takes none now."""

    def fileno(self) -> int:
        return self._file.fileno()

    def set_persistent(self, persistent: bool) -> None:
        """Whether the device stays, with its addresses and routes, when nobody has it open. Raises
        OSError."""
        fcntl.ioctl(self.fileno(), TUNSETPERSIST, int(persistent))

    def close(self) -> None:
        self._file.close()
