"""The fuzz entry with inputs that reach deep: lines that are nearly right."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_state import one_input
from l2tpns_core.state.lines import encode_line

SESSION = {
    "tunnel_id": 1,
    "session_id": 2,
    "peer_session_id": 3,
    "unique": 4,
    "opened": 1.5,
    "lac_address": "192.0.2.2",
    "link": {"auth": "\xc0#", "asked_auth": "\xc0#", "peer_ip": 7},
    "user": "alice",
    "ip": 167772161,
    "address_source": "pool",
    "routes": [[1, 24]],
    "classes": ["a"],
    "up_time": 2.5,
    "accounting_started": True,
    "plugin_data": '{"garden":{}}',
}
TUNNEL = {
    "local_id": 1,
    "peer_id": 9,
    "address": "192.0.2.2",
    "port": 1701,
    "local": "",
    "peer_window": 4,
    "receive_window": 8,
}
RECORDS = [
    ["t", TUNNEL],
    ["m", [1, 0, 1, 5, [[0, "x", False], [3, "y", True]]]],
    ["s", SESSION],
    ["c", [65538, *range(12)]],
    ["p", {"ip": 167772162, "user": "bob", "freed_time": 1.0}],
    ["w", {"time": 10.0, "unique": 4}],
    [
        "e",
        {
            "status": 2,
            "accounting_id": "0000000100000001",
            "event_time": 9.0,
            "session_key": 65538,
            "tunnel_id": 1,
            "session_id": 2,
            "usage": [1, 2, 3, 4],
        },
    ],
    ["E", "2/0000000100000001"],
    ["S", 65538],
    ["T", 1],
    ["stop", {"time": 11.0, "unique": 4}],
    ["end", 3],
]
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=6),
        st.sampled_from([0, 1, 0xFFFF, 0x10000, 1 << 32, 1 << 64, -1, "pool", "radius", ""]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def spoiled(record: object, where: list[int], value: object) -> object:
    """The record with something inside it replaced."""
    if not where or not record or not isinstance(record, (list, dict)):
        return value
    keys = list(range(len(record))) if isinstance(record, list) else list(record)
    key = keys[where[0] % len(keys)]
    copy = record.copy()
    copy[key] = spoiled(record[key], where[1:], value)  # type: ignore[index,call-overload]
    return copy


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_octets(data: bytes) -> None:
    one_input(data)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(range(len(RECORDS))), max_size=8),
    st.lists(st.integers(0, 30), max_size=4),
    VALUES,
)
def test_records_that_are_nearly_right(order: list[int], where: list[int], value: object) -> None:
    records = [RECORDS[index] for index in order]
    if records:
        records.append(spoiled(records[-1], where, value))  # type: ignore[arg-type]
    one_input(b"".join(map(encode_line, records)))


@settings(deadline=None)
@given(st.integers(0, 2000), st.binary(max_size=4))
def test_files_that_are_cut_off_or_overwritten(at: int, change: bytes) -> None:
    whole = b"".join(map(encode_line, RECORDS))
    one_input(whole[:at])
    one_input(whole[:at] + change + whole[at + len(change) :])
