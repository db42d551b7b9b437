"""Access lists in a startup-config."""

from l2tpns_core.access_lists.rules import MAX_LISTS, Kind
from l2tpns_core.config.directives import Config
from l2tpns_core.config.startup_config import LoadResult, parse, running_config

TEXT = """\
ip access-list standard foo
 permit host 10.99.0.1
 deny any
set debug 3
permit any
ip access-list extended bar
 permit tcp any any eq 80
 permit junk
 deny ip any any
ip access-list extended gone
 deny ip any any
no ip access-list extended gone
ip access-list standard bar
 deny any
ip access-list named x
ip access-list standard a.b
ip access-list standard
no ip access-list standard bar
"""


def lines(result: LoadResult, name: str) -> list[str]:
    return [str(rule) for rule in result.access_lists[name].rules]


def test_rules_belong_to_the_list_before() -> None:
    result = parse(TEXT.encode(), "f")
    assert result.config.debug == 3
    assert list(result.access_lists) == ["foo", "bar"]
    assert result.access_lists["foo"].kind is Kind.STANDARD
    assert lines(result, "foo") == ["permit host 10.99.0.1", "deny any"]
    assert lines(result, "bar") == ["permit tcp any any eq 80", "deny ip any any"]
    assert [(problem.line, problem.message.partition(" (")[0]) for problem in result.problems] == [
        (5, "permit is for an access-list, and none is named"),
        (8, 'Invalid protocol "junk"'),
        (13, "Access-list is extended"),
        (14, "deny is for an access-list, and none is named"),
        (15, "Specify a filter type: standard or extended"),
        (16, '"a.b" is no name of an access-list'),
        (17, "Specify a filter name"),
        (18, "Access-list not defined"),
    ]
    assert result.broken_lists == {"bar"}


def test_sections_are_written_behind_the_plugins() -> None:
    written = list(
        running_config(
            Config(), access_lists=["ip access-list standard foo", " deny any"], only_changed=True
        )
    )
    assert written == [
        "# Current configuration:",
        "# Plugins",
        "# Filters",
        "ip access-list standard foo",
        " deny any",
        "# end",
    ]
    assert lines(parse("\n".join(written).encode(), "f"), "foo") == ["deny any"]


def test_lists_are_bounded() -> None:
    text = "".join(f"ip access-list standard l{n}\n" for n in range(MAX_LISTS + 1))
    result = parse(text.encode(), "f")
    assert len(result.access_lists) == MAX_LISTS
    assert len(result.problems) == 1
