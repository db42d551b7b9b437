"""The table of directives: values, ranges, messages, and that it is complete."""

import dataclasses
import re
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.config.directive import MAX_TEXT_CHARS, Kind, expectation
from l2tpns_core.config.directives import (
    DIRECTIVES,
    ActsAt,
    Config,
    Directive,
    changed_directives,
    find_directive,
    format_value,
    parse_value,
    with_value,
)
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.quoting import split_words
from l2tpns_core.config.reference import SECTIONS, directives_page

MANUAL = """
debug log_file l2tp_secret primary_dns secondary_dns save_state primary_radius secondary_radius
radius_accounting radius_secret bind_address send_garp throttle_speed accounting_dir setuid
dump_speed cleanup_interval multi_read_count scheduler_fifo lock_pages icmp_rate cluster_address
cluster_interface cluster_hb_interval cluster_hb_timeout as_number bgp_peer1 bgp_peer1_as bgp_peer2
bgp_peer2_as snoop_host snoop_port
"""

names = st.sampled_from(list(DIRECTIVES))


def value_of(entry: Directive) -> st.SearchStrategy[Any]:
    """Values that a directive takes."""
    if entry.kind is Kind.BOOLEAN:
        return st.booleans()
    if entry.kind is Kind.CHOICE:
        return st.sampled_from(entry.choices)
    if entry.kind is Kind.ADDRESS:
        return st.integers(0, 0xFFFFFFFF).map(IPv4Address)
    if entry.kind is Kind.INTEGER:
        assert entry.limits is not None
        return st.integers(*entry.limits)
    if entry.check is None:
        return st.text(max_size=MAX_TEXT_CHARS).filter(str.isprintable)
    return st.just(entry.default)


def test_every_directive_of_the_manual_is_in_the_table() -> None:
    assert set(MANUAL.split()) <= set(DIRECTIVES)


@pytest.mark.parametrize("name", DIRECTIVES)
def test_entry_is_complete_and_its_default_is_a_value_of_its_own(name: str) -> None:
    entry = DIRECTIVES[name]
    assert entry.name == name
    assert entry.help.endswith((".", "none."))
    assert entry.kind is not Kind.INTEGER or entry.limits is not None
    (text,) = split_words(format_value(entry, entry.default))
    assert parse_value(entry, text) == entry.default == getattr(Config(), name)


@given(st.data(), names)
def test_value_comes_out_as_it_went_in(data: st.DataObject, name: str) -> None:
    entry = DIRECTIVES[name]
    value = data.draw(value_of(entry))
    (text,) = split_words(format_value(entry, value))
    assert parse_value(entry, text) == value


@given(names, st.text())
def test_any_text_is_a_value_of_the_right_type_or_a_config_error(name: str, text: str) -> None:
    entry = DIRECTIVES[name]
    value, problem = entry.default, ""
    try:
        value = parse_value(entry, text)
    except ConfigError as error:
        problem = str(error)
    assert type(value) is type(entry.default)
    assert str(value).encode().decode() == str(value)
    assert problem.isprintable()
    assert not problem or expectation(entry) in problem


@pytest.mark.parametrize("text", ["yes", "YES", "true", "True", "1", "on"])
def test_true(text: str) -> None:
    assert parse_value(DIRECTIVES["radius_accounting"], text) is True


