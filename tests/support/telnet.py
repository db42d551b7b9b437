"""The telnet listener as a process, and clients of it that send exactly what the test wants."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

TERMINAL = b"\xff\xfd\x01\xff\xfd\x03\xff\xfb\x1f"
"""What a telnet program answers to the offer: DO ECHO, DO SGA, WILL NAWS."""
WAIT_S = 15.0


class TelnetProcess:
    """A listener on a port of its own choice; leaving ends it."""

    def __init__(
        self,
        cli_socket: str | Path,
        users: str | Path,
        *extra: str,
        bind: str = "127.0.0.1",
        popen: Callable[..., subprocess.Popen[str]] = subprocess.Popen,
    ) -> None:
        """`popen` starts it, for instance in a namespace."""
        self._popen = popen
        self._arguments = [
            sys.executable, "-m", "l2tpns_core.cli.telnet", "--socket", str(cli_socket),
            "--users", str(users), "--bind", bind, "--port", "0", "--supervised", *extra,
        ]  # fmt: skip
        self.lines: list[str] = []
        """What it logs."""

    def __enter__(self) -> Self:
        self.process = self._popen(
            self._arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        if "telnet on" not in first:
            self.process.communicate(timeout=WAIT_S)
            raise AssertionError(first)
        self.port = int(first.rpartition(":")[2])
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stderr is not None
        self.process.stdin.close()
        try:
            self.process.wait(WAIT_S)
        finally:
            self.process.kill()
            self._reader.join(WAIT_S)
            self.process.stderr.close()

    @property
    def network_pid(self) -> int:
        """The half that talks with clients."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def wait_for_line(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not any(text in line for line in list(self.lines)):
            assert time.monotonic() < deadline, (text, self.lines)
            time.sleep(0.02)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())


class Caller:
    """One client."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        connection.settimeout(WAIT_S)
        self.received = b""

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def until(self, wanted: bytes) -> bytes:
        """Everything up to a text, behind what was read before."""
        while wanted not in self.received:
            data = self.connection.recv(65_536)
            assert data, f"{wanted!r} did not come: {self.received!r}"
            self.received += data
        before, found, self.received = self.received.partition(wanted)
        return before + found

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while data := self.connection.recv(65_536):
            self.received += data
        data, self.received = self.received, b""
        return data

    def quiet_for(self, seconds: float) -> bool:
        """Whether nothing comes for a while."""
        self.connection.settimeout(seconds)
        try:
            self.received += self.connection.recv(65_536)
            return False
        except TimeoutError:
            return True
        finally:
            self.connection.settimeout(WAIT_S)


@contextlib.contextmanager
def call(port: int, address: str = "127.0.0.1") -> Iterator[Caller]:
    with socket.create_connection((address, port), WAIT_S) as connection:
        yield Caller(connection)


@contextlib.contextmanager
def terminal(port: int, width: int = 80, height: int = 24) -> Iterator[Caller]:
    """A client that has its echo from us, at the first prompt."""
    size = b"\xff\xfa\x1f" + width.to_bytes(2) + height.to_bytes(2) + b"\xff\xf0"
    with call(port) as caller:
        caller.send(TERMINAL + size)
        caller.until(b"> ")
        yield caller


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")
