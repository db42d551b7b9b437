"""Who is master, by a key in etcd: what a node may do and must do. It is told the time and what
etcd said, and does nothing itself.

There are never two masters:

- The key has a lease. The master steps down before the lease can end at etcd, counted from when
  it asked for the last renewal, by its own clock.
- When etcd does not answer, the master goes on as long as each node of the roster has promised, by
  a ping, that it wants no other master; but not longer than the hold.
- A node of the roster that is up to date takes the key when it has heard no master for the
  timeout. Any other node waits for the hold besides, unless all of the roster are there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from l2tpns_core.cluster_etcd.records import MasterKey, Member, View

NEVER: Final = float("inf")
SETTLE_INTERVALS: Final = 2
"""Time for the candidates to tell how far they are, and then for the better ones to go first."""


@dataclass(frozen=True)
class Times:
    """In seconds."""

    interval: float
    timeout: float
    ttl: float
    """Of the lease."""
    hold: float
    """How long a master goes on without etcd at most."""

    @property
    def margin(self) -> float:
        """How long before the end of its lease a master steps down."""
        return 0.1 + self.ttl / 10

    @property
    def renew(self) -> float:
        """How often a lease is renewed."""
        return self.ttl / 4

    @property
    def settle(self) -> float:
        return SETTLE_INTERVALS * self.interval


@dataclass(frozen=True)
class Own:
    """This node as it is now."""

    member: Member
    is_master: bool = False
    is_resigning: bool = False
    hears_master: bool = False
    eligible: bool = True
    """Whether it hears as many nodes as it must."""


@dataclass(frozen=True)
class Take:
    """Put our address into the key, if key and roster are as they were; and a new roster."""

    key: int
    roster: int
    nodes: frozenset[str]


@dataclass(frozen=True)
class Release:
    """Delete the key if it is as it was."""

    key: int


@dataclass(frozen=True)
class HandOver:
    """Give the key to another node that lives, if it is as it was."""

    key: int
    successor: Member


@dataclass(frozen=True)
class Enrol:
    """Put a new roster, if key and roster are as they were."""

    key: int
    roster: int
    nodes: frozenset[str]


Step = Take | Release | HandOver | Enrol
Promises = Callable[[str], float]
"""The time from which on a node wants no other master for the timeout."""


class Election:
    """What this node knows of the election."""

    def __init__(self, address: str, started: int, times: Times) -> None:
        self._address = address
        self._started = started
        self._times = times
        self.lease = 0
        self.lease_until = -NEVER
        self._renewed_at = -NEVER
        self.view = View()
        self.viewed_at = -NEVER
        self._vacant_since = NEVER
        self._alone_since = NEVER
        self._renounced = 0
        """The last revision of the key that this node has given away."""
        self._enrolling: frozenset[str] = frozenset()
        """Nodes that may be in the roster by now."""
        self._enrolled_from = -1
        """The revision of the roster that they were to replace."""

    # The lease

    def granted(self, lease: int, asked_at: float) -> None:
        self.lease = lease
        self.renewed(asked_at)

    def renewed(self, asked_at: float) -> None:
        self._renewed_at = asked_at
        self.lease_until = asked_at + self._times.ttl - self._times.margin

    def lease_gone(self) -> None:
        self.lease = 0
        self.lease_until = -NEVER

    @property
    def renew_at(self) -> float:
        return self._renewed_at + self._times.renew if self.lease else -NEVER

    # What etcd says

    def saw(self, view: View, asked_at: float, now: float) -> None:
        """Take a view, each later than the one before."""
        before = self.view
        if view.revision < before.revision:
            self._renounced = 0  # etcd has lost what it had
        self.view, self.viewed_at = view, asked_at
        if view.master is not None:
            self._vacant_since = NEVER
        elif self._vacant_since == NEVER or before.roster != view.roster:
            self._vacant_since = now
        if view.roster is not None and view.roster.revision > self._enrolled_from:
            self._enrolling = frozenset()

    @property
    def key(self) -> MasterKey | None:
        """The key, when it is ours, of this process."""
        key = self.view.master
        return key if key is not None and self._is_mine(key) else None

    def _is_mine(self, key: MasterKey) -> bool:
        return (key.address, key.started) == (self._address, self._started)

    def office(self, now: float) -> int:
        """The revision of the key by which this node is master; 0 when it is not."""
        key = self.key
        if key is None or key.lease != self.lease or now >= self.lease_until:
            return 0
        return key.revision if key.revision > self._renounced else 0

    # What follows for the node

    def deadline(self, promises: Promises) -> float:
        """Until when this node may be master."""
        key = self.key
        if key is not None and key.revision <= self._renounced:
            return -NEVER
        has_lease = key is not None and key.lease == self.lease
        return max(self.lease_until if has_lease else -NEVER, self._held_until(promises))

    def _held_until(self, promises: Promises) -> float:
        """Until when it may be without etcd: nobody else takes the key before."""
        times, roster = self._times, self.view.roster
        other = self.view.master is not None and self.key is None
        hold = 0.0 if roster is None else min(roster.hold, times.hold)  # ours may be there by now
        if roster is None or hold <= 0 or other:
            return -NEVER
        required = (roster.nodes | self._enrolling) - {self._address}
        promised = min((promises(node) for node in required), default=NEVER) + times.timeout
        return min(promised, self._renewed_at + hold) - times.margin

    def may_promise(self, own: Own, now: float) -> bool:
        """False when this node, as a slave, should be master soon: it reaches etcd, and the master
        that it hears has not for a while."""
        waited = now - self._vacant_since > self._times.ttl / 2
        has_etcd = now < self.lease_until and now - self.viewed_at < self._times.ttl
        return not (waited and has_etcd and own.member.up_to_date and not own.member.draining)

    def renounce(self) -> None:
        """This node is master no more."""
        if self.key is not None:
            self._renounced = max(self._renounced, self.key.revision)

    # What follows for etcd

    def step(self, own: Own, now: float) -> Step | None:
        """What to do next, if there is something."""
        if not self.lease or now >= self.lease_until:
            return None
        key = self.view.master
        if key is None:
            wants = self._keeps(own) or self._may_take(own, now)
            return self._take(0) if wants else None
        if key.address != self._address:
            return None
        if not self._is_mine(key):
            return Release(key.revision)  # of a process that was here before us
        if own.is_master and not own.is_resigning:
            if key.lease != self.lease or key.revision <= self._renounced:
                return self._take(key.revision)
            return self._enrol(key)
        if not own.is_resigning and not (self.office(now) and _is_candidate(own)):
            return Release(key.revision)
        return None

    def hand_over(self, successor: str, now: float) -> Step | None:
        """Give the key to a slave that has everything."""
        office, member = self.office(now), self.view.members.get(successor)
        if not office or member is None:
            return None
        return HandOver(office, member)

    def begin(self, step: Step) -> None:
        """A step is about to be taken. It may be done or not, and may be done late."""
        if isinstance(step, Take | Enrol):
            self._enrolling |= step.nodes
            self._enrolled_from = step.roster
        elif isinstance(step, HandOver):
            self.renounce()

    def _keeps(self, own: Own) -> bool:
        return own.is_master and not own.is_resigning

    def _take(self, key: int) -> Take:
        roster = self.view.roster
        nodes = frozenset(self.view.members) | {self._address}
        return Take(key, 0 if roster is None else roster.revision, nodes)

    def _enrol(self, key: MasterKey) -> Enrol | None:
        roster = self.view.roster
        nodes = frozenset(self.view.members) | {self._address}
        stays = roster is not None and roster.nodes == nodes and roster.hold == self._times.hold
        if stays:
            return None
        return Enrol(key.revision, 0 if roster is None else roster.revision, nodes)

    # Who takes the key

    def _may_take(self, own: Own, now: float) -> bool:
        if not _is_candidate(own) or own.is_resigning or own.hears_master:
            self._alone_since = NEVER
            return False
        self._alone_since = min(self._alone_since, now)
        since = max(self._alone_since, self._vacant_since)
        return now >= since + self._patience(own)

    def _patience(self, own: Own) -> float:
        """How long this node waits with a key that nobody has, and no master to hear."""
        times, roster = self._times, self.view.roster
        others = [
            member
            for member in self.view.members.values()
            if member.address != self._address and not member.draining
        ]
        turn = times.settle * (1 + sum(other.rank > own.member.rank for other in others))
        if own.member.up_to_date and (roster is None or self._address in roster.nodes):
            return turn
        if not own.member.up_to_date and any(other.up_to_date for other in others):
            return NEVER
        grace = times.timeout + turn
        if roster is None or roster.nodes <= {*self.view.members, self._address}:
            return grace
        return max(grace, roster.hold)


def _is_candidate(own: Own) -> bool:
    return own.eligible and not own.member.draining
