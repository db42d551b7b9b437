"""The part of bpf(2) that the generator and the counters need, by way of libbpf.

Programs are assembled here from a few instructions, so there is nothing to compile or to ship.
"""

import ctypes
import errno
import functools
import mmap
import os
import struct
from ctypes import c_char_p, c_int, c_size_t, c_uint32, c_void_p
from typing import Any, Final

from l2tpns_core.lab.netns import LabError

LIBRARY: Final = "libbpf.so.1"
MAP_ARRAY: Final = 2
PROGRAM_TC: Final = 3
PROGRAM_XDP: Final = 6
MMAPABLE: Final = 1 << 10
LIVE_FRAMES: Final = 1 << 1
TCX_INGRESS: Final = 46
LOG_SIZE: Final = 1 << 16


class _LoadOptions(ctypes.Structure):
    """The beginning of struct bpf_prog_load_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("attempts", c_int),
        ("expected_attach_type", c_uint32),
        ("prog_btf_fd", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_ifindex", c_uint32),
        ("kern_version", c_uint32),
        ("attach_btf_id", c_uint32),
        ("attach_prog_fd", c_uint32),
        ("attach_btf_obj_fd", c_uint32),
        ("fd_array", c_void_p),
        ("func_info", c_void_p),
        ("func_info_cnt", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("line_info", c_void_p),
        ("line_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_void_p),
    )


class _CreateOptions(ctypes.Structure):
    """The beginning of struct bpf_map_create_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
    )


class _RunOptions(ctypes.Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_char_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_char_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


@functools.cache
def _library() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY, use_errno=True)
    except OSError as error:
        raise LabError(f"{error}: apt install libbpf1") from error
    library.libbpf_set_print(None)
    return library


def _check(result: int, what: str, detail: str = "") -> int:
    if result < 0:
        code = -result if result != -1 else ctypes.get_errno() or errno.EPERM
        raise LabError(f"the kernel refuses {what}: {os.strerror(code)}{detail}")
    return result


class Array:
    """An array map as memory of this process."""

    def __init__(self, name: str, value_size: int, entries: int = 1) -> None:
        options = _CreateOptions(sz=ctypes.sizeof(_CreateOptions), map_flags=MMAPABLE)
        self.value_size = value_size
        made = _library().bpf_map_create(
            MAP_ARRAY, name.encode(), 4, value_size, entries, ctypes.byref(options)
        )
        self.fd = _check(made, f"a map for {name}")
        length = -(-value_size * entries // mmap.PAGESIZE) * mmap.PAGESIZE
        self._mapped = mmap.mmap(self.fd, length)

    def write(self, form: str, offset: int, *values: int) -> None:
        struct.pack_into(f"={form}", self._mapped, offset, *values)

    def read(self, form: str, offset: int = 0) -> tuple[int, ...]:
        return struct.unpack_from(f"={form}", self._mapped, offset)

    def put(self, offset: int, data: bytes) -> None:
        self._mapped[offset : offset + len(data)] = data

    def close(self) -> None:
        self._mapped.close()
        os.close(self.fd)


def load(kind: int, name: str, code: bytes) -> int:
    """Have the kernel check a program; return its descriptor. Raises LabError."""
    log = ctypes.create_string_buffer(LOG_SIZE)
    options = _LoadOptions(
        sz=ctypes.sizeof(_LoadOptions),
        log_level=1,
        log_size=LOG_SIZE,
        log_buf=ctypes.cast(log, c_void_p).value,
    )
    made = _library().bpf_prog_load(
        kind, name.encode(), b"GPL", code, len(code) // 8, ctypes.byref(options)
    )
    end = log.value.decode(errors="replace").strip().splitlines()[-3:]
    return _check(made, f"the program {name}", f" ({' / '.join(end)})")


def attach_ingress(program: int, ifindex: int) -> int:
    """Have a tc program see what comes in at an interface of the caller's namespace, until the
    descriptor that is returned is closed. Raises LabError."""
    return _check(
        _library().bpf_link_create(program, ifindex, TCX_INGRESS, None),
        "a program at an interface (tcx, Linux 6.6)",
    )


def run_live(program: int, frame: bytes, ifindex: int, repeat: int, batch: int) -> None:
    """Run an XDP program so often on a frame as if the interface had received it, and let the
    frames go where it sends them; a signal ends it early. Raises LabError."""
    context = struct.pack("=6I", 0, len(frame), 0, ifindex, 0, 0)
    options = _RunOptions(
        sz=ctypes.sizeof(_RunOptions),
        data_in=frame,
        data_size_in=len(frame),
        ctx_in=context,
        ctx_size_in=len(context),
        repeat=repeat,
        flags=LIVE_FRAMES,
        batch_size=batch,
    )
    done = _library().bpf_prog_test_run_opts(program, ctypes.byref(options))
    if done == -errno.EINTR:
        return
    _check(done, "live frames (BPF_F_TEST_XDP_LIVE_FRAMES, Linux 5.18)")
