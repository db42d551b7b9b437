"""What a link is told from outside: settings, the proxy data of the LAC, the addresses."""

import enum
from dataclasses import dataclass, field


class AuthProtocol(enum.Enum):
    """Ways to log in; the value is that of LCP option 3 (RFC 1661 section 6.2)."""

    PAP = b"\xc0\x23"
    CHAP_MD5 = b"\xc2\x23\x05"
    MSCHAP_V2 = b"\xc2\x23\x81"


class LcpRenegotiation(enum.Enum):
    """What to do with the LCP that the LAC has negotiated already (RFC 2661 section 4.4.5)."""

    ALWAYS = "always"
    ON_MISMATCH = "on-mismatch"


@dataclass(slots=True)
class LinkConfig:
    """Settings that all links share. Durations are seconds."""

    hostname: str
    """Our name in a CHAP Challenge."""
    mru: int = 1462
    """Largest packet that we ask the peer to send, in bytes."""
    auth: tuple[AuthProtocol, ...] = (AuthProtocol.PAP,)
    """What the peer may log in with, best first; at least one."""
    restart_s: float = 3.0
    max_configure: int = 10
    """Configure-Requests without an answer, and refusals of them, before we give up."""
    max_failure: int = 5
    """Configure-Naks sent before an unacceptable option is rejected."""
    max_terminate: int = 2
    echo_interval_s: float = 10.0
    """Silence before an Echo-Request; 0 sends none."""
    dead_after_s: float = 240.0
    """Silence before the link counts as lost; 0 waits for ever."""
    echo_only_idle: bool = True
    echo_busy_s: float = 0.0
    """False sends an Echo-Request at every interval, traffic or not."""
    login_timeout_s: float = 60.0
    """From the start of the link to a successful login."""
    chap_retry_s: float = 3.0
    chap_max_tries: int = 5
    rechallenge_s: float = 0.0
    """Time from one successful CHAP exchange to the next Challenge; 0 asks only once."""
    max_auth_failures: int = 1
    """Refused logins before the link ends."""
    renegotiate: LcpRenegotiation = LcpRenegotiation.ALWAYS

    def __post_init__(self) -> None:
        if not self.auth:
            raise ValueError("no authentication protocol is allowed")


@dataclass(slots=True, frozen=True)
class NetworkConfig:
    """The addresses of a link as host-order integers; 0 for a DNS server that there is not."""

    local_ip: int
    peer_ip: int
    dns: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class ProxyLcp:
    """What the LAC did before it passed the call on (RFC 2661 section 4.4.5)."""

    initial_received_lcp: bytes | None = None
    last_sent_lcp: bytes | None = None
    last_received_lcp: bytes | None = None
    auth_type: int | None = None
    auth_name: bytes | None = None
    auth_challenge: bytes | None = field(default=None, repr=False)
    auth_id: int | None = None
    auth_response: bytes | None = field(default=None, repr=False)
