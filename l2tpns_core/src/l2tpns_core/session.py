"""What a session is, as the operator, RADIUS, the plugins and the data plane see it.

The protocol machines keep their own state (`l2tp.call`, `ppp.link`); this is the record that
outlives a negotiation step. IPv4 addresses are host-order integers, 0 for none; rates are kbit/s;
times are Unix seconds unless a name ends in `_at`, which is the monotonic clock of the daemon.
"""

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from l2tpns_core.l2tp.codes import CdnResult, DisconnectCause, DisconnectCode
from l2tpns_core.life import Life
from l2tpns_core.ppp.link import Link
from l2tpns_core.timers import Timer

if TYPE_CHECKING:
    from l2tpns_core.dataplane.plane import SessionCounters
    from l2tpns_core.l2tp.tunnel import Tunnel

SESSION_ID_BITS = 16
ADMINISTRATIVE = DisconnectCause(DisconnectCode.ADMINISTRATIVE)


def session_key(tunnel_id: int, session_id: int) -> int:
    """The key of a session in every table: our tunnel id and our session id in one integer."""
    return tunnel_id << SESSION_ID_BITS | session_id


class Route(NamedTuple):
    """A network behind a subscriber (Framed-Route)."""

    network: int
    prefix_length: int


class SessionState(enum.Enum):
    """Where a session is in its life."""

    CALLING = "calling"  # ICRQ answered, ICCN awaited
    LINK = "link"  # LCP and authentication
    NETWORK = "network"  # authenticated, NCPs negotiate or are up
    CLOSING = "closing"  # the client has been told, and has a while to answer
    ENDED = "ended"  # leaves every table, or has left them


class AddressSource(enum.Enum):
    """Where the subscriber's address came from."""

    NONE = "none"
    POOL = "pool"
    RADIUS = "radius"
    CLIENT = "client"
    """RADIUS lets the subscriber choose."""


class TerminateCause(enum.IntEnum):
    """Acct-Terminate-Cause (RFC 2866 section 5.10)."""

    USER_REQUEST = 1
    LOST_CARRIER = 2
    LOST_SERVICE = 3
    IDLE_TIMEOUT = 4
    SESSION_TIMEOUT = 5
    ADMIN_RESET = 6
    ADMIN_REBOOT = 7
    PORT_ERROR = 8
    NAS_ERROR = 9
    NAS_REQUEST = 10
    NAS_REBOOT = 11
    SERVICE_UNAVAILABLE = 15
    USER_ERROR = 17
    REAUTHENTICATION_FAILURE = 20


@dataclass(slots=True, frozen=True)
class Ending:
    """Why a session ends, in the words of everybody who is told: the operator (reason), RADIUS
    (Acct-Terminate-Cause), the LAC (CDN result and error of RFC 2661, cause of RFC 3145)."""

    reason: str
    cause: TerminateCause
    result: int = CdnResult.ADMINISTRATIVE
    error: int = 0
    disconnect_cause: DisconnectCause | None = ADMINISTRATIVE
    lac_knows: bool = False
    """It came from the LAC, or the LAC is gone: no CDN."""


@dataclass(slots=True, eq=False)
class Session:
    """One subscriber's PPP session. Identity is the object; `key` is unique among live sessions."""

    tunnel_id: int
    session_id: int
    peer_session_id: int
    unique: int
    """Counts up over the life of the daemon; part of the accounting id, never reused."""
    opened: float
    """Unix time of the ICRQ."""
    link: Link | None
    lac_address: str
    """Address of the LAC, for RADIUS and the operator."""
    tunnel: "Tunnel | None" = None
    timer: Timer | None = None
    """Fires at the next thing that is due for the session, of the link or of its own limits."""
    state: SessionState = SessionState.CALLING
    user: str = ""
    calling_number: str = ""
    called_number: str = ""
    tx_speed: int = 0
    """Connect speed towards the subscriber in bit/s, as the LAC reports it."""
    rx_speed: int = 0
    ip: int = 0
    address_source: AddressSource = AddressSource.NONE
    netmask: int = 0xFFFFFFFF
    routes: tuple[Route, ...] = ()
    dns: tuple[int, int] = (0, 0)
    mru: int = 1500
    """Largest IP packet that the subscriber takes, in bytes."""
    session_timeout: int = 0
    idle_timeout: int = 0
    interim_interval: int = 0
    """Seconds between Interim-Updates, 0 for none."""
    next_interim_at: float = 0.0
    setup_ends_at: float = 0.0
    """When we give up waiting for what the session needs next: the ICCN, or the wish of a client
    that may choose its address. 0.0 when nothing is awaited."""
    radius_handle: int = 0
    """The Access-Request that is under way, 0 for none."""
    classes: tuple[bytes, ...] = ()
    filter_in: str = ""
    filter_out: str = ""
    throttle_in: int = 0
    """kbit/s from the subscriber, 0 for no limit."""
    throttle_out: int = 0
    snoop_ip: int = 0
    snoop_port: int = 0
    walled_garden: bool = False
    network_up: bool = False
    """IPCP is Opened: packets are forwarded."""
    network_up_at: float = 0.0
    """When IPCP was opened for the first time; 0.0 before that."""
    ends_at: float = 0.0
    """When Session-Timeout ends the session, 0.0 for never."""
    idle_check_at: float = 0.0
    accounting_started: bool = False
    start_sent_at: float = 0.0
    counted_before: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Octets in and out, packets in and out that are not the user's: from before the session left
    the walled garden."""
    reported: tuple[int, int] = (0, 0)
    """Octets in and out that are in files of accounting_dir already."""
    final_usage: "SessionCounters | None" = None
    """What it has used in all, once it has left the data plane."""
    ending: "Ending | None" = None
    """Why the session ends; set once, first reason wins."""
    life: Life | None = None
    """What happened to it, for `why`."""
    plugin_data: dict[str, object] | None = None
    """What plugins keep with the session, each under its own name; gone when it is unloaded."""

    @property
    def key(self) -> int:
        return self.tunnel_id << SESSION_ID_BITS | self.session_id

    @property
    def is_admitted(self) -> bool:
        """A login of it was let in, and what RADIUS said with that is in force."""
        return self.address_source is not AddressSource.NONE

    @property
    def is_going(self) -> bool:
        """Its end has begun: whatever it was about to do is off."""
        return self.state in (SessionState.CLOSING, SessionState.ENDED)

    def log_ids(self) -> dict[str, object]:
        """For `extra=` of a log call."""
        return {"tunnel": self.tunnel_id, "session": self.session_id, "user": self.user}

    @property
    def accounting_id(self) -> str:
        """Acct-Session-Id: 16 hex digits, the same for the whole life of the session."""
        return accounting_id_of(self.unique, self.opened)


def accounting_id_of(unique: int, opened: float) -> str:
    """The Acct-Session-Id of a session with that number and time."""
    return f"{unique & 0xFFFFFFFF:08X}{int(opened) & 0xFFFFFFFF:08X}"
