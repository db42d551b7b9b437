"""The shell's end of the Unix socket: blocking, one request at a time."""

import socket
from collections.abc import Callable
from typing import Any

from l2tpns_core.cli.grammar import Mode
from l2tpns_core.cli.protocol import (
    MODES,
    VIEWER,
    ProtocolError,
    Request,
    decode_frame,
    encode_request,
)


class DaemonUnreachableError(Exception):
    """Nobody answers on the socket; the text says what to do about it."""


class Client:
    """A connection to the daemon that remembers the mode and the prompt."""

    def __init__(self, path: str) -> None:
        """Raises DaemonUnreachableError."""
        self.path = path
        self.mode: Mode | None = Mode.EXEC
        """None when the daemon has ended the shell."""
        self.section = ""
        """What the mode is about."""
        self.prompt = ""
        self.action: list[str] = []
        """What the last command asks the shell to do (cli.actions)."""
        self._connect()

    def run(self, line: str, write: Callable[[str], object], *, as_json: bool = False) -> str:
        """Carry out a command, handing its output to `write`; returns the error, "" for none.

        Raises DaemonUnreachableError.
        """
        request = Request("line", line, self.mode or Mode.EXEC, as_json, self.section)
        last = self._ask(request, write)
        mode = last.get("mode")
        self.mode = MODES.get(mode) if isinstance(mode, str) else None
        self.section = str(last.get("section", ""))
        self.prompt = str(last.get("prompt", ""))
        self.action = [str(word) for word in last.get("action", ())]
        return "" if last.get("status") == "ok" else str(last.get("error", "it failed"))

    def complete(self, line: str) -> tuple[int, list[tuple[str, str]]]:
        """Where the last word of a line begins, and what it may become, with help."""
        last = self._ask(Request("complete", line, self.mode or Mode.EXEC))
        return int(last.get("start", len(line))), _words(last)

    def help(self, line: str) -> list[tuple[str, str]]:
        """What may follow, with help."""
        return _words(self._ask(Request("help", line, self.mode or Mode.EXEC)))

    def become_viewer(self) -> None:
        """Give up the rights of this connection. Raises DaemonUnreachableError."""
        self._ask(Request("become", VIEWER))

    def follow(self, flags: list[str], write: Callable[[str], object]) -> None:
        """Hand log lines to `write` until the connection ends, which raises
        DaemonUnreachableError."""
        self._ask(Request("follow", " ".join(flags)), write)

    def shutdown(self) -> None:
        """End the connection while another thread waits on it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def reconnect(self) -> None:
        """Begin anew, for instance when output was interrupted. Raises DaemonUnreachableError."""
        self.close()
        self._connect()

    def close(self) -> None:
        self._input.close()
        self._socket.close()

    def _connect(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(self.path)
        except OSError as error:
            self._socket.close()
            raise DaemonUnreachableError(_remedy(self.path, error)) from None
        self._input = self._socket.makefile("rb")

    def _ask(
        self, request: Request, write: Callable[[str], object] | None = None
    ) -> dict[str, Any]:
        self._send(encode_request(request))
        while True:
            frame = self._receive()
            if "status" in frame:
                return frame
            if write is not None:
                write(str(frame.get("text", "")))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from None

    def _receive(self) -> dict[str, Any]:
        try:
            line = self._input.readline()
            if not line:
                raise self._lost(None)
            return decode_frame(line)
        except (OSError, ProtocolError) as error:
            raise self._lost(error) from None

    def _lost(self, error: Exception | None) -> DaemonUnreachableError:
        reason = f" ({error})" if error is not None else ""
        return DaemonUnreachableError(f"the daemon on {self.path} ended the connection{reason}")


def _words(frame: dict[str, Any]) -> list[tuple[str, str]]:
    return [(str(word), str(text)) for word, text in frame.get("words", ())]


def _remedy(path: str, error: OSError) -> str:
    text = f"cannot reach the daemon on {path}: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return f"{text}; run this as the user that owns the socket, usually root"
    return f"{text}; is l2tpns running, and is this its cli_socket? Name another one with -s"
