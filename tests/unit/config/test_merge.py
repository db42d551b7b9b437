"""What `write memory` makes of a startup-config that is there."""

from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.access_lists.lists import ListText
from l2tpns_core.access_lists.parse import parse_rule
from l2tpns_core.access_lists.rules import Kind
from l2tpns_core.config.directive import Directive
from l2tpns_core.config.directive import Kind as ValueKind
from l2tpns_core.config.directives import DIRECTIVES, Config, Value, parse_value
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.merge import Wanted, merged
from l2tpns_core.config.startup_config import parse


def web(*rules: str) -> ListText:
    kind = Kind.EXTENDED
    return ListText(kind, [parse_rule(kind, rule.split()) for rule in rules])


def test_what_is_meant_already_stays_to_the_letter() -> None:
    file = b"# mine\n\nset   debug 3  # loud\nload plugin 'garden'\nset hostname lns"
    result = parse(file, "f")
    assert merged(file, Wanted(result.config, result.plugins)) == file + b"\n"


def test_only_what_differs_from_the_defaults_goes_into_a_new_file() -> None:
    config = Config(debug=2, hostname="lns", primary_dns=IPv4Address("192.0.2.53"))
    assert merged(b"", Wanted(config, ["garden"])) == (
        b'set debug 2\nset hostname "lns"\nset primary_dns 192.0.2.53\nload plugin "garden"\n'
    )


def test_a_line_is_changed_where_it_is_and_keeps_its_comment() -> None:
    file = b'# first\n  set debug 1 # as long as we look\nset hostname "#1" # not 2\n# last\n'
    assert merged(file, Wanted(Config(debug=4, hostname="lns"))) == (
        b'# first\n  set debug 4 # as long as we look\nset hostname "lns" # not 2\n# last\n'
    )


def test_a_new_line_comes_after_the_last_that_sets_something() -> None:
    file = b'set debug 1\nload plugin "garden"\n# the end\n'
    assert merged(file, Wanted(Config(debug=1, l2tp_mtu=1400), ["garden"])) == (
        b'set debug 1\nset l2tp_mtu 1400\nload plugin "garden"\n# the end\n'
    )


def test_a_default_is_not_said_but_for_a_comment_behind_it() -> None:
    file = b"set debug 0\nset l2tp_mtu 1400\nset max_tunnels 9 # was too much\nset max_sessions 7\n"
    assert merged(file, Wanted(Config(l2tp_mtu=1400))) == (
        b"set l2tp_mtu 1400\nset max_tunnels 65535 # was too much\n"
    )


def test_of_lines_about_the_same_only_the_last_stays() -> None:
    file = b"set debug 1\nset debug 2\nset debug 3\n"
    assert merged(file, Wanted(Config(debug=3))) == b"set debug 3\n"


def test_lines_that_cannot_be_used_stay() -> None:
    file = b"set debug loud\nset ipv6_prefix 2001:db8::\nrouter ospf 1\n\xff\xfe\nset debug 1\n"
    assert merged(file, Wanted(Config(debug=2))) == file.replace(b"debug 1", b"debug 2")


SECTION = b"""\
router bgp 64512
 neighbour 192.0.2.1 remote-as 64513
 neighbour 192.0.2.1 timers 30 90
"""


def test_the_section_of_bgp_stays_while_it_says_what_runs() -> None:
    config = Config(as_number=64512, bgp_peer1="192.0.2.1", bgp_peer1_as=64513, bgp_peer1_hold=90)
    assert merged(SECTION, Wanted(config)) == SECTION
    assert merged(SECTION, Wanted(replace(config, bgp_peer1_hold=30))) == (
        b'set as_number 64512\nset bgp_peer1 "192.0.2.1"\nset bgp_peer1_as 64513\n'
        b"set bgp_peer1_hold 30\n"
    )


def test_line_ends_of_another_system_stay() -> None:
    file = b"# mine\r\nset debug 1\r\n"
    wanted = Wanted(Config(debug=2, l2tp_mtu=1400))
    assert merged(file, wanted) == b"# mine\r\nset debug 2\r\nset l2tp_mtu 1400\r\n"


def test_plugins_that_were_unloaded_go_and_new_ones_come() -> None:
    file = b"load plugin a\nload plugin b # second\nremove plugin a\nload plugin c\nset debug 1\n"
    wanted = Wanted(Config(debug=1), ["b", "d"], frozenset("c"))
    assert merged(file, wanted) == b'load plugin b # second\nload plugin "d"\nset debug 1\n'


def test_a_plugin_that_could_not_be_loaded_stays() -> None:
    file = b"load plugin missing\nload plugin b\n"
    assert merged(file, Wanted(Config(), ["b"])) == file


def test_plugins_are_written_in_the_order_in_which_they_are_loaded() -> None:
    file = b"load plugin a\n# between\nload plugin b\nload plugin a\n"
    assert merged(file, Wanted(Config(), ["b", "a", "c"])) == (
        b'load plugin "b"\n# between\nload plugin "a"\nload plugin "c"\n'
    )


