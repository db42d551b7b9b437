"""What the rule set is like: read, compared, nothing changed."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from l2tpns_plugins_garden.netlink import NetfilterSocket, text, walk
from l2tpns_plugins_garden.rules import (
    DROP_CHAIN,
    HOOK_PREROUTING,
    MARK_CHAIN,
    NAT_TABLE,
    OWN_CHAINS,
    OWN_PREFIX,
    OWN_TABLE,
    PREROUTING,
    REPLY_CHAIN,
    RULE_EXPRESSIONS,
    SET_ELEM_KEY,
    SET_ELEM_LIST_ELEMENTS,
    USERS_CHAIN,
    Expression,
    Garden,
    Layout,
    Signature,
    jump_to_users,
    signature,
    signature_of,
)

CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_USE, CHAIN_TYPE = 1, 3, 4, 6, 7
HOOK_NUMBER: Final = 1
SET_TABLE, SET_NAME = 1, 2
RULE_HANDLE: Final = 3
DATA_VALUE: Final = 1


@dataclass(slots=True)
class Chain:
    """A chain that exists."""

    name: str
    uses: int
    """Rules in it and jumps to it."""
    is_nat_prerouting: bool


@dataclass(slots=True)
class RuleSet:
    """The part of the rule set that concerns the garden."""

    generation: int
    nat: dict[str, Chain] = field(default_factory=dict)
    own: dict[str, Chain] = field(default_factory=dict)
    sets: list[str] = field(default_factory=list)
    """Ours, whatever daemon made them."""
    jumps: list[int] = field(default_factory=list)
    """Handles of the rules in PREROUTING that jump to garden_users and do nothing else."""
    users_rules: list[Signature] = field(default_factory=list)
    mark_rules: list[Signature] = field(default_factory=list)
    drop_rules: list[Signature] = field(default_factory=list)
    reply_rules: list[Signature] = field(default_factory=list)


def inspect(kernel: NetfilterSocket, layout: Layout) -> RuleSet:
    """Read what there is. Raises NetfilterError."""
    found = RuleSet(kernel.generation())
    for body in kernel.dump(layout.list_chains()):
        fields = dict(walk(body))
        table, chain = text(fields[CHAIN_TABLE]), _chain(fields)
        if table == NAT_TABLE:
            found.nat[chain.name] = chain
        elif table == OWN_TABLE:
            found.own[chain.name] = chain
    for body in kernel.dump(layout.list_sets()):
        fields = dict(walk(body))
        name = text(fields[SET_NAME])
        if text(fields[SET_TABLE]) == OWN_TABLE and name.startswith(OWN_PREFIX):
            found.sets.append(name)
    if PREROUTING in found.nat:
        wanted = signature(jump_to_users())
        rules = _rules(kernel, layout, NAT_TABLE, PREROUTING)
        found.jumps = [handle for handle, known_by in rules if known_by == wanted]
    if USERS_CHAIN in found.nat:
        found.users_rules = _signatures(kernel, layout, NAT_TABLE, USERS_CHAIN)
    if MARK_CHAIN in found.own:
        found.mark_rules = _signatures(kernel, layout, OWN_TABLE, MARK_CHAIN)
    if DROP_CHAIN in found.own:
        found.drop_rules = _signatures(kernel, layout, OWN_TABLE, DROP_CHAIN)
    if REPLY_CHAIN in found.own:
        found.reply_rules = _signatures(kernel, layout, OWN_TABLE, REPLY_CHAIN)
    return found


def faults(found: RuleSet, layout: Layout, *, is_open: bool) -> list[str]:
    """What is not as it must be, in words; members are not looked at."""
    chains = [garden.chain for garden in layout.gardens]
    missing = [
        f"chain {name} is missing from nat"
        for name in (PREROUTING, USERS_CHAIN, *chains)
        if name not in found.nat
    ]
    missing += [f"set {name} is missing" for name in chains if name not in found.sets]
    missing += [f"chain {name} is missing" for name in OWN_CHAINS if name not in found.own]
    if PREROUTING in found.nat and len(found.jumps) != 1:
        missing.append(f"PREROUTING jumps to {USERS_CHAIN} {len(found.jumps)} times")
    for name, chains_there, actual, wanted in (
        (USERS_CHAIN, found.nat, found.users_rules, layout.users_rules()),
        (MARK_CHAIN, found.own, found.mark_rules, layout.mark_rules()),
        (DROP_CHAIN, found.own, found.drop_rules, layout.drop_rules(is_open=is_open)),
        (REPLY_CHAIN, found.own, found.reply_rules, layout.reply_rules()),
    ):
        if name in chains_there and actual != _wanted(wanted):
            missing.append(f"the rules of {name} were changed")
    return missing


def members(kernel: NetfilterSocket, layout: Layout, garden: Garden) -> set[int]:
    """The addresses in the set of a garden. Raises NetfilterError when there is no such set."""
    return {
        address
        for body in kernel.dump(layout.list_members(garden))
        for kind, listed in walk(body)
        if kind == SET_ELEM_LIST_ELEMENTS
        for address in _addresses(listed)
    }


def count_rules(kernel: NetfilterSocket, layout: Layout, garden: Garden) -> int:
    """How many rules the operator has in the chain of a garden."""
    return len(kernel.dump(layout.list_rules(NAT_TABLE, garden.chain)))


def _addresses(listed: bytes) -> Iterator[int]:
    for _kind, element in walk(listed):
        for kind, key in walk(element):
            if kind == SET_ELEM_KEY:
                for _value_kind, value in walk(key):
                    yield int.from_bytes(value, "big")


def _wanted(rules: list[list[Expression]]) -> list[Signature]:
    return [signature(expressions) for expressions in rules]


def _chain(fields: dict[int, bytes]) -> Chain:
    hook = dict(walk(fields.get(CHAIN_HOOK, b"")))
    number = int.from_bytes(hook.get(HOOK_NUMBER, b"\xff"), "big")
    kind = text(fields.get(CHAIN_TYPE, b""))
    uses = struct.unpack("!I", fields.get(CHAIN_USE, bytes(4)))[0]
    is_nat_prerouting = kind == "nat" and number == HOOK_PREROUTING
    return Chain(text(fields[CHAIN_NAME]), uses, is_nat_prerouting)


def _rules(
    kernel: NetfilterSocket, layout: Layout, table: str, chain: str
) -> Iterator[tuple[int, Signature]]:
    for body in kernel.dump(layout.list_rules(table, chain)):
        fields = dict(walk(body))
        handle = int.from_bytes(fields[RULE_HANDLE], "big")
        yield handle, signature_of(fields.get(RULE_EXPRESSIONS, b""))


def _signatures(kernel: NetfilterSocket, layout: Layout, table: str, chain: str) -> list[Signature]:
    return [known_by for _handle, known_by in _rules(kernel, layout, table, chain)]
