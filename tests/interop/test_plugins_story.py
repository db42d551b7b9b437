"""Subscribers that RADIUS throttles and intercepts, with a Linux client, iperf3 and tshark."""

import os
import re
import signal
import stat
import struct
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import inet_aton
from typing import Any, Self

import pytest

from interop import debian
from interop.accounting import start_of
from interop.capture import PREFIX_BYTES, Capture
from interop.clientsession import ClientSession
from interop.freeradius import FreeRadius
from interop.lineup import (
    DIRECTIVES,
    HOST,
    PASSWORD,
    POOL,
    RATE,
    RATE_IN,
    RATE_OUT,
    SNOOP_PORT,
    Host,
)
from interop.lnsdaemon import LnsDaemon, script
from interop.namespaces import Child, Namespace, run, wait_for
from interop.outside import EXCHANGE_PORT, WEB, Outside, complement
from interop.realclient import RealClient, package_tree

pytestmark = [pytest.mark.daemon, pytest.mark.interop, pytest.mark.netns]

TOLERANCE = 0.05
FLOOD_S = 7
SETTLE_S = 1.5
"""Until a flood has begun, its burst is over and TCP has found its rate."""
MEASURE_S = 5
OTHER_PORT = "5202"
UNLIMITED = 20.0
"""Mbit/s that a subscriber without a limit gets at least while another one is limited."""
TSHARK = "/usr/bin/tshark"
STREAM_BYTES = 60_000
DATAGRAM_BYTES = 1200
PING_BYTES = 300
START_TIMEOUT_S = 10
DROP_TIMEOUT_S = 5
TELLING = re.compile("snoop|intercept", re.IGNORECASE)


@pytest.fixture(scope="module")
def daemon(
    lns_namespace: Namespace,
    client: RealClient,
    radius: FreeRadius,
    host: Host,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LnsDaemon]:
    running = LnsDaemon(
        lns_namespace,
        tmp_path_factory.mktemp("lns"),
        DIRECTIVES,
        f"{POOL}\n",
        plugins=["autothrottle", "autosnoop"],
    )
    yield running
    running.close()


def row_of(lns: LnsDaemon, user: str) -> dict[str, Any]:
    (row,) = (row for row in lns.sessions() if row["user"] == user)
    return row


def flags_of(lns: LnsDaemon, user: str) -> list[str]:
    """The columns I, T and G of `show session`."""
    lines = (line.split() for line in lns.cli("show session").splitlines()[1:])
    (flags,) = (words[4:7] for words in lines if words[2] == user)
    return flags


def wait_until_empty(lns: LnsDaemon) -> None:
    wait_for(lambda: not lns.sessions(), DROP_TIMEOUT_S, "empty session table")


# ---- throttling


def measure(session: ClientSession, host: Host, *options: str) -> tuple[float, float]:
    """kbit/s of IP packets that come through, (up, down), in the midst of an iperf3 run."""
    with ThreadPoolExecutor(1) as pool:
        flood = pool.submit(session.flood, HOST, FLOOD_S, *options)
        time.sleep(SETTLE_S)
        began, before = time.monotonic(), host.traffic()[0]
        down = session.received_in(MEASURE_S)
        ended, after = time.monotonic(), host.traffic()[0]
        flood.result()
    return (after - before) * 8 / 1000 / (ended - began), down


def measure_each(session: ClientSession, host: Host, *options: str) -> tuple[float, float]:
    """The same, with one direction after the other."""
    up, _ = measure(session, host, *options)
    _, down = measure(session, host, *options, "-R")
    return up, down


