"""The telnet listener: the real process, before a daemon that runs in a thread."""

import asyncio
import logging
import os
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.cli.answer import Answer, Listing
from l2tpns_core.cli.commands import operator, sessions, shell, status
from l2tpns_core.cli.engine import CliServer
from l2tpns_core.cli.grammar import Call, CommandSet, Grammar
from support.telnet import Caller, TelnetProcess, call, resident_bytes, terminal
from unit.cli.fakes import GRAMMAR, FakeContext, four_sessions

ROWS = 200_000
LINGER_AND_RESET = struct.pack("ii", 1, 0)


class Daemon:
    """The daemon's end in a thread."""

    def __init__(self, path: Path, grammar: Grammar) -> None:
        self.path = path
        self.context: FakeContext = four_sessions()
        self._grammar = grammar
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Daemon":
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *details: Any) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = CliServer(self.context, self.path, grammar=self._grammar)
        await server.start()
        self._started.set()
        await self._stop.wait()
        await server.close()


def with_long_listing() -> Grammar:
    commands = CommandSet()

    @commands.command("rows", "")
    def rows(call: Call) -> Answer:
        return Listing(rows=range(ROWS), line=lambda row: f"row {row} {'x' * 60}", data=dict)

    modules = (shell, operator, sessions, status)
    return Grammar([*(module.COMMANDS for module in modules), commands])


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:  # pytest's names are too long for a socket
        yield Path(name)


@pytest.fixture(scope="module")
def daemon(directory: Path) -> Iterator[Daemon]:
    with Daemon(directory / "cli.sock", GRAMMAR) as running:
        yield running


