"""The startup-config file: the manual's form, other people's files, and what is said about them."""

import dataclasses
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.config.directives import DIRECTIVES, Config, with_value
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.quoting import quote, split_words
from l2tpns_core.config.startup_config import (
    MAX_FILE_BYTES,
    MAX_LINE_BYTES,
    MAX_PROBLEMS,
    LoadPlugin,
    LoadResult,
    RemovePlugin,
    SetStatement,
    load,
    parse,
    parse_line,
    render,
)

# The startup-config that the C program's release 2.4.1 wrote on a test machine, shortened.
FILE_OF_2_4 = b"""\
# Current configuration:
set debug 3
set log_file "/var/log/l2tpns"
set random_device "/dev/urandom"
set l2tp_secret "secret"
set l2tp_mtu 1500
set primary_dns 10.20.0.53
set primary_radius 127.0.0.1
set secondary_radius_port 0
set radius_accounting yes
set radius_authtypes "chap, pap"
set throttle_speed 28
set icmp_rate 0
set ipv6_prefix 2001:db8:1::
set cli_bind_address 0.0.0.0
set disable_sending_hello no
# Plugins
load plugin "sessionctl"
load plugin "autothrottle"
# BGP
router bgp 65001
 neighbour 10.99.0.9 remote-as 65002
# Filters
ip access-list standard foo
 permit host 10.99.0.1
 deny any
setforward /x@y 1.2.3.4 1701 sec
# end
"""


def problems_of(text: str) -> list[str]:
    return [str(problem) for problem in parse(text.encode(), "f").problems]


def test_file_of_the_c_program_is_taken_as_far_as_it_is_known() -> None:
    result = parse(FILE_OF_2_4, "startup-config")
    config = result.config
    assert (config.debug, config.log_file, config.l2tp_secret) == (3, "/var/log/l2tpns", "secret")
    assert config.primary_dns == IPv4Address("10.20.0.53")
    assert config.radius_accounting
    assert config.radius_authtypes == "chap, pap"
    assert config.icmp_rate == 0
    assert result.plugins == ["sessionctl", "autothrottle"]
    assert [(problem.line, problem.harmless) for problem in result.problems] == [
        (4, False),
        (14, False),
        (27, False),
    ]


def test_lines_of_the_manual() -> None:
    text = b"""! comment
  # comment
set log_file "/a b"   # trailing
set hostname 'lns'
SET debug 2
set radius_secret "a#b!c"
set ppp_keepalive off
exit
"""
    result = parse(text.replace(b"\n", b"\r\n"), "f")
    assert result.problems == []
    assert result.config == dataclasses.replace(
        Config(),
        log_file="/a b",
        hostname="lns",
        debug=2,
        radius_secret="a#b!c",
        ppp_keepalive=False,
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("set debgu 1", 'f:1: Unknown variable "debgu"; did you mean "debug"?'),
        ("set debug 9", 'f:1: debug: "9" is not valid: expected an integer from 0 to 5'),
        (
            "set radius_accounting maybe",
            'f:1: radius_accounting: "maybe" is not valid: expected yes or no',
        ),
        ("set", "f:1: Specify variable and value"),
        ("set debug", "f:1: Specify variable and value"),
        (
            "set radius_authtypes chap, pap",
            'f:1: "radius_authtypes": a value that contains blanks must be quoted',
        ),
        ("set radius_secret a#b", "f:1: a value that contains # must be quoted"),
        ('set hostname "x', 'f:1: a quotation mark (") is not closed'),
        (
            "router ospf 1",
            'f:1: "router ospf" cannot be used: expected router bgp AS, neighbour PEER remote-as '
            "AS, neighbour PEER timers KEEPALIVE HOLD, or neighbour PEER update-source ADDRESS",
        ),
        (
            "neighbour 192.0.2.1 timers 30 90",
            "f:1: Specify remote-as first",
        ),
        (
            "set bgp_graceful_restart long",
            'f:1: bgp_graceful_restart: "long" is not valid: expected auto, or 0 to 4095 seconds',
        ),
        (
            "set kernel_accel yes",
            'f:1: "kernel_accel" is not known to this release, skipped: the kernel forwards by '
            "itself, see dataplane",
        ),
        ("load plugin", "f:1: Specify a plugin to load"),
        ("remove plugin", "f:1: Specify a plugin to remove"),
        ("remove plugin garden", "f:1: Plugin is not loaded"),
        (
            "sett debug 1",
            'f:1: Unknown command "sett": expected set or load plugin or remove plugin or '
            'router bgp or neighbour; did you mean "set"?',
        ),
        ("set primary_dns \x1b[2J", "f:1: primary_dns: \"\\x1b[2J\" is not valid: expected an "
         "IPv4 address"),
    ],
)  # fmt: skip
def test_problem_is_one_line_with_place_value_and_advice(line: str, problem: str) -> None:
    assert problems_of(line) == [problem]


def test_directive_without_effect_is_not_mentioned_at_its_default() -> None:
    assert problems_of("set throttle_speed 0") == []


def test_bad_line_leaves_the_value_of_an_earlier_one() -> None:
    result = parse(b"set debug 3\nset debug x\nset icmp_rate 5", "f")
    assert (result.config.debug, result.config.icmp_rate) == (3, 5)


