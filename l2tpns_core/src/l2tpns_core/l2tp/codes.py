"""The numbers of RFC 2661 (sections 3.2 and 4.4.2) and RFC 3145, with what they mean."""

import enum
from typing import NamedTuple, Self


class MessageType(enum.IntEnum):
    """Control messages (RFC 2661 section 3.2)."""

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


SESSION_MESSAGES = frozenset(
    {
        MessageType.OCRQ,
        MessageType.OCRP,
        MessageType.OCCN,
        MessageType.ICRQ,
        MessageType.ICRP,
        MessageType.ICCN,
        MessageType.CDN,
        MessageType.WEN,
        MessageType.SLI,
    }
)
"""Messages about one call. What is wrong with one of them ends that call at most."""


class _Code(enum.IntEnum):
    """A number with a sentence for the operator: members are `NAME = number, text`."""

    text: str

    def __new__(cls, value: int, text: str = "") -> Self:
        member = int.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member


class StopResult(_Code):
    """Result codes of StopCCN."""

    GENERAL_REQUEST = 1, "general request to clear the control connection"
    GENERAL_ERROR = 2, "general error"
    ALREADY_EXISTS = 3, "control channel already exists"
    NOT_AUTHORIZED = 4, "requester is not authorized"
    UNSUPPORTED_VERSION = 5, "protocol version is not supported"
    SHUTTING_DOWN = 6, "requester is being shut down"
    STATE_ERROR = 7, "message does not fit the state of the control connection"


class CdnResult(_Code):
    """Result codes of CDN."""

    LOST_CARRIER = 1, "lost carrier"
    GENERAL_ERROR = 2, "general error"
    ADMINISTRATIVE = 3, "administrative reasons"
    NO_FACILITIES_TEMPORARY = 4, "no facilities at the moment"
    NO_FACILITIES_PERMANENT = 5, "no facilities"
    INVALID_DESTINATION = 6, "invalid destination"
    NO_CARRIER = 7, "no carrier detected"
    BUSY = 8, "busy signal"
    NO_DIAL_TONE = 9, "no dial tone"
    TIMED_OUT = 10, "call was not set up in time"
    NO_FRAMING = 11, "no appropriate framing detected"


class GeneralError(_Code):
    """Error codes, which tell more about a result code, mostly GENERAL_ERROR."""

    NONE = 0, "no general error"
    NO_CONTROL_CONNECTION = 1, "no control connection exists yet"
    WRONG_LENGTH = 2, "length is wrong"
    BAD_VALUE = 3, "field value is out of range"
    NO_RESOURCES = 4, "insufficient resources"
    INVALID_SESSION = 5, "session id is invalid in this context"
    VENDOR_ERROR = 6, "generic vendor-specific error"
    TRY_ANOTHER = 7, "try another LNS"
    UNKNOWN_AVP = 8, "unknown mandatory AVP"


class DisconnectCode(_Code):
    """Why PPP ended (RFC 3145 section 3)."""

    NO_INFORMATION = 0, "no information"
    ADMINISTRATIVE = 1, "administrative disconnect"
    RENEGOTIATION_DISABLED = 2, "LCP renegotiation is disabled and proxy LCP information is missing"
    NORMAL = 3, "normal disconnection, LCP Terminate-Request"
    ENCRYPTION_REFUSED = 4, "compulsory encryption was refused"
    LCP_TIMEOUT = 5, "LCP did not converge in time"
    LCP_SILENT = 6, "no recognizable LCP packets"
    LCP_LOOPED = 7, "LCP magic number: link is possibly looped back"
    LCP_ECHO_TIMEOUT = 8, "no answer to LCP Echo-Request"
    BUNDLE_DISCRIMINATOR = 9, "unexpected endpoint discriminator for the multilink bundle"
    BUNDLE_MRRU = 10, "unexpected MRRU for the multilink bundle"
    BUNDLE_SEQUENCE = 11, "unexpected short sequence numbers for the multilink bundle"
    CALLBACK_REFUSED = 12, "compulsory call-back was refused"
    AUTH_TIMEOUT = 13, "authentication did not finish in time"
    BUNDLE_NAME = 14, "unexpected authenticated name for the multilink bundle"
    AUTH_PROTOCOL_REFUSED = 15, "authentication protocol is not acceptable"
    AUTH_FAILED = 16, "authentication failed"
    NCP_TIMEOUT = 17, "NCP did not converge in time"
    NO_NCP = 18, "no NCP is available"
    NO_ADDRESS = 19, "NCP did not converge on acceptable addresses"
    ADDRESS_FORBIDDEN = 20, "user may not use any address"


class DisconnectDirection(enum.IntEnum):
    """Whose doing a disconnection was (RFC 3145 section 2)."""

    GLOBAL = 0
    PEER = 1
    """Of the subscriber, seen from the sender of the CDN."""
    LOCAL = 2


class DisconnectCause(NamedTuple):
    """The PPP Disconnect Cause Code AVP. `code` may be a number that RFC 3145 does not have."""

    code: int
    protocol: int = 0
    """PPP protocol number of the control protocol concerned, 0 for none."""
    direction: int = DisconnectDirection.GLOBAL
    message: str = ""