@pytest.fixture(scope="module")
def users(directory: Path) -> Path:
    path = directory / "users"
    path.write_text("admin:admin\nenable:secret\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def telnet(daemon: Daemon, users: Path) -> Iterator[TelnetProcess]:
    with TelnetProcess(daemon.path, users) as process:
        yield process


def enable(caller: Caller, password: bytes = b"secret") -> None:
    caller.send(b"enable\r\n")
    caller.until(b"Password: ")
    caller.send(password + b"\r\n")


def test_a_script_gets_answers_and_nothing_else(telnet: TelnetProcess) -> None:
    with call(telnet.port) as caller:
        caller.send(b"show version\nshow session | count\nsh us | include al\nnonsense\nquit\n")
        assert caller.rest() == b'L2TPNS 9.9.9\n5\nalice\nInvalid command "nonsense"\n'


def test_a_script_may_end_its_side_first(telnet: TelnetProcess) -> None:
    with call(telnet.port) as caller:
        caller.send(b"show version\r\nshow users\r\n")
        caller.connection.shutdown(socket.SHUT_WR)
        assert caller.rest() == b"L2TPNS 9.9.9\r\nu1\r\nalice\r\ncarol\r\nfrank\r\n"


def test_a_program_that_waits_gets_prompts_without_echo_or_escapes(telnet: TelnetProcess) -> None:
    with call(telnet.port) as caller:
        greeting = caller.until(b"vm> ")
        assert greeting == b"\xff\xfb\x01\xff\xfb\x03\xff\xfd\x03\xff\xfd\x1f\r\nvm> "
        caller.send(b"show version\n")
        assert caller.until(b"vm> ") == b"L2TPNS 9.9.9\r\n\r\nvm> "
        caller.send(b"show us?\n")
        assert caller.until(b"vm> ").startswith(b"  users                Show a list of all")
        caller.send(b"enable\n")
        caller.until(b"Password: ")
        caller.send(b"secret\n")
        assert caller.until(b"vm# ") == b"\r\nvm# "
        caller.send(b"quit\n")
        assert caller.rest() == b""


def test_the_screens_of_the_original(telnet: TelnetProcess) -> None:
    """Section 1 to 3 of the reference: prompts, enable, a wrong password."""
    with terminal(telnet.port) as caller:
        enable(caller, b"wrong")
        assert caller.until(b"> ") == b"\r\n\r\nAccess denied\r\n\r\nvm> "
        caller.send(b"show version\r\n")
        assert caller.until(b"> ") == b"show version\r\nL2TPNS 9.9.9\r\n\r\nvm> "
        caller.send(b"show running-config\r\n")
        assert b'Invalid command "show running-config"\r\n' in caller.until(b"> ")
        enable(caller)
        assert caller.until(b"# ") == b"\r\nvm# "
        caller.send(b"conf t\r\n")
        assert caller.until(b"(config)# ") == b"conf t\r\n\r\nvm(config)# "
        caller.send(b"set debug 3\r\n")
        assert b'Setting "debug" to 3' in caller.until(b"(config)# ")
        caller.send(b"\x1a")
        assert caller.until(b"vm# ") == b"\r\n\r\nvm# "
        caller.send(b"history\r\n")
        assert b"\r\nCommand history:\r\n  0. enable\r\n  1. show version\r\n" in caller.until(
            b"# "
        )
        caller.send(b"disable\r\n")
        assert caller.until(b"> ").endswith(b"\r\nvm> ")
        caller.send(b"conf t\r\n")
        assert b'Invalid command "conf"' in caller.until(b"> ")
        caller.send(b"quit\r\n")
        assert caller.rest() == b"quit\r\n"


def test_an_access_list_is_written_in_a_mode_of_its_own(telnet: TelnetProcess) -> None:
    with terminal(telnet.port) as caller:
        enable(caller)
        caller.until(b"vm# ")
        for line, prompt in (
            (b"configure terminal", b"vm(config)# "),
            (b"ip access-list extended dsl", b"vm(config-ext-nacl)# "),
            (b"permit tcp any any eq 80", b"vm(config-ext-nacl)# "),
            (b"exit", b"vm(config)# "),
            (b"exit", b"vm# "),
            (b"show access-list dsl", b" permit tcp any any eq 80"),
        ):
            caller.send(line + b"\r\n")
            caller.until(prompt)


def test_passwords_are_neither_shown_nor_remembered(telnet: TelnetProcess) -> None:
    with terminal(telnet.port) as caller:
        enable(caller)
        seen = caller.until(b"# ")
        caller.send(b"history\r\n")
        seen += caller.until(b"# ")
        assert b"secret" not in seen
    assert not any("secret" in line for line in telnet.lines)


def test_tab_and_question_mark(telnet: TelnetProcess) -> None:
    with terminal(telnet.port) as caller:
        caller.send(b"sh ver\t")
        assert caller.until(b"version ").endswith(b"version ")
        caller.send(b"\x15show user ca\t")
        assert b"carol " in caller.until(b"carol ")
        caller.send(b"\x15show session \t")
        caller.until(b"1  2  3  4\r\n")
        caller.until(b"vm> show session ")
        caller.send(b"\x15show histogram ?")
        text = caller.until(b"vm> show histogram ")
        assert b"\r\n  idle                 Show histogram of session idle times\r\n" in text
        assert b"\r\n  open                 Show histogram of session durations\r\n" in text
        caller.send(b"\x15show session | ?")
        assert b"  exclude              Leave out lines" in caller.until(b"vm> show session | ")
        caller.send(b"\x15nonsense ?")
        assert b"% nothing fits" in caller.until(b"vm> nonsense ")


def test_history_and_editing(telnet: TelnetProcess) -> None:
    with terminal(telnet.port) as caller:
        caller.send(b"how version\x01s\r\n")
        caller.until(b"L2TPNS 9.9.9\r\n\r\nvm> ")
        caller.send(b"half a line\x03")
        assert caller.until(b"vm> ").endswith(b"^C\r\n\r\nvm> ")
        caller.send(b"\x1b[A\r\n")
        caller.until(b"L2TPNS 9.9.9\r\n\r\nvm> ")
        caller.send(b"\x04")
        caller.rest()


def test_nothing_that_is_sent_is_an_escape(telnet: TelnetProcess) -> None:
    with terminal(telnet.port, width=30) as caller:
        caller.send(b"show session | include something quite long\x01\x0b\x1b[A\x1b[Bshow ?")
        seen = caller.until(b"version")
        assert b"\x1b" not in seen


def test_pages(telnet: TelnetProcess) -> None:
    with terminal(telnet.port, height=5) as caller:
        caller.send(b"show users\r\n")
        assert caller.until(b"> ") == b"show users\r\nu1\r\nalice\r\ncarol\r\nfrank\r\n\r\nvm> "
        caller.send(b"show histogram open\r\n")
        text = caller.until(b"--More--")
        assert text.count(b"seconds :") == 4
        caller.send(b" ")
        assert caller.until(b"--More--").count(b"seconds :") == 4
        caller.send(b"\r\n")
        assert caller.until(b"--More--").count(b"seconds :") == 1
        caller.send(b"q")
        assert caller.until(b"vm> ") == b"\r        \r\r\nvm> "
        caller.send(b"terminal length 0\r\n")
        caller.until(b"vm> ")
        caller.send(b"show histogram open\r\n")
        assert caller.until(b"vm> ").count(b"seconds :") == 30
        caller.send(b"terminal width 7\r\n")
        assert b"Specify a number from 20 to 512" in caller.until(b"vm> ")


def test_a_window_without_a_size_is_not_paged(telnet: TelnetProcess) -> None:
    with terminal(telnet.port, 0, 0) as caller:
        caller.send(b"show histogram idle\r\n")
        assert b"--More--" not in caller.until(b"vm> ")


def test_a_viewer_cannot_forge_rights(telnet: TelnetProcess, daemon: Daemon) -> None:
    with call(telnet.port) as caller:
        caller.send(
            b"configure terminal\nset debug 5\ndrop user alice\nshow running-config\n"
            b'{"line": "drop user alice", "mode": "config", "privileged": true}\n'
            b"disable\nenable\n\nquit\n"
        )
        answer = caller.rest()
    assert answer.count(b"Invalid command") == 6
    assert answer.endswith(b"Access denied\n")
    assert daemon.context.lns.dropped == []


def test_log_lines_come_while_a_line_is_typed(telnet: TelnetProcess, daemon: Daemon) -> None:
    log = logging.getLogger("l2tpns.test")
    with terminal(telnet.port) as caller:
        caller.send(b"debug\r\n")
        assert b"Currently debugging: critical\r\n" in caller.until(b"vm> ")
        caller.send(b"debug warn err\r\n")
        caller.until(b"vm> ")
        caller.send(b"debug\r\n")
        assert b"Currently debugging: critical error warning\r\n" in caller.until(b"vm> ")
        caller.send(b"show us")
        caller.until(b"show us")
        log.info("not this one")
        log.warning("look\x1b[2J at %s", "this", extra={"tunnel": 3, "session": 17})
        seen = caller.until(b"vm> show us")
        assert b"WARN-3-17 look\\x1b[2J at this\r\n" in seen
        assert b"not this one" not in seen
        caller.send(b"\x15no debug\r\n")
        caller.until(b"vm> ")
        time.sleep(0.2)
        log.error("nor this one")
        assert caller.quiet_for(0.3)
        caller.send(b"debug\r\n")
        assert b"Debugging off\r\n" in caller.until(b"vm> ")


def test_the_halves_have_no_rights_that_they_do_not_need(telnet: TelnetProcess) -> None:
    if os.geteuid() != 0:
        assert "NoNewPrivs:\t1" in status_of(telnet.network_pid)
        return
    network, keeper = status_of(telnet.network_pid), status_of(telnet.process.pid)
    assert "Uid:\t65534\t65534\t65534\t65534" in network
    assert "Groups:\t \n" in network
    assert "CapPrm:\t0000000000000000" in network
    assert "NoNewPrivs:\t1" in network
    assert "CapEff:\t0000000000000022" in keeper
    assert "CapPrm:\t0000000000000022" in keeper


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def test_without_an_enable_password_nobody_becomes_privileged(
    daemon: Daemon, tmp_path: Path
) -> None:
    users = tmp_path / "users"
    with TelnetProcess(daemon.path, users) as telnet, terminal(telnet.port) as caller:
        enable(caller, b"")
        assert b"There is no enable password" in caller.until(b"vm> ")
        users.write_text("enable:now\n")
        enable(caller, b"now")
        caller.until(b"vm# ")


def test_an_idle_operator_is_logged_out(daemon: Daemon, users: Path) -> None:
    with TelnetProcess(daemon.path, users, "--idle", "1") as telnet:
        with terminal(telnet.port) as caller:
            begun = time.monotonic()
            assert caller.rest() == b"\r\nIdle for too long\r\n"
            assert 0.8 < time.monotonic() - begun < 5
        with terminal(telnet.port, height=4) as caller:
            caller.send(b"show histogram open\r\n")
            caller.until(b"--More--")
            assert caller.rest() == b"\r\nIdle for too long\r\n"


def test_operators_have_a_limit(daemon: Daemon, users: Path) -> None:
    with TelnetProcess(daemon.path, users, "--operators", "2") as telnet:
        with terminal(telnet.port), terminal(telnet.port), call(telnet.port) as third:
            third.send(b"show version\n")
            assert third.rest() == b"There are too many of you: 2 operators\n"
        with call(telnet.port) as later:
            later.send(b"show version\nquit\n")
            assert later.rest() == b"L2TPNS 9.9.9\n"


def test_a_port_that_is_taken_is_said(daemon: Daemon, users: Path, telnet: TelnetProcess) -> None:
    taken = TelnetProcess(daemon.path, users, "--port", str(telnet.port))
    with pytest.raises(AssertionError, match=r"cannot listen on TCP 127\.0\.0\.1:.* in use"):
        taken.__enter__()


def test_a_daemon_that_is_not_there_is_said(users: Path, tmp_path: Path) -> None:
    with TelnetProcess(tmp_path / "none", users) as telnet, call(telnet.port) as caller:
        caller.send(b"show version\n")
        assert caller.rest().startswith(b"The daemon does not answer: ")


def test_it_ends_with_whoever_started_it(daemon: Daemon, users: Path) -> None:
    with TelnetProcess(daemon.path, users) as telnet, terminal(telnet.port) as caller:
        network = telnet.network_pid
        assert telnet.process.stdin is not None
        telnet.process.stdin.close()
        assert telnet.process.wait(5) == 0
        caller.rest()
        assert not Path(f"/proc/{network}").exists()


def test_lines_of_a_megabyte(telnet: TelnetProcess) -> None:
    before = resident_bytes(telnet.network_pid)
    with call(telnet.port) as caller:
        caller.send(b"show version\n")
        caller.until(b"L2TPNS 9.9.9\n")
        for _ in range(3):
            caller.send(b"x" * 1_000_000 + b"\n")
            assert caller.until(b"\n") == b"The line is too long\n"
        caller.send(b"show version\nquit\n")
        assert caller.rest() == b"L2TPNS 9.9.9\n"
    assert resident_bytes(telnet.network_pid) - before < 4 << 20


def test_resets_leave_nothing_behind(telnet: TelnetProcess) -> None:
    descriptors = Path(f"/proc/{telnet.network_pid}/fd")
    before = None
    for _ in range(3):
        for number in range(60):
            with call(telnet.port) as caller:
                if number % 2:
                    caller.send(b"show session\n" * (number % 7))
                caller.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_AND_RESET)
        time.sleep(0.3)
        with terminal(telnet.port):
            time.sleep(0.5)
            after = len(list(descriptors.iterdir())) if os.geteuid() == 0 else 0
        before = after if before is None else before
        assert after == before


def test_a_long_listing_waits_for_its_reader_and_ends_by_interrupt(
    directory: Path, users: Path
) -> None:
    """An operator who does not read costs little memory and holds up nobody; ^C ends it."""
    path = directory / "long.sock"
    with Daemon(path, with_long_listing()), TelnetProcess(path, users) as telnet:
        before = resident_bytes(telnet.network_pid)
        with terminal(telnet.port, 80, 0) as caller:
            caller.send(b"rows\r\n")
            caller.until(b"row 10 ")
            time.sleep(1.0)
            with call(telnet.port) as other:
                other.send(b"show version\nquit\n")
                assert other.rest() == b"L2TPNS 9.9.9\n"
            assert resident_bytes(telnet.network_pid) - before < 8 << 20
            caller.send(b"\x03")
            seen = caller.until(b"^C\r\n\r\nvm> ")
            assert f"row {ROWS - 1} ".encode() not in seen
            caller.send(b"show version\r\n")
            caller.until(b"L2TPNS 9.9.9\r\n")
