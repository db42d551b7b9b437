"""Maps of the kernel: hash maps by single calls and by batches, arrays as memory."""

import ctypes
import errno
import mmap
import sys
from collections.abc import Iterable, Iterator
from ctypes import byref, c_uint32
from pathlib import Path
from typing import Final, Literal

from l2tpns_core.dataplane.ebpf.errors import kernel_refused
from l2tpns_core.dataplane.ebpf.libbpf import BatchOptions, MapInfo, check, info_of, library

BATCH: Final = 8192
CPU_FILE: Final = Path("/sys/devices/system/cpu/possible")


def possible_cpus() -> int:
    """How many CPUs the kernel reserves room for."""
    last = CPU_FILE.read_text().strip().split(",")[-1].split("-")[-1]
    return int(last) + 1


class Map:
    """A map by its file descriptor, which stays the loader's."""

    def __init__(self, fd: int, name: str) -> None:
        info = MapInfo()
        info_of(fd, info)
        self.fd = fd
        self.name = name
        self.key_size: int = info.key_size
        self.value_size: int = info.value_size
        self.max_entries: int = info.max_entries
        self.form = (info.type, info.key_size, info.value_size, info.max_entries, info.map_flags)
        """What must agree when a map that is already there is to be used."""

    def memory(self) -> int:
        """Bytes of kernel memory, as the kernel counts them."""
        for line in Path(f"/proc/self/fdinfo/{self.fd}").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "memlock":
                return int(value)
        return 0

    def update(self, key: bytes, value: bytes) -> None:
        check(library().bpf_map_update_elem(self.fd, key, value, 0), f"map {self.name}")

    def lookup(self, key: bytes) -> bytes | None:
        value = ctypes.create_string_buffer(self.value_size)
        if library().bpf_map_lookup_elem(self.fd, key, value) < 0:
            self._only(errno.ENOENT)
            return None
        return value.raw

    def delete(self, key: bytes) -> None:
        """Remove a key; nothing happens when it is not there."""
        if library().bpf_map_delete_elem(self.fd, key) < 0:
            self._only(errno.ENOENT)

    def _only(self, expected: int) -> None:
        if ctypes.get_errno() != expected:
            raise kernel_refused(f"map {self.name}", ctypes.get_errno())


class KeyedMap(Map):
    """A map whose keys can be listed one by one."""

    def keys(self) -> Iterator[bytes]:
        """All keys. None may be removed meanwhile, or it begins again."""
        found = ctypes.create_string_buffer(self.key_size)
        key: bytes | None = None
        for _ in range(self.max_entries):
            if library().bpf_map_get_next_key(self.fd, key, found) < 0:
                self._only(errno.ENOENT)
                return
            key = found.raw
            yield key


class HashMap(Map):
    """A hash map, with the calls that move thousands of its entries."""

    def update_many(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        """Add or replace, thousands in one call."""
        found = list(pairs)
        for start in range(0, len(found), BATCH):
            part = found[start : start + BATCH]
            keys = b"".join(key for key, _ in part)
            values = b"".join(value for _, value in part)
            count, options = c_uint32(len(part)), _batch_options()
            check(
                library().bpf_map_update_batch(self.fd, keys, values, byref(count), byref(options)),
                f"map {self.name}",
            )

    def delete_many(self, keys: Iterable[bytes]) -> None:
        """Remove, thousands in one call. Keys that are not there are passed over."""
        found = list(keys)
        position = 0
        while position < len(found):
            part = found[position : position + BATCH]
            count, options = c_uint32(len(part)), _batch_options()
            failed = library().bpf_map_delete_batch(
                self.fd, b"".join(part), byref(count), byref(options)
            )
            if failed < 0:
                self._only(errno.ENOENT)
                position += 1  # the kernel stops at a missing key and tells how far it got
            position += count.value

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Everything in the map, thousands per call. Changes meanwhile may or may not be seen."""
        keys = ctypes.create_string_buffer(self.key_size * BATCH)
        values = ctypes.create_string_buffer(self.value_size * BATCH)
        cursor = ctypes.create_string_buffer(max(self.key_size, 8))
        options, started, more = _batch_options(), False, True
        while more:
            count = c_uint32(BATCH)
            more = (
                library().bpf_map_lookup_batch(
                    self.fd,
                    cursor if started else None,
                    cursor,
                    keys,
                    values,
                    byref(count),
                    byref(options),
                )
                == 0
            )
            if not more:
                self._only(errno.ENOENT)
            started = True
            yield from _pairs(keys.raw, values.raw, self.key_size, self.value_size, count.value)


class ArrayMemory(Map):
    """An array map as memory of this process: what is written is there for the next packet."""

    def __init__(self, fd: int, name: str, word: Literal["B", "H"] = "B") -> None:
        """`word` is what `words` is made of, as in memoryview.cast()."""
        super().__init__(fd, name)
        size = self.value_size * self.max_entries
        page = mmap.PAGESIZE
        self._mapped = mmap.mmap(fd, (size + page - 1) // page * page)
        self.bytes = memoryview(self._mapped)
        self.words = self.bytes.cast(word)

    def close(self) -> None:
        self.words.release()
        self.bytes.release()
        self._mapped.close()


class PerCpuSums(Map):
    """A small per-CPU array of 64-bit numbers, or of arrays of them."""

    def sums(self, indexes: Iterable[int] | None = None) -> list[int]:
        """Each of the numbers, or of some elements, summed over the CPUs."""
        width = self.value_size // 8
        values = (ctypes.c_uint64 * (width * possible_cpus()))()
        found = []
        for index in indexes if indexes is not None else range(self.max_entries):
            key = index.to_bytes(4, sys.byteorder)
            check(library().bpf_map_lookup_elem(self.fd, key, values), f"map {self.name}")
            found += [sum(values[number::width]) for number in range(width)]
        return found

    def clear(self, indexes: Iterable[int]) -> None:
        """Set some of them to 0."""
        zeros = bytes(self.value_size * possible_cpus())
        for index in indexes:
            self.update(index.to_bytes(4, sys.byteorder), zeros)


def _batch_options() -> BatchOptions:
    return BatchOptions(sz=ctypes.sizeof(BatchOptions))


def _pairs(
    keys: bytes, values: bytes, key_size: int, value_size: int, count: int
) -> Iterator[tuple[bytes, bytes]]:
    for index in range(count):
        key = keys[index * key_size : (index + 1) * key_size]
        yield key, values[index * value_size : (index + 1) * value_size]
