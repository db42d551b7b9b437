"""nsctl with the programs that Debian ships: its client to our server, our client to its daemon."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from interop import debian
from interop.namespaces import Child, Namespace, remove_stale, wait_for
from l2tpns_core.control.dispatch import Dispatcher
from l2tpns_core.control.server import ControlServer
from l2tpns_core.plugins import PLUGIN_RET_ERROR, ParamControl, PluginResult, hookimpl
from support.memory import Client, Lac, World

pytestmark = pytest.mark.interop

NSCTL = "/usr/sbin/nsctl"
DAEMON = "/usr/sbin/l2tpns"
MOUNT_POINTS = ("dev", "etc/l2tpns", "proc", "run", "tmp", "var/log", "var/run")
START_TIMEOUT_S = 20
CONFIG = """\
set debug 3
set bind_address 127.0.0.1
set cluster_interface lo
load plugin "sessionctl"
load plugin "throttlectl"
load plugin "snoopctl"
"""
OURS = [sys.executable, "-m", "l2tpns_core.control.client"]
Ended = tuple[int, str, str]
"""Exit status, what was printed, and what was complained."""


@pytest.fixture(scope="module")
def packages() -> debian.PackageTree:
    return debian.unpack(["l2tpns"], [NSCTL, DAEMON], empty=MOUNT_POINTS)


# Their client, our server


class Garden:
    """Answers like the plugin of that name, to see texts of a plugin in their client."""

    plugin_control_help = ("  garden USER|SID                             A line of a plugin",)

    @hookimpl
    def control(self, param: ParamControl) -> PluginResult | None:
        if param.argv[:1] != ("garden",):
            return None
        if param.argc != 2:
            param.response = b"requires username or session id"
            return PLUGIN_RET_ERROR
        param.response, param.send_response = f"gardened {param.argv[1]}".encode(), 1
        return None


class OurServer:
    """Our server with an LNS in memory, and their client to it."""

    def __init__(self, server: ControlServer, world: World, client: Client, nsctl: list[str]):
        self.world, self.client = world, client
        self._program = [*nsctl, "-h", "{}:{}".format(*server.address)]

    async def nsctl(self, *arguments: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            *self._program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def our_server(packages: debian.PackageTree, secret: str = "") -> AsyncIterator[OurServer]:
    world = World()
    world.plugins.register("garden", Garden())
    client = Lac(world).open().call("alice")
    server = ControlServer(
        Dispatcher(world.lns, world.plugins), secret=secret, clock=time.monotonic, wall=time.time
    )
    server.open(asyncio.get_running_loop(), "127.0.0.1", 0)
    try:
        yield OurServer(server, world, client, packages.command(NSCTL))
    finally:
        server.close()


def test_their_client_drops_a_session(packages: debian.PackageTree) -> None:
    async def story() -> None:
        async with our_server(packages) as it:
            assert await it.nsctl("drop", "bob") == (1, "", "session not found\n")
            assert await it.nsctl("drop", "alice", "moved out") == (0, "", "")
            it.world.run(5)
            assert it.client.terminated
            assert it.world.lns.sessions == {}

    asyncio.run(story())


def test_their_client_shows_what_our_plugins_answer(packages: debian.PackageTree) -> None:
    async def story() -> None:
        async with our_server(packages) as it:
            assert await it.nsctl("garden", "alice") == (0, "gardened alice\n", "")
            wants = "requires username or session id\n"
            assert await it.nsctl("garden") == (1, "", wants)
            assert await it.nsctl("frob") == (1, "", "unhandled action\n")

    asyncio.run(story())


def test_their_client_shows_our_help(packages: debian.PackageTree) -> None:
    async def story() -> None:
        async with our_server(packages) as it:
            status, printed, complained = await it.nsctl("help")
            assert (status, complained) == (0, "")
            commands = [line.split()[0] for line in printed.splitlines()[1:]]
            assert commands == [
                *("load_plugin", "unload_plugin", "help"),
                *("drop", "kill", "throttle", "unthrottle", "snoop", "unsnoop", "garden"),
            ]

    asyncio.run(story())


def test_their_client_unloads_a_plugin(packages: debian.PackageTree) -> None:
    async def story() -> None:
        async with our_server(packages) as it:
            assert await it.nsctl("load_plugin", "garden") == (1, "", "plugin already loaded\n")
            assert await it.nsctl("load_plugin", "nope") == (1, "", "error loading plugin\n")
            assert await it.nsctl("unload_plugin", "garden") == (0, "", "")
            assert it.world.plugins.loaded() == []
            assert await it.nsctl("unload_plugin", "nope") == (1, "", "plugin not found\n")

    asyncio.run(story())


def test_their_client_is_told_that_it_lacks_the_secret(packages: debian.PackageTree) -> None:
    async def story() -> None:
        async with our_server(packages, "sesame") as it:
            refused = "not authenticated: this server wants a secret\n"
            assert await it.nsctl("drop", "alice") == (1, "", refused)
            assert it.world.lns.sessions

    asyncio.run(story())


# Our client, their daemon


class TheirDaemon:
    """Debian's daemon, below its own root and in a network of its own, and our client to it."""

    def __init__(self, namespace: Namespace, packages: debian.PackageTree, directory: Path) -> None:
        self._namespace = namespace
        etc = directory / "etc"
        etc.mkdir()
        (etc / "startup-config").write_text(CONFIG)
        (etc / "ip_pool").write_text("10.64.0.0/24\n")
        (etc / "users").write_text("")
        root = packages.path
        mounts = ((Path("/dev"), "dev"), (Path("/proc"), "proc"), (etc, "etc/l2tpns"))
        script = [f"mount --bind {source} {root}/{target}" for source, target in mounts]
        script.append(f"exec chroot {root} {DAEMON} -v -v")
        program = ["unshare", "--mount", "sh", "-ec", "\n".join(script)]
        self.process = Child(namespace.command(*program), directory / "log", own_pids=True)

    def nsctl(self, *arguments: str) -> Ended:
        done = subprocess.run(
            self._namespace.command(*OURS, *arguments),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def answers(self) -> bool:
        assert self.process.is_running(), self.process.output()[-2000:]
        return self.nsctl("-t", "0.5", "help")[0] == 0


@pytest.fixture(scope="module")
def their_daemon(
    packages: debian.PackageTree, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TheirDaemon]:
    if os.geteuid():
        pytest.skip("kernel feature missing: network namespaces without being root")
    remove_stale()
    namespace = Namespace("their")
    try:
        namespace.ip("link", "set", "lo", "multicast", "on")
        namespace.ip("route", "add", "224.0.0.0/4", "dev", "lo")
        running = TheirDaemon(namespace, packages, tmp_path_factory.mktemp("their"))
        try:
            wait_for(running.answers, START_TIMEOUT_S, "answer of the daemon")
            yield running
        finally:
            running.process.stop()
    finally:
        namespace.close()


@pytest.mark.netns
def test_our_client_shows_their_help(their_daemon: TheirDaemon) -> None:
    status, printed, complained = their_daemon.nsctl("help")
    assert (status, complained) == (0, "")
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        *("load_plugin", "unload_plugin", "help"),
        *("drop", "kill", "throttle", "unthrottle", "snoop", "unsnoop"),
    ]


@pytest.mark.netns
@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("frob 5", "unhandled action"),
        ("drop alice", "must be run on master: none elected"),
        ("load_plugin", "name of plugin required"),
        ("load_plugin sessionctl", "plugin already loaded"),
        ("load_plugin nope", "error loading plugin"),
        ("unload_plugin nope", "plugin not found"),
        ("unload_plugin stripdomain", "plugin not loaded"),
    ],
)
def test_our_client_shows_their_refusals(their_daemon: TheirDaemon, line: str, answer: str) -> None:
    assert their_daemon.nsctl(*line.split()) == (1, "", f"{answer}\n")


@pytest.mark.netns
def test_our_client_loads_and_unloads_their_plugins(their_daemon: TheirDaemon) -> None:
    assert their_daemon.nsctl("load_plugin", "autosnoop") == (0, "", "")
    assert their_daemon.nsctl("127.0.0.1", "unload_plugin", "autosnoop") == (0, "", "")
    assert their_daemon.nsctl("unload_plugin", "autosnoop")[0] == 1
