"""The messages that nodes send each other.

A node is known by its IPv4 address on cluster_interface, a master's time in office by its reign: a
number that counts up with every election in the upper half, the master's address in the lower.
"""

from dataclasses import dataclass
from struct import error as StructError  # noqa: N812
from typing import ClassVar, Final

from l2tpns_core.cluster.errors import ClusterError, Refusal
from l2tpns_core.cluster.fields import decode, encode

MAX_BODY: Final = 60_000
"""Octets of a message without its header."""
PREFERRED_BODY: Final = 1_380
"""Octets that fit into one Ethernet frame; only a row that is larger by itself makes more."""
ADDRESS_BITS: Final = 32
MAX_ADDRESS: Final = (1 << ADDRESS_BITS) - 1

MESSAGES: Final[dict[int, type["Message"]]] = {}


class Message:
    """What the messages have in common."""

    __slots__ = ()
    KIND: ClassVar[int]

    def __init_subclass__(cls, kind: int | None = None) -> None:
        super().__init_subclass__()
        if kind is not None:
            cls.KIND = kind
            MESSAGES[kind] = cls


@dataclass(frozen=True)
class Ping(Message, kind=1):
    """A node that is no master tells of itself: to all every interval, and to the master at once
    after changes."""

    started: int
    """Unix time of the start of the process, in milliseconds."""
    reign: int = 0
    """The reign that its state is of; 0 for none."""
    sequence: int = 0
    """The last change that its state has."""
    up_to_date: bool = False
    hears_master: bool = False
    silence_ms: int = 0
    """Time since the last heartbeat."""
    saved_time: int = 0
    """Unix time of the state that it has saved on disk; 0 for none."""
    draining: bool = False
    leaving: bool = False
    highest_term: int = 0
    """Of all reigns that it has heard of."""
    follows: int = 0
    """The reign of the master that it hears."""
    echo: int = 0
    """The stamp of the last heartbeat: it wants no other master for the timeout from then on; 0
    when it says nothing of the kind."""


@dataclass(frozen=True)
class Heartbeat(Message, kind=2):
    """The master lives. To all, every interval."""

    reign: int
    started: int
    head: int
    """The number of the last change."""
    oldest: int
    """The number of the oldest change that can be had again."""
    lineage: tuple[int, ...]
    """Reigns and where each began: the last ones, this one at the end."""
    interval_ms: int
    timeout_ms: int
    followers: int = 0
    """Slaves that are up to date."""
    stamp: int = 0
    """The master's own clock when it sent this, in milliseconds."""


@dataclass(frozen=True)
class Changes(Message, kind=3):
    """Rows that have changed. To all, or to the slave that asked for them again."""

    reign: int
    sequence: int
    rows: bytes
    reports: tuple[int, ...] = ()
    """Nodes and the number of the last report of theirs that is accounted for in the rows."""


@dataclass(frozen=True)
class Resend(Message, kind=4):
    """A slave misses changes."""

    reign: int
    first: int
    last: int


@dataclass(frozen=True)
class Fetch(Message, kind=5):
    """A slave wants all rows, or goes on wanting."""

    reign: int
    transfer: int
    next_piece: int = 0
    """It has all before this one."""
    missing: tuple[int, ...] = ()
    """Of those sent before, what did not arrive."""


@dataclass(frozen=True)
class Piece(Message, kind=6):
    """A part of all rows, as they were after a change."""

    reign: int
    transfer: int
    number: int
    sequence: int
    """The last change that is in them."""
    rows: bytes
    is_last: bool = False
    reports: tuple[int, ...] = ()
    """In the last piece; as in Changes."""


@dataclass(frozen=True)
class Handover(Message, kind=7):
    """The master resigns in favour of a slave that has all changes. To all, every interval, until
    the slave's heartbeats are heard."""

    reign: int
    successor: int
    sequence: int


@dataclass(frozen=True)
class Report(Message, kind=8):
    """What sessions used at a slave since its report before. To the master, until it shows up in
    changes."""

    reign: int
    number: int
    counts: bytes
    after: int = 0
    """The last report that the slave knows to be accounted for."""


@dataclass(frozen=True)
class Forward(Message, kind=9):
    """A packet that only the master may handle."""

    channel: int
    """What it is; the nodes' users agree on the numbers."""
    address: int
    port: int
    packet: bytes
    local: int = 0
    """The address of ours that it came to."""


def encode_body(message: Message) -> bytes:
    """Raises ClusterError for a message that is too large."""
    try:
        body = encode(message)
    except (OverflowError, StructError) as error:
        raise ClusterError(Refusal.SIZE, "a message cannot be written") from error
    if len(body) > MAX_BODY:
        raise ClusterError(Refusal.SIZE, "a message is too large")
    return body


def decode_body(kind: int, body: bytes) -> Message:
    """Raises ClusterError."""
    found = MESSAGES.get(kind)
    if found is None:
        raise ClusterError(Refusal.KIND, f"a message is of kind {kind}")
    if len(body) > MAX_BODY:
        raise ClusterError(Refusal.SIZE, "a message is too large")
    return decode(found, body)


def pairs(numbers: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Numbers that belong together two by two. Raises ClusterError."""
    if len(numbers) % 2:
        raise ClusterError(Refusal.BODY, "a number has no partner")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def reign_of(term: int, address: int) -> int:
    return term << ADDRESS_BITS | address


def term_of(reign: int) -> int:
    return reign >> ADDRESS_BITS


def master_of(reign: int) -> int:
    return reign & MAX_ADDRESS
