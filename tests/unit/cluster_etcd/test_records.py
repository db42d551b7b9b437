"""What is below the prefix in etcd: understood, or left out and counted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.cluster_etcd.records import (
    MASTER,
    MAX_MEMBERS,
    MEMBERS,
    ROSTER,
    KeyValue,
    MasterKey,
    Member,
    Roster,
    master_value,
    member_value,
    roster_value,
    view_of,
)

NODE = Member("10.0.0.1", 5, 32_792, "1.0", up_to_date=True, reign=1 << 40, sequence=3, lease=9)
KEYS = st.sampled_from([MASTER, ROSTER, f"{MEMBERS}10.0.0.1", MEMBERS, "", "else"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from([*json.loads(member_value(NODE)), "nodes", "hold"])
OBJECTS = st.dictionaries(FIELDS, JSON | st.just("10.0.0.1"), max_size=10)
VALUES = st.binary(max_size=80) | OBJECTS.map(lambda found: json.dumps(found).encode())


def test_what_was_written_is_read() -> None:
    found = [
        KeyValue(f"{MEMBERS}10.0.0.1", member_value(NODE), 9, 4),
        KeyValue(MASTER, master_value("10.0.0.1", 5), 9, 6),
        KeyValue(ROSTER, roster_value(["10.0.0.2", "10.0.0.1"], 60.0), 0, 7),
    ]
    view, refused = view_of(8, found)
    assert not refused
    assert view.members == {"10.0.0.1": NODE}
    assert view.members["10.0.0.1"].lease == 9
    assert view.master == MasterKey("10.0.0.1", 5, 9, 6)
    assert view.roster == Roster(frozenset(["10.0.0.1", "10.0.0.2"]), 60.0, 7)


@given(st.lists(st.builds(KeyValue, KEYS, VALUES, st.integers(), st.integers()), max_size=5))
def test_anything_is_understood_or_left_out(found: list[KeyValue]) -> None:
    view, refused = view_of(1, found)
    understood = len(view.members) + (view.master is not None) + (view.roster is not None)
    assert refused <= len(found)
    assert understood <= len(found)
    if not found:
        assert not refused


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (f"{MEMBERS}10.0.0.2", member_value(NODE)),
        (f"{MEMBERS}10.0.0.1", b"{" + b" " * 5000 + b"}"),
        (f"{MEMBERS}10.0.0.1", b"[" * 3000),
        (f"{MEMBERS}10.0.0.1", b'{"address": "10.0.0.1", "started": -1}'),
        (f"{MEMBERS}10.0.0.1", b'{"address": "10.0.0.1", "started": 1, "up_to_date": 1}'),
        (f"{MEMBERS}10.0.0.1", b'{"address": "10.0.0.1", "started": 1, "version": 1}'),
        (MASTER, b'{"address": "host", "started": 1}'),
        (MASTER, b'{"address": "10.0.0.1", "started": true}'),
        (ROSTER, b'{"nodes": ["10.0.0.1"], "hold": -1}'),
        (ROSTER, b'{"nodes": ["10.0.0.1"], "hold": NaN}'),
        (ROSTER, b'{"nodes": "10.0.0.1", "hold": 1}'),
        ("else", b"{}"),
    ],
)
def test_what_is_wrong_is_counted(key: str, value: bytes) -> None:
    view, refused = view_of(1, [KeyValue(key, value, 1, 1)])
    assert refused == 1
    assert (view.members, view.master, view.roster) == ({}, None, None)


def test_a_later_release_may_tell_more() -> None:
    value = json.dumps({**json.loads(member_value(NODE)), "colour": "blue"}).encode()
    view, refused = view_of(1, [KeyValue(f"{MEMBERS}10.0.0.1", value, 9, 1)])
    assert (view.members, refused) == ({"10.0.0.1": NODE}, 0)


def test_there_are_no_more_members_than_a_cluster_can_have() -> None:
    found = []
    for number in range(MAX_MEMBERS + 5):
        node = Member(f"10.0.0.{number}", 1)
        found.append(KeyValue(MEMBERS + node.address, member_value(node), 1, 1))
    view, refused = view_of(1, found)
    assert (len(view.members), refused) == (MAX_MEMBERS, 5)
