"""Control messages (RFC 2661 sections 3.1 and 4): the header, and a body of AVPs.

 0                   1                   2                   3
 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
+-+-+---+-+-+-+-+-------+-------+-------------------------------+
|1|1|   |1| |0|0|       |   2   |            length             |
|T|L|   |S| |O|P|       |  ver  |                               |
+-+-+---+-+-+-+-+-------+-------+-------------------------------+
|           tunnel id           |          session id           |
+-------------------------------+-------------------------------+
|              Ns               |              Nr               |
+-------------------------------+-------------------------------+
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from l2tpns_core.l2tp.avp import AvpType, DecodedAvps, Hiding, decode_avps, encode_avps
from l2tpns_core.l2tp.codes import (
    DisconnectCause,
    GeneralError,
    MessageType,
    StopResult,
)
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.values import Accm, CallErrors, ResultCode, Value

HEADER: Final = struct.Struct("!6H")
HEADER_BYTES: Final = HEADER.size
CONTROL_FLAGS: Final = 0xC802
FLAGS_MASK: Final = 0xCB0F
"""T, L, S, O, P and the version. Reserved bits are not looked at (section 3.1)."""


class ControlHeader(NamedTuple):
    """The header of a control message; ids are those that the receiver assigned."""

    tunnel_id: int
    session_id: int
    ns: int
    nr: int


def decode_header(datagram: bytes) -> tuple[ControlHeader, bytes]:
    """Split a control datagram into header and body; the body of a ZLB is empty.

    Bytes after the length of the header are dropped. Raises L2tpError when this is no control
    message of L2TPv2; nothing is sent in answer to one.
    """
    if len(datagram) < HEADER_BYTES:
        raise _malformed(f"datagram of {len(datagram)} bytes")
    flags, length, tunnel_id, session_id, ns, nr = HEADER.unpack_from(datagram)
    if flags & FLAGS_MASK != CONTROL_FLAGS:
        raise _malformed(f"flags {flags:#06x}")
    if length < HEADER_BYTES or length > len(datagram):
        raise _malformed(f"length {length} in a datagram of {len(datagram)} bytes")
    return ControlHeader(tunnel_id, session_id, ns, nr), datagram[HEADER_BYTES:length]


def _malformed(text: str) -> L2tpError:
    return L2tpError(StopResult.GENERAL_ERROR, GeneralError.WRONG_LENGTH, text)


def encode_header(tunnel_id: int, session_id: int, ns: int, nr: int, body_bytes: int = 0) -> bytes:
    """The header before a body of so many bytes; alone it is a ZLB."""
    return HEADER.pack(CONTROL_FLAGS, HEADER_BYTES + body_bytes, tunnel_id, session_id, ns, nr)


@dataclass(slots=True)
class Message:
    """The body of a control message, as far as it could be read."""

    type: int
    """A MessageType, or a number that is none."""
    mandatory: bool = True
    """The M bit of the Message Type: whether the tunnel ends when the type is unknown."""
    avps: dict[int, Value] = field(default_factory=dict)
    fault: L2tpError | None = None
    """What section 7.2 does not let us overlook: it ends the call or the tunnel."""
    ignored: int = 0
    hidden_failures: int = 0

    def number(self, kind: AvpType, default: int = 0) -> int:
        """A numeric AVP."""
        value = self.avps.get(kind)
        return value if isinstance(value, int) else default

    def text(self, kind: AvpType) -> str:
        """A text AVP, "" when there is none."""
        value = self.avps.get(kind)
        return value if isinstance(value, str) else ""

    def raw(self, kind: AvpType) -> bytes | None:
        """An AVP of plain bytes."""
        value = self.avps.get(kind)
        return value if isinstance(value, bytes) else None

    def result(self) -> ResultCode:
        """The Result Code; 0 when there is none."""
        value = self.avps.get(AvpType.RESULT_CODE)
        return value if isinstance(value, ResultCode) else ResultCode(0)

    def cause(self) -> DisconnectCause | None:
        """The PPP Disconnect Cause Code (RFC 3145)."""
        value = self.avps.get(AvpType.DISCONNECT_CAUSE)
        return value if isinstance(value, DisconnectCause) else None

    def call_errors(self) -> CallErrors | None:
        """The counters of a WEN."""
        value = self.avps.get(AvpType.CALL_ERRORS)
        return value if isinstance(value, CallErrors) else None

    def accm(self) -> Accm | None:
        """The maps of an SLI."""
        value = self.avps.get(AvpType.ACCM)
        return value if isinstance(value, Accm) else None


def decode_message(body: bytes, secret: bytes = b"") -> Message:
    """Read the body of a control message that is no ZLB.

    Raises L2tpError when it does not begin with a Message Type that can be read, so that nobody can
    tell what it is; everything else that is wrong is in `Message.fault`.
    """
    decoded = decode_avps(body, secret)
    kind = decoded.values.get(AvpType.MESSAGE_TYPE)
    if decoded.order != AvpType.MESSAGE_TYPE or not isinstance(kind, int):
        raise _untyped(decoded)
    return Message(
        type=kind,
        mandatory=decoded.type_is_mandatory,
        avps=decoded.values,
        fault=decoded.fault,
        ignored=decoded.ignored,
        hidden_failures=decoded.hidden_failures,
    )


def _untyped(decoded: DecodedAvps) -> L2tpError:
    text = "first AVP is not the Message Type"
    return decoded.fault or L2tpError(StopResult.GENERAL_ERROR, GeneralError.BAD_VALUE, text)


def encode_message(
    kind: MessageType, avps: Iterable[tuple[AvpType, Value]] = (), hiding: Hiding | None = None
) -> bytes:
    """The body of a control message; with `hiding` AVPs that may be hidden are."""
    return encode_avps(((AvpType.MESSAGE_TYPE, kind), *avps), hiding)
