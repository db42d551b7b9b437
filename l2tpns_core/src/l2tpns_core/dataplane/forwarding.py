"""The lookup tables of a user-space plane: a session by its key, a subscriber by an address."""

from typing import Final

from l2tpns_core.dataplane.plane import SessionCounters, SessionRoute
from l2tpns_core.dataplane.throttle import Bucket
from l2tpns_core.l2tp.data import SEQUENCE_MASK, encode_data
from l2tpns_core.l2tp.sequencing import Sequencer
from l2tpns_core.timers import Timer

ADDRESS_BITS: Final = 32
ALL_ONES: Final = 0xFFFFFFFF
SESSION_BITS: Final = 16

Ancillary = list[tuple[int, int, bytes]]
Network = tuple[int, int]


def mask_of(prefix_length: int) -> int:
    """The netmask of a prefix length as an integer."""
    return ALL_ONES << (ADDRESS_BITS - prefix_length) & ALL_ONES


class Entry:
    """One session in the plane: its route in the form that the packet loops want, and its counters.

    The loops read and write the attributes themselves; a method call per packet costs too much.
    """

    __slots__ = (
        "ancillary",
        "bucket_in",
        "bucket_out",
        "clamp_mss",
        "data_at",
        "filter_in",
        "filter_out",
        "header",
        "heard_at",
        "hooked",
        "host",
        "ip",
        "key",
        "mru",
        "networks",
        "next_ns",
        "octets_in",
        "octets_out",
        "packets_in",
        "packets_out",
        "peer",
        "plain",
        "route",
        "send_sequence",
        "sequencer",
        "sequencer_timer",
        "snoop",
        "special",
    )

    def __init__(self, key: int) -> None:
        self.key = key
        self.octets_in = self.octets_out = self.packets_in = self.packets_out = 0
        self.heard_at = self.data_at = 0.0
        self.next_ns = 0
        self.sequencer: Sequencer | None = None
        self.sequencer_timer: Timer | None = None
        self.bucket_in: Bucket | None = None
        self.bucket_out: Bucket | None = None

    def apply(self, route: SessionRoute, ancillary: Ancillary | None) -> None:
        """Take over a route; `ancillary` is what makes the socket send from route.local."""
        self.route = route
        self.peer = route.peer
        self.host = route.peer[0]
        self.ancillary = ancillary
        self.header = encode_data(route.peer_tunnel_id, route.peer_session_id) + route.ppp_prefix
        self.ip = route.ip.to_bytes(4, "big") if route.ip else b""
        """The subscriber's address as on the wire; empty while the network is down."""
        self.networks = tuple(
            (network & mask_of(length), mask_of(length)) for network, length in route.networks
        )
        self.mru = route.mru
        self.clamp_mss = route.clamp_mss
        self.hooked = route.hooked
        self.send_sequence = route.send_sequence
        self.snoop = route.snoop
        self.filter_in = route.filter_in
        self.filter_out = route.filter_out
        self.special = bool(
            route.hooked or route.throttle_in or route.snoop or route.filter_in is not None
        )
        """More is to be done with packets of the subscriber than to write them to the device."""
        self.plain = not (
            route.hooked
            or route.send_sequence
            or route.throttle_out
            or route.snoop
            or route.filter_out is not None
        )
        """The packet loop may send `header` and the packet as they are."""

    def owns(self, address: bytes) -> bool:
        """Whether an address is the subscriber's or behind it."""
        if address == self.ip:
            return True
        number = int.from_bytes(address, "big")
        return any(number & mask == network for network, mask in self.networks)

    def header_for(self, *, priority: bool = False) -> bytes:
        """The L2TP header of the next message, with its sequence number if the LAC asked for them
        (RFC 2661 section 5.4)."""
        ns = None
        if self.send_sequence:
            ns = self.next_ns
            self.next_ns = ns + 1 & SEQUENCE_MASK
        return encode_data(self.route.peer_tunnel_id, self.route.peer_session_id, ns, priority)

    def counters(self) -> SessionCounters:
        return SessionCounters(
            self.octets_in,
            self.octets_out,
            self.packets_in,
            self.packets_out,
            self.heard_at,
            self.data_at,
        )


class ForwardingTable:
    """Sessions by key and by destination. No call depends on the number of sessions.

    Where two sessions claim the same address or network, the one that came last has it, and when
    it goes the one before has it again.
    """

    __slots__ = ("_claims", "_networks", "hosts", "prefixes", "sessions")

    def __init__(self) -> None:
        self.sessions: dict[int, Entry] = {}
        self.hosts: dict[bytes, Entry] = {}
        """By the four bytes of an address."""
        self.prefixes: list[tuple[int, dict[int, Entry]]] = []
        """(mask, entries by network), longest prefix first; only lengths that are in use."""
        self._networks: dict[int, dict[int, Entry]] = {}
        self._claims: dict[Network, dict[Entry, None]] = {}

    def install(self, route: SessionRoute, ancillary: Ancillary | None) -> Entry:
        """Add a session or give it a new route; its counters go on."""
        entry = self.sessions.get(route.key)
        if entry is None:
            entry = self.sessions[route.key] = Entry(route.key)
            before: set[Network] = set()
        else:
            before = _destinations(entry.route)
        entry.apply(route, ancillary)
        after = _destinations(route)
        for destination in before - after:
            self._release(destination, entry)
        for destination in after - before:
            self._claim(destination, entry)
        return entry

    def remove(self, key: int) -> Entry | None:
        """Take a session out of every table."""
        entry = self.sessions.pop(key, None)
        if entry is not None:
            for destination in _destinations(entry.route):
                self._release(destination, entry)
        return entry

    def find_network(self, address: bytes) -> Entry | None:
        """The session that has the longest network around an address."""
        number = int.from_bytes(address, "big")
        for mask, entries in self.prefixes:
            entry = entries.get(number & mask)
            if entry is not None:
                return entry
        return None

    def _claim(self, destination: Network, entry: Entry) -> None:
        claims = self._claims.get(destination)
        owner = self._owner(destination)
        if claims is not None:
            claims[entry] = None
        elif owner is not None:
            self._claims[destination] = {owner: None, entry: None}
        self._set_owner(destination, entry)

    def _release(self, destination: Network, entry: Entry) -> None:
        claims = self._claims.get(destination)
        if claims is None:
            self._set_owner(destination, None)
            return
        del claims[entry]
        self._set_owner(destination, next(reversed(claims)))
        if len(claims) == 1:
            del self._claims[destination]

    def _owner(self, destination: Network) -> Entry | None:
        network, length = destination
        if length == ADDRESS_BITS:
            return self.hosts.get(network.to_bytes(4, "big"))
        return self._networks.get(length, {}).get(network)

    def _set_owner(self, destination: Network, entry: Entry | None) -> None:
        network, length = destination
        if length == ADDRESS_BITS:
            address = network.to_bytes(4, "big")
            if entry is None:
                del self.hosts[address]
            else:
                self.hosts[address] = entry
            return
        entries = self._networks.setdefault(length, {})
        known = bool(entries)
        if entry is None:
            del entries[network]
        else:
            entries[network] = entry
        if bool(entries) != known:
            self.prefixes[:] = [
                (mask_of(used), self._networks[used])
                for used in sorted(self._networks, reverse=True)
                if self._networks[used]
            ]


def _destinations(route: SessionRoute) -> set[Network]:
    """What a session receives: its own address and its networks."""
    found = {(network & mask_of(length), length) for network, length in route.networks}
    if route.ip:
        found.add((route.ip, ADDRESS_BITS))
    return found
