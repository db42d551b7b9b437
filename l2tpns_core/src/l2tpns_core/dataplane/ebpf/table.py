"""The sessions in the kernel's maps. No call depends on how many there are, but those for all."""

import socket
import struct
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from l2tpns_core.dataplane.ebpf import layout
from l2tpns_core.dataplane.ebpf.claims import Claims
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.filters import KernelFilters
from l2tpns_core.dataplane.ebpf.hosts import HostChanges, HostTable
from l2tpns_core.dataplane.ebpf.intercepts import Intercepts, Origin
from l2tpns_core.dataplane.ebpf.lacs import LacTable
from l2tpns_core.dataplane.ebpf.maps import ArrayMemory, KeyedMap, possible_cpus
from l2tpns_core.dataplane.plane import SessionCounters, SessionRoute

NEVER: Final = SessionCounters()
LONG_PPP: Final = b"\xff\x03\x00\x21"
SHORT_PPP: Final = b"\x00\x21"
ADDRESS_BITS: Final = 32
ALL_ONES: Final = 0xFFFFFFFF
ANY: Final = "0.0.0.0"
FIRST_CREDIT_NS: Final = 100_000_000
SHORT_MAX: Final = 0xFFFF
LOOKS: Final = 1000
"""More than a program could ever need to carry over."""
ID_BITS: Final = 16
ID_MASK: Final = 0xFFFF
NO_SESSION: Final = bytes(layout.ROW)
NO_TOTALS: Final = bytes(layout.TOTALS.size)

Network = tuple[int, int]


class NextHop(NamedTuple):
    """The way to a LAC: interface, and the address there that the datagrams go to next, which is
    the LAC's own on its network. 0 and "" ask the routing table for each packet."""

    ifindex: int = 0
    gateway: str = ""


ASK: Final = NextHop()


