"""What a link tells its owner."""

import enum
from dataclasses import dataclass, field

from l2tpns_core.ppp.config import AuthProtocol


class CloseReason(enum.Enum):
    """Why a link ended."""

    PEER_TERMINATED = "peer terminated"
    LOST = "lost"
    NEGOTIATION_FAILED = "negotiation failed"
    AUTHENTICATION_FAILED = "authentication failed"
    AUTHENTICATION_TIMEOUT = "authentication timeout"
    LOOPED = "looped"
    LOCAL = "local"


@dataclass(slots=True, frozen=True)
class PapLogin:
    """A PAP Authenticate-Request (RFC 1334 section 2.2.1)."""

    password: bytes = field(repr=False)


@dataclass(slots=True, frozen=True)
class ChapLogin:
    """A CHAP-MD5 Response to our Challenge, or to the LAC's (RFC 1994)."""

    identifier: int
    challenge: bytes = field(repr=False)
    response: bytes = field(repr=False)
    """16 bytes."""


@dataclass(slots=True, frozen=True)
class MsChapV2Login:
    """An MS-CHAPv2 Response (RFC 2759 section 4)."""

    identifier: int
    challenge: bytes = field(repr=False)
    response49: bytes = field(repr=False)
    """The value field: peer challenge, reserved, NT response, flags."""


Login = PapLogin | ChapLogin | MsChapV2Login


@dataclass(slots=True, frozen=True)
class AuthenticationRequested:
    """The peer wants in: answer with Link.accept() or Link.reject()."""

    protocol: AuthProtocol
    user: bytes
    credentials: Login
    repeated: bool = False
    """The answer to a re-challenge of a peer that is logged in already."""


@dataclass(slots=True, frozen=True)
class AddressRequested:
    """The peer began IPCP before open_network() was called; its request is kept until then."""

    ip: int
    """The address that it would like, host order; 0 when it leaves the choice to us."""


@dataclass(slots=True, frozen=True)
class NetworkOpened:
    """IPCP is Opened: IPv4 packets may pass."""


@dataclass(slots=True, frozen=True)
class NetworkClosed:
    """IPCP ended or never came up, while the link stays."""

    reason: str
    renegotiating: bool = False
    """The peer began IPCP anew; NetworkOpened, or another NetworkClosed, follows."""


@dataclass(slots=True, frozen=True)
class LineChanged:
    """By its last LCP echoes the line has become bad, or is good again."""

    bad: bool
    lost: int
    echoes: int


@dataclass(slots=True, frozen=True)
class LinkRestarted:
    """The peer negotiates LCP anew: the network is down and authentication starts over.

    What was asked with AuthenticationRequested before is void and must not be answered.
    """


@dataclass(slots=True, frozen=True)
class LinkClosed:
    """The link is over; sent exactly once and last. No NetworkClosed comes before it."""

    reason: CloseReason
    text: str


Event = (
    AuthenticationRequested
    | AddressRequested
    | NetworkOpened
    | NetworkClosed
    | LineChanged
    | LinkRestarted
    | LinkClosed
)
