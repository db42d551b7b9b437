"""The rules of the walled garden: what they are, as messages, and how they are known again.

    table ip nat                        as iptables-nft makes it; shared with the operator
      PREROUTING    jump garden_users                   appended to what is there
      garden_users  mark & MASK == 1 -> jump garden     one rule for each garden
      garden        (the operator's, from build-garden) one chain for each garden
    table ip l2tpns                     the daemon's own
      set garden    the addresses that are trapped      one for each garden
      garden_mark   saddr in the set -> set the mark    before PREROUTING of nat
      garden_drop   mark & MASK == MASK -> drop         after it
      garden_reply  mark & MASK != 0, ct direction reply -> drop      where packets are forwarded

A packet costs the same however many are trapped. The mark has a value for each garden, and its
highest one means: to be dropped (iptables takes no DROP in the nat table). Everything that differs
between IPv4 and IPv6 is in a Family.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pyroute2.netlink.nfnetlink import nftsocket as nft

from l2tpns_plugins_garden.netlink import TYPE_MASK, Attributes, attribute, encode, text, walk

NLM_F_CREATE, NLM_F_APPEND, NLM_F_NONREC = 0x400, 0x800, 0x100
NLA_F_NESTED: Final = 0x8000

NAT_TABLE, OWN_TABLE = "nat", "l2tpns"
PREROUTING: Final = "PREROUTING"
USERS_CHAIN: Final = "garden_users"
MARK_CHAIN, DROP_CHAIN, REPLY_CHAIN = "garden_mark", "garden_drop", "garden_reply"
OWN_CHAINS: Final = (MARK_CHAIN, DROP_CHAIN, REPLY_CHAIN)
OWN_PREFIX: Final = "garden"
"""What our sets and chains in OWN_TABLE begin with."""
NAMED_PREFIX: Final = "garden_"
"""What the chain and the set of a garden with a name begin with."""

HOOK_PREROUTING, HOOK_FORWARD = 0, 2
PRIORITY_FILTER: Final = 0
PRIORITY_DNAT: Final = -100
PRIORITY_MARK: Final = -110
"""After the mangle table, so that an operator's --set-mark does not take the mark away."""
PRIORITY_DROP: Final = -90
ACCEPT, DROP, JUMP = 1, 0, -3
REGISTER_VERDICT, REGISTER_1 = 0, 1
META_MARK: Final = 3
CT_DIRECTION, DIRECTION_REPLY = 1, 1
CMP_EQ, CMP_NEQ = 0, 1
NETWORK_HEADER: Final = 1
ELEMENTS_PER_MESSAGE: Final = 2000
"""An attribute holds 64 KiB, and an element at most 28 bytes."""

EXPRESSION_NAME, EXPRESSION_DATA = 1, 2
NFTA_LIST_ELEM: Final = 1
SET_ELEM_KEY, SET_ELEM_LIST_ELEMENTS, DATA_VALUE = 1, 3, 1
IGNORED: Final[dict[str, frozenset[int]]] = {
    "counter": frozenset((1, 2, 3)),  # its values
    "bitwise": frozenset((6,)),  # NFTA_BITWISE_OP, which old kernels do not have
    "lookup": frozenset((4, 5)),  # NFTA_LOOKUP_SET_ID, NFTA_LOOKUP_FLAGS
}

Expression = dict[str, Attributes]
Signature = tuple[object, ...]


@dataclass(slots=True, frozen=True)
class Family:
    """What differs between the versions of IP."""

    number: int
    """NFPROTO_IPV4 or NFPROTO_IPV6."""
    address_length: int
    source_offset: int
    """Of the source address in the header."""
    key_type: int
    """What nft calls the type of a set of addresses, as a number."""


IPV4: Final = Family(2, 4, 12, 7)


@dataclass(slots=True, frozen=True)
class Garden:
    """One garden: its chain of `nat`, which is also the name of its set, and its mark."""

    name: str
    """"" for the garden that has no name."""
    mark: int

    @property
    def chain(self) -> str:
        return f"{NAMED_PREFIX}{self.name}" if self.name else "garden"


