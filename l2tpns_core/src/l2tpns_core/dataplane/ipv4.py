"""IPv4 packets as bytes: checksum (RFC 1071), header checks, fragmentation (RFC 791).

 0                   1                   2                   3
|Version|  IHL  |Type of Service|          Total Length         |
|         Identification        |Flags|      Fragment Offset    |
|  Time to Live |    Protocol   |         Header Checksum       |
|                       Source Address                          |
|                    Destination Address                        |
|                    Options                    |    Padding    |
"""

import struct
from collections.abc import Callable
from typing import Final

MIN_HEADER: Final = 20
MAX_HEADER: Final = 60
DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
OFFSET_MASK: Final = 0x1FFF
OFFSET_UNIT: Final = 8
COPIED_OPTION: Final = 0x80
END_OF_OPTIONS: Final = 0
NO_OPERATION: Final = 1

type_and_lengths: Final[Callable[[bytes], tuple[int, int, int]]] = struct.Struct(
    ">BxHxxH"
).unpack_from
"""Version and header length, total length, flags and fragment offset."""


def checksum(data: bytes) -> int:
    """The internet checksum of data (RFC 1071)."""
    if len(data) & 1:
        data += b"\0"
    # Words of 16 bits added as one's complement are the same as the number modulo 65535.
    rest = int.from_bytes(data, "big") % 0xFFFF
    return 0xFFFF - rest if rest or not any(data) else 0


def header_length(packet: bytes) -> int | None:
    """The length of the header of a packet, or None when it is no whole IPv4 packet."""
    if len(packet) < MIN_HEADER:
        return None
    version_ihl, total, _ = type_and_lengths(packet)
    length = (version_ihl & 0x0F) * 4
    if version_ihl >> 4 != 4 or length < MIN_HEADER or not length <= total <= len(packet):
        return None
    return length


def build(source: bytes, destination: bytes, protocol: int, payload: bytes, ttl: int = 64) -> bytes:
    """A packet without options and with DF clear."""
    total = MIN_HEADER + len(payload)
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, total, 0, 0, ttl, protocol, 0, source, destination
    )
    return _with_checksum(header) + payload


def fragment(packet: bytes, mtu: int) -> list[bytes] | None:
    """Cut a packet into fragments of mtu bytes at most (RFC 791 section 2.3 and 3.2).

    None when it is no whole packet, must not be fragmented (DF) or cannot be at this MTU. A packet
    that fits comes back as it is; one that is a fragment itself is cut further.
    """
    length = header_length(packet)
    if length is None:
        return None
    _, total, flags = type_and_lengths(packet)
    if total <= mtu:
        return [packet[:total]]
    first = packet[:length]
    later = _later_header(first)
    if flags & DONT_FRAGMENT or mtu < len(first) + OFFSET_UNIT:
        return None
    fragments = []
    header, position, offset = first, length, flags & OFFSET_MASK
    while position < total:
        room = mtu - len(header)
        last = total - position <= room
        size = total - position if last else room // OFFSET_UNIT * OFFSET_UNIT
        more = flags & MORE_FRAGMENTS if last else MORE_FRAGMENTS
        body = packet[position : position + size]
        fragments.append(_fragment_header(header, len(body), more | offset) + body)
        position += size
        offset += size // OFFSET_UNIT
        header = later
    return fragments


def _fragment_header(header: bytes, body_length: int, flags_offset: int) -> bytes:
    total = struct.pack(">H", len(header) + body_length)
    placed = header[:2] + total + header[4:6] + struct.pack(">H", flags_offset) + header[8:]
    return _with_checksum(placed)


def _with_checksum(header: bytes) -> bytes:
    blank = header[:10] + b"\0\0" + header[12:]
    return header[:10] + struct.pack(">H", checksum(blank)) + header[12:]


def _later_header(header: bytes) -> bytes:
    """The header of all fragments but the first: only the options marked to be copied stay."""
    if len(header) == MIN_HEADER:
        return header
    kept = bytearray()
    position = MIN_HEADER
    while position < len(header) and header[position] != END_OF_OPTIONS:
        if header[position] == NO_OPERATION:
            position += 1
            continue
        size = header[position + 1] if position + 1 < len(header) else 0
        if size < 2 or position + size > len(header):
            break
        if header[position] & COPIED_OPTION:
            kept += header[position : position + size]
        position += size
    kept += bytes(-len(kept) % 4)
    return bytes([0x40 | (MIN_HEADER + len(kept)) // 4]) + header[1:MIN_HEADER] + bytes(kept)
