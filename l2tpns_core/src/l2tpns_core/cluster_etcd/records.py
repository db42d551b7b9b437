"""What a cluster has in etcd, below its prefix:

members/ADDRESS   a node that lives, with its lease
master            who is master, with its lease
roster            who may be master at once, and how long all others wait; stays
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final

from l2tpns_core.cluster_etcd.errors import RecordError

MAX_VALUE: Final = 4096
MAX_MEMBERS: Final = 64
MAX_NUMBER: Final = (1 << 64) - 1
MAX_WORD: Final = 64
MEMBERS: Final = "members/"
MASTER: Final = "master"
ROSTER: Final = "roster"

Rank = tuple[bool, int, int, int, int, int]


@dataclass(frozen=True)
class Member:
    """What a node tells of itself."""

    address: str
    started: int
    """Unix time of the start of its process, in milliseconds."""
    port: int = 0
    version: str = ""
    up_to_date: bool = False
    draining: bool = False
    reign: int = 0
    sequence: int = 0
    saved_time: int = 0
    lease: int = field(default=0, compare=False)

    @property
    def number(self) -> int:
        return int(IPv4Address(self.address))

    @property
    def rank(self) -> Rank:
        """As in cluster.membership: who should be master, the highest."""
        return (
            self.up_to_date,
            self.reign,
            self.sequence,
            self.saved_time,
            -self.started,
            self.number,
        )


@dataclass(frozen=True)
class MasterKey:
    """Who has the key."""

    address: str
    started: int
    lease: int = 0
    revision: int = 0
    """Of the last change of the key."""


@dataclass(frozen=True)
class Roster:
    """Who is known to follow the master. `hold` is what all others wait, in seconds."""

    nodes: frozenset[str]
    hold: float
    revision: int = 0


@dataclass(frozen=True)
class View:
    """Everything below the prefix at one time."""

    revision: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    master: MasterKey | None = None
    roster: Roster | None = None


@dataclass(frozen=True)
class KeyValue:
    """A key without the prefix."""

    key: str
    value: bytes
    lease: int
    revision: int


def view_of(revision: int, found: Iterable[KeyValue]) -> tuple[View, int]:
    """What there is, and how many keys are not understood; they are left out."""
    view, refused = View(revision), 0
    members: dict[str, Member] = {}
    master, roster = view.master, view.roster
    for each in found:
        try:
            if each.key == MASTER:
                master = _master(each)
            elif each.key == ROSTER:
                roster = _roster(each)
            elif each.key.startswith(MEMBERS) and len(members) < MAX_MEMBERS:
                member = _member(each)
                members[member.address] = member
            else:
                refused += 1
        except RecordError:
            refused += 1
    return View(revision, members, master, roster), refused


def member_value(member: Member) -> bytes:
    values = asdict(member)
    del values["lease"]
    return json.dumps(values).encode()


def master_value(address: str, started: int) -> bytes:
    return json.dumps({"address": address, "started": started}).encode()


def roster_value(nodes: Iterable[str], hold: float) -> bytes:
    return json.dumps({"nodes": sorted(nodes), "hold": hold}).encode()


def _member(found: KeyValue) -> Member:
    known = {each.name for each in fields(Member)} - {"lease"}
    values = {name: value for name, value in _object(found).items() if name in known}
    try:
        member = Member(**values, lease=found.lease)
    except TypeError:
        raise RecordError("a member is incomplete") from None
    numbers = (member.started, member.port, member.reign, member.sequence, member.saved_time)
    if not all(_is_number(number) for number in numbers):
        raise RecordError("a number of a member is none")
    if not isinstance(member.up_to_date, bool) or not isinstance(member.draining, bool):
        raise RecordError("a flag of a member is none")
    if not isinstance(member.version, str) or len(member.version) > MAX_WORD:
        raise RecordError("the version of a member is none")
    if found.key != MEMBERS + _address(member.address):
        raise RecordError("a member is at the key of another")
    return member


def _master(found: KeyValue) -> MasterKey:
    values = _object(found)
    started = values.get("started")
    if not isinstance(started, int) or not _is_number(started):
        raise RecordError("the master has no start")
    return MasterKey(_address(values.get("address")), started, found.lease, found.revision)


def _roster(found: KeyValue) -> Roster:
    values = _object(found)
    nodes, hold = values.get("nodes"), values.get("hold")
    if not isinstance(nodes, list) or len(nodes) > MAX_MEMBERS:
        raise RecordError("the roster has no nodes")
    if not isinstance(hold, int | float) or isinstance(hold, bool) or not 0 <= hold <= MAX_NUMBER:
        raise RecordError("the roster does not say how long others wait")
    return Roster(frozenset(map(_address, nodes)), float(hold), found.revision)


def _object(found: KeyValue) -> dict[str, Any]:
    if len(found.value) > MAX_VALUE:
        raise RecordError("a value is too long")
    try:
        values = json.loads(found.value)
    except (ValueError, RecursionError):
        raise RecordError("a value is not JSON") from None
    if not isinstance(values, dict):
        raise RecordError("a value is no object")
    return values


def _address(value: object) -> str:
    try:
        return str(IPv4Address(value)) if isinstance(value, str) else _no_address()
    except AddressValueError:
        return _no_address()


def _no_address() -> str:
    raise RecordError("an address is none")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER
