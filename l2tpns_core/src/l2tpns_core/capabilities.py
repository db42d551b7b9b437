"""The capabilities of this process (capabilities(7)), as far as a daemon has to do with them."""

import ctypes
import os
import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

VERSION_3: Final = 0x20080522
PR_SET_KEEPCAPS: Final = 8
PR_CAPBSET_READ: Final = 23
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_RAISE: Final = 2
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
MAX_CAPABILITY: Final = 63

_libc = ctypes.CDLL(None, use_errno=True)


class Cap(IntEnum):
    """Those that matter here, by their numbers."""

    DAC_OVERRIDE = 1
    KILL = 5
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13
    IPC_LOCK = 14
    SYS_ADMIN = 21
    SYS_NICE = 23
    PERFMON = 38
    BPF = 39


def permitted() -> set[int]:
    """What this thread may have. Raises OSError."""
    header = struct.pack("=Ii", VERSION_3, 0)
    sets = ctypes.create_string_buffer(24)
    if _libc.capget(header, sets) != 0:
        raise _error("capget")
    words = struct.unpack(
        "=6I", sets.raw
    )  # effective, permitted, inheritable; then the high halves
    mask = words[1] | words[4] << 32
    return {number for number in range(MAX_CAPABILITY + 1) if mask >> number & 1}


def restrict(wanted: Iterable[int], *, inherit: bool = False) -> None:
    """Have exactly these capabilities, which must be permitted; with `inherit` the programs that
    are started have them as well. Raises OSError."""
    mask = sum(1 << number for number in wanted)
    passed_on = mask if inherit else 0
    words = []
    for shift in (0, 32):
        own = mask >> shift & 0xFFFFFFFF
        words += [own, own, passed_on >> shift & 0xFFFFFFFF]
    header = struct.pack("=Ii", VERSION_3, 0)
    if _libc.capset(header, struct.pack("=6I", *words)) != 0:
        raise _error("capset")
    _prctl("PR_CAP_AMBIENT_CLEAR_ALL", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    if inherit:
        for number in sorted(wanted):
            _prctl("PR_CAP_AMBIENT_RAISE", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def bound(wanted: Iterable[int]) -> None:
    """Let nothing that is started ever have others, whatever its file says. Raises OSError."""
    keep = set(wanted)
    for number in range(MAX_CAPABILITY + 1):
        known = _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0)
        if known == 1 and number not in keep:
            _prctl("PR_CAPBSET_DROP", PR_CAPBSET_DROP, number)


def keep_over_setuid() -> None:
    """Permitted capabilities survive the change to another user. Raises OSError."""
    _prctl("PR_SET_KEEPCAPS", PR_SET_KEEPCAPS, 1)


def no_new_privileges() -> None:
    """No program that is started gets more than this process has. Raises OSError."""
    _prctl("PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, 1)


def _prctl(name: str, option: int, *arguments: int) -> None:
    values = [*arguments, 0, 0, 0, 0][:4]
    if _libc.prctl(option, *(ctypes.c_ulong(value) for value in values)) != 0:
        raise _error(name)


def _error(name: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{name}: {os.strerror(number)}")
