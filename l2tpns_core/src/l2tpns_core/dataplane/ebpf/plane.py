"""A data plane that forwards in the kernel, and in user space what the kernel leaves.

Every session is in both: the fast path passes what it understands and leaves everything else to the
user-space plane, unchanged. What a session has used is the sum of both.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Final

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.fastpath import FastPath
from l2tpns_core.dataplane.ebpf.table import ASK, NEVER, NextHop
from l2tpns_core.dataplane.plane import (
    Elsewhere,
    PacketHook,
    Peer,
    PlaneEvents,
    SessionCounters,
    SessionRoute,
    ThrottleState,
)
from l2tpns_core.dataplane.tun import PlaneOptions, UserPlane
from l2tpns_core.l2tp.sequencing import SequencerCounters

log = logging.getLogger("l2tpns.plane")

NO_LIMITS: Final = ThrottleState()
OVERHEAD: Final = 10
"""What L2TP and PPP add to a packet, in octets of UDP payload: two short headers."""


class EbpfPlane:
    """A DataPlane. `fast` is attached to the TUN device already; paths.LacPaths attaches it to the
    interfaces towards LACs as these come."""

    name = "ebpf"

    def __init__(self, user: UserPlane, fast: FastPath) -> None:
        self.user = user
        self.fast = fast
        fast.copies_from = user.interceptor.origin
        self.on_new_lac: Callable[[str], None] = lambda host: None
        """Told the address of a LAC that had no session in the plane so far."""
        self.paths: dict[str, NextHop] = {}
        """The way to each LAC, where it is known."""
        self._routes: dict[int, SessionRoute] = {}
        self._keys: dict[str, dict[int, None]] = {}
        """The sessions of each LAC."""
        self._begun: dict[int, ThrottleState] = {}
        """What sessions with limits had used in the kernel when these were set."""
        self._adopted = frozenset(fast.keys())
        """Sessions of another process that the kernel still serves."""
        self._left: dict[int, SessionCounters] = {}
        """Sessions that the kernel has no place for, with what they used in it before."""

    # The DataPlane interface

    def install(self, route: SessionRoute) -> None:
        """Add a session or replace what is known of it; counters and sequence numbers go on."""
        self.user.install(route)
        if route.throttle_in or route.throttle_out:
            self._begin_limits(route)
        self._leave_lac(route.key)
        self._routes[route.key] = route
        host = route.peer[0]
        is_new = host not in self._keys
        self._keys.setdefault(host, {})[route.key] = None
        self._install([route.key])
        if is_new:
            self.on_new_lac(host)

    def remove(self, key: int) -> SessionCounters:
        """Forget a session and return its final counters (zeros when it was not there)."""
        self._leave_lac(key)
        self._routes.pop(key, None)
        self._begun.pop(key, None)
        before = self._left.pop(key, NEVER)
        return together(before, together(self.fast.remove(key), self.user.remove(key)))

    def counters(self, key: int) -> SessionCounters:
        """The counters of one session so far."""
        found = together(self.fast.counters(key), self.user.counters(key))
        return together(self._left[key], found) if key in self._left else found

    def own_counters(self, key: int) -> SessionCounters:
        """What of counters() ends with this process."""
        own = self.user.counters(key)
        return together(self._left[key], own) if key in self._left else own

    def resume(self, key: int, total: SessionCounters, own: SessionCounters) -> None:
        """Count on from where another process was with an installed session: in `total`, of which
        `own` was not counted by the kernel. What the kernel has counted it still knows, unless its
        maps are new."""
        base = own if key in self._adopted else total
        self.user.resume(key, base, base)

    def add(self, key: int, more: SessionCounters) -> None:
        """Count what a session has used elsewhere, which may be less than nothing."""
        self.user.add(key, more)

    def take_unclaimed(self) -> dict[int, SessionCounters]:
        """Forget the sessions of another process that nobody installed; return what the kernel has
        counted of them."""
        return self.fast.remove_many(key for key in self._adopted if key not in self._routes)

    def throttle_state(self, key: int) -> ThrottleState | None:
        """How the limits of a session fare; None when it has none in the plane."""
        state = self.user.throttle_state(key)
        if state is None:
            return None
        now, before = self._used(key), self._begun.get(key, NO_LIMITS)
        if state.rate_in:
            state = state._replace(
                passed_in=state.passed_in + now.passed_in - before.passed_in,
                dropped_in=state.dropped_in + now.dropped_in - before.dropped_in,
            )
        if state.rate_out:
            state = state._replace(
                passed_out=state.passed_out + now.passed_out - before.passed_out,
                dropped_out=state.dropped_out + now.dropped_out - before.dropped_out,
            )
        return state

    def send_frames(self, key: int, frames: Iterable[bytes]) -> None:
        """Send PPP frames (from the address field on) to the subscriber's LAC."""
        self.user.send_frames(key, frames)

    def send_control(self, datagrams: Iterable[tuple[bytes, Peer, str]]) -> None:
        """Send L2TP control datagrams as (payload, peer, local address or "")."""
        self.user.send_control(datagrams)

    # The ways to LACs

    def lacs(self) -> list[str]:
        """The LACs that have sessions."""
        return list(self._keys)

    def keys_of(self, host: str) -> list[int]:
        """The sessions of a LAC."""
        return list(self._keys.get(host, ()))

    def reinstall(self, keys: Iterable[int]) -> None:
        """Tell the kernel anew about sessions, because the way to their LAC is another."""
        self._install([key for key in keys if key in self._routes])

    # What the daemon does with it

    def start(self) -> None:
        """Begin to read what the kernel leaves."""
        self.user.start()

    def stop(self) -> None:
        """Stop reading; sending still works."""
        self.user.stop()

    def configure(self, options: PlaneOptions) -> None:
        """Take over new settings."""
        self.user.configure(options)

    def plane_counters(self) -> PlaneCounters:
        """The counters of both parts as one, up to date. Octets of packets that passed in the
        kernel are counted as if all had the same headers, and those of what it drops are not."""
        outcomes = self.fast.statistics().outcomes
        counters = replace(self.user.plane_counters())
        up, down = outcomes["up_forwarded"], outcomes["down_forwarded"]
        counters.socket_rx_packets += up + _sum_of(outcomes, "up_drop_")
        counters.socket_rx_octets += outcomes["up_octets"] + up * OVERHEAD
        counters.tun_tx_packets += up
        counters.tun_tx_octets += outcomes["up_octets"]
        counters.tun_rx_packets += down + _sum_of(outcomes, "down_drop_")
        counters.tun_rx_octets += outcomes["down_octets"]
        counters.socket_tx_packets += down
        counters.socket_tx_octets += outcomes["down_octets"] + down * OVERHEAD
        for outcome, count in outcomes.items():
            name = COUNTER_OF.get(outcome)
            if name is not None:
                setattr(counters, name, getattr(counters, name) + count)
        return counters

    def sequence_counters(self, key: int) -> SequencerCounters | None:
        """What became of the numbered messages of a session; None when it never sent any."""
        return self.user.sequence_counters(key)

    @property
    def session_count(self) -> int:
        return self.user.session_count

    @property
    def events(self) -> PlaneEvents:
        """Where reports go; may be changed at any time."""
        return self.user.events

    @events.setter
    def events(self, events: PlaneEvents) -> None:
        self.user.events = events

    @property
    def elsewhere(self) -> Elsewhere | None:
        """Who takes packets of sessions that are not in the plane; None to drop them."""
        return self.user.elsewhere

    @elsewhere.setter
    def elsewhere(self, elsewhere: Elsewhere | None) -> None:
        self.user.elsewhere = elsewhere

    def take_from_lac(self, datagram: bytes, peer: Peer) -> None:
        """Forward a data message that came to another node."""
        self.user.take_from_lac(datagram, peer)

    def take_to_subscriber(self, packet: bytes) -> None:
        """Forward an IP packet that came to another node."""
        self.user.take_to_subscriber(packet)

    @property
    def packet_hook_rx(self) -> PacketHook | None:
        """Shown every IP packet from a subscriber with a `hooked` route."""
        return self.user.packet_hook_rx

    @packet_hook_rx.setter
    def packet_hook_rx(self, hook: PacketHook | None) -> None:
        self.user.packet_hook_rx = hook

    @property
    def packet_hook_tx(self) -> PacketHook | None:
        """Shown every IP packet to a subscriber with a `hooked` route."""
        return self.user.packet_hook_tx

    @packet_hook_tx.setter
    def packet_hook_tx(self, hook: PacketHook | None) -> None:
        self.user.packet_hook_tx = hook

    def _install(self, keys: list[int]) -> None:
        routes = [self._routes[key] for key in keys]
        try:
            self.fast.install_many((route, self.paths.get(route.peer[0], ASK)) for route in routes)
        except FastPathError as error:
            if len(keys) > 1:  # serve all but those that fail
                for key in keys:
                    self._install([key])
                return
            # The kernel must not go on with what it knew of the session before.
            level = logging.DEBUG if self._left else logging.ERROR
            log.log(level, "sessions are left to user space: %s", error)
            self._left[keys[0]] = together(
                self._left.get(keys[0], NEVER), self.fast.remove(keys[0])
            )

    def _used(self, key: int) -> ThrottleState:
        """What the kernel passed and dropped of a session."""
        counters, dropped = self.fast.counters(key), self.fast.throttled(key)
        return ThrottleState(
            passed_in=counters.packets_in,
            passed_out=counters.packets_out,
            dropped_in=dropped[0],
            dropped_out=dropped[1],
        )

    def _begin_limits(self, route: SessionRoute) -> None:
        """Remember what was before a limit, for throttle_state()."""
        known = self._routes.get(route.key)
        before, now = self._begun.get(route.key, NO_LIMITS), self._used(route.key)
        if known is None or not known.throttle_in:
            before = before._replace(passed_in=now.passed_in, dropped_in=now.dropped_in)
        if known is None or not known.throttle_out:
            before = before._replace(passed_out=now.passed_out, dropped_out=now.dropped_out)
        self._begun[route.key] = before

    def _leave_lac(self, key: int) -> None:
        route = self._routes.get(key)
        if route is None:
            return
        keys = self._keys[route.peer[0]]
        del keys[key]
        if not keys:
            del self._keys[route.peer[0]]


