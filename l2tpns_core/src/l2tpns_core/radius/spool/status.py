"""What the operator can see of the spool."""

from dataclasses import dataclass


@dataclass(slots=True)
class SpoolCounters:
    """What became of records that no server took, since the start."""

    kept: int = 0
    """Records that were put into the spool."""
    delivered: int = 0
    superseded: int = 0
    """Interim-Updates that a newer report of their session made needless."""
    dropped: int = 0
    """Records for which there was no room."""
    refused: int = 0
    """Records that were given up, because servers acknowledged others but never these."""
    outages: int = 0
    """How often nobody took accounting records."""


@dataclass(slots=True, frozen=True)
class SpoolStatus:
    """The spool as it is."""

    records: int
    octets: int
    limit: int
    """Most octets of records."""
    oldest_age_s: float | None
    """How long ago the oldest record's event was; None when there is none."""
    in_flight: int
    dropped: int
    """Records for which there was no room, since the start."""
    is_down: bool
    """No server takes records at the moment."""
    on_disk: bool
