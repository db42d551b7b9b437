"""What passes on a line: the L2TP datagrams of an interface, in either direction.

As a program, `capture.py INTERFACE FILE` writes them to a file until it is killed."""

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from interop.namespaces import Child, Namespace, wait_for

READY = "ready\n"
ETH_P_ALL = 3
ETH_P_IP = 0x0800
ETHERNET_HEADER = 14
UDP = 17
UDP_HEADER = 8
L2TP_PORT = 1701
SNAPSHOT_BYTES = 400
"""Enough for every control message."""
PREFIX_BYTES = SNAPSHOT_BYTES - 20
"""What is left of a packet behind the headers around it."""
PPP_ADDRESS = b"\xff\x03"
PPP_IP = b"\x21"
START_TIMEOUT_S = 10
CONTROL_HEADER = 12
AVP_HEADER = 6


@dataclass(slots=True, frozen=True)
class Datagram:
    """One L2TP message (RFC 2661 section 3.1) and the address that it came from."""

    source: str
    payload: bytes

    @property
    def is_control(self) -> bool:
        return bool(self.payload[0] & 0x80)

    @property
    def has_length(self) -> bool:
        return bool(self.payload[0] & 0x40)

    def avps(self) -> list[tuple[int, bool]]:
        """Type and H bit of each AVP of a control message (section 4.1)."""
        found = []
        position = CONTROL_HEADER
        while self.is_control and position + AVP_HEADER <= len(self.payload):
            flags, _, kind = struct.unpack_from("!HHH", self.payload, position)
            found.append((kind, bool(flags & 0x4000)))
            position += max(flags & 0x03FF, AVP_HEADER)
        return found

    def ip_packet(self) -> bytes:
        """The first PREFIX_BYTES of the IPv4 packet in a data message; nothing if there is none."""
        if self.is_control:
            return b""
        at = 6 + 2 * self.has_length + 4 * bool(self.payload[0] & 0x08)
        if self.payload[0] & 0x02:
            at += 2 + int.from_bytes(self.payload[at : at + 2])
        frame = self.payload[at:].removeprefix(PPP_ADDRESS)
        if frame.startswith(b"\x00"):  # the protocol is compressed or not
            frame = frame[1:]
        return frame[1:][:PREFIX_BYTES] if frame[:1] == PPP_IP else b""


class Capture:
    """Captures from the beginning of its `with` block to the end."""

    def __init__(self, namespace: Namespace, interface: str, directory: Path) -> None:
        self._file = directory / "datagrams"
        program = [sys.executable, "-m", "interop.capture", interface, str(self._file)]
        self._command = namespace.command(*program)
        self._log = directory / "log"

    def __enter__(self) -> Self:
        environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
        self._child = Child(self._command, self._log, environment)
        wait_for(
            lambda: self._file.exists() and self._file.read_text().startswith(READY),
            START_TIMEOUT_S,
            "beginning of the capture",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def datagrams(self) -> list[Datagram]:
        """What has passed so far, oldest first."""
        lines = self._file.read_text().splitlines()[1:]
        pairs = (line.split() for line in lines)
        return [Datagram(pair[0], bytes.fromhex(pair[1])) for pair in pairs]


def _l2tp_of(frame: bytes) -> Iterator[tuple[str, bytes]]:
    """The source and the payload if an Ethernet frame holds UDP of port 1701."""
    packet = frame[ETHERNET_HEADER:]
    header = (packet[0] & 15) * 4
    if packet[9] == UDP and L2TP_PORT in struct.unpack_from("!HH", packet, header):
        yield socket.inet_ntoa(packet[12:16]), packet[header + UDP_HEADER :][:SNAPSHOT_BYTES]


def _main(interface: str, path: str) -> None:
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as line,
        Path(path).open("w", buffering=1) as output,
    ):
        line.bind((interface, ETH_P_ALL))
        output.write(READY)
        while True:
            frame = line.recv(65536)
            if frame[12:14] == ETH_P_IP.to_bytes(2, "big"):
                for source, payload in _l2tp_of(frame):
                    output.write(f"{source} {payload.hex()}\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
