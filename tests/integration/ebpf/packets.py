"""Packets for the differential test, most of them broken somewhere, made from a seed."""

import random
import socket
import struct
from typing import Final, NamedTuple

from integration.dataplane.namespaces import FAR, LAC, LNS_OUTER, LNS_SECOND
from integration.ebpf.setting import SUBSCRIBER, number
from integration.ebpf.stand import SNOOP
from l2tpns_core.dataplane.ipv4 import checksum
from l2tpns_core.dataplane.plane import SessionRoute

TUNNEL, SESSION, BIG, DOWN, NARROW = 1, 5, 6, 7, 8
"""Our tunnel and sessions: the one that most packets are for, one with the MRU of Ethernet that is
intercepted, one whose network is not up, and one that has a part of the first one's network."""
MRU: Final = 1400
BIG_MRU: Final = 1500
BIG_ADDRESS, NARROW_ADDRESS = "10.0.1.2", "10.0.1.3"
NETWORK, NARROW_NETWORK = "10.7.0.0", "10.7.128.0"
CLAMP: Final = 1200
LENGTH_BIT, SEQUENCE_BIT, OFFSET_BIT, PRIORITY_BIT = 0x4000, 0x0800, 0x0200, 0x0100
PROTOCOLS: Final = (1, 6, 17, 47, 253)
PREFIXES: Final = (
    *(b"\xff\x03\x00\x21",) * 30,
    *(b"\x00\x21",) * 10,
    *(b"\x21", b"\xff\x03\x21"),
    *(b"\xff\x03\xc0\x21", b"\xc0\x21", b"\xff\x03\x80\x21", b"\xff\x03\x00\x57"),
    *(b"", b"\xff", b"\xff\x03", b"\xff\x03\x00", b"\x00", b"\xff\x02\x00\x21"),
)


class Case(NamedTuple):
    """A packet and what was done to it."""

    packet: bytes
    what: str


def key(session: int) -> int:
    return TUNNEL << 16 | session


def routes() -> list[SessionRoute]:
    """The sessions that the packets are for."""
    common = {"peer": (LAC, 1701), "local": LNS_OUTER, "peer_tunnel_id": 7}
    first = SessionRoute(
        key=key(SESSION),
        peer_session_id=9,
        ip=number(SUBSCRIBER),
        networks=((number(NETWORK), 16),),
        mru=MRU,
        clamp_mss=CLAMP,
        **common,  # type: ignore[arg-type]
    )
    big = SessionRoute(
        key=key(BIG),
        peer_session_id=10,
        ip=number(BIG_ADDRESS),
        mru=BIG_MRU,
        clamp_mss=CLAMP,
        snoop=SNOOP,
        ppp_prefix=b"\x00\x21",
        **common,  # type: ignore[arg-type]
    )
    down = SessionRoute(key=key(DOWN), peer_session_id=11, **common)  # type: ignore[arg-type]
    narrow = SessionRoute(
        key=key(NARROW),
        peer_session_id=12,
        ip=number(NARROW_ADDRESS),
        networks=((number(NARROW_NETWORK), 17),),
        **common,  # type: ignore[arg-type]
    )
    return [first, big, down, narrow]


def sealed(header: bytes) -> bytes:
    """An IP header with the right checksum."""
    blank = header[:10] + bytes(2) + header[12:]
    return header[:10] + struct.pack(">H", checksum(blank)) + header[12:]


def ip(
    source: str,
    destination: str,
    body: bytes,
    protocol: int = 17,
    flags: int = 0,
    options: bytes = b"",
    ttl: int = 64,
) -> bytes:
    options += bytes(-len(options) % 4)
    head = struct.pack(
        ">BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 4711, flags, ttl,
        protocol, 0,
    )  # fmt: skip
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    return sealed(head + ends + options) + body


def tcp(source: str, destination: str, options: bytes, flags: int, offset: int | None) -> bytes:
    """A TCP segment; `offset` is its Data Offset, which the options may belie."""
    words = (20 + len(options) + 3) // 4 if offset is None else offset
    options += bytes(-len(options) % 4)
    head = struct.pack(">HHIIBBHHH", 1024, 80, 1, 0, (words & 15) << 4, flags, 8192, 0, 0)
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    total = checksum(ends + struct.pack(">HH", 6, len(head + options)) + head + options)
    return head[:16] + struct.pack(">H", total) + head[18:] + options


def with_udp_checksum(source: str, destination: str, datagram: bytes) -> bytes:
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    pseudo = ends + struct.pack(">HH", socket.IPPROTO_UDP, len(datagram))
    total = checksum(pseudo + datagram) or 0xFFFF
    return datagram[:6] + struct.pack(">H", total) + datagram[8:]


