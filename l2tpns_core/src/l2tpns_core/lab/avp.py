"""L2TP control messages as a LAC writes and reads them (RFC 2661 sections 3 to 5).

Written apart from the LNS's own codec, and stricter: what a tolerant receiver lets pass is a
`Fault` in the list here, because a lab wants to hear of it.
"""

import enum
import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

HEADER_LENGTH: Final = 12
CONTROL_FLAGS: Final = 0xC802  # T, L and S set, version 2
MAX_AVP_LENGTH: Final = 1023


class Kind(enum.IntEnum):
    """Message types (section 3.2)."""

    SCCRQ = 1
    SCCRP = 2
    SCCCN = 3
    STOPCCN = 4
    HELLO = 6
    OCRQ = 7
    OCRP = 8
    OCCN = 9
    ICRQ = 10
    ICRP = 11
    ICCN = 12
    CDN = 14
    WEN = 15
    SLI = 16


class Attr(enum.IntEnum):
    """Attribute types (section 4.4, and RFC 3145)."""

    MESSAGE_TYPE = 0
    RESULT_CODE = 1
    PROTOCOL_VERSION = 2
    FRAMING_CAPABILITIES = 3
    BEARER_CAPABILITIES = 4
    TIE_BREAKER = 5
    FIRMWARE_REVISION = 6
    HOST_NAME = 7
    VENDOR_NAME = 8
    ASSIGNED_TUNNEL_ID = 9
    RECEIVE_WINDOW_SIZE = 10
    CHALLENGE = 11
    Q931_CAUSE = 12
    CHALLENGE_RESPONSE = 13
    ASSIGNED_SESSION_ID = 14
    CALL_SERIAL_NUMBER = 15
    BEARER_TYPE = 18
    FRAMING_TYPE = 19
    CALLED_NUMBER = 21
    CALLING_NUMBER = 22
    SUB_ADDRESS = 23
    TX_CONNECT_SPEED = 24
    PHYSICAL_CHANNEL_ID = 25
    INITIAL_RECEIVED_LCP = 26
    LAST_SENT_LCP = 27
    LAST_RECEIVED_LCP = 28
    PROXY_AUTH_TYPE = 29
    PROXY_AUTH_NAME = 30
    PROXY_AUTH_CHALLENGE = 31
    PROXY_AUTH_ID = 32
    PROXY_AUTH_RESPONSE = 33
    CALL_ERRORS = 34
    ACCM = 35
    RANDOM_VECTOR = 36
    PRIVATE_GROUP_ID = 37
    RX_CONNECT_SPEED = 38
    SEQUENCING_REQUIRED = 39
    DISCONNECT_CAUSE = 46


_OPTIONAL_M: Final = frozenset(
    {
        Attr.TIE_BREAKER,
        Attr.FIRMWARE_REVISION,
        Attr.VENDOR_NAME,
        Attr.PHYSICAL_CHANNEL_ID,
        Attr.PRIVATE_GROUP_ID,
        Attr.RX_CONNECT_SPEED,
        Attr.DISCONNECT_CAUSE,
        *range(Attr.INITIAL_RECEIVED_LCP, Attr.PROXY_AUTH_RESPONSE + 1),
    }
)
"""Attributes whose M bit must be 0; of all others it must be 1."""

_NEVER_HIDDEN: Final = frozenset(
    {
        Attr.MESSAGE_TYPE,
        Attr.RESULT_CODE,
        Attr.PROTOCOL_VERSION,
        Attr.TIE_BREAKER,
        Attr.HOST_NAME,
        Attr.RECEIVE_WINDOW_SIZE,
        Attr.Q931_CAUSE,
        Attr.RANDOM_VECTOR,
        Attr.SEQUENCING_REQUIRED,
    }
)

_FIXED_LENGTHS: Final[dict[int, int]] = {
    Attr.MESSAGE_TYPE: 2,
    Attr.PROTOCOL_VERSION: 2,
    Attr.FRAMING_CAPABILITIES: 4,
    Attr.BEARER_CAPABILITIES: 4,
    Attr.TIE_BREAKER: 8,
    Attr.FIRMWARE_REVISION: 2,
    Attr.ASSIGNED_TUNNEL_ID: 2,
    Attr.RECEIVE_WINDOW_SIZE: 2,
    Attr.CHALLENGE_RESPONSE: 16,
    Attr.ASSIGNED_SESSION_ID: 2,
    Attr.ACCM: 10,
    Attr.SEQUENCING_REQUIRED: 0,
}

