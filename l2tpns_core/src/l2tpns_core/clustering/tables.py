"""The data plane of a slave: it serves what it can from the image of the master's state."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from l2tpns_core.clustering.counting import Counting
from l2tpns_core.dataplane.plane import SessionCounters, SessionRoute
from l2tpns_core.l2tp.saved import SavedTunnel
from l2tpns_core.lns.server import IP_AND_TCP_HEADERS
from l2tpns_core.lns.state import KernelRoutes
from l2tpns_core.ppp.link import IP_PREFIXES
from l2tpns_core.session import session_key
from l2tpns_core.state.image import Image
from l2tpns_core.state.model import SavedSession

log = logging.getLogger("l2tpns.cluster")

SLICE: Final = 64
"""Sessions that are brought into the plane before the loop is free again."""
HOST_BITS: Final = 32
Network = tuple[int, int]


class SlavePlane(Protocol):
    """What is asked of the data plane."""

    def install(self, route: SessionRoute) -> None: ...
    def remove(self, key: int) -> SessionCounters: ...
    def counters(self, key: int) -> SessionCounters: ...


@dataclass(slots=True, frozen=True)
class _Place:
    """Where a session is."""

    networks: tuple[Network, ...]
    """Its address and Framed-Routes, which are routed to us."""
    is_here: bool
    """In our plane; else the master serves it."""


class SlaveTables:
    """Follows an image."""

    def __init__(
        self,
        plane: SlavePlane,
        routes: KernelRoutes,
        counting: Counting,
        mru: Callable[[], int],
        shows_packets: Callable[[], bool] = lambda: False,
    ) -> None:
        """`mru` is what subscribers can take at most, in octets; `shows_packets` says whether
        plugins see all packets, which they do at the master."""
        self._shows_packets = shows_packets
        self._plane = plane
        self._routes = routes
        self._counting = counting
        self._mru = mru
        self._image = Image()
        self._places: dict[int, _Place] = {}
        self._routed: Counter[Network] = Counter()
        """How many sessions want a network: one that moves from one to another stays."""
        self._away: dict[Network, int] = {}
        """What the master serves."""
        self._away_lengths: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def keys(self) -> Iterable[int]:
        """The sessions that this slave knows."""
        return self._places.keys()

    async def follow(self, image: Image) -> None:
        """Serve what an image says, instead of what was before."""
        self._image = image
        keys = list(dict.fromkeys((*self._places, *image.sessions)))
        for start in range(0, len(keys), SLICE):
            for key in keys[start : start + SLICE]:
                self.update(key)
            await asyncio.sleep(0)

    def apply(self, rows: Iterable[list[object]]) -> None:
        """The image has changed by these rows."""
        for key in changed_keys(rows):
            self.update(key)

    def update(self, key: int) -> None:
        """Bring a session to what the image says of it."""
        saved = self._image.sessions.get(key)
        if saved is None:
            self.drop(key)
            return
        route = None
        if not self._shows_packets():
            route = route_of(saved, self._image.tunnels.get(saved.tunnel_id), self._mru())
        networks = networks_of(saved) if saved.link is not None else ()
        before = self._places.get(key)
        place = _Place(networks, route is not None)
        if route is not None and not self._serve(key, route, before):
            place = _Place(networks, is_here=False)
        if before is not None and before.is_here and not place.is_here:
            self._counting.leave(key, self._plane.remove(key))
        if place == before:
            return
        self._places[key] = place
        self._settle(key, place)
        if before is not None:
            self._retire(key, before)

    def _serve(self, key: int, route: SessionRoute, before: _Place | None) -> bool:
        """Have the plane forward a session; False when it cannot, which costs this session the
        way by the master and nobody else anything."""
        try:
            self._plane.install(route)
        except Exception:
            log.exception("session %d is left to the master", key)
            return False
        if before is None or not before.is_here:
            self._counting.begin(key)
        return True

    def drop(self, key: int) -> None:
        """Serve a session no more."""
        place = self._places.pop(key, None)
        if place is None:
            return
        if place.is_here:
            self._counting.leave(key, self._plane.remove(key))
        self._retire(key, place)

    def inherit(self, sessions: Iterable[tuple[int, tuple[Network, ...]]]) -> None:
        """Sessions that this node served as master: key, address and networks."""
        for key, networks in sessions:
            self._places[key] = _Place(networks, is_here=True)
            self._routed.update(networks)

    def hand_over(self) -> set[int]:
        """Give all that is here to an LNS, which goes on with it; returns the sessions in the
        plane."""
        here = {key for key, place in self._places.items() if place.is_here}
        for table in (self._places, self._routed, self._away, self._away_lengths):
            table.clear()
        self._image = Image()
        return here

    def is_away(self, address: bytes) -> bool:
        """Whether the master serves an address, 4 octets."""
        ip = int.from_bytes(address, "big")
        return any(
            (ip >> (HOST_BITS - length) << (HOST_BITS - length), length) in self._away
            for length in self._away_lengths
        )

    def _settle(self, key: int, place: _Place) -> None:
        """A session has come to a place."""
        for network in place.networks:
            self._routed[network] += 1
            if network[1] < HOST_BITS or not self._routes.covers(network[0]):
                self._routes.add(*network)
            if not place.is_here:
                if network not in self._away:
                    self._away_lengths[network[1]] += 1
                self._away[network] = key

    def _retire(self, key: int, place: _Place) -> None:
        """A session has left a place, after it has come to another, if any."""
        stays = self._places.get(key)
        for network in place.networks:
            is_away = stays is not None and not stays.is_here and network in stays.networks
            if self._away.get(network) == key and not is_away:
                del self._away[network]
                self._away_lengths[network[1]] -= 1
                if not self._away_lengths[network[1]]:
                    del self._away_lengths[network[1]]
            self._routed[network] -= 1
            if not self._routed[network]:
                del self._routed[network]
                self._routes.remove(*network)


def changed_keys(rows: Iterable[list[object]]) -> Iterator[int]:
    """The sessions that rows are about, each once."""
    found: dict[int, None] = {}
    for row in rows:
        match row:
            case ["s", {"tunnel_id": int(tunnel), "session_id": int(session)}]:
                found[session_key(tunnel, session)] = None
            case ["S", int(key)]:
                found[key] = None
    return iter(found)


def networks_of(saved: SavedSession) -> tuple[Network, ...]:
    """What is routed to a session."""
    host = ((saved.ip, HOST_BITS),) if saved.ip else ()
    return (*host, *(route for route in saved.routes if route not in host))


def route_of(saved: SavedSession, tunnel: SavedTunnel | None, mru: int) -> SessionRoute | None:
    """How a slave forwards a session's packets; None where the master has to: while nobody is
    logged in, and for what keeps an account of single packets (limits, copies, filters, sequence
    numbers, the walled garden)."""
    link = saved.link
    if link is None or tunnel is None or not saved.ip or saved.walled_garden:
        return None
    if saved.throttle_in or saved.throttle_out or saved.snoop_ip or saved.sequencing_required:
        return None
    if saved.filter_in or saved.filter_out:
        return None
    mru = min(saved.mru, mru)
    return SessionRoute(
        key=saved.key,
        peer=(tunnel.address, tunnel.port),
        local=tunnel.local,
        peer_tunnel_id=tunnel.peer_id,
        peer_session_id=saved.peer_session_id,
        ppp_prefix=IP_PREFIXES[link.acfc, link.pfc],
        ip=saved.ip,
        networks=saved.routes,
        mru=mru,
        clamp_mss=mru - IP_AND_TCP_HEADERS,
        magic=link.magic,
    )
