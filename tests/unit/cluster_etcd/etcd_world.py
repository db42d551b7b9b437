"""Nodes of a cluster and etcd in virtual time: what etcd is asked is lost, late, or done without
that the node hears of it.
"""

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from l2tpns_core.cluster_etcd.candidate import Candidate
from l2tpns_core.cluster_etcd.election import Enrol, HandOver, Release, Step, Take
from l2tpns_core.cluster_etcd.errors import LeaseGoneError
from l2tpns_core.cluster_etcd.records import (
    MASTER,
    MEMBERS,
    ROSTER,
    KeyValue,
    Member,
    View,
    master_value,
    member_value,
    roster_value,
    view_of,
)
from unit.cluster.world import WALL, Computer, World

TTL = 5.0
TICK_S = 0.1
CALL_S = 1.0
POLL_S = 0.5


class FakeEtcd:
    """What etcd does, exactly when it does it."""

    def __init__(self, world: "EtcdWorld") -> None:
        self._world = world
        self.revision = 1
        self.keys: dict[str, KeyValue] = {}
        self.leases: dict[int, float] = {}

    def grant(self) -> int:
        lease = self._world.random.randrange(1, 1 << 62)
        self.leases[lease] = self._world.now + TTL
        return lease

    def renew(self, lease: int) -> None:
        if lease not in self.leases:
            raise LeaseGoneError
        self.leases[lease] = self._world.now + TTL

    def revoke(self, lease: int) -> None:
        del self.leases[lease]
        gone = [key for key, found in self.keys.items() if found.lease == lease]
        for key in gone:
            self.revision += 1
            del self.keys[key]

    def expire(self) -> None:
        for lease in [each for each, end in self.leases.items() if end <= self._world.now]:
            self.revoke(lease)

    def read(self) -> View:
        view, refused = view_of(self.revision, self.keys.values())
        assert not refused
        return view

    def put(self, key: str, value: bytes, lease: int = 0) -> None:
        if lease and lease not in self.leases:
            raise LeaseGoneError
        self.keys[key] = KeyValue(key, value, lease, self.revision)

    def holds(self, key: str, revision: int) -> bool:
        found = self.keys.get(key)
        return (0 if found is None else found.revision) == revision

    def tell(self, member: Member) -> None:
        self.revision += 1
        self.put(MEMBERS + member.address, member_value(member), member.lease)

    def take(self, step: Step, candidate: Candidate, lease: int) -> None:
        member, hold = candidate.member, candidate.times.hold
        if not self.holds(MASTER, step.key):
            return
        if isinstance(step, Take | Enrol) and not self.holds(ROSTER, step.roster):
            return
        self.revision += 1
        match step:
            case Take(_, _, nodes):
                self.put(MASTER, master_value(member.address, member.started), lease)
                self.put(ROSTER, roster_value(nodes, hold))
            case Enrol(_, _, nodes):
                self.put(ROSTER, roster_value(nodes, hold))
            case HandOver(_, successor):
                value = master_value(successor.address, successor.started)
                self.put(MASTER, value, successor.lease)
            case Release():
                self.keys.pop(MASTER, None)


