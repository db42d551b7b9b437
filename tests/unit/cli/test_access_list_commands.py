"""Access lists at the prompt, in the sentences of the reference screens."""

import pytest

from l2tpns_core.cli.commands.access_lists import MODE_OF
from l2tpns_core.cli.grammar import Access, Mode
from l2tpns_core.config.startup_config import parse
from unit.cli.fakes import FakeContext, Screen, four_sessions

CONFIG = Access(Mode.CONFIG)


@pytest.fixture
def context() -> FakeContext:
    made = four_sessions()
    screen = type_in(
        made,
        "ip access-list standard foo",
        "permit host 10.99.0.1",
        "deny any",
        "exit",
        "ip access-list extended bar",
        "permit tcp any any eq 80",
        "permit udp any range 1000 2000 host 10.99.0.1 neq 53",
        "exit",
        "exit",
    )
    assert screen.mode is Mode.EXEC
    return made


def type_in(context: FakeContext, *lines: str, access: Access = CONFIG) -> Screen:
    """Lines one after the other, each in the mode that the one before has led to."""
    for line in lines:
        screen = context.run(line, access=access)
        assert not screen.error, f"{line}: {screen.error}"
        assert screen.mode is not None
        access = Access(screen.mode, True, screen.section)
    return screen


def test_a_list_is_shown_as_in_the_original(context: FakeContext) -> None:
    found = context.access_lists.get("bar")
    assert found is not None
    found.hits[0], found.hits[1] = 1, 12
    assert context.run("show access-list foo bar").lines == [
        "Standard IP access list foo",
        " permit host 10.99.0.1",
        " deny any",
        "Extended IP access list bar",
        " permit tcp any any eq 80 (1 match)",
        " permit udp any range 1000 2000 host 10.99.0.1 neq 53 (12 matches)",
    ]
    assert context.run("show access-list baz").error == "Access-list baz not defined"
    assert context.run("show access-list").error == "Specify a filter name"


def test_the_prompt_has_a_mode_of_its_own(context: FakeContext) -> None:
    screen = context.run("ip access-list extended bar", access=CONFIG)
    assert (screen.mode, screen.section) == (Mode.EXTENDED_LIST, "bar")
    inside = Access(Mode.EXTENDED_LIST, True, "bar")
    failed = context.run("permit junk", access=inside)
    assert (failed.error, failed.mode, failed.section) == (
        'Invalid protocol "junk" (ip, tcp or udp)',
        Mode.EXTENDED_LIST,
        "bar",
    )
    assert context.run("end", access=inside).mode is Mode.EXEC
    assert [mode.value for mode in MODE_OF.values()] == ["config-std-nacl", "config-ext-nacl"]


def test_running_config_can_be_loaded_again(context: FakeContext) -> None:
    lines = context.run("show running-config").lines
    loaded = parse("\n".join(lines).encode(), "running-config")
    assert {name: list(map(str, text.rules)) for name, text in loaded.access_lists.items()} == {
        "foo": ["permit host 10.99.0.1", "deny any"],
        "bar": [
            "permit tcp any any eq 80",
            "permit udp any range 1000 2000 host 10.99.0.1 neq 53",
        ],
    }


def test_removal(context: FakeContext) -> None:
    remove = "no ip access-list standard"
    assert context.run(f"{remove} nosuch", access=CONFIG).error == "Access-list not defined"
    assert context.run("filter u1 in foo").lines == ["Filtering user u1"]
    assert context.run(f"{remove} foo", access=CONFIG).error == "Access-list in use"
    assert context.run("no filter u1").lines == ["Removing filters from user u1"]
    assert type_in(context, "ip access-list standard foo", f"{remove} foo").mode is Mode.CONFIG
    assert context.run("show access-list foo").error == "Access-list foo not defined"


def test_filters_of_users(context: FakeContext) -> None:
    assert context.run("filter u1 in nosuch").error == "Access-list nosuch not defined"
    assert context.run("filter nobody in foo").error == "User nobody is not connected"
    assert context.run("no filter u1").error == "User u1 not filtered"
    assert context.run("filter u1 in foo out bar").lines == ["Filtering user u1"]
    assert context.run("filter u1 in foo").error == "Input already filtered"
    assert context.run("filter u1 out foo").error == "Output already filtered"
    for words in ("", "in", "up foo", "in foo in bar", "foo"):
        assert context.run(f"filter u1 {words}").error == "Invalid filter specification", words
    (session,) = context.lns.sessions_of_user("u1")
    details = context.run(f"show session {session.session_id}").lines
    assert "\tFilter in:\tfoo" in details
    assert "\tFilter out:\tbar" in details
    assert context.run("no filter u1 out").lines == ["Removing filters from user u1"]
    assert (session.filter_in, session.filter_out) == ("foo", "")


@pytest.mark.parametrize("line", ["filter u1 in foo", "no filter u1"])
def test_only_privileged_operators_filter(context: FakeContext, line: str) -> None:
    assert "Invalid command" in context.run(line, access=Access(Mode.EXEC, privileged=False)).error
