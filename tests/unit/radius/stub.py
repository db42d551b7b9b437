"""A RADIUS server that does as a test tells it, on 127.0.0.1. Its packets are pyrad's."""

import asyncio
import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from pyrad.packet import AcctPacket, AuthPacket

SECRET = b"testing123"
ACCEPT, REJECT, CHALLENGE, ACCOUNTING_RESPONSE = 2, 3, 11, 5


@dataclass
class Received:
    """A request as the server got it."""

    octets: bytes
    source: tuple[str, int]
    at: float

    @property
    def code(self) -> int:
        return self.octets[0]

    @property
    def identifier(self) -> int:
        return self.octets[1]

    @property
    def authenticator(self) -> bytes:
        return self.octets[4:20]

    @property
    def attributes(self) -> list[tuple[int, bytes]]:
        return walk(self.octets[20:])

    def values(self, kind: int) -> list[bytes]:
        return [value for own, value in self.attributes if own == kind]

    def vendor_values(self, vendor: int, kind: int) -> list[bytes]:
        """Values of a vendor's attribute, each alone in its envelope."""
        start = struct.pack("!IB", vendor, kind)
        return [value[6:] for value in self.values(26) if value[:5] == start]

    def number(self, kind: int) -> int:
        (value,) = self.values(kind)
        assert len(value) == 4
        return int.from_bytes(value)


def walk(octets: bytes) -> list[tuple[int, bytes]]:
    attributes = []
    while octets:
        length = octets[1]
        assert 2 <= length <= len(octets)
        attributes.append((octets[0], octets[2:length]))
        octets = octets[length:]
    return attributes


def reply_octets(
    request: bytes,
    code: int = ACCEPT,
    attributes: bytes = b"",
    secret: bytes = SECRET,
    message_authenticator: bool = True,
    at_the_end: bool = False,
) -> bytes:
    """A reply built here by hashlib alone, with exactly these attributes."""
    if message_authenticator:
        empty = b"\x50\x12" + bytes(16)
        attributes = attributes + empty if at_the_end else empty + attributes
    header = struct.pack("!BBH", code, request[1], 20 + len(attributes))
    if message_authenticator:
        vector = bytes(16) if code == ACCOUNTING_RESPONSE else request[4:20]
        digest = hmac.new(secret, header + vector + attributes, "md5").digest()
        if at_the_end:
            attributes = attributes[:-16] + digest
        else:
            attributes = attributes[:2] + digest + attributes[18:]
    digest = hashlib.md5(header + request[4:20] + attributes + secret).digest()
    return header + digest + attributes


def pyrad_reply(request: bytes) -> bytes:
    """What pyrad's server side answers: accept, or acknowledge."""
    if request[0] == 4:
        packet = AcctPacket(packet=request, secret=SECRET)
        assert packet.VerifyAcctRequest()
        reply = packet.CreateReply()
    else:
        packet = AuthPacket(packet=request, secret=SECRET)
        assert packet.verify_message_authenticator()
        reply = packet.CreateReply()
    octets = reply.ReplyPacket()
    assert isinstance(octets, bytes)
    return octets


Behaviour = Callable[["Stub", Received], None]


def answer(stub: "Stub", request: Received) -> None:
    stub.send(request, pyrad_reply(request.octets))


def be_silent(stub: "Stub", request: Received) -> None:
    """A server that hangs."""


@dataclass
class Stub(asyncio.DatagramProtocol):
    behave: Behaviour = answer
    requests: list[Received] = field(default_factory=list)
    transport: asyncio.DatagramTransport | None = None

    async def start(self, port: int = 0) -> "Stub":
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))
        return self

    @property
    def port(self) -> int:
        assert self.transport is not None
        port = self.transport.get_extra_info("sockname")[1]
        assert isinstance(port, int)
        return port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = Received(data, addr, asyncio.get_running_loop().time())
        self.requests.append(request)
        self.behave(self, request)

    def send(self, request: Received, octets: bytes) -> None:
        assert self.transport is not None
        self.transport.sendto(octets, request.source)

    def send_later(self, delay_s: float, request: Received, octets: bytes) -> None:
        asyncio.get_running_loop().call_later(delay_s, self.send, request, octets)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
