"""L2TP data messages and the PPP and IPv4 packets inside, for the lab's own clients.

Written apart from the LNS's codec, and stricter: see `FaultError`.
"""

import functools
import struct
from dataclasses import dataclass
from typing import Final

PROTO_IPV4: Final = 0x0021
PROTO_LCP: Final = 0xC021
PROTO_PAP: Final = 0xC023
PROTO_CHAP: Final = 0xC223
PROTO_IPCP: Final = 0x8021

CONFIGURE_REQUEST: Final = 1
CONFIGURE_ACK: Final = 2
CONFIGURE_NAK: Final = 3
CONFIGURE_REJECT: Final = 4
TERMINATE_REQUEST: Final = 5
TERMINATE_ACK: Final = 6
CODE_REJECT: Final = 7
PROTOCOL_REJECT: Final = 8
ECHO_REQUEST: Final = 9
ECHO_REPLY: Final = 10
DISCARD_REQUEST: Final = 11

_LENGTH_BIT: Final = 0x4000
_SEQUENCE_BIT: Final = 0x0800
_OFFSET_BIT: Final = 0x0200
_PRIORITY_BIT: Final = 0x0100


class FaultError(Exception):
    """Something no LNS may send; the text says what."""


@dataclass(slots=True)
class DataMessage:
    """The header of a data message (RFC 2661 section 3.1) and where its payload starts."""

    tunnel_id: int
    session_id: int
    ns: int | None
    payload: bytes


def encode_data(
    tunnel_id: int, session_id: int, payload: bytes, ns: int | None = None, length: bool = False
) -> bytes:
    """A data message; ns adds the sequence bit, `length` the length field."""
    flags = 2
    head = b""
    if length:
        flags |= _LENGTH_BIT
    if ns is not None:
        flags |= _SEQUENCE_BIT
        head = struct.pack("!HHHH", tunnel_id, session_id, ns, 0)
    else:
        head = struct.pack("!HH", tunnel_id, session_id)
    if length:
        head = struct.pack("!H", 4 + len(head) + len(payload)) + head
    return flags.to_bytes(2, "big") + head + payload


def decode_data(datagram: bytes) -> DataMessage:
    """Read a data message of the LNS. Raises FaultError."""
    if len(datagram) < 6:
        raise FaultError(f"data message of {len(datagram)} bytes")
    flags = (datagram[0] << 8) | datagram[1]
    if flags & 0x8000 or flags & 0x000F != 2:
        raise FaultError(f"data message with flags {flags:#06x}")
    if flags & 0x34F0:
        raise FaultError(f"data message with reserved bits set: {flags:#06x}")
    if flags == 2 or flags == 2 | _PRIORITY_BIT:  # what nearly all look like
        tunnel_id, session_id = struct.unpack_from("!HH", datagram, 2)
        return DataMessage(tunnel_id, session_id, None, datagram[6:])
    return _decode_long(flags, datagram)


def _decode_long(flags: int, datagram: bytes) -> DataMessage:
    try:
        position, end = 2, len(datagram)
        if flags & _LENGTH_BIT:
            (end,) = struct.unpack_from("!H", datagram, position)
            position += 2
            if end != len(datagram):
                raise FaultError(f"length field {end} in a data message of {len(datagram)} bytes")
        tunnel_id, session_id = struct.unpack_from("!HH", datagram, position)
        position += 4
        ns = None
        if flags & _SEQUENCE_BIT:
            (ns,) = struct.unpack_from("!H2x", datagram, position)
            position += 4
        if flags & _OFFSET_BIT:
            (offset,) = struct.unpack_from("!H", datagram, position)
            position += 2 + offset
    except struct.error:
        raise FaultError("data message that ends inside its header") from None
    if position > end:
        raise FaultError("data message whose offset leads past its end")
    return DataMessage(tunnel_id, session_id, ns, datagram[position:end])


def encode_packet(protocol: int, code: int, identifier: int, data: bytes) -> bytes:
    """A frame with an LCP-like packet, address and control field included."""
    return struct.pack("!HHBBH", 0xFF03, protocol, code, identifier, 4 + len(data)) + data


def decode_packet(payload: bytes) -> tuple[int, int, bytes]:
    """Code, identifier and data of an LCP-like packet, padding taken off. Raises FaultError."""
    if len(payload) < 4:
        raise FaultError(f"PPP control packet of {len(payload)} bytes")
    code, identifier, length = struct.unpack_from("!BBH", payload)
    if length < 4 or length > len(payload):
        raise FaultError(f"PPP control packet with length {length} in {len(payload)} bytes")
    return code, identifier, payload[4:length]


