"""The packets of the Password Authentication Protocol (RFC 1334 section 2)."""

import enum
from typing import Final

from l2tpns_core.ppp.errors import PppError
from l2tpns_core.ppp.frame import Packet, encode_packet

MAX_MESSAGE_BYTES: Final = 255


class PapCode(enum.IntEnum):
    """PAP packet codes."""

    REQUEST = 1
    ACK = 2
    NAK = 3


def decode_request(data: bytes) -> tuple[bytes, bytes]:
    """Peer-ID and password of an Authenticate-Request, up to 255 bytes each. Raises PppError.

    +-----------+-------------+---------------+--------------+
    | length(1) | peer-ID ... | length(1)     | password ... |
    +-----------+-------------+---------------+--------------+
    """
    user, rest = _split(data)
    password, _ = _split(rest)
    return user, password


def encode_answer(code: PapCode, identifier: int, message: bytes) -> bytes:
    """An Authenticate-Ack or -Nak; a message over MAX_MESSAGE_BYTES is cut off."""
    message = message[:MAX_MESSAGE_BYTES]
    return encode_packet(Packet(code, identifier, bytes((len(message),)) + message))


def _split(data: bytes) -> tuple[bytes, bytes]:
    if not data or len(data) < 1 + data[0]:
        raise PppError("PAP field longer than its packet")
    end = 1 + data[0]
    return data[1:end], data[end:]