LISTS = (
    b"# web only\nip access-list extended web\n permit tcp any any eq 80\n\n deny ip any any\n"
    b"ip access-list standard home\n permit any # all of it\n"
)


def test_access_lists_that_did_not_change_stay_to_the_letter() -> None:
    lists = parse(LISTS, "f").access_lists
    assert merged(LISTS, Wanted(Config(), access_lists=lists)) == LISTS


def test_an_access_list_begins_anew_where_it_was() -> None:
    lists = {**parse(LISTS, "f").access_lists, "web": web("permit tcp any any eq 443")}
    assert merged(LISTS, Wanted(Config(), access_lists=lists)) == (
        b"# web only\nip access-list extended web\n permit tcp any any eq 443\n\n"
        b"ip access-list standard home\n permit any # all of it\n"
    )


def test_access_lists_go_and_come() -> None:
    lists = {"web": web("deny ip any any")}
    file = b"ip access-list standard home\n permit any\nset debug 1\n"
    assert merged(file, Wanted(Config(debug=1), access_lists=lists)) == (
        b"set debug 1\nip access-list extended web\n deny ip any any\n"
    )


def test_an_access_list_that_cannot_be_read_stays_unless_it_is_in_force() -> None:
    file = b"ip access-list extended web\n permit nonsense\n"
    assert merged(file, Wanted(Config())) == file
    for rules in ([], ["deny ip any any"]):
        lists = {"web": web(*rules)}
        assert merged(file, Wanted(Config(), access_lists=lists)) == b"".join(
            [b"ip access-list extended web\n", *(b" %b\n" % rule.encode() for rule in rules)]
        )


def test_a_rule_of_no_list_becomes_a_comment() -> None:
    file = b"ip access-list extended web\nset debug 1\n permit tcp any any\n"
    assert merged(file, Wanted(Config(), access_lists={"web": web()})) == (
        b"ip access-list extended web\n# permit tcp any any\n"
    )


def text_of(entry: Directive) -> st.SearchStrategy[str]:
    """Texts of which many are values of a directive."""
    if entry.kind is ValueKind.CHOICE:
        return st.sampled_from(entry.choices)
    if entry.kind is ValueKind.BOOLEAN:
        return st.sampled_from(["yes", "no"])
    if entry.kind is ValueKind.INTEGER:
        low, high = entry.limits or (0, 1 << 31)
        return st.integers(low, high).map(str)
    if entry.kind is ValueKind.ADDRESS:
        return st.ip_addresses(v=4).map(str)
    odd = st.text("a#\"' /.:!", max_size=12)
    return odd | st.sampled_from(["/tmp/x", "lns.example", "syslog:local5", "chap, pap", ""])


@st.composite
def configs(draw: st.DrawFn) -> Config:
    values: dict[str, Value] = {}
    for name in draw(st.sets(st.sampled_from(sorted(DIRECTIVES)), max_size=12)):
        entry = DIRECTIVES[name]
        try:
            values[name] = parse_value(entry, draw(text_of(entry)))
        except ConfigError:
            continue  # odd text that the directive does not take
    return replace(Config(), **values)  # type: ignore[arg-type]


rules = st.sampled_from(
    ["permit tcp any any eq 80", "deny ip any host 192.0.2.1", "deny ip any any"]
)
lists = st.dictionaries(
    st.sampled_from(["web", "home", "x-1"]), st.lists(rules, unique=True).map(lambda r: web(*r))
)
plugins = st.lists(st.sampled_from(["garden", "autosnoop", "a b", "it's"]), unique=True)
lines = st.sampled_from(
    [
        b"",
        b"# a comment",
        b"set debug 3 # why",
        b"set hostname 'a\"b'",
        b"set nonsense 1",
        b'  set l2tp_secret "x # y"',
        b"load plugin garden",
        b"load plugin lost",
        b"remove plugin garden",
        b"ip access-list extended web",
        b"no ip access-list extended web",
        b"ip access-list standard home",
        b" permit tcp any any",
        b" permit any",
        b" permit what",
        b"router bgp 1",
        b" neighbour 192.0.2.1 remote-as 7",
        b" neighbour 192.0.2.1 timers 30 90",
        b"end",
        b"\xff",
    ]
)


@given(st.lists(lines, max_size=14).map(b"\n".join), configs(), plugins, lists)
def test_what_is_written_means_what_runs(
    file: bytes, config: Config, loaded: list[str], access_lists: dict[str, ListText]
) -> None:
    removed = frozenset({"garden", "lost"} - set(loaded))
    wanted = Wanted(config, loaded, removed, access_lists)
    after = merged(file, wanted)
    result = parse(after, "f")
    assert result.config == config
    assert result.plugins == loaded
    in_force = {
        name: text for name, text in result.access_lists.items() if name not in result.broken_lists
    }
    assert in_force == access_lists
    assert merged(after, wanted) == after
