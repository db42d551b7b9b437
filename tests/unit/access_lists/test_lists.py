"""Lists at work: counts, changes, what is in use."""

import struct

import pytest

from l2tpns_core.access_lists.lists import AccessList, AccessLists, ListText
from l2tpns_core.access_lists.parse import parse_rule
from l2tpns_core.access_lists.rules import MAX_LISTS, MAX_RULES, AccessListError, Kind, Rule

EXT = Kind.EXTENDED
PACKET = struct.pack(">BBHHHBBHIIHH4x", 0x45, 0, 28, 0, 0, 64, 17, 0, 1, 2, 1024, 53)


def rule(line: str) -> Rule:
    return parse_rule(EXT, line.split())


def text(*lines: str) -> ListText:
    return ListText(EXT, [rule(line) for line in lines])


@pytest.fixture
def lists() -> AccessLists:
    made = AccessLists()
    made.add_rule(EXT, "a", rule("deny udp any any eq 80"))
    made.add_rule(EXT, "a", rule("permit udp any any"))
    return made


def listed(lists: AccessLists, name: str) -> AccessList:
    found = lists.get(name)
    assert found is not None
    return found


def test_an_empty_list_lets_nothing_pass() -> None:
    assert not AccessLists().define(EXT, "empty").passes(PACKET)


def test_what_matches_is_counted(lists: AccessLists) -> None:
    assert listed(lists, "a").passes(PACKET)
    assert lists.hits(listed(lists, "a")) == [0, 1]
    lists.hits_elsewhere = lambda asked: [5] * len(asked.rules)
    assert lists.hits(listed(lists, "a")) == [5, 6]


def test_a_rule_that_is_there_already_changes_nothing(lists: AccessLists) -> None:
    lists.add_rule(EXT, "a", rule("permit udp any any"))
    assert len(listed(lists, "a").rules) == 2


def test_a_load_changes_the_object_that_sessions_hold(lists: AccessLists) -> None:
    held = listed(lists, "a")
    assert held.passes(PACKET)
    assert lists.load({"a": text("deny udp any any eq 53", "permit udp any any")}) == []
    assert not held.passes(PACKET)
    assert held.hits == [1, 1]  # the rule that stays keeps its count


def test_a_load_removes_what_is_gone_and_not_in_use(lists: AccessLists) -> None:
    lists.in_use = lambda name: name == "a"
    lists.add_rule(EXT, "b", rule("permit ip any any"))
    assert lists.load({}) == ["access-list a stays as it is: Access-list in use"]
    assert [each.name for each in lists] == ["a"]
    assert lists.load({"a": ListText(Kind.STANDARD)}) == [
        "access-list a stays as it is: Access-list in use"
    ]
    assert listed(lists, "a").kind is EXT


def test_a_list_with_a_broken_line_stays_as_it_is(lists: AccessLists) -> None:
    before = listed(lists, "a").rules
    assert lists.load({"a": text("permit ip any any")}, keep=["a"]) == []
    assert listed(lists, "a").rules == before


def test_removal(lists: AccessLists) -> None:
    with pytest.raises(AccessListError, match="Access-list not defined"):
        lists.remove(EXT, "b")
    with pytest.raises(AccessListError, match="Access-list is extended"):
        lists.remove(Kind.STANDARD, "a")
    with pytest.raises(AccessListError, match="Access-list is extended"):
        lists.define(Kind.STANDARD, "a")
    lists.in_use = lambda name: True
    with pytest.raises(AccessListError, match="Access-list in use"):
        lists.remove(EXT, "a")
    lists.in_use = lambda name: False
    lists.remove(EXT, "a")
    assert lists.get("a") is None


def test_numbers_are_used_again(lists: AccessLists) -> None:
    assert [lists.define(EXT, name).number for name in ("b", "c")] == [2, 3]
    lists.remove(EXT, "b")
    assert lists.define(EXT, "d").number == 2


def test_limits(lists: AccessLists) -> None:
    for port in range(1, MAX_RULES - 1):
        lists.add_rule(EXT, "a", rule(f"permit tcp any any eq {port}"))
    with pytest.raises(AccessListError, match=f"at most {MAX_RULES} rules"):
        lists.add_rule(EXT, "a", rule("permit ip any any"))
    for number in range(1, MAX_LISTS):
        lists.define(EXT, f"l{number}")
    with pytest.raises(AccessListError, match=f"There are {MAX_LISTS} access-lists"):
        lists.define(EXT, "more")
    loaded = {f"n{number}": ListText(EXT) for number in range(MAX_LISTS + 1)}
    assert lists.load(loaded) == [f"access-list n{MAX_LISTS}: There are 64 access-lists already"]
