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
from l2tpns_core.dataplane.ebpf.maps import ArrayMemory, HashMap, KeyedMap, possible_cpus
from l2tpns_core.dataplane.plane import SessionCounters, SessionRoute

NEVER: Final = SessionCounters()
SECOND_NS: Final = 1_000_000_000
LONG_PPP: Final = b"\xff\x03\x00\x21"
SHORT_PPP: Final = b"\x00\x21"
ADDRESS_BITS: Final = 32
ALL_ONES: Final = 0xFFFFFFFF
ANY: Final = "0.0.0.0"
FIRST_CREDIT_NS: Final = 100_000_000
SHORT_MAX: Final = 0xFFFF

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
        self._cpus = possible_cpus()
        self._keys = HashMap(maps["keys"], "keys")
        self._addresses = HashMap(maps["addresses"], "addresses")
        self._networks = KeyedMap(maps["networks"], "networks")
        self._sessions = ArrayMemory(maps["sessions"], "sessions")
        self._buckets = ArrayMemory(maps["buckets"], "buckets")
        self._counters = ArrayMemory(maps["counters"], "counters")
        self.maps = (
            self._keys,
            self._addresses,
            self._networks,
            self._sessions,
            self._buckets,
            self._counters,
        )
        self.size = self._sessions.max_entries
        self.slots: dict[int, int] = {}
        self._hosts: Claims[int] = Claims()
        self._prefixes: Claims[Network] = Claims()
        self._networks_of: dict[int, tuple[Network, ...]] = {}
        # The slot that has been free for longest is used next, so that no packet that is still on
        # its way through a program meets the session that comes after its own.
        self._free = deque(range(self.size))

    def install_many(self, routes: Iterable[tuple[SessionRoute, NextHop]]) -> None:
        """Add or replace sessions, each with the way to its LAC."""
        keys: list[tuple[bytes, bytes]] = []
        hosts = HostChanges(self._hosts)
        try:
            for route, hop in routes:
                slot = self.slots.get(route.key)
                before = 0
                if slot is None:
                    slot = self._take_slot(route.key)
                    keys.append((layout.SLOT.pack(route.key), layout.SLOT.pack(slot)))
                else:
                    before = self._address_at(slot)
                known = self._replace_networks(slot, route.networks)
                self._write(slot, route, hop, punt=not known or is_unusual(route))
                hosts.move(slot, before, route.ip)
        finally:
            self._keys.update_many(keys)
            hosts.apply(self._addresses)

    def remove_many(self, keys: Iterable[int]) -> dict[int, SessionCounters]:
        """Forget sessions; return the final counters of those that were there."""
        slots = {key: self.slots.pop(key) for key in dict.fromkeys(keys) if key in self.slots}
        hosts = HostChanges(self._hosts)
        for slot in slots.values():
            layout.SESSION_KEY.pack_into(self._sessions.bytes, slot * layout.SESSION.size, 0)
            self._replace_networks(slot, ())
            hosts.move(slot, self._address_at(slot), 0)
        self._keys.delete_many(layout.SLOT.pack(key) for key in slots)
        hosts.apply(self._addresses)
        self._free.extend(slots.values())
        return {key: self.read(slot) for key, slot in slots.items()}

    def read(self, slot: int) -> SessionCounters:
        """The counters of a slot. CLOCK_MONOTONIC, which time.monotonic() is, goes on over the end
        of a process, so the times are right after an adoption too."""
        rows = self._rows(slot)
        if len(rows) > 1:
            packets_in, octets_in, packets_out, octets_out, *_ = map(sum, zip(*rows, strict=True))
            heard, data_in, data_out = (max(row[n] for row in rows) for n in (4, 5, 6))
        else:
            packets_in, octets_in, packets_out, octets_out, heard, data_in, data_out, _ = rows[0]
        return SessionCounters(
            octets_in,
            octets_out,
            packets_in,
            packets_out,
            heard / SECOND_NS,
            max(data_in, data_out) / SECOND_NS,
        )

    def throttled(self, slot: int) -> int:
        """Packets that the throttle of a slot dropped."""
        return sum(row[7] for row in self._rows(slot))

    def read_all(self, batch: int) -> Iterator[dict[int, SessionCounters]]:
        """The counters of all sessions, so many at a time."""
        slots = list(self.slots.items())
        for start in range(0, len(slots), batch):
            yield {key: self.read(slot) for key, slot in slots[start : start + batch]}

    def adopt(self) -> None:
        """Learn from the maps what an earlier process put there."""
        for raw_key, raw_slot in self._keys.items():
            key, slot = layout.SLOT.unpack(raw_key)[0], layout.SLOT.unpack(raw_slot)[0]
            if slot < self.size:
                self.slots[key] = slot
                address = self._address_at(slot)
                if address:
                    self._hosts.add(address, slot)
        used = set(self.slots.values())
        self._free = deque(slot for slot in range(self.size) if slot not in used)
        for raw_address, raw_slot in self._addresses.items():
            slot = layout.SLOT.unpack(raw_slot)[0]
            if slot in used:
                self._hosts.add(int.from_bytes(raw_address, "big"), slot)
        for raw in self._networks.keys():  # noqa: SIM118 - it is no dict
            value = self._networks.lookup(raw)
            length, address = layout.NETWORK.unpack(raw)
            slot = layout.SLOT.unpack(value)[0] if value else self.size
            if slot in used:
                network = (int.from_bytes(address, "big"), length)
                self._prefixes.add(network, slot)
                self._networks_of[slot] = (*self._networks_of.get(slot, ()), network)

    def close(self) -> None:
        for memory in (self._sessions, self._buckets, self._counters):
            memory.close()

    def _take_slot(self, key: int) -> int:
        if not self._free:
            raise FastPathError(f"all {self.size} places for sessions are taken")
        slot = self._free.popleft()
        size = self._cpus * layout.COUNTERS.size
        self._counters.bytes[slot * size : (slot + 1) * size] = bytes(size)
        # A bucket begins with little credit: over any time from now on a session gets no more than
        # its rate, but its first packets pass.
        full = time.monotonic_ns() + layout.BURST_NS - FIRST_CREDIT_NS
        layout.BUCKET.pack_into(self._buckets.bytes, slot * layout.BUCKET.size, full, full)
        self.slots[key] = slot
        return slot

    def _write(self, slot: int, route: SessionRoute, hop: NextHop, *, punt: bool) -> None:
        """Put a session into its slot, which is not valid while that goes on: packets that come
        meanwhile go to user space."""
        flags = layout.PUNT if punt else 0
        flags |= layout.ADDRESS_CONTROL if route.ppp_prefix == LONG_PPP else 0
        flags |= layout.HAS_NETWORKS if route.networks else 0
        image = layout.SESSION.pack(
            0,
            route.ip.to_bytes(4, "big"),
            socket.inet_aton(route.peer[0]),
            socket.inet_aton(route.local or self._local or ANY),
            network_order(route.peer[1]),
            network_order(route.peer_tunnel_id),
            network_order(route.peer_session_id),
            min(route.mru, SHORT_MAX),
            min(route.clamp_mss, SHORT_MAX),
            flags,
            hop.ifindex,
            layout.cost_of(route.throttle_in),
            layout.cost_of(route.throttle_out),
            socket.inet_aton(hop.gateway or ANY),
        )
        start = slot * layout.SESSION.size
        key_end = start + layout.SESSION_KEY.size
        layout.SESSION_KEY.pack_into(self._sessions.bytes, start, 0)
        self._sessions.bytes[key_end : start + layout.SESSION.size] = image[
            layout.SESSION_KEY.size :
        ]
        layout.SESSION_KEY.pack_into(self._sessions.bytes, start, route.key)

    def _address_at(self, slot: int) -> int:
        """The subscriber's address in a slot."""
        start = slot * layout.SESSION.size + layout.ADDRESS_AT
        return int.from_bytes(self._sessions.bytes[start : start + 4], "big")

    def _rows(self, slot: int) -> list[list[int]]:
        """The counters of a slot, a row for each CPU."""
        words = self._counters.words
        first = slot * self._cpus * layout.COUNTER_WORDS
        return [
            words[at : at + layout.COUNTER_WORDS].tolist()
            for at in range(first, first + self._cpus * layout.COUNTER_WORDS, layout.COUNTER_WORDS)
        ]

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


class HostChanges:
    """Changes of who has which address, brought into the map together."""

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

    def apply(self, addresses: HashMap) -> None:
        """Carry the changes out."""
        if not self._owners:
            return
        gone = [address.to_bytes(4, "big") for address, to in self._owners.items() if to is None]
        addresses.delete_many(gone)
        addresses.update_many(
            (address.to_bytes(4, "big"), layout.SLOT.pack(slot))
            for address, slot in self._owners.items()
            if slot is not None
        )
        self._owners.clear()


def is_unusual(route: SessionRoute) -> bool:
    """Whether user space must see every packet of a session."""
    return (
        route.hooked
        or route.send_sequence
        or route.snoop is not None
        or route.ppp_prefix not in (LONG_PPP, SHORT_PPP)
    )


def network_order(number: int) -> bytes:
    return struct.pack(">H", number)


def _network_key(network: Network) -> bytes:
    address, length = network
    return layout.NETWORK.pack(length, address.to_bytes(4, "big"))
