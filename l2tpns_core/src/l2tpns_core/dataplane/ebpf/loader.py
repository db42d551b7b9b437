"""Get the programs and maps into the kernel, or find again what an earlier process pinned there.

Pinned, they are files in a bpffs directory, `<pins>/map-NAME` and, for programs that are attached,
`<pins>/up-IFINDEX` and `<pins>/down-IFINDEX` (tcx links). Programs are always loaded afresh; maps
are taken over when they have the form that this version and these settings ask for.
"""

import ctypes
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.layout import LAYOUT, SETTINGS
from l2tpns_core.dataplane.ebpf.libbpf import (
    OpenOptions,
    ProgramInfo,
    check,
    checked_pointer,
    info_of,
    library,
    pin,
    pinned,
    unpin_link,
)
from l2tpns_core.dataplane.ebpf.maps import Map

log = logging.getLogger("l2tpns.plane")

OBJECT: Final = Path(__file__).parent / "l2tp.bpf.o"
PROGRAMS: Final = ("l2tp_up", "l2tp_down", "l2tp_in")
MAPS: Final = (
    "settings",
    "slots",
    "directory",
    "blocks",
    "addresses",
    "networks",
    "intercepts",
    "targets",
    "sessions",
    "lacs",
    "totals",
    "details",
    "ways",
    "traffic",
    "statistics",
    "filter_lists",
    "filter_rules",
    "filter_hits",
    "filters",
)
VERIFIER_LOG_BYTES: Final = 1 << 20
MAP_PREFIX: Final = "map-"


class Loaded:
    """The programs and maps of one fast path, by descriptors that close() gives back."""

    def __init__(self, handle: int, maps: dict[str, int], programs: dict[str, int]) -> None:
        self._handle = handle
        self.maps = maps
        self.programs = programs
        self.adopted = False
        """Whether the maps are those of an earlier process, with what is in them."""

    def close(self) -> None:
        """What is neither pinned nor attached goes."""
        library().bpf_object__close(self._handle)

    def program_sizes(self) -> dict[str, tuple[int, int]]:
        """Bytes of each program: as verified, as compiled to machine code."""
        sizes = {}
        for name, fd in self.programs.items():
            info = ProgramInfo()
            info_of(fd, info)
            sizes[name] = (int(info.translated_len), int(info.jited_len))
        return sizes


def load(entries: Mapping[str, int], pins: Path | None) -> Loaded:
    """Load the object with the given sizes of maps; adopt what is pinned in `pins`, a directory of
    a bpffs, and pin what is new there. Raises FastPathError."""
    if pins is None:
        return _load(entries, {})
    pins.mkdir(mode=0o700, exist_ok=True)
    fresh = _load(entries, {})
    old = _pinned_maps(pins)
    try:
        if old and _forms(old) == _forms(fresh.maps) and _layout(old["settings"]) == LAYOUT:
            loaded = _load(entries, old)
            loaded.adopted = True
            fresh.close()
            return loaded
    finally:
        _close_all(old)
    if any(pins.iterdir()):
        log.warning("fast path: what is pinned in %s is not ours to use and goes", pins)
    remove_pins(pins)
    pins.mkdir(mode=0o700)
    return _pin_maps(fresh, pins)


def _pin_maps(loaded: Loaded, pins: Path) -> Loaded:
    try:
        for name, fd in loaded.maps.items():
            pin(fd, pins / f"{MAP_PREFIX}{name}")
    except FastPathError:
        loaded.close()
        remove_pins(pins)
        raise
    return loaded


def remove_pins(pins: Path) -> None:
    """Unpin everything in a directory and remove it. Links that were pinned are detached."""
    if not pins.is_dir():
        return
    for path in pins.iterdir():
        if path.name.startswith(MAP_PREFIX):
            path.unlink(missing_ok=True)
        else:
            unpin_link(path)
    pins.rmdir()


def _load(entries: Mapping[str, int], old: Mapping[str, int]) -> Loaded:
    lib = library()
    try:
        image = OBJECT.read_bytes()
    except OSError as error:
        raise FastPathError(f"cannot read {OBJECT}: {error.strerror}") from None
    log_buffer = ctypes.create_string_buffer(VERIFIER_LOG_BYTES)
    options = OpenOptions(
        sz=ctypes.sizeof(OpenOptions),
        object_name=b"l2tpns",
        kernel_log_buf=ctypes.cast(log_buffer, ctypes.c_char_p),
        kernel_log_size=VERIFIER_LOG_BYTES,
    )
    handle = checked_pointer(
        lib.bpf_object__open_mem(image, len(image), ctypes.byref(options)), OBJECT.name
    )
    try:
        handles = {
            name: checked_pointer(lib.bpf_object__find_map_by_name(handle, name.encode()), name)
            for name in MAPS
        }
        for name, size in entries.items():
            check(lib.bpf_map__set_max_entries(handles[name], size), f"map {name}")
        for name, fd in old.items():
            check(lib.bpf_map__reuse_fd(handles[name], fd), f"map {name}")
        check(lib.bpf_object__load(handle), "loading the programs", _text(log_buffer))
        programs = {
            name: int(
                lib.bpf_program__fd(
                    checked_pointer(
                        lib.bpf_object__find_program_by_name(handle, name.encode()), name
                    )
                )
            )
            for name in PROGRAMS
        }
        maps = {name: int(lib.bpf_map__fd(handles[name])) for name in MAPS}
    except FastPathError as error:
        error.log = _text(log_buffer)
        lib.bpf_object__close(handle)
        raise
    return Loaded(handle, maps, programs)


def _pinned_maps(pins: Path) -> dict[str, int]:
    """Descriptors of all maps that are pinned; none when one is missing."""
    found: dict[str, int] = {}
    for name in MAPS:
        try:
            found[name] = pinned(pins / f"{MAP_PREFIX}{name}")
        except FastPathError:
            _close_all(found)
            return {}
    return found


def _forms(descriptors: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    return {name: Map(fd, name).form for name, fd in descriptors.items()}


def _layout(settings: int) -> int:
    found = Map(settings, "settings").lookup(bytes(4))
    return int(SETTINGS.unpack(found)[3]) if found else 0


def _close_all(descriptors: Mapping[str, int]) -> None:
    for fd in descriptors.values():
        os.close(fd)


def _text(buffer: "ctypes.Array[ctypes.c_char]") -> str:
    return buffer.value.decode(errors="replace")
