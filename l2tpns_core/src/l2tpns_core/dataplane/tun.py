"""The user-space data plane: every packet passes through this process, by UDP socket and by TUN.

It works on any kernel, and it does everything that a session may need, which makes it the slow path
of faster planes.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.downstream import Downstream
from l2tpns_core.dataplane.forwarding import Entry, ForwardingTable
from l2tpns_core.dataplane.intercept import Interceptor
from l2tpns_core.dataplane.plane import (
    Elsewhere,
    PacketHook,
    Peer,
    PlaneEvents,
    SessionCounters,
    SessionRoute,
    ThrottleState,
)
from l2tpns_core.dataplane.ratelimit import RateLimit
from l2tpns_core.dataplane.throttle import state_of
from l2tpns_core.dataplane.udp import L2tpSocket
from l2tpns_core.dataplane.upstream import Upstream
from l2tpns_core.l2tp.sequencing import SequencerCounters

log = logging.getLogger("l2tpns.plane")

COUNTER_BITS: Final = 32
NEVER: Final = SessionCounters()


class PacketDevice(Protocol):
    """A TUN device (net.tun_device.TunDevice)."""

    def fileno(self) -> int: ...

    def read(self, size: int) -> bytes | None:
        """One packet, or None when there is none now. Raises OSError when the device is gone."""

    def write(self, packet: bytes) -> int | None:
        """Hand a packet to the kernel; None when it takes none now. Raises OSError."""


@dataclass(slots=True, frozen=True)
class PlaneOptions:
    """Settings that act at once (UserPlane.configure)."""

    multi_read_count: int = 10
    """Packets read off the socket and off the device each time it is readable."""
    icmp_rate: int = 100
    """ICMP errors per second; 0 for none."""
    address: int = 0
    """The source of our ICMP errors: an address of this host; 0 for no errors."""


class UserPlane:
    """A DataPlane on an asyncio loop. It reads as soon as start() is called.

    Times are those of `clock`, which must be the monotonic clock that the control plane uses.
    """

    name = "user"

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        device: PacketDevice,
        l2tp_socket: L2tpSocket,
        events: PlaneEvents,
        options: PlaneOptions | None = None,
        *,
        send_icmp: Callable[[bytes], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`send_icmp` sends an IP packet of our own (IcmpSocket.send); without it there are no ICMP
        errors."""
        self._loop = loop
        self._device = device
        self._socket = l2tp_socket
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._overruns_seen = 0
        self._reading = False
        self._table = ForwardingTable()
        self._counters = PlaneCounters()
        self._interceptor = Interceptor(self._counters)
        self._up = Upstream(
            self._table,
            self._counters,
            l2tp_socket,
            device.write,
            events,
            clock,
            self._schedule,
            self._interceptor.copy,
        )
        self._down = Downstream(
            self._table,
            self._counters,
            l2tp_socket,
            device.read,
            send_icmp,
            clock,
            self._schedule,
            self._interceptor,
        )
        self.configure(options or PlaneOptions())

    # The DataPlane interface

    def install(self, route: SessionRoute) -> None:
        """Add a session or replace what is known of it; counters and sequence numbers go on."""
        known = self._table.sessions.get(route.key)
        snooped = None if known is None else known.snoop
        entry = self._table.install(route, self._socket.ancillary_for(route.local))
        if route.throttle_in or route.throttle_out or entry.bucket_in or entry.bucket_out:
            self._throttle(entry, route)
        if route.snoop != snooped:
            self._snoop(snooped, route.snoop)

    def remove(self, key: int) -> SessionCounters:
        """Forget a session and return its final counters (zeros when it was not there)."""
        entry = self._table.remove(key)
        if entry is None:
            return NEVER
        self._up.forget(entry)
        self._down.shaper.discard(entry.bucket_out)
        self._snoop(entry.snoop, None)
        return entry.counters()

    def counters(self, key: int) -> SessionCounters:
        """The counters of one session so far."""
        entry = self._table.sessions.get(key)
        return NEVER if entry is None else entry.counters()

    def own_counters(self, key: int) -> SessionCounters:
        """What of counters() ends with this process: all."""
        return self.counters(key)

    def resume(self, key: int, total: SessionCounters, own: SessionCounters) -> None:
        """Count on from where another process was with an installed session."""
        entry = self._table.sessions.get(key)
        if entry is not None:
            entry.octets_in, entry.octets_out, entry.packets_in, entry.packets_out = total[:4]
            entry.heard_at, entry.data_at = total.heard_at, total.data_at

    def add(self, key: int, more: SessionCounters) -> None:
        """Count what a session has used elsewhere, which may be less than nothing."""
        entry = self._table.sessions.get(key)
        if entry is not None:
            entry.octets_in += more.octets_in
            entry.octets_out += more.octets_out
            entry.packets_in += more.packets_in
            entry.packets_out += more.packets_out
            entry.heard_at = max(entry.heard_at, more.heard_at)
            entry.data_at = max(entry.data_at, more.data_at)

    def take_unclaimed(self) -> dict[int, SessionCounters]:
        """Sessions of another process that nobody installed, with what is counted of them: none."""
        return {}

    def throttle_state(self, key: int) -> ThrottleState | None:
        """How the limits of a session fare; None when it has none in the plane."""
        entry = self._table.sessions.get(key)
        return None if entry is None else state_of(entry.bucket_in, entry.bucket_out)

    def send_frames(self, key: int, frames: Iterable[bytes]) -> None:
        """Send PPP frames (from the address field on) to the subscriber's LAC."""
        entry = self._table.sessions.get(key)
        if entry is None:
            self._counters.frames_unsent += sum(1 for _ in frames)
            return
        self._down.send_frames(entry, frames)

    def send_control(self, datagrams: Iterable[tuple[bytes, Peer, str]]) -> None:
        """Send L2TP control datagrams as (payload, peer, local address or "")."""
        self._down.send_control(datagrams)

    # What the daemon does with it

    def start(self) -> None:
        """Begin to read."""
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._up.read)
            self._loop.add_reader(self._device.fileno(), self._read_device)
            self._schedule_next()

    def stop(self) -> None:
        """Stop reading; sending still works. Socket and device stay open: they are the caller's."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_reader(self._device.fileno())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._interceptor.close()

    def configure(self, options: PlaneOptions) -> None:
        """Take over new settings."""
        self._up.batch = self._down.batch = max(1, options.multi_read_count)
        self._down.address = options.address.to_bytes(4, "big") if options.address else b""
        if self._down.icmp_limit.per_second != options.icmp_rate:
            self._down.icmp_limit = RateLimit(options.icmp_rate)

    def plane_counters(self) -> PlaneCounters:
        """The counters of the plane as a whole, up to date."""
        overruns = self._socket.overruns()
        grown = overruns - self._overruns_seen & (1 << COUNTER_BITS) - 1
        self._overruns_seen = overruns
        self._counters.socket_overruns += grown
        return self._counters

    def sequence_counters(self, key: int) -> SequencerCounters | None:
        """What became of the numbered messages of a session; None when it never sent any."""
        entry = self._table.sessions.get(key)
        return None if entry is None or entry.sequencer is None else entry.sequencer.counters

    @property
    def interceptor(self) -> Interceptor:
        """What sends the copies of intercepted sessions."""
        return self._interceptor

    @property
    def session_count(self) -> int:
        return len(self._table.sessions)

    @property
    def events(self) -> PlaneEvents:
        """Where reports go; may be changed at any time."""
        return self._up.events

    @events.setter
    def events(self, events: PlaneEvents) -> None:
        self._up.events = events

    @property
    def elsewhere(self) -> Elsewhere | None:
        """Who takes packets of sessions that are not in the plane; None to drop them."""
        return self._up.elsewhere

    @elsewhere.setter
    def elsewhere(self, elsewhere: Elsewhere | None) -> None:
        self._up.elsewhere = self._down.elsewhere = elsewhere

    def take_from_lac(self, datagram: bytes, peer: Peer) -> None:
        """Forward a data message that came to another node."""
        self._up.take(datagram, peer, self._clock())

    def take_to_subscriber(self, packet: bytes) -> None:
        """Forward an IP packet that came to another node."""
        self._down.take(packet, self._clock())

    @property
    def packet_hook_rx(self) -> PacketHook | None:
        """Shown every IP packet from a subscriber with a `hooked` route."""
        return self._up.hook

    @packet_hook_rx.setter
    def packet_hook_rx(self, hook: PacketHook | None) -> None:
        self._up.hook = hook

    @property
    def packet_hook_tx(self) -> PacketHook | None:
        """Shown every IP packet to a subscriber with a `hooked` route."""
        return self._down.hook

    @packet_hook_tx.setter
    def packet_hook_tx(self, hook: PacketHook | None) -> None:
        self._down.hook = hook

    def _read_device(self) -> None:
        try:
            self._down.read()
        except OSError as error:
            # The device was deleted under us. It would stay "readable" and spin the loop.
            self._counters.tun_errors += 1
            self._loop.remove_reader(self._device.fileno())
            log.critical("the TUN device is gone, nothing reaches subscribers any more: %s", error)

    def _throttle(self, entry: Entry, route: SessionRoute) -> None:
        """Have the buckets of a session follow its route."""
        now = self._clock()
        if not route.ip:  # its network is down: what waits is for nobody
            self._up.shaper.discard(entry.bucket_in)
            self._down.shaper.discard(entry.bucket_out)
        entry.bucket_in = self._up.shaper.follow(entry, entry.bucket_in, route.throttle_in, now)
        entry.bucket_out = self._down.shaper.follow(
            entry, entry.bucket_out, route.throttle_out, now
        )

    def _snoop(self, before: Peer | None, after: Peer | None) -> None:
        if after is not None:
            self._interceptor.add(after)
        if before is not None:
            self._interceptor.discard(before)

    # Timers of the sequencing windows and of what waits for its credit

    def _schedule(self, deadline: float) -> None:
        delay = max(0.0, deadline - self._clock())
        if self._timer is not None:
            if self._timer.when() <= self._loop.time() + delay:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self._handle_timer)

    def _handle_timer(self) -> None:
        self._timer = None
        now = self._clock()
        try:
            self._up.handle_timers(now)
            self._up.shaper.release(now)
            self._down.shaper.release(now)
        finally:
            self._schedule_next()

    def _schedule_next(self) -> None:
        for deadline in (
            self._up.next_deadline,
            self._up.shaper.next_at,
            self._down.shaper.next_at,
        ):
            if deadline is not None:
                self._schedule(deadline)
