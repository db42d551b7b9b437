"""`l2tpns-lab snoop`: what it receives is in the pcap file, packet for packet."""

import os
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from l2tpns_core.lab.snoop import SnoopReceiver, describe, is_ip

COMMAND = [sys.executable, "-m", "l2tpns_core.lab.main", "snoop"]
WAIT_S = 20


class Captured(NamedTuple):
    time: float
    packet: bytes


def read_pcap(data: bytes) -> list[Captured]:
    """A reader of pcap files, written from the format's specification."""
    order = {b"\xa1\xb2\x3c\x4d": ">", b"\x4d\x3c\xb2\xa1": "<"}[data[:4]]
    major, minor, zone, accuracy, snaplen, link = struct.unpack_from(f"{order}HHiIII", data, 4)
    assert (major, minor, zone, accuracy, link) == (2, 4, 0, 0, 101)
    assert snaplen >= 65_535
    packets, at = [], 24
    while at < len(data):
        seconds, fraction, kept, length = struct.unpack_from(f"{order}IIII", data, at)
        assert fraction < 1_000_000_000
        assert kept == length
        packet = data[at + 16 : at + 16 + kept]
        assert len(packet) == kept
        packets.append(Captured(seconds + fraction / 1e9, packet))
        at += 16 + kept
    return packets


def ipv4(protocol: int = 17, payload: bytes = b"\x13\x88\x00\x35abcd", fragment: int = 0) -> bytes:
    ends = socket.inet_aton("10.0.0.1") + socket.inet_aton("192.0.2.1")
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0) + (
        ends + payload
    )


def ipv6(payload: bytes = b"\0\x50\x04\0") -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + bytes(15) + b"\2"
    return struct.pack("!IHBB", 6 << 28, len(payload), 6, 64) + ends + payload


