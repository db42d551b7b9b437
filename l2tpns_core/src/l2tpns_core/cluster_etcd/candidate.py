"""A node of the cluster and its election: what each has to be told of the other. It is told the
time and what etcd says; the backend asks etcd.
"""

import logging
import math
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Final

from l2tpns_core.cluster import events
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.role import Role
from l2tpns_core.cluster_etcd.election import NEVER, Election, Own, Step, Times
from l2tpns_core.cluster_etcd.records import Member, View

log = logging.getLogger("l2tpns.cluster")

MIN_TTL_S: Final = 2
"""The least that etcd grants."""


class Candidate:
    """A node that etcd may make the master."""

    def __init__(self, node: ClusterNode, member: Member, hold: float) -> None:
        """`member` has what stays as it is of this node."""
        self.node = node
        self.member = member
        cluster = node.settings
        ttl = max(MIN_TTL_S, math.ceil(cluster.timeout))
        self.times = Times(cluster.interval, cluster.timeout, ttl, hold)
        self.election = Election(member.address, member.started, self.times)
        self._told: Member | None = None
        self._told_at = -NEVER
        self._successor = ""

    def own(self, now: float) -> Own:
        """The node as the election sees it."""
        node = self.node
        heard = 1 + len(node.members.live(now - node.settings.timeout))
        return Own(
            replace(
                self.member,
                up_to_date=node.up_to_date,
                draining=node.is_draining,
                reign=node.reign or node.replica.reign,
                sequence=node.head,
            ),
            is_master=node.role in (Role.MASTER, Role.RESIGNING),
            is_resigning=node.role is Role.RESIGNING,
            hears_master=node.role is Role.SLAVE and node.master != 0,
            eligible=heard >= node.settings.quorum,
        )

    def on_event(self, event: events.Event, now: float) -> bool:
        """Take note of what becomes of the node; whether there may be something to do in etcd."""
        match event:
            case events.Resigning(successor):
                self._successor = str(IPv4Address(successor))
            case events.Resumed():
                self._successor = ""
                if not self.election.office(now):
                    self.node.dismiss(now, "the key was given away")
            case events.SteppedDown():
                self._successor = ""
                self.election.renounce()
            case events.MasterLost() | events.UpToDate() | events.BecameMaster():
                pass
            case _:
                return False
        return True

    def saw(self, view: View, asked_at: float, now: float) -> None:
        """Take what there is in etcd."""
        old, new = self.election.view.master, view.master
        if (old and old.address) != (new and new.address):
            log.warning("cluster: in etcd %s is the master", new.address if new else "nobody")
        self.election.saw(view, asked_at, now)
        self.review(now)

    def review(self, now: float) -> None:
        """Tell the node what it may be. Call it often."""
        node, election = self.node, self.election
        own = self.own(now)
        key = election.view.master
        if own.is_resigning:
            node.appointed_until = NEVER  # it decides nothing
            if key is not None and key.address == self._successor:
                node.dismiss(now, "the successor has the key")
        else:
            node.appointed_until = election.deadline(self._promise_of)
        node.promise(election.may_promise(own, now))
        office = election.office(now)
        if office and node.role is Role.SLAVE and own.eligible and not own.member.draining:
            node.appoint(now, office)

    def _promise_of(self, address: str) -> float:
        shorter = max(self.times.timeout - self.node.settings.timeout, 0.0)
        return self.node.promised(int(IPv4Address(address))) - shorter

    def peers(self) -> list[IPv4Address]:
        """Those in etcd, and those that are heard though etcd does not know them."""
        found = {IPv4Address(each) for each in self.election.view.members}
        found |= {IPv4Address(each) for each in self.node.members.peers}
        return sorted(found - {IPv4Address(self.member.address)})

    # What is to be done in etcd

    def next_step(self, now: float) -> Step | None:
        """What is to be done now. It counts as begun."""
        step = self.wanted_step(now)
        if step is not None:
            self.election.begin(step)
        return step

    def wanted_step(self, now: float) -> Step | None:
        if self._successor and self.node.role is Role.RESIGNING:
            return self.election.hand_over(self._successor, now)
        return self.election.step(self.own(now), now)

    def to_tell(self, now: float) -> Member | None:
        """What others should know of this node, when they do not."""
        lease, view = self.election.lease, self.election.view
        if not lease:
            return None
        member = replace(self.own(now).member, lease=lease)
        known, told = view.members.get(member.address), self._told
        if known is None or known.lease != lease or told is None or _differs(told, member):
            return member
        is_late = now > self._told_at + self.times.ttl / 2 or view.master is None
        return member if is_late and told != member else None

    def told(self, member: Member, now: float) -> None:
        self._told, self._told_at = member, now


def _differs(told: Member, member: Member) -> bool:
    """Whether others should know at once."""
    before = (told.up_to_date, told.draining, told.lease)
    return before != (member.up_to_date, member.draining, member.lease)
