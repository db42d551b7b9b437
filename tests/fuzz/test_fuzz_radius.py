"""The fuzz entry with inputs that reach deep: attribute lists that are nearly right."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzz_radius import one_input

KINDS = st.one_of(st.sampled_from([8, 9, 11, 18, 22, 25, 26, 27, 28, 80, 85]), st.integers(0, 255))
VALUES = st.one_of(
    st.binary(max_size=60),
    st.binary(min_size=4, max_size=4),
    st.from_regex(rb"[0-9./ ]{0,20}", fullmatch=True),
    st.from_regex(rb"[a-z=,\"' :#]{0,40}", fullmatch=True),
)


@st.composite
def attributes(draw: st.DrawFn) -> bytes:
    kind, value = draw(KINDS), draw(VALUES)
    if kind == 26:
        vendor = draw(st.sampled_from([9, 311, 529, 14988]))
        own_kind = draw(st.sampled_from([1, 2, 16, 26, 28, 29, 135, 136, 250]))
        skew = draw(st.sampled_from([0, 0, 0, -2, -1, 1]))
        own_length = max(0, len(value) + 2 + skew)
        value = vendor.to_bytes(4) + bytes((own_kind, own_length)) + value
    return bytes((kind, len(value) + 2)) + value


@given(st.binary(max_size=600))
def test_any_octets(data: bytes) -> None:
    one_input(data)


@given(st.integers(0, 255), st.lists(attributes(), max_size=12), st.binary(max_size=3))
def test_attribute_lists(code: int, parts: list[bytes], tail: bytes) -> None:
    one_input(bytes((code,)) + b"".join(parts) + tail)


@pytest.mark.parametrize(
    "attribute",
    [
        b"\x01\x02",
        b"\x16\x0b10.0.0.0/8",
        b"\x1a\x08\0\0\0\x09\x01\x02",
        b"\x1a\x0b\0\0\0\x09\x01\x05a=b",
        b"\x1a\xff\0\0\0\x09\x01\xf9" + b'a=,,"' * 49 + b"  ",
        b"\x1a\xfe\0\0\x01\x37" + b"\x1c\x02" * 124,
        b"\x12\xff" + b"\xff" * 253,
    ],
)
def test_the_largest_packets_take_no_time(attribute: bytes) -> None:
    data = b"\0" + attribute * (4076 // len(attribute))
    started = time.process_time()
    one_input(data)
    assert time.process_time() - started < 0.5
