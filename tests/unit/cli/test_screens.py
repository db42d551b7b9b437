"""What each command prints, held against the screens of the original and the manual's columns."""

# ruff: noqa: E501, W291 - screens are as wide as they are

import json
from typing import Any

import pytest

from l2tpns_core.addresses import AddressPool
from l2tpns_core.cli.evaluate import evaluate
from l2tpns_core.cli.grammar import Access, Mode
from l2tpns_core.config.startup_config import parse
from l2tpns_core.observe.counters import Bandwidth, Traffic, TrafficTotals
from l2tpns_core.ppp.quality import quality_of, recorded
from l2tpns_core.radius.spool.status import SpoolStatus
from l2tpns_core.session import Ending, Route, TerminateCause
from unit.cli.fakes import (
    GRAMMAR,
    NOW,
    WALL,
    FakeContext,
    FakeRequest,
    FakeTunnelState,
    Screen,
    four_sessions,
)

SESSION_LIST = """\
  SID   TID Username                         IP              I T G     opened downloaded   uploaded idle LAC             CLI
    1     2 u1                               10.20.1.1       N N N         19       1690       1680    3 10.9.0.101      *
    2     2 alice                            10.20.5.5       N Y N         15      20561      20560    1 10.9.0.101      *
    3     3 carol                            10.20.6.6       N N N         11          0          0   11 10.9.0.101      *
    4     3 frank                            10.20.1.2       N N N          7          0          0    7 10.9.0.101      *"""

SESSION_4 = """

Session 4:
\tUser:\t\tfrank
\tCalling Num:\t
\tCalled Num:\t
\tTunnel ID:\t3
\tRemote ID:\t104
\tPPP Phase:\tNetwork
\t IPCP state:\tOpened
\tIP address:\t10.20.1.2
\tUnique SID:\t4
\tOpened:\t\t7 seconds
\tIdle time:\t7 seconds
\tSess Timeout:\t3592 seconds
\tBytes In/Out:\t0/0
\tPkts In/Out:\t0/0
\tMRU:\t\t1492
\tRx Speed:\t0
\tTx Speed:\t0
\tIntercepted:\tno
\tWalled Garden:\tno
\tThrottled:\tno"""

TUNNEL_LIST = """\
  TID             Hostname                   IP   State Sessions
    2                rig-a           10.9.0.101    Open      2
    3                rig-a           10.9.0.101    Open      2"""

TUNNEL_2 = """

Tunnel 2:
\tState:\t\tOpen
\tHostname:\trig-a
\tVendor:\t\txelerance.com
\tRemote ID:\t77
\tRemote IP:\t10.9.0.101
\tRemote Port:\t1701
\tRx Window:\t4
\tNext Recv:\t6
\tNext Send:\t3
\tQueue Len:\t0
\tResent:\t\t0
\tLast Packet Age:16
\tSessions:\t1 2"""

POOL = """\
IP Address      Used  Session User
10.20.1.1          Y        1 u1
10.20.1.2          Y        4 frank
(Not displaying unused addresses)

Free: 2
Used: 2"""

POOL_ALL = """\
IP Address      Used  Session User
10.20.1.1          Y        1 u1
10.20.1.2          Y        4 frank
10.20.1.3          N
10.20.1.4          N

Free: 2
Used: 2"""

COUNTERS = """\
Ethernet        Bytes    Packets     Errors    Dropped
RX              22556         43          0          0
TX              22160         40          0

Tunnel          Bytes    Packets     Errors    Retries
RX                  0          0          0
TX                  0          0          0          0

Counter (lns)                 Value     
-----------------------------------------
tunnel_created                2
session_created               4
"""


@pytest.fixture
def context() -> FakeContext:
    return four_sessions()


