"""What the LNS asks of RADIUS and what it gets back; no socket and no packet in here.

IPv4 addresses are host-order integers, 0 for none. Times named `_time` are Unix seconds.
"""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True, frozen=True)
class PapCredentials:
    """What a PAP Authenticate-Request carries (RFC 1334 section 2.2.1)."""

    password: bytes = field(repr=False)


@dataclass(slots=True, frozen=True)
class ChapCredentials:
    """A CHAP-MD5 response (RFC 1994): goes out as CHAP-Password and CHAP-Challenge."""

    identifier: int
    challenge: bytes = field(repr=False)
    response: bytes = field(repr=False)


@dataclass(slots=True, frozen=True)
class MsChapV2Credentials:
    """An MS-CHAPv2 response (RFC 2759): goes out as MS-CHAP-Challenge and MS-CHAP2-Response.

    `response` is the 49-byte value field of the CHAP Response packet.
    """

    identifier: int
    challenge: bytes = field(repr=False)
    response: bytes = field(repr=False)


Credentials = PapCredentials | ChapCredentials | MsChapV2Credentials


@dataclass(slots=True)
class SessionIdentity:
    """The attributes that requests of every kind carry about a session."""

    session_key: int
    tunnel_id: int
    session_id: int
    """Goes out as NAS-Port."""
    user: str
    accounting_id: str
    calling_number: str = ""
    called_number: str = ""
    connect_info: str = ""
    """For instance `1024000/128000`: speed to and from the subscriber in bit/s."""
    lac_address: str = ""
    """Tunnel-Client-Endpoint."""
    ip: int = 0
    netmask: int = 0
    """0 sends no Framed-IP-Netmask."""
    classes: tuple[bytes, ...] = ()


@dataclass(slots=True)
class AccessRequest:
    identity: SessionIdentity
    user: bytes
    """The user name exactly as the client sent it."""
    credentials: Credentials


class AccessOutcome(enum.Enum):
    ACCEPT = "accept"
    REJECT = "reject"
    TIMEOUT = "timeout"
    """No server gave a valid answer in time, or none is configured."""


@dataclass(slots=True, frozen=True)
class FramedRoute:
    network: int
    prefix_length: int


@dataclass(slots=True)
class AccessReply:
    """The verdict and the attributes of a verified Access-Accept or Access-Reject.

    A malformed attribute is left out and named in `problems`; it never makes the reply fail.
    """

    outcome: AccessOutcome
    framed_ip: int = 0
    """0 when absent; 255.255.255.254 and .255 are given as they came."""
    framed_netmask: int = 0
    routes: tuple[FramedRoute, ...] = ()
    dns: tuple[int, int] = (0, 0)
    session_timeout: int | None = None
    idle_timeout: int | None = None
    interim_interval: int | None = None
    classes: tuple[bytes, ...] = ()
    reply_message: str = ""
    filter_ids: tuple[str, ...] = ()
    avpairs: tuple[tuple[str, str], ...] = ()
    """Cisco-AVPair values split into (key, value)."""
    ms_chap2_success: bytes = b""
    """The 42-byte authenticator response with its leading identifier removed (`S=…`)."""
    ms_chap_error: bytes = b""
    """`E=691 R=…` with its leading identifier removed."""
    attributes: dict[str, list[object]] = field(default_factory=dict)
    """Every attribute by dictionary name, decoded; what the post_auth event hands to plugins."""
    problems: tuple[str, ...] = ()


class AccountingStatus(enum.IntEnum):
    START = 1
    STOP = 2
    INTERIM = 3
    ACCOUNTING_ON = 7
    ACCOUNTING_OFF = 8


@dataclass(slots=True, frozen=True)
class Usage:
    """Traffic of a session in IP bytes and packets; `in` is from the subscriber."""

    octets_in: int = 0
    octets_out: int = 0
    packets_in: int = 0
    packets_out: int = 0


@dataclass(slots=True)
class AccountingRecord:
    """One Accounting-Request. It keeps its content however often it is sent again; only
    Acct-Delay-Time follows the clock."""

    status: AccountingStatus
    event_time: float
    identity: SessionIdentity | None = None
    """None for Accounting-On and -Off."""
    usage: Usage | None = None
    session_time: int = 0
    terminate_cause: int | None = None
    reason: str = ""
    """Why a session ended, in words; goes out as Cisco-AVPair `disc-cause-ext=…` with a Stop."""
    extra: list[tuple[str, object]] = field(default_factory=list)
    """Further attributes by dictionary name (event radius_account)."""


class Authenticator(Protocol):
    """What the LNS needs of RADIUS. Callbacks run on the loop, later than the call, once each,
    and not at all after cancel()."""

    def authenticate(self, request: AccessRequest, done: Callable[[AccessReply], None]) -> int:
        """Ask; return a handle for cancel()."""

    def account(self, record: AccountingRecord, done: Callable[[bool], None]) -> int:
        """Report; done(True) when a server acknowledged it, done(False) when none did."""

    def cancel(self, handle: int) -> None:
        """Forget a request; a reply that still comes is counted as late."""
