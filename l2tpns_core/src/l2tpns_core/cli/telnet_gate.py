"""Asking the keeper (cli.telnet_keeper), and talking with the daemon on what it hands over."""

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, Final

from l2tpns_core.cli.grammar import Mode
from l2tpns_core.cli.protocol import (
    MODES,
    ProtocolError,
    Request,
    decode_frame,
    encode_request,
)

MAX_MESSAGE_BYTES: Final = 4096
MAX_FRAME_BYTES: Final = 1 << 20
NO_DAEMON: Final = "The daemon does not answer"


class LostError(Exception):
    """The keeper or the daemon is gone; the text is for the operator."""


class Gate:
    """The channel to the keeper, shared by all sessions."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], socket.socket | None]]] = {}
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the keeper is gone."""
        channel.setblocking(False)
        asyncio.get_running_loop().add_reader(channel, self._readable)

    async def policy(self, session: int) -> str:
        """What a client from elsewhere has to do: "login", nothing ("open"), or go ("closed")."""
        answer, _ = await self._ask("policy", session)
        return str(answer.get("policy", "closed"))

    async def login(self, session: int, name: str, password: str) -> bool:
        answer, _ = await self._ask("login", session, name=name, password=password)
        return answer.get("granted") is True

    async def enable(self, session: int, password: str) -> tuple[bool, bool]:
        """Whether the password is right, and whether there is one."""
        answer, _ = await self._ask("enable", session, password=password)
        return answer.get("granted") is True, "missing" not in answer

    async def forget(self, session: int) -> None:
        """The operator is no longer privileged, or gone."""
        await self._ask("forget", session)

    async def connect(self, session: int, *, privileged: bool) -> socket.socket:
        """A connection to the daemon. Raises LostError."""
        answer, connection = await self._ask("connect", session, privileged=privileged)
        if connection is None:
            raise LostError(f"{NO_DAEMON}: {answer.get('error', '')}".rstrip(": "))
        connection.setblocking(False)
        return connection

    async def _ask(
        self, kind: str, session: int, **members: Any
    ) -> tuple[dict[str, Any], socket.socket | None]:
        number = next(self._numbers)
        data = json.dumps({"id": number, "kind": kind, "session": session, **members}).encode()
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            while True:
                try:
                    self._channel.send(data)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0.01)
            return await future  # type: ignore[no-any-return]
        except OSError as error:
            raise LostError(str(error)) from None
        finally:
            self._waiting.pop(number, None)

    def _readable(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._channel, MAX_MESSAGE_BYTES, 1)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._channel)
            self.lost.set_result(None)
            for waiting in self._waiting.values():
                waiting.cancel()
            return
        answer = json.loads(data)
        connection = socket.socket(fileno=descriptors[0]) if descriptors else None
        future = self._waiting.get(answer.pop("id"))
        if future is not None and not future.done():
            future.set_result((answer, connection))
        elif connection is not None:
            connection.close()


class Link:
    """A session's connection to the daemon; made when it is needed."""

    def __init__(self, gate: Gate, session: int) -> None:
        self._gate = gate
        self._session = session
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.privileged = False
        self.mode: Mode | None = Mode.EXEC
        self.section = ""
        """What the mode is about."""
        """None when the daemon has ended the shell."""
        self.prompt = ""
        self.error = ""
        self.action: list[str] = []
        """What the last command asks the shell to do."""

    def close(self) -> None:
        """Let go of the connection, in the middle of an answer or not; the mode is kept."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def run(self, line: str) -> AsyncIterator[str]:
        """Carry out a command; gives its output. Raises LostError."""
        request = Request("line", line, self.mode or Mode.EXEC, section=self.section)
        async for frame in self._ask(request):
            if "status" not in frame:
                yield str(frame.get("text", ""))
                continue
            mode = frame.get("mode")
            self.mode = MODES.get(mode) if isinstance(mode, str) else None
            self.section = str(frame.get("section", ""))
            self.prompt = str(frame.get("prompt", ""))
            failed = frame.get("status") != "ok"
            self.error = str(frame.get("error", "it failed")) if failed else ""
            self.action = [str(word) for word in frame.get("action", ())]

    async def complete(self, line: str) -> tuple[int, list[str]]:
        """Where the last word of a line begins, and what it may become. Raises LostError."""
        frame = await self._last(Request("complete", line, self.mode or Mode.EXEC))
        return int(frame.get("start", len(line))), [str(word) for word, _ in frame["words"]]

    async def help(self, line: str) -> list[tuple[str, str]]:
        """What may follow, with help. Raises LostError."""
        frame = await self._last(Request("help", line, self.mode or Mode.EXEC))
        return [(str(word), str(text)) for word, text in frame["words"]]

    async def follow(self, flags: list[str]) -> AsyncIterator[str]:
        """Log lines. Raises LostError."""
        async for frame in self._ask(Request("follow", " ".join(flags))):
            yield str(frame.get("text", ""))

    async def _last(self, request: Request) -> dict[str, Any]:
        answer: dict[str, Any] = {"words": []}
        async for frame in self._ask(request):
            answer.update(frame)
        return answer

    async def _ask(self, request: Request) -> AsyncIterator[dict[str, Any]]:
        """The frames of an answer."""
        try:
            if self._streams is None:
                connection = await self._gate.connect(self._session, privileged=self.privileged)
                self._streams = await asyncio.open_unix_connection(
                    sock=connection, limit=MAX_FRAME_BYTES
                )
            reader, writer = self._streams
            writer.write(encode_request(request))
            while True:
                data = await reader.readuntil(b"\n")
                frame = decode_frame(data)
                yield frame
                if "status" in frame:
                    return
        except (OSError, EOFError, ProtocolError, asyncio.LimitOverrunError):
            self.close()
            raise LostError(NO_DAEMON) from None