class Agent:
    """What the backend is to a node: asks etcd in two lines, one call of each at a time."""

    def __init__(self, world: "EtcdWorld", computer: Computer, hold: float) -> None:
        self.world = world
        self.computer = computer
        address = str(IPv4Address(computer.address))
        started = int((WALL + world.now) * 1000)
        self.candidate = Candidate(computer.node, Member(address, started), hold)
        self._busy: dict[str, float] = {}
        self._looked_at = 0.0

    @property
    def is_running(self) -> bool:
        address = self.computer.address
        is_there = self.world.computers.get(address) is self.computer
        return is_there and address not in self.world.frozen

    def tick(self) -> None:
        now, candidate = self.world.now, self.candidate
        candidate.review(now)
        self._renew(now)
        if now < self._busy.get("keys", 0.0):
            return
        if now >= self._looked_at + POLL_S:
            self._look(now)
            return
        member = candidate.to_tell(now)
        if member is not None:
            self._ask("keys", lambda: self.world.etcd.tell(member), lambda _: self._told(member))
            return
        step = candidate.next_step(now)
        if step is not None:
            lease = candidate.election.lease
            self._ask("keys", lambda: self.world.etcd.take(step, candidate, lease), self._taken)

    def _renew(self, now: float) -> None:
        election, etcd = self.candidate.election, self.world.etcd
        if now < self._busy.get("lease", 0.0) or now < election.renew_at:
            return
        lease = election.lease
        if not lease:
            self._ask("lease", etcd.grant, lambda lease: election.granted(lease, now))
            return
        gone = election.lease_gone
        self._ask("lease", lambda: etcd.renew(lease), lambda _: election.renewed(now), gone)

    def _look(self, now: float) -> None:
        self._ask("keys", self.world.etcd.read, lambda view: self._saw(view, now))

    def _saw(self, view: View, asked_at: float) -> None:
        self._looked_at = self.world.now
        self.candidate.saw(view, asked_at, self.world.now)

    def _told(self, member: Member) -> None:
        self._looked_at = 0.0
        self.candidate.told(member, self.world.now)

    def _taken(self, _: object) -> None:
        self._looked_at = 0.0

    def _ask(
        self,
        line: str,
        call: Callable[[], Any],
        answered: Callable[[Any], None],
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        """A call may be lost on its way there, or its answer on the way back."""
        world, asked_at = self.world, self.world.now
        self._busy[line] = asked_at + CALL_S

        def back(found: object, *, is_gone: bool) -> None:
            late = world.now > asked_at + CALL_S  # then the caller has given up
            if self.is_running and not late and not world.is_lost(self.computer.address):
                self._busy[line] = 0.0
                gone() if is_gone else answered(found)

        def there() -> None:
            if world.is_lost(self.computer.address):
                return
            try:
                found = call()
            except LeaseGoneError:
                world.later(lambda: back(None, is_gone=True))
            else:
                world.later(lambda: back(found, is_gone=False))

        world.later(there)


class EtcdWorld(World):
    """A world with etcd."""

    def __init__(self, seed: int = 1, loss: float = 0.0, hold: float = 30.0) -> None:
        super().__init__(seed, loss, 0.01)
        self.hold = hold
        self.etcd = FakeEtcd(self)
        self.etcd_is_up = True
        self.without_etcd: set[int] = set()
        self.slow = 0.02
        self.agents: dict[int, Agent] = {}
        self.two_masters: list[str] = []
        self._calls: list[tuple[float, Callable[[], None]]] = []
        self._tick_at = self.now

    def start(self, address: int, **options: Any) -> Computer:
        computer = super().start(address, elects=False, **options)
        self.agents[address] = Agent(self, computer, self.hold)
        return computer

    def kill(self, address: int) -> None:
        super().kill(address)
        del self.agents[address]

    def is_lost(self, address: int) -> bool:
        out = not self.etcd_is_up or address in self.without_etcd
        return out or self.random.random() < self.loss

    def later(self, what: Callable[[], None]) -> None:
        self._calls.append((self.now + self.random.uniform(0.1, 3.0) * self.slow, what))

    def _next_at(self) -> float:
        ends = self.etcd.leases.values() if self.etcd_is_up else ()
        calls = [at for at, _ in self._calls]
        return min((super()._next_at(), self._tick_at, *calls, *ends))

    def _turn(self) -> None:
        super()._turn()
        if self.etcd_is_up:
            self.etcd.expire()
        due = [what for at, what in self._calls if at <= self.now]
        self._calls = [each for each in self._calls if each[0] > self.now]
        for what in due:
            what()
        if self.now >= self._tick_at:
            self._tick_at = self.now + TICK_S
            for agent in list(self.agents.values()):
                if agent.is_running:
                    agent.tick()

    def _settle(self) -> None:
        for address, computer in list(self.computers.items()):
            told = 0
            computer.events.clear()
            while True:
                computer.drain_events()
                if len(computer.events) == told:
                    break
                event, told = computer.events[told], told + 1
                self.agents[address].candidate.on_event(event, self.now)
        super()._settle()
        deciding = self.deciding()
        if len(deciding) > 1:
            self.two_masters.append(f"{deciding} at {self.now}")

    def deciding(self) -> list[int]:
        """The nodes that take changes."""
        return [
            address
            for address in self.masters()
            if address not in self.frozen
            and self.now < self.computers[address].node.appointed_until
        ]

    def stop_etcd(self) -> None:
        self.etcd_is_up = False

    def start_etcd(self) -> None:
        """All leases begin anew, as with a new leader."""
        self.etcd_is_up = True
        for lease in self.etcd.leases:
            self.etcd.leases[lease] = self.now + TTL
