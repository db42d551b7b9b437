"""PPP frames in L2TP and the packets of the control protocols (RFC 1661 sections 2 and 5).

    +---------+---------+----------------+------------------------------------------+
    | FF (*)  | 03 (*)  | protocol 1 / 2 | code | identifier | length (2) | data ... |
    +---------+---------+----------------+------------------------------------------+

Address and control (*) may be left out after ACFC, the first byte of the protocol after PFC. Both
short forms are understood at any time.
"""

import enum
from typing import Final, NamedTuple

from l2tpns_core.ppp.errors import PppError

ADDRESS_AND_CONTROL: Final = b"\xff\x03"
HEADER_BYTES: Final = 4
MAX_PACKET_BYTES: Final = 0xFFFF


class Protocol(enum.IntEnum):
    """PPP protocol numbers that have a meaning here; all others are rejected as unknown."""

    IPV4 = 0x0021
    IPCP = 0x8021
    LCP = 0xC021
    PAP = 0xC023
    CHAP = 0xC223


class Code(enum.IntEnum):
    """Codes of LCP (RFC 1661 section 5, RFC 1570); an NCP has the first seven."""

    CONFIGURE_REQUEST = 1
    CONFIGURE_ACK = 2
    CONFIGURE_NAK = 3
    CONFIGURE_REJECT = 4
    TERMINATE_REQUEST = 5
    TERMINATE_ACK = 6
    CODE_REJECT = 7
    PROTOCOL_REJECT = 8
    ECHO_REQUEST = 9
    ECHO_REPLY = 10
    DISCARD_REQUEST = 11
    IDENTIFICATION = 12
    TIME_REMAINING = 13


class Packet(NamedTuple):
    """A packet of LCP, an NCP, PAP or CHAP, without its padding."""

    code: int
    identifier: int
    data: bytes


def decode_frame(frame: bytes) -> tuple[int, bytes]:
    """Split a frame into its protocol number and its information field.

    A number that breaks the rules of RFC 1661 section 2 is returned as it is: such frames are to be
    treated as having an unknown protocol. Raises PppError when there is no whole protocol field.
    """
    start = len(ADDRESS_AND_CONTROL) if frame.startswith(ADDRESS_AND_CONTROL) else 0
    if len(frame) <= start:
        raise PppError("frame without a protocol")
    if frame[start] & 1:
        return frame[start], frame[start + 1 :]
    if len(frame) < start + 2:
        raise PppError("frame ends within its protocol")
    return frame[start] << 8 | frame[start + 1], frame[start + 2 :]


def encode_frame(protocol: int, information: bytes, *, short: bool = False) -> bytes:
    """A frame with a two-byte protocol; short leaves address and control out (ACFC)."""
    prefix = b"" if short else ADDRESS_AND_CONTROL
    return prefix + protocol.to_bytes(2, "big") + information


def decode_packet(information: bytes) -> Packet:
    """Decode a control packet; bytes past its length are padding. Raises PppError."""
    if len(information) < HEADER_BYTES:
        raise PppError("packet shorter than its header")
    length = int.from_bytes(information[2:HEADER_BYTES], "big")
    if length < HEADER_BYTES:
        raise PppError("packet length smaller than its header")
    if length > len(information):
        raise PppError("packet longer than its frame")
    return Packet(information[0], information[1], information[HEADER_BYTES:length])


def encode_packet(packet: Packet) -> bytes:
    """The packet as it goes on the wire; data past the largest length is cut off."""
    code, identifier, data = packet
    length = min(HEADER_BYTES + len(data), MAX_PACKET_BYTES)
    return bytes((code, identifier)) + length.to_bytes(2, "big") + data[: length - HEADER_BYTES]
