"""What `show bgp` tells, and metrics."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class PeerStatus:
    """A line of `show bgp`."""

    address: str
    asn: int
    state: str
    since: float
    """Unix time."""
    ups: int
    """Sessions so far."""
    is_suspended: bool
    announces: bool
    announced: int
    pending: int
    hold_s: int
    reason: str
