import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.radius.avpair import split_avpair


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("intercept=yes", [("intercept", "yes")]),
        ("intercept=yes,throttle=yes", [("intercept", "yes"), ("throttle", "yes")]),
        ("a = b , c = d", [("a", "b"), ("c", "d")]),
        ("a=b=c,d=e", [("a", "b=c"), ("d", "e")]),
        ("a=,b=1", [("a", ""), ("b", "1")]),
        ("intercept=yes,", [("intercept", "yes")]),
        (",,intercept=yes", [("intercept", "yes")]),
        ("alone", [("alone", "")]),
        ("", []),
        (" , ", []),
    ],
)
def test_commas_separate_pairs(text: str, pairs: list[tuple[str, str]]) -> None:
    assert split_avpair(text) == pairs


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("ip:dns-servers=192.0.2.1,192.0.2.2", [("ip:dns-servers", "192.0.2.1,192.0.2.2")]),
        ("a=1,2,b=3", [("a", "1,2"), ("b", "3")]),
    ],
)
def test_a_list_stays_whole(text: str, pairs: list[tuple[str, str]]) -> None:
    assert split_avpair(text) == pairs


@pytest.mark.parametrize(
    "value",
    ["service-policy output 256", "rate-limit output 64000,8000,burst=1", "ip mtu 1400 a=b"],
)
def test_interface_config_stays_whole(value: str) -> None:
    key = "lcp:interface-config#1"
    assert split_avpair(f"{key}={value}") == [(key, value)]
    assert split_avpair(f"x=1,{key}={value}") == [("x", "1"), (key, value)]


@pytest.mark.parametrize("quote", ["'", '"'])
def test_a_quoted_value_stays_whole_and_loses_its_quotes(quote: str) -> None:
    text = f"note={quote}x,y=1{quote},b=2"
    assert split_avpair(text) == [("note", "x,y=1"), ("b", "2")]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ('a="b', [("a", '"b')]),
        ('a="b"c,d=2', [("a", '"b"c'), ("d", "2")]),
        ("a=it's,b=1", [("a", "it's"), ("b", "1")]),
    ],
)
def test_a_quote_without_its_partner_is_an_ordinary_character(
    text: str, pairs: list[tuple[str, str]]
) -> None:
    assert split_avpair(text) == pairs


@given(st.text(max_size=247))
def test_any_text_is_split_without_an_error(text: str) -> None:
    for key, value in split_avpair(text):
        assert key
        assert len(key) + len(value) <= len(text)


def test_a_quoted_interface_config_loses_its_quotes() -> None:
    text = 'lcp:interface-config="rate-limit output 64000,8000"'
    assert split_avpair(text) == [("lcp:interface-config", "rate-limit output 64000,8000")]
