"""Log lines to the local syslog daemon, from a thread of their own (manual, "log_file").

The caller never waits: lines go through a bounded queue, and what does not fit is counted and
reported when there is room again.
"""

import logging
import os
import queue
import socket
import sys
import threading
import time
from typing import Final, TextIO

FACILITIES: Final = {
    "kern": 0,
    "user": 1,
    "mail": 2,
    "daemon": 3,
    "auth": 4,
    "syslog": 5,
    "lpr": 6,
    "news": 7,
    "uucp": 8,
    "cron": 9,
    "authpriv": 10,
    "ftp": 11,
    **{f"local{number}": 16 + number for number in range(8)},
}
SYSLOG_PREFIX: Final = "syslog:"
SYSLOG_SOCKET: Final = "/dev/log"
MAX_QUEUED_LINES: Final = 10_000
SEND_TIMEOUT_S: Final = 2.0
RETRY_S: Final = 30.0
"""How long lines go to stdout before syslog is tried again."""
CLOSE_TIMEOUT_S: Final = 3.0
SEVERITIES: Final = (
    (logging.CRITICAL + 1, 5),
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 5),
    (logging.DEBUG + 1, 6),
    (logging.NOTSET, 7),
)
"""The lowest level of a record for each severity of RFC 5424; above critical is a notice."""
NOTICE: Final = 5


def severity_of(level: int) -> int:
    """The syslog severity of a record."""
    return next(severity for lowest, severity in SEVERITIES if level >= lowest)


class SyslogHandler(logging.Handler):
    """Hands formatted lines to a thread that writes them to `path`, a datagram socket."""

    def __init__(
        self, facility: str, *, path: str = SYSLOG_SOCKET, fallback: TextIO | None = None
    ) -> None:
        """Raises KeyError for an unknown facility."""
        super().__init__()
        self._facility = FACILITIES[facility]
        self._writer = _Writer(path, fallback)
        self._queue: queue.Queue[tuple[int, str] | None] = queue.Queue(MAX_QUEUED_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="syslog", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        priority = self._facility << 3 | severity_of(record.levelno)
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - a wrong log call must not end what is being logged
            self.handleError(record)
            return
        for line in text.split("\n"):
            self._put(priority, line)

    def close(self) -> None:
        """Write what is queued, as far as syslog takes it in CLOSE_TIMEOUT_S."""
        if self._thread.is_alive():
            try:
                self._queue.put(None, timeout=CLOSE_TIMEOUT_S)
            except queue.Full:
                pass
            self._thread.join(CLOSE_TIMEOUT_S)
        super().close()

    def _put(self, priority: int, line: str) -> None:
        try:
            if self._dropped:
                lost = f"00/00 {self._dropped} log lines were lost"
                self._queue.put_nowait((self._facility << 3 | NOTICE, lost))
                self._dropped = 0
            self._queue.put_nowait((priority, line))
        except queue.Full:
            self._dropped += 1

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._writer.write(*item)
        self._writer.close()


class _Writer:
    """The thread's end: the socket, and stdout while the socket does not work."""

    def __init__(self, path: str, fallback: TextIO | None) -> None:
        self._path = path
        self._fallback = fallback
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self._ident = f"l2tpns[{os.getpid()}]"

    def write(self, priority: int, line: str) -> None:
        stamp = time.strftime("%b %e %H:%M:%S")
        datagram = f"<{priority}>{stamp} {self._ident}: {line}".encode("utf-8", "replace")
        now = time.monotonic()
        if self._socket is not None or now >= self._retry_at:
            error = self._send(datagram)
            if error is None:
                return
            if not self._retry_at:
                self._print(f"00/00 syslog does not take log lines ({error}), they go to stdout")
            self._retry_at = now + RETRY_S
        self._print(line)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, datagram: bytes) -> OSError | None:
        """Send on the open socket, or on a new one when syslog was restarted."""
        failure: OSError | None = None
        for _ in range(2):
            fresh = self._socket is None
            try:
                if self._socket is None:
                    self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                    self._socket.settimeout(SEND_TIMEOUT_S)
                    self._socket.connect(self._path)
                self._socket.send(datagram)
            except OSError as error:
                failure = error
                self.close()
                if fresh or isinstance(error, TimeoutError):
                    break
            else:
                self._retry_at = 0.0
                return None
        return failure

    def _print(self, line: str) -> None:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            print(stamp, line, file=self._fallback or sys.stdout, flush=True)
        except (OSError, ValueError):
            pass
