"""What subscribers find behind the LNS: web and name servers, of the garden and of the world, and a
server whose answers are not what it was sent.

As a program, `outside.py` serves on the addresses below, which must be there.
"""

import asyncio
import socket
import struct
import sys
from pathlib import Path
from typing import cast

from interop.lineup import DNS, HOST, Host
from interop.namespaces import Child, Namespace, wait_for

WEB = "203.0.113.80"
"""A web server of the world; it has a port for logins, too."""
GARDEN = "192.168.1.1"
"""The garden's web and name server, in the manual's example."""
UNPAID = "192.168.1.2"
"""The web server of the garden `unpaid`."""
NAME_SERVER = DNS[0]
"""The name server that subscribers are told to use."""
ADDRESSES = (WEB, GARDEN, UNPAID, NAME_SERVER)
LOGIN_PORT = 22
EXCHANGE_PORT = 7777
START_TIMEOUT_S = 10
READY = "ready\n"


class Outside:
    """The servers, running beside a Host."""

    def __init__(self, lns: Namespace, host: Host, directory: Path) -> None:
        self._lns, self._namespace = lns, host.namespace
        for address in ADDRESSES:
            self._namespace.ip("addr", "add", f"{address}/32", "dev", "lo")
            lns.ip("route", "add", address, "via", HOST)
        environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
        command = self._namespace.command(sys.executable, "-m", "interop.outside")
        self._child = Child(command, directory / "outside", environment)
        try:
            wait_for(lambda: READY in self._child.output(), START_TIMEOUT_S, "servers outside")
        except BaseException:
            self.close()
            raise

    def asked(self) -> list[str]:
        """What the servers were asked so far: lines of `http|dns ADDRESS CLIENT WHAT`."""
        return self._child.output().splitlines()[1:]

    def close(self) -> None:
        self._child.stop()
        for address in ADDRESSES:
            self._lns.ip("route", "del", address)
            self._namespace.ip("addr", "del", f"{address}/32", "dev", "lo")


def complement(data: bytes) -> bytes:
    """What the exchange server answers."""
    return bytes(octet ^ 0xFF for octet in data)


# ---- the program


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    here = writer.get_extra_info("sockname")[0]
    host = next(line.split()[1] for line in request if line.lower().startswith("host:"))
    print("http", here, writer.get_extra_info("peername")[0], host, flush=True)
    body = f"this is {here}\n"
    writer.write(f"HTTP/1.0 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    writer.close()


async def _login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"login:\n")
    await reader.read()
    writer.close()


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = int(await reader.readline())
    writer.write(complement(await reader.readexactly(size)))
    writer.close()


class _Udp(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)


class _Complement(_Udp):
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(complement(data), addr)


class _Names(_Udp):
    """Answers every question with one address (RFC 1035 section 4)."""

    def __init__(self, here: str, answer: str) -> None:
        self._here, self._answer = here, answer

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(0, 12) + 5
        labels, position = [], 12
        while data[position]:
            labels.append(data[position + 1 : position + 1 + data[position]].decode())
            position += 1 + data[position]
        print("dns", self._here, addr[0], ".".join(labels), flush=True)
        kind = int.from_bytes(data[end - 4 : end - 2])
        answers = int(kind == 1)
        header = struct.pack("!2sHHHHH", data[:2], 0x8580, 1, answers, 0, 0)
        record = struct.pack("!HHHIH4s", 0xC00C, 1, 1, 0, 4, socket.inet_aton(self._answer))
        self.transport.sendto(header + data[12:end] + record * answers, addr)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    for address in (WEB, GARDEN, UNPAID):
        await asyncio.start_server(_http, address, 80)
    await asyncio.start_server(_login, WEB, LOGIN_PORT)
    await asyncio.start_server(_exchange, WEB, EXCHANGE_PORT)
    for here, answer in ((GARDEN, GARDEN), (NAME_SERVER, WEB)):
        await loop.create_datagram_endpoint(
            lambda here=here, answer=answer: _Names(here, answer),  # type: ignore[misc]
            (here, 53),
        )
    await loop.create_datagram_endpoint(_Complement, (WEB, EXCHANGE_PORT))
    print(READY, end="", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