@dataclass(slots=True, frozen=True)
class Layout:
    """All gardens of one family, and the bits of the mark that are theirs."""

    gardens: tuple[Garden, ...]
    mask: int
    family: Family = IPV4

    def garden(self, name: str) -> Garden:
        """The garden of that name, or else the one without a name."""
        by_name = {garden.name: garden for garden in self.gardens}
        return by_name.get(name) or by_name[""]

    # What there must be

    def nat_chains(self) -> Iterator[bytes]:
        """Our chains in `nat`; nothing happens to one that exists."""
        for name in (*(garden.chain for garden in self.gardens), USERS_CHAIN):
            yield self._chain(NAT_TABLE, name)

    def prerouting(self) -> bytes:
        """The base chain, for a system on which nothing has made it yet."""
        return self._base_chain(NAT_TABLE, PREROUTING, "nat", PRIORITY_DNAT)

    def own_sets(self) -> Iterator[bytes]:
        for number, garden in enumerate(self.gardens, 1):
            yield self._message(
                nft.nft_set_msg,
                nft.NFT_MSG_NEWSET,
                [
                    ("NFTA_SET_TABLE", OWN_TABLE),
                    ("NFTA_SET_NAME", garden.chain),
                    ("NFTA_SET_FLAGS", ()),
                    ("NFTA_SET_KEY_TYPE", self.family.key_type),
                    ("NFTA_SET_KEY_LEN", self.family.address_length),
                    ("NFTA_SET_ID", number),
                ],
                NLM_F_CREATE,
            )

    def own_chains(self) -> Iterator[bytes]:
        yield self._base_chain(OWN_TABLE, MARK_CHAIN, "filter", PRIORITY_MARK)
        yield self._base_chain(OWN_TABLE, DROP_CHAIN, "filter", PRIORITY_DROP)
        yield self._base_chain(OWN_TABLE, REPLY_CHAIN, "filter", PRIORITY_FILTER, HOOK_FORWARD)

    def users_rules(self) -> list[list[Expression]]:
        return [
            [*self._mark_is(CMP_EQ, garden.mark), _counter(), _verdict(JUMP, garden.chain)]
            for garden in self.gardens
        ]

    def mark_rules(self) -> list[list[Expression]]:
        return [self._mark_members(garden) for garden in self.gardens]

    def drop_rules(self, *, is_open: bool) -> list[list[Expression]]:
        """What drops; unless the gardens are open, that is every packet of who is trapped."""
        test = self._mark_is(CMP_EQ, self.mask) if is_open else self._mark_is(CMP_NEQ, 0)
        return [[*test, _counter(), _verdict(DROP)]]

    def reply_rules(self) -> list[list[Expression]]:
        """What drops the answers to a connection that began outside: NAT lets them pass. Those to
        this machine itself, which are not forwarded, reach it."""
        direction = _expression("ct", ("NFTA_CT_KEY", CT_DIRECTION), ("NFTA_CT_DREG", REGISTER_1))
        is_reply = _compare(CMP_EQ, bytes((DIRECTION_REPLY,)))
        return [[*self._mark_is(CMP_NEQ, 0), direction, is_reply, _counter(), _verdict(DROP)]]

    # Messages about them

    def table(self, name: str) -> bytes:
        attributes = [("NFTA_TABLE_NAME", name)]
        return self._message(nft.nft_table_msg, nft.NFT_MSG_NEWTABLE, attributes, NLM_F_CREATE)

    def delete_table(self, name: str) -> bytes:
        """Refused (EBUSY) when something is in it."""
        attributes = [("NFTA_TABLE_NAME", name)]
        return self._message(nft.nft_table_msg, nft.NFT_MSG_DELTABLE, attributes, NLM_F_NONREC)

    def delete_chain(self, table: str, name: str) -> bytes:
        """Refused (EBUSY) when rules are in it or jump to it."""
        attributes = [("NFTA_CHAIN_TABLE", table), ("NFTA_CHAIN_NAME", name)]
        return self._message(nft.nft_chain_msg, nft.NFT_MSG_DELCHAIN, attributes, NLM_F_NONREC)

    def delete_set(self, name: str) -> bytes:
        attributes = [("NFTA_SET_TABLE", OWN_TABLE), ("NFTA_SET_NAME", name)]
        return self._message(nft.nft_set_msg, nft.NFT_MSG_DELSET, attributes)

    def rule(self, table: str, chain: str, expressions: list[Expression]) -> bytes:
        """Append a rule."""
        attributes: Attributes = [
            ("NFTA_RULE_TABLE", table),
            ("NFTA_RULE_CHAIN", chain),
            ("NFTA_RULE_EXPRESSIONS", expressions),
        ]
        flags = NLM_F_CREATE | NLM_F_APPEND
        return self._message(nft.nft_rule_msg, nft.NFT_MSG_NEWRULE, attributes, flags)

    def flush(self, table: str, chain: str, handle: int = 0) -> bytes:
        """Delete every rule of a chain, or the one with that handle."""
        attributes: Attributes = [("NFTA_RULE_TABLE", table), ("NFTA_RULE_CHAIN", chain)]
        if handle:
            attributes.append(("NFTA_RULE_HANDLE", handle))
        return self._message(nft.nft_rule_msg, nft.NFT_MSG_DELRULE, attributes)

    def add_members(self, garden: Garden, addresses: Iterable[int]) -> Iterator[bytes]:
        """Put addresses into the set of a garden; those that are in it stay."""
        return self._elements(nft.NFT_MSG_NEWSETELEM, garden.chain, addresses, NLM_F_CREATE)

    def delete_members(self, garden: Garden, addresses: Iterable[int]) -> Iterator[bytes]:
        """Take addresses out; refused (ENOENT) when one is not in the set."""
        return self._elements(nft.NFT_MSG_DELSETELEM, garden.chain, addresses)

    def list_chains(self) -> bytes:
        return self._message(nft.nft_chain_msg, nft.NFT_MSG_GETCHAIN, [])

    def list_sets(self) -> bytes:
        return self._message(nft.nft_set_msg, nft.NFT_MSG_GETSET, [])

    def list_rules(self, table: str, chain: str) -> bytes:
        attributes = [("NFTA_RULE_TABLE", table), ("NFTA_RULE_CHAIN", chain)]
        return self._message(nft.nft_rule_msg, nft.NFT_MSG_GETRULE, attributes)

    def list_members(self, garden: Garden) -> bytes:
        attributes = [
            ("NFTA_SET_ELEM_LIST_TABLE", OWN_TABLE),
            ("NFTA_SET_ELEM_LIST_SET", garden.chain),
        ]
        return self._message(nft.nft_set_elem_list_msg, nft.NFT_MSG_GETSETELEM, attributes)

    # How they are made

    def _message(
        self, message_class: type[Any], kind: int, attributes: Attributes, flags: int = 0
    ) -> bytes:
        return encode(message_class, kind, self.family.number, attributes, flags)

    def _chain(self, table: str, name: str, more: Attributes | None = None) -> bytes:
        attributes = [("NFTA_CHAIN_TABLE", table), ("NFTA_CHAIN_NAME", name), *(more or ())]
        return self._message(nft.nft_chain_msg, nft.NFT_MSG_NEWCHAIN, attributes, NLM_F_CREATE)

    def _base_chain(
        self, table: str, name: str, kind: str, priority: int, hook_number: int = HOOK_PREROUTING
    ) -> bytes:
        hook = [("NFTA_HOOK_HOOKNUM", hook_number), ("NFTA_HOOK_PRIORITY", priority)]
        more: Attributes = [
            ("NFTA_CHAIN_TYPE", kind),
            ("NFTA_CHAIN_HOOK", {"attrs": hook}),
            ("NFTA_CHAIN_POLICY", ACCEPT),
        ]
        return self._chain(table, name, more)

    def _mark_is(self, operator: int, value: int) -> list[Expression]:
        return [
            _expression("meta", ("NFTA_META_KEY", META_MARK), ("NFTA_META_DREG", REGISTER_1)),
            _bitwise(self.mask, 0),
            _compare(operator, struct.pack("=I", value)),
        ]

    def _mark_members(self, garden: Garden) -> list[Expression]:
        return [
            _expression(
                "payload",
                ("NFTA_PAYLOAD_DREG", REGISTER_1),
                ("NFTA_PAYLOAD_BASE", NETWORK_HEADER),
                ("NFTA_PAYLOAD_OFFSET", self.family.source_offset),
                ("NFTA_PAYLOAD_LEN", self.family.address_length),
            ),
            _expression(
                "lookup", ("NFTA_LOOKUP_SET", garden.chain), ("NFTA_LOOKUP_SREG", REGISTER_1)
            ),
            _expression("meta", ("NFTA_META_KEY", META_MARK), ("NFTA_META_DREG", REGISTER_1)),
            _bitwise(~self.mask & 0xFFFFFFFF, garden.mark),
            _expression("meta", ("NFTA_META_KEY", META_MARK), ("NFTA_META_SREG", REGISTER_1)),
        ]

    def _elements(
        self, kind: int, name: str, addresses: Iterable[int], flags: int = 0
    ) -> Iterator[bytes]:
        left = list(addresses)
        attributes = [
            ("NFTA_SET_ELEM_LIST_TABLE", OWN_TABLE),
            ("NFTA_SET_ELEM_LIST_SET", name),
        ]
        bare = self._message(nft.nft_set_elem_list_msg, kind, attributes, flags)
        while left:
            part, left = left[:ELEMENTS_PER_MESSAGE], left[ELEMENTS_PER_MESSAGE:]
            listed = b"".join(self._element(address) for address in part)
            whole = bare + attribute(SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED, listed)
            yield struct.pack("=I", len(whole)) + whole[4:]

    def _element(self, address: int) -> bytes:
        value = attribute(DATA_VALUE, address.to_bytes(self.family.address_length, "big"))
        key = attribute(SET_ELEM_KEY | NLA_F_NESTED, value)
        return attribute(NFTA_LIST_ELEM | NLA_F_NESTED, key)


