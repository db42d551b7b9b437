"""What an operator says of the cluster."""

from dataclasses import dataclass
from typing import Final

MIN_INTERVAL_S: Final = 0.05
MAX_INTERVAL_S: Final = 3_600.0
LIVE_INTERVALS: Final = 4
"""A node that was not heard for so long takes no part in an election."""
TIMEOUT_INTERVALS: Final = 6
"""A timeout is this many intervals at least, or else a few lost datagrams would end a reign."""


@dataclass(slots=True)
class ClusterSettings:
    """All times in seconds."""

    address: int
    """Of this node on cluster_interface."""
    secret: bytes
    interval: float = 0.5
    timeout: float = 15.0
    min_followers: int = 1
    """Slaves that are up to date before the master gives up its routes."""
    quorum: int = 1
    """Nodes, this one included, that must be heard for one of them to be master."""
    elects: bool = True
    """False when something else, such as etcd, says who is master."""

    def __post_init__(self) -> None:
        self.take_times(self.interval, self.timeout)

    def take_times(self, interval: float, timeout: float) -> None:
        """Ours, or those of the master."""
        self.interval = min(max(interval, MIN_INTERVAL_S), MAX_INTERVAL_S)
        longest = MAX_INTERVAL_S * TIMEOUT_INTERVALS
        self.timeout = min(max(timeout, self.interval * TIMEOUT_INTERVALS), longest)

    @property
    def live(self) -> float:
        return self.interval * LIVE_INTERVALS
