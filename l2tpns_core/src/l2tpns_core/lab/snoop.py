"""The receiving end of an interception: copies of a subscriber's packets, one in each UDP datagram
with nothing around it, are taken to a pcap file and to a line for people.
"""

import io
import os
import socket
import stat
import struct
import sys
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

PCAP_HEADER: Final = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 0x40000, 101)
"""Times in nanoseconds, byte order of this machine, version 2.4, LINKTYPE_RAW."""
PCAP_RECORD: Final = struct.Struct("=IIII")
NS: Final = 1_000_000_000
MAX_DATAGRAM: Final = 65_535
AT_ONCE: Final = 256
"""Datagrams that are taken before the loop is free again."""
RECEIVE_BUFFER_BYTES: Final = 8 * 1024 * 1024

SO_RCVBUFFORCE: Final = 33
SO_TIMESTAMPNS: Final = 35
SO_RXQ_OVFL: Final = 40
TIMESPEC: Final = struct.Struct("@ll")
ANCILLARY_BYTES: Final = 128

MIN_IPV4: Final = 20
MIN_IPV6: Final = 40
PROTOCOLS: Final = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6"}
WITH_PORTS: Final = frozenset({6, 17})


@dataclass(slots=True)
class SnoopCounters:
    packets: int = 0
    bytes: int = 0
    not_ip: int = 0
    """Datagrams that held no IP packet; they are not written."""
    lost: int = 0
    """Datagrams that the system dropped because they came faster than they were taken."""


@dataclass(slots=True, frozen=True)
class Copy:
    """One intercepted packet."""

    time_ns: int
    """Unix time at which the system had it."""
    packet: bytes
    sender: tuple[str, int]


class PcapFile:
    """A pcap file that is whole after every write(), whenever its writer dies."""

    def __init__(self, path: Path | None) -> None:
        """`path` None is standard output; a file that is there is written anew, for its owner's
        eyes only. Raises OSError."""
        if path is None:
            self._file = io.FileIO(1, "w", closefd=False)
        else:
            self._file = io.FileIO(path, "w", opener=_open_private)
        self._write(PCAP_HEADER)

    def close(self) -> None:
        self._file.close()

    def write(self, copies: list[Copy]) -> None:
        """Add packets. Raises OSError."""
        pieces = []
        for copy in copies:
            seconds, nanoseconds = divmod(copy.time_ns, NS)
            size = len(copy.packet)
            pieces += [PCAP_RECORD.pack(seconds & 0xFFFFFFFF, nanoseconds, size, size), copy.packet]
        self._write(b"".join(pieces))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) or 0 :]


def _open_private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):  # one that was there may have been for all
        os.fchmod(descriptor, 0o600)
    return descriptor


class SnoopReceiver:
    """The UDP socket that copies are sent to. Raises OSError when it cannot be had."""

    def __init__(self, address: str, port: int) -> None:
        self.counters = SnoopCounters()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            self._enlarge_buffer()
            self.socket.bind((address, port))
        except OSError:
            self.socket.close()
            raise
        self.address: tuple[str, int] = self.socket.getsockname()

    def close(self) -> None:
        self.socket.close()

    def take(self, limit: int = AT_ONCE) -> list[Copy]:
        """The copies that have come, at most `limit`, in order."""
        copies: list[Copy] = []
        counters = self.counters
        for _ in range(AT_ONCE):
            if len(copies) >= limit:
                break
            try:
                data, ancillary, _flags, sender = self.socket.recvmsg(MAX_DATAGRAM, ANCILLARY_BYTES)
            except BlockingIOError:
                break
            time_ns = self._read_ancillary(ancillary)
            if not is_ip(data):
                counters.not_ip += 1
                continue
            counters.packets += 1
            counters.bytes += len(data)
            copies.append(Copy(time_ns, data, sender))
        return copies

    def _enlarge_buffer(self) -> None:
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):  # the first is for privileged users
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER_BYTES)
            except OSError:
                continue
            return

    def _read_ancillary(self, ancillary: list[tuple[int, int, bytes]]) -> int:
        time_ns = 0
        for level, kind, value in ancillary:
            if level != socket.SOL_SOCKET:
                continue
            if kind == SO_TIMESTAMPNS and len(value) == TIMESPEC.size:
                seconds, nanoseconds = TIMESPEC.unpack(value)
                time_ns = seconds * NS + nanoseconds
            elif kind == SO_RXQ_OVFL:
                self.counters.lost = int.from_bytes(value, sys.byteorder)
        return time_ns or time.time_ns()


def is_ip(data: bytes) -> bool:
    """Whether a datagram holds what looks like an IP packet."""
    if not data:
        return False
    return (data[0] >> 4 == 4 and len(data) >= MIN_IPV4) or (
        data[0] >> 4 == 6 and len(data) >= MIN_IPV6
    )


def describe(packet: bytes) -> str:
    """An IP packet in a line: `10.0.0.1:5000 > 192.0.2.1:53 UDP 76`."""
    addresses: tuple[str, str]
    if packet[0] >> 4 == 4:
        addresses = str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
        protocol, payload_at = packet[9], (packet[0] & 0xF) * 4
        is_later_fragment = bool(int.from_bytes(packet[6:8]) & 0x1FFF)
    else:
        addresses = f"[{IPv6Address(packet[8:24])}]", f"[{IPv6Address(packet[24:40])}]"
        protocol, payload_at, is_later_fragment = packet[6], MIN_IPV6, False
    source, destination = addresses
    ports = packet[payload_at : payload_at + 4]
    if protocol in WITH_PORTS and len(ports) == 4 and not is_later_fragment:
        source += f":{int.from_bytes(ports[:2])}"
        destination += f":{int.from_bytes(ports[2:])}"
    name = PROTOCOLS.get(protocol, f"protocol {protocol}")
    fragment = " fragment" if is_later_fragment else ""
    return f"{source} > {destination} {name} {len(packet)}{fragment}"
