"""The child that speaks BGP: one that is noisy, hangs, or dies."""

import asyncio
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from l2tpns_core.routing import relay, speaker
from l2tpns_core.routing.bgp import Bgp
from l2tpns_core.routing.settings import BgpPeer, BgpSettings
from l2tpns_core.routing.speaker import Speaker
from unit.routing.test_settings import settings_of

FAKE = '''#!{python}
"""Something that is started like ExaBGP, and acknowledges commands."""
import os, re, socket, sys, time
file = sys.argv[-1]
path = re.search(r"run .* (\\S+);", open(file).read())[1]
daemon = socket.socket(socket.AF_UNIX)
daemon.connect(path)
time.sleep(0.1)
open({record!r}, "a").write(f"{{os.path.exists(file)}}\\n")
{behaviour}
for line in daemon.makefile():
    open({record!r}, "a").write(line)
    daemon.sendall(b"done\\n")
'''


class Child:
    """A Speaker with such a child; `said` is what the child has heard."""

    def __init__(self, directory: Path, behaviour: str) -> None:
        self.record = directory / "record"
        program = directory / "python"
        program.write_text(
            FAKE.format(python=sys.executable, record=str(self.record), behaviour=behaviour)
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.commands: list[str] = []
        self.speaker = Speaker(
            settings_of(bgp_peer1_password="geheim"),
            lambda: self.commands.pop(0) if self.commands else None,
            lambda state: None,
            lambda: None,
            python=str(program),
        )

    @property
    def said(self) -> list[str]:
        return self.record.read_text().splitlines() if self.record.exists() else []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not condition():  # noqa: ASYNC110  (another process is waited for)
            await asyncio.sleep(0.02)


def play(directory: Path, behaviour: str, scene: Callable[[Child], object]) -> None:
    async def story() -> None:
        child = Child(directory, behaviour)
        child.speaker.start()
        try:
            await until(lambda: child.speaker.is_running)
            await scene(child)  # type: ignore[misc]
        finally:
            await child.speaker.close()

    asyncio.run(story())


def test_passwords_are_in_no_file_once_they_are_read(tmp_path: Path) -> None:
    async def scene(child: Child) -> None:
        await until(lambda: child.said)
        assert child.said == ["False"]

    play(tmp_path, "", scene)


def test_a_long_line_in_its_log_does_not_stop_it(tmp_path: Path) -> None:
    async def scene(child: Child) -> None:
        child.commands.append("announce")
        child.speaker.wake()
        assert await child.speaker.settle(5.0)
        assert child.said[1:] == ["announce"]
        assert child.speaker.restarts == 0

    play(tmp_path, 'for _ in range(20): print("x" * 70_000, flush=True)', scene)


def test_one_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker, "ANSWER_S", 0.2)
    monkeypatch.setattr(speaker, "FIRST_PAUSE_S", 0.05)

    async def scene(child: Child) -> None:
        await until(lambda: child.speaker.restarts > 0)

    play(tmp_path, "time.sleep(60)", scene)


def test_one_that_is_silent_is_asked_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speaker, "ANSWER_S", 0.2)

    async def scene(child: Child) -> None:
        await until(lambda: child.said.count(speaker.PROBE) > 2)
        assert child.speaker.restarts == 0

    play(tmp_path, "", scene)


# What joins it to the daemon


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts a process that runs the relay as ExaBGP does, and lives until it is killed."""
    started = []

    def start(path: Path) -> "subprocess.Popen[bytes]":
        text = (
            "import subprocess, sys, time\n"
            f"subprocess.Popen([sys.executable, '-m', 'l2tpns_core.routing.relay', {str(path)!r}],"
            " stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\ntime.sleep(30)\n"
        )
        process = subprocess.Popen([sys.executable, "-c", text])
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_exabgp_dies_with_the_daemon(
    tmp_path: Path, parent: Callable[[Path], "subprocess.Popen[bytes]"]
) -> None:
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(str(tmp_path / "lns"))
        daemon.listen()
        process = parent(tmp_path / "lns")
        connection, _ = daemon.accept()
        connection.close()
        assert process.wait(10.0) == -signal.SIGKILL


def test_exabgp_dies_when_the_daemon_was_gone_already(
    tmp_path: Path, parent: Callable[[Path], "subprocess.Popen[bytes]"]
) -> None:
    assert parent(tmp_path / "nobody").wait(10.0) == -signal.SIGKILL


def test_nobody_else_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ExaBGP was gone before the daemon: somebody else is the parent by now."""
    parents, killed = [4711, 1], list[int]()
    system = SimpleNamespace(
        getppid=lambda: parents.pop(0), kill=lambda pid, number: killed.append(pid)
    )
    monkeypatch.setattr(relay, "os", system)
    monkeypatch.setattr(sys, "argv", ["relay", str(tmp_path / "nobody")])
    assert relay.main() == 1
    assert (parents, killed) == ([], [])


# What is announced


class Heard(list[str]):
    """In the place of a Speaker."""

    def __init__(self, bgp: Bgp) -> None:
        super().__init__()
        self._bgp = bgp

    is_running = True

    def wake(self) -> None:
        while (command := self._bgp._next_command()) is not None:
            self.append(" ".join(command.split()[2:5]))

    def start(self) -> None:
        """It is there."""


def test_our_own_address_stays_whatever_a_framed_route_says() -> None:
    async def story() -> None:
        own = (0xCB007101, 32)
        peer = BgpPeer(settings_of().peers[0].address, 64_513, settings_of().router_id, 90)
        bgp = Bgp(BgpSettings(64_512, settings_of().router_id, (peer,)))
        heard = bgp._speaker = Heard(bgp)  # type: ignore[assignment]
        bgp._started()
        bgp.start([(0x0A400000, 19)], [own])
        bgp.add(own)
        bgp.remove(own)
        bgp.remove((0x0A400000, 19))
        assert list(heard) == [
            "announce route 203.0.113.1/32",
            "announce route 10.64.0.0/19",
            "withdraw route 10.64.0.0/19",
        ]

    asyncio.run(story())