def documents(screen: Screen) -> Any:
    return json.loads(screen.text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("show session", SESSION_LIST),
        ("show session 4", SESSION_4[1:]),
        ("show tunnels", TUNNEL_LIST),
        ("show tunnel", TUNNEL_LIST),
        ("show tunnel 2", TUNNEL_2[1:]),
        ("show users", "u1\nalice\ncarol\nfrank"),
        ("show user frank", SESSION_4[1:]),
        ("show pool", POOL),
        ("show pool all", POOL_ALL),
        ("show version", "L2TPNS 9.9.9"),
    ],
)
def test_screen(context: FakeContext, line: str, expected: str) -> None:
    screen = context.run(line)
    assert screen.text == expected
    assert screen.error == ""


def test_session_columns_are_those_of_the_manual(context: FakeContext) -> None:
    assert context.run("show session").lines[0].split() == (
        [
            "SID",
            "TID",
            "Username",
            "IP",
            "I",
            "T",
            "G",
            "opened",
            "downloaded",
            "uploaded",
            "idle",
            "LAC",
            "CLI",
        ]
    )


def test_columns_are_straight_with_the_largest_ids() -> None:
    context = FakeContext()
    context.lns.add(65535, 65535, "u", ip=0xFFFFFFFF)
    header, row = context.run("show session").lines
    assert row.index(" u ") == header.index(" Username")
    assert row.index("255.255.255.255") == header.index("IP ")
    header, row = context.run("show tunnels").lines
    assert row.index("Open") + len("Open") == header.index("State") + len("State")


def test_session_without_login_shows_stars() -> None:
    context = FakeContext()
    context.lns.add(1, 9)
    assert context.run("show session").lines[1].split()[2:4] == ["*", "0.0.0.0"]
    assert context.run("show session").lines[1].split()[-1] == "*"


def test_details_show_everything_that_is_set() -> None:
    context = FakeContext()
    context.lns.add(
        1,
        7,
        "bob",
        calling_number="0991",
        routes=(Route(0x0A370000, 24),),
        idle_timeout=600,
        filter_in="foo",
        filter_out="bar",
        snoop_ip=0x0A630001,
        snoop_port=9000,
        walled_garden=True,
        throttle_out=512,
        ending=Ending("Idle timeout reached", TerminateCause.IDLE_TIMEOUT),
    )
    text = context.run("show session 7").text
    for line in (
        "\tCalling Num:\t0991",
        "\tIP route:\t10.55.0.0/24",
        "\tIdle Timeout:\t580 seconds",
        "\tFilter in:\tfoo",
        "\tFilter out:\tbar",
        "\tIntercepted:\t10.99.0.1:9000",
        "\tWalled Garden:\tYES",
        "\tThrottled:\tYES (-/512kbps)",
        "\tEnding:\t\tIdle timeout reached",
    ):
        assert line in text.split("\n")


def test_flags_are_intercept_throttle_garden() -> None:
    context = FakeContext()
    context.lns.add(1, 1, "a", snoop_ip=1)
    context.lns.add(1, 2, "b", throttle_in=1)
    context.lns.add(1, 3, "c", walled_garden=True)
    rows = [line.split()[4:7] for line in context.run("show session").lines[1:]]
    assert rows == [["Y", "N", "N"], ["N", "Y", "N"], ["N", "N", "Y"]]


def test_a_session_that_has_ended_meanwhile_is_not_listed(context: FakeContext) -> None:
    lines = evaluate("show session", context, GRAMMAR, Access()).lines
    assert [next(lines), next(lines)] == context.run("show session").lines[:2]
    context.lns.sessions.clear()
    assert list(lines) == []


def test_gardened_user_is_found_by_show_but_not_by_drop(context: FakeContext) -> None:
    context.lns.add(3, 6, "gus", walled_garden=True)
    assert "Walled Garden:\tYES" in context.run("show users gus").text
    assert context.run("drop user gus").error == "User gus is not connected"


def test_hostile_names_reach_neither_terminal_nor_columns() -> None:
    context = FakeContext()
    hostile = "\x1b[2Jroot\r\n9.9.9.9 Y\u202e"
    context.lns.add(1, 1, hostile, calling_number="1 2")
    context.lns.endpoint.tunnels[1].hostname = hostile
    for line in ("show session", "show session 1", "show users", "show tunnel", "show tunnel 1"):
        for text in context.run(line).lines:
            assert text.replace("\t", "").isprintable(), line
    assert len(context.run("show session").lines[1].split()) == 13
    (row,) = documents(context.run("show session", json=True))
    assert row["user"] == hostile


