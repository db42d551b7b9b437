"""How many telnet clients there may be, and how fast passwords may be tried.

Clients that have not logged in yet have slots of their own, so that a flood of them takes nothing
from operators at work. When the slots are full, the network that has most of them loses one; some
slots are kept for addresses that operators have logged in from before.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Final

LOGIN_SLOTS: Final = 32
RESERVED_SLOTS: Final = 8
"""Beside LOGIN_SLOTS, for sources that are trusted."""
MAX_PER_SOURCE: Final = 8
MAX_LOGINS_PER_SOURCE: Final = 4
MIN_LOGIN_S: Final = 10.0
"""What a client has at least before another one may take its place."""
MAX_TRUSTED: Final = 64
TRUST_S: Final = 86_400.0
MAX_PUNISHED: Final = 1024
FORGIVEN_S: Final = 600.0
MAX_DELAY_S: Final = 15.0
LOOPBACK: Final = "127.0.0.0/8"


class TooManyError(Exception):
    """There is no room for a client; the text says of what there are too many."""


@dataclass(slots=True, eq=False)
class Visitor:
    """A client that has a slot."""

    source: str
    since: float
    hang_up: Callable[[], object] = field(repr=False)
    is_operator: bool = False


class Slots:
    """Who is connected."""

    def __init__(self, max_operators: int) -> None:
        self._max_operators = max_operators
        self._visitors: dict[Visitor, None] = {}
        """In the order in which they came."""
        self._trusted: OrderedDict[str, float] = OrderedDict()

    def admit(self, address: str, now: float, hang_up: Callable[[], object]) -> Visitor:
        """Give a new client a slot, perhaps that of another one. Raises TooManyError."""
        source = source_of(address)
        mine = [visitor for visitor in self._visitors if visitor.source == source]
        if len(mine) >= MAX_PER_SOURCE:
            raise TooManyError(f"{MAX_PER_SOURCE} connections of this address")
        if sum(not visitor.is_operator for visitor in mine) >= MAX_LOGINS_PER_SOURCE:
            raise TooManyError(f"{MAX_LOGINS_PER_SOURCE} logins of this address")
        waiting = [visitor for visitor in self._visitors if not visitor.is_operator]
        room = LOGIN_SLOTS + (RESERVED_SLOTS if self.trusts(source, now) else 0)
        if len(waiting) >= room:
            victim = self._victim(waiting, source, now)
            if victim is None:
                raise TooManyError(f"{len(waiting)} clients that have not logged in")
            self.leave(victim)
            victim.hang_up()
        visitor = Visitor(source, now, hang_up)
        self._visitors[visitor] = None
        return visitor

    def promote(self, visitor: Visitor, now: float) -> None:
        """A client has become an operator. Raises TooManyError."""
        if sum(one.is_operator for one in self._visitors) >= self._max_operators:
            raise TooManyError(f"{self._max_operators} operators")
        visitor.is_operator = True
        self._trusted[visitor.source] = now
        self._trusted.move_to_end(visitor.source)
        while len(self._trusted) > MAX_TRUSTED:
            self._trusted.popitem(last=False)

    def leave(self, visitor: Visitor) -> None:
        self._visitors.pop(visitor, None)

    def trusts(self, source: str, now: float) -> bool:
        """Whether operators have logged in from there, or are on this machine."""
        return source == LOOPBACK or now - self._trusted.get(source, -TRUST_S) < TRUST_S

    def _victim(self, waiting: list[Visitor], source: str, now: float) -> Visitor | None:
        """Whose slot a newcomer gets: the oldest of the network, and in it of the address, that has
        most of them. When that has no more than the newcomer's would have, somebody who has had
        time enough."""
        networks = Counter(network_of(visitor.source) for visitor in waiting)
        sources = Counter(visitor.source for visitor in waiting)

        def share(one: str) -> tuple[int, int]:
            return networks[network_of(one)], sources[one]

        untrusted = [one for one in waiting if not self.trusts(one.source, now)]
        if not untrusted:
            return None
        victim = max(untrusted, key=lambda visitor: (share(visitor.source), -visitor.since))
        own = share(source)
        if share(victim.source) > (own[0] + 1, own[1] + 1):
            return victim
        oldest = min(untrusted, key=lambda visitor: visitor.since)
        return oldest if now - oldest.since >= MIN_LOGIN_S else None


class Lockout:
    """A source that names a wrong password waits before its next one is looked at: a second, then
    two, four and so on. Its attempts wait one behind the other."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """The number of failures, and when the next attempt may be made."""

    def delay(self, address: str, now: float) -> float:
        """How long an attempt has to wait that is made now; counts as a failure until success()."""
        source = source_of(address)
        count, free_at = self._failures.get(source, (0, now))
        if now - free_at > FORGIVEN_S:
            count = 0
        begin = max(now, free_at)
        pause = min(2.0**count, MAX_DELAY_S)
        self._failures[source] = count + 1, begin + pause
        self._failures.move_to_end(source)
        while len(self._failures) > MAX_PUNISHED:
            self._failures.popitem(last=False)
        return begin - now

    def success(self, address: str) -> None:
        self._failures.pop(source_of(address), None)


def source_of(address: str) -> str:
    """What counts as one source: an address, and all addresses of this machine's loopback."""
    return LOOPBACK if is_loopback(address) else address


def network_of(source: str) -> str:
    """The network that an address belongs to (/24): what one attacker may have whole."""
    return source.rpartition(".")[0]


def is_loopback(address: str) -> bool:
    return IPv4Address(address).is_loopback
