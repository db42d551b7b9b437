"""The fuzz entry with inputs that reach deep: packets that are nearly right."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzz_control import NONCE, SECRET, one_input
from l2tpns_core.control import seal

WORDS = st.one_of(
    st.sampled_from(
        [b"drop", b"kill", b"throttle", b"unthrottle", b"snoop", b"unsnoop", b"garden", b"in", b"o"]
    ),
    st.sampled_from([b"1", b"1/1", b"a", b"64", b"192.0.2.9", b"4242", b"-1", b"", b"\xff", b"\0"]),
    st.binary(max_size=255),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("l2tpns.control")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@given(st.binary(max_size=300))
def test_any_octets(data: bytes) -> None:
    one_input(data)


@given(
    st.integers(0, 255),
    st.lists(WORDS, max_size=8),
    st.integers(-1, 1),
    st.sampled_from([b"\xff", b"", b"\0", b"\xff\xff"]),
)
def test_packets_of_the_second_format(
    number: int, words: list[bytes], skew: int, tail: bytes
) -> None:
    count = max(0, len(words) + skew)
    body = b"".join(bytes((len(word),)) + word for word in words)
    one_input(bytes((0x90, 0x13, number, count)) + body + tail)


@given(st.lists(WORDS, max_size=8))
def test_commands(words: list[bytes]) -> None:
    body = b"".join(bytes((len(word),)) + word for word in words)
    one_input(bytes((0x90, 0x13, 0x14, len(words))) + body + b"\xff")


@given(
    st.sampled_from([1, 2, 5, 6, 1000, 1001, 7]),
    st.binary(max_size=200),
    st.sampled_from([0, 0, 0, -1, 1, 60000]),
)
def test_packets_of_the_first_format(number: int, data: bytes, skew: int) -> None:
    length = (10 + len(data) + skew) % 65536
    one_input(b"\x90\x12" + number.to_bytes(2) + length.to_bytes(2) + b"abcd" + data)


@given(st.binary(max_size=100), st.integers(0, 400), st.integers(0, 255))
def test_sealed_packets_with_a_wrong_octet(packet: bytes, place: int, octet: int) -> None:
    sealed = bytearray(seal.seal_request(packet, SECRET.encode(), NONCE, 1000.0))
    sealed[place % len(sealed)] = octet
    one_input(bytes(sealed))


@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\x01\xff"])
def test_the_largest_packets(filler: bytes) -> None:
    one_input((b"\x90\x13\x14\xff" + filler * 4096)[:4096])
    one_input((b"\x90\x12\x03\xe8\x05\x78\0\0\0\0" + filler * 4096)[:1400])