def test_tunnel_states_are_in_the_words_of_the_manual(context: FakeContext) -> None:
    tunnel = context.lns.endpoint.tunnels[2]
    shown = []
    for state in FakeTunnelState:
        tunnel.state = state
        shown.append(context.run("show tunnel").lines[1].split()[3])
    assert shown == ["Free", "Opening", "Open", "Dieing"]


def test_sessions_of_a_big_tunnel_take_several_lines() -> None:
    context = FakeContext()
    for session_id in range(1, 41):
        context.lns.add(1, session_id)
    lines = context.run("show tunnel 1").lines
    ids = [int(word) for line in lines if line.startswith("\t\t\t") for word in line.split()]
    assert ids == list(range(17, 41))


def test_pool_keeps_an_address_for_its_user() -> None:
    context = FakeContext()
    context.lns.pool = AddressPool([0xC0A86406])
    context.lns.pool.allocate("joe.user", 1)
    context.lns.pool.release(0xC0A86406, 1, NOW - 1548)
    assert context.run("show pool").lines[1].split() == [
        "192.168.100.6",
        "N",
        "[joe.user]",
        "1548s",
    ]


def test_radius_request_shows_its_unix_retry_time() -> None:
    context = FakeContext()
    context.requests = [FakeRequest(), FakeRequest(14, None, None, session_key=None, state="WAIT")]
    screen = context.run("show radius")
    assert screen.lines[0].split() == ["ID", "Radius", "Sock", "State", "Session", "Retry", "Try"]
    assert screen.lines[1].split() == ["13", "0", "13", "AUTH", "5", str(int(WALL) + 3), "1"]
    assert screen.lines[2].split() == ["14", "-", "-", "WAIT", "-", str(int(WALL) + 3), "1"]
    assert screen.lines[-1] == "Used: 2"


def test_radius_screen_tells_what_waits_for_a_server(context: FakeContext) -> None:
    context.spool = SpoolStatus(3, 1103, 67108864, 70.4, 1, 2, is_down=True, on_disk=False)
    assert context.run("show radius").lines[-4:] == [
        "Accounting spool: 3 records, 1103 of 67108864 bytes, the oldest 1 min old, 1 being sent",
        "Lost for want of room: 2 accounting records",
        "No RADIUS server takes accounting",
        "The accounting spool cannot be written to disk",
    ]
    assert documents(context.run("show radius", json=True))["spool"] == {
        "records": 3,
        "bytes": 1103,
        "limit": 67108864,
        "oldest_age_s": 70.4,
        "in_flight": 1,
        "dropped": 2,
        "down": True,
        "on_disk": False,
    }


def test_counters_screen(context: FakeContext) -> None:
    screen = context.run("show counters")
    assert screen.text.startswith(COUNTERS)
    assert screen.lines[-1].startswith("Last counter reset ")


def test_traffic_tables_stay_aligned_with_large_numbers(context: FakeContext) -> None:
    context.totals = TrafficTotals(Traffic(10**14, 5), Traffic(1, 10**12, tx_bytes=3))
    lines = context.run("show counters").lines
    assert lines[0].index("Bytes") + len("Bytes") == lines[1].index(str(10**14)) + 15
    assert len({len(lines[0]), len(lines[4])}) == 1


def test_clear_counters_moves_the_zero(context: FakeContext) -> None:
    assert context.run("clear counters").text == "Counters cleared"
    context.values["tunnel_created"] = 7
    data = documents(context.run("show counters", json=True))
    assert data["counters"] == {"lns": {"tunnel_created": 5, "session_created": 0}}
    assert data["ethernet"]["rx_bytes"] == 0


