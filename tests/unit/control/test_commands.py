"""The commands of the core: what they do, and the answers when they cannot, word for word."""

import pytest

from l2tpns_core.control import commands
from l2tpns_core.control.commands import CommandError
from l2tpns_core.session import SessionState
from unit.control.fakes import FakeLns

NO_SESSION = "session not found"
ONE = "requires username or session id"


def refusal(lns: FakeLns, line: str) -> str:
    with pytest.raises(CommandError) as caught:
        commands.execute(lns, line.split())
    assert lns.calls == []
    return str(caught.value)


@pytest.mark.parametrize("command", ["drop", "kill"])
def test_a_session_is_ended_for_the_usual_reason_or_a_given_one(command: str) -> None:
    lns = FakeLns()
    lns.add()
    commands.execute(lns, [command, "alice"])
    commands.execute(lns, [command, "1", "moved out\x1b[2J"])
    assert lns.calls == [
        (command, 1, "Requested by administrator."),
        (command, 1, "moved out\\x1b[2J"),
    ]


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("throttle alice", (512, 512)),
        ("throttle 1 64", (64, 64)),
        ("throttle 3/1 in 64", (64, -1)),
        ("throttle 1 o 128", (-1, 128)),
        ("throttle 1 OUT 128 i 64", (64, 128)),
        ("throttle 1 in 1 in 2", (2, -1)),
    ],
)
def test_rates_are_given_in_every_form(line: str, call: tuple[int, int]) -> None:
    lns = FakeLns(throttle_speed=512)
    lns.add()
    commands.execute(lns, line.split())
    assert lns.calls == [("throttle", 1, *call)]


def test_throttle_changes_a_rate_but_does_not_repeat_it() -> None:
    lns = FakeLns()
    session = lns.add()
    session.throttle_in, session.throttle_out = 64, 128
    assert refusal(lns, "throttle 1 in 64 out 128") == "already throttled"
    commands.execute(lns, ["throttle", "1", "out", "128"])
    commands.execute(lns, ["throttle", "1", "64"])
    assert lns.calls == [("throttle", 1, -1, 128), ("throttle", 1, 64, 64)]


@pytest.mark.parametrize("rates", [(64, 0), (0, 64)])
def test_unthrottle_frees_both_directions(rates: tuple[int, int]) -> None:
    lns = FakeLns()
    session = lns.add()
    assert refusal(lns, "unthrottle 1") == "not throttled"
    session.throttle_in, session.throttle_out = rates
    commands.execute(lns, ["unthrottle", "1"])
    assert lns.calls == [("throttle", 1, 0, 0)]


def test_snoop_begins_moves_and_ends() -> None:
    lns = FakeLns()
    session = lns.add()
    assert refusal(lns, "unsnoop 1") == "not intercepted"
    commands.execute(lns, ["snoop", "alice", "192.0.2.9", "4242"])
    session.snoop_ip, session.snoop_port = 0xC0000209, 4242
    lns.calls, begun = [], lns.calls
    assert begun == [("snoop", 1, 0xC0000209, 4242)]
    assert refusal(lns, "snoop alice 192.0.2.9 4242") == "already intercepted"
    commands.execute(lns, ["snoop", "alice", "192.0.2.9", "4243"])
    commands.execute(lns, ["unsnoop", "alice"])
    assert lns.calls == [("snoop", 1, 0xC0000209, 4243), ("snoop", 1, 0, 0)]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("drop", f"{ONE} and optional reason"),
        ("kill 1 too much", f"{ONE} and optional reason"),
        ("throttle", f"{ONE} and optional rate(s)"),
        ("throttle 1 in 1 out 2 in", f"{ONE} and optional rate(s)"),
        ("throttle 1", "invalid rate"),
        ("throttle 1 0", "invalid rate"),
        ("throttle 1 -5", "invalid rate"),
        ("throttle 1 fast", "invalid rate"),
        ("throttle 1 ٣", "invalid rate"),
        ("throttle 1 10000001", "invalid rate"),
        ("throttle 1 " + "9" * 250, "invalid rate"),
        ("throttle 1 in 64 out", "invalid rate"),
        ("throttle 1 up 64", "invalid rate"),
        ("throttle 1 inn 64", "invalid rate"),
        ("unthrottle", ONE),
        ("unthrottle 1 2", ONE),
        ("snoop 1 192.0.2.9", f"{ONE} and host, port"),
        ("snoop 1 192.0.2.9 1 2", f"{ONE} and host, port"),
        ("snoop 1 router 4242", "invalid ip address"),
        ("snoop 1 0.0.0.0 4242", "invalid ip address"),
        ("snoop 1 255.255.255.255 4242", "invalid ip address"),
        ("snoop 1 192.0.2.9 0", "invalid port"),
        ("snoop 1 192.0.2.9 65536", "invalid port"),
        ("snoop 1 192.0.2.9 http", "invalid port"),
        ("unsnoop", ONE),
        ("drop 2", NO_SESSION),
        ("drop 4/1", NO_SESSION),
        ("kill bob", NO_SESSION),
        ("throttle bob 64", NO_SESSION),
        ("unthrottle bob", NO_SESSION),
        ("snoop bob 192.0.2.9 4242", NO_SESSION),
        ("unsnoop bob", NO_SESSION),
    ],
)
def test_what_cannot_be_done_is_answered_and_not_done(line: str, answer: str) -> None:
    lns = FakeLns()
    lns.add()
    assert refusal(lns, line) == answer


def test_a_session_without_an_address_is_not_found() -> None:
    lns = FakeLns()
    lns.add(ip=0)
    assert refusal(lns, "drop 1") == refusal(lns, "drop alice") == NO_SESSION


def test_a_session_that_is_about_to_end_is_not_found() -> None:
    lns = FakeLns()
    lns.add().state = SessionState.CLOSING
    assert refusal(lns, "drop 1") == refusal(lns, "kill alice") == NO_SESSION


def test_a_number_is_a_session_and_never_a_user() -> None:
    lns = FakeLns()
    lns.add(user="2")
    assert refusal(lns, "drop 2") == NO_SESSION


def test_of_a_user_with_several_sessions_the_oldest_is_meant() -> None:
    lns = FakeLns()
    lns.add()
    lns.add()
    commands.execute(lns, ["kill", "alice"])
    assert lns.calls == [("kill", 1, "Requested by administrator.")]


def test_help_lines_are_aligned() -> None:
    for command in commands.COMMANDS.values():
        line = command.help_line()
        assert line[:46].rstrip() == f"  {command.usage}"
        assert line[46:] == command.help
