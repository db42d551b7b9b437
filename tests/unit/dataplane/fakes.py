"""A socket, a device and a control plane in memory, and packets to feed them with."""

import socket
import struct
from collections import deque

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.downstream import Downstream
from l2tpns_core.dataplane.forwarding import Ancillary, Entry, ForwardingTable
from l2tpns_core.dataplane.intercept import Interceptor
from l2tpns_core.dataplane.ipv4 import build
from l2tpns_core.dataplane.plane import Peer, SessionRoute
from l2tpns_core.dataplane.ratelimit import RateLimit
from l2tpns_core.dataplane.upstream import Upstream

LAC: Peer = ("192.0.2.2", 1701)
OTHER: Peer = ("192.0.2.99", 1701)
KEY = 1 << 16 | 5
SUBSCRIBER = "10.0.0.5"
FAR = "198.51.100.7"
IP_PREFIX = b"\xff\x03\x00\x21"
LCP_ECHO = b"\xff\x03\xc0\x21\x09\x01\x00\x08\x00\x00\x00\x01"


def number(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big")


def udp_packet(
    source: str,
    destination: str,
    payload: bytes = b"hello",
    *,
    ports: tuple[int, int] = (1024, 9),
    **fields: int,
) -> bytes:
    """An IPv4 packet with a UDP datagram; fields are ttl, flags and identification."""
    udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    packet = build(socket.inet_aton(source), socket.inet_aton(destination), 17, udp)
    return with_fields(packet, **fields)


def with_fields(packet: bytes, flags: int = 0, identification: int = 0) -> bytes:
    """The packet with other flags (with fragment offset) and a checksum that is right again."""
    changed = packet[:4] + struct.pack(">HH", identification, flags) + packet[8:]
    return reseal(changed)


def reseal(packet: bytes) -> bytes:
    """The packet with the right header checksum."""
    length = (packet[0] & 15) * 4
    blank = packet[:10] + b"\0\0" + packet[12:length]
    return packet[:10] + struct.pack(">H", slow_checksum(blank)) + packet[12:]


def slow_checksum(data: bytes) -> int:
    """The internet checksum word by word, straight from RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for (word,) in struct.iter_unpack(">H", data):
        total += word
        if total > 0xFFFF:
            total -= 0xFFFF
    return total ^ 0xFFFF


def tcp_packet(
    source: str,
    destination: str,
    options: bytes,
    tcp_flags: int = 0x02,
    ip_options: bytes = b"",
    payload: bytes = b"",
) -> bytes:
    """An IPv4 packet with a TCP segment and right checksums; options are padded here."""
    options += bytes(-len(options) % 4)
    offset = (20 + len(options)) // 4 << 4
    tcp = struct.pack(">HHIIBBHHH", 1024, 80, 1, 0, offset, tcp_flags, 8192, 0, 0)
    tcp += options + payload
    tcp = tcp[:16] + struct.pack(">H", tcp_checksum(source, destination, tcp)) + tcp[18:]
    head = struct.pack(">BBHHHBB", 0x45 + len(ip_options) // 4, 0, 0, 0, 0, 64, 6) + bytes(2)
    head += socket.inet_aton(source) + socket.inet_aton(destination) + ip_options
    head = head[:2] + struct.pack(">H", len(head) + len(tcp)) + head[4:]
    return reseal(head + tcp)


def tcp_checksum(source: str, destination: str, tcp: bytes) -> int:
    """The checksum of a segment whose own checksum field counts as it is."""
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination)
    return slow_checksum(pseudo + struct.pack(">HH", 6, len(tcp)) + tcp)


def data_message(
    frame: bytes,
    key: int = KEY,
    *,
    length: bool = False,
    ns: int | None = None,
    offset: int | None = None,
    priority: bool = False,
    trailer: bytes = b"",
) -> bytes:
    """An L2TP data message written straight from RFC 2661 section 3.1."""
    flags = 0x0002
    tail = struct.pack(">I", key)
    if ns is not None:
        flags |= 0x0800
        tail += struct.pack(">HH", ns, 0)
    if offset is not None:
        flags |= 0x0200
        tail += struct.pack(">H", offset) + b"\xee" * offset
    if priority:
        flags |= 0x0100
    if length:
        flags |= 0x4000
        tail = struct.pack(">H", 4 + len(tail) + len(frame)) + tail
    return struct.pack(">H", flags) + tail + frame + trailer


class FakeSocket:
    """Takes the place of L2tpSocket."""

    def __init__(self) -> None:
        self.incoming: deque[tuple[bytes, Peer] | Exception] = deque()
        self.sent: list[tuple[bytes, Peer]] = []
        self.sent_from: list[tuple[bytes, Peer, str]] = []
        self.failure: OSError | None = None
        self.ancillary_space = 0

    def receive(self, size: int, space: int) -> tuple[bytes, list[object], int, Peer]:
        if not self.incoming:
            raise BlockingIOError
        item = self.incoming.popleft()
        if isinstance(item, Exception):
            raise item
        return item[0], [], 0, item[1]

    def local_of(self, ancillary: object) -> str:
        return "192.0.2.1"

    def ancillary_for(self, local: str) -> Ancillary | None:
        return [(0, 8, local.encode())] if local else None

    def send(self, data: bytes, peer: Peer) -> int:
        if self.failure is not None:
            raise self.failure
        self.sent.append((data, peer))
        return len(data)

    def send_from(self, data: bytes, peer: Peer, ancillary: Ancillary) -> int:
        self.send(data, peer)
        self.sent_from.append((data, peer, ancillary[0][2].decode()))
        return len(data)


class FakeDevice:
    """Takes the place of TunDevice."""

    def __init__(self) -> None:
        self.incoming: deque[bytes | OSError] = deque()
        self.written: list[bytes] = []
        self.full = False
        self.failure: OSError | None = None

    def read(self, size: int) -> bytes | None:
        if not self.incoming:
            return None
        item = self.incoming.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def write(self, packet: bytes) -> int | None:
        if self.failure is not None:
            raise self.failure
        if self.full:
            return None
        self.written.append(packet)
        return len(packet)


class FakeEvents:
    """PlaneEvents that remembers, or fails."""

    def __init__(self) -> None:
        self.controls: list[tuple[bytes, Peer, str, float]] = []
        self.frames: list[tuple[int, bytes, float]] = []
        self.unknown: list[tuple[int, int, Peer, float]] = []
        self.failure: Exception | None = None

    def control_received(self, datagram: bytes, peer: Peer, local: str, now: float) -> None:
        self.controls.append((datagram, peer, local, now))
        self._fail()

    def frame_received(self, key: int, frame: bytes, now: float) -> None:
        self.frames.append((key, frame, now))
        self._fail()

    def unknown_session(self, tunnel_id: int, session_id: int, peer: Peer, now: float) -> None:
        self.unknown.append((tunnel_id, session_id, peer, now))
        self._fail()

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Bench:
    """Both halves of the user-space plane on fakes, with a clock that stands still."""

    def __init__(self, **fields: object) -> None:
        """`fields` change the route of session KEY."""
        self.now = 100.0
        self.socket, self.device, self.events = FakeSocket(), FakeDevice(), FakeEvents()
        self.table, self.counters = ForwardingTable(), PlaneCounters()
        self.answers: list[bytes] = []
        self.deadlines: list[float] = []
        self.copies: list[tuple[bytes, Peer]] = []
        """Of packets from the subscriber."""
        self.interceptor = Interceptor(self.counters)
        self.up = Upstream(
            self.table,
            self.counters,
            self.socket,  # type: ignore[arg-type]
            self.device.write,
            self.events,
            lambda: self.now,
            self.deadlines.append,
            lambda packet, target: self.copies.append((packet, target)),
        )
        self.down = Downstream(
            self.table,
            self.counters,
            self.socket,  # type: ignore[arg-type]
            self.device.read,
            self.answers.append,
            lambda: self.now,
            self.deadlines.append,
            self.interceptor,
        )
        self.up.batch = self.down.batch = 100
        self.down.address = socket.inet_aton("203.0.113.1")
        self.down.icmp_limit = RateLimit(100)
        self.entry = self.install(**fields)

    def install(self, **fields: object) -> Entry:
        new = route(**fields)
        entry = self.table.install(new, self.socket.ancillary_for(new.local))
        up, down = self.up.shaper, self.down.shaper
        entry.bucket_in = up.follow(entry, entry.bucket_in, new.throttle_in, self.now)
        entry.bucket_out = down.follow(entry, entry.bucket_out, new.throttle_out, self.now)
        return entry

    def receive(self, *datagrams: bytes, peer: Peer = LAC) -> None:
        """Let datagrams arrive from a LAC and the plane read them."""
        self.socket.incoming.extend((datagram, peer) for datagram in datagrams)
        self.up.read()

    def route_down(self, *packets: bytes) -> None:
        """Let the kernel route packets to the device and the plane read them."""
        self.device.incoming.extend(packets)
        self.down.read()


def route(**fields: object) -> SessionRoute:
    """The route of session KEY, changed by fields."""
    defaults: dict[str, object] = {
        "key": KEY,
        "peer": LAC,
        "local": "",
        "peer_tunnel_id": 0x0A0B,
        "peer_session_id": 0x0C0D,
        "ip": number(SUBSCRIBER),
    }
    return SessionRoute(**(defaults | fields))  # type: ignore[arg-type]