Options = list[tuple[int, bytes]]


def encode_options(options: Options) -> bytes:
    return b"".join(bytes((kind, 2 + len(value))) + value for kind, value in options)


def decode_options(data: bytes) -> Options:
    """Configuration options in their order. Raises FaultError."""
    options: Options = []
    position = 0
    while position < len(data):
        if position + 2 > len(data):
            raise FaultError("bytes after the last configuration option")
        kind, length = data[position], data[position + 1]
        if length < 2 or position + length > len(data):
            raise FaultError(f"configuration option {kind} with length {length}")
        options.append((kind, data[position + 2 : position + length]))
        position += length
    return options


def split_protocol(frame: bytes) -> tuple[bool, int, int, int]:
    """Has address and control field, protocol, its length in bytes, where the packet starts.

    Raises FaultError.
    """
    start = 2 if frame[:2] == b"\xff\x03" else 0
    if len(frame) <= start:
        raise FaultError("empty PPP frame")
    if frame[start] & 1:
        return start == 2, frame[start], 1, start + 1
    if len(frame) < start + 2:
        raise FaultError("PPP frame that ends inside its protocol field")
    protocol = (frame[start] << 8) | frame[start + 1]
    if not protocol & 1:
        raise FaultError(f"PPP protocol {protocol:#06x} is even")
    return start == 2, protocol, 2, start + 2


def checksum(data: bytes, start: int = 0) -> int:
    """The Internet checksum (RFC 1071) of data added to start."""
    if len(data) % 2:
        data += b"\0"
    total: int = start + sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@functools.cache
def _filling(size: int) -> bytes:
    return bytes(i & 0xFF for i in range(size))


def ipv4_packet(source: int, target: int, protocol: int, payload: bytes, ttl: int = 64) -> bytes:
    """An IPv4 packet without options (RFC 791)."""
    head = struct.pack(
        "!BBHHHBBHII", 0x45, 0, 20 + len(payload), 0, 0x4000, ttl, protocol, 0, source, target
    )
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


def udp_packet(source: int, source_port: int, target: int, port: int, data: bytes) -> bytes:
    """An IPv4 packet with a UDP datagram, without UDP checksum."""
    head = struct.pack("!HHHH", source_port, port, 8 + len(data), 0)
    return ipv4_packet(source, target, 17, head + data)


class Pinger:
    """ICMP echo requests from one address to another, cheap to make in numbers (RFC 792)."""

    __slots__ = ("_head", "_sum", "_tail", "identifier", "sequence", "size", "target")

    def __init__(self, source: int, target: int, identifier: int, size: int = 64) -> None:
        """`size` is that of the IPv4 packet in bytes, 28 at least."""
        self._tail = _filling(max(0, size - 28))
        blank = struct.pack("!BBHHH", 8, 0, 0, identifier, 0)
        packet = ipv4_packet(source, target, 1, blank + self._tail)
        self._head = packet[:20]
        self._sum = checksum(blank + self._tail) ^ 0xFFFF
        self.identifier = identifier
        self.size = size
        self.target = target
        self.sequence = 0

    def next_packet(self) -> bytes:
        """The next request."""
        self.sequence = (self.sequence + 1) & 0xFFFF
        total = self._sum + self.sequence
        total = (total & 0xFFFF) + (total >> 16)
        return (
            self._head
            + struct.pack("!BBHHH", 8, 0, total ^ 0xFFFF, self.identifier, self.sequence)
            + self._tail
        )


@dataclass(slots=True)
class IpPacket:
    """What a client looks at in a packet that reached it."""

    source: int
    target: int
    protocol: int
    payload: bytes


def decode_ipv4(packet: bytes) -> IpPacket:
    """Read and verify an IPv4 packet. Raises FaultError."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        raise FaultError(f"IPv4 frame that holds no IPv4 packet ({len(packet)} bytes)")
    head = (packet[0] & 15) * 4
    total, protocol, source, target = struct.unpack_from("!2xH5xB2xII", packet)
    if head < 20 or head > total or total != len(packet):
        raise FaultError(f"IPv4 packet of length {total} in a frame of {len(packet)} bytes")
    if checksum(packet[:head]):
        raise FaultError("IPv4 packet with a wrong header checksum")
    return IpPacket(source, target, protocol, packet[head:])


def is_echo_reply(packet: IpPacket, identifier: int) -> bool:
    return (
        packet.protocol == 1
        and len(packet.payload) >= 8
        and packet.payload[0] == 0
        and packet.payload[4:6] == identifier.to_bytes(2, "big")
    )
