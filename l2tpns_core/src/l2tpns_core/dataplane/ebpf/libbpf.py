"""The part of libbpf that the loader needs, by ctypes. It knows nothing of our programs.

libbpf.so.1 is there wherever iproute2 is. Its functions return a negative errno, or NULL with errno
set; check() and checked_pointer() make exceptions of both.
"""

import ctypes
import errno
import functools
import os
from ctypes import POINTER, byref, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Final

from l2tpns_core.dataplane.ebpf.errors import FastPathError, kernel_refused

LIBRARY: Final = "libbpf.so.1"
TCX_INGRESS: Final = 46
TCX_EGRESS: Final = 47
TC_INGRESS: Final = 1
TC_EGRESS: Final = 2
TC_REPLACE: Final = 1
MAX_PATH: Final = 4096


class OpenOptions(ctypes.Structure):
    """struct bpf_object_open_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_char_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class BatchOptions(ctypes.Structure):
    """struct bpf_map_batch_opts."""

    _fields_ = (("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64))


class TcHook(ctypes.Structure):
    """struct bpf_tc_hook."""

    _fields_ = (
        ("sz", c_size_t),
        ("ifindex", c_int),
        ("attach_point", c_int),
        ("parent", c_uint32),
    )


class TcOptions(ctypes.Structure):
    """struct bpf_tc_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("prog_fd", c_int),
        ("flags", c_uint32),
        ("prog_id", c_uint32),
        ("handle", c_uint32),
        ("priority", c_uint32),
    )


class MapInfo(ctypes.Structure):
    """The beginning of struct bpf_map_info."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
    )


class ProgramInfo(ctypes.Structure):
    """The beginning of struct bpf_prog_info."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_len", c_uint32),
        ("translated_len", c_uint32),
        ("jited", c_uint64),
        ("translated", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("map_count", c_uint32),
        ("map_ids", c_uint64),
        ("name", ctypes.c_char * 16),
    )


class LinkInfo(ctypes.Structure):
    """The beginning of struct bpf_link_info, with what a tcx link has."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("unused", c_uint32),
        ("ifindex", c_uint32),
        ("attach_type", c_uint32),
    )


SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "libbpf_set_print": (c_void_p, (c_void_p,)),
    "bpf_object__open_mem": (c_void_p, (c_void_p, c_size_t, POINTER(OpenOptions))),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__find_map_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__find_program_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_obj_pin": (c_int, (c_int, c_char_p)),
    "bpf_obj_get": (c_int, (c_char_p,)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
    "bpf_map_update_elem": (c_int, (c_int, c_char_p, c_char_p, c_uint64)),
    "bpf_map_lookup_elem": (c_int, (c_int, c_char_p, c_void_p)),
    "bpf_map_delete_elem": (c_int, (c_int, c_char_p)),
    "bpf_map_get_next_key": (c_int, (c_int, c_char_p, c_void_p)),
    "bpf_map_update_batch": (
        c_int,
        (c_int, c_char_p, c_char_p, POINTER(c_uint32), POINTER(BatchOptions)),
    ),
    "bpf_map_delete_batch": (c_int, (c_int, c_char_p, POINTER(c_uint32), POINTER(BatchOptions))),
    "bpf_map_lookup_batch": (
        c_int,
        (c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), POINTER(BatchOptions)),
    ),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, c_void_p)),
    "bpf_link_update": (c_int, (c_int, c_int, c_void_p)),
    "bpf_link_detach": (c_int, (c_int,)),
    "bpf_tc_hook_create": (c_int, (POINTER(TcHook),)),
    "bpf_tc_hook_destroy": (c_int, (POINTER(TcHook),)),
    "bpf_tc_attach": (c_int, (POINTER(TcHook), POINTER(TcOptions))),
    "bpf_tc_query": (c_int, (POINTER(TcHook), POINTER(TcOptions))),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_tc_detach": (c_int, (POINTER(TcHook), POINTER(TcOptions))),
}


@functools.cache
def library() -> ctypes.CDLL:
    """libbpf, with types. It prints nothing: what it has to say is in exceptions."""
    try:
        loaded = ctypes.CDLL(LIBRARY, use_errno=True)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise FastPathError(f"{LIBRARY} cannot be used: {error}", "apt install libbpf1") from None
    loaded.libbpf_set_print(None)
    return loaded


def check(result: int, what: str, log: str = "") -> int:
    """The result of a call that returns a negative errno, or -1 with errno, when it fails."""
    if result < 0:
        raise kernel_refused(what, -result if result != -1 else ctypes.get_errno() or 1, log)
    return result


def checked_pointer(pointer: int | None, what: str) -> int:
    if not pointer:
        raise kernel_refused(what, ctypes.get_errno() or errno.ENOENT)
    return pointer


def info_of(fd: int, info: ctypes.Structure) -> None:
    """Fill a struct with what the kernel knows of a map, program or link."""
    size = c_uint32(ctypes.sizeof(info))
    check(library().bpf_obj_get_info_by_fd(fd, byref(info), byref(size)), "BPF object")


def pinned(path: Path) -> int:
    """A descriptor of what is pinned at a path. Raises FastPathError."""
    return check(library().bpf_obj_get(str(path).encode()), f"opening {path}")


def pin(fd: int, path: Path) -> None:
    check(library().bpf_obj_pin(fd, str(path).encode()), f"pinning {path}")


def unpin_link(path: Path) -> None:
    """Take a program off its interface, whose link is pinned at a path. Without detaching the link
    the kernel would do it some time later."""
    try:
        fd = pinned(path)
    except FastPathError:
        pass  # it is no link
    else:
        library().bpf_link_detach(fd)
        os.close(fd)
    path.unlink(missing_ok=True)
