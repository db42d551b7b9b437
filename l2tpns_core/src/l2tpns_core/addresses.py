"""The pool of subscribers' addresses: which is free, which is whose, all in constant time.

Manual, headings "ip_pool" and "show pool". An address that was never used goes out first, in the
order of the file; after that the one that has been free the longest. A user who comes back gets the
address that he had, while nobody else has it. Addresses are host-order integers.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class PoolRow:
    """One line of `show pool`."""

    ip: int
    used: bool
    key: int | None
    user: str
    freed_ago_s: float | None


@dataclass(slots=True)
class _Lease:
    user: str
    key: int
    shrunk: bool = False
    """No longer in the file: does not go back to the pool."""


@dataclass(slots=True)
class _Freed:
    user: str
    freed_at: float


class AddressPool:
    """The addresses of `ip_pool`. Every operation is O(1) but rows() and replace()."""

    __slots__ = ("_freed", "_leases", "_sticky", "_unused")

    def __init__(self, addresses: Iterable[int] = ()) -> None:
        self._unused: OrderedDict[int, None] = OrderedDict.fromkeys(addresses)
        self._freed: OrderedDict[int, _Freed] = OrderedDict()
        self._leases: dict[int, _Lease] = {}
        self._sticky: dict[str, int] = {}

    @property
    def free_count(self) -> int:
        return len(self._unused) + len(self._freed)

    @property
    def used_count(self) -> int:
        return len(self._leases)

    def __contains__(self, ip: int) -> bool:
        return ip in self._unused or ip in self._freed or ip in self._leases

    def allocate(self, user: str, key: int) -> int | None:
        """An address for session `key` of `user`, or None when all are in use."""
        ip = self._sticky.get(user) if user else None
        if ip is not None:
            self._take_freed(ip)
        elif self._unused:
            ip, _ = self._unused.popitem(last=False)
        elif self._freed:
            ip = next(iter(self._freed))
            self._take_freed(ip)
        else:
            return None
        self._leases[ip] = _Lease(user, key)
        return ip

    def claim(self, ip: int, user: str, key: int) -> bool:
        """Mark a particular address as in use; False when it is not a free one of the pool."""
        if ip in self._unused:
            del self._unused[ip]
        elif ip in self._freed:
            self._take_freed(ip)
        else:
            return False
        self._leases[ip] = _Lease(user, key)
        return True

    def remember(self, ip: int, user: str, freed_at: float) -> bool:
        """Keep an address that was never used for a user who had it before; False when it is in
        use, not of the pool, or the user has another."""
        if ip not in self._unused or user in self._sticky:
            return False
        del self._unused[ip]
        self._sticky[user] = ip
        self._freed[ip] = _Freed(user, freed_at)
        return True

    def kept(self) -> list[tuple[int, str, float]]:
        """The addresses that are kept for users: address, user, since when it is free."""
        return [(ip, freed.user, freed.freed_at) for ip, freed in self._freed.items() if freed.user]

    def release(self, ip: int, key: int, now: float, *, sticky: bool = True) -> bool:
        """Give back an address; False when session `key` does not hold it.

        `sticky` keeps it for the same user for as long as it is not needed for another.
        """
        lease = self._leases.get(ip)
        if lease is None or lease.key != key:
            return False
        del self._leases[ip]
        if lease.shrunk:
            return True
        user = lease.user if sticky else ""
        previous = self._sticky.get(user) if user else None
        if previous is not None:
            self._freed[previous].user = ""
        if user:
            self._sticky[user] = ip
        self._freed[ip] = _Freed(user, now)
        return True

    def emptied(self) -> "AddressPool":
        """A pool of the same addresses, none of which is or was in use."""
        leased = (ip for ip, lease in self._leases.items() if not lease.shrunk)
        return AddressPool(sorted((*self._unused, *self._freed, *leased)))

    def holder(self, ip: int) -> int | None:
        """The key of the session that holds an address."""
        lease = self._leases.get(ip)
        return lease.key if lease else None

    def leased(self) -> list[int]:
        """All addresses in use, for the regular cleanup; holder() says whose each is."""
        return list(self._leases)

    def replace(
        self,
        addresses: Iterable[int],
        holder_of: Callable[[int], tuple[str, int] | None] = lambda ip: None,
    ) -> None:
        """Take over a new list: leases go on; an address that is gone is not given out again.

        `holder_of` names the user and the session that has an address which was not of the pool.
        """
        wanted = dict.fromkeys(addresses)
        for ip in [ip for ip in self._unused if ip not in wanted]:
            del self._unused[ip]
        for ip in [ip for ip in self._freed if ip not in wanted]:
            self._take_freed(ip)
        for ip, lease in self._leases.items():
            lease.shrunk = ip not in wanted
        for ip in wanted:
            if ip in self:
                continue
            holder = holder_of(ip)
            if holder is None:
                self._unused[ip] = None
            else:
                self._leases[ip] = _Lease(*holder)

    def rows(self, now: float, *, include_unused: bool = False) -> Iterator[PoolRow]:
        """What `show pool` lists: addresses in use, then those kept for a user, then the rest."""
        for ip, lease in list(self._leases.items()):
            yield PoolRow(ip, True, lease.key, lease.user, None)
        for ip, freed in list(self._freed.items()):
            yield PoolRow(ip, False, None, freed.user, now - freed.freed_at)
        if include_unused:
            for ip in list(self._unused):
                yield PoolRow(ip, False, None, "", None)

    def _take_freed(self, ip: int) -> None:
        user = self._freed.pop(ip).user
        if user:
            del self._sticky[user]
