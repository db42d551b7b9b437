"""Both packet formats of nsctl, octet by octet, and what is refused."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.control import wire
from l2tpns_core.control.wire import Fault, Format, Kind, Outcome, Reply, Request, WireError

DROP_BOB = bytes.fromhex("9013 14 02 04") + b"drop\x03bob\xff"


def first(number: int, data: bytes = b"", request_id: int = 0xCAFE, length: int = 0) -> bytes:
    return struct.pack("!HHHI", 0x9012, number, length or 10 + len(data), request_id) + data


def fault_of(datagram: bytes) -> Fault:
    with pytest.raises(WireError) as caught:
        wire.decode_request(datagram)
    return caught.value.fault


def test_a_command_is_encoded_as_released_programs_do() -> None:
    assert wire.encode_request(Kind.CONTROL, ["drop", "bob"]) == DROP_BOB


def test_a_command_is_decoded() -> None:
    request = wire.decode_request(DROP_BOB)
    assert request == Request(Kind.CONTROL, ("drop", "bob"), data=DROP_BOB[4:])


@pytest.mark.parametrize(
    ("number", "kind"),
    [(0x11, Kind.LOAD), (0x12, Kind.UNLOAD), (0x13, Kind.HELP), (0x14, Kind.CONTROL)],
)
def test_each_type_of_the_second_format_is_known(number: int, kind: Kind) -> None:
    request = wire.decode_request(bytes((0x90, 0x13, number, 0, 0xFF)))
    assert (request.kind, request.type, request.argv) == (kind, number, ())


@pytest.mark.parametrize(
    ("datagram", "fault"),
    [
        (b"", Fault.SHORT),
        (b"\x90", Fault.SHORT),
        (b"\x90\x13\x14\x00", Fault.SHORT),
        (DROP_BOB[:-1], Fault.SHORT),
        (DROP_BOB[:-3], Fault.SHORT),
        (DROP_BOB[:-1] + b"\0", Fault.SHORT),
        (DROP_BOB + b"\xff", Fault.EXTRA),
        (b"\x90\x13\x14\x01" + b"\xff" + b"a" * 254, Fault.SHORT),
        (b"\x90\x13\x14\x00\xff" + bytes(4096), Fault.EXTRA),
        (b"\x90\x11\x14\x00\xff", Fault.MAGIC),
        (b"GET / HTTP/1.0\r\n\r\n", Fault.MAGIC),
        (b"\x90\x13\x15\x00\xff", Fault.TYPE),
        (b"\x90\x13\x21\x00\xff", Fault.TYPE),
        (b"\x90\x12", Fault.SHORT),
        (first(1000)[:9], Fault.SHORT),
        (first(1000, b"5\0", length=13), Fault.SHORT),
        (first(1000, b"5\0", length=11), Fault.EXTRA),
        (first(1000, length=9), Fault.SHORT),
        (first(1000, b"a" * 1391), Fault.EXTRA),
        (first(1), Fault.TYPE),
        (first(2, b"Session not connected\0"), Fault.TYPE),
    ],
)
def test_what_is_not_a_request_is_refused(datagram: bytes, fault: Fault) -> None:
    assert fault_of(datagram) is fault


def test_an_argument_of_255_bytes_is_legal_although_its_length_looks_like_the_end() -> None:
    packet = wire.encode_request(Kind.CONTROL, ["a" * 255])
    assert packet[4] == 0xFF
    assert wire.decode_request(packet).argv == ("a" * 255,)


@pytest.mark.parametrize("number", [1000, 1001])
def test_the_manuals_commands_become_words(number: int) -> None:
    request = wire.decode_request(first(number, b"5\0"))
    assert request.argv == ({1000: "garden", 1001: "ungarden"}[number], "5")
    assert (request.kind, request.format) == (Kind.CONTROL, Format.FIRST)
    assert (request.type, request.id, request.data) == (number, 0xCAFE, b"5\0")


def test_plugins_are_loaded_by_the_first_format_too() -> None:
    assert wire.decode_request(first(5, b"garden\0")).kind is Kind.LOAD
    assert wire.decode_request(first(6, b"garden")).argv == ("garden",)


def test_a_type_that_only_a_plugin_knows_has_data_but_no_words() -> None:
    request = wire.decode_request(first(4711, b"\1\2\3"))
    assert (request.kind, request.type, request.argv) == (Kind.CONTROL, 4711, ())
    assert request.data == b"\1\2\3"


def test_a_reply_has_the_format_and_the_id_of_its_request() -> None:
    reply = Reply.error("not here")
    to_first = wire.encode_reply(reply, wire.decode_request(first(1000, b"5\0")))
    assert to_first == first(2, b"not here\0")
    to_second = wire.encode_reply(reply, wire.decode_request(DROP_BOB))
    assert to_second == b"\x90\x13\x22\x01\x08not here\xff"
    assert wire.decode_reply(to_first) == wire.decode_reply(to_second) == reply


def test_a_request_is_no_reply() -> None:
    with pytest.raises(WireError) as caught:
        wire.decode_reply(DROP_BOB)
    assert caught.value.fault is Fault.TYPE


def test_replies_are_recognised_even_when_they_are_broken() -> None:
    assert wire.is_reply(b"\x90\x13\x22")
    assert wire.is_reply(first(1)[:4])
    assert not any(wire.is_reply(x) for x in (b"", b"\x90\x13", DROP_BOB, first(1000), b"\x22" * 9))


@pytest.mark.parametrize("words", [["a" * 256], ["a"] * 256, ["a" * 255] * 16])
def test_a_request_that_says_too_much_is_not_sent(words: list[str]) -> None:
    with pytest.raises(WireError):
        wire.encode_request(Kind.CONTROL, words)
    assert wire.encode_request(Kind.CONTROL, ["a" * 255] * 15)


def test_a_reply_that_says_too_much_is_cut_between_characters() -> None:
    reply = Reply(Outcome.OK, ("a" + "é" * 200,) + ("b" * 255,) * 300)
    packet = wire.encode_reply_as(reply, Format.SECOND)
    lines = wire.decode_reply(packet).lines
    assert lines[0] == "a" + "é" * 127
    assert len(packet) <= 4096 < len(packet) + 256
    assert len(wire.encode_reply_as(reply, Format.FIRST)) <= 1400


def test_octets_that_are_no_text_survive() -> None:
    packet = b"\x90\x13\x14\x01\x03\xe9\xff\x80\xff"
    assert wire.encode_request(Kind.CONTROL, wire.decode_request(packet).argv) == packet


WORDS = st.lists(st.text(max_size=60).map(lambda text: text.replace("\0", "")), max_size=15)


@given(WORDS)
def test_words_come_out_as_they_went_in(words: list[str]) -> None:
    assert wire.decode_request(wire.encode_request(Kind.CONTROL, words)).argv == tuple(words)


@given(st.lists(st.text(min_size=1, max_size=20).map(lambda t: t.replace("\0", "x")), max_size=15))
def test_words_survive_the_first_format(words: list[str]) -> None:
    request = wire.decode_request(wire.encode_first_request(1000, 7, words))
    assert request.argv == ("garden", *words)


def test_fits_knows_what_a_reply_can_carry() -> None:
    assert wire.fits([])
    assert wire.fits(["a" * 255] * 5)
    assert not wire.fits(["a" * 256])
    assert not wire.fits(["a" * 255] * 6)
    assert not wire.fits([""] * 256)
