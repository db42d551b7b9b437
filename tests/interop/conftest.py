"""Fixtures: the line-up of `lineup.py`, started once for all tests."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import lineup
from interop.capture import Capture
from interop.freeradius import FreeRadius
from interop.lnsdaemon import LnsDaemon
from interop.namespaces import Namespace, remove_stale, run
from interop.outside import Outside
from interop.realclient import TAP, RealClient


def _require_kernel() -> None:
    """Skip where the kernel cannot do what the line-up needs."""
    missing = "kernel feature missing:"
    if platform.machine() != "x86_64":
        pytest.skip(f"{missing} User-Mode-Linux is for x86-64 only")
    if not Path("/dev/net/tun").exists():
        pytest.skip(f"{missing} /dev/net/tun")
    if os.geteuid():
        pytest.skip(f"{missing} network namespaces without being root")
    try:
        run(["unshare", "--net", "--mount", "--pid", "--fork", "true"])
    except RuntimeError as error:
        pytest.skip(f"{missing} namespaces ({error})")


@pytest.fixture(scope="session")
def lns_namespace() -> Iterator[Namespace]:
    _require_kernel()
    remove_stale()
    namespace = Namespace("lns")
    namespace.set("net/ipv4/ip_forward", 1)
    yield namespace
    namespace.close()


@pytest.fixture(scope="session")
def host(
    lns_namespace: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[lineup.Host]:
    namespace = Namespace("net")
    try:
        made = lineup.Host(lns_namespace, namespace, tmp_path_factory.mktemp("host"))
        yield made
        made.close()
    finally:
        namespace.close()


@pytest.fixture(scope="module")
def outside(
    lns_namespace: Namespace, host: lineup.Host, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outside]:
    servers = Outside(lns_namespace, host, tmp_path_factory.mktemp("outside"))
    yield servers
    servers.close()


@pytest.fixture(scope="session")
def radius(
    lns_namespace: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FreeRadius]:
    server = FreeRadius(
        lns_namespace, tmp_path_factory.mktemp("radius"), lineup.USERS, lineup.RADIUS_SECRET
    )
    yield server
    server.close()


@pytest.fixture(scope="session")
def client(
    lns_namespace: Namespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealClient]:
    guest = RealClient(
        lns_namespace, tmp_path_factory.mktemp("guest"), lineup.LNS, lineup.CLIENT, 24
    )
    yield guest
    guest.close()


@pytest.fixture(scope="module")
def daemon(
    lns_namespace: Namespace,
    host: lineup.Host,
    radius: FreeRadius,
    client: RealClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LnsDaemon]:
    """The daemon, once the line and the RADIUS server are there."""
    directory = tmp_path_factory.mktemp("lns")
    running = LnsDaemon(lns_namespace, directory, lineup.DIRECTIVES, f"{lineup.POOL}\n")
    yield running
    running.close()


@pytest.fixture
def lns(daemon: LnsDaemon) -> Iterator[LnsDaemon]:
    """The daemon, for one test: without sessions at its start, and sane after it."""
    assert daemon.sessions() == []
    already = len(daemon.log())
    yield daemon
    assert daemon.process.is_running(), daemon.log()[-4000:]
    assert "Traceback" not in daemon.log()[already:]


@pytest.fixture
def capture(lns_namespace: Namespace, tmp_path: Path) -> Iterator[Capture]:
    """What passes between client and LNS during one test."""
    with Capture(lns_namespace, TAP, tmp_path) as started:
        yield started
