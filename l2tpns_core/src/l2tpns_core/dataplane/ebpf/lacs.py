"""The LACs in the kernel's map: each way to one is there once, for all the sessions that use it."""

from collections import deque

from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.maps import ArrayMemory


class LacTable:
    """Entries by what is in them, with the number of sessions of each. 0 is no entry."""

    def __init__(self, fd: int) -> None:
        self.memory = ArrayMemory(fd, "lacs")
        self._indexes: dict[bytes, int] = {}
        self._used: dict[int, int] = {}
        # As with slots: the one that has been free for longest is used next.
        self._free = deque(range(1, self.memory.max_entries))

    def take(self, entry: bytes) -> int:
        """The index of an entry for one more session."""
        index = self._indexes.get(entry)
        if index is None:
            if not self._free:
                raise FastPathError(f"all {self.memory.max_entries - 1} places for LACs are taken")
            index = self._free.popleft()
            self._at(index)[:] = entry
            self._indexes[entry] = index
        self._used[index] = self._used.get(index, 0) + 1
        return index

    def release(self, index: int) -> None:
        """A session less; nothing happens for 0."""
        if not index:
            return
        self._used[index] -= 1
        if not self._used[index]:
            del self._used[index]
            del self._indexes[bytes(self._at(index))]
            self._free.append(index)

    def adopt(self, index: int) -> None:
        """Know of a session that was there before."""
        self._indexes[bytes(self._at(index))] = index
        self._used[index] = self._used.get(index, 0) + 1

    def adopted(self) -> None:
        """After the last of them."""
        self._free = deque(n for n in range(1, self.memory.max_entries) if n not in self._used)

    def _at(self, index: int) -> memoryview:
        start = index * layout.LAC.size
        return self.memory.bytes[start : start + layout.LAC.size]
