"""A telnet client's connection: keys in, text out, both bounded."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from l2tpns_core.cli.telnet_codec import TelnetCodec
from l2tpns_core.cli.terminal_keys import Key, KeyDecoder

READ_BYTES: Final = 2048
MAX_WAITING_KEYS: Final = 4096
"""Typed ahead; then the client is not read until some are used up."""
MAX_LOGIN_BYTES: Final = 4096
"""What a client may send before it has logged in."""
WRITE_BUFFER_BYTES: Final = 65_536
"""Output that waits for the client before the command does."""
MAX_BUFFER_BYTES: Final = 262_144
"""Output that waits for a client that does not read; then it is cut off."""
FAREWELL_S: Final = 5.0
STALLED_S: Final = 120.0
"""How long a client may leave output unread before it is cut off."""


class HungUpError(Exception):
    """The client is gone, or has sent all it wants to."""


class Wire(asyncio.BufferedProtocol):
    """One connection. Bytes are read into one small buffer that all connections share."""

    _shared = bytearray(READ_BYTES)

    def __init__(self, on_made: "Callable[[Wire], object]") -> None:
        self.codec = TelnetCodec()
        self.on_interrupt: Callable[[], object] | None = None
        """Called for ^C, in place of putting it behind what was typed before."""
        self.speaks_first = False
        """The client began with text, as programs do that want no dialogue."""
        self.closed = asyncio.Event()
        self.idle_s: float | None = None
        self._on_made = on_made
        self._decoder = KeyDecoder()
        self._keys: deque[str | Key] = deque()
        self._arrived = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._login_bytes: int | None = 0
        self._ended = False
        self._has_spoken = False

    # Called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._on_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        self._drained.set()
        self._arrived.set()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._shared

    def buffer_updated(self, nbytes: int) -> None:
        if self._login_bytes is not None:
            self._login_bytes += nbytes
            if self._login_bytes > MAX_LOGIN_BYTES:
                self.abort()
                return
        keys = self._decoder.decode(self.codec.receive(bytes(self._shared[:nbytes])))
        self._send(self.codec.take_replies())
        if not self._has_spoken:
            self._has_spoken = True
            self.speaks_first = not self.codec.is_telnet
        if self.on_interrupt is not None and Key.INTERRUPT in keys:
            self._keys.clear()
            keys = keys[keys.index(Key.INTERRUPT) + 1 :]
            self.on_interrupt()
        self._keys.extend(keys)
        if len(self._keys) > MAX_WAITING_KEYS:
            self._transport.pause_reading()
        self._arrived.set()

    def eof_received(self) -> bool:
        self._ended = True
        self._arrived.set()
        return True

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    # Called by the session

    def trust(self) -> None:
        """The client has logged in: it may send as much as it likes."""
        self._login_bytes = None

    async def listen(self, seconds: float) -> None:
        """Wait for the client's first bytes, not for long."""
        try:
            async with asyncio.timeout(seconds):
                await self._arrived.wait()
        except TimeoutError:
            self._has_spoken = True  # whatever it says later, it waited for us

    async def key(self) -> str | Key:
        """The next key. Raises HungUpError, and TimeoutError after `idle_s`."""
        while not self._keys:
            if self._ended or self.closed.is_set():
                raise HungUpError
            self._arrived.clear()
            async with asyncio.timeout(self.idle_s):
                await self._arrived.wait()
        key = self._keys.popleft()
        if len(self._keys) == MAX_WAITING_KEYS and not self.closed.is_set():
            self._transport.resume_reading()
        return key

    def offer(self) -> None:
        """Ask for the options of the protocol."""
        self.codec.offer()
        self._send(self.codec.take_replies())

    def write(self, text: str) -> None:
        """Send text. Lines end as the client's own do."""
        if not self.speaks_first or self._decoder.saw_return:
            text = text.replace("\n", "\r\n")
        self._send(text.encode("utf-8", "replace"))

    async def drain(self) -> None:
        """Wait until the client has taken most of it. Raises HungUpError."""
        try:
            async with asyncio.timeout(STALLED_S):
                await self._drained.wait()
        except TimeoutError:
            self.abort()
        if self.closed.is_set():
            raise HungUpError

    @property
    def is_behind(self) -> bool:
        """The client does not take what is sent."""
        return not self._drained.is_set()

    @property
    def address(self) -> str:
        """The client's IP address."""
        return str(self._transport.get_extra_info("peername")[0])

    def finish(self) -> None:
        """Hang up when what is waiting has been sent; soon, even if the client does not read."""
        if not self._transport.is_closing():
            self._transport.close()
            asyncio.get_running_loop().call_later(FAREWELL_S, self._transport.abort)

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    def _send(self, data: bytes) -> None:
        if not data or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() + len(data) > MAX_BUFFER_BYTES:
            self.abort()
            return
        self._transport.write(data)
