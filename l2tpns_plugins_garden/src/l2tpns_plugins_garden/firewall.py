"""The garden in the kernel: set up, changed, checked and taken away.

Nothing in here knows of sessions, and nothing is asynchronous: it may wait for the kernel, so it
belongs in a thread (worker.py). All that belongs together is one transaction.
"""

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from l2tpns_plugins_garden import inspection
from l2tpns_plugins_garden.inspection import RuleSet, inspect
from l2tpns_plugins_garden.netlink import NetfilterError, NetfilterSocket
from l2tpns_plugins_garden.rules import (
    DROP_CHAIN,
    MARK_CHAIN,
    NAMED_PREFIX,
    NAT_TABLE,
    OWN_CHAINS,
    OWN_TABLE,
    PREROUTING,
    REPLY_CHAIN,
    USERS_CHAIN,
    Garden,
    Layout,
    jump_to_users,
)

LEGACY_TABLES: Final = Path("/proc/thread-self/net/ip_tables_names")
PATIENCE_S: Final = 3.0
"""How long a transaction is made anew because somebody else changed the rules meanwhile."""
PAUSE_S: Final = 0.005
NOT_SUPPORTED: Final = frozenset(
    (
        errno.EPROTONOSUPPORT,
        errno.EAFNOSUPPORT,
        errno.EOPNOTSUPP,
        errno.EINVAL,
        errno.ENOENT,
        errno.ENOPROTOOPT,
    )
)


class GardenError(Exception):
    """The garden cannot be had on this system; the text is one line for the operator."""