class SessionTable:
    """A slot of the arrays for each session, and the maps that lead to it."""

    def __init__(self, maps: dict[str, int], local: str) -> None:
        """`maps` are descriptors by name, `local` is our address where a route names none."""
        self._local = local
        self._ids = ArrayMemory(maps["slots"], "slots", "H")
        self._host_table = HostTable(maps)
        self._intercepts = Intercepts(maps)
        self.filters = KernelFilters(maps)
        self.copies_from: Origin = lambda target: None
        """Where the copies of intercepted sessions come from; user space copies while that is
        not known."""
        self._networks = KeyedMap(maps["networks"], "networks")
        self._sessions = ArrayMemory(maps["sessions"], "sessions")
        self._lacs = LacTable(maps["lacs"])
        self._totals = ArrayMemory(maps["totals"], "totals")
        self._details = ArrayMemory(maps["details"], "details")
        self.maps = (
            self._ids,
            *self._host_table.maps,
            *self._intercepts.maps,
            *self.filters.maps,
            self._networks,
            self._sessions,
            self._lacs.memory,
            self._totals,
            self._details,
        )
        slots = self._details.max_entries
        self._cpus = range(0, possible_cpus() * slots, slots)
        """Where the slots of each CPU begin."""
        self.size = slots - 1
        """Slot 0 stays empty: it is where a packet that belongs to nobody is led to."""
        self.slots: dict[int, int] = {}
        self._hosts: Claims[int] = Claims()
        self._prefixes: Claims[Network] = Claims()
        self._networks_of: dict[int, tuple[Network, ...]] = {}
        # The slot that has been free for longest is used next, so that no packet that is still on
        # its way through a program meets the session that comes after its own.
        self._free = deque(range(1, self.size + 1))

    def install_many(self, routes: Iterable[tuple[SessionRoute, NextHop]]) -> None:
        """Add or replace sessions, each with the way to its LAC."""
        hosts = HostChanges(self._hosts)
        try:
            for route, hop in routes:
                slot = self.slots.get(route.key)
                before = 0
                if slot is None:
                    slot = self._take_slot(route.key)
                else:
                    before = self._address_at(slot)
                known = self._replace_networks(slot, route.networks)
                copied = self._intercepts.replace(slot, route.snoop, self.copies_from)
                filtered = self.filters.replace(slot, route.filter_in, route.filter_out)
                usual = known and copied and filtered and not is_unusual(route)
                self._write(slot, route, hop, punt=not usual)
                self._ids.words[route.key & ID_MASK] = slot
                hosts.move(slot, before, route.ip)
        finally:
            hosts.apply(self._host_table)

    def remove_many(self, keys: Iterable[int]) -> dict[int, SessionCounters]:
        """Forget sessions; return the final counters of those that were there."""
        slots = {key: self.slots.pop(key) for key in dict.fromkeys(keys) if key in self.slots}
        hosts = HostChanges(self._hosts)
        for key, slot in slots.items():
            self._set_tunnel(slot, 0)
            self._lacs.release(self._lac_at(slot))
            if self._ids.words[key & ID_MASK] == slot:
                self._ids.words[key & ID_MASK] = 0
            self._replace_networks(slot, ())
            self._intercepts.replace(slot, None, self.copies_from)
            self.filters.replace(slot, None, None)
            hosts.move(slot, self._address_at(slot), 0)
        hosts.apply(self._host_table)
        self._free.extend(slots.values())
        return {key: self.read(slot) for key, slot in slots.items()}

    def read(self, slot: int) -> SessionCounters:
        """The counters of a slot. CLOCK_MONOTONIC, which time.monotonic() is, goes on over the end
        of a process, so the times are right after an adoption too."""
        packets_in = octets_in = packets_out = octets_out = heard = data = 0
        for cpu in self._cpus:
            row = self._counted(cpu + slot)
            packets_in += row[0]
            packets_out += row[1]
            octets_in += row[2]
            octets_out += row[3]
            heard, data = max(heard, row[4]), max(data, row[5])
        return SessionCounters(
            octets_in,
            octets_out,
            packets_in,
            packets_out,
            heard * layout.TIME_UNIT,
            data * layout.TIME_UNIT,
        )

    def throttled(self, slot: int) -> tuple[int, int]:
        """Packets that the throttle of a slot dropped: from the subscriber, to the subscriber."""
        start = slot * layout.DETAILS.size + layout.DROPPED_AT
        dropped_in, dropped_out = layout.DROPPED.unpack_from(self._details.bytes, start)
        return dropped_in, dropped_out

    def read_all(self, batch: int) -> Iterator[dict[int, SessionCounters]]:
        """The counters of all sessions, so many at a time."""
        slots = list(self.slots.items())
        for start in range(0, len(slots), batch):
            yield {key: self.read(slot) for key, slot in slots[start : start + batch]}

    def adopt(self) -> None:
        """Learn from the maps what an earlier process put there."""
        for session_id, slot in enumerate(self._ids.words):
            if not slot:
                continue
            (tunnel_id,) = layout.TUNNEL_ID.unpack_from(self._sessions.bytes, slot * layout.ROW)
            if not tunnel_id:
                self._ids.words[session_id] = 0
                continue
            self.slots[tunnel_id << ID_BITS | session_id] = slot
            self._lacs.adopt(self._lac_at(slot))
            address = self._address_at(slot)
            if address:
                self._hosts.add(address, slot)
        self._lacs.adopted()
        used = set(self.slots.values())
        self._free = deque(slot for slot in range(1, self.size + 1) if slot not in used)
        for address, slot in self._host_table.adopt(used):
            self._hosts.add(address, slot)
        self._intercepts.adopt(used)
        self.filters.adopt(used)
        for raw in self._networks.keys():  # noqa: SIM118 - it is no dict
            value = self._networks.lookup(raw)
            length, address = layout.NETWORK.unpack(raw)
            slot = layout.SLOT.unpack(value)[0] if value else 0
            if slot in used:
                network = (int.from_bytes(address, "big"), length)
                self._prefixes.add(network, slot)
                self._networks_of[slot] = (*self._networks_of.get(slot, ()), network)

    def close(self) -> None:
        self._host_table.close()
        self.filters.close()
        for memory in (
            *(self._ids, self._sessions, self._totals, self._lacs.memory, self._details),
        ):
            memory.close()

    def _take_slot(self, key: int) -> int:
        if not self._free:
            raise FastPathError(f"all {self.size} places for sessions are taken")
        slot = self._free.popleft()
        for cpu in self._cpus:
            start = (cpu + slot) * layout.ROW
            self._sessions.bytes[start : start + layout.ROW] = NO_SESSION
            start = (cpu + slot) * layout.TOTALS.size
            self._totals.bytes[start : start + layout.TOTALS.size] = NO_TOTALS
        # A bucket begins with little credit: over any time from now on a session gets no more than
        # its rate, but its first packets pass.
        full = time.monotonic_ns() + layout.BURST_NS - FIRST_CREDIT_NS
        start = slot * layout.DETAILS.size
        layout.DETAILS.pack_into(self._details.bytes, start, 0, 0, full, full, 0, 0, bytes(4))
        self.slots[key] = slot
        return slot

    def _write(self, slot: int, route: SessionRoute, hop: NextHop, *, punt: bool) -> None:
        """Put a session into its slot, which is not valid while that goes on: packets that come
        meanwhile go to user space."""
        flags = layout.PUNT if punt else 0
        flags |= layout.ADDRESS_CONTROL if route.ppp_prefix == LONG_PPP else 0
        flags |= layout.HAS_NETWORKS if route.networks else 0
        flags |= layout.SNOOPED if route.snoop else 0
        flags |= layout.ECHO if route.magic else 0
        filtered = route.filter_in is not None or route.filter_out is not None
        flags |= layout.FILTERED if filtered else 0
        flags |= layout.THROTTLED if route.throttle_in or route.throttle_out else 0
        self._set_tunnel(slot, 0)
        self._lacs.release(self._lac_at(slot))
        image = layout.SESSION.pack(
            0,
            network_order(route.peer_session_id),
            route.ip.to_bytes(4, "big"),
            self._lacs.take(self._lac(route, hop)),
            flags,
        )[layout.TUNNEL_ID.size :]
        for cpu in self._cpus:
            start = (cpu + slot) * layout.ROW
            first = start + layout.TUNNEL_ID.size
            self._sessions.bytes[first : start + layout.SESSION.size] = image
        start = slot * layout.DETAILS.size
        costs = layout.cost_of(route.throttle_in), layout.cost_of(route.throttle_out)
        layout.COSTS.pack_into(self._details.bytes, start, *costs)
        start += layout.MAGIC_AT
        self._details.bytes[start : start + 4] = route.magic.to_bytes(4, "big")
        self._set_tunnel(slot, route.key >> ID_BITS)

    def _lac(self, route: SessionRoute, hop: NextHop) -> bytes:
        return layout.LAC.pack(
            socket.inet_aton(route.peer[0]),
            socket.inet_aton(route.local or self._local or ANY),
            socket.inet_aton(hop.gateway or ANY),
            hop.ifindex,
            network_order(route.peer[1]),
            network_order(route.peer_tunnel_id),
            min(route.mru, SHORT_MAX),
            min(route.clamp_mss, SHORT_MAX),
        )

    def _set_tunnel(self, slot: int, tunnel_id: int) -> None:
        for cpu in self._cpus:
            start = (cpu + slot) * layout.ROW
            layout.TUNNEL_ID.pack_into(self._sessions.bytes, start, tunnel_id)

    def _lac_at(self, slot: int) -> int:
        """The LAC's index in a slot."""
        start = slot * layout.ROW + layout.LAC_AT
        (index,) = layout.SESSION_LAC.unpack_from(self._sessions.bytes, start)
        return int(index)

    def _address_at(self, slot: int) -> int:
        """The subscriber's address in a slot."""
        start = slot * layout.ROW + layout.ADDRESS_AT
        return int.from_bytes(self._sessions.bytes[start : start + 4], "big")

    def _counted(self, index: int) -> tuple[int, ...]:
        """What one CPU counted: packets in and out, octets in and out, two times. Between two looks
        at the same totals nothing was carried over."""
        first = index * layout.TOTALS.size
        start = index * layout.ROW + layout.SESSION.size
        for _ in range(LOOKS):
            totals = layout.TOTALS.unpack_from(self._totals.bytes, first)
            row = layout.COUNTERS.unpack_from(self._sessions.bytes, start)
            again = layout.TOTALS.unpack_from(self._totals.bytes, first)
            if totals == again and not totals[4] & 1:
                break
        return (
            row[0] + totals[0],
            row[1] + totals[2],
            row[2] + totals[1],
            row[3] + totals[3],
            *row[4:],
        )

    def _replace_networks(self, slot: int, networks: tuple[Network, ...]) -> bool:
        """Change what networks a slot claims; False when the map has no room for all of them."""
        before = self._networks_of.get(slot, ())
        if before == networks == ():
            return True
        wanted = {
            (network & ALL_ONES << (ADDRESS_BITS - length) & ALL_ONES, length): None
            for network, length in networks
        }
        for network in before:
            if network not in wanted:
                owner = self._prefixes.remove(network, slot)
                if owner is None:
                    self._networks.delete(_network_key(network))
                else:
                    self._networks.update(_network_key(network), layout.SLOT.pack(owner))
        held = [network for network in before if network in wanted]
        complete = True
        for network in wanted:
            if network in held:
                continue
            try:
                self._networks.update(_network_key(network), layout.SLOT.pack(slot))
            except FastPathError:
                complete = False
                break
            self._prefixes.add(network, slot)
            held.append(network)
        self._networks_of[slot] = tuple(held)
        if not held:
            del self._networks_of[slot]
        return complete


def is_unusual(route: SessionRoute) -> bool:
    """Whether user space must see every packet of a session."""
    return route.hooked or route.send_sequence or route.ppp_prefix not in (LONG_PPP, SHORT_PPP)


def network_order(number: int) -> bytes:
    return struct.pack(">H", number)


def _network_key(network: Network) -> bytes:
    address, length = network
    return layout.NETWORK.pack(length, address.to_bytes(4, "big"))
