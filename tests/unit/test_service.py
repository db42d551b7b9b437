"""What a service manager is told."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2tpns_core.daemon import Daemon
from l2tpns_core.options import parse_arguments
from l2tpns_core.service import STATUS_INTERVAL_S, ServiceManager


class Manager:
    """Listens where NOTIFY_SOCKET points."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        self._socket.settimeout(0.0)
        self.environment = {"NOTIFY_SOCKET": address}

    def heard(self) -> list[str]:
        found = []
        try:
            while True:
                found.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    is_path = request.param == "path"
    made = Manager(str(tmp_path / "notify") if is_path else f"@l2tpns-test-{os.getpid()}")
    yield made
    made.close()


def test_the_steps_of_a_service(manager: Manager) -> None:
    service = ServiceManager(manager.environment)
    service.ready()
    service.reloading()
    service.stopping()
    ready, reloading, stopping = manager.heard()
    assert (ready, stopping) == ("READY=1", "STOPPING=1")
    first, second = reloading.split("\n")
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


def test_the_status_is_told_when_it_is_another_but_not_all_the_time(manager: Manager) -> None:
    service = ServiceManager(manager.environment)
    service.alive(100.0, "1 session")
    service.alive(101.0, "2 sessions")
    assert manager.heard() == ["STATUS=1 session"]
    service.alive(100.0 + STATUS_INTERVAL_S, "2 sessions")
    service.alive(200.0, "2 sessions")
    assert manager.heard() == ["STATUS=2 sessions"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"WATCHDOG_USEC": "30000000"}, True),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
def test_who_is_watched_says_that_it_lives(
    manager: Manager, more: dict[str, str], says: bool
) -> None:
    service = ServiceManager(manager.environment | more)
    service.alive(1.0, "")
    assert manager.heard() == (["WATCHDOG=1"] if says else [])


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_service_manager_nothing_happens(environment: dict[str, str]) -> None:
    service = ServiceManager(environment)
    service.ready()
    service.alive(1.0, "status")


def test_the_end_of_a_reload_that_fails_is_told(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the service would be reloading until it is killed for that."""
    for name, value in manager.environment.items():
        monkeypatch.setenv(name, value)
    daemon = Daemon(parse_arguments(["-c", "/nonexistent"]))

    def fail() -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(daemon, "_read_again", fail)
    with pytest.raises(RuntimeError):
        daemon.reload()
    heard = manager.heard()
    assert heard[0].startswith("RELOADING=1\n")
    assert heard[1:] == ["READY=1"]
