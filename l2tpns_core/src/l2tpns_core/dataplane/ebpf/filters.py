"""The access lists in the kernel: their rules, what these matched, and whose packets they judge.

The maps are those of filter.bpf.h. A list that a session refers to is written when the first one
does, and again whenever its rules change.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

from l2tpns_core.access_lists.lists import AccessList, AccessLists
from l2tpns_core.access_lists.rules import (
    ALL_BITS,
    MAX_PORT,
    MAX_RULES,
    FlagTest,
    Hosts,
    Ports,
    Rule,
    TcpFlags,
)
from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.maps import ArrayMemory, KeyedMap, Map, PerCpuSums

PERMIT: Final = 1
INSIDE: Final = 2
LATER: Final = 4
NOT_SOURCE: Final = 8
NOT_DESTINATION: Final = 16
TESTS: Final = {FlagTest.ESTABLISHED: 1, FlagTest.ANY: 2, FlagTest.ALL: 3}
NO_LIST: Final = 0
BANK_SHIFT: Final = 16

Pair = tuple[AccessList | None, AccessList | None]
UNFILTERED: Final[Pair] = (None, None)


class KernelFilters:
    """The maps `filter_lists`, `filter_rules`, `filter_hits` and `filters`."""

    def __init__(self, maps: Mapping[str, int]) -> None:
        """`maps` are descriptors by name."""
        self._lists = Map(maps["filter_lists"], "filter_lists")
        self._rules = ArrayMemory(maps["filter_rules"], "filter_rules")
        self._hits = PerCpuSums(maps["filter_hits"], "filter_hits")
        self._filters = KeyedMap(maps["filters"], "filters")
        self.maps: tuple[Map, ...] = (self._lists, self._rules, self._hits, self._filters)
        self._pairs: dict[int, Pair] = {}
        """The lists of each slot that has any."""
        self._known: dict[int, AccessList] = {}
        """What is written, by number."""

    def follow(self, lists: AccessLists) -> None:
        """Be told of changes, and tell what rules have matched here."""
        lists.before_change = self._take_hits
        lists.on_change = self._changed
        lists.hits_elsewhere = self.hits

    def replace(
        self, slot: int, filter_in: AccessList | None, filter_out: AccessList | None
    ) -> bool:
        """Have lists judge the packets of a slot, None for no list; False when the kernel cannot,
        and user space must."""
        wanted = (filter_in, filter_out)
        if self._pairs.get(slot, UNFILTERED) == wanted:
            return True
        key = layout.SLOT.pack(slot)
        if wanted == UNFILTERED:
            self._filters.delete(key)
            del self._pairs[slot]
            return True
        try:
            numbers = [self._number_of(each) for each in wanted]
            self._filters.update(key, layout.FILTER_PAIR.pack(*numbers))
        except FastPathError:
            self._filters.delete(key)
            self._pairs.pop(slot, None)
            return False
        self._pairs[slot] = wanted
        return True

    def hits(self, asked: AccessList) -> Sequence[int]:
        """Packets that each rule of a list has matched here since it was written."""
        if self._known.get(asked.number) is not asked:
            return [0] * len(asked.rules)
        first = self._first_of(asked.number, self._bank_of(asked.number))
        return self._hits.sums(range(first, first + len(asked.rules)))

    def adopt(self, used: set[int]) -> None:
        """Forget what an earlier process put there for slots that are not used. Those that are
        keep their filters until their sessions are installed again."""
        for key in list(self._filters.keys()):
            if layout.SLOT.unpack(key)[0] not in used:
                self._filters.delete(key)

    def close(self) -> None:
        self._rules.close()

    def _number_of(self, wanted: AccessList | None) -> int:
        if wanted is None:
            return NO_LIST
        if self._known.get(wanted.number) is not wanted:
            self._write(wanted)
        return wanted.number

    def _take_hits(self, changing: AccessList) -> None:
        """The rules are about to change places: what they matched here goes to the list."""
        if self._known.get(changing.number) is changing:
            counted = zip(changing.hits, self.hits(changing), strict=True)
            changing.hits = [before + here for before, here in counted]

    def _changed(self, changed: AccessList) -> None:
        if self._known.get(changed.number) is changed:
            self._write(changed)

    def _write(self, wanted: AccessList) -> None:
        """Put the rules into the bank that does not count, and let it count."""
        bank = (self._bank_of(wanted.number) + 1) % layout.FILTER_BANKS
        first = self._first_of(wanted.number, bank)
        for place, rule in enumerate(wanted.rules):
            start = (first + place) * layout.FILTER_RULE.size
            self._rules.bytes[start : start + layout.FILTER_RULE.size] = image_of(rule)
        self._hits.clear(range(first, first + len(wanted.rules)))
        word = bank << BANK_SHIFT | len(wanted.rules)
        self._lists.update(_key(wanted.number), word.to_bytes(4, sys.byteorder))
        self._known[wanted.number] = wanted

    def _bank_of(self, number: int) -> int:
        word = int.from_bytes(self._lists.lookup(_key(number)) or b"", sys.byteorder)
        return word >> BANK_SHIFT

    def _first_of(self, number: int, bank: int) -> int:
        return (number * layout.FILTER_BANKS + bank) * MAX_RULES


def image_of(rule: Rule) -> bytes:
    """A rule as the kernel has it."""
    flags = rule.flags or TcpFlags(FlagTest.ALL)
    form = PERMIT if rule.permit else 0
    form |= INSIDE if rule.looks_inside else 0
    form |= LATER if rule.fragments else 0
    form |= NOT_SOURCE if rule.source_ports and rule.source_ports.outside else 0
    form |= NOT_DESTINATION if rule.destination_ports and rule.destination_ports.outside else 0
    source_first, source_last = _bounds(rule.source_ports)
    first, last = _bounds(rule.destination_ports)
    return layout.FILTER_RULE.pack(
        *_address_and_mask(rule.source),
        *_address_and_mask(rule.destination or Hosts()),
        source_first,
        source_last,
        first,
        last,
        rule.protocol,
        form,
        TESTS[flags.test],
        flags.set,
        flags.clear,
    )


def _address_and_mask(hosts: Hosts) -> tuple[bytes, bytes]:
    mask = hosts.wildcard ^ ALL_BITS
    return (hosts.address & mask).to_bytes(4, "big"), mask.to_bytes(4, "big")


def _bounds(ports: Ports | None) -> tuple[int, int]:
    """The first and the last port. A test that no port meets, as `gt 65535`, has none between."""
    first, last = ports.bounds if ports is not None else (0, MAX_PORT)
    return (first, last) if first <= last else (1, 0)


def _key(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)
