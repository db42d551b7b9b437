"""L2TP as raw bytes, and an endpoint on a bench: what a LAC would send goes in, one datagram at a
time, and what comes out is taken apart. Written apart from the codec under test."""

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from l2tpns_core.l2tp.call import Call
from l2tpns_core.l2tp.endpoint import Endpoint, EndpointConfig
from l2tpns_core.l2tp.events import CallRequested, Event
from l2tpns_core.l2tp.tunnel import Tunnel

SCCRQ, SCCRP, SCCCN, STOPCCN, HELLO = 1, 2, 3, 4, 6
OCRQ, OCRP, OCCN, ICRQ, ICRP, ICCN = 7, 8, 9, 10, 11, 12
CDN, WEN, SLI = 14, 15, 16
ALL_MESSAGES = (
    *(SCCRQ, SCCRP, SCCCN, STOPCCN, HELLO),
    *(OCRQ, OCRP, OCCN, ICRQ, ICRP, ICCN, CDN, WEN, SLI),
)

LAC = ("192.0.2.1", 1701)
LNS = "192.0.2.254"
PEER_TUNNEL = 0x1234


def u16(value: int) -> bytes:
    return struct.pack("!H", value)


def u32(value: int) -> bytes:
    return struct.pack("!I", value)


def avp(kind: int, value: bytes, bits: int = 0x8000, vendor: int = 0) -> bytes:
    return struct.pack("!HHH", bits | 6 + len(value), vendor, kind) + value


def body_of(kind: int, *avps: bytes, bits: int = 0x8000) -> bytes:
    return avp(0, u16(kind), bits) + b"".join(avps)


def control(tunnel: int, session: int, ns: int, nr: int, body: bytes = b"") -> bytes:
    header = (0xC802, 12 + len(body), tunnel, session, ns & 0xFFFF, nr & 0xFFFF)
    return struct.pack("!6H", *header) + body


def sccrq(tunnel_id: int = PEER_TUNNEL, *more: bytes, host: bytes = b"lac") -> bytes:
    basics = (avp(2, b"\1\0"), avp(3, u32(3)), avp(7, host), avp(9, u16(tunnel_id)))
    return body_of(SCCRQ, *basics, *more)


def icrq(session_id: int, *more: bytes) -> bytes:
    return body_of(ICRQ, avp(14, u16(session_id)), avp(15, u32(session_id)), *more)


def iccn(*more: bytes) -> bytes:
    return body_of(ICCN, avp(24, u32(10_000_000)), avp(19, u32(1)), *more)


def cdn(session_id: int, result: bytes = b"\0\1", *more: bytes) -> bytes:
    return body_of(CDN, avp(1, result), avp(14, u16(session_id)), *more)


def stopccn(tunnel_id: int = PEER_TUNNEL, result: bytes = b"\0\1") -> bytes:
    return body_of(STOPCCN, avp(9, u16(tunnel_id)), avp(1, result))


@dataclass
class Packet:
    """One control datagram of the LNS; kind 0 is a ZLB."""

    tunnel: int
    session: int
    ns: int
    nr: int
    kind: int
    avps: dict[int, bytes] = field(default_factory=dict)

    @property
    def result(self) -> tuple[int, int]:
        """Result and error code."""
        value = self.avps[1]
        return struct.unpack_from("!HH", value + b"\0\0")  # type: ignore[return-value]

    def number(self, kind: int) -> int:
        return int.from_bytes(self.avps[kind], "big")


def parse(datagram: bytes) -> Packet:
    flags, length, tunnel, session, ns, nr = struct.unpack_from("!6H", datagram)
    assert flags == 0xC802
    assert length == len(datagram)
    packet = Packet(tunnel, session, ns, nr, 0)
    rest = datagram[12:]
    while rest:
        bits, vendor, kind = struct.unpack_from("!HHH", rest)
        size = bits & 0x3FF
        assert 6 <= size <= len(rest)
        assert vendor == 0
        assert kind not in packet.avps
        packet.avps[kind] = rest[6:size]
        rest = rest[size:]
    if packet.avps:
        assert next(iter(packet.avps)) == 0
        packet.kind = packet.number(0)
    return packet


def counting_random() -> Callable[[int], bytes]:
    """Bytes that differ from call to call and are the same in every run."""
    counter = itertools.count(1)
    return lambda size: (
        (next(counter) * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big").ljust(size, b"r")[:size]
    )


class Bench:
    """An endpoint and the numbers of one LAC's control connection to it."""

    def __init__(self, **settings: Any) -> None:
        self.config = EndpointConfig("lns", **settings)
        self.endpoint = Endpoint(self.config, counting_random())
        self.now = 1000.0
        self.ns = self.nr = 0
        self.tunnel: Tunnel | None = None
        self.events: list[Event] = []

    @property
    def open_tunnel(self) -> Tunnel:
        assert self.tunnel is not None
        return self.tunnel

    def put(self, datagram: bytes, peer: tuple[str, int] = LAC) -> list[Packet]:
        """One datagram in; everything that comes out at once."""
        tunnel = self.endpoint.receive(datagram, peer, LNS, self.now)
        replies = [parse(data) for data, _, _ in self.endpoint.take_replies()]
        if tunnel is None:
            return replies
        self.tunnel = tunnel
        return replies + self.take()

    def take(self) -> list[Packet]:
        """What the tunnel has to say now; events are collected."""
        tunnel = self.open_tunnel
        while (event := tunnel.next_event()) is not None:
            self.events.append(event)
        packets = [parse(data) for data in tunnel.datagrams_to_send(self.now)]
        for packet in packets:
            if packet.kind:
                self.nr = packet.ns + 1 & 0xFFFF
        return packets

    def send(self, body: bytes, session: int = 0) -> list[Packet]:
        """The LAC's next message; it acknowledges all that it got."""
        tunnel_id = self.tunnel.local_id if self.tunnel else 0
        datagram = control(tunnel_id, session, self.ns, self.nr, body)
        self.ns = self.ns + 1 & 0xFFFF
        return self.put(datagram)

    def acknowledge(self) -> list[Packet]:
        """A ZLB of the LAC."""
        return self.put(control(self.open_tunnel.local_id, 0, self.ns, self.nr))

    def wait(self, seconds: float) -> list[Packet]:
        """Let time pass, with every timer on the way."""
        end = self.now + seconds
        packets = []
        while (at := self.open_tunnel.get_timer()) is not None and at <= end:
            self.now = max(self.now, at)
            self.open_tunnel.handle_timer(self.now)
            packets += self.take()
        self.now = end
        return packets

    def open(self, *more: bytes) -> "Bench":
        """Bring the tunnel up."""
        assert [packet.kind for packet in self.send(sccrq(PEER_TUNNEL, *more))] == [SCCRP]
        self.send(body_of(SCCCN))
        self.wait(self.config.ack_delay_s)
        return self

    def request(self, peer_session: int, *more: bytes) -> Call:
        """An ICRQ, not decided yet."""
        self.send(icrq(peer_session, *more))
        event = self.events[-1]
        assert isinstance(event, CallRequested)
        return event.call

    def call(self, peer_session: int, session_id: int, connected: bool = True) -> Call:
        """A call in WAIT_CONNECT or ESTABLISHED."""
        call = self.request(peer_session)
        self.open_tunnel.accept_call(call, session_id, self.now)
        assert [packet.kind for packet in self.take()] == [ICRP]
        if connected:
            self.send(iccn(), session_id)
        self.wait(self.config.ack_delay_s)
        return call

    def take_events(self) -> list[Event]:
        events, self.events = self.events, []
        return events
