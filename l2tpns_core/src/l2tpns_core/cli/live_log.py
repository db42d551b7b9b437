"""Log lines for an operator who watches (manual, `debug`): `LEVEL-TUNNEL-SESSION message`.

What is watched is what is logged: the directive debug decides how much that is.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Final

from l2tpns_core.cli.protocol import encode_frame
from l2tpns_core.observe.log import CALLS
from l2tpns_core.observe.text import printable

LOGGER: Final = "l2tpns"
CRITICAL: Final = "critical"
FLAGS: Final = {
    CRITICAL: logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "calls": CALLS,
    "data": logging.DEBUG,
}
"""What can be watched, and the lowest level of its records."""
TAGS: Final = {
    CRITICAL: "CRIT",
    "error": "ERROR",
    "warning": "WARN",
    "info": "INFO",
    "calls": "CALL",
    "data": "DATA",
}
MAX_WAITING: Final = 1000
"""Lines that wait for an operator; what is more is lost, and counted."""


class LiveLog(logging.Handler):
    """The lines of some kinds, until close()."""

    def __init__(self, flags: Iterable[str], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._flags = frozenset(flags)
        self._loop = loop
        self._lines: deque[str] = deque()
        self._lost = 0
        self._ready = asyncio.Event()
        self._is_closed = False
        logging.getLogger(LOGGER).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        flag = _flag_of(record.levelno)
        if flag not in self._flags:
            return
        if len(self._lines) >= MAX_WAITING:
            self._lost += 1
            return
        fields = record.__dict__
        ids = f"{fields.get('tunnel') or 0}-{fields.get('session') or 0}"
        try:
            text = printable(record.getMessage())
        except Exception:  # noqa: BLE001 - a wrong log call must not end what is being logged
            self.handleError(record)
            return
        self._lines.append(f"{TAGS[flag]}-{ids} {text}\n")
        if not self._ready.is_set() and not self._is_closed:
            self._loop.call_soon_threadsafe(self._ready.set)

    def close(self) -> None:
        self._is_closed = True
        logging.getLogger(LOGGER).removeHandler(self)
        super().close()

    async def lines(self) -> str:
        """The next lines, as soon as there are any."""
        await self._ready.wait()
        self._ready.clear()
        text = "".join(self._lines)
        self._lines.clear()
        if self._lost:
            text += f"({self._lost} log lines were lost)\n"
            self._lost = 0
        return text


async def follow(text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send lines of the kinds that a request names, until the client says anything or goes."""
    live = LiveLog(text.split(), asyncio.get_running_loop())
    gone = asyncio.ensure_future(reader.read(1))
    try:
        while not gone.done():
            waiting = asyncio.ensure_future(live.lines())
            await asyncio.wait((waiting, gone), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                waiting.cancel()
                break
            writer.write(encode_frame({"text": waiting.result()}))
            await writer.drain()
    finally:
        gone.cancel()
        live.close()


def _flag_of(level: int) -> str:
    """The kind of a record; what is always logged is information."""
    if level > logging.CRITICAL:
        return "info"
    return next((flag for flag, lowest in FLAGS.items() if level >= lowest), "data")
