"""A Linux client over each of the planes: the same line, whichever forwards."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from interop import lineup
from interop.freeradius import FreeRadius
from interop.lineup import HOST, PASSWORD, Host
from interop.lnsdaemon import LnsDaemon
from interop.namespaces import Namespace, wait_for
from interop.outside import EXCHANGE_PORT, WEB, Outside, complement
from interop.realclient import TAP, RealClient

pytestmark = [pytest.mark.daemon, pytest.mark.interop, pytest.mark.netns]

MTU = 1462
HEADERS = 28
"""IP and ICMP, or IP and UDP."""
NARROW = 1300
"""The MTU of a line on which full packets do not fit into one datagram."""
EMPTY_TIMEOUT_S = 5
SEND_WITH_DF = """
import socket, sys, time
sending = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sending.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
sending.connect((sys.argv[1], 9))
sending.send(bytes(int(sys.argv[2])))
time.sleep(0.3)
print(sending.getsockopt(socket.IPPROTO_IP, 14))  # IP_MTU
"""


@pytest.fixture(scope="module", params=["ebpf", "user"])
def daemon(
    request: pytest.FixtureRequest,
    lns_namespace: Namespace,
    host: Host,
    radius: FreeRadius,
    client: RealClient,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LnsDaemon]:
    directory = tmp_path_factory.mktemp("lns")
    directives = {**lineup.DIRECTIVES, "dataplane": request.param}
    running = LnsDaemon(lns_namespace, directory, directives, f"{lineup.POOL}\n")
    yield running
    running.close()


class Passed:
    """What has passed since this was made, as `show dataplane` has it."""

    def __init__(self, lns: LnsDaemon) -> None:
        self._lns = lns
        self._before = lns.object("show dataplane")

    def _grown(self, *names: str) -> int:
        before: Any = self._before
        now: Any = self._lns.object("show dataplane")
        for name in names:
            before, now = before.get(name) or {}, now.get(name) or {}
        return int(now or 0) - int(before or 0)

    def in_kernel(self) -> tuple[int, int]:
        """Up and down."""
        return self._grown("kernel", "hits", "up"), self._grown("kernel", "hits", "down")

    def in_process(self) -> tuple[int, int]:
        return self._grown("process", "up"), self._grown("process", "down")

    def left(self, why: str) -> int:
        """Packets that the kernel left to the process for a reason."""
        return self._grown("kernel", "punts", why)

    def expect(self, up: int, down: int) -> None:
        """So many and no others, all of them where the plane wants them."""
        if self._before["plane"] == "ebpf":
            assert (self.in_kernel(), self.in_process()) == ((up, down), (0, 0))
        else:
            assert (self.in_kernel(), self.in_process()) == ((0, 0), (up, down))


@pytest.fixture
def passed(lns: LnsDaemon) -> Passed:
    return Passed(lns)


@pytest.fixture
def narrow_line(lns_namespace: Namespace, client: RealClient) -> Iterator[None]:
    """A line between client and LNS with a small MTU."""

    def set_mtu(mtu: int) -> None:
        lns_namespace.ip("link", "set", TAP, "mtu", str(mtu))
        client.run(f"ip link set vec0 mtu {mtu}")

    set_mtu(NARROW)
    yield
    set_mtu(1500)


def is_empty(lns: LnsDaemon) -> None:
    wait_for(lambda: not lns.sessions(), EMPTY_TIMEOUT_S, "empty session table")


def test_ping(lns: LnsDaemon, client: RealClient, passed: Passed) -> None:
    with client.dial("alice", PASSWORD) as session:
        assert session.ping(HOST, 5) == 5
        passed.expect(5, 5)
    is_empty(lns)


def test_tcp(lns: LnsDaemon, client: RealClient, passed: Passed) -> None:
    with client.dial("alice", PASSWORD) as session:
        up, down = session.iperf(HOST, "-t", "2"), session.iperf(HOST, "-t", "2", "-R")
        kernel, process = sum(passed.in_kernel()), sum(passed.in_process())
        print(f"TCP {up:.0f} Mbit/s up, {down:.0f} Mbit/s down")
        print(f"{kernel} packets in the kernel, {process} in the process")
        assert min(up, down) > 1
        if lns.object("show dataplane")["plane"] == "ebpf":
            assert (kernel > 1000, process) == (True, 0)
        else:
            assert (kernel, process > 1000) == (0, True)
    is_empty(lns)


def test_the_largest_packet_and_one_more(
    lns: LnsDaemon, client: RealClient, passed: Passed
) -> None:
    """One more has to be cut in two, by the client on the way up and by the LNS on the way down."""
    with client.dial("alice", PASSWORD) as session:
        assert session.ping(HOST, 2, MTU - HEADERS) == 2
        passed.expect(2, 2)
        assert session.ping(HOST, 2, MTU - HEADERS + 1) == 2
        passed.expect(6, 6)
    is_empty(lns)


@pytest.mark.parametrize("size", [MTU, MTU + 1])
def test_who_forbids_fragments_is_told_what_fits(
    lns: LnsDaemon, client: RealClient, host: Host, size: int
) -> None:
    host.namespace.ip("route", "flush", "cache")
    with client.dial("alice", PASSWORD) as session:
        program = (sys.executable, "-c", SEND_WITH_DF)
        told = host.namespace.run(*program, session.given["local"], str(size - HEADERS))
        assert int(told) == (1500 if size == MTU else MTU)
    is_empty(lns)


def test_fragments_of_subscribers_packets(
    lns: LnsDaemon, client: RealClient, outside: Outside, passed: Passed
) -> None:
    data = bytes(range(256)) * 16
    with client.dial("alice", PASSWORD) as session:
        session.take_default_route()
        assert session.exchange_datagram(WEB, EXCHANGE_PORT, data) == complement(data)
        passed.expect(3, 3)
    is_empty(lns)


@pytest.mark.usefixtures("narrow_line")
def test_fragments_of_the_tunnels_packets(
    lns: LnsDaemon, client: RealClient, passed: Passed
) -> None:
    """The process sees to them, between others that the kernel passes on."""
    with client.dial("alice", PASSWORD) as session:
        large = MTU - HEADERS
        assert [session.ping(HOST, 2, size) for size in (large, 56, large)] == [2, 2, 2]
        if lns.object("show dataplane")["plane"] == "ebpf":
            assert (passed.in_kernel(), passed.in_process()) == ((2, 2), (4, 4))
            assert passed.left("up fragment") == 4  # the first ones, which say whose they are
            assert passed.left("down link_mtu") == 4
        else:
            passed.expect(6, 6)
    is_empty(lns)
