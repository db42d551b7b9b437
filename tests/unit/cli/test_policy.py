"""throttle and snoop as the operator types them, and who may see that a session is intercepted."""

# ruff: noqa: E501 - screens are as wide as they are

import json
import logging
from typing import Any

import pytest

from l2tpns_core.cli.grammar import Access
from l2tpns_core.session import Ending, SessionState, TerminateCause
from unit.cli.fakes import GRAMMAR, FakeContext, FakeThrottle, four_sessions

OPERATOR, VIEWER = Access(), Access(privileged=False)
TARGET = 0x0A630001

THROTTLE_LIST = """\
  SID   TID Username                          Rate In      Out Queue In    Out   Drop In       Out
    2     2 alice                                2000     2000        0      3         1        77
    3     3 carol                                   0      128        0      0         0         0"""


@pytest.fixture
def context() -> FakeContext:
    return four_sessions()


def rates(context: FakeContext, key: int) -> tuple[int, int]:
    session = context.lns.sessions[key]
    return session.throttle_in, session.throttle_out


def target(context: FakeContext, key: int) -> tuple[int, int]:
    session = context.lns.sessions[key]
    return session.snoop_ip, session.snoop_port


U1, ALICE, CAROL, FRANK = 2 << 16 | 1, 2 << 16 | 2, 3 << 16 | 3, 3 << 16 | 4


@pytest.mark.parametrize(
    ("line", "printed", "error"),
    [
        ("throttle", "", "Specify a user to throttle"),
        ("throttle nobody 3", "", "User nobody is not connected"),
        ("throttle 77 3", "", "User 77 is not connected"),
        ("throttle u1", "", "throttle_speed is 0: set it, or name a rate"),
        ("throttle u1 512", "Throttling user u1", ""),
        ("throttle U1 512", "Throttling user u1", ""),
        ("throttle u1 abc", "", 'Invalid rate "abc"'),
        ("throttle u1 0", "", 'Invalid rate "0"'),
        ("throttle u1 -5", "", 'Invalid rate "-5"'),
        ("throttle u1 10000001", "", 'Invalid rate "10000001"'),
        ("throttle u1 \N{SUPERSCRIPT TWO}", "", 'Invalid rate "\N{SUPERSCRIPT TWO}"'),
        ("throttle u1 rate 100", "", 'Invalid rate specification "rate 100"'),
        ("throttle u1 in x", "", 'Invalid rate specification "in x"'),
        ('throttle u1 "" 5', "", 'Invalid rate specification " 5"'),
        ("throttle u1 in 5 i 6", "", 'Invalid rate specification "i 6"'),
        ("throttle u1 in 5 out", "", "Invalid arguments"),
        ("throttle u1 in 5 out 6 in 7", "", "Invalid arguments"),
        ("throttle alice 2000", "", "User alice already throttled at this rate"),
        ("throttle alice in 2000", "", "User alice already throttled at this rate"),
        ("throttle alice 512", "", "User alice already throttled, unthrottle first"),
        ("throttle alice out 512", "", "User alice already throttled, unthrottle first"),
        ("throttle 2/1 512", "Throttling user u1", ""),
        ("throttle 3/1 512", "", "User 3/1 is not connected"),
        ("no throttle", "", "Specify a user to unthrottle"),
        ("no throttle alice", "Unthrottling user alice", ""),
        ("no throttle u1", "", "User u1 not throttled"),
        ("no throttle nobody 2", "Unthrottling user alice", "User nobody is not connected"),
        ("snoop", "", "Specify username, ip and port"),
        ("snoop u1", "", "Specify username, ip and port"),
        ("snoop u1 10.99.0.1", "", "Specify username, ip and port"),
        ("snoop u1 10.99.0.1 9000", "Snooping user u1 to 10.99.0.1:9000", ""),
        ("snoop 3/3 10.99.0.1 9000", "Snooping user carol to 10.99.0.1:9000", ""),
        ("snoop nobody 10.99.0.1 9000", "", "User nobody is not connected"),
        ("snoop u1 junk 9000", "", 'Cannot parse IP "junk"'),
        ("snoop u1 0.0.0.0 9000", "", 'Cannot parse IP "0.0.0.0"'),
        ("snoop u1 255.255.255.255 9000", "", 'Cannot parse IP "255.255.255.255"'),
        ("snoop u1 10.99.0.1 0", "", "Invalid port 0"),
        ("snoop u1 10.99.0.1 65536", "", "Invalid port 65536"),
        ("snoop u1 10.99.0.1 http", "", "Invalid port http"),
        ("snoop u1 10.99.0.1 9000 1", "", 'Invalid argument "1"'),
        ("no snoop", "", "Specify a user to unsnoop"),
        ("no snoop u1", "Not snooping user u1", ""),
        ("no snoop nobody u1", "Not snooping user u1", "User nobody is not connected"),
    ],
)
def test_messages(context: FakeContext, line: str, printed: str, error: str) -> None:
    screen = context.run(line)
    assert (screen.text, screen.error) == (printed, error)


