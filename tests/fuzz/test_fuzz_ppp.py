"""The PPP fuzz entry under hypothesis, on raw bytes and on packets that nearly make sense."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_ppp import links, one_input
from l2tpns_core.ppp.link import Phase

options = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, 5, 7, 8, 17, 129, 130, 131]),
        st.sampled_from([b"", b"\x05\xdc", b"\xc0\x23", b"\xc2\x23\x05", b"\x0a\0\0\2", bytes(4)])
        | st.binary(max_size=8),
    ),
    max_size=4,
).map(lambda items: b"".join(bytes((kind, 2 + len(v))) + v for kind, v in items))
logins = st.sampled_from([b"\x02u1\x02pw", b"\x10" + bytes(16) + b"u1", b"\x31" + bytes(49)])
protocols = st.sampled_from([0xC021, 0xC021, 0x8021, 0xC023, 0xC223, 0x8057, 0x0021, 0x0020])


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """One frame with its length before it, as the entry expects it."""
    data = draw(options | logins | st.binary(max_size=20))
    length = 4 + len(data) + draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1]))
    header = struct.pack("!HBBH", draw(protocols), draw(st.integers(0, 14)), draw(numbers), length)
    prefix = draw(st.sampled_from([b"", b"\xff\x03"]))
    raw = (prefix + header + data)[:255]
    return bytes((len(raw),)) + raw


numbers = st.integers(0, 4) | st.integers(0, 255)


def test_the_links_of_the_entry_are_in_the_phases_they_are_meant_to_be() -> None:
    assert [link.phase for link in links()] == [
        Phase.DEAD,
        Phase.ESTABLISH,
        Phase.AUTHENTICATE,
        Phase.AUTHENTICATE,
        Phase.AUTHENTICATE,
        Phase.NETWORK,
        Phase.NETWORK,
    ]
    assert links()[-1].ipcp_state.label == "Opened"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    one_input(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(packets(), max_size=12))
def test_packets_that_nearly_make_sense(frames: list[bytes]) -> None:
    one_input(b"".join(frames))
