"""What comes from the network: refused or understood, never anything else."""

import hashlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.cluster import asking, fields
from l2tpns_core.cluster.counts import MAX_COUNTS, Count, pack_counts, unpack_counts
from l2tpns_core.cluster.errors import ClusterError, Refusal
from l2tpns_core.cluster.messages import (
    MESSAGES,
    PREFERRED_BODY,
    Changes,
    Heartbeat,
    Message,
    Ping,
    decode_body,
    encode_body,
)
from l2tpns_core.cluster.rows import LIKELY, MAX_ROWS_BYTES, deflate, pack, packed, unpack
from l2tpns_core.cluster.seal import HEADER, MAX_SKEW_S, VERSION, WINDOW, Seal
from unit.cluster.world import SECRET, WALL, row_of

NUMBERS = st.integers(0, (1 << 64) - 1)
VALUES = {
    int: NUMBERS,
    bool: st.booleans(),
    bytes: st.binary(max_size=200),
    tuple[int, ...]: st.lists(NUMBERS, max_size=8).map(tuple),
}
ANY_MESSAGE = st.one_of(
    st.builds(kind, **{n: VALUES[t] for n, t in kind.__annotations__.items() if n != "KIND"})
    for kind in MESSAGES.values()
)


def seals() -> tuple[Seal, Seal]:
    return Seal(SECRET, 1, 1000), Seal(SECRET, 2, 1000)


def refusal(seal: Seal, data: bytes, wall: float = WALL) -> Refusal:
    with pytest.raises(ClusterError) as caught:
        seal.open(data, wall)
    return caught.value.refusal


@given(ANY_MESSAGE)
def test_every_message_arrives_as_it_was_sent(message: Message) -> None:
    here, there = seals()
    opened = there.open(here.seal(message, WALL), WALL)
    assert opened is not None
    assert (opened.sender, opened.message) == (1, message)


@given(st.integers(0, 255), st.binary(max_size=400))
def test_any_body_is_understood_or_refused(kind: int, body: bytes) -> None:
    try:
        message = decode_body(kind, body)
    except ClusterError:
        return
    assert decode_body(message.KIND, encode_body(message)) == message


@given(st.binary(max_size=400))
def test_any_rows_are_understood_or_refused(data: bytes) -> None:
    for octets in (data, deflate(data)):
        try:
            rows = unpack(octets)
        except ClusterError:
            continue
        assert unpack(pack(rows)) == rows


@given(st.binary(max_size=400))
def test_any_counts_are_understood_or_refused(data: bytes) -> None:
    try:
        counts = unpack_counts(data)
    except ClusterError:
        return
    assert unpack_counts(pack_counts(counts)) == counts


@given(st.binary(max_size=200))
def test_any_datagram_is_refused(data: bytes) -> None:
    with pytest.raises(ClusterError):
        seals()[0].open(data, WALL)


@given(ANY_MESSAGE, st.integers(0), st.integers(1, 255))
def test_a_datagram_with_one_octet_changed_is_refused(message: Message, at: int, by: int) -> None:
    here, there = seals()
    data = bytearray(here.seal(message, WALL))
    data[at % len(data)] ^= by
    with pytest.raises(ClusterError):
        there.open(bytes(data), WALL)


def test_a_wrong_key_is_refused() -> None:
    assert refusal(Seal(b"other", 2, 1), seals()[0].seal(Ping(1), WALL)) is Refusal.KEY


def test_what_comes_again_is_refused_and_what_is_only_late_is_not() -> None:
    here, there = seals()
    first, second = here.seal(Ping(1), WALL), here.seal(Ping(2), WALL)
    assert there.open(second, WALL) is not None
    assert there.open(first, WALL) is not None
    assert refusal(there, first) is Refusal.REPLAY
    assert refusal(there, second) is Refusal.REPLAY
    for _ in range(WINDOW):
        late = here.seal(Ping(3), WALL)
    assert there.open(late, WALL) is not None
    assert refusal(there, first) is Refusal.REPLAY


def test_a_recording_is_refused_by_a_node_that_was_just_started() -> None:
    old = seals()[0].seal(Ping(1), WALL)
    assert refusal(Seal(SECRET, 3, 1), old, WALL + MAX_SKEW_S + 1) is Refusal.TIME


def test_a_process_that_was_replaced_is_refused() -> None:
    before, after, there = Seal(SECRET, 1, 1000), Seal(SECRET, 1, 2000), Seal(SECRET, 2, 1)
    last_words = before.seal(Ping(1), WALL)
    assert there.open(after.seal(Ping(2), WALL), WALL) is not None
    assert refusal(there, last_words) is Refusal.REPLAY


def test_our_own_multicast_is_no_news() -> None:
    here, _ = seals()
    assert here.open(here.seal(Ping(1), WALL), WALL) is None


def test_a_later_version_is_understood_as_long_as_it_says_so() -> None:
    here, there = seals()

    def as_version(version: int, minimum: int) -> bytes:
        data = bytearray(here.seal(Ping(5), WALL))[:-16]
        struct.pack_into("!BB", data, 2, version, minimum)
        return bytes(data) + here._tag(bytes(data))

    opened = there.open(as_version(VERSION + 1, VERSION), WALL)
    assert opened is not None
    assert opened.message == Ping(5)
    assert refusal(there, as_version(VERSION + 2, VERSION + 1)) is Refusal.VERSION


def test_a_field_of_a_later_version_is_skipped() -> None:
    body = encode_body(Ping(5)) + struct.pack("!BH", 200, 3) + b"new"
    assert decode_body(Ping.KIND, body) == Ping(5)


