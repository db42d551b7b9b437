"""The listener that Prometheus scrapes: one path, answered once per connection.

Whoever connects has a few seconds and a few kilobytes, there are few places, and they are given
out at a pace, so that clients who never ask, never read or never end cost nothing that subscribers
would feel. Nor do they keep Prometheus out: whoever holds a place for nothing loses it to the next.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger("l2tpns.metrics")

MAX_CLIENTS: Final = 8
MAX_REQUEST_BYTES: Final = 8192
TIMEOUT_S: Final = 10.0
BACKLOG: Final = 64
"""Clients whom the kernel keeps until their turn."""
PACE_S: Final = 0.02
"""Between two clients: what each costs the loop is a small part of that."""
PATH: Final = "/metrics"
PAGE: Final = (
    b"<!doctype html><title>l2tpns</title><p>Metrics for Prometheus: "
    b'<a href="/metrics">/metrics</a>\n'
)
HTML: Final = "text/html; charset=utf-8"
PLAIN: Final = "text/plain; charset=utf-8"

Render = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Makes the answer, from the header Accept: content type and text."""


class Client:
    """One connection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_served = False
        """Its answer is being made: it does not lose its place."""
        self.task: asyncio.Task[None] | None = None


class Endpoint:
    """The listener, from open() to close()."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._listening: asyncio.Task[None] | None = None
        self._clients: dict[Client, None] = {}

    async def open(self, address: str, port: int) -> None:
        """Raises OSError."""
        listener = socket.create_server((address, port), backlog=BACKLOG)
        listener.setblocking(False)
        self._listening = asyncio.get_running_loop().create_task(self._listen(listener))

    async def close(self) -> None:
        """End the listener and every client."""
        tasks = [client.task for client in self._clients]
        tasks.append(self._listening)
        ending = [task for task in tasks if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._listening = None

    async def _listen(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connection, peer = await loop.sock_accept(listener)
                except OSError as error:  # no descriptor left, or the client is gone again
                    log.debug("cannot accept a client: %s", error)
                else:
                    await self._admit(connection, peer[0])
                await asyncio.sleep(PACE_S)

    async def _admit(self, connection: socket.socket, address: str) -> None:
        while len(self._clients) >= MAX_CLIENTS and not self._make_room():
            # All are being served: a place is free in a moment.
            tasks = [client.task for client in self._clients if client.task is not None]
            await asyncio.wait(tasks, timeout=PACE_S, return_when=asyncio.FIRST_COMPLETED)
        client = Client(address)
        client.task = asyncio.get_running_loop().create_task(self._serve(client, connection))
        self._clients[client] = None

        def forget(_: asyncio.Task[None]) -> None:
            self._clients.pop(client, None)
            connection.close()

        client.task.add_done_callback(forget)

    def _make_room(self) -> bool:
        """Take its place from the oldest client who is not being served, at the address that has
        most of them; False if there is none."""
        idle = [client for client in self._clients if not client.is_served]
        if not idle:
            return False
        greedy = Counter(client.address for client in idle).most_common(1)[0][0]
        victim = next(client for client in idle if client.address == greedy)
        assert victim.task is not None
        victim.task.cancel()
        del self._clients[victim]
        return True

    async def _serve(self, client: Client, connection: socket.socket) -> None:
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reader, writer = await asyncio.open_connection(
                    sock=connection, limit=MAX_REQUEST_BYTES
                )
                try:
                    await self._answer(client, reader, writer)
                except asyncio.LimitOverrunError:
                    _send(writer, "431 Request Header Fields Too Large", PLAIN, b"too long\n")
                client.is_served = False
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        except Exception:
            log.exception("a scrape failed")
        finally:
            if writer is not None:
                writer.transport.abort()  # of one that is closed already this does nothing

    async def _answer(
        self, client: Client, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        client.is_served = True
        first, *fields = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            _send(writer, "405 Method Not Allowed", PLAIN, b"GET is all there is\n")
        elif path == PATH:
            kind, text = await self._render(_field(fields, "accept"))
            _send(writer, "200 OK", kind, text, head_only=method == "HEAD")
        elif path == "/":
            _send(writer, "200 OK", HTML, PAGE, head_only=method == "HEAD")
        else:
            _send(writer, "404 Not Found", PLAIN, b"the metrics are at /metrics\n")


def _field(fields: list[str], name: str) -> str:
    for field in fields:
        key, _, value = field.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""


def _send(
    writer: asyncio.StreamWriter, status: str, kind: str, text: bytes, *, head_only: bool = False
) -> None:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\n"
        "Connection: close\r\n\r\n"
    )
    writer.write(head.encode() + (b"" if head_only else text))
