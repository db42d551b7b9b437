"""What the parts of a node have in common."""

from collections import deque

from l2tpns_core.cluster.counters import ClusterCounters
from l2tpns_core.cluster.errors import ClusterError
from l2tpns_core.cluster.events import Event
from l2tpns_core.cluster.membership import Members
from l2tpns_core.cluster.messages import Message
from l2tpns_core.cluster.reporting import Reporting
from l2tpns_core.cluster.seal import Seal
from l2tpns_core.cluster.settings import ClusterSettings


class Context:
    """Settings, peers, counters, and what waits to be told or sent."""

    def __init__(self, settings: ClusterSettings, started_ms: int, wall_ahead: float) -> None:
        self.settings = settings
        self.started = started_ms
        self.wall_ahead = wall_ahead
        """Unix time minus the time that we are told; set it again when the clock was set."""
        self.members = Members()
        self.counters = ClusterCounters()
        self.reporting = Reporting(started_ms // 1000)
        self.highest_term = 0
        self.draining = False
        self.promising = True
        """Whether this node, as a slave, waits for the timeout before it wants another master."""
        self.events: deque[Event] = deque()
        self.outgoing: deque[tuple[int | None, bytes]] = deque()
        self._seal = Seal(settings.secret, settings.address, started_ms)

    @property
    def address(self) -> int:
        return self.settings.address

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def send(self, message: Message, now: float, to: int | None = None) -> None:
        """To a node, or to all."""
        try:
            data = self._seal.seal(message, now + self.wall_ahead)
        except ClusterError as error:
            self.counters.refused[error.refusal] += 1
            return
        self.counters.sent += 1
        self.counters.sent_octets += len(data)
        self.outgoing.append((to, data))

    def open(self, data: bytes, now: float) -> tuple[int, Message] | None:
        """Raises ClusterError."""
        return self._seal.open(data, now + self.wall_ahead)