class Firewall:
    """The rules and members of all gardens. One thread at a time."""

    def __init__(
        self,
        layout: Layout,
        legacy_tables: Path = LEGACY_TABLES,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.layout = layout
        self.members: dict[int, Garden] = {}
        """Who is trapped where, as it must be."""
        self._legacy_tables = legacy_tables
        self._report = report
        self._kernel: NetfilterSocket | None = None
        self._is_open = True
        self._made_prerouting = False
        self._counts: dict[Garden, int] = {}
        """How many rules the operator's script has put into each garden."""

    @property
    def kernel(self) -> NetfilterSocket:
        if self._kernel is None:
            self._kernel = NetfilterSocket()
        return self._kernel

    def set_up(self, *, refill: bool) -> None:
        """Make everything, or put right what an earlier daemon left behind. With `refill` the
        gardens are emptied for build-garden, and closed until open(). Raises GardenError."""
        self._refuse_legacy()
        try:
            self._is_open = not refill
            self._transact(lambda found: self._anew(found, refill=refill))
        except NetfilterError as error:
            raise GardenError(_explain(error)) from error

    def empty(self) -> None:
        """Empty the gardens for build-garden, and close them. Raises NetfilterError."""
        self._is_open = False
        self._counts = {}
        self._apply(refill=True)

    def open(self) -> None:
        """The gardens are filled: let into them who is trapped. Raises NetfilterError."""
        self._is_open = True
        self._transact(self._gate)
        self._counts = {
            garden: inspection.count_rules(self.kernel, self.layout, garden)
            for garden in self.layout.gardens
        }

    def change(self, changes: Mapping[int, Garden | None]) -> None:
        """Trap addresses in a garden, or free them (None).

        A garden is known by its name, whatever layout it was taken from. Raises NetfilterError when
        the kernel refuses even after everything was made anew.
        """
        changes = self._by_name(changes)
        messages = list(self._changes(changes))
        for address, garden in changes.items():
            if garden is None:
                self.members.pop(address, None)
            else:
                self.members[address] = garden
        try:
            if messages:
                self.kernel.transaction(messages)
        except NetfilterError as error:
            self._report(f"the garden was not as it was left ({error}), making it anew")
            self._apply(refill=False)

    def check(self) -> bool:
        """Repair what is not as it must be, and report it. True when the gardens have to be
        filled again. Raises NetfilterError."""
        found = inspect(self.kernel, self.layout)
        faults = inspection.faults(found, self.layout, is_open=self._is_open)
        if not faults:
            faults = self._strays()
        emptied = [garden.chain for garden in self._emptied(found)]
        if faults:
            self._report(f"the garden is repaired: {'; '.join(faults)}")
            self._apply(refill=False)
        return bool(emptied)

    def rearrange(self, layout: Layout, *, refill: bool) -> None:
        """Have other gardens from now on. Who is trapped stays trapped: in the garden of the same
        name, else in the one without a name. With `refill` as for set_up(). Raises NetfilterError
        or GardenError with nothing changed."""
        before = (self.layout, self.members, self._counts, self._is_open)
        self.layout, self._counts = layout, {}
        self.members = {ip: layout.garden(garden.name) for ip, garden in self.members.items()}
        self._is_open = self._is_open and not refill
        names = {garden.name for garden in layout.gardens}
        gone = [garden for garden in before[0].gardens if garden.name not in names]

        def messages(found: RuleSet) -> Iterator[bytes]:
            yield from self._everything(found, refill=refill)
            for garden in gone:
                yield from self._farewell_of(garden, found, [], emptied=refill)

        try:
            self._transact(messages)
        except BaseException:
            self.layout, self.members, self._counts, self._is_open = before
            raise

    def tear_down(self, *, emptied: bool) -> list[str]:
        """Take away what is ours, with all members. With `emptied` the rules in the gardens are
        ours as well, because build-garden put them there. What others use stays and is named.

        Raises NetfilterError.
        """
        self.members = {}
        kept: list[str] = []

        def messages(found: RuleSet) -> Iterator[bytes]:
            kept.clear()
            yield from self._farewell(found, kept, emptied=emptied)

        self._transact(messages)
        # these are ours only as long as nobody else has anything in them
        if self._made_prerouting:
            self._try(self.layout.delete_chain(NAT_TABLE, PREROUTING))
            self._try(self.layout.delete_table(NAT_TABLE))
        self._try(self.layout.delete_table(OWN_TABLE))
        return kept

    def close(self) -> None:
        """Let go of the socket; the rules stay."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    # The whole

    def _apply(self, *, refill: bool) -> None:
        self._transact(lambda found: self._everything(found, refill=refill))

    def _anew(self, found: RuleSet, *, refill: bool) -> Iterator[bytes]:
        """Everything, without the gardens of an earlier daemon that this one does not have."""
        yield from self._everything(found, refill=refill)
        chains = {garden.chain for garden in self.layout.gardens}
        for name in found.sets:
            if name.startswith(NAMED_PREFIX) and name not in chains:
                gone = Garden(name.removeprefix(NAMED_PREFIX), 0)
                yield from self._farewell_of(gone, found, [], emptied=refill)

    def _everything(self, found: RuleSet, *, refill: bool) -> Iterator[bytes]:
        layout = self.layout
        prerouting = found.nat.get(PREROUTING)
        if prerouting is not None and not prerouting.is_nat_prerouting:
            raise GardenError(
                f"chain {PREROUTING} of table ip {NAT_TABLE} is not what iptables makes of it "
                "(type nat hook prerouting): rename it"
            )
        yield layout.table(NAT_TABLE)
        if prerouting is None:
            self._made_prerouting = True
            yield layout.prerouting()
        yield from layout.nat_chains()
        for garden in layout.gardens:
            if refill and garden.chain in found.nat:
                yield layout.flush(NAT_TABLE, garden.chain)
        if USERS_CHAIN in found.nat:
            yield layout.flush(NAT_TABLE, USERS_CHAIN)
        for rule in layout.users_rules():
            yield layout.rule(NAT_TABLE, USERS_CHAIN, rule)
        for handle in found.jumps[1:]:
            yield layout.flush(NAT_TABLE, PREROUTING, handle)
        if not found.jumps:
            yield layout.rule(NAT_TABLE, PREROUTING, jump_to_users())
        yield from self._own(found)

    def _own(self, found: RuleSet) -> Iterator[bytes]:
        layout = self.layout
        yield layout.table(OWN_TABLE)
        yield from self._without_own(found)
        yield from layout.own_sets()
        yield from layout.own_chains()
        for rule in layout.mark_rules():
            yield layout.rule(OWN_TABLE, MARK_CHAIN, rule)
        for rule in layout.drop_rules(is_open=self._is_open):
            yield layout.rule(OWN_TABLE, DROP_CHAIN, rule)
        for rule in layout.reply_rules():
            yield layout.rule(OWN_TABLE, REPLY_CHAIN, rule)
        for garden in layout.gardens:
            addresses = [ip for ip, where in self.members.items() if where == garden]
            yield from layout.add_members(garden, addresses)

    def _without_own(self, found: RuleSet) -> Iterator[bytes]:
        """Delete our chains and sets, whatever daemon made them."""
        for name in OWN_CHAINS:
            if name in found.own:
                yield self.layout.flush(OWN_TABLE, name)
                yield self.layout.delete_chain(OWN_TABLE, name)
        for name in found.sets:
            yield self.layout.delete_set(name)

    def _gate(self, found: RuleSet) -> Iterator[bytes]:
        if DROP_CHAIN not in found.own:
            yield from self._everything(found, refill=False)
            return
        yield self.layout.flush(OWN_TABLE, DROP_CHAIN)
        for rule in self.layout.drop_rules(is_open=self._is_open):
            yield self.layout.rule(OWN_TABLE, DROP_CHAIN, rule)

    def _farewell(self, found: RuleSet, kept: list[str], *, emptied: bool) -> Iterator[bytes]:
        layout = self.layout
        for handle in found.jumps:
            yield layout.flush(NAT_TABLE, PREROUTING, handle)
        users = found.nat.get(USERS_CHAIN)
        if users is not None:
            yield layout.flush(NAT_TABLE, USERS_CHAIN)
            if users.uses == len(found.users_rules) + len(found.jumps):
                yield layout.delete_chain(NAT_TABLE, USERS_CHAIN)
            else:
                kept.append(USERS_CHAIN)
        for garden in layout.gardens:
            yield from self._farewell_of(garden, found, kept, emptied=emptied)
        yield layout.table(OWN_TABLE)  # a transaction is never empty
        yield from self._without_own(found)

    def _farewell_of(
        self, garden: Garden, found: RuleSet, kept: list[str], *, emptied: bool
    ) -> Iterator[bytes]:
        chain = found.nat.get(garden.chain)
        if chain is None:
            return
        rules = inspection.count_rules(self.kernel, self.layout, garden)
        jumps = sum(1 for rule in found.users_rules if _jumps_to(rule, garden.chain))
        if chain.uses > rules + jumps or (rules and not emptied):
            kept.append(garden.chain)
            return
        yield self.layout.flush(NAT_TABLE, garden.chain)
        yield self.layout.delete_chain(NAT_TABLE, garden.chain)

    # Parts

    def _transact(self, messages: Callable[[RuleSet], Iterator[bytes]]) -> None:
        """Carry out what `messages` makes of the rule set, on exactly that rule set."""
        gives_up_at = time.monotonic() + PATIENCE_S
        while True:
            found = inspect(self.kernel, self.layout)
            try:
                self.kernel.transaction(messages(found), found.generation)
            except NetfilterError as error:
                if error.code != errno.ERESTART or time.monotonic() > gives_up_at:
                    raise
            else:
                return
            time.sleep(PAUSE_S)

    def _try(self, message: bytes) -> None:
        try:
            self.kernel.transaction([message])
        except NetfilterError as error:
            if error.code not in (errno.EBUSY, errno.ENOENT):
                raise

    def _by_name(self, changes: Mapping[int, Garden | None]) -> dict[int, Garden | None]:
        return {ip: garden and self.layout.garden(garden.name) for ip, garden in changes.items()}

    def _changes(self, changes: Mapping[int, Garden | None]) -> Iterator[bytes]:
        for garden in self.layout.gardens:
            leaving = [
                ip
                for ip, target in changes.items()
                if self.members.get(ip) == garden and target != garden
            ]
            yield from self.layout.delete_members(garden, leaving)
        for garden in self.layout.gardens:
            entering = [ip for ip, target in changes.items() if target == garden]
            yield from self.layout.add_members(garden, entering)

    def _strays(self) -> list[str]:
        faults = []
        for garden in self.layout.gardens:
            wanted = {ip for ip, where in self.members.items() if where == garden}
            there = inspection.members(self.kernel, self.layout, garden)
            if there != wanted:
                count = len(there ^ wanted)
                faults.append(f"{count} members of set {garden.chain} were changed")
        return faults

    def _emptied(self, found: RuleSet) -> Iterator[Garden]:
        for garden, count in self._counts.items():
            if not count:
                continue
            if garden.chain not in found.nat or not inspection.count_rules(
                self.kernel, self.layout, garden
            ):
                self._report(f"chain {garden.chain} has lost its rules")
                yield garden

    def _refuse_legacy(self) -> None:
        try:
            tables = self._legacy_tables.read_text().split()
        except OSError:
            return  # no iptables-legacy in this kernel, or it is not ours to see
        if NAT_TABLE in tables:
            raise GardenError(
                "iptables-legacy holds the nat table, where rules of nftables are not seen: move "
                "its rules to iptables-nft (iptables-legacy-save | iptables-nft-restore), then "
                "unload it (rmmod iptable_nat)"
            )


def _jumps_to(rule: tuple[object, ...], chain: str) -> bool:
    return chain.encode() + b"\0" in _octets(rule)


def _octets(value: object) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, tuple):
        return [octets for part in value for octets in _octets(part)]
    return []


def _explain(error: NetfilterError) -> str:
    if error.code in (errno.EPERM, errno.EACCES):
        return "the daemon may not change the firewall: it needs CAP_NET_ADMIN"
    if error.code in NOT_SUPPORTED:
        return (
            f"this kernel lacks what the garden needs of netfilter ({error}): load nf_tables and "
            "nft_chain_nat (modprobe), or build the kernel with CONFIG_NF_TABLES, CONFIG_NFT_NAT "
            "and CONFIG_NF_CONNTRACK"
        )
    return f"netfilter refuses the garden ({error})"
