"""What a node tells its user."""

from collections.abc import Mapping
from dataclasses import dataclass

from l2tpns_core.cluster.asking import Outcome
from l2tpns_core.cluster.counts import Count
from l2tpns_core.cluster.rows import Row
from l2tpns_core.state.image import Image


@dataclass(frozen=True)
class Event:
    """What the events have in common."""


@dataclass(frozen=True)
class BecameMaster(Event):
    """This node decides from now on."""

    reign: int
    image: Image | None
    """What it goes on with; None when that is what it has, or nothing."""
    unreported: Mapping[int, Count]
    """What sessions used here that no master has accounted for."""


@dataclass(frozen=True)
class SteppedDown(Event):
    """This node does not decide any more. It keeps what it has until Replaced."""

    why: str
    lost_changes: int = 0
    """Changes of its own that the master does not have, and that will be gone."""


@dataclass(frozen=True)
class MasterFound(Event):
    """This node follows a master."""

    master: int
    reign: int


@dataclass(frozen=True)
class MasterLost(Event):
    """The master is silent, or gone."""

    master: int


@dataclass(frozen=True)
class Replaced(Event):
    """The state of this slave is another now: that of the master."""

    image: Image


@dataclass(frozen=True)
class RowsApplied(Event):
    """The image has changed by these rows."""

    rows: list[Row]


@dataclass(frozen=True)
class UpToDate(Event):
    """This slave has all that the master has, or does not any more."""

    value: bool


@dataclass(frozen=True)
class RoutesWanted(Event):
    """Whether this node should draw traffic to itself."""

    value: bool


@dataclass(frozen=True)
class Safe(Event):
    """All slaves that are up to date have the master's changes up to this count of rows."""

    count: int


@dataclass(frozen=True)
class CountsReported(Event):
    """What sessions used at a slave. Offer the rows that this makes with the number."""

    node: int
    number: int
    counts: Mapping[int, Count]


@dataclass(frozen=True)
class Forwarded(Event):
    """A slave passes a packet on to this master."""

    node: int
    channel: int
    address: int
    port: int
    local: int
    packet: bytes


@dataclass(frozen=True)
class Resigning(Event):
    """This master has stopped deciding, and waits for its successor."""

    successor: int


@dataclass(frozen=True)
class Resumed(Event):
    """The successor did not take over: this master decides again."""


@dataclass(frozen=True)
class Drained(Event):
    """Nothing depends on this node any more."""


@dataclass(frozen=True)
class Asked(Event):
    """An operator at a slave wants this master to carry out a command. Give the answer to
    ClusterNode.answer()."""

    node: int
    request: int
    line: str
    privileged: bool
    as_json: bool


@dataclass(frozen=True)
class Answered(Event):
    """What a command came to at the master."""

    outcome: Outcome


@dataclass(frozen=True)
class NodeJoined(Event):
    address: int


@dataclass(frozen=True)
class NodeLost(Event):
    address: int
