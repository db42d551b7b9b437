"""The daemon's end of the command-line interface: a Unix socket that evaluates lines.

A client costs the daemon one task. Requests are bounded in length, clients in number, and output is
made and sent in slices, so that neither a long listing nor an operator who stops reading holds up
the loop. Who may connect is a matter of the socket's permissions (0600).
"""

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from l2tpns_core.cli.commands import build_grammar
from l2tpns_core.cli.context import CommandContext
from l2tpns_core.cli.evaluate import Evaluation, evaluate, prompt
from l2tpns_core.cli.grammar import Access, Choice, Grammar, Mode
from l2tpns_core.cli.live_log import follow
from l2tpns_core.cli.protocol import (
    MAX_REQUEST_BYTES,
    VIEWER,
    ProtocolError,
    Request,
    decode_request,
    encode_frame,
)
from l2tpns_core.observe.log import CALLS

log = logging.getLogger("l2tpns.cli")

MAX_CLIENTS: Final = 64
BACKLOG: Final = 16
SLICE_ROWS: Final = 200
"""Lines made before the loop may go on; a few milliseconds of work."""
SLICE_CHARS: Final = 65_536
WRITE_BUFFER_BYTES: Final = 262_144
"""Output that waits for a client before the listing does."""
PROBE_TIMEOUT_S: Final = 2.0
VIEWING: Final = Access(privileged=False)


class CliServer:
    """The listener. `start()` raises OSError when the socket cannot be made, or when another
    daemon answers on it; `close()` ends every client."""

    def __init__(
        self,
        context: CommandContext,
        path: str | Path,
        *,
        grammar: Grammar | None = None,
        privileged: bool = True,
    ) -> None:
        self._path = Path(path)
        self._context = context
        self._grammar = build_grammar() if grammar is None else grammar
        self._privileged = privileged
        self._server: asyncio.Server | None = None
        self._identity: tuple[int, int] | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        listener = bind_socket(self._path)
        status = self._path.stat()
        self._identity = status.st_dev, status.st_ino
        self._server = await asyncio.start_unix_server(
            self._accept, sock=listener, limit=MAX_REQUEST_BYTES
        )

    async def close(self) -> None:
        """Stop listening, end the clients, and remove the socket if it is still ours."""
        if self._server is None:
            return
        self._server.close()
        clients = list(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        try:
            status = self._path.stat()
            if (status.st_dev, status.st_ino) == self._identity:
                self._path.unlink()
        except OSError:
            pass

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client is there. Its task is ours, so that close() can end it without a word."""
        if len(self._clients) >= MAX_CLIENTS:
            log.warning("command-line interface: more than %d clients", MAX_CLIENTS)
            writer.write(self._failure(f"There are {MAX_CLIENTS} operators already"))
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        log.log(CALLS, "command-line interface: opened")
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        privileged = self._privileged
        try:
            while (data := await self._read(reader, writer)) is not None:
                request = self._decode(data, writer)
                if request is None:
                    await writer.drain()
                elif request.kind == "become":
                    privileged = False
                    writer.write(self._last(Access(Mode.EXEC, privileged), became=VIEWER))
                elif request.kind == "follow":
                    await follow(request.text, reader, writer)
                    return
                else:
                    access = Access(request.mode, privileged, request.section)
                    await self._answer(request, access, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """The next request, or None when there is none."""
        try:
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            writer.write(self._failure(f"A request has at most {MAX_REQUEST_BYTES} bytes"))
            return None

    def _decode(self, data: bytes, writer: asyncio.StreamWriter) -> Request | None:
        """The request, or None when the client has been told that it is none."""
        try:
            return decode_request(data)
        except ProtocolError as error:
            writer.write(self._failure(f"Bad request: {error}"))
            return None

    async def _answer(self, request: Request, access: Access, writer: asyncio.StreamWriter) -> None:
        if request.kind == "complete":
            start, choices = self._grammar.complete(request.text, access, self._context)
            writer.write(self._last(access, start=start, words=choices))
        elif request.kind == "help":
            choices = self._grammar.help(request.text, access)
            writer.write(self._last(access, words=choices))
        else:
            await self._run(request, access, writer)
        await writer.drain()

    async def _run(self, request: Request, access: Access, writer: asyncio.StreamWriter) -> None:
        evaluation = evaluate(
            request.text, self._context, self._grammar, access, as_json=request.json
        )
        if evaluation.wait is not None:
            await asyncio.to_thread(evaluation.wait)
        for text in _slices(evaluation):
            if text:
                writer.write(encode_frame({"text": text}))
            await writer.drain()
            await asyncio.sleep(0)
        after = None
        if evaluation.mode is not None:
            after = Access(evaluation.mode, access.privileged, evaluation.section)
        if evaluation.error:
            writer.write(self._failure(evaluation.error, after))
        else:
            writer.write(self._last(after, action=evaluation.action))

    def _last(
        self,
        after: Access | None,
        *,
        start: int | None = None,
        words: list[Choice] | None = None,
        action: list[str] | None = None,
        became: str = "",
    ) -> bytes:
        members: dict[str, Any] = {"status": "ok", "code": 0, **self._next(after)}
        if action:
            members["action"] = action
        if became:
            members["became"] = became
        if words is not None:
            members["words"] = words
        if start is not None:
            members["start"] = start
        return encode_frame(members)

    def _failure(self, text: str, after: Access | None = VIEWING) -> bytes:
        return encode_frame({"status": "error", "code": 1, "error": text, **self._next(after)})

    def _next(self, after: Access | None) -> dict[str, Any]:
        """What the shell needs for its next line."""
        if after is None:
            return {"mode": None, "prompt": ""}
        text = prompt(self._context.hostname, after)
        told = {"mode": after.mode.name.lower(), "prompt": text}
        return {**told, "section": after.section} if after.section else told


def bind_socket(path: Path) -> socket.socket:
    """A listening socket at `path` that only its owner may connect to.

    Makes the directory. Removes a socket that nobody answers on; raises OSError when somebody does,
    when something else is there, or when the system refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(old_mask)
    return listener


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "there is a file that is not a socket", str(path))
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass
    raise OSError(errno.EADDRINUSE, "another daemon answers there", str(path))


def _slices(evaluation: Evaluation) -> Iterator[str]:
    """The output in pieces of complete lines, each made from at most SLICE_ROWS rows; empty when
    filters left nothing of a piece."""
    piece: list[str] = []
    rows = chars = 0
    for line in evaluation.lines:
        rows += 1
        if line is not None:
            piece.append(line + "\n")
            chars += len(line)
        if rows >= SLICE_ROWS or chars >= SLICE_CHARS:
            yield "".join(piece)
            piece.clear()
            rows = chars = 0
    if piece:
        yield "".join(piece)