class Snoop:
    """The command as a process, and a socket to send it copies from."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "--bind", "127.0.0.1", "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        found = re.search(rb"ready on 127.0.0.1 port (\d+)\n", self._line(self.process.stderr))
        assert found
        self.socket.connect(("127.0.0.1", int(found[1])))

    def send(self, *packets: bytes) -> None:
        for packet in packets:
            self.socket.send(packet)

    def line(self) -> str:
        return self._line(self.process.stdout).decode()

    def end(self) -> tuple[int, bytes, str]:
        """Exit status, output and errors."""
        output, errors = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, output, errors.decode()

    def close(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.communicate()

    @staticmethod
    def _line(stream: object) -> bytes:
        ready, _, _ = select.select([stream], [], [], WAIT_S)
        assert ready, "no line came"
        return stream.readline()  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def running() -> Iterator[list[Snoop]]:
    snoops: list[Snoop] = []
    yield snoops
    for snoop in snoops:
        snoop.close()


def start(running: list[Snoop], *options: str) -> Snoop:
    running.append(Snoop(*options))
    return running[-1]


def test_every_packet_is_in_the_file_with_its_time(running: list[Snoop], tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(b"old" * 100_000)
    path.chmod(0o644)
    snoop = start(running, "--write", str(path), "--count", "3")
    sent = [ipv4(), ipv6(), ipv4(1, bytes(range(256)) * 250)]
    before = time.time()
    snoop.send(sent[0], b"", b"junk", b"\x45" * 19, *sent[1:])
    status, output, errors = snoop.end()
    assert status == 0
    captured = read_pcap(path.read_bytes())
    assert [each.packet for each in captured] == sent
    assert before - 0.01 <= captured[0].time <= captured[2].time <= time.time()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [line.split(" ", 1)[1] for line in output.decode().splitlines()] == [
        "10.0.0.1:5000 > 192.0.2.1:53 UDP 28",
        "[2001:db8::1]:80 > [::2]:1024 TCP 44",
        "10.0.0.1 > 192.0.2.1 ICMP 64020",
    ]
    assert "snoop: 3 packets, 64092 bytes, 3 datagrams that are no IP packet\n" in errors


def test_a_kill_leaves_a_file_that_can_be_read(running: list[Snoop], tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    snoop = start(running, "--write", str(path))
    snoop.send(ipv4())
    snoop.line()
    snoop.process.kill()
    assert [each.packet for each in read_pcap(path.read_bytes())] == [ipv4()]


def test_standard_output_carries_the_file_and_nothing_else(running: list[Snoop]) -> None:
    snoop = start(running, "--write", "-", "--count", "2")
    snoop.send(ipv4(), ipv6())
    status, output, errors = snoop.end()
    assert status == 0
    assert [each.packet for each in read_pcap(output)] == [ipv4(), ipv6()]
    assert "UDP 28" in errors


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary(running: list[Snoop], sign: signal.Signals) -> None:
    snoop = start(running, "--quiet", "--count", "5")
    snoop.process.send_signal(sign)
    assert snoop.end() == (0, b"", "snoop: 0 packets, 0 bytes\n")


def test_too_few_packets_in_time_are_status_1(running: list[Snoop]) -> None:
    snoop = start(running, "--count", "2", "--seconds", "0.2")
    status, _, errors = snoop.end()
    assert (status, errors) == (1, "snoop: 0 packets, 0 bytes\n")
    assert start(running, "--seconds", "0.1").end()[0] == 0


@pytest.mark.parametrize("options", [(), ("--write", "-")])
def test_a_reader_that_goes_away_ends_it(running: list[Snoop], options: tuple[str, ...]) -> None:
    snoop = start(running, *options)
    assert snoop.process.stdout is not None
    snoop.process.stdout.close()
    deadline = time.monotonic() + WAIT_S
    while snoop.process.poll() is None and time.monotonic() < deadline:
        try:
            snoop.send(ipv4())
        except ConnectionRefusedError:
            pass
        time.sleep(0.02)
    assert snoop.process.returncode == 0
    assert snoop.process.stderr is not None
    assert b"Traceback" not in snoop.process.stderr.read()


def refused(*options: str) -> str:
    """What is said to a command line that cannot work."""
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_what_cannot_work_is_said_in_a_line(tmp_path: Path) -> None:
    assert refused("--bind", "203.0.113.77") == (
        "l2tpns-lab snoop: cannot listen on 203.0.113.77 port 9000: "
        "Cannot assign requested address\n"
    )
    missing = tmp_path / "no" / "x.pcap"
    assert refused("--port", "0", "--write", str(missing)) == (
        f"l2tpns-lab snoop: cannot write {missing}: No such file or directory\n"
    )
    if Path("/dev/full").exists():
        assert refused("--port", "0", "--write", "/dev/full") == (
            "l2tpns-lab snoop: cannot write /dev/full: No space left on device\n"
        )
    for option, value in (("--port", "65536"), ("--count", "0"), ("--seconds", "-1")):
        assert f"argument {option}" in refused(option, value)


def test_a_taken_port_is_said() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        assert "Address already in use" in refused("--bind", "127.0.0.1", "--port", port)


def test_what_the_system_had_to_drop_is_counted() -> None:
    receiver = SnoopReceiver("127.0.0.1", 0)
    try:
        receiver.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(200):
                sender.sendto(ipv4(), receiver.address)
            first = receiver.take()
            sender.sendto(ipv4(), receiver.address)
            last = receiver.take()
    finally:
        receiver.close()
    assert len(last) == 1
    assert receiver.counters.lost == 201 - len(first) - len(last) > 0


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (ipv4(6, b"\0\1\0\2"), "10.0.0.1:1 > 192.0.2.1:2 TCP 24"),
        (ipv4(6, b"\0"), "10.0.0.1 > 192.0.2.1 TCP 21"),
        (ipv4(17, b"\0\1\0\2", 0x2000), "10.0.0.1:1 > 192.0.2.1:2 UDP 24"),
        (ipv4(17, b"\0\1\0\2", 0x0002), "10.0.0.1 > 192.0.2.1 UDP 24 fragment"),
        (ipv4(89, b""), "10.0.0.1 > 192.0.2.1 protocol 89 20"),
        (ipv6(b""), "[2001:db8::1] > [::2] TCP 40"),
    ],
)
def test_packets_are_described_for_people(packet: bytes, line: str) -> None:
    assert describe(packet) == line


def test_whatever_passes_for_ip_can_be_described() -> None:
    for size in range(64):
        for first in range(256):
            data = bytes([first]) + os.urandom(size)
            if is_ip(data):
                assert describe(data)
