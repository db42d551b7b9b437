"""Hidden AVPs against MD5 chains computed here (RFC 2661 section 4.3)."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.hiding import hide, reveal

SECRET = b"s3cret"
VECTOR = bytes(range(16))


def expected(kind: int, plain: bytes) -> bytes:
    """The ciphertext of a subformat, block by block as the RFC writes it."""
    key = hashlib.md5(kind.to_bytes(2, "big") + SECRET + VECTOR).digest()
    cipher = b""
    while plain:
        block = bytes(x ^ y for x, y in zip(plain[:16], key, strict=False))
        cipher += block
        key = hashlib.md5(SECRET + block).digest()
        plain = plain[16:]
    return cipher


@pytest.mark.parametrize("size", [0, 1, 13, 14, 15, 30, 31, 100, 1015])
def test_ciphertext_is_chained_on_ciphertext(size: int) -> None:
    value = bytes(i * 7 & 0xFF for i in range(size))
    plain = size.to_bytes(2, "big") + value
    assert hide(21, value, SECRET, VECTOR) == expected(21, plain)


def test_known_vector() -> None:
    """Written out once, so that a change of both sides is noticed too."""
    hidden = hide(22, b"5551212", SECRET, VECTOR)
    assert hidden == expected(22, b"\0\x075551212")
    assert hidden.hex() == "d71a3f676c5cad65ba"


@given(st.integers(0, 65535), st.binary(max_size=300), st.binary(max_size=40))
def test_reveal_undoes_hide_whatever_the_padding(kind: int, value: bytes, padding: bytes) -> None:
    hidden = hide(kind, value, SECRET, VECTOR, padding)
    assert len(hidden) == 2 + len(value) + len(padding)
    assert reveal(kind, hidden, SECRET, VECTOR) == value


@pytest.mark.parametrize("size", [0, 1])
def test_body_without_room_for_the_length_is_refused(size: int) -> None:
    with pytest.raises(L2tpError):
        reveal(9, bytes(size), SECRET, VECTOR)


@pytest.mark.parametrize("length", [5, 0xFFFF])
def test_length_inside_is_not_believed_beyond_the_body(length: int) -> None:
    hidden = expected(9, length.to_bytes(2, "big") + b"four")
    with pytest.raises(L2tpError) as caught:
        reveal(9, hidden, SECRET, VECTOR)
    assert (caught.value.result, caught.value.error) == (2, 2)


@given(st.binary(max_size=1017))
def test_any_bytes_are_revealed_or_refused(hidden: bytes) -> None:
    try:
        value = reveal(9, hidden, SECRET, VECTOR)
    except L2tpError:
        return
    assert len(value) <= len(hidden) - 2
