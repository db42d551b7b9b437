"""A data plane that moves nothing and remembers everything.

It runs a whole LNS without root, sockets or a device: what the control plane asks for is kept to be
looked at, and what a plane would report is injected.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.plane import (
    PacketHook,
    Peer,
    PlaneEvents,
    SessionCounters,
    SessionRoute,
    ThrottleState,
)

MAX_RECORDED: Final = 100_000
"""Of each kind; past it the oldest go."""


@dataclass(slots=True, frozen=True)
class RouteInstalled:
    """A session was added or changed."""

    route: SessionRoute


@dataclass(slots=True, frozen=True)
class RouteRemoved:
    """A session was taken out; `final` is what the control plane was told it had used."""

    key: int
    final: SessionCounters


@dataclass(slots=True, frozen=True)
class FrameSent:
    """A PPP frame went to the LAC of a session."""

    key: int
    frame: bytes


@dataclass(slots=True, frozen=True)
class ControlSent:
    """An L2TP control datagram went out."""

    datagram: bytes
    peer: Peer
    local: str


Operation = RouteInstalled | RouteRemoved | FrameSent | ControlSent


class RecordingPlane:
    """A DataPlane that records. `events` may be set after construction."""

    name = "recording"

    def __init__(self, events: PlaneEvents | None = None) -> None:
        self.events = events
        self.routes: dict[int, SessionRoute] = {}
        """The sessions that are in the plane now."""
        self.operations: deque[Operation] = deque(maxlen=MAX_RECORDED)
        """All that was asked, in order."""
        self.packet_hook_rx: PacketHook | None = None
        self.packet_hook_tx: PacketHook | None = None
        self._usage: dict[int, SessionCounters] = {}
        self._frames: dict[int, deque[bytes]] = {}
        self._control: deque[ControlSent] = deque(maxlen=MAX_RECORDED)
        self._counters = PlaneCounters()
        self.running = False

    # The DataPlane interface

    def install(self, route: SessionRoute) -> None:
        self.routes[route.key] = route
        self.operations.append(RouteInstalled(route))

    def remove(self, key: int) -> SessionCounters:
        final = self._usage.pop(key, SessionCounters())
        if self.routes.pop(key, None) is None:
            final = SessionCounters()
        self.operations.append(RouteRemoved(key, final))
        return final

    def counters(self, key: int) -> SessionCounters:
        return self._usage.get(key, SessionCounters())

    def throttle_state(self, key: int) -> ThrottleState | None:
        route = self.routes.get(key)
        if route is None or not (route.throttle_in or route.throttle_out):
            return None
        return ThrottleState(route.throttle_in, route.throttle_out)

    def send_frames(self, key: int, frames: Iterable[bytes]) -> None:
        for frame in frames:
            if key not in self.routes:
                self._counters.frames_unsent += 1
                continue
            self._counters.frames_sent += 1
            self.operations.append(FrameSent(key, frame))
            self._frames.setdefault(key, deque(maxlen=MAX_RECORDED)).append(frame)

    def send_control(self, datagrams: Iterable[tuple[bytes, Peer, str]]) -> None:
        for datagram, peer, local in datagrams:
            sent = ControlSent(datagram, peer, local)
            self._counters.socket_tx_packets += 1
            self._counters.socket_tx_octets += len(datagram)
            self.operations.append(sent)
            self._control.append(sent)

    # What the daemon does with a plane

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False

    def plane_counters(self) -> PlaneCounters:
        return self._counters

    @property
    def session_count(self) -> int:
        return len(self.routes)

    # What a test does with it

    def take_control(self) -> list[ControlSent]:
        """The control datagrams sent since the last call."""
        taken = list(self._control)
        self._control.clear()
        return taken

    def take_frames(self, key: int) -> list[bytes]:
        """The PPP frames sent to a session since the last call; also of one that is gone."""
        return list(self._frames.pop(key, ()))

    def set_usage(self, key: int, usage: SessionCounters) -> None:
        """Make counters() and remove() report a usage for a session that is in the plane."""
        if key not in self.routes:
            raise KeyError(key)
        self._usage[key] = usage

    def receive_control(self, datagram: bytes, peer: Peer, local: str, now: float) -> None:
        """As if a datagram had arrived from a LAC."""
        self._counters.control_received += 1
        self._events().control_received(datagram, peer, local, now)

    def receive_frame(self, key: int, frame: bytes, now: float) -> None:
        """As if a subscriber's PPP frame had arrived; without the session, as any plane does it."""
        if key in self.routes:
            self._counters.frames_received += 1
            usage = self._usage.get(key, SessionCounters())
            self._usage[key] = usage._replace(heard_at=now)
            self._events().frame_received(key, frame, now)
        else:
            self.receive_unknown(key >> 16, key & 0xFFFF, ("0.0.0.0", 0), now)

    def receive_unknown(self, tunnel_id: int, session_id: int, peer: Peer, now: float) -> None:
        """As if data for a session that does not exist had arrived."""
        self._counters.unknown_session += 1
        self._events().unknown_session(tunnel_id, session_id, peer, now)

    def _events(self) -> PlaneEvents:
        if self.events is None:
            raise RuntimeError("events is not set")
        return self.events
