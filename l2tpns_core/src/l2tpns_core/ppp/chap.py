"""The packets of the Challenge Handshake Authentication Protocol (RFC 1994, RFC 2759)."""

import enum
from typing import Final

from l2tpns_core.ppp.errors import PppError
from l2tpns_core.ppp.frame import Packet, encode_packet

MAX_NAME_BYTES: Final = 255
MAX_MESSAGE_BYTES: Final = 255
MD5_RESPONSE_BYTES: Final = 16
MSCHAP_V2_CHALLENGE_BYTES: Final = 16
MSCHAP_V2_RESPONSE_BYTES: Final = 49


class ChapCode(enum.IntEnum):
    """CHAP packet codes."""

    CHALLENGE = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


def decode_response(data: bytes, value_bytes: int) -> tuple[bytes, bytes]:
    """Value and name of a Response whose value must have value_bytes. Raises PppError.

    +---------------+-----------+----------------------------+
    | value size(1) | value ... | name (rest of the packet)  |
    +---------------+-----------+----------------------------+
    """
    if not data or data[0] != value_bytes:
        raise PppError("CHAP value of the wrong size")
    end = 1 + value_bytes
    if len(data) < end:
        raise PppError("CHAP value longer than its packet")
    if len(data) > end + MAX_NAME_BYTES:
        raise PppError("CHAP name too long")
    return data[1:end], data[end:]


def encode_challenge(identifier: int, challenge: bytes, name: bytes) -> bytes:
    """A Challenge; a name over MAX_NAME_BYTES is cut off."""
    data = bytes((len(challenge),)) + challenge + name[:MAX_NAME_BYTES]
    return encode_packet(Packet(ChapCode.CHALLENGE, identifier, data))


def encode_result(code: ChapCode, identifier: int, message: bytes) -> bytes:
    """A Success or Failure; a message over MAX_MESSAGE_BYTES is cut off."""
    return encode_packet(Packet(code, identifier, message[:MAX_MESSAGE_BYTES]))
