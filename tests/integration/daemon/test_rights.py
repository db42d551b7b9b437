"""A daemon that is not root: by `setuid`, or started so by a service manager. All of its work goes
on with the few capabilities that it keeps."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import Stage, StageSite, ping, soon, until
from integration.daemon.test_restart import BASE, start, stop
from integration.garden.place import install_tools
from interop.debian import cache_directory
from l2tpns_core.capabilities import Cap
from l2tpns_core.lab import RadiusUser
from l2tpns_core.lab.netns import LabError

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

NOBODY = pwd.getpwnam("nobody")
KEPT = {Cap.NET_ADMIN, Cap.NET_RAW, Cap.NET_BIND_SERVICE, Cap.BPF, Cap.PERFMON}
USERS = {
    "user*": RadiusUser("password"),
    "slow": RadiusUser("password", {"Cisco-AVPair": ["throttle=yes"]}),
}
OVERLAY = """
set -e
work=$(mktemp -d); mount -t tmpfs none "$work"
for closed in $CLOSED; do
    name=$(echo "$closed" | tr / _)
    mkdir "$work/$name" "$work/$name/up" "$work/$name/tmp"
    mount -t overlay -o "lowerdir=$closed,upperdir=$work/$name/up,workdir=$work/$name/tmp" \\
        none "$closed"
    chmod 755 "$closed"
done
mknod "$work/tun" c 10 200
chmod 666 "$work/tun"
mount --bind "$work/tun" /dev/net/tun
exec "$@"
"""
"""Opens the directories on the way to the interpreter for everybody, in a mount namespace that only
the daemon sees: as a packaged interpreter is for everybody. /dev/net/tun is as udev makes it."""


def closed_directories() -> list[str]:
    """Those on the way to the interpreter and to our code that another user cannot enter."""
    programs = {Path(sys.executable), Path(os.path.realpath(sys.executable))}
    ways = {*programs, Path(__file__), cache_directory() / "tree"}
    found = {
        directory
        for way in ways
        for directory in way.parents
        if not directory.stat().st_mode & 0o001
    }
    return sorted(map(str, found))


class OtherUsersSite(StageSite):
    """A Site whose daemon another user can run."""

    prefix: tuple[str, ...] = ()
    """What starts the daemon."""

    def _start_daemon(self) -> "subprocess.Popen[bytes]":
        command = [self.python, "-m", "l2tpns_core.daemon"]
        opened = ["unshare", "--mount", "sh", "-c", OVERLAY, "sh", *self.prefix]
        with self.log_file.open("wb") as log:
            return self.lns.popen(
                [*opened, *command, "-c", str(self.directory / "startup-config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "CLOSED": " ".join(closed_directories())},
                cwd="/",
            )


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where every user may go, unlike pytest's own directories; with the tools of nftables."""
    path = Path(tempfile.mkdtemp(prefix="l2tpns-"))
    path.chmod(0o755)
    tools = path / "tools"
    tools.mkdir()
    install_tools(tools)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    yield path
    shutil.rmtree(path)


def stage_in(directory: Path, prefix: tuple[str, ...] = (), **directives: object) -> Stage:
    stage = Stage(directory, USERS, **directives)
    stage.site.__class__ = OtherUsersSite
    stage.site.prefix = prefix  # type: ignore[attr-defined]
    stage.site.cli_socket = Path(str(directives.get("cli_socket", stage.site.cli_socket)))
    return stage


def status_of(process: str) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def capabilities(status: dict[str, str], name: str) -> set[int]:
    mask = int(status[name], 16)
    return {number for number in range(64) if mask >> number & 1}


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def garden_of(stage: Stage) -> str:
    """The chain that build-garden fills."""
    done = stage.site.lns.run(["nft", "list", "chain", "ip", "nat", "garden"], check=False)
    return done.stdout