def test_uptime_is_the_original_line(context: FakeContext) -> None:
    context.rates = Bandwidth(6e6, 6e6, 13e6, 12.6e6, 3033, 2569)
    first, second = context.run("uptime").lines
    assert " up 26 secs, 4 users, load average: " in first
    assert second == "Bandwidth: UDP-ETH:6/6  ETH-UDP:13/13  TOTAL:37.6   IN:3033 OUT:2569"


def test_running_config_can_be_loaded_again(context: FakeContext) -> None:
    context.run("set radius_secret 'it is \"so\"'", Mode.CONFIG)
    for line in ("show running-config", "write terminal"):
        result = parse(context.run(line).text.encode(), "x")
        assert (result.config, result.plugins) == (context.config, ["garden"])


@pytest.mark.parametrize(
    ("line", "printed", "error"),
    [
        ("drop session 2", "Dropping session 2", ""),
        ("drop session", "", "Specify a session id to drop"),
        ("drop session abc", "", 'Invalid session id "abc"'),
        ("drop session 77", "", "Session 77 is not active."),
        ("drop session 77 2", "Dropping session 2", "Session 77 is not active."),
        ("drop user u1", "Dropping user u1", ""),
        ("drop user", "", "Specify a user to drop"),
        ("drop user nobody", "", "User nobody is not connected"),
        ("drop tunnel 3", "Tunnel 3 shut down (rig-a)", ""),
        ("drop tunnel", "", "Specify a tunnel to drop"),
        ("drop tunnel abc", "", "Invalid tunnel ID (1-65535)"),
        ("drop tunnel 77", "", "Tunnel 77 is not connected"),
        ("show session abc", "", 'Invalid session id "abc"'),
        ("show tunnel abc", "", 'Invalid tunnel id "abc"'),
        ("show user nobody", "", "User nobody is not connected"),
        ("nonsense", "", 'Invalid command "nonsense"'),
        ("show nonsense", "", 'Invalid command "show nonsense"'),
        ("show", "", "Incomplete command"),
        ("drop", "", "Incomplete command"),
        ("configure", "", "Incomplete command"),
        ("show pool junk", "", 'Invalid argument "junk"'),
        ("show version 5", "", 'Invalid argument "5"'),
    ],
)
def test_messages(context: FakeContext, line: str, printed: str, error: str) -> None:
    screen = context.run(line)
    assert (screen.text, screen.error) == (printed, error)


def test_drops_reach_the_lns(context: FakeContext) -> None:
    for line in ("drop session 2 4", "drop user u1", "drop tunnel 3"):
        context.run(line)
    assert context.lns.dropped == [("session", 2), ("session", 4), ("session", 1), ("tunnel", 3)]


def test_tunnel_that_is_closing_is_not_dropped_again(context: FakeContext) -> None:
    context.lns.endpoint.tunnels[3].state = FakeTunnelState.CLOSING
    assert context.run("drop tunnel 3").error == "Tunnel 3 is already being shut down"
    assert context.lns.dropped == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("set nosuch 1", 'Unknown variable "nosuch"'),
        ("set debgu 1", 'Unknown variable "debgu"; did you mean "debug"?'),
        ("set", "Specify variable and value"),
        ("set debug", "Specify variable and value"),
        ("set debug 9", 'debug: "9" is not valid: expected an integer from 0 to 5'),
        ("set debug 1 2", 'Invalid argument "2"'),
        ("show version", 'Invalid command "show"'),
    ],
)
def test_errors_in_configure_mode(context: FakeContext, line: str, error: str) -> None:
    before = context.config
    assert context.run(line, Mode.CONFIG).error == error
    assert context.config == before


def test_configure_mode_and_back(context: FakeContext) -> None:
    assert context.run("conf t").mode is Mode.CONFIG
    assert context.run("set debug 3", Mode.CONFIG).text == 'Setting "debug" to 3'
    assert context.config.debug == 3
    assert context.run("set debug 4").error == 'Invalid command "set"'
    assert context.run("exit", Mode.CONFIG).mode is Mode.EXEC
    assert context.run("end", Mode.CONFIG).mode is Mode.EXEC
    assert context.run("exit").mode is None
    assert context.run("quit", Mode.CONFIG).mode is None


