import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.radius.dictionary import (
    DictionaryError,
    decode_value,
    describe,
    encode_named,
)


@pytest.mark.parametrize(
    ("key", "octets", "name", "value"),
    [
        (8, b"\xc0\0\x02\x07", "Framed-IP-Address", "192.0.2.7"),
        (6, b"\0\0\0\x02", "Service-Type", "Framed-User"),
        (27, b"\0\0\x0e\x10", "Session-Timeout", 3600),
        (25, b"\xff\0", "Class", b"\xff\0"),
        (18, b"gr\xc3\xbc\xc3\x9fe", "Reply-Message", "grüße"),
        (18, b"\xff", "Reply-Message", b"\xff"),
        (64, b"\x01\0\0\x03", "Tunnel-Type", "L2TP"),
        (67, b"\x01192.0.2.1", "Tunnel-Server-Endpoint", "192.0.2.1"),
        (67, b"192.0.2.1", "Tunnel-Server-Endpoint", "192.0.2.1"),
        (97, b"\0\x40\x20\x01\x0d\xb8\0\0\0\0", "Framed-IPv6-Prefix", "2001:db8::/64"),
        (123, b"\0\x38\x20\x01\x0d\xb8", "Delegated-IPv6-Prefix", "2001:db8::/56"),
        (168, bytes(15) + b"\x01", "Framed-IPv6-Address", "::1"),
        (96, bytes(7) + b"\x01", "Framed-Interface-Id", "0:0:0:1"),
        (89, b"id", "Chargeable-User-Identity", b"id"),
        (101, b"\0\0\x01\xf7", "Error-Cause", "Session-Context-Not-Found"),
        ((9, 1), b"throttle=yes", "Cisco-AVPair", "throttle=yes"),
        ((311, 28), b"\xc0\0\x02\x01", "MS-Primary-DNS-Server", "192.0.2.1"),
        ((529, 135), b"\xc0\0\x02\x01", "Ascend-Client-Primary-DNS", "192.0.2.1"),
        (135, b"\xc0\0\x02\x01", "X-Ascend-Client-Primary-DNS", "192.0.2.1"),
    ],
)
def test_values_are_given_by_name(
    key: int | tuple[int, int], octets: bytes, name: str, value: object
) -> None:
    assert decode_value(key, octets) == (name, value)


@pytest.mark.parametrize("key", [69, (311, 16), (311, 17)])
def test_what_is_hidden_stays_hidden(key: int | tuple[int, int]) -> None:
    assert decode_value(key, b"\x80\x01salted").value == b"\x80\x01salted"


@pytest.mark.parametrize(
    ("key", "text"), [(250, "attribute 250"), ((14988, 3), "attribute 3 of vendor 14988")]
)
def test_the_unknown_is_named_by_its_numbers(key: int | tuple[int, int], text: str) -> None:
    assert describe(key) == text
    with pytest.raises(DictionaryError, match=text):
        decode_value(key, b"")


@given(
    st.one_of(
        st.integers(0, 255), st.tuples(st.sampled_from([9, 311, 529, 1]), st.integers(0, 255))
    ),
    st.binary(max_size=253),
)
def test_any_value_is_decoded_or_a_dictionary_error(
    key: int | tuple[int, int], octets: bytes
) -> None:
    try:
        name, _ = decode_value(key, octets)
    except DictionaryError:
        return
    assert name == describe(key)


@pytest.mark.parametrize(
    ("name", "value", "octets"),
    [
        ("Session-Timeout", 60, b"\x1b\x06\0\0\0\x3c"),
        ("Service-Type", "Framed-User", b"\x06\x06\0\0\0\x02"),
        ("Framed-IP-Address", "192.0.2.7", b"\x08\x06\xc0\0\x02\x07"),
        ("Cisco-AVPair", "a=b", b"\x1a\x0b\0\0\0\x09\x01\x05a=b"),
        ("Class", b"0x6162", b"\x19\x080x6162"),
        ("User-Name", b"\xff", b"\x01\x03\xff"),
    ],
)
def test_attributes_are_encoded_by_name(name: str, value: object, octets: bytes) -> None:
    assert encode_named(name, value) == octets


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("No-Such-Thing", 1),
        ("Session-Timeout", "soon"),
        ("Session-Timeout", -1),
        ("Session-Timeout", 2**32),
        ("Session-Timeout", None),
        ("Framed-IP-Address", "192.0.2"),
        ("Framed-IP-Address", 7),
        ("Reply-Message", "x" * 254),
        ("Cisco-AVPair", "x" * 248),
        ("Reply-Message", "\udc80\ud800"),
        ("Tunnel-Password", b"secret"),
        ("User-Password", b"secret"),
        ("Class", object()),
    ],
)
def test_a_value_that_does_not_fit_is_a_dictionary_error(name: str, value: object) -> None:
    with pytest.raises(DictionaryError, match=name):
        encode_named(name, value)
