"""What a node of a cluster counts."""

from dataclasses import dataclass, field

from l2tpns_core.cluster.errors import Refusal


@dataclass(slots=True)
class ClusterCounters:
    """All since the start of the process."""

    received: int = 0
    sent: int = 0
    sent_octets: int = 0
    refused: dict[Refusal, int] = field(default_factory=lambda: dict.fromkeys(Refusal, 0))
    strays: int = 0
    """Messages of nodes that are not our master and speak as if they were."""
    heartbeats: int = 0
    repeated: int = 0
    """Changes that came again."""
    resends_asked: int = 0
    resends_answered: int = 0
    pieces_sent: int = 0
    rows_refused: int = 0
    """Rows that this version cannot read."""
    transfers: int = 0
    elections: int = 0
    split_brains: int = 0
    forwarded: int = 0
