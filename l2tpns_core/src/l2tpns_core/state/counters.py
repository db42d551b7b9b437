"""What was written down for the next process, for `show counters`."""

from dataclasses import dataclass


@dataclass(slots=True)
class StateCounters:
    """What happened since the start."""

    journal_writes: int = 0
    """Writes to the journal."""
    journal_octets: int = 0
    snapshots: int = 0
    """Journals that were begun anew, behind a snapshot."""
    failures: int = 0
    """How often the disk refused, and sessions would not have survived a restart."""
