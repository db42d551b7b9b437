"""Attribute-Value Pairs (RFC 2661 section 4): the table of all of them, and the codec.

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+-------+-------------------+-------------------------------+
|M|H| rsvd  |      length       |           vendor id           |
+-+-+-------+-------------------+-------------------------------+
|        attribute type         |  value …
+-------------------------------+------------
"""

import enum
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from l2tpns_core.l2tp.codes import GeneralError, StopResult
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.hiding import BLOCK_BYTES, LENGTH_BYTES, hide, reveal
from l2tpns_core.l2tp.values import READERS, WRITERS, Format, Value

HEADER: Final = struct.Struct("!HHH")
HEADER_BYTES: Final = HEADER.size
MANDATORY_BIT: Final = 0x8000
HIDDEN_BIT: Final = 0x4000
RESERVED_BITS: Final = 0x3C00
LENGTH_MASK: Final = 0x03FF
MAX_VALUE_BYTES: Final = LENGTH_MASK - HEADER_BYTES
MAX_AVPS: Final = 128
"""AVPs in one message; a message with more is malformed."""
VECTOR_BYTES: Final = 16


class AvpType(enum.IntEnum):
    """Attribute types of vendor 0."""

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
    MINIMUM_BPS = 16
    MAXIMUM_BPS = 17
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


class AvpSpec(NamedTuple):
    """What the table says of one attribute type."""

    type: AvpType
    name: str
    format: Format
    mandatory: bool
    """The M bit as we send it; what a peer sends counts as it comes."""
    hideable: bool


_A = AvpType
_F = Format
TABLE: Final[dict[int, AvpSpec]] = {
    spec.type: spec
    for spec in (
        AvpSpec(_A.MESSAGE_TYPE, "Message Type", _F.UINT16, True, False),
        AvpSpec(_A.RESULT_CODE, "Result Code", _F.RESULT_CODE, True, False),
        AvpSpec(_A.PROTOCOL_VERSION, "Protocol Version", _F.UINT16, True, False),
        AvpSpec(_A.FRAMING_CAPABILITIES, "Framing Capabilities", _F.UINT32, True, True),
        AvpSpec(_A.BEARER_CAPABILITIES, "Bearer Capabilities", _F.UINT32, True, True),
        AvpSpec(_A.TIE_BREAKER, "Tie Breaker", _F.UINT64, False, False),
        AvpSpec(_A.FIRMWARE_REVISION, "Firmware Revision", _F.UINT16, False, True),
        AvpSpec(_A.HOST_NAME, "Host Name", _F.NAME, True, False),
        AvpSpec(_A.VENDOR_NAME, "Vendor Name", _F.TEXT, False, True),
        AvpSpec(_A.ASSIGNED_TUNNEL_ID, "Assigned Tunnel ID", _F.UINT16, True, True),
        AvpSpec(_A.RECEIVE_WINDOW_SIZE, "Receive Window Size", _F.UINT16, True, False),
        AvpSpec(_A.CHALLENGE, "Challenge", _F.SEED, True, True),
        AvpSpec(_A.Q931_CAUSE, "Q.931 Cause Code", _F.Q931_CAUSE, True, False),
        AvpSpec(_A.CHALLENGE_RESPONSE, "Challenge Response", _F.DIGEST, True, True),
        AvpSpec(_A.ASSIGNED_SESSION_ID, "Assigned Session ID", _F.UINT16, True, True),
        AvpSpec(_A.CALL_SERIAL_NUMBER, "Call Serial Number", _F.UINT32, True, True),
        AvpSpec(_A.MINIMUM_BPS, "Minimum BPS", _F.UINT32, True, True),
        AvpSpec(_A.MAXIMUM_BPS, "Maximum BPS", _F.UINT32, True, True),
        AvpSpec(_A.BEARER_TYPE, "Bearer Type", _F.UINT32, True, True),
        AvpSpec(_A.FRAMING_TYPE, "Framing Type", _F.UINT32, True, True),
        AvpSpec(_A.CALLED_NUMBER, "Called Number", _F.TEXT, True, True),
        AvpSpec(_A.CALLING_NUMBER, "Calling Number", _F.TEXT, True, True),
        AvpSpec(_A.SUB_ADDRESS, "Sub-Address", _F.TEXT, True, True),
        AvpSpec(_A.TX_CONNECT_SPEED, "(Tx) Connect Speed", _F.SPEED, True, True),
        AvpSpec(_A.PHYSICAL_CHANNEL_ID, "Physical Channel ID", _F.UINT32, False, True),
        AvpSpec(_A.INITIAL_RECEIVED_LCP, "Initial Received LCP CONFREQ", _F.BYTES, False, True),
        AvpSpec(_A.LAST_SENT_LCP, "Last Sent LCP CONFREQ", _F.BYTES, False, True),
        AvpSpec(_A.LAST_RECEIVED_LCP, "Last Received LCP CONFREQ", _F.BYTES, False, True),
        AvpSpec(_A.PROXY_AUTH_TYPE, "Proxy Authen Type", _F.UINT16, False, True),
        AvpSpec(_A.PROXY_AUTH_NAME, "Proxy Authen Name", _F.BYTES, False, True),
        AvpSpec(_A.PROXY_AUTH_CHALLENGE, "Proxy Authen Challenge", _F.BYTES, False, True),
        AvpSpec(_A.PROXY_AUTH_ID, "Proxy Authen ID", _F.UINT16, False, True),
        AvpSpec(_A.PROXY_AUTH_RESPONSE, "Proxy Authen Response", _F.BYTES, False, True),
        AvpSpec(_A.CALL_ERRORS, "Call Errors", _F.CALL_ERRORS, True, True),
        AvpSpec(_A.ACCM, "ACCM", _F.ACCM, True, True),
        AvpSpec(_A.RANDOM_VECTOR, "Random Vector", _F.SEED, True, False),
        AvpSpec(_A.PRIVATE_GROUP_ID, "Private Group ID", _F.TEXT, False, True),
        AvpSpec(_A.RX_CONNECT_SPEED, "Rx Connect Speed", _F.SPEED, False, True),
        AvpSpec(_A.SEQUENCING_REQUIRED, "Sequencing Required", _F.FLAG, True, False),
        AvpSpec(_A.DISCONNECT_CAUSE, "PPP Disconnect Cause Code", _F.DISCONNECT_CAUSE, False, True),
    )
}
"""Every AVP of RFC 2661, and that of RFC 3145."""

