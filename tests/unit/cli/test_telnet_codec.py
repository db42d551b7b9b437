"""The telnet protocol, byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.cli.telnet_codec import MAX_SUBNEGOTIATION_BYTES, TelnetCodec

OFFER = b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x03\xff\xfd\x1f"


def test_text_passes_and_is_no_telnet() -> None:
    codec = TelnetCodec()
    assert codec.receive(b"show version\r\n") == b"show version\r\n"
    assert not codec.is_telnet
    assert codec.take_replies() == b""


def test_a_client_that_takes_the_offer() -> None:
    codec = TelnetCodec()
    codec.offer()
    assert codec.take_replies() == OFFER
    assert codec.receive(b"\xff\xfd\x01\xff\xfd\x03\xff\xfb\x03\xff\xfb\x1fhi") == b"hi"
    assert codec.is_telnet
    assert codec.echoes
    assert codec.take_replies() == b""
    codec.receive(b"\xff\xfe\x01")
    assert not codec.echoes
    assert codec.take_replies() == b"\xff\xfc\x01"


def test_a_client_that_asks_first_is_answered_once() -> None:
    codec = TelnetCodec()
    codec.receive(b"\xff\xfd\x01\xff\xfb\x1f")
    assert codec.echoes
    assert codec.take_replies() == b"\xff\xfb\x01\xff\xfd\x1f"
    codec.offer()
    assert codec.take_replies() == b"\xff\xfb\x03\xff\xfd\x03"


def test_other_options_are_refused_and_a_timing_mark_each_time() -> None:
    codec = TelnetCodec()
    codec.receive(b"\xff\xfb\x18\xff\xfd\x20\xff\xfd\x06\xff\xfd\x06")
    assert codec.take_replies() == b"\xff\xfe\x18\xff\xfc\x20\xff\xfc\x06\xff\xfc\x06"


@pytest.mark.parametrize(
    ("sent", "window"),
    [
        (b"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0", (80, 24)),
        (b"\xff\xfa\x1f\x00\xff\xff\x00\x18\xff\xf0", (255, 24)),
        (b"\xff\xfa\x1f\x00\x00\x00\x00\xff\xf0", (0, 0)),
        (b"\xff\xfa\x1f\x00\x50\x00\xff\xf0", None),
        (b"\xff\xfa\x18\x00\x50\x00\x18\xff\xf0", None),
        (b"\xff\xfa\xff\xf0", None),
    ],
)
def test_the_size_of_the_window(sent: bytes, window: tuple[int, int] | None) -> None:
    codec = TelnetCodec()
    for byte in sent:
        assert codec.receive(bytes((byte,))) == b""
    assert codec.window == window
    assert codec.receive(b"text") == b"text"


def test_commands_that_are_keys() -> None:
    assert TelnetCodec().receive(b"a\xff\xf4\xff\xf7\xff\xf8\xff\xf3\xff\xf6\xff\xffb") == (
        b"a\x03\x7f\x15\x03\xffb"
    )


def test_a_subnegotiation_without_an_end_keeps_little_and_says_nothing() -> None:
    codec = TelnetCodec()
    assert codec.receive(b"\xff\xfa\x1f" + b"x" * 2_000_000) == b""
    assert len(codec._subnegotiation) == MAX_SUBNEGOTIATION_BYTES
    assert codec.take_replies() == b""


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"\xff\xfd\x01", b"\xff\xfe\x01"])))
def test_any_bytes_in_any_pieces(pieces: list[bytes]) -> None:
    """What comes out does not depend on the pieces, and is never more than went in."""
    data = b"".join(pieces)
    whole, parts = TelnetCodec(), TelnetCodec()
    text = whole.receive(data)
    assert text == b"".join(parts.receive(piece) for piece in pieces)
    replies = whole.take_replies()
    assert replies == parts.take_replies()
    assert len(text) + len(replies) <= len(data)
