"""RADIUS packets as octets (RFC 2865 section 3, RFC 2866 section 3, RFC 3579 section 3.2).

     0                   1                   2                   3
    |     Code      |  Identifier   |            Length             |
    |                   Authenticator (16 octets)                   |
    |  Attributes: Type (1), Length (1, of the whole attribute), Value

Requests are built and replies are checked here, before any other code sees an octet of them.
"""

import enum
import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final

HEADER: Final = struct.Struct("!BBH16s")
VENDOR: Final = struct.Struct("!BBIBB")
MAX_PACKET_OCTETS: Final = 4096
MAX_VALUE_OCTETS: Final = 253
MAX_VENDOR_VALUE_OCTETS: Final = 247
MAX_PASSWORD_OCTETS: Final = 128
AUTHENTICATOR_OCTETS: Final = 16
NO_AUTHENTICATOR: Final = bytes(AUTHENTICATOR_OCTETS)

PROXY_STATE: Final = 33
VENDOR_SPECIFIC: Final = 26
MESSAGE_AUTHENTICATOR: Final = 80


class Code(enum.IntEnum):
    """Packet types that a RADIUS client meets."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_REQUEST = 4
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11


ANSWERS: Final = {
    Code.ACCESS_REQUEST: frozenset({Code.ACCESS_ACCEPT, Code.ACCESS_REJECT, Code.ACCESS_CHALLENGE}),
    Code.ACCOUNTING_REQUEST: frozenset({Code.ACCOUNTING_RESPONSE}),
}


class Discard(enum.Enum):
    """Why a datagram is no reply that counts; the value names the counter."""

    MALFORMED = "malformed"
    UNKNOWN_ID = "unknown_id"
    LATE = "late"
    DUPLICATE = "duplicate"
    WRONG_CODE = "wrong_code"
    WRONG_AUTHENTICATOR = "wrong_authenticator"
    NO_MESSAGE_AUTHENTICATOR = "no_message_authenticator"
    WRONG_MESSAGE_AUTHENTICATOR = "wrong_message_authenticator"
    PROXY_STATE = "proxy_state"


class ReplyError(Exception):
    """A datagram that must be discarded silently (RFC 2865 section 3); `kind` says why."""

    def __init__(self, kind: Discard, text: str) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass(slots=True)
class Reply:
    """A well-formed packet. Nothing in it is to be believed before verify_reply()."""

    code: int
    identifier: int
    authenticator: bytes
    octets: bytes
    """The packet without padding."""
    attributes: list[tuple[int, bytes]]


def encode_attribute(kind: int, value: bytes) -> bytes:
    """One attribute; raises ValueError when the value is too long."""
    if len(value) > MAX_VALUE_OCTETS:
        raise ValueError(f"{len(value)} octets do not fit into attribute {kind}")
    return bytes((kind, len(value) + 2)) + value


def encode_vendor_attribute(vendor: int, kind: int, value: bytes) -> bytes:
    """One attribute of a vendor (RFC 2865 section 5.26); raises ValueError when too long."""
    if len(value) > MAX_VENDOR_VALUE_OCTETS:
        raise ValueError(f"{len(value)} octets do not fit into a vendor's attribute {kind}")
    length = len(value)
    return VENDOR.pack(VENDOR_SPECIFIC, length + 8, vendor, kind, length + 2) + value


def split_vendor_attribute(value: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    """Vendor and attributes of a Vendor-Specific attribute; raises ValueError if malformed."""
    if len(value) < 6:
        raise ValueError("Vendor-Specific attribute is too short")
    attributes = _walk(value, 4)
    if attributes is None:
        raise ValueError(
            f"Vendor-Specific attribute of vendor {int.from_bytes(value[:4])} has a wrong length"
        )
    return int.from_bytes(value[:4]), attributes


def hide_password(password: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """User-Password (RFC 2865 section 5.2); raises ValueError when it is too long."""
    if len(password) > MAX_PASSWORD_OCTETS:
        raise ValueError(f"a password of {len(password)} octets cannot be sent")
    blocks = max(1, -(-len(password) // 16))
    padded = password.ljust(16 * blocks, b"\0")
    hidden, last = b"", authenticator
    for start in range(0, len(padded), 16):
        mask = int.from_bytes(hashlib.md5(secret + last).digest())
        last = (mask ^ int.from_bytes(padded[start : start + 16])).to_bytes(16)
        hidden += last
    return hidden


def encode_access_request(
    identifier: int, authenticator: bytes, attributes: bytes, secret: bytes
) -> bytes:
    """An Access-Request with a Message-Authenticator in front of its attributes.

    It stands first because an attacker who can put octets before it can choose a prefix for an
    MD5 collision (CVE-2024-3596).
    """
    length = HEADER.size + 18 + len(attributes)
    header = HEADER.pack(Code.ACCESS_REQUEST, identifier, length, authenticator)
    start = header + bytes((MESSAGE_AUTHENTICATOR, 18))
    digest = hmac.digest(secret, start + NO_AUTHENTICATOR + attributes, "md5")
    return start + digest + attributes


def encode_accounting_request(identifier: int, attributes: bytes, secret: bytes) -> bytes:
    """An Accounting-Request; its authenticator signs it (RFC 2866 section 3)."""
    length = HEADER.size + len(attributes)
    start = HEADER.pack(Code.ACCOUNTING_REQUEST, identifier, length, NO_AUTHENTICATOR)
    digest = hashlib.md5(start + attributes + secret).digest()
    return start[:4] + digest + attributes


def authenticator_of(datagram: bytes) -> bytes:
    """The Authenticator field of a request of ours."""
    return datagram[4:20]


def decode_reply(datagram: bytes) -> Reply:
    """Check every length of a datagram; raises ReplyError, and nothing else on any octets.

    Octets behind the length that the packet states are padding (RFC 2865 section 3).
    """
    if len(datagram) < HEADER.size:
        raise ReplyError(Discard.MALFORMED, f"{len(datagram)} octets are no packet")
    code, identifier, length, authenticator = HEADER.unpack_from(datagram)
    if not HEADER.size <= length <= min(len(datagram), MAX_PACKET_OCTETS):
        raise ReplyError(Discard.MALFORMED, f"packet of {len(datagram)} octets states {length}")
    octets = bytes(datagram[:length])
    attributes = _walk(octets, HEADER.size)
    if attributes is None:
        raise ReplyError(Discard.MALFORMED, "an attribute's length is wrong")
    return Reply(code, identifier, authenticator, octets, attributes)


def has_right_authenticator(reply: Reply, request_authenticator: bytes, secret: bytes) -> bool:
    """Whether the Response Authenticator answers that request (RFC 2865 section 3)."""
    octets = reply.octets
    digest = hashlib.md5(octets[:4] + request_authenticator + octets[20:] + secret).digest()
    return hmac.compare_digest(digest, reply.authenticator)


def verify_reply(
    reply: Reply,
    request_code: Code,
    request_authenticator: bytes,
    secret: bytes,
    require_message_authenticator: bool,
) -> bool:
    """Check that a reply is the server's, to that request; raises ReplyError if it is not.

    Returns whether it carried a (right) Message-Authenticator. The requirement is one on replies
    to an Access-Request; those to accounting need none (RFC 5080 section 2.2.2).
    """
    if reply.code not in ANSWERS[request_code]:
        raise ReplyError(Discard.WRONG_CODE, f"code {reply.code} is no answer")
    if not has_right_authenticator(reply, request_authenticator, secret):
        raise ReplyError(Discard.WRONG_AUTHENTICATOR, "wrong Response Authenticator")
    has_message_authenticator = _check_message_authenticator(
        reply, request_code, request_authenticator, secret
    )
    if request_code is not Code.ACCESS_REQUEST:
        return has_message_authenticator
    if require_message_authenticator and not has_message_authenticator:
        raise ReplyError(Discard.NO_MESSAGE_AUTHENTICATOR, "no Message-Authenticator")
    # We send no Proxy-State, so none can come back; the forged replies of CVE-2024-3596 need one.
    if any(kind == PROXY_STATE for kind, _ in reply.attributes):
        raise ReplyError(Discard.PROXY_STATE, "Proxy-State that was never sent")
    return has_message_authenticator


def _check_message_authenticator(
    reply: Reply, request_code: Code, request_authenticator: bytes, secret: bytes
) -> bool:
    values = [value for kind, value in reply.attributes if kind == MESSAGE_AUTHENTICATOR]
    if not values:
        return False
    if len(values) > 1 or len(values[0]) != AUTHENTICATOR_OCTETS:
        raise ReplyError(Discard.WRONG_MESSAGE_AUTHENTICATOR, "malformed Message-Authenticator")
    octets, attributes = reply.octets, _without_message_authenticator(reply)
    vectors = [request_authenticator]
    if request_code is Code.ACCOUNTING_REQUEST:
        vectors.append(NO_AUTHENTICATOR)  # servers differ; no RFC says which
    for vector in vectors:
        digest = hmac.digest(secret, octets[:4] + vector + attributes, "md5")
        if hmac.compare_digest(digest, values[0]):
            return True
    raise ReplyError(Discard.WRONG_MESSAGE_AUTHENTICATOR, "wrong Message-Authenticator")


def _without_message_authenticator(reply: Reply) -> bytes:
    """The attributes with the Message-Authenticator's value zeroed, for its own computation."""
    at = HEADER.size
    for kind, value in reply.attributes:
        if kind == MESSAGE_AUTHENTICATOR:
            octets = reply.octets
            return octets[HEADER.size : at + 2] + NO_AUTHENTICATOR + octets[at + 18 :]
        at += 2 + len(value)
    return reply.octets[HEADER.size :]


def _walk(octets: bytes, at: int) -> list[tuple[int, bytes]] | None:
    """Split type-length-value triples from `at` to the end; None unless they fill it exactly."""
    attributes: list[tuple[int, bytes]] = []
    end = len(octets)
    while at < end:
        if end - at < 2:
            return None
        length = octets[at + 1]
        if length < 2 or at + length > end:
            return None
        attributes.append((octets[at], octets[at + 2 : at + length]))
        at += length
    return attributes
