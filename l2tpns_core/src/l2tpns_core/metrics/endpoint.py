"""The listener that Prometheus scrapes: one path, answered once per connection.

Whoever connects has a few seconds and a few kilobytes, and there are few places, so that clients
who never ask, never read or never end cost nothing that subscribers would feel.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

log = logging.getLogger("l2tpns.metrics")

MAX_CLIENTS: Final = 8
MAX_REQUEST_BYTES: Final = 8192
TIMEOUT_S: Final = 10.0
PATH: Final = "/metrics"
PAGE: Final = (
    b"<!doctype html><title>l2tpns</title><p>Metrics for Prometheus: "
    b'<a href="/metrics">/metrics</a>\n'
)
HTML: Final = "text/html; charset=utf-8"
PLAIN: Final = "text/plain; charset=utf-8"

Render = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Makes the answer, from the header Accept: content type and text."""


class Endpoint:
    """The listener, from open() to close()."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self.refused = 0
        """Clients for whom there was no place."""

    async def open(self, address: str, port: int) -> None:
        """Raises OSError."""
        self._server = await asyncio.start_server(
            self._accept, address, port, limit=MAX_REQUEST_BYTES, backlog=MAX_CLIENTS
        )

    async def close(self) -> None:
        """End the listener and every client."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            self.refused += 1
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                try:
                    await self._answer(reader, writer)
                except asyncio.LimitOverrunError:
                    _send(writer, "431 Request Header Fields Too Large", PLAIN, b"too long\n")
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        except Exception:
            log.exception("a scrape failed")
        finally:
            writer.transport.abort()  # of one that is closed already this does nothing

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
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