def jump_to_users() -> list[Expression]:
    """The rule of PREROUTING."""
    return [_counter(), _verdict(JUMP, USERS_CHAIN)]


def signature(expressions: list[Expression]) -> Signature:
    """What a rule is to be known by, made from what it is to be."""
    made = Layout((), 0).rule("", "", expressions)
    return next(
        signature_of(payload) for kind, payload in walk(made[20:]) if kind == RULE_EXPRESSIONS
    )


RULE_EXPRESSIONS: Final = 4


def signature_of(expressions: bytes) -> Signature:
    """The same for the expressions of a rule that the kernel lists: what it counts, and what not
    every kernel says, is left out."""
    parts: list[object] = []
    for _kind, element in walk(expressions):
        fields = dict(walk(element))
        name = text(fields.get(EXPRESSION_NAME, b""))
        ignored = IGNORED.get(name, frozenset())
        data = {
            kind: _flat(payload)
            for kind, payload in walk(fields.get(EXPRESSION_DATA, b""))
            if kind not in ignored
        }
        if name != "counter":
            parts.append((name, tuple(sorted(data.items()))))
    return tuple(parts)


def _flat(payload: bytes) -> object:
    """A payload with the attributes inside it, if that is what it looks like: whether the kernel
    marks them as nested depends on its version."""
    inner = list(walk(payload))
    if not inner or sum(len(value) + 7 & ~3 for _kind, value in inner) != len(payload) + 3 & ~3:
        return payload
    return tuple((kind & TYPE_MASK, _flat(value)) for kind, value in inner)


