"""Messages to netfilter, byte by byte where it matters, and how rules are known again."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_plugins_garden.netlink import attribute, walk
from l2tpns_plugins_garden.rules import (
    ELEMENTS_PER_MESSAGE,
    RULE_EXPRESSIONS,
    Garden,
    Layout,
    jump_to_users,
    signature,
    signature_of,
)

GARDEN, UNPAID = Garden("", 0x10000), Garden("unpaid", 0x20000)
LAYOUT = Layout((GARDEN, UNPAID), 0xF0000)
NEWSETELEM, NEWRULE = 0xA0C, 0xA06


def body(message: bytes) -> dict[int, bytes]:
    """The attributes of a message whose header is right."""
    length, kind, _flags, _sequence, _pid, family = struct.unpack_from("=IHHIIB", message)
    assert length == len(message)
    assert kind >> 8 == 10
    assert family == 2
    return dict(walk(message[20:]))


def expressions(rule: bytes) -> bytes:
    return body(rule)[RULE_EXPRESSIONS]


def test_member_is_sixteen_bytes_in_network_order() -> None:
    (message,) = LAYOUT.add_members(GARDEN, [0x0A000001])
    assert struct.unpack_from("=H", message, 4) == (NEWSETELEM,)
    found = body(message)
    assert (found[1], found[2]) == (b"l2tpns\0", b"garden\0")
    assert found[3] == bytes.fromhex("100001800c000180080001000a000001")


@given(st.integers(0, 3 * ELEMENTS_PER_MESSAGE))
def test_members_are_split_so_that_attributes_hold_them(count: int) -> None:
    messages = list(LAYOUT.add_members(GARDEN, range(count)))
    sizes = [len(body(message)[3]) // 16 for message in messages]
    assert sum(sizes) == count
    assert all(0 < size <= ELEMENTS_PER_MESSAGE for size in sizes)


def test_rule_goes_to_its_chain() -> None:
    message = LAYOUT.rule("nat", "PREROUTING", jump_to_users())
    assert struct.unpack_from("=H", message, 4) == (NEWRULE,)
    found = body(message)
    assert (found[1], found[2]) == (b"nat\0", b"PREROUTING\0")
    assert b"garden_users\0" in found[RULE_EXPRESSIONS]


def every_rule() -> list[object]:
    return [
        jump_to_users(),
        *LAYOUT.users_rules(),
        *LAYOUT.mark_rules(),
        *LAYOUT.drop_rules(is_open=True),
        *LAYOUT.drop_rules(is_open=False),
    ]


def test_rules_are_told_apart() -> None:
    signatures = [signature(rule) for rule in every_rule()]  # type: ignore[arg-type]
    assert len(set(map(repr, signatures))) == len(signatures) == 7


@pytest.mark.parametrize("counted", [0, 12345])
def test_rule_is_known_whatever_it_has_counted(counted: int) -> None:
    rule = expressions(LAYOUT.rule("nat", "PREROUTING", jump_to_users()))
    zero = attribute(1, bytes(8)) + attribute(2, bytes(8))
    assert zero in rule
    number = counted.to_bytes(8, "big")
    assert signature_of(rule.replace(zero, attribute(1, number) + attribute(2, number))) == (
        signature(jump_to_users())
    )


def test_rule_is_known_with_what_newer_kernels_add() -> None:
    rule = LAYOUT.mark_rules()[0]
    made = expressions(LAYOUT.rule("l2tpns", "garden_mark", rule))
    operation = attribute(6, bytes(4))  # NFTA_BITWISE_OP
    parts = []
    for kind, element in walk(made):
        fields = dict(walk(element))
        extra = operation if fields[1] == b"bitwise\0" else b""
        parts.append(attribute(kind, attribute(1, fields[1]) + attribute(2, fields[2] + extra)))
    assert b"".join(parts) != made
    assert signature_of(b"".join(parts)) == signature(rule)


@given(st.binary(max_size=200))
def test_no_rule_of_others_disturbs(noise: bytes) -> None:
    assert signature_of(noise) != signature(jump_to_users())


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_walk_returns_what_was_packed(attributes: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind, payload) for kind, payload in attributes)
    assert list(walk(packed)) == attributes


@given(st.binary(max_size=100))
def test_walk_ends_on_any_bytes(noise: bytes) -> None:
    assert len(list(walk(noise))) <= len(noise) // 4