@pytest.mark.parametrize(
    ("line", "key", "expected"),
    [
        ("throttle u1 512", U1, (512, 512)),
        ("throttle u1 in 256", U1, (256, 0)),
        ("throttle u1 o 128", U1, (0, 128)),
        ("throttle u1 i 256 OUT 128", U1, (256, 128)),
        ("throttle u1 out 1 in 10000000", U1, (10_000_000, 1)),
        ("throttle 3 64", CAROL, (64, 64)),
        ("no throttle alice", ALICE, (0, 0)),
    ],
)
def test_rates_reach_the_session(
    context: FakeContext, line: str, key: int, expected: tuple[int, int]
) -> None:
    assert context.run(line).error == ""
    assert rates(context, key) == expected


def test_refused_rates_change_nothing(context: FakeContext) -> None:
    for line in ("throttle u1 in 5 out x", "throttle alice in 2000 out 5", "throttle u1 1 2 3"):
        assert context.run(line).error
    assert rates(context, U1) == (0, 0)
    assert rates(context, ALICE) == (2000, 2000)


def test_a_direction_that_is_free_can_be_throttled_beside_the_other(context: FakeContext) -> None:
    assert context.run("throttle carol in 256").error == ""
    assert context.run("throttle carol in 256 out 128").text == "Throttling user carol"
    assert rates(context, CAROL) == (256, 128)


def test_throttle_speed_is_the_rate_of_those_without(context: FakeContext) -> None:
    context.set_directive("throttle_speed", "28")
    assert context.run("throttle u1").text == "Throttling user u1"
    assert rates(context, U1) == (28, 28)
    assert context.run("throttle u1").error == "User u1 already throttled at this rate"


def test_copies_go_to_snoop_host_and_snoop_port_when_nothing_is_named(
    context: FakeContext,
) -> None:
    context.set_directive("snoop_host", "10.99.0.1")
    assert context.run("snoop u1").error == "Specify username, ip and port"
    context.set_directive("snoop_port", "9000")
    assert context.run("snoop u1").text == "Snooping user u1 to 10.99.0.1:9000"
    assert target(context, U1) == (TARGET, 9000)
    assert context.run("snoop carol 10.99.0.2").text == "Snooping user carol to 10.99.0.2:9000"
    assert context.run("no snoop u1").error == ""
    assert target(context, U1) == (0, 0)
    assert target(context, CAROL) == (TARGET + 1, 9000)


def test_all_sessions_of_a_user_are_meant(context: FakeContext) -> None:
    context.lns.add(3, 5, "u1")
    context.run("throttle u1 512")
    context.run("snoop u1 10.99.0.1 9000")
    for key in (U1, 3 << 16 | 5):
        assert rates(context, key) == (512, 512)
        assert target(context, key) == (TARGET, 9000)


def test_a_name_comes_before_an_id(context: FakeContext) -> None:
    context.lns.add(3, 6, "2")
    assert context.run("throttle 2 64").text == "Throttling user 2"
    assert rates(context, 3 << 16 | 6) == (64, 64)
    assert rates(context, ALICE) == (2000, 2000)


def test_a_session_that_is_about_to_end_is_not_meant(context: FakeContext) -> None:
    session = context.lns.sessions[U1]
    session.state = SessionState.CLOSING
    session.ending = Ending("over", TerminateCause.USER_REQUEST)
    for line in ("throttle u1 5", "snoop 1 10.99.0.1 9000", "no throttle 2/1", "no snoop u1"):
        assert "is not connected" in context.run(line).error


def test_hostile_names_do_not_reach_the_terminal(context: FakeContext) -> None:
    context.lns.add(3, 7, "\x1b[2J\r\nx", throttle_in=5)
    for line in ("snoop 7 10.99.0.1 9000", "no snoop 7", "no throttle 7", "throttle 7 6"):
        assert context.run(line).text.isprintable()
    assert len(context.run("show throttle").lines) == 3


def test_show_throttle(context: FakeContext) -> None:
    context.run("throttle carol out 128")
    context.lns.buckets[ALICE] = FakeThrottle(queued_out=3, dropped_in=1, dropped_out=77)
    assert context.run("show throttle").text == THROTTLE_LIST
    first, second = json.loads(context.run("show throttle", json=True).text)
    assert first == {
        "session_id": 2,
        "tunnel_id": 2,
        "user": "alice",
        "throttle_in_kbps": 2000,
        "throttle_out_kbps": 2000,
        "queued_in": 0,
        "queued_out": 3,
        "dropped_in": 1,
        "dropped_out": 77,
    }
    assert (second["throttle_in_kbps"], second["throttle_out_kbps"]) == (0, 128)


