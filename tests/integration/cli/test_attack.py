"""Two hundred hostile telnet connections: memory stays bounded, an honest operator gets in, and
the daemon's socket answers as before."""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from l2tpns_core.cli.client import Client
from l2tpns_core.lab.netns import Namespace, veth
from support.telnet import Caller, TelnetProcess, resident_bytes

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SUPPORT = Path(__file__).parents[2] / "support"
LNS, HONEST = "10.98.0.1", "10.98.0.2"
SOURCES = [f"10.98.{1 + number % 8}.{1 + number // 8}" for number in range(50)]
"""Fifty addresses in eight networks."""
ATTACK_S = 10.0
MEMORY_GROWTH_BYTES = 8 << 20
"""What an attack may add to either half of the listener; docs/shell.md states it."""
LOGIN_S = 10.0
PASSWORD = "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM."


class Scene:
    """A listener in one namespace, its clients in another."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.socket, self.users = directory / "cli.sock", directory / "users"
        users = self.users
        users.write_text(f"admin:{PASSWORD}\nenable:up\n")
        users.chmod(0o600)
        self.lns = lns = stack.enter_context(Namespace("lns"))
        self.outside = stack.enter_context(Namespace("outside"))
        veth(self.outside, "eth0", f"{HONEST}/16", lns, "eth0", f"{LNS}/16")
        for source in SOURCES:
            self.outside.add_address("eth0", f"{source}/16")
        daemon = subprocess.Popen(
            [sys.executable, SUPPORT / "cli_daemon.py", self.socket],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT.parent), *sys.path])},
            text=True,
        )
        stack.callback(lambda: (daemon.kill(), daemon.communicate()))
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "ready\n"
        self.telnet = stack.enter_context(
            TelnetProcess(self.socket, users, bind=LNS, popen=lns.popen)
        )

    def attack(self) -> "subprocess.Popen[str]":
        script = SUPPORT / "telnet_attack.py"
        port, seconds = str(self.telnet.port), str(ATTACK_S)
        attackers = self.outside.popen(
            [sys.executable, script, LNS, port, seconds, *SOURCES],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(lambda: (attackers.kill(), attackers.wait()))
        return attackers

    def call(self, port: int = 0) -> Caller:
        """The honest operator."""
        target = (LNS, port or self.telnet.port)
        connect = socket.create_connection
        return Caller(self.outside.call(connect, target, LOGIN_S, (HONEST, 0)))

    def log_in(self) -> float:
        """A whole session with login and enable; returns how long it took."""
        begun = time.monotonic()
        caller = self.call()
        with caller.connection:
            caller.until(b"Username: ")
            caller.send(b"admin\r\n")
            caller.until(b"Password: ")
            caller.send(b"secret\r\n")
            caller.until(b"vm> ")
            caller.send(b"show users\r\n")
            assert b"alice\r\n" in caller.until(b"vm> ")
            caller.send(b"enable\r\n")
            caller.until(b"Password: ")
            caller.send(b"up\r\n")
            caller.until(b"vm# ")
        return time.monotonic() - begun

    def latencies_ms(self, seconds: float) -> list[float]:
        """How long `show version` takes over the Unix socket, again and again."""
        client, found, end = Client(str(self.socket)), [], time.monotonic() + seconds
        while time.monotonic() < end:
            begun = time.perf_counter()
            assert client.run("show version", lambda text: None) == ""
            found.append(1000 * (time.perf_counter() - begun))
            time.sleep(0.005)
        client.close()
        return found


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack)


def test_two_hundred_hostile_connections(scene: Scene) -> None:
    calm = scene.latencies_ms(1.0)
    pids = (scene.telnet.network_pid, scene.telnet.process.pid)
    before = [resident_bytes(pid) for pid in pids]
    attackers = scene.attack()
    time.sleep(1.0)
    logins = [scene.log_in() for _ in range(3)]
    attacked = scene.latencies_ms(3.0)
    logins += [scene.log_in() for _ in range(2)]
    grown = [resident_bytes(pid) - old for pid, old in zip(pids, before, strict=True)]
    calls = json.loads(attackers.communicate(timeout=ATTACK_S + 30)[0])
    logins.append(scene.log_in())
    print(f"\ncalls {calls}, logins took {[round(took, 2) for took in logins]} s")
    print(f"grown by {[size // 1024 for size in grown]} KB (network, keeper)")
    for name, values in (("calm", calm), ("attacked", attacked)):
        p99 = statistics.quantiles(values, n=100)[98]
        print(f"{name}: median {statistics.median(values):.2f} ms, p99 {p99:.2f} ms")
    assert sum(calls.values()) > 1000
    assert max(grown) < MEMORY_GROWTH_BYTES
    assert max(logins) < LOGIN_S
    assert statistics.median(attacked) < statistics.median(calm) + 10
    assert len(scene.telnet.lines) < 1000


def test_an_operator_who_was_here_before_gets_in_when_every_slot_is_taken(scene: Scene) -> None:
    """Every network has one silent connection, so that none has more than another."""
    scene.log_in()
    target = (LNS, scene.telnet.port)
    connect = socket.create_connection
    sources = [f"10.98.{number}.1" for number in range(20, 60)]
    with ExitStack() as stack:
        for source in sources:
            scene.outside.add_address("eth0", f"{source}/16")
            stack.enter_context(scene.outside.call(connect, target, LOGIN_S, (source, 0)))
        assert scene.log_in() < LOGIN_S


def test_wrong_passwords_wait_longer_and_longer(scene: Scene) -> None:
    caller = scene.call()
    with caller.connection:
        begun = time.monotonic()
        for _ in range(3):
            caller.until(b"Username: ")
            caller.send(b"admin\r\n")
            caller.until(b"Password: ")
            caller.send(b"guess\r\n")
            caller.until(b"\r\n\r\nAccess denied\r\n")
        assert caller.rest() == b""
        assert 2.5 < time.monotonic() - begun < LOGIN_S
    scene.telnet.wait_for_line(f"login of admin from {HONEST} failed")


def test_who_says_too_much_before_the_login_is_hung_up(scene: Scene) -> None:
    caller = scene.call()
    with caller.connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
        send_slowly(caller)


def test_without_a_users_file_nobody_from_elsewhere_gets_in(scene: Scene) -> None:
    scene.users.unlink()
    caller = scene.call()
    with caller.connection:
        assert caller.rest().endswith(b"No users for remote authentication!\r\n")
    scene.users.write_text("admin:other\n")
    caller = scene.call()
    with caller.connection:
        caller.until(b"Username: ")


def test_only_an_explicit_option_opens_it_without_a_users_file(scene: Scene) -> None:
    with TelnetProcess(
        scene.socket, scene.users, "--open", bind=LNS, popen=scene.lns.popen
    ) as telnet:
        caller = scene.call(telnet.port)
        with caller.connection:
            caller.until(b"Username: ")
        scene.users.unlink()
        caller = scene.call(telnet.port)
        with caller.connection:
            caller.until(b"vm> ")


def send_slowly(caller: Caller) -> None:
    for _ in range(100):
        caller.send(b"x" * 1000)
        time.sleep(0.02)
