"""The spool fuzz entry under hypothesis: raw bytes, and lines that nearly make sense."""

import json

from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzz_spool import one_input
from l2tpns_core.radius.spool.file import delivered_line, keep_line

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
names = st.sampled_from(
    ["status", "time", "accounting_id", "user", "usage", "session_time", "classes", "extra", "ip"]
)
GOOD = (
    b'{"status":2,"time":1.5,"session_key":1,"tunnel_id":1,"session_id":1,"ip":1,"netmask":0,'
    b'"user":"u","accounting_id":"1","calling_number":"","called_number":"","connect_info":"",'
    b'"lac_address":"","classes":[],"usage":[1,2,3,4],"session_time":5}'
)


@given(st.binary(max_size=200))
def test_raw_bytes(data: bytes) -> None:
    one_input(data)


@given(names, values)
def test_records_with_a_field_that_is_something_else(name: str, value: object) -> None:
    one_input(json.dumps(json.loads(GOOD) | {name: value}).encode())


@given(st.data())
def test_lines_that_nearly_make_sense(data: st.DataObject) -> None:
    lines = data.draw(
        st.lists(
            st.one_of(
                st.builds(keep_line, st.integers(0, 10**18), st.just(GOOD)),
                st.builds(delivered_line, st.integers(0, 9)),
                st.binary(max_size=8),
            ),
            max_size=6,
        )
    )
    joined = bytearray(b"".join(lines))
    for _ in range(data.draw(st.integers(0, 2))):
        if joined:
            joined[data.draw(st.integers(0, len(joined) - 1))] ^= data.draw(st.integers(1, 255))
    one_input(bytes(joined))
