"""Which slot a packet to an address belongs to, in the kernel's maps.

A network of 256 addresses with subscribers in it has a block, an array of slots; writing there is
no system call. When all blocks are taken, addresses of other networks go to a hash map.
"""

from collections.abc import Mapping
from typing import Final

from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.claims import Claims
from l2tpns_core.dataplane.ebpf.maps import ArrayMemory, HashMap

LAST_OCTET: Final = layout.BLOCK - 1
NOBODY: Final = 0


class HostTable:
    """The maps `directory`, `blocks` and `addresses`."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        """`maps` are descriptors by name."""
        self._directory = HashMap(maps["directory"], "directory")
        self._blocks = ArrayMemory(maps["blocks"], "blocks", "H")
        self._addresses = HashMap(maps["addresses"], "addresses")
        self.maps = (self._directory, self._blocks, self._addresses)
        self._first: dict[int, int] = {}
        """Where the block of a network begins in the memory, by its first address."""
        self._members: dict[int, int] = {}
        """How many addresses are in a block."""
        self._free = list(range(0, self._blocks.max_entries * layout.BLOCK, layout.BLOCK))
        self._loose: set[int] = set()
        """The addresses in the hash map."""

    def change(self, owners: Mapping[int, int | None]) -> None:
        """Give addresses to slots, or to nobody (None)."""
        loose: list[tuple[bytes, bytes]] = []
        gone: list[bytes] = []
        for address, slot in owners.items():
            if slot is None:
                self._remove(address)
            elif not self._place(address, slot):
                loose.append((address.to_bytes(4, "big"), layout.SLOT.pack(slot)))
                self._loose.add(address)
                continue
            if address in self._loose:
                self._loose.discard(address)
                gone.append(address.to_bytes(4, "big"))
        if gone:
            self._addresses.delete_many(gone)
        if loose:
            self._addresses.update_many(loose)

    def adopt(self, used: set[int]) -> list[tuple[int, int]]:
        """Learn what is in the maps; return the addresses with their slots. What leads to a slot
        that is not in use goes."""
        found: list[tuple[int, int]] = []
        for raw_network, raw_block in self._directory.items():
            network, first = int.from_bytes(raw_network, "big"), _begin(raw_block)
            slots = self._blocks.words[first : first + layout.BLOCK].tolist()
            members = [(network + last, slot) for last, slot in enumerate(slots) if slot]
            self._first[network], self._members[network] = first, len(members)
            self._free.remove(first)
            found.extend(members)
        for raw_address, raw_slot in self._addresses.items():
            self._loose.add(int.from_bytes(raw_address, "big"))
            found.append((int.from_bytes(raw_address, "big"), layout.SLOT.unpack(raw_slot)[0]))
        self.change({address: None for address, slot in found if slot not in used})
        return [(address, slot) for address, slot in found if slot in used]

    def close(self) -> None:
        self._blocks.close()

    def _place(self, address: int, slot: int) -> bool:
        """Put an address into its block; False when there is none for it."""
        last = address & LAST_OCTET
        network = address - last
        first = self._first.get(network)
        if first is None:
            if not self._free:
                return False
            first = self._first[network] = self._free.pop()
            self._members[network] = 0
            self._blocks.words[first + last] = slot
            self._directory.update(network.to_bytes(4, "big"), _block(first))
            self._members[network] = 1
            return True
        self._members[network] += not self._blocks.words[first + last]
        self._blocks.words[first + last] = slot
        return True

    def _remove(self, address: int) -> None:
        last = address & LAST_OCTET
        network = address - last
        first = self._first.get(network)
        if first is None or not self._blocks.words[first + last]:
            return
        self._blocks.words[first + last] = NOBODY
        self._members[network] -= 1
        if not self._members[network]:
            self._directory.delete(network.to_bytes(4, "big"))
            del self._members[network], self._first[network]
            self._free.append(first)


class HostChanges:
    """Changes of who has which address, brought into the maps together."""

    def __init__(self, claims: Claims[int]) -> None:
        self._claims = claims
        self._owners: dict[int, int | None] = {}

    def move(self, slot: int, before: int, after: int) -> None:
        """A slot has another address; 0 for none."""
        if before == after:
            return
        if before:
            self._owners[before] = self._claims.remove(before, slot)
        if after:
            self._claims.add(after, slot)
            self._owners[after] = slot

    def apply(self, hosts: HostTable) -> None:
        """Carry the changes out."""
        hosts.change(self._owners)
        self._owners.clear()


def _block(first: int) -> bytes:
    return layout.SLOT.pack(first // layout.BLOCK)


def _begin(block: bytes) -> int:
    number: int = layout.SLOT.unpack(block)[0]
    return number * layout.BLOCK
