"""Nodes of a cluster in virtual time, on a network that loses, delays, repeats and cuts."""

import heapq
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from l2tpns_core.cluster.events import (
    BecameMaster,
    CountsReported,
    Event,
    Replaced,
    Safe,
)
from l2tpns_core.cluster.messages import MAX_ADDRESS
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.settings import ClusterSettings
from l2tpns_core.session import session_key
from l2tpns_core.state.codec import encode
from l2tpns_core.state.image import Image
from l2tpns_core.state.model import SavedSession

SECRET = b"a secret of all nodes"
WALL = 1_795_000_000.0
SLICE = 64


def row_of(number: int, user: str) -> list[Any]:
    session = SavedSession(
        tunnel_id=1 + number // 2000,
        session_id=1 + number % 2000,
        peer_session_id=1,
        unique=number,
        opened=WALL,
        lac_address="10.0.0.1",
        user=user,
    )
    return ["s", encode(session)]


def key_of(number: int) -> int:
    return session_key(1 + number // 2000, 1 + number % 2000)


def gone_row(number: int) -> list[Any]:
    return ["S", key_of(number)]


class Computer:
    """A node with a table of sessions, as its user keeps one."""

    def __init__(self, world: "World", address: int, **options: Any) -> None:
        self.world = world
        self.address = address
        self.table: dict[int, str] = {}
        """What it serves as master: the users of sessions, by number of the session."""
        self.events: list[Event] = []
        self.counts: dict[int, int] = {}
        self.offered: list[tuple[int, int, str | None]] = []
        self.safe = 0
        settings = ClusterSettings(
            address, options.pop("secret", SECRET), interval=0.5, timeout=5.0, **options
        )
        started = int((WALL + world.now) * 1000)
        self.node = ClusterNode(settings, self, world.now, started_ms=started, wall_ahead=WALL)

    is_ready = True

    def commit(self) -> None:
        """Nothing: every change is offered at once."""

    def everything(self) -> Iterator[Sequence[list[Any]]]:
        numbers = list(self.table)
        for start in range(0, len(numbers), SLICE):
            some = [n for n in numbers[start : start + SLICE] if n in self.table]
            yield [row_of(n, self.table[n]) for n in some]

    @property
    def known(self) -> dict[int, str]:
        """The users of sessions by number, as this node knows them."""
        image = self.node.replica.image
        return self.table if image is None else table_of(image)

    def change(self, number: int, user: str | None) -> None:
        """As master: a session, or its end."""
        row = gone_row(number) if user is None else row_of(number, user)
        count = self.node.offer([row], self.world.now)
        self.offered.append((count, number, user))
        if user is None:
            self.table.pop(number, None)
        else:
            self.table[number] = user

    def drain_events(self) -> None:
        while (event := self.node.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, BecameMaster):
                self.world.elections += 1
                if event.image is not None:
                    self.table = table_of(event.image)
                self.offered, self.safe = [], 0
                for key, count in event.unreported.items():
                    self.counts[key] = self.counts.get(key, 0) + count.octets_in
                self.world.check_nothing_safe_is_lost(self)
            elif isinstance(event, Safe):
                self.safe = event.count
                self.world.note_safe(self)
            elif isinstance(event, Replaced):
                self.table = {}
            elif isinstance(event, CountsReported):
                for key, count in event.counts.items():
                    self.counts[key] = self.counts.get(key, 0) + count.octets_in
                if self.node.is_master:
                    self.node.offer([], self.world.now, {event.node: event.number})

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def stamp(user: str | None) -> int:
    """The number of a change that a user's name tells of; 0 for none."""
    digits = (user or "").rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def table_of(image: Image) -> dict[int, str]:
    return {session.unique: session.user for session in image.sessions.values()}


class World:
    """Computers, the network between them, and the time."""

    def __init__(self, seed: int = 1, loss: float = 0.0, delay: float = 0.001) -> None:
        self.random = Random(seed)
        self.now = 100.0
        self.loss = loss
        self.delay = delay
        self.duplicates = 0.0
        self.computers: dict[int, Computer] = {}
        self.sides: dict[int, int] = {}
        """The side of a cut that a node is on."""
        self.deaf: set[tuple[int, int]] = set()
        """Ways that are cut in one direction: from, to."""
        self.frozen: set[int] = set()
        self.sent_log: list[tuple[float, int, int | None, bytes]] = []
        self.elections = 0
        self.holders: dict[int, tuple[str | None, set[Computer]]] = {}
        """Of each session the last user that was said to be safe, and the nodes that have it."""
        self.lost: list[str] = []
        self._wire: list[tuple[float, int, int, bytes]] = []
        self._order = 0

    def start(self, address: int, **options: Any) -> Computer:
        computer = self.computers[address] = Computer(self, address, **options)
        return computer

    def kill(self, address: int) -> None:
        del self.computers[address]
        self.frozen.discard(address)

    def cut(self, *sides: set[int]) -> None:
        self.sides = {address: n for n, side in enumerate(sides) for address in side}

    def heal(self) -> None:
        self.sides = {}

    def masters(self) -> list[int]:
        return [a for a, computer in self.computers.items() if computer.node.is_master]

    @property
    def master(self) -> Computer:
        (address,) = self.masters()
        return self.computers[address]

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            self._settle()
            at = min((self._next_at(), end))
            if at >= end:
                break
            self.now = max(self.now, at)
            self._turn()
        self.now = end
        self._settle()

    def run_until(self, condition: Any, limit: float) -> float:
        """Let time pass until a condition holds; how long that took."""
        began = self.now
        while not condition():
            assert self.now - began < limit, "it takes too long"
            self.run(0.05)
        return self.now - began

    def note_safe(self, computer: Computer) -> None:
        """A master says that changes are safe."""
        followers = computer.node.members.followers(computer.node.reign, self.now - 2.0)
        have = {self.computers[address] for address, _ in followers if address in self.computers}
        for count, number, user in computer.offered:
            if count <= computer.safe:
                self.holders[number] = (user, have | {computer})
        computer.offered = [each for each in computer.offered if each[0] > computer.safe]

    def check_nothing_safe_is_lost(self, computer: Computer) -> None:
        """A new master has all that was safe, if anybody who had it is still there."""
        alive = set(self.computers.values())
        for number, (user, have) in self.holders.items():
            found = computer.table.get(number)
            if have & alive and stamp(found) < stamp(user):
                self.lost.append(f"node {computer.address} has {found} for {number}, not {user}")

    def _next_at(self) -> float:
        timers = (
            computer.node.get_timer()
            for address, computer in self.computers.items()
            if address not in self.frozen
        )
        wire = self._wire[0][0] if self._wire else float("inf")
        return min((wire, *timers))

    def _turn(self) -> None:
        while self._wire and self._wire[0][0] <= self.now:
            _, _, to, data = heapq.heappop(self._wire)
            if to in self.frozen:
                self._put(self.now + 0.05, to, data)
            elif to in self.computers:
                self.computers[to].node.receive(data, self.now)
        for address, computer in list(self.computers.items()):
            if address not in self.frozen and computer.node.get_timer() <= self.now:
                computer.node.handle_timer(self.now)

    def _settle(self) -> None:
        for address, computer in list(self.computers.items()):
            computer.drain_events()
            for to, data in computer.node.datagrams_to_send():
                self.sent_log.append((self.now, address, to, data))
                for other in self.computers if to is None else (to,):
                    if other != address:
                        self._transmit(address, other, data)

    def _transmit(self, sender: int, to: int, data: bytes) -> None:
        if self.sides.get(sender, 0) != self.sides.get(to, 0) or (sender, to) in self.deaf:
            return
        copies = 1 + (self.random.random() < self.duplicates)
        for _ in range(copies):
            if self.random.random() >= self.loss:
                self._put(self.now + self.random.uniform(0.1, 1.9) * self.delay, to, data)

    def _put(self, at: float, to: int, data: bytes) -> None:
        self._order += 1
        heapq.heappush(self._wire, (at, self._order, to & MAX_ADDRESS, data))
