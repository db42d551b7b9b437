"""A router that takes its time: it speaks just enough BGP (RFC 4271) to learn routes, and says
nothing on a connection before it is told to."""

import asyncio
import socket
import struct

from l2tpns_core.lab.netns import Namespace

MARKER = b"\xff" * 16
OPEN, UPDATE, KEEPALIVE = 1, 2, 4
HOLD_S = 90


class SlowRouter:
    """Listens in a namespace of the lab; `routes` is what it has learned."""

    def __init__(self, space: Namespace, address: str, asn: int) -> None:
        self._asn = asn
        self.routes: set[str] = set()
        self.connected, self.may_speak = asyncio.Event(), asyncio.Event()
        self._socket = space.call(lambda: socket.create_server((address, 179)))
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "SlowRouter":
        self._server = await asyncio.start_server(self._accept, sock=self._socket)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connected.set()
        self._tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._speak(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.may_speak.wait()
        ipv4_unicast = struct.pack("!BBHBB", 1, 4, 1, 0, 1)
        capabilities = ipv4_unicast + struct.pack("!BBI", 65, 4, self._asn)
        options = struct.pack("!BB", 2, len(capabilities)) + capabilities
        body = struct.pack("!BHHIB", 4, self._asn, HOLD_S, self._asn, len(options)) + options
        writer.write(_message(OPEN, body) + _message(KEEPALIVE))
        while True:
            length, kind = struct.unpack("!16xHB", await reader.readexactly(19))
            body = await reader.readexactly(length - 19)
            if kind == UPDATE:
                self._update(body)

    def _update(self, body: bytes) -> None:
        withdrawn_end = 2 + int.from_bytes(body[:2], "big")
        length = int.from_bytes(body[withdrawn_end : withdrawn_end + 2], "big")
        self.routes -= _prefixes(body[2:withdrawn_end])
        self.routes |= _prefixes(body[withdrawn_end + 2 + length :])


def _message(kind: int, body: bytes = b"") -> bytes:
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def _prefixes(data: bytes) -> set[str]:
    found = set()
    while data:
        octets = (data[0] + 7) // 8
        address = socket.inet_ntoa(data[1 : 1 + octets].ljust(4, b"\0"))
        found.add(f"{address}/{data[0]}")
        data = data[1 + octets :]
    return found