def test_columns_of_show_throttle_are_straight_with_the_largest_numbers() -> None:
    context = FakeContext()
    context.lns.add(65535, 65535, "u" * 32, throttle_in=10**7, throttle_out=10**7)
    key = 65535 << 16 | 65535
    context.lns.buckets[key] = FakeThrottle(999_999, 999_999, 10**8, 10**8)
    header, row = context.run("show throttle").lines
    assert len(header) == len(row)
    assert len(row.split()) == 9


@pytest.mark.parametrize(
    "line",
    ["throttle u1 5", "no throttle alice", "snoop u1 10.99.0.1 9", "no snoop u1", "show throttle"],
)
def test_json_is_one_document(context: FakeContext, line: str) -> None:
    assert json.loads(context.run(line, json=True).text) is not None


def test_what_may_follow_the_user_of_throttle() -> None:
    def offered(line: str, access: Access = OPERATOR) -> list[str]:
        return [choice.word for choice in GRAMMAR.help(line, access)]

    assert offered("throttle u1 ") == ["<rate>", "in", "out", "<cr>"]
    assert offered("throttle u1 in ") == ["<rate>", "<cr>"]
    assert offered("throttle u1 in 5 ") == ["in", "out", "<cr>"]
    assert offered("throttle u1 5 ") == ["<cr>"]
    assert offered("throttle u1 in 5 out 6 ") == ["<cr>"]
    assert "session ID, or TID/SID" in GRAMMAR.help("throttle ", OPERATOR)[0].help


# Who may see it


def intercepted() -> FakeContext:
    context = four_sessions()
    for session in context.lns.sessions.values():
        session.snoop_ip, session.snoop_port = TARGET, 9000
    return context


def plain() -> FakeContext:
    return four_sessions()


SCREENS = [
    "show session",
    "show sessions",
    "show session 1",
    "show session 2/2",
    "show users",
    "show users carol",
    "show throttle",
    "show tunnels 2",
    "show pool",
    "help",
    "uptime",
    "snoop u1 10.99.0.1 9000",
    "no snoop u1",
    "show running-config",
]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("line", SCREENS)
def test_to_the_unprivileged_an_intercepted_session_looks_like_any_other(
    line: str, as_json: bool
) -> None:
    screens = [each.run(line, access=VIEWER, json=as_json) for each in (intercepted(), plain())]
    assert screens[0] == screens[1]
    assert "10.99.0.1" not in screens[0].text


def test_the_unprivileged_have_neither_command_nor_hint(context: FakeContext) -> None:
    for line in ("snoop u1 10.99.0.1 9000", "no snoop u1", "throttle u1 5", "no throttle alice"):
        assert context.run(line, access=VIEWER).error.startswith("Invalid command")
    assert target(context, U1) == (0, 0)
    for line in ("", "s", "no ", "show "):
        offered = {each.word for each in GRAMMAR.complete(line, VIEWER)[1]}
        offered |= {each.word for each in GRAMMAR.help(line, VIEWER)}
        assert offered.isdisjoint({"snoop", "throttle"}) or line == "show ", line
        assert "snoop" not in offered


@pytest.mark.parametrize("as_json", [False, True])
def test_counters_of_copies_are_for_operators(context: FakeContext, as_json: bool) -> None:
    context.values |= {"packets_snooped": 1234567, "snoop_failures": 7654321}
    seen = context.run("show counters", json=as_json).text
    assert "1234567" in seen
    assert "7654321" in seen
    hidden = context.run("show counters", access=VIEWER, json=as_json).text
    assert "tunnel_created" in hidden
    for word in ("snoop", "1234567", "7654321"):
        assert word not in hidden


def test_operators_see_it() -> None:
    context = intercepted()
    assert context.run("show session").lines[1].split()[4] == "Y"
    assert "\tIntercepted:\t10.99.0.1:9000" in context.run("show users carol").lines
    row: Any = json.loads(context.run("show session 1", json=True).text)[0]
    assert (row["intercepted"], row["snoop_ip"], row["snoop_port"]) == (True, "10.99.0.1", 9000)


def test_nothing_is_logged(context: FakeContext, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for line in ("snoop u1 10.99.0.1 9000", "snoop u1 x 9", "show session", "no snoop u1"):
        context.run(line)
    assert caplog.records == []
