"""The AVP table against RFC 2661, and its codec."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.l2tp.avp import (
    MAX_AVPS,
    TABLE,
    AvpType,
    Hiding,
    decode_avps,
    encode_avp,
    encode_avps,
)
from l2tpns_core.l2tp.codes import DisconnectCause
from l2tpns_core.l2tp.hiding import hide
from l2tpns_core.l2tp.values import (
    MAX_TEXT_BYTES,
    Accm,
    CallErrors,
    Format,
    Q931Cause,
    ResultCode,
    Value,
    encode_text,
    printable,
)
from unit.l2tp.wire import avp, u16, u32

SECRET = b"secret"
VECTOR = b"v" * 16

NOT_MANDATORY = {5, 6, 8, 25, *range(26, 34), 37, 38, 46}
NEVER_HIDDEN = {0, 1, 2, 5, 7, 10, 12, 36, 39}

printable_text = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF)).filter(
    lambda text: text.isprintable() and 0 < len(text.encode()) <= MAX_TEXT_BYTES
)
u8s, u16s, u32s = st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
VALUES: dict[Format, st.SearchStrategy[Value]] = {
    Format.FLAG: st.just(1),
    Format.UINT16: u16s,
    Format.UINT32: u32s,
    Format.SPEED: u32s,
    Format.UINT64: st.integers(0, 2**64 - 1),
    Format.TEXT: printable_text,
    Format.NAME: printable_text,
    Format.BYTES: st.binary(max_size=900),
    Format.SEED: st.binary(min_size=1, max_size=900),
    Format.DIGEST: st.binary(min_size=16, max_size=16),
    Format.RESULT_CODE: st.builds(ResultCode, u16s, u16s, printable_text),
    Format.Q931_CAUSE: st.builds(Q931Cause, u16s, u8s, printable_text),
    Format.CALL_ERRORS: st.builds(CallErrors, *[u32s] * 6),
    Format.ACCM: st.builds(Accm, u32s, u32s),
    Format.DISCONNECT_CAUSE: st.builds(DisconnectCause, u16s, u16s, u8s, printable_text),
}


@st.composite
def avps(draw: st.DrawFn) -> tuple[AvpType, Value]:
    kind = draw(st.sampled_from([kind for kind in AvpType if kind is not AvpType.RANDOM_VECTOR]))
    return kind, draw(VALUES[TABLE[kind].format])


def test_table_has_every_attribute_of_the_rfc() -> None:
    assert set(TABLE) == {*range(20), *range(21, 40), 46}
    assert set(AvpType) == set(TABLE)
    assert len({spec.name for spec in TABLE.values()}) == len(TABLE)


@pytest.mark.parametrize("kind", sorted(TABLE))
def test_mandatory_and_hidden_bits_are_those_of_the_rfc(kind: int) -> None:
    assert TABLE[kind].mandatory == (kind not in NOT_MANDATORY)
    assert TABLE[kind].hideable == (kind not in NEVER_HIDDEN)


@given(avps())
def test_what_is_written_is_read_back(pair: tuple[AvpType, Value]) -> None:
    kind, value = pair
    decoded = decode_avps(encode_avp(kind, value))
    assert decoded.fault is None
    assert decoded.values == {kind: value}


@given(st.lists(avps(), max_size=8, unique_by=lambda pair: pair[0]))
def test_what_is_hidden_is_read_back(pairs: list[tuple[AvpType, Value]]) -> None:
    body = encode_avps(pairs, Hiding(SECRET, lambda size: VECTOR[:size]))
    decoded = decode_avps(body, SECRET)
    assert decoded.fault is None
    assert decoded.values == dict(pairs)
    hideable = any(kind not in NEVER_HIDDEN for kind, _ in pairs)
    assert (VECTOR in body) == hideable
    if hideable:
        assert decode_avps(body).hidden_failures > 0


def test_one_random_vector_goes_before_the_first_hidden_avp() -> None:
    hiding = Hiding(SECRET, lambda size: VECTOR[:size])
    body = encode_avps(
        ((AvpType.MESSAGE_TYPE, 10), (AvpType.BEARER_TYPE, 1), (AvpType.FRAMING_TYPE, 2)), hiding
    )
    padding = bytes(10)
    assert body == b"".join(
        (
            avp(0, u16(10)),
            avp(36, VECTOR),
            avp(18, hide(18, u32(1), SECRET, VECTOR, padding), 0xC000),
            avp(19, hide(19, u32(2), SECRET, VECTOR, padding), 0xC000),
        )
    )


def test_hiding_does_not_show_its_secret() -> None:
    assert "hunter2" not in repr(Hiding(b"hunter2", bytes))


def test_latest_random_vector_counts() -> None:
    other = b"w" * 20
    body = (
        avp(36, VECTOR)
        + avp(18, hide(18, u32(1), SECRET, VECTOR), 0xC000)
        + avp(36, other)
        + avp(19, hide(19, u32(2), SECRET, other), 0xC000)
    )
    assert decode_avps(body, SECRET).values == {18: 1, 19: 2}


@pytest.mark.parametrize(
    ("body", "secret", "code"),
    [
        (avp(18, bytes(16), 0xC000), b"", 6),
        (avp(18, bytes(16), 0xC000), SECRET, 6),
        (avp(36, VECTOR) + avp(18, b"x", 0xC000), SECRET, 2),
        (avp(36, VECTOR) + avp(18, bytes(15), 0xC000), SECRET, 2),
        (avp(36, VECTOR) + avp(36, hide(36, VECTOR, SECRET, VECTOR), 0xC000), SECRET, 6),
        (avp(36, VECTOR) + avp(0, hide(0, u16(1), SECRET, VECTOR), 0xC000), SECRET, 6),
        (avp(36, VECTOR) + avp(18, hide(18, b"12345", SECRET, VECTOR), 0xC000), SECRET, 2),
    ],
)
def test_hidden_avp_that_cannot_be_read_is_a_fault(body: bytes, secret: bytes, code: int) -> None:
    decoded = decode_avps(body, secret)
    assert decoded.fault is not None
    assert (decoded.fault.result, decoded.fault.error) == (2, code)
    assert decoded.values == {}


def test_hidden_avp_that_cannot_be_read_is_passed_over_without_the_m_bit() -> None:
    decoded = decode_avps(avp(8, bytes(16), 0x4000) + avp(6, u16(3), 0))
    assert decoded.fault is None
    assert decoded.values == {6: 3}
    assert (decoded.ignored, decoded.hidden_failures) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (0, b"\0"),
        (0, b"\0\0\0"),
        (1, b"\0"),
        (1, b"\0\1\0"),
        (2, b"\1"),
        (3, b"\0\0\0"),
        (5, bytes(7)),
        (7, b""),
        (9, b"\1"),
        (11, b""),
        (12, b"\0\1"),
        (13, bytes(15)),
        (13, bytes(17)),
        (24, b"12x45"),
        (24, b""),
        (24, b"1" * 19),
        (34, bytes(25)),
        (35, bytes(11)),
        (39, b"\1"),
        (46, bytes(4)),
    ],
)
def test_value_of_a_wrong_size_is_a_fault_with_the_m_bit_only(kind: int, value: bytes) -> None:
    decoded = decode_avps(avp(kind, value))
    assert decoded.fault is not None
    assert (decoded.fault.result, decoded.fault.error) == (2, 2)
    lenient = decode_avps(avp(kind, value, 0))
    assert lenient.fault is None
    assert lenient.values == {}
    assert lenient.ignored == 1


def test_empty_random_vector_hides_nothing() -> None:
    decoded = decode_avps(avp(36, b"") + avp(18, bytes(16), 0xC000), SECRET)
    assert decoded.fault is not None


@pytest.mark.parametrize("kind", [20, 40, 45, 47, 1000, 65535])
def test_unknown_avp_is_a_fault_with_the_m_bit_only(kind: int) -> None:
    decoded = decode_avps(avp(kind, b"x"))
    assert decoded.fault is not None
    assert (decoded.fault.result, decoded.fault.error) == (2, 8)
    assert str(kind) in decoded.fault.text
    assert decode_avps(avp(kind, b"x", 0)).fault is None


def test_vendor_avp_is_unknown_whatever_its_type() -> None:
    decoded = decode_avps(avp(14, u16(7), vendor=9))
    assert decoded.fault is not None
    assert decoded.fault.error == 8
    assert "vendor 9" in decoded.fault.text
    assert decode_avps(avp(14, u16(7), 0, vendor=9)).values == {}


@pytest.mark.parametrize("bit", [0x2000, 0x1000, 0x0800, 0x0400])
def test_avp_with_a_reserved_bit_is_treated_as_unknown(bit: int) -> None:
    assert decode_avps(avp(14, u16(7), bit)).values == {}
    mandatory = decode_avps(avp(14, u16(7), 0x8000 | bit))
    assert mandatory.fault is not None
    assert mandatory.fault.error == 8


@pytest.mark.parametrize("size", range(6))
def test_avp_shorter_than_its_header_ends_the_reading(size: int) -> None:
    raw = struct.pack("!HHH", 0x8000 | size, 0, 14) + avp(15, u32(1))
    decoded = decode_avps(avp(14, u16(7)) + raw)
    assert decoded.fault is not None
    assert (decoded.fault.result, decoded.fault.error) == (2, 2)
    assert decoded.values == {14: 7}


@pytest.mark.parametrize("size", range(1, 14))
def test_avp_cut_off_is_a_fault_even_without_the_m_bit(size: int) -> None:
    body = avp(7, b"lac-name", 0)[:size]
    decoded = decode_avps(body)
    assert decoded.fault is not None
    assert decoded.values == {}


def test_what_can_be_read_beside_a_fault_is_read() -> None:
    decoded = decode_avps(avp(0, u16(10)) + avp(99, b"") + avp(14, u16(7)))
    assert decoded.fault is not None
    assert decoded.values == {0: 10, 14: 7}


def test_first_fault_is_the_one_to_report() -> None:
    decoded = decode_avps(avp(99, b"") + avp(13, b"short"))
    assert decoded.fault is not None
    assert decoded.fault.error == 8


def test_repeated_avp_counts_once() -> None:
    decoded = decode_avps(avp(14, u16(7)) + avp(14, u16(8)))
    assert decoded.values == {14: 7}
    assert decoded.fault is None
    assert decoded.ignored == 1


def test_repeated_message_type_is_a_fault() -> None:
    decoded = decode_avps(avp(0, u16(10)) + avp(0, u16(12)))
    assert decoded.fault is not None
    assert decoded.values == {0: 10}


def test_number_of_avps_is_bounded() -> None:
    enough = decode_avps(avp(99, b"", 0) * MAX_AVPS)
    assert enough.fault is None
    too_many = decode_avps(avp(99, b"", 0) * MAX_AVPS + avp(14, u16(7)))
    assert too_many.fault is not None
    assert too_many.values == {}


def test_speed_may_be_written_as_digits() -> None:
    assert decode_avps(avp(24, b"56000")).values == {24: 56000}
    assert decode_avps(avp(38, b"\0\0\xda\xc0")).values == {38: 56000}


def test_result_code_without_error_code() -> None:
    assert decode_avps(avp(1, u16(3))).values == {1: ResultCode(3)}
    assert encode_avp(AvpType.RESULT_CODE, ResultCode(3)) == avp(1, u16(3))
    assert encode_avp(AvpType.RESULT_CODE, ResultCode(3, 0, "x")) == avp(1, b"\0\3\0\0x")


def test_disconnect_cause_is_laid_out_as_rfc_3145_has_it() -> None:
    cause = DisconnectCause(16, 0xC023, 1, "bad password")
    assert encode_avp(AvpType.DISCONNECT_CAUSE, cause) == avp(
        46, b"\x00\x10\xc0\x23\x01bad password", 0
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"LAC-1", "LAC-1"),
        ("Zürich".encode(), "Zürich"),
        (b"a\xffb", "a\\xffb"),
        (b"\x1b[2J\n", "\\x1b[2J\\n"),
        ("\u202eevil".encode(), "\\u202eevil"),
        (b"\0" * 300, ("\\x00" * 300)[:MAX_TEXT_BYTES]),
    ],
)
def test_text_of_a_peer_is_printable_and_bounded(raw: bytes, text: str) -> None:
    assert printable(raw) == text
    assert decode_avps(avp(22, raw)).values == {22: text}


@given(st.binary(max_size=1017))
def test_text_is_printable_whatever_the_bytes(raw: bytes) -> None:
    text = printable(raw)
    assert text.isprintable()
    assert len(text) <= MAX_TEXT_BYTES


@given(st.text(max_size=600))
def test_text_that_we_send_is_cut_at_a_character(text: str) -> None:
    raw = encode_text(text)
    assert len(raw) <= MAX_TEXT_BYTES
    raw.decode()


def test_value_that_fits_no_avp_is_not_sent() -> None:
    with pytest.raises(ValueError, match="too long"):
        encode_avp(AvpType.CHALLENGE, bytes(1018))
    assert len(encode_avp(AvpType.CHALLENGE, bytes(1017))) == 1023


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_are_decoded_without_an_exception(body: bytes, with_secret: bool) -> None:
    decoded = decode_avps(body, SECRET if with_secret else b"")
    assert len(decoded.values) <= MAX_AVPS