@pytest.mark.parametrize(
    "line",
    [
        "set l2tp_secert topsecret",
        "set radius_secret top secret",
        'set radius_secret "topsecret',
        "set radius_secret topsecret#1",
        "set radius_secret topsecret\x07",
    ],
)
def test_secret_in_a_bad_line_is_not_repeated(line: str) -> None:
    (problem,) = problems_of(line)
    assert "top" not in problem


def test_line_that_is_gone_returns_to_its_default(tmp_path: Path) -> None:
    path = tmp_path / "startup-config"
    path.write_text("set debug 3\nset icmp_rate 7\nload plugin garden\n")
    first = load(path)
    assert (first.config.debug, first.config.icmp_rate, first.plugins) == (3, 7, ["garden"])
    path.write_text("set debug 3\n")
    second = load(path)
    assert (second.config.debug, second.config.icmp_rate, second.plugins) == (3, 100, [])


def test_missing_file_is_one_problem(tmp_path: Path) -> None:
    result = load(tmp_path / "none")
    assert not result.readable
    assert result.config == Config()
    assert str(result.problems[0]).endswith("none: cannot be read: No such file or directory")


def test_plugins_load_in_order_once_and_may_be_removed() -> None:
    text = b'load plugin "b"\nload plugin a\nload plugin b\nload plugin c\nremove plugin a\n'
    assert parse(text, "f").plugins == ["b", "c"]
    assert parse_line(b"load plugin x", 7) == LoadPlugin(7, "x")
    assert parse_line(b"remove plugin x", 7) == RemovePlugin(7, "x")
    assert parse_line(b"set a 'b c'", 7) == SetStatement(7, "a", "b c")


def test_bytes_that_are_no_text_are_skipped() -> None:
    result = parse(b"set radius_secret \xff\xfe\nset debug 1\n", "f")
    assert [str(problem) for problem in result.problems] == ["f:1: the line is not UTF-8 text"]
    assert result.config.debug == 1


def test_lines_files_and_problems_are_bounded() -> None:
    long = parse(b"set hostname " + b"x" * MAX_LINE_BYTES, "f")
    assert "longer than" in str(long.problems[0])
    many = parse(b"x\n" * (MAX_PROBLEMS + 5), "f")
    assert len(many.problems) == MAX_PROBLEMS + 1
    assert str(many.problems[-1]) == "f: 5 more lines cannot be used"
    filler = b"#" * 1000 + b"\n"
    big = parse(b"set debug 1\n" + filler * (MAX_FILE_BYTES // 1000) + b"set debug 2\n", "f")
    assert big.config.debug == 1
    assert "only the first" in str(big.problems[0])


def test_running_config_has_every_directive_in_the_manual_form() -> None:
    lines = render(Config(), ["garden"]).splitlines()
    assert lines[0] == "# Current configuration:"
    assert lines[-3:] == ["# Plugins", 'load plugin "garden"', "# end"]
    assert [line.split()[1] for line in lines if line.startswith("set ")] == list(DIRECTIVES)
    assert 'set log_file ""' in lines
    assert "set send_garp yes" in lines


def test_only_changed_leaves_defaults_out() -> None:
    config = with_value(Config(), "debug", "2")
    lines = render(config, only_changed=True).splitlines()
    assert [line for line in lines if line.startswith("set")] == ["set debug 2"]


texts = st.text(st.sampled_from("ab \"'#!|\\?é"), max_size=20)


@given(texts, texts, st.integers(0, 5), st.booleans(), st.lists(texts.filter(bool), unique=True))
def test_rendered_text_loads_to_the_same_state(
    secret: str, identifier: str, debug: int, garp: bool, plugins: list[str]
) -> None:
    config = dataclasses.replace(
        Config(), radius_secret=secret, nas_identifier=identifier, debug=debug, send_garp=garp
    )
    for only_changed in (False, True):
        text = render(config, plugins, only_changed=only_changed)
        assert parse(text.encode(), "f") == LoadResult(config, plugins)


@given(st.text().filter(lambda text: "\n" not in text))
def test_quoted_text_is_one_word_again(text: str) -> None:
    assert split_words(quote(text), comments=True) == [text]
    assert split_words(f" a {quote(text)}b ") == ["a", text + "b"]


@given(st.lists(st.text(st.characters(categories=["L", "N"]), min_size=1)))
def test_words_are_what_blanks_separate(words: list[str]) -> None:
    assert split_words(" ".join(words)) == words


def test_comment_begins_only_outside_quotes_and_words() -> None:
    assert split_words("a 'b # c' # d", comments=True) == ["a", "b # c"]
    assert split_words("a #b") == ["a", "#b"]
    with pytest.raises(ConfigError):
        split_words("a b#c", comments=True)


snippets = st.sampled_from(
    [b"set ", b"debug ", b"radius_secret ", b'"', b"'", b"#", b"!", b"load plugin ", b"\n", b"5"]
)


@given(st.binary(max_size=200) | st.lists(snippets | st.binary(max_size=4)).map(b"".join))
def test_any_bytes_are_parsed_and_what_comes_out_is_stable(data: bytes) -> None:
    result = parse(data, "f")
    assert all(str(problem).isprintable() for problem in result.problems)
    again = parse(render(result.config, result.plugins).encode(), "f")
    assert (again.config, again.plugins) == (result.config, result.plugins)


def test_a_broken_line_about_a_plugin_is_known_as_one() -> None:
    assert not parse(b"load plugin garden\nset debug\n", "f").broken_plugins
    assert parse(b'load plugin "garden\n', "f").broken_plugins
    assert parse(b"remove plugin nope\n", "f").broken_plugins
