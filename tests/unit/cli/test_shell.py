"""`l2tpns-cli` as a program: its output, its exit status, what it says when nobody is there."""

import asyncio
import contextlib
import json
import logging
import os
import pty
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2tpns_core.cli import shell
from l2tpns_core.cli.client import Client, DaemonUnreachableError
from l2tpns_core.cli.engine import CliServer
from l2tpns_core.cli.grammar import Access, Mode
from support.terminal import TerminalProgram
from unit.cli.fakes import GRAMMAR, FakeContext, four_sessions


class Daemon:
    """A CliServer on a loop of its own thread."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.context: FakeContext = four_sessions()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.server: CliServer | None = None
        self.start()

    def start(self) -> None:
        self.server = CliServer(self.context, self.path)
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(10)

    def stop(self) -> None:
        assert self.server is not None
        asyncio.run_coroutine_threadsafe(self.server.close(), self._loop).result(10)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with (
        tempfile.TemporaryDirectory() as directory,
        contextlib.closing(Daemon(Path(directory) / "cli.sock")) as daemon,
    ):
        yield daemon


def cli(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program with pipes."""
    return subprocess.run(
        [sys.executable, "-m", "l2tpns_core.cli.shell", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


def call(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str, str]:
    """Run the program's main() here, which is faster."""
    status = shell.main(["-s", daemon.path, *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_command_prints_its_answer_only(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(daemon, capsys, "-c", "show version") == (0, "L2TPNS 9.9.9\n", "")


def test_failed_command_is_status_1_and_stderr(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = call(daemon, capsys, "-c", "nonsense", "-c", "show version")
    assert (status, out, err) == (1, "L2TPNS 9.9.9\n", 'Invalid command "nonsense"\n')


def test_json_puts_errors_into_the_document(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = call(daemon, capsys, "--json", "-c", "drop session 77")
    assert (status, json.loads(out), err) == (1, {"error": "Session 77 is not active."}, "")
    status, out, err = call(daemon, capsys, "--json", "-c", "show users")
    assert (status, [row["user"] for row in json.loads(out)]) == (
        0,
        ["u1", "alice", "carol", "frank"],
    )


def test_later_commands_run_in_the_mode_of_earlier_ones(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = call(daemon, capsys, "-c", "conf t", "-c", "set debug 2")
    assert (status, out) == (0, 'Setting "debug" to 2\n')


def test_nobody_there_is_status_2_and_one_line_with_the_remedy(tmp_path: Path) -> None:
    path = str(tmp_path / "none.sock")
    result = cli("-s", path, "-c", "show version")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert path in line
    assert "is l2tpns running" in line


def test_daemon_that_dies_in_between_is_status_2(daemon: Daemon) -> None:
    client = Client(daemon.path)
    assert client.run("show version", lambda text: None) == ""
    daemon.stop()
    with pytest.raises(DaemonUnreachableError, match="ended the connection"):
        client.run("show version", lambda text: None)
    with pytest.raises(DaemonUnreachableError, match="is l2tpns running"):
        client.reconnect()
    daemon.start()
    client.reconnect()
    assert client.run("show version", lambda text: None) == ""
    client.close()


def test_lines_of_stdin_are_carried_out_without_prompt_or_escapes(daemon: Daemon) -> None:
    script = (
        "# comment\n\nshow version\n  configure terminal\nset debug 1\nexit\nquit\nshow users\n"
    )
    result = cli("-s", daemon.path, stdin=script)
    assert result.stdout == 'L2TPNS 9.9.9\nSetting "debug" to 1\n'
    assert (result.returncode, result.stderr) == (0, "")


def test_reader_that_goes_away_is_no_error(daemon: Daemon) -> None:
    for session_id in range(5, 3000):
        daemon.context.lns.add(9, session_id, "x")
    command = f"{sys.executable} -m l2tpns_core.cli.shell -s {daemon.path} -c 'show session'"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -1"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.stdout.startswith("  SID   TID")
    assert (result.returncode, result.stderr) == (0, "")


def test_output_survives_a_terminal_without_unicode(daemon: Daemon) -> None:
    daemon.context.lns.add(9, 9, "zoë")
    result = cli("-s", daemon.path, "-c", "show users", PYTHONIOENCODING="ascii")
    assert result.stdout.splitlines()[-1] == "zo\\xeb"


def test_wrong_options_are_not_mistaken_for_a_missing_daemon() -> None:
    result = cli("--nosuch")
    assert result.returncode == 64
    assert "usage:" in result.stderr


def test_help_teaches() -> None:
    text = cli("--help").stdout
    for part in ("show session", "--json", "exit status", "cli_socket"):
        assert part in text


def test_program_does_not_load_prompt_toolkit_for_a_script(daemon: Daemon) -> None:
    program = (
        "import sys; from l2tpns_core.cli.shell import main; "
        f"main(['-s', {daemon.path!r}, '-c', 'show version']); "
        "sys.exit('prompt_toolkit' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0


def test_client_remembers_mode_and_prompt(daemon: Daemon) -> None:
    with contextlib.closing(Client(daemon.path)) as client:
        client.run("", lambda text: None)
        assert (client.mode, client.prompt) == (Mode.EXEC, "vm# ")
        client.run("configure terminal", lambda text: None)
        assert (client.mode, client.prompt) == (Mode.CONFIG, "vm(config)# ")
        assert client.complete("set de")[1][0][0] == "debug"
        assert [word for word, _ in client.help("set debug 1 ")] == ["<cr>"]
        client.run("quit", lambda text: None)
        assert client.mode is None


def test_dumb_terminal_gets_prompts_but_no_escapes(daemon: Daemon) -> None:
    output = on_terminal(daemon, "dumb", [(b"vm# ", b"conf t\n"), (b"(config)# ", b"quit\n")])
    assert b"\x1b" not in output


def test_terminal_completes_explains_and_leaves_modes(daemon: Daemon) -> None:
    output = on_terminal(
        daemon,
        "xterm",
        [
            (b"vm#", b"sh\t"),
            (b"ow", b"ver\t"),  # the answer to Tab comes from the daemon: wait for it
            (b"sion", b"\r"),
            (b"L2TPNS 9.9.9", b"drop ?"),
            (b"Disconnect a tunnel", b""),
            (b"vm# drop", b"\x15conf t\r"),
            (b"(config)#", b"set hostname 'a?b'\r"),
            (b'Setting "hostname"', b""),
            (b"(config)#", b"\x1a"),
            (b"vm#", b"nonsense\r"),
            (b'Invalid command "nonsense"', b""),
            (b"vm#", b"half a line\x03"),
            # what shows now may still be the line that was given up: a whole command tells
            (b"vm#", b"sh ver\r"),
            (b"L2TPNS 9.9.9", b""),
            (b"vm#", b"\x04"),
        ],
    )
    assert b"Traceback" not in output
    assert daemon.context.config.hostname == "a?b"


def on_terminal(daemon: Daemon, kind: str, steps: list[tuple[bytes, bytes]]) -> bytes:
    """Run the shell on a pseudo-terminal: wait for each text, then type. Returns all output."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = kind
        os.execv(sys.executable, [sys.executable, "-m", "l2tpns_core.cli.shell", "-s", daemon.path])
    terminal = Terminal(master)
    try:
        for wanted, typed in steps:
            terminal.wait_for(wanted)
            os.write(master, typed)
        terminal.wait_for(None)
    finally:
        os.close(master)
        _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return terminal.output


class Terminal:
    """What a terminal shows."""

    def __init__(self, master: int) -> None:
        self.output = b""
        self._master = master
        self._seen = 0

    def wait_for(self, wanted: bytes | None) -> None:
        """Read up to a text behind the last one, or up to the end of the program."""
        while wanted is None or wanted not in self.output[self._seen :]:
            ready, _, _ = select.select([self._master], [], [], 15)
            assert ready, f"{wanted!r} did not come after {self.output[self._seen :]!r}"
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: the other side is closed
                data = b""
            if not data:
                assert wanted is None, f"the program ended before {wanted!r}: {self.output!r}"
                return
            self.output += data
            if b"\x1b[6n" in data:  # the terminal is asked where its cursor is
                os.write(self._master, b"\x1b[1;1R")
        self._seen = self.output.index(wanted, self._seen) + len(wanted)


def test_the_shell_does_its_own_part_of_commands(daemon: Daemon) -> None:
    done = cli(
        "-s", daemon.path, *commands("disable", "conf t", "enable", "conf t", "exit", "debug")
    )
    assert done.stderr.splitlines() == ['Invalid command "conf"']
    assert done.stdout == "Currently debugging: critical\n"


def test_log_lines_on_a_terminal_come_above_the_line(daemon: Daemon) -> None:
    log = logging.getLogger("l2tpns.test")

    def complain() -> None:
        while len(logging.getLogger("l2tpns").handlers) == before:
            time.sleep(0.01)
        log.error("something happened", extra={"tunnel": 1})

    before = len(logging.getLogger("l2tpns").handlers)
    thread = threading.Thread(target=complain)
    thread.start()
    output = on_terminal(
        daemon,
        "xterm",
        [
            (b"vm#", b"debug error\r"),
            (b"ERROR-1-0 something happened", b"history\r"),
            (b"  0. debug error", b"quit\r"),
        ],
    )
    thread.join()
    assert b"Traceback" not in output


def commands(*lines: str) -> list[str]:
    return [word for line in lines for word in ("-c", line)]


def test_a_command_may_be_given_as_plain_words(
    daemon: Daemon, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shell.main(["-s", daemon.path, "show", "session | count"]) == 0
    assert capsys.readouterr().out == "5\n"


def test_top_once_looks_twice_and_prints_the_second_look(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        daemon.context.lns.clock = lambda: 5000.0 + len(pauses)  # type: ignore[method-assign]

    monkeypatch.setattr("l2tpns_core.cli.watch.time.sleep", sleep)
    assert shell.main(["-s", daemon.path, "top", "--once", "--interval", "9"]) == 0
    output = capsys.readouterr().out
    assert output.count("Sessions: 4   Tunnels: 2") == 1
    assert "Busiest of 1.0 s:" in output
    assert shell.main(["-s", daemon.path, "--json", "top", "--once"]) == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == 4
    assert all(1.0 < pause < 1.2 for pause in pauses)


@pytest.mark.parametrize("text", ["0", "x", "1e9", "nan"])
def test_an_interval_that_makes_no_sense(text: str) -> None:
    with pytest.raises(SystemExit) as failure:
        shell.main(["top", "--interval", text])
    assert failure.value.code == shell.EXIT_USAGE


def test_a_terminal_gets_pages(daemon: Daemon) -> None:
    with TerminalProgram(
        [sys.executable, "-m", "l2tpns_core.cli.shell", "-s", daemon.path], 10
    ) as lns:
        lns.until("vm#")
        lns.send("show counters\r")
        lns.until("--More--")
        lns.send("\r")
        lns.until("--More--")
        lns.send("x ")
        lns.until("Last counter reset")
        lns.until("vm#")
        lns.send("terminal length 0\r")
        lns.until("vm#")
        lns.send("show counters\r")
        assert "--More--" not in lns.until("Last counter reset")
        lns.until("vm#")
        lns.send("terminal length 5\r")
        lns.until("vm#")
        lns.send("show counters\r")
        lns.until("--More--")
        lns.send("q")
        lns.until("vm#")
        lns.send("exit\r")
        assert lns.ended() == 0


def test_every_show_command_gives_json() -> None:
    context = four_sessions()
    shown = [
        " ".join(command.words)
        for command in GRAMMAR.commands(Access())
        if command.words[0] in ("show", "uptime", "write")
        and not any(not argument.optional for argument in command.arguments)
    ]
    assert len(shown) > 15
    for line in shown:
        if line in ("show plugins", "write memory"):
            continue  # of the host that the fakes have no part of
        screen = context.run(line, json=True)
        assert not screen.error, line
        json.loads(screen.text)