_READER: Final = {kind: READERS[spec.format] for kind, spec in TABLE.items()}
_WRITER: Final = {
    kind: (WRITERS[spec.format], MANDATORY_BIT if spec.mandatory else 0, spec.hideable)
    for kind, spec in TABLE.items()
}
_CLEAR_ONLY: Final = frozenset({AvpType.MESSAGE_TYPE, AvpType.RANDOM_VECTOR})
"""Types that make no sense hidden: the rest of a message cannot be read without them."""


@dataclass(slots=True)
class DecodedAvps:
    """What a message says, as far as it could be read."""

    values: dict[int, Value] = field(default_factory=dict)
    """By attribute type; of a repeated one the first counts."""
    order: int = -1
    """The attribute type that came first; -1 for none, or one of a vendor."""
    type_is_mandatory: bool = True
    """The M bit of the Message Type."""
    fault: L2tpError | None = None
    """The first thing that section 7.2 does not let us overlook."""
    ignored: int = 0
    """AVPs that were passed over: unknown, unreadable or repeated, without the M bit."""
    hidden_failures: int = 0

    def blame(self, error: int, text: str) -> None:
        """Note a fault; the first one is the one to report."""
        if self.fault is None:
            self.fault = L2tpError(StopResult.GENERAL_ERROR, error, text)


@dataclass(slots=True)
class Hiding:
    """What it takes to send hidden AVPs."""

    secret: bytes = field(repr=False)
    random: Callable[[int], bytes]