_ALLOWED: Final[dict[int, tuple[frozenset[int], frozenset[int]]]] = {
    Kind.SCCRP: (
        frozenset({Attr.PROTOCOL_VERSION, Attr.FRAMING_CAPABILITIES, Attr.HOST_NAME, 9}),
        frozenset(
            {
                Attr.BEARER_CAPABILITIES,
                Attr.FIRMWARE_REVISION,
                Attr.VENDOR_NAME,
                Attr.RECEIVE_WINDOW_SIZE,
                Attr.CHALLENGE,
                Attr.CHALLENGE_RESPONSE,
            }
        ),
    ),
    Kind.STOPCCN: (frozenset({Attr.ASSIGNED_TUNNEL_ID, Attr.RESULT_CODE}), frozenset()),
    Kind.HELLO: (frozenset(), frozenset()),
    Kind.ICRP: (frozenset({Attr.ASSIGNED_SESSION_ID}), frozenset()),
    Kind.CDN: (
        frozenset({Attr.RESULT_CODE, Attr.ASSIGNED_SESSION_ID}),
        frozenset({Attr.Q931_CAUSE, Attr.DISCONNECT_CAUSE}),
    ),
    Kind.SLI: (frozenset({Attr.ACCM}), frozenset()),
}
"""What each message of an LNS must and may carry beside its type (section 6)."""


@dataclass(slots=True)
class Avp:
    """One attribute to send. `mandatory` None takes what the RFC says."""

    type: int
    value: bytes
    mandatory: bool | None = None
    vendor: int = 0
    hidden: bool = False


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


@dataclass(slots=True)
class Control:
    """A control message of the LNS. `kind` 0 is a ZLB. `faults` says what is wrong with it."""

    tunnel_id: int
    session_id: int
    ns: int
    nr: int
    kind: int
    avps: dict[int, bytes]
    faults: list[str] = field(default_factory=list)

    def number(self, attr: int) -> int:
        """A numeric attribute, 0 when it is missing."""
        return int.from_bytes(self.avps.get(attr, b""), "big")

    def result(self) -> tuple[int, int, str]:
        """Result code, error code and text (0 and "" when missing)."""
        value = self.avps.get(Attr.RESULT_CODE, b"")
        return (
            int.from_bytes(value[:2], "big"),
            int.from_bytes(value[2:4], "big"),
            value[4:].decode("utf-8", "backslashreplace"),
        )


class DecodeError(Exception):
    """Bytes that are no L2TPv2 control message at all."""


def challenge_response(kind: int, secret: bytes, challenge: bytes) -> bytes:
    """What proves the secret in a message of this kind (section 4.2)."""
    return hashlib.md5(bytes((kind,)) + secret + challenge, usedforsecurity=False).digest()


def _keystream_block(seed: bytes) -> bytes:
    return hashlib.md5(seed, usedforsecurity=False).digest()


def hide(attr: int, value: bytes, secret: bytes, vector: bytes, padding: bytes = b"") -> bytes:
    """The hidden form of a value (section 4.3)."""
    plain = u16(len(value)) + value + padding
    pad = _keystream_block(u16(attr) + secret + vector)
    out = b""
    for start in range(0, len(plain), 16):
        block = bytes(a ^ b for a, b in zip(plain[start : start + 16], pad, strict=False))
        out += block
        pad = _keystream_block(secret + block)
    return out


def reveal(attr: int, hidden: bytes, secret: bytes, vector: bytes) -> bytes | None:
    """The value inside a hidden attribute, None when it makes no sense (a wrong secret)."""
    pad = _keystream_block(u16(attr) + secret + vector)
    plain = b""
    for start in range(0, len(hidden), 16):
        block = hidden[start : start + 16]
        plain += bytes(a ^ b for a, b in zip(block, pad, strict=False))
        pad = _keystream_block(secret + block)
    length = int.from_bytes(plain[:2], "big")
    if len(plain) < 2 or length > len(plain) - 2:
        return None
    return plain[2 : 2 + length]


def encode_avps(
    kind: int,
    avps: Iterable[Avp],
    secret: bytes = b"",
    hide_all: bool = False,
    random: Callable[[int], bytes] | None = None,
) -> bytes:
    """The body of a message. Hidden attributes need secret and random."""
    out = _encode_avp(Avp(Attr.MESSAGE_TYPE, u16(kind)), Attr.MESSAGE_TYPE)
    vector = b""
    for avp in avps:
        wanted = avp.hidden or (hide_all and avp.vendor == 0 and avp.type not in _NEVER_HIDDEN)
        if not wanted:
            out += _encode_avp(avp, avp.type)
            continue
        if random is None:
            raise ValueError("hidden attributes need a source of random bytes")
        if not vector:
            vector = random(16)
            out += _encode_avp(Avp(Attr.RANDOM_VECTOR, vector), Attr.RANDOM_VECTOR)
        padding = random(random(1)[0] % 8)
        value = hide(avp.type, avp.value, secret, vector, padding)
        out += _encode_avp(Avp(avp.type, value, avp.mandatory, 0, True), avp.type)
    return out


