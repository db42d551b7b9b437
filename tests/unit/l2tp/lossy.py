"""A small LAC of its own, and a network between it and an endpoint that loses, repeats and reorders
datagrams. Everything happens in virtual time."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from l2tpns_core.l2tp.endpoint import Endpoint, EndpointConfig
from l2tpns_core.l2tp.events import (
    CallRequested,
    Event,
    TunnelFinished,
)
from l2tpns_core.l2tp.tunnel import Tunnel
from unit.l2tp.wire import (
    CDN,
    HELLO,
    ICRP,
    LNS,
    SCCCN,
    SCCRP,
    STOPCCN,
    Packet,
    avp,
    body_of,
    cdn,
    control,
    iccn,
    icrq,
    parse,
    sccrq,
    stopccn,
    u16,
)


@dataclass
class Link:
    """What the network does to a datagram; probabilities and seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    delay_s: float = 0.01
    late_s: float = 0.3
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def arrivals(self, now: float) -> list[float]:
        """When the copies of a datagram arrive; none if it is lost."""
        copies = 2 if self.rng.random() < self.duplication else 1
        times = []
        for _ in range(copies):
            if self.rng.random() >= self.loss:
                late = self.rng.random() * self.late_s if self.rng.random() < self.reordering else 0
                times.append(now + self.delay_s + late)
        return times


class Clock:
    """Things to do, in order of time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), action))

    def run(self, until: float) -> None:
        while self._queue and self._queue[0][0] <= until:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = until


class Server:
    """An endpoint that accepts every call, and keeps the events."""

    def __init__(self, clock: Clock, link: Link, config: EndpointConfig) -> None:
        self.clock = clock
        self.link = link
        self.endpoint = Endpoint(config, random.Random(7).randbytes)
        self.lacs: dict[tuple[str, int], Lac] = {}
        self.events: list[Event] = []
        self.zlbs = self.messages = 0
        self._ids = itertools.count(1)

    def receive(self, datagram: bytes, peer: tuple[str, int]) -> None:
        tunnel = self.endpoint.receive(datagram, peer, LNS, self.clock.now)
        for reply, to, _ in self.endpoint.take_replies():
            self._send(reply, to)
        if tunnel is not None:
            self.pump(tunnel)

    def pump(self, tunnel: Tunnel) -> None:
        now = self.clock.now
        while (event := tunnel.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, CallRequested):
                tunnel.accept_call(event.call, next(self._ids), now)
            elif isinstance(event, TunnelFinished):
                self.endpoint.forget(tunnel)
        for datagram in tunnel.datagrams_to_send(now):
            self._send(datagram, tunnel.peer)
        deadline = tunnel.get_timer()
        if deadline is not None:
            self.clock.at(max(deadline, now), lambda: self._due(tunnel))

    def _due(self, tunnel: Tunnel) -> None:
        deadline = tunnel.get_timer()
        if deadline is not None and deadline <= self.clock.now:
            tunnel.handle_timer(self.clock.now)
            self.pump(tunnel)

    def _send(self, datagram: bytes, peer: tuple[str, int]) -> None:
        self.zlbs += len(datagram) == 12
        self.messages += len(datagram) > 12
        lac = self.lacs[peer]
        for when in self.link.arrivals(self.clock.now):
            self.clock.at(when, lambda: lac.receive(datagram))

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]


class Lac:
    """Opens one tunnel and places calls. Its reliability is as plain as can be: what is in its
    window goes out again every second until it is acknowledged."""

    def __init__(self, server: Server, peer: tuple[str, int], window: int = 8) -> None:
        self.server = server
        self.peer = peer
        self.window = window
        self.own_id = 0x4242
        self.lns_id = 0
        self.nr = 0
        self.first = 0  # Ns of the first message in the queue
        self.queue: list[tuple[int, bytes]] = []
        self.transmitted = 0
        self.early: dict[int, Packet] = {}
        self.seen: list[Packet] = []
        self.sessions: dict[int, int] = {}
        self.ended: list[int] = []
        self.stopped = False
        self.silent = False
        server.lacs[peer] = self
        self.send(0, sccrq(self.own_id, avp(10, u16(window))))
        server.clock.at(1.0, self._again)

    def send(self, session: int, body: bytes) -> None:
        self.queue.append((session, body))
        self._transmit()

    def _transmit(self, again: bool = False) -> None:
        if again:
            self.transmitted = 0
        window = 1 if not self.lns_id else 64
        while self.transmitted < min(window, len(self.queue)):
            session, body = self.queue[self.transmitted]
            self._datagram(session, self.first + self.transmitted, body)
            self.transmitted += 1

    def _again(self) -> None:
        if not self.silent:
            self._transmit(again=True)
        self.server.clock.at(self.server.clock.now + 1.0, self._again)

    def _datagram(self, session: int, ns: int, body: bytes) -> None:
        datagram = control(self.lns_id, session, ns, self.nr, body)
        clock, server = self.server.clock, self.server
        for when in server.link.arrivals(clock.now):
            clock.at(when, lambda: server.receive(datagram, self.peer))

    def receive(self, datagram: bytes) -> None:
        if self.silent:
            return
        packet = parse(datagram)
        assert packet.tunnel == self.own_id
        done = packet.nr - self.first & 0xFFFF
        if done <= len(self.queue):
            del self.queue[:done]
            self.first = self.first + done & 0xFFFF
            self.transmitted = max(self.transmitted - done, 0)
        if packet.kind:
            self._take(packet)
        self._transmit()

    def _take(self, packet: Packet) -> None:
        ahead = packet.ns - self.nr & 0xFFFF
        assert ahead < self.window or ahead >= 0x8000, "the LNS overran our window"
        if ahead < 0x8000:
            self.early[packet.ns] = packet
        while (ready := self.early.pop(self.nr, None)) is not None:
            self.nr = self.nr + 1 & 0xFFFF
            self._handle(ready)
        self._datagram(0, self.first + len(self.queue), b"")

    def _handle(self, packet: Packet) -> None:
        self.seen.append(packet)
        if packet.kind == SCCRP:
            self.lns_id = packet.number(9)
            self.send(0, body_of(SCCCN))
        elif packet.kind == ICRP:
            self.sessions[packet.session] = packet.number(14)
            self.send(packet.number(14), iccn())
        elif packet.kind == CDN:
            self.ended.append(packet.session)
            self.sessions.pop(packet.session, None)
        elif packet.kind == STOPCCN:
            self.stopped = True
        else:
            assert packet.kind == HELLO

    def call(self, session: int) -> None:
        self.send(0, icrq(session))

    def hang_up(self, session: int) -> None:
        self.send(self.sessions.pop(session), cdn(session))

    def stop(self) -> None:
        self.send(0, stopccn(self.own_id))
