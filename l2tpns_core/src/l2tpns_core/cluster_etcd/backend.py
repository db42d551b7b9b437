"""Has a node elected by etcd: asks etcd, tells the node's candidate, and does what that says."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from l2tpns_core.cluster import events
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.role import Role
from l2tpns_core.cluster.transport import ClusterTransport
from l2tpns_core.cluster_etcd.candidate import Candidate
from l2tpns_core.cluster_etcd.election import NEVER, Enrol, HandOver, Release, Step, Take
from l2tpns_core.cluster_etcd.errors import EtcdError, LeaseGoneError
from l2tpns_core.cluster_etcd.gateway import Gateway
from l2tpns_core.cluster_etcd.records import (
    MASTER,
    MEMBERS,
    ROSTER,
    Member,
    master_value,
    member_value,
    roster_value,
    view_of,
)
from l2tpns_core.cluster_etcd.settings import EtcdSettings

log = logging.getLogger("l2tpns.cluster")

MIN_CALL_S: Final = 0.3
MAX_CALL_S: Final = 2.0
AGAIN_S: Final = 0.25
"""Pause after a call that failed."""
STEPS_AT_ONCE: Final = 4
STOP_S: Final = 3.0


@dataclass(frozen=True)
class EtcdStatus:
    """For `show cluster`."""

    endpoint: str
    answered: float | None
    """Seconds since etcd answered; None for never."""
    lease_left: float
    """Seconds of the lease, less the margin; 0 for none."""
    holding: bool
    """Whether this node is master without etcd, by the promises of the others."""
    master: str
    revision: int
    """Of the key."""
    members: Sequence[str]
    roster: Sequence[str]
    failures: int
    refused: int
    """Keys below the prefix that are none of ours."""


class EtcdBackend:
    """Says to a node whether it is master. Create it when the node's transport is there, and give
    it all events of the node before anything else is made of them."""

    name = "etcd"

    def __init__(
        self,
        node: ClusterNode,
        transport: ClusterTransport,
        settings: EtcdSettings,
        member: Member,
        peers: Sequence[IPv4Address] = (),
    ) -> None:
        """`member` has what stays as it is of this node; `peers` are nodes that are known besides
        those in etcd."""
        self._node = node
        self._transport = transport
        self._settings = settings
        self._peers = frozenset(peers)
        self._loop = asyncio.get_running_loop()
        self.candidate = Candidate(node, member, settings.hold)
        self.times = self.candidate.times
        limit = min(max(self.times.ttl / 6, MIN_CALL_S), MAX_CALL_S)
        self._gateway = Gateway(settings, limit)
        self._refused = 0
        self._unanswered: set[str] = set()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for work in (self._lease(), self._follow(), self._watch(), self._tick()):
            task = self._loop.create_task(work, name="cluster etcd")
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def stop(self) -> None:
        """Let another node be master, and be no member any more."""
        if self._node.role in (Role.MASTER, Role.RESIGNING):
            self._node.dismiss(self._loop.time(), "this node stops")
            self._transport.kick()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        lease = self.candidate.election.lease
        if lease:
            with contextlib.suppress(EtcdError, TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._gateway.revoke(lease)  # and with it all our keys
        await self._gateway.close()

    def on_event(self, event: events.Event) -> None:
        """Take note of what becomes of the node."""
        if self.candidate.on_event(event, self._loop.time()):
            self._wake.set()

    def status(self) -> EtcdStatus:
        election, now = self.candidate.election, self._loop.time()
        key, roster = election.view.master, election.view.roster
        return EtcdStatus(
            endpoint=self._gateway.endpoint,
            answered=None if election.viewed_at == -NEVER else now - election.viewed_at,
            lease_left=max(election.lease_until - now, 0.0),
            holding=self._node.is_master and not election.office(now),
            master="" if key is None else key.address,
            revision=0 if key is None else key.revision,
            members=sorted(election.view.members),
            roster=sorted(roster.nodes if roster is not None else ()),
            failures=self._gateway.failures,
            refused=self._refused,
        )

    def state(self) -> str:
        """In one line."""
        found = self.status()
        if found.answered is None:
            return f"({found.endpoint}, which has never answered)"
        words = [f"answered {found.answered:.1f} seconds ago", f"{len(found.members)} members"]
        words.append(
            f"lease for {found.lease_left:.1f} seconds" if found.lease_left else "no lease"
        )
        if found.holding:
            words.append("master because all nodes let it")
        return f"({found.endpoint}, {', '.join(words)})"

    def _review(self) -> None:
        self.candidate.review(self._loop.time())
        self._transport.set_peers(sorted({*self.candidate.peers(), *self._peers}))
        self._transport.kick()

    # Tasks

    async def _tick(self) -> None:
        while True:
            self._review()
            if self.candidate.wanted_step(self._loop.time()) is not None:
                self._wake.set()
            await asyncio.sleep(self.times.interval / 2)

    async def _lease(self) -> None:
        """Have a lease, always."""
        election = self.candidate.election
        while True:
            asked_at = self._loop.time()
            try:
                if election.lease:
                    await self._gateway.renew(election.lease)
                    election.renewed(asked_at)
                else:
                    lease, _ = await self._gateway.grant(int(self.times.ttl))
                    election.granted(lease, asked_at)
                    self._wake.set()
                self._note("leases", None)
            except LeaseGoneError as error:
                if not election.lease:
                    self._note("leases", error)
                    await asyncio.sleep(AGAIN_S)
                election.lease_gone()
                continue
            except EtcdError as error:
                self._note("leases", error)
                await asyncio.sleep(AGAIN_S)
                continue
            self._review()
            await asyncio.sleep(max(election.renew_at - self._loop.time(), 0.0))

    async def _watch(self) -> None:
        """Be told of changes as soon as they are made."""
        while True:
            endpoint = self._gateway.endpoint
            with contextlib.suppress(EtcdError):
                async with contextlib.aclosing(self._gateway.watch(self.times.ttl)) as changes:
                    async for _ in changes:
                        self._wake.set()
                        if self._gateway.endpoint != endpoint:
                            break
            await asyncio.sleep(AGAIN_S)

    async def _follow(self) -> None:
        """Look at what there is in etcd, when something has changed and from time to time."""
        while True:
            self._wake.clear()
            try:
                await self._look()
                for _ in range(STEPS_AT_ONCE):
                    await self._tell()
                    if not await self._act():
                        break
                    await self._look()
                self._note("keys", None)
            except EtcdError as error:
                self._note("keys", error)
                await asyncio.sleep(AGAIN_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.times.renew):
                    await self._wake.wait()

    async def _look(self) -> None:
        asked_at = self._loop.time()
        revision, found = await self._gateway.read()
        refused = self._refused
        view, self._refused = view_of(revision, found)
        if self._refused > refused:
            log.error(
                "cluster: %d keys below cluster_etcd_prefix are not ours, or of another release",
                self._refused,
            )
        self.candidate.saw(view, asked_at, self._loop.time())
        self._review()

    async def _tell(self) -> None:
        """Write what others should know of this node."""
        now = self._loop.time()
        member = self.candidate.to_tell(now)
        if member is not None:
            value = member_value(member)
            put = self._gateway.put(MEMBERS + member.address, value, member.lease)
            await self._gateway.change((), [put])
            self.candidate.told(member, now)

    async def _act(self) -> bool:
        """Take the next step; whether there was one."""
        step = self.candidate.next_step(self._loop.time())
        if step is None:
            return False
        await self._gateway.change(*self._transaction(step))
        return True

    def _transaction(self, step: Step) -> tuple[list[tuple[str, int]], list[dict[str, Any]]]:
        """Conditions and changes."""
        gateway, member, hold = self._gateway, self.candidate.member, self.times.hold
        match step:
            case Take(key, roster, nodes):
                mine = master_value(member.address, member.started)
                return [(MASTER, key), (ROSTER, roster)], [
                    gateway.put(MASTER, mine, self.candidate.election.lease),
                    gateway.put(ROSTER, roster_value(nodes, hold)),
                ]
            case Enrol(key, roster, nodes):
                value = roster_value(nodes, hold)
                return [(MASTER, key), (ROSTER, roster)], [gateway.put(ROSTER, value)]
            case HandOver(key, successor):
                value = master_value(successor.address, successor.started)
                return [(MASTER, key)], [gateway.put(MASTER, value, successor.lease)]
            case Release(key):
                return [(MASTER, key)], [gateway.delete(MASTER)]

    def _note(self, what: str, error: EtcdError | None) -> None:
        """Say once that etcd does not answer when it is asked for something, and once that it
        does."""
        if error is not None and what not in self._unanswered:
            log.error("cluster: no %s from etcd: %s", what, error)
            self._unanswered.add(what)
        elif error is None and what in self._unanswered:
            log.warning("cluster: etcd answers again (%s)", what)
            self._unanswered.discard(what)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """None of them ends by itself. When one does all do, so that the lease ends, too, and the
        node is no master."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("cluster: the work with etcd has failed", exc_info=error)
            for other in self._tasks:
                other.cancel()