@pytest.mark.parametrize(
    ("kind", "options"), [("TCP", ()), ("UDP", ("-u", "-b", "3M", "-l", "1200"))]
)
def test_throttled_by_radius(
    lns: LnsDaemon, client: RealClient, host: Host, kind: str, options: tuple[str, ...]
) -> None:
    """throttle=RATE limits each direction to that rate."""
    with client.dial("slow", PASSWORD) as session:
        assert flags_of(lns, "slow") == ["N", "Y", "N"]
        (row,) = lns.rows("show throttle")
        limits = row["user"], row["throttle_in_kbps"], row["throttle_out_kbps"]
        assert limits == ("slow", RATE, RATE)
        up, down = measure_each(session, host, *options)
        print(f"{kind} at {RATE} kbit/s: {up:.0f} up, {down:.0f} down")
        assert (up, down) == pytest.approx((RATE, RATE), rel=TOLERANCE)
        (row,) = lns.rows("show throttle")
        assert min(row["dropped_in"], row["dropped_out"]) > 0
    wait_until_empty(lns)


def test_directions_have_rates_of_their_own(
    lns: LnsDaemon, client: RealClient, host: Host, radius: FreeRadius
) -> None:
    """The form of Cisco, a pair for each direction; RADIUS hears of both. (Full in both directions
    at once is for UDP: TCP one way would wait for its ACKs in the queue of the other.)"""
    wanted = pytest.approx((RATE_IN, RATE_OUT), rel=TOLERANCE)
    with client.dial("policed", PASSWORD) as session:
        row = row_of(lns, "policed")
        assert (row["throttle_in_kbps"], row["throttle_out_kbps"]) == (RATE_IN, RATE_OUT)
        tcp = measure_each(session, host)
        udp = measure(session, host, "--bidir", "-u", "-b", "4M", "-l", "1200")
        for kind, (up, down) in (("TCP", tcp), ("UDP", udp)):
            print(f"{kind} at {RATE_IN} and {RATE_OUT} kbit/s: {up:.0f} up, {down:.0f} down")
        assert tcp == wanted
        assert udp == wanted
        pairs = start_of(radius, session, "policed")["Cisco-AVPair"].splitlines()
        assert pairs == [
            f"lcp:interface-config#1=service-policy input {RATE_IN}",
            f"lcp:interface-config#2=service-policy output {RATE_OUT}",
        ]
    wait_until_empty(lns)


def test_others_are_not_throttled(
    lns: LnsDaemon, client: RealClient, host: Host, tmp_path: Path
) -> None:
    """While one subscriber's line is full at its rate, the next one's is as wide as ever."""
    options = ("-s", "-B", HOST, "-p", OTHER_PORT, "--forceflush")
    command = package_tree().command("/usr/bin/iperf3", *options)
    with (
        Child(host.namespace.command(*command), tmp_path / "iperf3") as server,
        client.dial("slow", PASSWORD) as slow,
        client.dial("alice", PASSWORD, beside=slow) as free,
        ThreadPoolExecutor(2) as pool,
    ):
        assert flags_of(lns, "alice") == ["N", "N", "N"]
        wait_for(lambda: "listening" in server.output(), START_TIMEOUT_S, "word from iperf3")
        flood = pool.submit(slow.flood, HOST, FLOOD_S, "-R")
        time.sleep(SETTLE_S)
        limited = pool.submit(slow.received_in, MEASURE_S)
        rates = [free.iperf(HOST, "-p", OTHER_PORT, "-t", "2", way) for way in ("", "-R")]
        print(f"beside {limited.result():.0f} kbit/s: {rates[0]:.0f} and {rates[1]:.0f} Mbit/s")
        assert limited.result() == pytest.approx(RATE, rel=TOLERANCE)
        assert min(rates) > UNLIMITED
        flood.result()
    wait_until_empty(lns)


# ---- interception