@pytest.mark.parametrize("text", ["no", "No", "false", "0", "off"])
def test_false(text: str) -> None:
    assert parse_value(DIRECTIVES["send_garp"], text) is False


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("debug", "6"),
        ("debug", "-1"),
        ("debug", "three"),
        ("debug", ""),
        ("debug", "1_0"),
        ("debug", "٣"),
        ("debug", "9" * 5000),
        ("l2tp_mtu", "575"),
        ("l2tp_mtu", "2601"),
        ("route_protocol", "0"),
        ("radius_accounting", "maybe"),
        ("primary_dns", "300.1.1.1"),
        ("primary_dns", "1.2.3"),
        ("primary_dns", "::1"),
        ("lcp_renegotiation", "never"),
        ("radius_authtypes", ""),
        ("radius_authtypes", "pap, eap"),
        ("log_file", "syslog:nosuch"),
        ("log_file", "/var/log/\x1b[2J"),
        ("cli_socket", "cli.sock"),
        ("cli_socket", "/" + "x" * 107),
        ("state_dir", ""),
        ("tundevicename", "tun/0"),
        ("tundevicename", "x" * 16),
        ("hostname", "a b"),
        ("nas_identifier", "x" * (MAX_TEXT_CHARS + 1)),
        ("nas_identifier", "\ud800"),
    ],
)
def test_bad_values_are_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: .*expected"):
        parse_value(DIRECTIVES[name], text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pap", "pap"),
        ("chap,pap", "chap, pap"),
        ("  CHAP   mschapv2, chap ", "chap, mschapv2"),
    ],
)
def test_authtypes_are_normalised(text: str, value: str) -> None:
    assert parse_value(DIRECTIVES["radius_authtypes"], text) == value


@pytest.mark.parametrize("text", ["/var/log/l2tpns", "syslog:local5", "syslog:daemon", ""])
def test_log_destinations(text: str) -> None:
    assert parse_value(DIRECTIVES["log_file"], text) == text


@given(st.sampled_from([n for n, e in DIRECTIVES.items() if e.secret]), st.text(min_size=1))
def test_secrets_are_never_repeated(name: str, text: str) -> None:
    secret = "\x07" + "s3cr3t" + text
    with pytest.raises(ConfigError) as caught:
        parse_value(DIRECTIVES[name], secret)
    assert "s3cr3t" not in str(caught.value) + repr(caught.value) + caught.value.value


def test_secrets_are_not_in_the_repr() -> None:
    assert "s3cr3t" not in repr(with_value(Config(), "radius_secret", "s3cr3t"))
    assert {name for name, entry in DIRECTIVES.items() if entry.secret} == {
        "bgp_peer1_password",
        "bgp_peer2_password",
        "cluster_secret",
        "l2tp_secret",
        "nsctl_secret",
        "radius_secret",
    }


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("debgu", "debug"),
        ("primary_dsn", "primary_dns"),
        ("Hostname", "hostname"),
        ("radius_athtypes", "radius_authtypes"),
        ("zzzz", ""),
        ("x" * 100_000, ""),
    ],
)
def test_unknown_name_tells_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_directive(name)
    assert caught.value.nearest == nearest
    assert len(str(caught.value)) < 200


def test_with_value_changes_one_directive() -> None:
    old = Config()
    new = with_value(old, "debug", "4")
    assert (old.debug, new.debug) == (0, 4)
    assert [entry.name for entry in changed_directives(old, new)] == ["debug"]
    assert changed_directives(new, new) == []


def test_secondary_radius_port_0_is_that_of_the_primary() -> None:
    config = dataclasses.replace(Config(), primary_radius_port=1645, secondary_radius_port=0)
    assert config.radius_ports == (1645, 1645)
    assert Config().radius_ports == (1812, 1812)


def test_reference_page_tells_everything_about_every_directive() -> None:
    page = directives_page()
    assert set(SECTIONS) <= set(DIRECTIVES)
    sections = dict(re.findall(r"^### (\w+)\n\n(.*?)(?=^#|\Z)", page, re.M | re.S))
    assert list(sections) == list(DIRECTIVES)
    for name, entry in DIRECTIVES.items():
        text = sections[name]
        assert entry.help in text
        assert f"default `{format_value(entry, entry.default)}`" in text
        assert ("acts at the next restart" in text) is (entry.acts_at is ActsAt.RESTART)
        assert ("without effect" in text) is (not entry.acts)
        if entry.limits is not None:
            assert f"from {entry.limits[0]} to {entry.limits[1]}" in text
    assert "\n\n\n" not in page
    assert page.endswith("*\n")
    assert "  \n" not in page