def assert_is_nobody(pid: int) -> None:
    """Of the process and each of its threads."""
    threads = [entry.name for entry in Path(f"/proc/{pid}/task").iterdir()]
    assert threads
    for thread in threads:
        status = status_of(f"{pid}/task/{thread}")
        assert status["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert status["Gid"].split() == [str(NOBODY.pw_gid)] * 4
        assert {int(group) for group in status["Groups"].split()} == {NOBODY.pw_gid}
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert capabilities(status, name) <= KEPT, name
        assert Cap.NET_ADMIN in capabilities(status, "CapEff")
        assert status["NoNewPrivs"] == "1"


def telnet_has_nothing(pid: int) -> bool:
    """Whether both halves of the telnet listener have dropped what binding its port needed."""
    halves = [half for keeper in children_of(pid) for half in (keeper, *children_of(keeper))]
    found = [status_of(str(half)) for half in halves]
    return len(halves) == 2 and all(
        status["Uid"].split()[0] == str(NOBODY.pw_uid)
        and capabilities(status, "CapEff") == capabilities(status, "CapPrm") == set()
        for status in found
    )


@pytest.mark.parametrize("plane", ["user", "ebpf"])
@pytest.mark.parametrize("user", ["nobody", str(NOBODY.pw_uid)])
def test_the_day_of_a_daemon_that_gave_up_its_rights(
    directory: Path, user: str, plane: str
) -> None:
    directives = {
        "setuid": user,
        "dataplane": plane,
        "bpf_directory": BASE if plane == "ebpf" else "",
        "state_dir": directory / "state",
        "accounting_dir": directory / "usage",
        "cli_socket": directory / "run" / "cli.sock",
        "cli_port": 23,
        "pid_file": directory / "run" / "pid",
        "save_state": "yes",
        "debug": 3,
    }
    (directory / "build-garden").write_text(
        "nft add rule ip nat garden ip saddr 203.0.113.77 accept\n"
    )

    async def act(stage: Stage) -> None:
        site = stage.site
        await until(lambda: "telnet on 127.0.0.1:23" in site.log(), "no telnet")
        assert_is_nobody(site.daemon.pid)
        await until(lambda: telnet_has_nothing(site.daemon.pid), "telnet keeps rights")
        client, slow = await stage.log_in("user1"), await stage.log_in("slow")
        await ping(client)
        await ping(slow)
        (row,) = (each for each in stage.ask("show session") if each["user"] == "slow")
        assert row["throttled"]
        await until(lambda: "203.0.113.77" in garden_of(stage), site.log())
        await stage.reload()
        await ping(client)
        await stop(stage, signal.SIGTERM)
        await start(stage)
        assert_is_nobody(site.daemon.pid)
        await ping(client)
        await ping(slow)
        assert {each["user"] for each in stage.ask("show session")} == {"user1", "slow"}
        for each in (client, slow):
            each.disconnect(3)
            await soon(each.down)

    tail = "load plugin autothrottle\nload plugin garden\n"
    with stage_in(directory, tail=tail, throttle_speed=500, **directives) as stage:
        stage.play(act)
        assert (directory / "state").stat().st_uid == NOBODY.pw_uid
        trouble = [line for line in stage.site.log().splitlines() if "ermission" in line]
        assert trouble == []


UNIT = Path(__file__).parents[3] / "docs" / "systemd" / "l2tpns.service"


def unit() -> dict[str, list[str]]:
    """The lines of the unit, by name."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


class Notified:
    """What a service manager hears."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address)
        if address[0] != "\0":
            os.chmod(address, 0o777)
        self.heard: list[str] = []

    def lines(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard += self._socket.recv(4096).decode().splitlines()
        return self.heard

    def close(self) -> None:
        self._socket.close()


def test_the_rights_of_the_unit_are_enough(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon never was root: user and capabilities are those of docs/systemd."""
    lines = unit()
    names = [word.removeprefix("CAP_").lower() for word in lines["AmbientCapabilities"][0].split()]
    assert lines["AmbientCapabilities"] == lines["CapabilityBoundingSet"]
    wanted = ",".join(f"+{name}" for name in names)
    prefix = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--init-groups")
    prefix += (f"--inh-caps=-all,{wanted}", f"--ambient-caps=-all,{wanted}")
    prefix += (f"--bounding-set=-all,{wanted}", "--no-new-privs")
    for command in lines["ExecStartPre"]:
        assert command[0] == "+"
        own = command[1:].replace("l2tpns -g l2tpns", "nobody -g nogroup")
        subprocess.run(own.split(), check=True)
    for name in ("state", "run"):
        (directory / name).mkdir()
        os.chown(directory / name, NOBODY.pw_uid, NOBODY.pw_gid)
    manager = Notified(str(directory / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    directives = {
        "dataplane": "ebpf",
        "bpf_directory": BASE,
        "state_dir": directory / "state",
        "cli_socket": directory / "run" / "cli.sock",
        "cli_port": 23,
        "save_state": "yes",
    }
    (directory / "build-garden").write_text(
        "nft add rule ip nat garden ip saddr 203.0.113.77 accept\n"
    )

    async def act(stage: Stage) -> None:
        await until(lambda: "telnet on 127.0.0.1:23" in stage.site.log(), "no telnet")
        assert manager.lines()[0] == "READY=1"
        assert_is_nobody(stage.site.daemon.pid)
        await until(lambda: telnet_has_nothing(stage.site.daemon.pid), "telnet keeps rights")
        client = await stage.log_in("user1")
        await ping(client)
        await until(lambda: "203.0.113.77" in garden_of(stage), stage.site.log())
        await until(lambda: "STATUS=1 sessions in 1 tunnels" in manager.lines(), "no status")
        assert manager.lines().count("WATCHDOG=1") > 0
        manager.heard.clear()
        await stage.reload()
        await until(lambda: "READY=1" in manager.lines(), "no end of the reload")
        heard = [line for line in manager.lines() if not line.startswith(("WATCHDOG", "STATUS"))]
        assert heard[0] == "RELOADING=1"
        assert heard[1].startswith("MONOTONIC_USEC=")
        await stop(stage, signal.SIGTERM)
        assert "STOPPING=1" in manager.lines()
        await start(stage)
        await ping(client)
        client.disconnect(3)
        await soon(client.down)

    with stage_in(directory, prefix, tail="load plugin garden\n", **directives) as stage:
        try:
            stage.play(act)
        finally:
            manager.close()
        trouble = [line for line in stage.site.log().splitlines() if "ermission" in line]
        assert trouble in ([], [one for one in trouble if "who sees packets" in one])


@pytest.mark.parametrize("is_locked", [True, False])
def test_before_other_processes_and_in_memory(directory: Path, is_locked: bool) -> None:
    said = "yes" if is_locked else "no"
    directives = {"setuid": "nobody", "scheduler_fifo": said, "lock_pages": said, "debug": 3}
    with stage_in(directory, cli_port=23, **directives) as stage:

        async def act(stage: Stage) -> None:
            pid = stage.site.daemon.pid
            await ping(await stage.log_in("user1"))
            fifo = os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
            assert fifo == (is_locked and len(os.sched_getaffinity(0)) > 1)
            locked = int(status_of(str(pid))["VmLck"].split()[0])
            assert (locked > 0) == is_locked, stage.site.log()
            await until(lambda: "telnet on" in stage.site.log(), "no telnet")
            for child in children_of(pid):
                assert os.sched_getscheduler(child) == os.SCHED_OTHER

        stage.play(act)


def test_the_log_goes_on_in_a_new_file(directory: Path) -> None:
    """As logrotate and the unit of systemd do it: rename, make a new one, SIGHUP."""
    logs = directory / "logs"
    logs.mkdir()
    os.chown(logs, NOBODY.pw_uid, NOBODY.pw_gid)
    log_file = logs / "l2tpns.log"
    stage = stage_in(directory, setuid="nobody", log_file=log_file, debug=3)
    stage.site.log_file = log_file
    with stage:

        async def act(stage: Stage) -> None:
            await ping(await stage.log_in("user1"))
            log_file.rename(logs / "l2tpns.log.1")
            await ping(await stage.log_in("user2"))
            stage.site.daemon.send_signal(signal.SIGHUP)
            await until(log_file.exists, "no new log")
            await ping(await stage.log_in("user3"))

        stage.play(act)
        old = (logs / "l2tpns.log.1").read_text()
        new = log_file.read_text()
        assert [name for name in ("user1", "user2") if f"login by {name} " in old] == [
            "user1",
            "user2",
        ]
        assert "login by user3 " in new
        assert "login by user3 " not in old


def test_a_startup_config_that_cannot_be_read_again_is_told(directory: Path) -> None:
    places = {"state_dir": directory / "state", "cli_socket": directory / "run" / "cli.sock"}
    with stage_in(directory, setuid="nobody", save_state="yes", **places) as stage:
        config = directory / "startup-config"

        async def act(stage: Stage) -> None:
            told = f"{config} cannot be read by nobody"
            client = await stage.log_in("user1")
            assert told not in stage.site.log()
            config.chmod(0o600)
            await stop(stage, signal.SIGTERM)
            await start(stage)
            assert told in stage.site.log()
            stage.site.daemon.send_signal(signal.SIGHUP)
            await until(lambda: "configuration read again" in stage.site.log(), "no reload")
            await ping(client)

        stage.play(act)


def test_somebody_who_does_not_exist(directory: Path) -> None:
    with pytest.raises(LabError, match='setuid: there is no user "nobody-at-all"'):
        stage_in(directory, setuid="nobody-at-all").__enter__()


def test_only_root_may_become_somebody(directory: Path) -> None:
    prefix = ("setpriv", f"--reuid={NOBODY.pw_uid}", f"--regid={NOBODY.pw_gid}", "--init-groups")
    with pytest.raises(LabError, match="only root can become"):
        stage_in(directory, prefix, setuid="daemon").__enter__()