class Receiver:
    """`l2tpns-lab snoop` on the host, and what tshark makes of its file."""

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        self.file = directory / "copies.pcap"
        program = [str(script("l2tpns-lab")), "snoop", "--bind", HOST, "--port", str(SNOOP_PORT)]
        command = namespace.command(*program, "--write", str(self.file))
        self._tree = debian.unpack(["tshark"], [TSHARK])
        self._child = Child(command, directory / "snoop")

    def __enter__(self) -> Self:
        wait_for(
            lambda: "ready on" in self._child.output(),
            START_TIMEOUT_S,
            "word from l2tpns-lab snoop",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def stop(self) -> None:
        assert self._child.stop(signal.SIGTERM) == 0

    def tshark(self, *options: str) -> list[str]:
        """The lines that tshark prints of the file."""
        command = self._tree.command(TSHARK, "-n", "-r", str(self.file), *options)
        return run(command).splitlines()

    def followed(self, protocol: str) -> tuple[bytes, bytes]:
        """The first conversation, as tshark puts it together: (from the client, to it)."""
        lines = self.tshark("-q", "-z", f"follow,{protocol},raw,0")
        data = [line for line in lines if re.fullmatch("\t?[0-9a-f]+", line)]
        sent = "".join(line for line in data if not line.startswith("\t"))
        received = "".join(line.strip() for line in data if line.startswith("\t"))
        return bytes.fromhex(sent), bytes.fromhex(received)


def packets_of(file: Path) -> Iterator[bytes]:
    """The packets of a pcap file as this machine writes it."""
    data = file.read_bytes()
    at = 24
    while at < len(data):
        size = struct.unpack_from("=I", data, at + 8)[0]
        yield data[at + 16 : at + 16 + size]
        at += 16 + size


def test_intercepted_by_radius(
    lns: LnsDaemon,
    client: RealClient,
    outside: Outside,
    host: Host,
    capture: Capture,
    tmp_path: Path,
) -> None:
    """Each packet of the subscriber, both ways and to the byte, is in a file that tshark reads;
    none of anybody else is."""
    already = len(lns.log())
    stream, datagram = os.urandom(STREAM_BYTES), os.urandom(DATAGRAM_BYTES)
    pattern = os.urandom(1).hex()
    with (
        Receiver(host.namespace, tmp_path) as receiver,
        client.dial("tapped", PASSWORD) as session,
        client.dial("alice", PASSWORD, beside=session) as other,
    ):
        assert (flags_of(lns, "tapped"), flags_of(lns, "alice")) == (["Y", "N", "N"], ["N"] * 3)
        assert stat.S_IMODE(lns.socket.stat().st_mode) == 0o600, "others may ask, too"
        session.take_default_route()
        assert session.exchange(WEB, EXCHANGE_PORT, stream) == complement(stream)
        assert session.exchange_datagram(WEB, EXCHANGE_PORT, datagram) == complement(datagram)
        assert session.ping(HOST, 2, PING_BYTES, pattern) == 2
        assert other.ping(HOST) == 3
        address = session.given["local"]
        session.hangup("ppp")
        wait_for(lambda: len(lns.sessions()) == 1, DROP_TIMEOUT_S, "end of the session")
        receiver.stop()
    wait_until_empty(lns)
    assert receiver.followed("tcp") == (f"{STREAM_BYTES}\n".encode() + stream, complement(stream))
    assert receiver.followed("udp") == (datagram, complement(datagram))
    fields = ("-T", "fields", "-e", "ip.src", "-e", "ip.dst", "-e", "icmp.type", "-e", "data.data")
    pings = [line.split("\t") for line in receiver.tshark("-Y", "icmp", *fields)]
    ways = [tuple(ping[:3]) for ping in pings]
    assert ways == [(address, HOST, "8"), (HOST, address, "0")] * 2
    for request, reply in zip(pings[::2], pings[1::2], strict=True):
        assert request[3] == reply[3]
        assert request[3].endswith(pattern * (PING_BYTES - 64))
    copies = Counter(packet[:PREFIX_BYTES] for packet in packets_of(receiver.file))
    passed = (each.ip_packet() for each in capture.datagrams())
    assert copies == Counter(packet for packet in passed if inet_aton(address) in packet[12:20])
    assert not TELLING.search(lns.log()[already:])