def together(fast: SessionCounters, user: SessionCounters) -> SessionCounters:
    """What both parts have seen of a session."""
    return SessionCounters(
        fast.octets_in + user.octets_in,
        fast.octets_out + user.octets_out,
        fast.packets_in + user.packets_in,
        fast.packets_out + user.packets_out,
        max(fast.heard_at, user.heard_at),
        max(fast.data_at, user.data_at),
    )


def _sum_of(outcomes: dict[str, int], prefix: str) -> int:
    return sum(count for outcome, count in outcomes.items() if outcome.startswith(prefix))


NAMED_OTHERWISE: Final = {
    "up_drop_throttled": "throttle_drops",
    "down_drop_throttled": "throttle_drops",
    "up_drop_filtered": "filter_drops_in",
    "down_drop_filtered": "filter_drops_out",
    "up_drop_failed": "tun_write_failures",
    "down_drop_failed": "socket_send_failures",
}


def _counters_of_outcomes() -> dict[str, str]:
    """Which counter of the user-space plane counts the same as an outcome in the kernel."""
    from l2tpns_core.dataplane.ebpf.layout import OUTCOMES

    names = {entry.name for entry in fields(PlaneCounters)}
    found = {}
    for outcome in OUTCOMES:
        name = outcome.partition("_drop_")[2] or outcome
        name = NAMED_OTHERWISE.get(outcome, name)
        if name in names:
            found[outcome] = name
    return found


COUNTER_OF: Final = _counters_of_outcomes()
