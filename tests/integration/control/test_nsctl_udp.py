"""nsctl over real UDP on the loopback: the client as a program against the server and an LNS."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from l2tpns_core.control.dispatch import Dispatcher
from l2tpns_core.control.server import ControlServer
from l2tpns_core.radius.model import AccountingStatus
from l2tpns_core.session import TerminateCause
from support.memory import Client, Lac, World

PROGRAM = (sys.executable, "-m", "l2tpns_core.control.client")
CDN = 14
Ended = tuple[int, str, str]
"""Exit status, what was printed, and what was complained."""


class Desk:
    """A server on a free port, with an LNS in memory and a subscriber."""

    def __init__(self, server: ControlServer, world: World, lac: Lac, client: Client) -> None:
        self.server, self.world, self.lac, self.client = server, world, lac, client
        self.where = "{}:{}".format(*server.address)

    async def nsctl(self, *arguments: str, **environment: str) -> Ended:
        """Run the client as a program while the loop serves."""
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *(("-h", self.where) if arguments[0] != self.where else ()),
            *arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def desk(secret: str = "") -> AsyncIterator[Desk]:
    world = World()
    lac = Lac(world).open()
    client = lac.call("alice")
    assert client.up
    dispatcher = Dispatcher(world.lns, world.plugins)
    server = ControlServer(dispatcher, secret=secret, clock=time.monotonic, wall=time.time)
    server.open(asyncio.get_running_loop(), "127.0.0.1", 0)
    try:
        yield Desk(server, world, lac, client)
    finally:
        server.close()


def test_drop_ends_a_session_cleanly() -> None:
    async def story() -> None:
        async with desk() as it:
            assert await it.nsctl("drop", "alice", "moved out") == (0, "", "")
            it.world.run(5)
            assert it.client.terminated
            assert it.world.lns.sessions == {}
            (stop,) = it.world.radius.of(AccountingStatus.STOP)
            assert stop.terminate_cause == TerminateCause.ADMIN_RESET
            assert await it.nsctl("drop", "alice") == (1, "", "session not found\n")

    asyncio.run(story())


def test_kill_ends_a_session_whose_client_is_silent_at_once() -> None:
    async def story() -> None:
        async with desk() as it:
            it.client.silent = True
            session_id = str(it.client.session_id)
            assert await it.nsctl("kill", session_id) == (0, "", "")
            assert it.world.lns.sessions == {}
            it.world.run()
            assert it.lac.kinds().count(CDN) == 1
            (stop,) = it.world.radius.of(AccountingStatus.STOP)
            assert stop.terminate_cause == TerminateCause.ADMIN_RESET
            assert it.world.lns.pool.used_count == 0

    asyncio.run(story())


def test_the_manuals_form_works_too() -> None:
    async def story() -> None:
        async with desk() as it:
            assert await it.nsctl(it.where, "ungarden", "1") == (1, "", "unhandled action\n")

    asyncio.run(story())


def test_help_and_debug() -> None:
    async def story() -> None:
        async with desk() as it:
            status, printed, complained = await it.nsctl("help")
            assert (status, complained) == (0, "")
            assert printed.startswith("Available commands:\n  load_plugin PLUGIN ")
            assert len(printed.splitlines()) == 1 + 3 + 6
            _, _, complained = await it.nsctl("-d", "drop", "bob")
            assert "90 13 14 02 04 64 72 6f 70 03 62 6f 62 ff" in complained

    asyncio.run(story())


def test_a_secret_is_asked_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with desk("sesame") as it:
            refused = "not authenticated: this server wants a secret\n"
            assert await it.nsctl("drop", "alice") == (1, "", refused)
            status, _, complained = await it.nsctl("drop", "alice", NSCTL_SECRET="wrong")
            assert (status, "it says: authentication failed" in complained) == (1, True)
            assert it.world.lns.sessions
            path = tmp_path / "secret"
            path.write_text("sesame\n")
            assert await it.nsctl("-s", str(path), "drop", "alice") == (0, "", "")
            it.world.run(5)
            assert not it.world.lns.sessions

    asyncio.run(story())


def test_nobody_answers() -> None:
    async def story() -> None:
        async with desk() as it:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
                mute.bind(("127.0.0.1", 0))
                it.where = f"127.0.0.1:{mute.getsockname()[1]}"
                late = "nsctl: error receiving response (timed out)\n"
                assert await it.nsctl("-t", "0.1", "drop", "5") == (1, "", late)
            refused = "nsctl: error receiving response (Connection refused)\n"
            assert await it.nsctl("drop", "5") == (1, "", refused)

    asyncio.run(story())


def test_a_burst_is_drained_and_the_loop_stays_free() -> None:
    async def story() -> None:
        async with desk() as it:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as one:
                one.connect(it.server.address)
                for _ in range(150):
                    one.send(b"junk")
                loop = asyncio.get_running_loop()
                answers = [await loop.sock_recv(one, 100) for _ in range(150)]
                assert it.server.counters.malformed == 150
                assert set(answers) == {b"\x90\x13\x22\x01\x1eerror unpacking control packet\xff"}

    asyncio.run(story())


def test_an_address_that_cannot_be_bound_is_an_error() -> None:
    async def story() -> None:
        async with desk() as it:
            world = it.world
            second = ControlServer(
                Dispatcher(world.lns, world.plugins), clock=time.monotonic, wall=time.time
            )
            with pytest.raises(OSError, match="in use"):
                second.open(asyncio.get_running_loop(), *it.server.address)
            second.close()

    asyncio.run(story())


def test_an_open_server_without_a_secret_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    async def story(secret: str) -> None:
        world = World()
        server = ControlServer(
            Dispatcher(world.lns, world.plugins),
            secret=secret,
            clock=time.monotonic,
            wall=time.time,
        )
        server.open(asyncio.get_running_loop(), "0.0.0.0", 0)
        server.close()

    asyncio.run(story("sesame"))
    assert "nsctl_secret" not in caplog.text
    asyncio.run(story(""))
    assert "set nsctl_secret" in caplog.text
