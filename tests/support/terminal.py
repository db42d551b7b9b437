"""A program on a pseudo-terminal, driven as expect does: send, and wait for what comes."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from types import TracebackType
from typing import Self

WAIT_S = 20.0
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>78]")
"""What moves the cursor or colours text."""


class TerminalProgram:
    """A program whose terminal this is; leaving ends it."""

    def __init__(
        self,
        argv: Sequence[str],
        rows: int = 24,
        columns: int = 160,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm", **(environment or {})},
        )
        os.close(slave)
        self.text = ""
        """What has come and was not waited for, without escape codes and carriage returns."""
        self._raw = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self._master)

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def until(self, pattern: str) -> str:
        """Everything up to a regular expression's match, and with it."""
        deadline = time.monotonic() + WAIT_S
        while not (found := re.search(pattern, self.text)):
            assert self._read(deadline - time.monotonic()), f"{pattern!r} is not in {self.text!r}"
        text, self.text = self.text[: found.end()], self.text[found.end() :]
        return text

    def ended(self) -> int:
        """Wait for the program's end; its status."""
        deadline = time.monotonic() + WAIT_S
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(WAIT_S)

    def _read(self, timeout_s: float) -> bool:
        """Take what comes; False when nothing will."""
        if timeout_s <= 0 or not select.select([self._master], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # its other side is closed
            return False
        if b"\x1b[6n" in data:  # where is the cursor?
            os.write(self._master, b"\x1b[1;1R")
        self._raw += data
        whole = self._raw.rpartition(b"\x1b")[0] if self._raw[-8:].count(b"\x1b") else self._raw
        self._raw = self._raw[len(whole) :]
        self.text += ESCAPES.sub("", whole.decode(errors="replace")).replace("\r", "")
        return bool(data)
