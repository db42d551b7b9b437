"""What the operator can see of the RADIUS client."""

from dataclasses import dataclass

from l2tpns_core.observe.histogram import Histogram
from l2tpns_core.radius.wire import Discard


@dataclass(slots=True)
class RadiusCounters:
    """What happened since the start. Those of discarded datagrams are named as in wire.Discard."""

    access_requests: int = 0
    accounting_requests: int = 0
    repetitions: int = 0
    """Further tries of a request, at the same server."""
    failovers: int = 0
    """Requests that moved to another server."""
    replies: int = 0
    timeouts: int = 0
    """Requests that no server answered."""
    cancelled: int = 0
    unsendable: int = 0
    refused_full: int = 0
    deaths: int = 0
    """How often a server was given up for a while."""
    network_errors: int = 0
    """ICMP errors and the like."""
    send_failures: int = 0
    malformed: int = 0
    unknown_id: int = 0
    late: int = 0
    duplicate: int = 0
    wrong_code: int = 0
    wrong_authenticator: int = 0
    no_message_authenticator: int = 0
    wrong_message_authenticator: int = 0
    proxy_state: int = 0

    def count(self, kind: Discard) -> None:
        setattr(self, kind.value, getattr(self, kind.value) + 1)


@dataclass(slots=True)
class PendingInfo:
    """One line of `show radius`."""

    id: int
    identifier: int | None
    """None while it waits for its turn."""
    socket: int | None
    server: str
    state: str
    session_key: int | None
    retry_at: float
    """Monotonic time of the loop."""
    tries: int


@dataclass(slots=True)
class ServerCounters:
    """What happened at one port of one server since the start."""

    requests: int = 0
    """Datagrams sent, repetitions too."""
    repetitions: int = 0
    replies: int = 0
    """Replies that were proved to be its own."""
    timeouts: int = 0
    """Sendings that brought no reply in time."""
    failovers: int = 0
    """Requests that went on to another server."""


@dataclass(slots=True)
class ServerInfo:
    """One line for the operator."""

    address: str
    port: int
    purpose: str
    is_dead: bool
    pending: int
    """Requests that are out."""
    waiting: int
    """Requests that wait until some of those are answered."""
    sockets: int
    sends_message_authenticator: bool
    latency: tuple[float, float, float] | None
    """Lowest, mean and highest reply time of the last one to two minutes, in seconds."""
    histogram: Histogram
    """Reply times since the start, in seconds."""
    counters: ServerCounters