@pytest.mark.parametrize(
    "body",
    [
        b"\x01",
        b"\x01\x00\x05ab",
        b"\x01\x00\x09123456789",
        b"\x01\x00\x01a\x01\x00\x01a",
        b"\x01\x00\x01a\x04\x00\x01\x02",
        b"",
    ],
)
def test_a_body_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(ClusterError) as caught:
        decode_body(Ping.KIND, body)
    assert caught.value.refusal is Refusal.BODY


def test_a_list_is_bounded() -> None:
    numbers = tuple(range(fields.MAX_NUMBERS + 1))
    heartbeat = Heartbeat(1, 1, 1, 1, numbers, 1, 1)
    with pytest.raises(ClusterError):
        decode_body(Heartbeat.KIND, encode_body(heartbeat))


def test_rows_that_would_fill_the_memory_are_refused() -> None:
    bomb = deflate(b"[" * (MAX_ROWS_BYTES + 1))
    assert len(bomb) < 2000
    with pytest.raises(ClusterError):
        unpack(bomb)


def test_a_message_too_large_is_not_sent() -> None:
    here, _ = seals()
    with pytest.raises(ClusterError) as caught:
        here.seal(Changes(1, 1, bytes(65_000)), WALL)
    assert caught.value.refusal is Refusal.SIZE


def test_rows_fit_into_frames_and_none_is_lost() -> None:
    rows = [row_of(number, f"user-{number}@example.net") for number in range(500)]
    parts = list(packed(rows))
    assert [row for data, _ in parts for row in unpack(data)] == rows
    assert [len(unpack(data)) for data, _ in parts] == [count for _, count in parts]
    assert max(len(data) for data, _ in parts) <= PREFERRED_BODY


def test_counts_fit_into_a_frame() -> None:
    counts = {key: Count(1 << 40, 1 << 40, 5, 6, 7) for key in range(MAX_COUNTS)}
    assert unpack_counts(pack_counts(counts)) == counts
    assert len(pack_counts(counts)) <= PREFERRED_BODY
    assert HEADER.size == 34


GOLDEN = {
    "Ping": (
        "6c43010101000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "0102030001030400010105000101060001060700010708000101090001010a00010a0b00010b0c00"
        "010c9d7d6d25de0bc6bc0df7a69c3c213ffc"
    ),
    "Heartbeat": (
        "6c43010102000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "01020300010304000104050010000000000000000100000000000001020600010607000107080001"
        "0809000109cf0f7da813e97aff1094fe8a14d43b4c"
    ),
    "Changes": (
        "6c43010103000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "01020300066f63746574730400100000000000000001000000000000010280f3450999e4c70bb79d"
        "432fce1ad1a8"
    ),
    "Resend": (
        "6c43010104000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "01020300010326f948b8288b84aa83ba92e45360b392"
    ),
    "Fetch": (
        "6c43010105000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "01020300010304001000000000000000010000000000000102893b6870224d9aa706cafd608baa53"
        "29"
    ),
    "Piece": (
        "6c43010106000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "010203000103040001040500066f6374657473060001010700100000000000000001000000000000"
        "010203d25f4c2412ea9b8c92ec8e30b9e055"
    ),
    "Handover": (
        "6c43010107000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "0102030001038ba2eadf3b84b914ab8a5a319c2bb9fe"
    ),
    "Report": (
        "6c43010108000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "01020300066f637465747304000104f9d2df8817a4c73c626b5e60eb0b6853"
    ),
    "Forward": (
        "6c43010109000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "0102030001030400066f637465747305000105413244d607bbe0c9ce307c627f8e858b"
    ),
    "Command": (
        "6c4301010a000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "066f63746574730300010104000101005c706ee3da5280b8d24d8f06af95de"
    ),
    "Answer": (
        "6c4301010b000a08000100000000000003e8000000000000000100000000000007d0010001010200"
        "0102030001030400066f637465747305000101a78175c8a2182b34ab590952d43e35e7"
    ),
}
"""Datagrams of version 1, as a neighbouring release sends and expects them. A field may be added,
with a default; should anything else here have to change, the version has to as well."""
DICTIONARY = "bfdf98abd03fd5cb"
"""Of the rows' compressor."""


def sample(kind: type[Message]) -> Message:
    """A message with something in every field."""
    values: dict[object, Callable[[int], object]] = {
        int: lambda place: place,
        bool: lambda place: True,
        bytes: lambda place: b"octets",
        tuple[int, ...]: lambda place: (1, 258),
    }
    names = [(name, of) for name, of in kind.__annotations__.items() if name != "KIND"]
    return kind(**{name: values[of](place) for place, (name, of) in enumerate(names, 1)})


@pytest.mark.parametrize("kind", MESSAGES.values(), ids=lambda kind: kind.__name__)
def test_the_wire_format_is_that_of_the_neighbouring_releases(kind: type[Message]) -> None:
    datagram = bytes.fromhex(GOLDEN[kind.__name__])
    assert Seal(b"secret", 0x0A080001, 1000).seal(sample(kind), 2.0) == datagram
    opened = Seal(b"secret", 2, 1000).open(datagram, 2.0)
    assert opened is not None
    assert opened.message == sample(kind)


def test_no_kind_of_message_is_left_out() -> None:
    assert asking.Command.KIND in MESSAGES
    assert {kind.__name__ for kind in MESSAGES.values()} == GOLDEN.keys()


def test_rows_are_compressed_as_the_neighbouring_releases_expect() -> None:
    assert hashlib.sha256(LIKELY).hexdigest()[:16] == DICTIONARY
