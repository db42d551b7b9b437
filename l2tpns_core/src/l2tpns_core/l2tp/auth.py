"""Tunnel authentication: challenge and response (RFC 2661 section 4.2 and 5.1.1)."""

from hashlib import md5
from hmac import compare_digest
from typing import Final

from l2tpns_core.l2tp.codes import MessageType

CHALLENGE_BYTES: Final = 16


def challenge_response(message: MessageType, secret: bytes, challenge: bytes) -> bytes:
    """The Challenge Response that a message of this type carries (SCCRP or SCCCN)."""
    seed = bytes((message,)) + secret + challenge
    return md5(seed, usedforsecurity=False).digest()


def response_is_right(
    message: MessageType, secret: bytes, challenge: bytes, response: bytes
) -> bool:
    """Whether a response proves the secret. Takes the same time wherever it is wrong."""
    return compare_digest(challenge_response(message, secret, challenge), response)