def _expression(name: str, *attributes: tuple[str, object]) -> Any:
    data = ("NFTA_EXPR_DATA", {"attrs": list(attributes)})
    return {"attrs": [("NFTA_EXPR_NAME", name), data]}


def _data(value: bytes) -> dict[str, Attributes]:
    return {"attrs": [("NFTA_DATA_VALUE", value)]}


def _compare(operator: int, value: bytes) -> Any:
    """Register 1 with a value."""
    return _expression(
        "cmp",
        ("NFTA_CMP_SREG", REGISTER_1),
        ("NFTA_CMP_OP", operator),
        ("NFTA_CMP_DATA", _data(value)),
    )


def _bitwise(mask: int, xor: int) -> Any:
    """Register 1 = register 1 & mask ^ xor."""
    return _expression(
        "bitwise",
        ("NFTA_BITWISE_SREG", REGISTER_1),
        ("NFTA_BITWISE_DREG", REGISTER_1),
        ("NFTA_BITWISE_LEN", 4),
        ("NFTA_BITWISE_MASK", _data(struct.pack("=I", mask))),
        ("NFTA_BITWISE_XOR", _data(struct.pack("=I", xor))),
    )


def _counter() -> Any:
    return _expression("counter", ("NFTA_COUNTER_BYTES", 0), ("NFTA_COUNTER_PACKETS", 0))


def _verdict(code: int, chain: str = "") -> Any:
    attributes: Attributes = [("NFTA_VERDICT_CODE", code)]
    if chain:
        attributes.append(("NFTA_VERDICT_CHAIN", chain))
    verdict = {"attrs": [("NFTA_DATA_VERDICT", {"attrs": attributes})]}
    return _expression(
        "immediate", ("NFTA_IMMEDIATE_DREG", REGISTER_VERDICT), ("NFTA_IMMEDIATE_DATA", verdict)
    )