class Maker:
    """Makes cases; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    # Upwards

    def upward(self) -> Case:
        """An outer packet from the LAC."""
        chance, notes = self._chance, []
        session = chance.choices((SESSION, BIG, DOWN, NARROW, 99), (12, 4, 1, 2, 1))[0]
        prefix = chance.choice(PREFIXES)
        inner = self._from_subscriber(session)
        if chance.random() < 0.45:
            inner = self._damage(inner, 60, "inner", notes)
        frame = prefix + inner
        if prefix not in (b"\xff\x03\x00\x21", b"\x00\x21"):
            notes.append(f"PPP {prefix.hex()}")
        message = self._message(session, frame, notes)
        if chance.random() < 0.25:
            message = self._damage(message, 16, "L2TP", notes)
        if chance.random() < 0.06:
            message = message[: chance.randrange(len(message))]
            notes.append(f"cut to {len(message)}")
        return Case(self._envelope(message, notes), f"session {session}; " + "; ".join(notes))

    def _from_subscriber(self, session: int) -> bytes:
        sources = [SUBSCRIBER, BIG_ADDRESS, NARROW_ADDRESS, "10.7.3.4", "10.7.200.4", "10.9.9.9"]
        own = {SESSION: SUBSCRIBER, BIG: BIG_ADDRESS, NARROW: NARROW_ADDRESS}
        source = own.get(session, SUBSCRIBER)
        if self._chance.random() < 0.25:
            source = self._chance.choice([*sources, "0.0.0.0", "127.0.0.1", "255.255.255.255"])
        return self._packet(source, FAR, 100)

    def _message(self, session: int, frame: bytes, notes: list[str]) -> bytes:
        """The L2TP header in all its forms (RFC 2661 section 3.1)."""
        chance = self._chance
        flags, tail = 2, struct.pack(">HH", TUNNEL, session)
        if chance.random() < 0.03:
            tail = struct.pack(">HH", TUNNEL + 1, session)
            notes.append("other tunnel id")
        if chance.random() < 0.1:
            flags |= PRIORITY_BIT
        if chance.random() < 0.08:
            flags |= SEQUENCE_BIT
            tail += struct.pack(">HH", chance.randrange(3), 0)
        if chance.random() < 0.08:
            flags |= OFFSET_BIT
            offset = chance.choice([0, 1, 4, 200])
            tail += struct.pack(">H", offset) + bytes(min(offset, 20))
        if chance.random() < 0.45:
            flags |= LENGTH_BIT
            length = 4 + len(tail) + len(frame)
            length += chance.choice([0] * 8 + [-30, -14, -8, -7, -1, 1, 8, 60000]) & 0xFFFF
            return struct.pack(">HH", flags, length & 0xFFFF) + tail + frame + self._padding()
        return struct.pack(">H", flags) + tail + frame + self._padding()

    def _padding(self) -> bytes:
        return bytes(self._chance.choice([0, 0, 0, 1, 2, 7, 40]))

    def _envelope(self, message: bytes, notes: list[str]) -> bytes:
        """IP and UDP around a message, rarely as they should not be."""
        chance = self._chance
        source = chance.choices((LAC, "192.0.2.99", "172.16.0.1"), (30, 1, 1))[0]
        destination = chance.choices((LNS_OUTER, LNS_SECOND), (30, 1))[0]
        port = chance.choices((1701, 1999, 5), (10, 2, 1))[0]
        udp_length, total = 8 + len(message), 28 + len(message)
        trick = chance.choices(
            ("", "UDP shorter", "UDP longer", "total shorter", "trailer", "fragment", "flags"),
            (60, 1, 1, 1, 3, 2, 2),
        )[0]
        if trick:
            notes.append(trick)
        udp_length += {"UDP shorter": -chance.randrange(1, 12), "UDP longer": 5}.get(trick, 0)
        body = struct.pack(">HHHH", port, 1701, udp_length & 0xFFFF, 0) + message
        if not trick and chance.random() < 0.5:
            body = with_udp_checksum(source, destination, body)
        total -= 3 if trick == "total shorter" else 0
        bits = {"fragment": chance.choice([0x2000, 1, 0x2001]), "flags": 0x4000}.get(trick, 0)
        options = b"\x01\x01\x01\x00" if chance.random() < 0.02 else b""
        packet = ip(
            source, destination, body, flags=bits, options=options, ttl=chance.choice([64, 1, 255])
        )
        if trick == "total shorter":
            packet = sealed(packet[:2] + struct.pack(">H", total) + packet[4:20]) + packet[20:]
        if chance.random() < 0.02:
            packet = packet[:10] + b"\x12\x34" + packet[12:]
            notes.append("outer checksum")
        if not trick and packet[26:28] == bytes(2) and chance.random() < 0.2:
            packet = self._damage(packet, 26, "outer", notes)
            if chance.random() < 0.9:
                packet = sealed(packet[:20]) + packet[20:]
        if source != LAC:
            notes.append(f"from {source}")
        return packet + (bytes(9) if trick == "trailer" else b"")

    # Downwards

    def downward(self) -> Case:
        """A packet to a subscriber, as routing would pass it on."""
        chance = self._chance
        to = self._destination()
        sizes = (28, 60, 1000, *range(MRU - 2, MRU + 3), *range(1460, 1466), *range(1498, 1503))
        return Case(self._packet(FAR, to, chance.choice(sizes)), f"to {to}")

    def broken_downward(self) -> Case:
        """The same with anything in it, for the TUN device itself."""
        notes: list[str] = []
        whole = self.downward()
        packet = self._damage(whole.packet, 60, "inner", notes)
        if self._chance.random() < 0.2:
            packet = packet[: self._chance.randrange(1, min(len(packet), 80))]
            notes.append("cut")
        return Case(packet, f"{whole.what}; " + "; ".join(notes))

    def _destination(self) -> str:
        return self._chance.choice(
            [SUBSCRIBER] * 4
            + [BIG_ADDRESS] * 3
            + ["10.7.3.4", "10.7.200.4", NARROW_ADDRESS, "10.9.9.9", "10.0.0.0"]
        )

    # Both

    def _packet(self, source: str, destination: str, size: int) -> bytes:
        chance = self._chance
        flags = chance.choices((0, 0x4000, 0x2000, 5, 0x2005, 0x8000), (12, 8, 1, 1, 1, 1))[0]
        options = chance.choices(
            (b"", b"\x01" * 4, b"\x94\x04\x00\x00", b"\x07\x07\x04" + bytes(5), b"\x44\x01"),
            (30, 1, 1, 1, 1),
        )[0]
        ttl = chance.choice([64, 64, 2])
        if chance.random() < 0.45:
            segment = tcp(source, destination, self._tcp_options(), *self._tcp_form())
            return ip(source, destination, segment, 6, flags, options, ttl)
        protocol = chance.choice(PROTOCOLS)
        body = struct.pack(">HHHH", 1024, 9, max(8, size - 20), 0) + bytes(max(0, size - 28))
        return ip(source, destination, body, protocol, flags, options, ttl)

    def _tcp_form(self) -> tuple[int, int | None]:
        chance = self._chance
        flags = chance.choice([2, 2, 2, 0x12, 0x10, 4, 0xFF, 0])
        offset = chance.choice([None] * 6 + [0, 4, 5, 6, 7, 15])
        return flags, offset

    def _tcp_options(self) -> bytes:
        """Options with an MSS among them at an even or odd place, and broken ones."""
        chance = self._chance
        value = chance.choice([536, CLAMP, CLAMP + 1, 1460, 1460, 1460, 65535, 0])
        mss = struct.pack(">BBH", 2, 4, value)
        parts = [
            *(b"\x01", b"\x01\x01", b"\x03\x03\x07", b"\x04\x02", b"\x08\x0a" + bytes(8)),
            *(mss,) * 9,
            *(b"\x00", b"\x02\x03\x05", b"\x02\x05\x05\xb4\x00", b"\x02\x04\x05", b"\x02\x04"),
            *(b"\x05\x00", b"\x05\x01", b"\x05\xff", b"\xfe\x06\x02\x04\xff\xff", b"\x02", b"\x05"),
        ]
        before = chance.choice([b"", b"", b"", b"\x01", b"\x01\x01\x01", b"\x04\x02"])
        return (before + b"".join(chance.choices(parts, k=chance.randrange(6))))[:40]

    def _damage(self, data: bytes, reach: int, part: str, notes: list[str]) -> bytes:
        """Change a field: one byte, or a bit of one, near the beginning."""
        chance = self._chance
        changed = bytearray(data)
        if not changed:
            return data
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            at = chance.randrange(min(len(changed), reach))
            value = chance.choice(
                [0, 0xFF, chance.randrange(256), changed[at] ^ 1 << chance.randrange(8)]
            )
            notes.append(f"{part}[{at}]={value:02x}")
            changed[at] = value
        return bytes(changed)
