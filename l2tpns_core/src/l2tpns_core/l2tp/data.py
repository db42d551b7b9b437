"""The header of data messages (RFC 2661 section 3.1).

    flags and version, [length], tunnel id, session id, [Ns, Nr], [offset size, offset pad], payload

Fields in brackets are there when the L, S and O bit say so; each is two bytes long.
"""

import struct
from typing import Final, NamedTuple

from l2tpns_core.l2tp.codes import GeneralError, StopResult
from l2tpns_core.l2tp.errors import L2tpError

CONTROL_BIT: Final = 0x8000
LENGTH_BIT: Final = 0x4000
SEQUENCE_BIT: Final = 0x0800
OFFSET_BIT: Final = 0x0200
PRIORITY_BIT: Final = 0x0100
VERSION_MASK: Final = 0x000F
VERSION: Final = 2
MIN_HEADER_BYTES: Final = 6
SEQUENCE_MASK: Final = 0xFFFF

_U16: Final = struct.Struct("!H")
_PAIR: Final = struct.Struct("!HH")
_PLAIN: Final = struct.Struct("!3H")


class DataHeader(NamedTuple):
    """A data header; the payload is datagram[payload_offset:payload_end]."""

    tunnel_id: int
    session_id: int
    ns: int | None
    nr: int | None
    payload_offset: int
    payload_end: int
    priority: bool


def decode_data(datagram: bytes) -> DataHeader:
    """Read the header of a data message. Raises L2tpError when it is none of L2TPv2 or when a
    field lies outside of the datagram; the answer is silence."""
    end = len(datagram)
    if end < MIN_HEADER_BYTES:
        raise _malformed(f"datagram of {end} bytes")
    (flags,) = _U16.unpack_from(datagram)
    if flags & CONTROL_BIT or flags & VERSION_MASK != VERSION:
        raise _malformed(f"flags {flags:#06x}")
    has_length = flags & LENGTH_BIT != 0
    has_sequence = flags & SEQUENCE_BIT != 0
    has_offset = flags & OFFSET_BIT != 0
    position = 4 if has_length else 2
    needed = position + 4 + 4 * has_sequence + 2 * has_offset
    if has_length:
        (length,) = _U16.unpack_from(datagram, 2)
        if length > end:
            raise _malformed(f"length {length} in a datagram of {end} bytes")
        end = length
    if needed > end:
        raise _malformed(f"header of {needed} bytes in {end}")
    tunnel_id, session_id = _PAIR.unpack_from(datagram, position)
    position += 4
    ns = nr = None
    if has_sequence:
        ns, nr = _PAIR.unpack_from(datagram, position)
        position += 4
    if has_offset:
        position += 2 + _U16.unpack_from(datagram, position)[0]
        if position > end:
            raise _malformed("offset past the end")
    priority = flags & PRIORITY_BIT != 0
    return DataHeader(tunnel_id, session_id, ns, nr, position, end, priority)


def encode_data(
    tunnel_id: int,
    session_id: int,
    ns: int | None = None,
    priority: bool = False,
    payload_bytes: int | None = None,
) -> bytes:
    """The header of a data message. With `ns` it has sequence numbers (Nr is reserved and 0), with
    `payload_bytes` the length field."""
    flags = VERSION | (PRIORITY_BIT if priority else 0)
    tail = b""
    if ns is not None:
        flags |= SEQUENCE_BIT
        tail = _PAIR.pack(ns & SEQUENCE_MASK, 0)
    if payload_bytes is None:
        return _PLAIN.pack(flags, tunnel_id, session_id) + tail
    length = MIN_HEADER_BYTES + _U16.size + len(tail) + payload_bytes
    ids = _PAIR.pack(tunnel_id, session_id)
    return _PAIR.pack(flags | LENGTH_BIT, length) + ids + tail


def _malformed(text: str) -> L2tpError:
    return L2tpError(StopResult.GENERAL_ERROR, GeneralError.WRONG_LENGTH, text)
