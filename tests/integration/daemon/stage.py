"""A daemon, a LAC and what every party was told: the scenery of the tests in this folder.

A scene is a coroutine that gets a `Stage`. It has a LAC and a tunnel of its own; the daemon may be
shared with other scenes. When a scene is over, nothing may be left of it anywhere.
"""

import asyncio
import functools
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from l2tpns_core.cli.client import Client as CliClient
from l2tpns_core.lab import (
    CallEnd,
    CallOptions,
    Client,
    Lac,
    LacOptions,
    PppOptions,
    RadiusRecord,
    RadiusUser,
    Tunnel,
    TunnelOptions,
)
from support.site import HOST_ADDRESS, LAC_ADDRESS, LNS_ADDRESS, Site

PATIENCE_S = 15.0
"""How long anything may take that has no deadline of its own. Nobody ever sleeps that long."""
PAUSE_S = 0.02
PING_AGAIN_S = 1.0
PASSWORD = "password"
USERS = {"user*": RadiusUser(PASSWORD)}
RELOADED = "configuration read again"


class StageSite(Site):
    """A Site whose startup-config a test can change at will."""

    tail = ""
    """Lines behind the directives."""

    def write_config(self, **directives: object) -> None:
        super().write_config(**directives)
        with (self.directory / "startup-config").open("a") as file:
            file.write(self.tail)

    def remove_line(self, name: str) -> None:
        """Write the startup-config without a directive."""
        del self._directives[name]
        self.write_config()

    def line_of(self, name: str) -> int:
        """The number of a directive's line in the startup-config."""
        lines = (self.directory / "startup-config").read_text().splitlines()
        return 1 + next(i for i, line in enumerate(lines) if line.split()[1:2] == [name])

    def write_pool(self, pool: str) -> None:
        self._pool = pool
        self.write_config()


class Stage:
    """A running daemon, with a loop that outlives a single scene."""

    lac: Lac
    tunnel: Tunnel

    def __init__(
        self,
        directory: Path,
        users: Mapping[str, RadiusUser] = USERS,
        pool: str = "10.64.0.0/24\n",
        tail: str = "",
        python: str = sys.executable,
        **directives: object,
    ) -> None:
        self.site = StageSite(directory, users, pool, python, **{"debug": 3, **directives})
        self.site.tail = tail
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        try:
            self._runner.run(self._open())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._runner.run(self._close())
        finally:
            self._runner.close()

    async def _open(self) -> None:
        self.site.__enter__()

    async def _close(self) -> None:
        self.site.__exit__(None, None, None)

    def play(
        self,
        scene: Callable[[Self], Awaitable[None]],
        tunnel: TunnelOptions | None = None,
    ) -> None:
        """Run a scene with a LAC and an open tunnel, then see that nothing is left of it."""
        self._runner.run(self._play(scene, tunnel or TunnelOptions()))

    async def _play(self, scene: Callable[[Self], Awaitable[None]], options: TunnelOptions) -> None:
        async with self.new_lac() as self.lac:
            try:
                self.tunnel = await self.lac.open_tunnel(options)
                await scene(self)
            finally:
                for tunnel in self.lac.tunnels.values():
                    tunnel.close()
                    await soon(tunnel.closed)
            if self.site.daemon.poll() is None:
                await self.assert_nothing_is_left()
            self.assert_books_are_right()
            assert not self.lac.violations, str(self.lac.violations)
            assert "Traceback" not in self.site.log(), self.site.log()

    # The LAC and its clients

    def new_lac(self) -> Lac:
        return Lac(
            LacOptions(lns=LNS_ADDRESS, bind=LAC_ADDRESS, make_socket=self.site.lac.udp_socket)
        )

    def call(
        self, user: str, password: str = PASSWORD, auth: str = "pap", **options: Any
    ) -> Client:
        """Place a call for a user in the scene's tunnel; options are those of PPP."""
        ppp = PppOptions(user=user, password=password, auth=(auth,), **options)
        return self.tunnel.call(CallOptions(ppp=ppp))

    async def log_in(self, user: str, auth: str = "pap", **options: Any) -> Client:
        """Place a call, wait for its address and for the Accounting-Start."""
        known = len(self.site.radius.records("Start", user))
        client = self.call(user, auth=auth, **options)
        await soon(client.up)
        await self.site.radius.wait_for_records("Start", user, known + 1)
        return client

    # What the parties were told

    async def stop_of(self, user: str, cause: str) -> RadiusRecord:
        """The one Stop of a user who had one Start, with this Acct-Terminate-Cause."""
        (stop,) = await self.site.radius.wait_for_records("Stop", user, timeout_s=PATIENCE_S)
        (start,) = self.site.radius.records("Start", user)
        assert stop["Acct-Session-Id"] == start["Acct-Session-Id"]
        assert stop["Framed-IP-Address"] == start["Framed-IP-Address"]
        found = stop["Acct-Terminate-Cause"]
        assert found == cause, f"{user}: {found} instead of {cause}"
        return stop

    def assert_no_accounting(self, user: str) -> None:
        assert not self.site.radius.records(user=user)

    async def assert_nothing_is_left(self) -> None:
        """The daemon knows no session any more, and the pool is free."""
        await until(lambda: self.ask("show session") == [], "a session is left")
        assert self.ask("show pool")["used"] == 0
        starts = len(self.site.radius.records("Start"))
        await until(lambda: len(self.site.radius.records("Stop")) >= starts, "a Stop is missing")

    def assert_books_are_right(self) -> None:
        """To every Start there is one Stop, and no Stop without a Start."""
        starts = Counter(r["Acct-Session-Id"] for r in self.site.radius.records("Start"))
        stops = Counter(r["Acct-Session-Id"] for r in self.site.radius.records("Stop"))
        assert stops == starts, f"Starts {starts}, Stops {stops}"
        assert set(starts.values()) <= {1}, starts

    # The operator

    def ask(self, command: str) -> Any:
        """A command over the daemon's socket, without starting a program; its JSON."""
        client = CliClient(str(self.site.cli_socket))
        try:
            answer: list[str] = []
            error = client.run(command, answer.append, as_json=True)
        finally:
            client.close()
        assert not error, f"{command}: {error}"
        return json.loads("".join(answer))

    def session_of(self, user: str) -> dict[str, Any]:
        """The line of `show session` for a user who is logged in once."""
        (row,) = [row for row in self.ask("show session") if row["user"] == user]
        found: dict[str, Any] = row
        return found

    async def command(self, *commands: str) -> str:
        """Commands given to the program l2tpns-cli; what it prints."""
        arguments = [argument for command in commands for argument in ("-c", command)]
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "l2tpns_core.cli.shell", "-s", str(self.site.cli_socket)),
            *arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await soon(program.communicate())
        assert program.returncode == 0, output
        return str(output, "utf-8")

    async def reload(self) -> None:
        """SIGHUP; returns when the daemon has read its files."""
        known = self.site.log().count(RELOADED)
        self.site.daemon.send_signal(signal.SIGHUP)
        await until(lambda: self.site.log().count(RELOADED) > known, "no reload")


