"""Rules from their words: those of the reference screens, and any others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.access_lists.parse import parse_kind, parse_name, parse_rule
from l2tpns_core.access_lists.rules import AccessListError, Kind, Rule
from unit.access_lists.rule_maker import extended

WORDS = [
    *(
        "permit",
        "deny",
        "any",
        "host",
        "10.0.0.1",
        "0.0.0.255",
        "10.0.0",
        "ip",
        "tcp",
        "udp",
        "icmp",
    ),
    *("eq", "neq", "gt", "lt", "range", "0", "1", "80", "65536", "\xb2", "fragments", "log", ""),
    *("established", "match-any", "match-all", "+syn", "-ack", "+x"),
]


@pytest.mark.parametrize(
    "line",
    [
        "permit tcp any any eq 80",
        "permit tcp any any match-any +syn -ack",
        "permit tcp any any match-all +fin +psh -urg",
        "permit tcp any any established",
        "permit udp any range 1000 2000 host 10.99.0.1 neq 53",
        "permit ip any any fragments",
        "deny tcp 10.0.0.0 0.0.255.255 gt 1023 any lt 1024",
        "deny ip any any",
    ],
)
def test_extended_rules_are_written_as_they_were(line: str) -> None:
    assert str(parse_rule(Kind.EXTENDED, line.split())) == line
    assert str(parse_rule(Kind.EXTENDED, line.upper().split())) == line


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("permit host 10.99.0.1", ""),
        ("permit 10.99.0.1", "permit host 10.99.0.1"),
        ("permit 10.99.1.77 0.0.0.255", "permit 10.99.1.0 0.0.0.255"),
        ("deny any", ""),
        ("deny 1.2.3.4 255.255.255.255", "deny any"),
        ("permit 1.2.3.4 0.0.0.0", "permit host 1.2.3.4"),
    ],
)
def test_standard_rules(line: str, written: str) -> None:
    assert str(parse_rule(Kind.STANDARD, line.split())) == (written or line)


@pytest.mark.parametrize(
    ("kind", "line", "problem"),
    [
        ("standard", "permit 10.99.1.0 0.0.0.255 any", "Specify source ip address and wildcard"),
        ("standard", "permit junk", 'Cannot parse IP "junk"'),
        ("standard", "permit", "Specify source ip address and wildcard"),
        (
            "extended",
            "permit udp any range 1000 2000 host 10.99.0.1 fragments",
            'Can\'t specify "fragments" on rules with layer 4 matches',
        ),
        ("extended", "permit", "Specify protocol: ip, tcp or udp"),
        ("extended", "permit icmp any any", 'Invalid protocol "icmp" (ip, tcp or udp)'),
        ("extended", "permit ip any any eq 80", 'Invalid argument "eq"'),
        ("extended", "permit udp any any established", 'Invalid argument "established"'),
        ("extended", "permit tcp any eq 0 any", 'Invalid port "0" (1 to 65535)'),
        ("extended", "permit tcp any range 80 79 any", "Invalid port range 80 79"),
        ("extended", "permit tcp any any match-any", "Specify tcp flags after match-any, as in"),
        ("extended", "permit tcp any any match-any +ece", 'Invalid tcp flag "+ece"'),
        ("extended", "permit tcp any", "Specify destination ip address and wildcard"),
        ("extended", "permit tcp any any log", 'Invalid argument "log"'),
        ("extended", "allow ip any any", "A rule begins with permit or deny"),
        ("extended", "permit " + "any " * 40, "A rule has at most 32 words"),
    ],
)
def test_what_is_no_rule(kind: str, line: str, problem: str) -> None:
    with pytest.raises(AccessListError) as caught:
        parse_rule(Kind(kind), line.split())
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("name", ["", "a" * 32, "a b", "a.in", "\xe9"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(AccessListError):
        parse_name(name)


def test_names_and_kinds() -> None:
    assert parse_name("A-b_9") == "A-b_9"
    assert parse_kind("Standard") is Kind.STANDARD
    with pytest.raises(AccessListError):
        parse_kind("named")


@given(extended())
def test_any_rule_is_read_as_it_was_written(rule: Rule) -> None:
    assert parse_rule(Kind.EXTENDED, str(rule).split()) == rule


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=40), st.sampled_from(Kind))
def test_any_words_are_a_rule_or_an_error_that_can_be_printed(words: list[str], kind: Kind) -> None:
    try:
        rule = parse_rule(kind, words)
    except AccessListError as error:
        text = str(error)
    else:
        text = str(rule)
        assert parse_rule(kind, text.split()) == rule
    assert text.isprintable()
    assert len(text) < 600
