"""TCP MSS clamping: no segment that the tunnel would have to fragment (RFC 9293 section 3.7.1)."""

import struct
from typing import Final

TCP: Final = 6
SYN: Final = 0x02
OFFSET_MASK: Final = 0x1FFF
END_OF_OPTIONS: Final = 0
NO_OPERATION: Final = 1
MAXIMUM_SEGMENT_SIZE: Final = 2
MSS_OPTION_LENGTH: Final = 4
CHECKSUM_AT: Final = 16
DATA_OFFSET_AT: Final = 12
FLAGS_AT: Final = 13
MIN_TCP_HEADER: Final = 20


def clamp_mss(packet: bytes, limit: int) -> bytes:
    """The IPv4 packet with the MSS option of a SYN lowered to limit and the checksum adjusted.

    Anything else comes back as the same object: no first fragment of a TCP SYN, no MSS option, one
    that is low enough, a header that is cut short or broken.
    """
    if len(packet) < MIN_TCP_HEADER * 2 or packet[9] != TCP:
        return packet
    if (packet[6] << 8 | packet[7]) & OFFSET_MASK:
        return packet
    tcp = (packet[0] & 0x0F) * 4
    if tcp + MIN_TCP_HEADER > len(packet) or not packet[tcp + FLAGS_AT] & SYN:
        return packet
    end = min(tcp + (packet[tcp + DATA_OFFSET_AT] >> 4) * 4, len(packet))
    at = _find_mss(packet, tcp + MIN_TCP_HEADER, end)
    if at is None or (packet[at] << 8 | packet[at + 1]) <= limit:
        return packet
    return _replace_word(packet, tcp + CHECKSUM_AT, at, limit, odd=bool((at - tcp) & 1))


def _find_mss(packet: bytes, position: int, end: int) -> int | None:
    """Where the value of the MSS option is, or None. Every step forward is at least one byte."""
    while position < end:
        kind = packet[position]
        if kind == NO_OPERATION:
            position += 1
            continue
        if kind == END_OF_OPTIONS or position + 1 >= end:
            return None
        length = packet[position + 1]
        if length < 2 or position + length > end:
            return None
        if kind == MAXIMUM_SEGMENT_SIZE:
            return position + 2 if length == MSS_OPTION_LENGTH else None
        position += length
    return None


def _replace_word(packet: bytes, checksum_at: int, at: int, value: int, *, odd: bool) -> bytes:
    """Write value at `at` and update the checksum incrementally (RFC 1624 equation 3).

    A value at an odd offset lies across two words of the sum, which counts its bytes swapped.
    """
    old = int.from_bytes(packet[at : at + 2], "little" if odd else "big")
    raw = struct.pack(">H", value)
    new = int.from_bytes(raw, "little" if odd else "big")
    total = (~(packet[checksum_at] << 8 | packet[checksum_at + 1]) & 0xFFFF) + (~old & 0xFFFF) + new
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    changed = bytearray(packet)
    changed[at : at + 2] = raw
    changed[checksum_at : checksum_at + 2] = struct.pack(">H", ~total & 0xFFFF)
    return bytes(changed)
