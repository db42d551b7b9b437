"""What systemd is told (sd_notify(3)): ready, reloading, stopping, alive, and a line of status.

Without a service manager, which NOTIFY_SOCKET names, nothing is said.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

STATUS_INTERVAL_S: Final = 10.0


class ServiceManager:
    """The one that started this process, from its environment."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path[:1] == "@" else path
        self._watches = _is_watched(environment)
        self._next_status = 0.0
        self._status = ""

    def ready(self) -> None:
        """All sockets are bound, all routes made."""
        self._send("READY=1")

    def reloading(self) -> None:
        """The configuration is being read; ready() says that it is in force."""
        monotonic = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def alive(self, now: float, status: str) -> None:
        """To be called every second by what must not stand still; `status` is one line, of which
        every ten seconds the newest is told."""
        lines = ["WATCHDOG=1"] if self._watches else []
        if status != self._status and now >= self._next_status:
            self._status, self._next_status = status, now + STATUS_INTERVAL_S
            lines.append(f"STATUS={status}")
        if lines:
            self._send("\n".join(lines))

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(text.encode(), self._address)


def _is_watched(environment: Mapping[str, str]) -> bool:
    """Whether this very process has to say that it is alive (WatchdogSec)."""
    if not environment.get("WATCHDOG_USEC", "").isdecimal():
        return False
    return environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