def _encode_avp(avp: Avp, attr: int) -> bytes:
    length = 6 + len(avp.value)
    if length > MAX_AVP_LENGTH:
        raise ValueError(f"attribute {attr} is too long")
    mandatory = avp.mandatory
    if mandatory is None:
        mandatory = avp.vendor == 0 and attr not in _OPTIONAL_M
    flags = (0x8000 if mandatory else 0) | (0x4000 if avp.hidden else 0)
    return struct.pack("!HHH", flags | length, avp.vendor, attr) + avp.value


def encode_control(tunnel_id: int, session_id: int, ns: int, nr: int, body: bytes) -> bytes:
    """A whole control datagram; an empty body makes a ZLB."""
    length = HEADER_LENGTH + len(body)
    return struct.pack("!6H", CONTROL_FLAGS, length, tunnel_id, session_id, ns, nr) + body


def decode_control(datagram: bytes, secret: bytes = b"") -> Control:
    """Read a control datagram of the LNS and find its faults. Raises DecodeError."""
    if len(datagram) < HEADER_LENGTH:
        raise DecodeError(f"control datagram of {len(datagram)} bytes")
    flags, length, tunnel_id, session_id, ns, nr = struct.unpack_from("!6H", datagram)
    if flags & 0xC80F != CONTROL_FLAGS:
        raise DecodeError(f"control datagram with flags {flags:#06x}")
    message = Control(tunnel_id, session_id, ns, nr, 0, {})
    if flags != CONTROL_FLAGS:
        message.faults.append(f"header flags {flags:#06x} instead of {CONTROL_FLAGS:#06x}")
    if length != len(datagram):
        message.faults.append(f"length field {length} in a datagram of {len(datagram)} bytes")
        if length < HEADER_LENGTH or length > len(datagram):
            raise DecodeError(message.faults[-1])
    if length > HEADER_LENGTH:
        _decode_avps(message, datagram[HEADER_LENGTH:length], secret)
        _check_message(message)
    return message


def _decode_avps(message: Control, body: bytes, secret: bytes) -> None:
    position = 0
    vector: bytes | None = None
    while position < len(body):
        if len(body) - position < 6:
            message.faults.append("bytes after the last AVP")
            return
        bits, vendor, attr = struct.unpack_from("!3H", body, position)
        length = bits & 0x3FF
        if length < 6 or position + length > len(body):
            message.faults.append(f"AVP {attr} with length {length}")
            return
        value: bytes | None = body[position + 6 : position + length]
        position += length
        _check_bits(message, bits, vendor, attr)
        if vendor:
            continue
        if bits & 0x4000:
            value = _reveal_avp(message, attr, value or b"", secret, vector)
            if value is None:
                continue
        assert value is not None
        if attr == Attr.RANDOM_VECTOR:
            vector = value
            continue
        if not message.avps and attr != Attr.MESSAGE_TYPE:
            message.faults.append(f"the first AVP is {attr}, not the message type")
        if attr in message.avps:
            message.faults.append(f"AVP {attr} twice")
        if len(value) != _FIXED_LENGTHS.get(attr, len(value)):
            message.faults.append(f"AVP {attr} with a value of {len(value)} bytes")
        message.avps[attr] = value
    message.kind = message.number(Attr.MESSAGE_TYPE)


def _reveal_avp(
    message: Control, attr: int, value: bytes, secret: bytes, vector: bytes | None
) -> bytes | None:
    if vector is None:
        message.faults.append(f"hidden AVP {attr} without a random vector before it")
        return None
    if not secret:
        message.faults.append(f"hidden AVP {attr} although there is no secret")
        return None
    revealed = reveal(attr, value, secret, vector)
    if revealed is None:
        message.faults.append(f"hidden AVP {attr} cannot be read")
    return revealed


def _check_bits(message: Control, bits: int, vendor: int, attr: int) -> None:
    if bits & 0x3C00:
        message.faults.append(f"AVP {vendor}/{attr} with reserved bits set")
    if vendor:
        if bits & 0x8000:
            message.faults.append(f"mandatory vendor AVP {vendor}/{attr}")
        return
    if bool(bits & 0x8000) == (attr in _OPTIONAL_M):
        missing = "M although the RFC asks for 0" if bits & 0x8000 else "no M bit"
        message.faults.append(f"AVP {attr} with {missing}")
    if bits & 0x4000 and attr in _NEVER_HIDDEN:
        message.faults.append(f"AVP {attr} is hidden, which is not allowed")


def _check_message(message: Control) -> None:
    rules = _ALLOWED.get(message.kind)
    if rules is None:
        message.faults.append(f"message type {message.kind} from an LNS")
        return
    required, optional = rules
    name = Kind(message.kind).name
    present = message.avps.keys() - {Attr.MESSAGE_TYPE}
    for attr in sorted(required - present):
        message.faults.append(f"{name} without AVP {attr}")
    for attr in sorted(present - required - optional):
        message.faults.append(f"{name} with AVP {attr}")
    result = message.avps.get(Attr.RESULT_CODE)
    if result is not None and (len(result) < 2 or len(result) == 3):
        message.faults.append(f"result code AVP with a value of {len(result)} bytes")
