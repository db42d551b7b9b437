"""The frames of the load: what a subscriber sends and what is sent to one, for any session."""

import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

L2TP_PORT: Final = 1701
FREE_PORT: Final = 9
"""Where the load goes to; packets of sessions that are watched apart go to the port after it."""
CLIENT_PORT: Final = 1024
TTL: Final = 64
ETHERNET, IP, UDP, L2TP, PPP = 14, 20, 8, 6, 4
INNER: Final = ETHERNET + IP + UDP + L2TP + PPP
"""Where the subscriber's packet begins in a frame with L2TP."""
TUNNEL_BYTES: Final = INNER - ETHERNET
HEADERS: Final = INNER + IP + UDP


class Subscriber(NamedTuple):
    """A session as the load needs it: the LNS's ids and the address it gave."""

    tunnel_id: int
    session_id: int
    ip: str


class Field(NamedTuple):
    """Bytes of a frame that are different for each session."""

    offset: int
    size: int


@dataclass(slots=True, frozen=True)
class Load:
    """One frame as it is for the first session, and what the others have in its place."""

    frame: bytes
    headers: int
    """So many bytes of it are written anew each time: what forwards changes them."""
    fields: tuple[Field, ...]
    values: tuple[tuple[bytes, ...], ...]
    """The fields' values by session."""

    def row(self, number: int) -> bytes:
        return b"".join(self.values[number])


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source: str, target: str, payload: bytes) -> bytes:
    """An IPv4 packet with UDP in it."""
    return _ip_header(source, target, IP + len(payload)) + payload


def udp_datagram(source: int, target: int, payload: bytes) -> bytes:
    """Without a checksum, as over IPv4 it may be."""
    return struct.pack(">HHHH", source, target, UDP + len(payload), 0) + payload


def upward(
    ethernet: bytes,
    lac: str,
    lns: str,
    host: str,
    size: int,
    subscribers: Sequence[Subscriber],
    marked: Sequence[bool] = (),
) -> Load:
    """L2TP messages of a LAC to the LNS, with packets of `size` bytes from subscribers to a host.

    `lns` is where the outer packets go: a router that only forwards sends them on as they are.
    """

    def frame(one: Subscriber, port: int) -> bytes:
        inner = ip_packet(one.ip, host, udp_datagram(CLIENT_PORT, port, bytes(size - IP - UDP)))
        header = struct.pack(">HHH", 2, one.tunnel_id, one.session_id) + b"\xff\x03\x00\x21"
        outer = udp_datagram(L2TP_PORT, L2TP_PORT, header + inner)
        return ethernet + ip_packet(lac, lns, outer)

    ids, check, address, port = (
        Field(ETHERNET + IP + UDP + 2, 4),
        Field(INNER + 10, 2),
        Field(INNER + 12, 4),
        Field(INNER + IP + 2, 2),
    )
    return _load(frame, HEADERS, (ids, check, address, port), subscribers, marked)


def downward(
    ethernet: bytes,
    host: str,
    size: int,
    subscribers: Sequence[Subscriber],
    marked: Sequence[bool] = (),
) -> Load:
    """Packets of `size` bytes from a host to subscribers."""

    def frame(one: Subscriber, port: int) -> bytes:
        return ethernet + ip_packet(
            host, one.ip, udp_datagram(CLIENT_PORT, port, bytes(size - IP - UDP))
        )

    check, address, port = (
        Field(ETHERNET + 10, 2),
        Field(ETHERNET + 16, 4),
        Field(ETHERNET + IP + 2, 2),
    )
    return _load(frame, ETHERNET + IP + UDP, (check, address, port), subscribers, marked)


def _load(
    frame: Callable[[Subscriber, int], bytes],
    headers: int,
    fields: tuple[Field, ...],
    subscribers: Iterable[Subscriber],
    marked: Sequence[bool],
) -> Load:
    values = []
    first = b""
    for number, one in enumerate(subscribers):
        port = FREE_PORT + bool(marked and marked[number])
        built = frame(one, port)
        first = first or built
        values.append(tuple(built[at : at + size] for at, size in fields))
    return Load(first, headers, fields, tuple(values))


def _ip_header(source: str, target: str, length: int) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    blank = struct.pack(">BBHHHBBH", 0x45, 0, length, 0, 0x4000, TTL, 17, 0) + addresses
    return blank[:10] + struct.pack(">H", checksum(blank)) + blank[12:]
