"""Rules as the kernel has them: the form and the constants are those of the source."""

import re

import pytest
from hypothesis import given

from l2tpns_core.access_lists.parse import parse_rule
from l2tpns_core.access_lists.rules import MAX_LISTS, MAX_RULES, FlagTest, Kind, Rule
from l2tpns_core.dataplane.ebpf import filters, layout
from l2tpns_core.dataplane.ebpf.build import SOURCE
from l2tpns_core.dataplane.ebpf.filters import image_of
from unit.access_lists.rule_maker import extended

HEADER = (SOURCE.parent / "filter.bpf.h").read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FILTER_LISTS", MAX_LISTS),
        ("FILTER_RULES", MAX_RULES),
        ("FILTER_BANKS", layout.FILTER_BANKS),
        ("RULE_PERMIT", filters.PERMIT),
        ("RULE_INSIDE", filters.INSIDE),
        ("RULE_LATER", filters.LATER),
        ("RULE_NOT_SOURCE", filters.NOT_SOURCE),
        ("RULE_NOT_DESTINATION", filters.NOT_DESTINATION),
        ("TEST_ESTABLISHED", filters.TESTS[FlagTest.ESTABLISHED]),
        ("TEST_ANY", filters.TESTS[FlagTest.ANY]),
        ("TEST_ALL", filters.TESTS[FlagTest.ALL]),
    ],
)
def test_constants_are_those_of_the_source(name: str, value: int) -> None:
    found = re.search(rf"#define {name} (\d+)", HEADER)
    assert found is not None
    assert int(found[1]) == value


def test_a_rule_in_octets() -> None:
    line = "deny tcp 10.1.0.0 0.0.255.255 neq 80 host 192.0.2.1 range 20 21 match-any +syn -ack"
    assert layout.FILTER_RULE.unpack(image_of(parse_rule(Kind.EXTENDED, line.split()))) == (
        bytes([10, 1, 0, 0]),
        bytes([255, 255, 0, 0]),
        bytes([192, 0, 2, 1]),
        bytes([255] * 4),
        *(80, 80, 20, 21),
        6,
        filters.INSIDE | filters.NOT_SOURCE,
        filters.TESTS[FlagTest.ANY],
        *(2, 16),
    )


@given(extended())
def test_any_rule_has_a_form(rule: Rule) -> None:
    assert len(image_of(rule)) == layout.FILTER_RULE.size == 32
