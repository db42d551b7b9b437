"""What `show cluster` tells, and metrics."""

from dataclasses import dataclass, field


@dataclass(slots=True, frozen=True)
class ClusterPeerReport:
    """Another node."""

    address: str
    role: str
    started: float
    """Unix time; 0.0 where it is not known."""
    heard_ago_s: float
    up_to_date: bool
    draining: bool
    behind: int
    """Changes of the master that it has not acknowledged, as far as this node knows."""


@dataclass(slots=True, frozen=True)
class ClusterReport:
    """This node and what it knows of the others."""

    role: str
    """`master`, `slave`, `resigning` or `stopped`."""
    decides: bool
    """Whether its LNS is at work."""
    address: str
    vip: str
    interface: str
    group: str
    """Multicast address; empty where nodes are named one by one."""
    port: int
    since: float
    """When it came to be what it is; Unix time."""
    master: str
    """Empty when there is none."""
    up_to_date: bool
    draws_traffic: bool
    draining: bool
    reign: int
    sequence: int
    followers: int
    """Slaves that are up to date, of a master."""
    sessions: int
    tunnels: int
    takeovers: int
    lost_changes: int
    """Of this node's time as a master, that another master did not know of."""
    backend: str = "multicast"
    backend_state: str = ""
    peers: tuple[ClusterPeerReport, ...] = ()
    counters: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    """Messages by why they were not taken."""
