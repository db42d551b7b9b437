"""The daemon's end over a real Unix socket."""

# ruff: noqa: ASYNC240 - looking at one file in a test holds up nobody

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.cli import engine
from l2tpns_core.cli.answer import Answer, Listing
from l2tpns_core.cli.engine import CliServer, bind_socket
from l2tpns_core.cli.evaluate import INTERNAL_ERROR
from l2tpns_core.cli.grammar import Call, CommandSet, Grammar
from l2tpns_core.cli.protocol import MAX_REQUEST_BYTES
from unit.cli.fakes import FakeContext, four_sessions

ROWS = 20_000


class Shell:
    """A client that says exactly what the test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, **members: Any) -> tuple[str, dict[str, Any]]:
        """The text and the last object of an answer."""
        self.writer.write(json.dumps(members).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> tuple[str, dict[str, Any]]:
        text = ""
        while True:
            frame = json.loads(await asyncio.wait_for(self.reader.readline(), 10))
            if "status" in frame:
                return text, frame
            text += frame["text"]


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:  # pytest's names are too long for a socket
        yield Path(directory) / "run" / "cli.sock"


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))


@contextlib.asynccontextmanager
async def served(
    path: Path, context: FakeContext | None = None, grammar: Grammar | None = None
) -> AsyncIterator[CliServer]:
    server = CliServer(context or four_sessions(), path, grammar=grammar)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def connect(path: Path) -> Shell:
    return Shell(*await asyncio.open_unix_connection(str(path), limit=1 << 22))


def long_listing() -> Grammar:
    """A command that prints ROWS rows, one that fails, one that fails half-way."""
    commands = CommandSet()

    @commands.command("rows", "")
    def rows(call: Call) -> Answer:
        return Listing(
            rows=range(ROWS), line=lambda row: f"row {row} {'x' * 100}", data=lambda row: {}
        )

    @commands.command("broken", "")
    def broken(call: Call) -> Answer:
        raise ZeroDivisionError

    @commands.command("half", "")
    def half(call: Call) -> Answer:
        return Listing(rows=(1 // (3 - row) for row in range(9)), line=str, data=lambda row: {})

    @commands.command("raw", "")
    def raw(call: Call) -> Answer:
        return Listing(rows=["\x1b[2J\r\n\u2028\ud800\tx"], line=str, data=lambda row: {"x": row})

    return Grammar([commands])


def test_command_is_answered_with_prompt_and_status(path: Path) -> None:
    async def scenario() -> None:
        async with served(path):
            shell = await connect(path)
            text, last = await shell.ask(line="show version")
            assert text == "L2TPNS 9.9.9\n"
            assert last == {"status": "ok", "code": 0, "mode": "exec", "prompt": "vm# "}
            text, last = await shell.ask(line="nonsense")
            assert text == ""
            assert (last["status"], last["code"]) == ("error", 1)
            assert last["error"] == 'Invalid command "nonsense"'
            assert last["prompt"] == "vm# "
            shell.writer.close()

    run(scenario)


def test_mode_goes_with_the_request(path: Path) -> None:
    async def scenario() -> None:
        context = four_sessions()
        async with served(path, context):
            shell = await connect(path)
            _, last = await shell.ask(line="configure terminal", mode="exec")
            assert (last["mode"], last["prompt"]) == ("config", "vm(config)# ")
            _, last = await shell.ask(line="set debug 4", mode="config")
            assert (last["status"], context.config.debug) == ("ok", 4)
            _, last = await shell.ask(line="set debug 5", mode="exec")
            assert (last["status"], context.config.debug) == ("error", 4)
            _, last = await shell.ask(line="quit", mode="config")
            assert (last["mode"], last["prompt"]) == (None, "")
            shell.writer.close()

    run(scenario)


def test_completion_and_help_are_served(path: Path) -> None:
    async def scenario() -> None:
        async with served(path):
            shell = await connect(path)
            _, last = await shell.ask(complete="show se", mode="exec")
            assert last["start"] == 5
            assert [word for word, _help in last["words"]] == ["session"]
            _, last = await shell.ask(help="show pool ", mode="exec")
            assert [word for word, _help in last["words"]] == ["all", "<cr>"]
            shell.writer.close()

    run(scenario)


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"x\n", b"[1]\n", b"{}\n", b'{"line": 5}\n', b'{"line": "", "help": ""}\n', b"\xff\n",
     b'{"line": "x", "mode": "root"}\n', b'{"line": "x", "mode": []}\n', b"[" * 20_000 + b"\n"],
)  # fmt: skip
def test_bad_requests_are_refused_and_the_next_one_is_answered(path: Path, garbage: bytes) -> None:
    async def scenario() -> None:
        async with served(path):
            shell = await connect(path)
            shell.writer.write(garbage)
            _, last = await shell.answer()
            assert last["status"] == "error"
            assert last["error"].startswith("Bad request: ")
            text, _ = await shell.ask(line="show version")
            assert text == "L2TPNS 9.9.9\n"
            shell.writer.close()

    run(scenario)


def test_request_that_never_ends_is_cut_off(path: Path) -> None:
    async def scenario() -> None:
        async with served(path):
            shell = await connect(path)
            shell.writer.write(b"x" * (MAX_REQUEST_BYTES * 2))
            _, last = await shell.answer()
            assert "at most" in last["error"]
            shell.writer.write_eof()
            with contextlib.suppress(ConnectionError):
                assert await shell.reader.read() == b""
            other = await connect(path)
            assert (await other.ask(line="show version"))[1]["status"] == "ok"
            shell.writer.close()
            other.writer.close()

    run(scenario)


def test_requests_may_be_sent_ahead_and_half_closed(path: Path) -> None:
    async def scenario() -> None:
        async with served(path):
            shell = await connect(path)
            shell.writer.write(b'{"line": "show version"}\n' * 3)
            shell.writer.write_eof()
            for _ in range(3):
                assert (await shell.answer())[0] == "L2TPNS 9.9.9\n"
            assert await shell.reader.read() == b""
            shell.writer.close()

    run(scenario)


def test_long_listing_arrives_whole_while_the_loop_goes_on(path: Path) -> None:
    async def scenario() -> None:
        async with served(path, grammar=long_listing()):
            shell = await connect(path)
            turns = 0

            async def count_turns() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counter = asyncio.ensure_future(count_turns())
            text, last = await shell.ask(line="rows")
            counter.cancel()
            assert text.count("\n") == ROWS
            assert text.startswith("row 0 ")
            assert f"row {ROWS - 1} " in text
            assert last["status"] == "ok"
            assert turns > ROWS // engine.SLICE_ROWS
            shell.writer.close()

    run(scenario)


def test_filter_that_leaves_nothing_still_lets_the_loop_go_on(path: Path) -> None:
    async def scenario() -> None:
        async with served(path, grammar=long_listing()):
            shell = await connect(path)
            pending = asyncio.ensure_future(shell.ask(line="rows | include nosuch"))
            turns = 0
            while not pending.done():
                turns += 1
                await asyncio.sleep(0)
            assert pending.result()[0] == ""
            assert turns > ROWS // engine.SLICE_ROWS
            shell.writer.close()

    run(scenario)


def test_operator_who_stops_reading_holds_up_nobody(path: Path) -> None:
    async def scenario() -> None:
        async with served(path, grammar=long_listing()):
            lazy = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            lazy.setblocking(False)
            await asyncio.get_running_loop().sock_connect(lazy, str(path))
            await asyncio.get_running_loop().sock_sendall(lazy, b'{"line": "rows"}\n' * 5)
            other = await connect(path)
            text, _ = await other.ask(line="rows | count")
            assert text == f"{ROWS}\n"
            lazy.close()
            other.writer.close()

    run(scenario)


def test_failing_command_is_logged_and_answered(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with served(path, grammar=long_listing()):
            shell = await connect(path)
            _, last = await shell.ask(line="broken")
            assert last["error"] == INTERNAL_ERROR
            text, last = await shell.ask(line="half")
            assert text == "0\n0\n1\n"
            assert last["error"] == INTERNAL_ERROR
            shell.writer.close()

    with caplog.at_level(logging.ERROR, "l2tpns.cli"):
        run(scenario)
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_no_control_character_passes_whatever_a_command_prints(path: Path) -> None:
    async def scenario() -> None:
        async with served(path, grammar=long_listing()):
            shell = await connect(path)
            text, _ = await shell.ask(line="raw")
            assert text == "\\x1b[2J\\x0d\\x0a\\x2028\\xd800\tx\n"
            document, _ = await shell.ask(line="raw", json=True)
            assert document.isascii()
            assert "\x1b" not in document
            shell.writer.close()

    run(scenario)


def test_clients_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_CLIENTS", 2)

    async def scenario() -> None:
        async with served(path):
            shells = [await connect(path) for _ in range(2)]
            for shell in shells:
                await shell.ask(line="")
            refused = await connect(path)
            _, last = await refused.answer()
            assert "operators already" in last["error"]
            assert await refused.reader.read() == b""
            shells[0].writer.close()
            await shells[0].writer.wait_closed()
            await asyncio.sleep(0.05)
            late = await connect(path)
            assert (await late.ask(line=""))[1]["status"] == "ok"
            for shell in (shells[1], refused, late):
                shell.writer.close()

    run(scenario)


def test_close_ends_clients_and_removes_the_socket(path: Path) -> None:
    async def scenario() -> None:
        async with served(path):
            shell = await connect(path)
            await shell.ask(line="")
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert await shell.reader.read() == b""
        assert not path.exists()
        shell.writer.close()

    run(scenario)


def test_stale_socket_is_replaced(path: Path) -> None:
    bind_socket(path).close()
    assert path.exists()

    async def scenario() -> None:
        async with served(path):
            shell = await connect(path)
            assert (await shell.ask(line=""))[1]["status"] == "ok"
            shell.writer.close()

    run(scenario)


def test_socket_of_a_living_daemon_is_left_alone(path: Path) -> None:
    listener = bind_socket(path)
    with pytest.raises(OSError, match="another daemon answers"):
        bind_socket(path)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
    listener.close()


def test_other_files_are_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        bind_socket(path)
    assert path.read_text() == "precious"


def test_close_leaves_the_socket_of_a_successor(path: Path) -> None:
    async def scenario() -> None:
        async with served(path):
            os.unlink(path)
            successor = bind_socket(path)
        assert path.exists()
        successor.close()

    run(scenario)