@pytest.mark.parametrize(
    "line",
    [
        "show session",
        "show session 4",
        "show tunnels",
        "show tunnel 2",
        "show users",
        "show users alice",
        "show pool",
        "show pool all",
        "show radius",
        "show counters",
        "show version",
        "show running-config",
        "uptime",
        "help",
        "drop session 2",
        "clear counters",
    ],
)
def test_json_of_every_command_is_one_document(context: FakeContext, line: str) -> None:
    assert documents(context.run(line, json=True)) is not None


def test_json_session_has_numbers_and_more_than_the_columns(context: FakeContext) -> None:
    row = documents(context.run("show session", json=True))[1]
    assert row["session_id"] == 2
    assert row["downloaded_bytes"] == 20561
    assert row["throttled"] is True
    assert row["phase"] == "network"
    assert row["accounting_id"] == context.lns.sessions[2 << 16 | 2].accounting_id
    assert documents(context.run("show session 2", json=True)) == [row]


def test_json_of_empty_lists() -> None:
    context = FakeContext()
    assert documents(context.run("show session", json=True)) == []
    assert documents(context.run("show pool", json=True)) == {"addresses": [], "free": 0, "used": 0}


def test_json_errors_are_objects(context: FakeContext) -> None:
    for line in ("nonsense", "drop session 77", "show session x", "show session | count"):
        screen = context.run(line, json=True)
        assert documents(screen) == {"error": screen.error}
    both = documents(context.run("drop session 77 2", json=True))
    assert both == {"messages": ["Dropping session 2"], "error": "Session 77 is not active."}


def test_help_lists_what_the_mode_has(context: FakeContext) -> None:
    text = context.run("help").text
    assert (
        "\n  show session         Show a list of sessions or details for a single session\n" in text
    )
    assert "  set  " not in text
    assert "show sessions" not in text
    assert "  set  " in context.run("help", Mode.CONFIG).text


def with_echoes(*seconds: float | None, lost_at: float = 0.0) -> FakeContext:
    """Session 4 with these echoes behind it."""
    context = four_sessions()
    ring = b""
    for each in seconds:
        ring = recorded(ring, each)
    session = context.lns.find_session("4")
    session.link.quality = quality_of(ring, lost_at)  # type: ignore[union-attr, misc]
    return context


@pytest.mark.parametrize(
    ("context", "lines"),
    [
        (
            with_echoes(0.010, 0.030, None, 0.020, lost_at=NOW - 61),
            [
                "\tRound trip:\t20.0 ms (min/median/max 10.0/20.0/30.0, jitter 15.0)",
                "\tLost:\t\t1 of the last 4 echoes, the newest 61 seconds ago",
            ],
        ),
        (
            with_echoes(0.0404),
            [
                "\tRound trip:\t40.4 ms (min/median/max 40.4/40.4/40.4)",
                "\tLost:\t\t0 of the last 1 echoes",
            ],
        ),
        (
            with_echoes(*[None] * 20, lost_at=NOW),
            ["\tLost:\t\t16 of the last 16 echoes, the newest 0 seconds ago"],
        ),
    ],
)
def test_the_quality_of_a_line(context: FakeContext, lines: list[str]) -> None:
    before, speed, after = SESSION_4[1:].partition("\tTx Speed:\t0\n")
    expected = before + speed + "".join(f"{line}\n" for line in lines) + after
    assert context.run("show session 4").text == expected


def test_the_quality_of_a_line_as_data() -> None:
    context = with_echoes(0.010, 0.030, None, 0.020, lost_at=NOW - 61)
    (row,) = json.loads(context.run("show session 4", json=True).text)
    assert row["line_quality"] == {
        "echoes": 4,
        "lost": 1,
        "loss": 0.25,
        "last_s": 0.02,
        "min_s": 0.01,
        "median_s": 0.02,
        "max_s": 0.03,
        "jitter_s": 0.015,
        "lost_s_ago": 61.0,
    }
    (row,) = json.loads(four_sessions().run("show session 4", json=True).text)
    assert row["line_quality"] is None
