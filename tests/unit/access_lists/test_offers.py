"""What is offered while a rule is typed: each word leads on to a rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.access_lists.offers import next_words
from l2tpns_core.access_lists.parse import parse_rule
from l2tpns_core.access_lists.rules import Kind

VALUES = {"<ip>": "10.0.0.1", "<wildcard>": "0.0.0.255", "<port>": "80"}


@pytest.mark.parametrize(
    ("kind", "typed", "offered"),
    [
        ("standard", "", "any host <ip>"),
        ("standard", "host", "<ip>"),
        ("standard", "10.0.0.1", "<wildcard>"),
        ("standard", "any", ""),
        ("extended", "", "ip tcp udp"),
        ("extended", "ip", "any host <ip>"),
        ("extended", "ip any", "any host <ip>"),
        ("extended", "udp any", "eq neq gt lt range any host <ip>"),
        ("extended", "udp any range 1", "<port>"),
        ("extended", "udp any eq 1", "any host <ip>"),
        ("extended", "ip any host 10.0.0.1", "fragments"),
        ("extended", "udp any any eq 53", ""),
        ("extended", "TCP any any eq 80", "established match-any match-all"),
        ("extended", "tcp any any established", ""),
    ],
)
def test_the_next_word(kind: str, typed: str, offered: str) -> None:
    assert [word for word, _ in next_words(Kind(kind), typed.split())] == offered.split()


@given(st.sampled_from(Kind), st.data())
def test_whoever_takes_what_is_offered_writes_a_rule(kind: Kind, data: st.DataObject) -> None:
    words: list[str] = []
    while len(words) < 14 and (offers := next_words(kind, words)):
        word = data.draw(st.sampled_from([word for word, _ in offers]))
        words.append(VALUES.get(word, word))
    parse_rule(kind, ["permit", *words])