def decode_avps(body: bytes, secret: bytes = b"") -> DecodedAvps:
    """Read the AVPs of a message. Never raises: what is wrong is in `fault`, and what could be read
    in spite of it is in `values`, so that the answer can name the call."""
    decoded = DecodedAvps()
    position, end, count = 0, len(body), 0
    vector = b""
    while position < end:
        if end - position < HEADER_BYTES:
            decoded.blame(GeneralError.WRONG_LENGTH, "bytes after the last AVP")
            break
        bits, vendor, kind = HEADER.unpack_from(body, position)
        length = bits & LENGTH_MASK
        if length < HEADER_BYTES or length > end - position:
            decoded.blame(GeneralError.WRONG_LENGTH, f"AVP {kind} with length {length}")
            break
        count += 1
        if count > MAX_AVPS:
            decoded.blame(GeneralError.NO_RESOURCES, f"more than {MAX_AVPS} AVPs")
            break
        if vendor or bits & RESERVED_BITS or kind not in TABLE:
            _pass_over(decoded, bits, vendor, kind)
        else:
            if count == 1:
                decoded.order = kind
                decoded.type_is_mandatory = bits & MANDATORY_BIT != 0
            value = body[position + HEADER_BYTES : position + length]
            if kind == AvpType.RANDOM_VECTOR and not bits & HIDDEN_BIT:
                vector = value
            else:
                _read(decoded, bits, kind, value, secret, vector)
        position += length
    return decoded


def _pass_over(decoded: DecodedAvps, bits: int, vendor: int, kind: int) -> None:
    """An AVP that we do not know (section 4.1); one with reserved bits is treated alike."""
    decoded.ignored += 1
    if bits & MANDATORY_BIT:
        which = f"{kind} of vendor {vendor}" if vendor else f"{kind}"
        decoded.blame(GeneralError.UNKNOWN_AVP, f"unknown mandatory AVP {which}")


def _read(
    decoded: DecodedAvps, bits: int, kind: int, value: bytes, secret: bytes, vector: bytes
) -> None:
    """Read one known AVP into `decoded`. What is wrong with an AVP without the M bit makes it as
    good as unknown (section 7.2)."""
    if kind in decoded.values:
        decoded.ignored += 1
        if kind == AvpType.MESSAGE_TYPE:
            decoded.blame(GeneralError.BAD_VALUE, "more than one Message Type")
        return
    try:
        if bits & HIDDEN_BIT:
            value = _reveal(decoded, kind, value, secret, vector)
        decoded.values[kind] = _READER[kind](value)
    except L2tpError as error:
        decoded.ignored += 1
        if bits & MANDATORY_BIT:
            decoded.blame(error.error, f"{TABLE[kind].name}: {error.text}")


def _reveal(decoded: DecodedAvps, kind: int, value: bytes, secret: bytes, vector: bytes) -> bytes:
    problem = ""
    if kind in _CLEAR_ONLY:
        problem = "may not be hidden"
    elif not secret:
        problem = "hidden, and there is no secret"
    elif not vector:
        problem = "hidden without a Random Vector before it"
    try:
        if problem:
            raise L2tpError(StopResult.GENERAL_ERROR, GeneralError.VENDOR_ERROR, problem)
        return reveal(kind, value, secret, vector)
    except L2tpError:
        decoded.hidden_failures += 1
        raise


def encode_avp(kind: AvpType, value: Value, hidden: tuple[bytes, bytes] | None = None) -> bytes:
    """One AVP; hidden by (secret, random vector). Raises ValueError when the value is too long."""
    write, bits, _ = _WRITER[kind]
    raw = write(value)
    if hidden is not None:
        secret, vector = hidden
        padding = -(LENGTH_BYTES + len(raw)) % BLOCK_BYTES
        raw = hide(kind, raw, secret, vector, bytes(padding))
        bits |= HIDDEN_BIT
    if len(raw) > MAX_VALUE_BYTES:
        raise ValueError(f"value of AVP {kind} is too long: {len(raw)} bytes")
    return HEADER.pack(bits | HEADER_BYTES + len(raw), 0, kind) + raw


def encode_avps(avps: Iterable[tuple[AvpType, Value]], hiding: Hiding | None = None) -> bytes:
    """AVPs one after the other. With `hiding` those that may be are hidden behind one Random
    Vector, each padded to whole blocks so that its length tells little."""
    parts: list[bytes] = []
    vector: bytes | None = None
    for kind, value in avps:
        if hiding is None or not _WRITER[kind][2]:
            parts.append(encode_avp(kind, value))
            continue
        if vector is None:
            vector = hiding.random(VECTOR_BYTES)
            parts.append(encode_avp(AvpType.RANDOM_VECTOR, vector))
        parts.append(encode_avp(kind, value, (hiding.secret, vector)))
    return b"".join(parts)
