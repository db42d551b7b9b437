"""The ICMP errors that an LNS sends (RFC 792, RFC 1191), and when it must not (RFC 1122 section
3.2.2, RFC 1812 section 4.3.2.7)."""

import struct
from typing import Final

from l2tpns_core.dataplane.ipv4 import OFFSET_MASK, build, checksum, header_length

ICMP: Final = 1
UNREACHABLE: Final = 3
HOST_UNREACHABLE: Final = 1
FRAGMENTATION_NEEDED: Final = 4
ERROR_TYPES: Final = frozenset({3, 4, 5, 11, 12})
"""Unreachable, source quench, redirect, time exceeded, parameter problem."""
MAX_QUOTE: Final = 548
"""So much of a packet is quoted: the error stays within 576 bytes (RFC 1812 section 4.3.2.3)."""
FIRST_MULTICAST: Final = 224
LOOPBACK: Final = 127


def host_unreachable(packet: bytes, source: bytes) -> bytes | None:
    """The answer to a packet that nobody takes, from our address `source`; None for silence."""
    return _unreachable(packet, source, HOST_UNREACHABLE, 0)


def fragmentation_needed(packet: bytes, source: bytes, mtu: int) -> bytes | None:
    """The answer to a packet with DF that is larger than mtu bytes; None for silence."""
    return _unreachable(packet, source, FRAGMENTATION_NEEDED, mtu)


def _unreachable(packet: bytes, source: bytes, code: int, mtu: int) -> bytes | None:
    if not may_answer(packet):
        return None
    body = struct.pack(">BBHHH", UNREACHABLE, code, 0, 0, mtu) + packet[:MAX_QUOTE]
    body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
    return build(source, packet[12:16], ICMP, body)


def may_answer(packet: bytes) -> bool:
    """Whether an ICMP error may be sent about a packet."""
    length = header_length(packet)
    if length is None or (packet[6] << 8 | packet[7]) & OFFSET_MASK:
        return False
    source = packet[12]
    if source in (0, LOOPBACK) or source >= FIRST_MULTICAST or packet[16] >= FIRST_MULTICAST:
        return False
    # An ICMP packet too short to tell its type might be an error.
    return packet[9] != ICMP or (len(packet) > length and packet[length] not in ERROR_TYPES)
