"""Commands about the operator's own session, histograms, shutdown and reload, and rights and log
lines over the socket."""

# ruff: noqa: ASYNC110 - what is waited for is not of the test's making

import asyncio
import contextlib
import functools
import json
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.cli.commands import process
from l2tpns_core.cli.engine import CliServer
from l2tpns_core.cli.evaluate import evaluate
from l2tpns_core.cli.grammar import Access
from l2tpns_core.cli.live_log import MAX_WAITING, LiveLog
from l2tpns_core.cli.telnet_child import TelnetChild, TelnetOptions
from l2tpns_core.config.directives import Config, with_value
from l2tpns_core.dataplane.plane import SessionCounters
from support.telnet import terminal
from unit.cli.fakes import GRAMMAR, NOW, FakeContext, four_sessions

VIEWER = Access(privileged=False)


def in_loop(scenario: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A coroutine as a test."""

    @functools.wraps(scenario)
    def run(*arguments: Any, **fixtures: Any) -> None:
        asyncio.run(asyncio.wait_for(scenario(*arguments, **fixtures), 30))

    return run


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("en", ["enable"]),
        ("disa", ["disable"]),
        ("hist", ["history"]),
        ("term len 0", ["terminal", "length", "0"]),
        ("terminal width 132", ["terminal", "width", "132"]),
        ("debug", ["debug"]),
        ("debug c", ["debug", "critical"]),
        ("debug ca W", ["debug", "warning", "calls"]),
        ("debug all", ["debug", "critical", "error", "warning", "info", "calls"]),
        ("debug all data", ["debug", "critical", "error", "warning", "info", "calls", "data"]),
        ("no debug info", ["no", "debug", "info"]),
        ("no deb", ["no", "debug", "critical", "error", "warning", "info", "calls", "data"]),
    ],
)
def test_what_the_shell_is_asked_to_do(line: str, action: list[str]) -> None:
    result = evaluate(line, four_sessions(), GRAMMAR, Access())
    assert result.error == ""
    assert result.action == action
    assert list(result.lines) == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("debug x", 'Invalid debugging flag "x"'),
        ("debug critical nonsense", 'Invalid debugging flag "nonsense"'),
        ("terminal length", "Specify a number of lines"),
        ("terminal length -1", "Specify a number from 0 to 512"),
        ("terminal length 513", "Specify a number from 0 to 512"),
        ("terminal width 0", "Specify a number from 20 to 512"),
        ("terminal width \N{SUPERSCRIPT TWO}5", "Specify a number from 20 to 512"),
    ],
)
def test_what_is_refused(line: str, error: str) -> None:
    assert four_sessions().run(line).error == error


def test_viewers_may_become_more_but_not_stop_the_daemon() -> None:
    context = four_sessions()
    for line in ("enable", "history", "debug info", "terminal length 0"):
        assert context.run(line, access=VIEWER).error == ""
    for line in ("disable", "shutdown", "reload"):
        assert context.run(line, access=VIEWER).error.startswith("Invalid command")


def test_shutdown_and_reload_are_the_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(process.os, "kill", lambda pid, number: sent.append((pid, number)))
    context = four_sessions()
    assert context.run("shutdown").text == "Shutting down: all sessions are disconnected"
    assert context.run("reload").error == ""
    assert sent == [(os.getpid(), signal.SIGQUIT), (os.getpid(), signal.SIGHUP)]


def test_histogram_of_idle_times() -> None:
    context = four_sessions()  # idle for 3, 1, 11 and 7 seconds
    long_ago = context.lns.add(4, 5, "long", age=9000)
    context.lns.traffic[long_ago.key] = SessionCounters(1, 1, 1, 1, NOW - 400, NOW - 400)
    screen = context.run("show histogram idle")
    assert len(screen.lines) == 65
    assert screen.lines[:3] == [
        "  0 seconds  :   40.00% (     2)",
        "  5 seconds  :   20.00% (     1)",
        " 10 seconds  :   20.00% (     1)",
    ]
    assert screen.lines[62:] == [
        "310 seconds  :    0.00% (     0)",
        "lots of secs :   20.00% (     1)",
        "5 total sessions open.",
    ]


def test_histogram_of_durations() -> None:
    context = four_sessions()  # open for 19, 15, 11 and 7 seconds
    context.lns.add(4, 5, "new", age=0)
    context.lns.add(4, 6, "ancient", age=1 << 31)
    screen = context.run("show histogram open")
    assert len(screen.lines) == 31
    assert screen.lines[0] == " <        1 seconds :   16.67% (     1)"
    assert screen.lines[3:6] == [
        " <        8 seconds :   16.67% (     1)",
        " <       16 seconds :   33.33% (     2)",
        " <       32 seconds :   16.67% (     1)",
    ]
    assert screen.lines[29:] == [
        " < 536870912 seconds :   16.67% (     1)",
        "6 total sessions open.",
    ]
    data = json.loads(context.run("show histogram open", json=True).text)
    assert data["sessions"] == 6
    assert data["rows"][3] == {"less_than_s": 8, "sessions": 1}
    assert data["rows"][29] == {"less_than_s": None, "sessions": 1}


def test_histograms_of_nobody() -> None:
    context = FakeContext()
    for what in ("idle", "open"):
        lines = context.run(f"show histogram {what}").lines
        assert lines[-1] == "0 total sessions open."
        assert lines[0].endswith(":    0.00% (     0)")


def test_counting_many_sessions_lets_the_loop_go_on() -> None:
    context = FakeContext()
    for number in range(2000):
        context.lns.add(1, number + 1, "x")
    result = evaluate("show histogram idle", context, GRAMMAR, Access())
    assert list(result.lines)[:4] == [None] * 4


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:  # pytest's names are too long for a socket
        yield Path(directory) / "cli.sock"


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, **members: Any
) -> dict[str, Any]:
    writer.write(json.dumps(members).encode() + b"\n")
    while True:
        frame: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 10))
        if "status" in frame:
            return frame


@in_loop
async def test_rights_that_are_given_up_do_not_come_back(path: Path) -> None:
    server = CliServer(four_sessions(), path)
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(path))
    assert (await ask(reader, writer, line=""))["prompt"] == "vm# "
    frame = await ask(reader, writer, become="viewer")
    assert (frame["became"], frame["prompt"]) == ("viewer", "vm> ")
    for members in (
        {"become": "root"},
        {"become": "viewer", "line": "drop user alice"},
        {"line": "drop user alice", "privileged": True},
        {"line": "drop user alice", "mode": "config"},
        {"line": "set debug 5", "mode": "config"},
        {"line": "show running-config"},
    ):
        assert (await ask(reader, writer, **members))["status"] == "error"
    assert (await ask(reader, writer, complete="dro"))["words"] == []
    assert (await ask(reader, writer, line="show version"))["prompt"] == "vm> "
    assert (await ask(reader, writer, line="enable"))["action"] == ["enable"]
    assert (await ask(reader, writer, line="drop user alice"))["status"] == "error"
    writer.close()
    await server.close()


@in_loop
async def test_log_lines_are_followed_until_the_client_goes(path: Path) -> None:
    log = logging.getLogger("l2tpns.test")
    root = logging.getLogger("l2tpns")
    server = CliServer(four_sessions(), path)
    await server.start()
    before = list(root.handlers)
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"follow": "warning critical"}\n')
    while root.handlers == before:
        await asyncio.sleep(0.01)
    log.error("not asked for")
    log.warning("a\nb", extra={"tunnel": 2, "session": 9})
    log.critical("c")
    assert json.loads(await reader.readline()) == {"text": "WARN-2-9 a\\x0ab\nCRIT-0-0 c\n"}
    writer.close()
    while root.handlers != before:
        await asyncio.sleep(0.01)
    await server.close()


@in_loop
async def test_lines_that_nobody_fetches_are_bounded_and_counted() -> None:
    log = logging.getLogger("l2tpns.test")
    with contextlib.closing(LiveLog(["error"], asyncio.get_running_loop())) as live:
        for number in range(MAX_WAITING + 7):
            log.error("%d", number)
        lines = (await live.lines()).splitlines()
        assert len(lines) == MAX_WAITING + 1
        assert lines[-1] == "(7 log lines were lost)"


@in_loop
async def test_the_child_is_started_again_and_ended(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("l2tpns_core.cli.telnet_child.FIRST_PAUSE_S", 0.1)
    caplog.set_level(logging.INFO, "l2tpns.telnet")
    server = CliServer(four_sessions(), path)
    await server.start()
    config = with_value(with_value(Config(), "cli_port", "0"), "cli_socket", str(path))
    child = TelnetChild(TelnetOptions.of(config, str(path.with_name("users"))))
    child.start()
    await child.close()  # port 0 is none

    child = TelnetChild(TelnetOptions.of(config, "/nonexistent")._replace(port=free_port()))
    child.start()
    await until(lambda: listening(caplog) == 1)
    pid = await asyncio.to_thread(pid_of_child)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: listening(caplog) == 2)
    port = int([one for one in caplog.messages if "telnet on" in one][-1].rpartition(":")[2])
    await asyncio.to_thread(visit, port)
    await child.close()
    assert "the telnet listener ended (-9); again in 0 s" in caplog.messages
    await server.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


def visit(port: int) -> None:
    with terminal(port) as caller:
        caller.send(b"show version\r\n")
        caller.until(b"L2TPNS 9.9.9")


def listening(caplog: pytest.LogCaptureFixture) -> int:
    return sum("telnet on" in message for message in caplog.messages)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pid_of_child() -> int:
    """The listener that this process has started."""
    tasks = Path("/proc/self/task").iterdir()
    children = [pid for task in tasks for pid in (task / "children").read_text().split()]
    (found,) = [
        pid
        for pid in children
        if b"l2tpns_core.cli.telnet" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    return int(found)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)
