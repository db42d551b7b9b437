"""Real traffic of a subscriber through a candidate: TCP, and pings one by one."""

import os
import socket
import struct
import subprocess
import sys
import time
from typing import Any, Final

from l2tpns_core.lab.bench import stream
from l2tpns_core.lab.bench.candidates import Candidate
from l2tpns_core.lab.bench.flood import UP
from l2tpns_core.lab.bench.load import checksum
from l2tpns_core.lab.bench.place import HOST_ADDRESS
from l2tpns_core.lab.netns import LabError, Namespace

PATIENCE_S: Final = 15.0
PING_S: Final = 1.0
PING_GAP_S: Final = 0.001
ECHO_REQUEST, ECHO_REPLY = 8, 0
PING_BYTES: Final = bytes(36)
"""With its headers a packet of 64 bytes."""


def tcp(candidate: Candidate, address: str, direction: str, flows: int, seconds: float) -> float:
    """Bit/s of so many TCP connections between a subscriber and the host, over all of them."""
    lac, net = candidate.place.lac, candidate.place.net
    sending, receiving, target, source = (
        (lac, net, HOST_ADDRESS, address) if direction == UP else (net, lac, address, HOST_ADDRESS)
    )
    receiver = _start(receiving, "receive", target, source, flows, seconds)
    try:
        if receiver.stdout is None or receiver.stdout.readline() != "listening\n":
            raise LabError("the receiver of TCP did not start")
        sender = _start(sending, "send", target, source, flows, seconds)
        try:
            out, _ = receiver.communicate(timeout=seconds + PATIENCE_S)
        finally:
            sender.kill()
            sender.communicate()
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{candidate.title}: TCP does not get through") from error
    finally:
        receiver.kill()
        receiver.wait()
    if receiver.returncode:
        raise LabError(f"{candidate.title}: TCP does not get through")
    return float(out) * 8


def pings(candidate: Candidate, address: str, count: int) -> list[float]:
    """Seconds that each of so many pings of a subscriber takes; a lost one is not among them."""
    return candidate.place.lac.call(_ping, address, count)


def _start(
    space: Namespace, role: str, target: str, source: str, flows: int, seconds: float
) -> "subprocess.Popen[Any]":
    arguments = [role, target, source, str(flows), str(seconds)]
    return space.popen(
        [sys.executable, "-I", "-S", stream.__file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _ping(address: str, count: int) -> list[float]:
    identifier = os.getpid() & 0xFFFF
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.bind((address, 0))
        sock.settimeout(PING_S)
        for number in range(count):
            request = _echo(identifier, number & 0xFFFF)
            started = time.perf_counter()
            sock.sendto(request, (HOST_ADDRESS, 0))
            try:
                while not _answers(sock.recv(2048), identifier, number & 0xFFFF):
                    pass
            except TimeoutError:
                continue
            found.append(time.perf_counter() - started)
            time.sleep(PING_GAP_S)
    return found


def _echo(identifier: int, number: int) -> bytes:
    blank = struct.pack(">BBHHH", ECHO_REQUEST, 0, 0, identifier, number) + PING_BYTES
    return blank[:2] + struct.pack(">H", checksum(blank)) + blank[4:]


def _answers(packet: bytes, identifier: int, number: int) -> bool:
    header = (packet[0] & 15) * 4
    kind, _, _, theirs, order = struct.unpack_from(">BBHHH", packet, header)
    return (kind, theirs, order) == (ECHO_REPLY, identifier, number)