def scene(
    coroutine: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """Make a test of a scene on the fixture `stage`; further arguments are the test's."""

    @functools.wraps(coroutine)
    def test(stage: Stage, **arguments: Any) -> None:
        stage.play(functools.partial(coroutine, **arguments))

    return test


async def soon(awaitable: Awaitable[Any]) -> Any:
    """Wait, but not for ever."""
    return await asyncio.wait_for(awaitable, PATIENCE_S)


async def until(condition: Callable[[], object], failure: str) -> None:
    """Look again and again until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, failure
        await asyncio.sleep(PAUSE_S)


async def ping(client: Client, size: int = 64, *, once: bool = False) -> None:
    """Send an echo request to the host behind the LNS and wait for its answer. While routes are
    being changed a packet may be lost, so another follows now and then, unless `once`."""
    wanted = client.echo_replies + 1
    sent_at = float("-inf")

    def answered() -> bool:
        nonlocal sent_at
        if client.echo_replies < wanted and time.monotonic() - sent_at > PING_AGAIN_S:
            sent_at = time.monotonic() + (PATIENCE_S if once else 0.0)
            client.ping(HOST_ADDRESS, size)
        return client.echo_replies >= wanted

    await until(answered, "no echo reply")


async def down(client: Client, result: int, error: int, text: str) -> CallEnd:
    """Wait for the LNS's CDN, which must carry these."""
    end: CallEnd = await soon(client.down)
    assert (end.by, end.result, end.error, end.text) == ("CDN", result, error, text), end
    return end


def assert_terminated(client: Client) -> None:
    """The client was told by LCP that the LNS ends the link."""
    assert client.ppp_reason.startswith("the LNS ended the link"), client.ppp_reason


def disconnect_code(end: CallEnd) -> int:
    """The code of the RFC 3145 AVP of a CDN, -1 when it had none."""
    return int.from_bytes(end.cause[:2], "big") if end.cause else -1
