"""Settings of the L2TP endpoint, and what its tunnels share."""

from dataclasses import dataclass, field

Peer = tuple[str, int]
"""Address and UDP port of a LAC."""


@dataclass(slots=True)
class EndpointConfig:
    """Settings of all tunnels of an LNS; a tunnel keeps what it was opened with."""

    hostname: str
    """Our Host Name in SCCRP."""
    vendor_name: str = ""
    """Our Vendor Name in SCCRP; "" sends none."""
    secret: bytes = field(default=b"", repr=False)
    """Shared with the LACs: answers their challenges, hides and reveals AVPs."""
    challenge_peer: bool = False
    """Whether a LAC must prove that it knows the secret."""
    hide_avps: bool = False
    """Whether we hide what may be hidden; without a secret nothing is."""
    receive_window: int = 128
    """Messages that a LAC may have under way to us, 1 to 32768."""
    retransmit_initial_s: float = 1.0
    """How long a message waits at first for its acknowledgement; a measured round trip shortens it.
    The wait doubles each time."""
    retransmit_cap_s: float = 8.0
    """Longest time between two transmissions of a message; RFC 2661 wants no less than 8."""
    max_retransmits: int = 7
    """Retransmissions of one message before the peer counts as dead; RFC 2661 suggests 5. Where the
    first wait is shortened there are more of them in the same time."""
    hello_interval_s: float = 60.0
    """Silence of a LAC before HELLO asks whether it is there; 0 never asks."""
    ack_delay_s: float = 0.1
    """How long an acknowledgement may wait for a message to travel with; well below the second
    after which a LAC sends again."""
    max_tunnels: int = 65535
    max_sessions_per_tunnel: int = 65535
    max_half_open: int = 1000
    """Tunnels whose LAC has not answered our SCCRP; what spoofed addresses can cost."""
    max_half_open_per_source: int = 32
    """The same for one address."""
    setup_timeout_s: float = 60.0
    """From SCCRQ to SCCCN."""

    @property
    def retry_cycle_s(self) -> float:
        """From the first transmission of a message to giving up on it, whatever the round trip. A
        closed tunnel is remembered that long, so that a peer who missed our acknowledgement gets it
        again."""
        total, interval = 0.0, self.retransmit_initial_s
        for _ in range(self.max_retransmits + 1):
            total += min(interval, self.retransmit_cap_s)
            interval = min(interval * 2, self.retransmit_cap_s)
        return total


@dataclass(slots=True)
class EndpointCounters:
    """What happened on the control plane since the start."""

    received: int = 0
    """Control datagrams."""
    malformed: int = 0
    """Datagrams without a valid header, and messages that nobody can make sense of."""
    unknown_tunnel: int = 0
    wrong_peer: int = 0
    """Right tunnel, other address or port."""
    duplicates_sccrq: int = 0
    refused_limit: int = 0
    """SCCRQs refused because of max_tunnels, max_half_open or max_half_open_per_source."""
    refused_sccrq: int = 0
    """SCCRQs refused for what they say, or because we shut down."""
    not_authorized: int = 0
    """LACs that did not prove the secret."""
    unanswered_challenges: int = 0
    """LACs that challenged us although we have no secret."""
    faulty_messages: int = 0
    """Messages that ended their call or tunnel."""
    unknown_message: int = 0
    """Messages of unknown type without the M bit, passed over."""
    unexpected_message: int = 0
    """Messages that do not fit the state, passed over or answered with StopCCN or CDN."""
    unknown_avp: int = 0
    """AVPs passed over: unknown, unreadable or repeated."""
    hidden_failures: int = 0
    """Hidden AVPs that could not be read."""
    refused_calls: int = 0
    """ICRQs and OCRQs refused here, without asking the LNS."""
    superseded: int = 0
    """Tunnels dropped because their LAC opened a new one under the same id."""
    peers_lost: int = 0
    """Tunnels whose LAC stopped acknowledging."""
    retransmissions: int = 0
    """Control messages that were sent again, because no acknowledgement came."""


@dataclass(slots=True)
class Shared:
    """What an endpoint and its tunnels both look at."""

    counters: EndpointCounters = field(default_factory=EndpointCounters)
    accepting: bool = True
    """Whether new tunnels and calls are welcome."""
