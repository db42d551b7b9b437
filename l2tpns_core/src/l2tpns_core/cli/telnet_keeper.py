"""The half of the telnet listener that keeps the keys: it checks passwords and opens connections to
the daemon. The other half, which talks with the network, has neither rights nor files; it asks.

Requests and answers are JSON messages on a socket pair. A connection to the daemon is handed over
as a file descriptor, and only after the daemon has confirmed that it has no more rights than its
operator: for a privileged one, the enable password of that session must have been right.
"""

import asyncio
import concurrent.futures
import json
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from l2tpns_core.cli.protocol import VIEWER, ProtocolError, decode_frame, encode_frame
from l2tpns_core.config.users import UsersFile

log = logging.getLogger("l2tpns.telnet")

MAX_MESSAGE_BYTES: Final = 4096
HASH_THREADS: Final = 2
DAEMON_TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 4096


class Keeper:
    """Serves the other half of the listener until that goes."""

    def __init__(
        self, channel: socket.socket, socket_path: str, users: UsersFile, *, is_open: bool
    ) -> None:
        """With `is_open`, nobody has to log in while there is no users file."""
        self._channel = channel
        self._socket_path = socket_path
        self._users = users
        self._is_open = is_open
        self._privileged: set[int] = set()
        """Sessions whose operator has given the enable password."""
        self._hashing = concurrent.futures.ThreadPoolExecutor(HASH_THREADS, "hash")
        self._connecting = concurrent.futures.ThreadPoolExecutor(HASH_THREADS, "connect")
        self._answering: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve."""
        loop = asyncio.get_running_loop()
        self._channel.setblocking(False)
        try:
            while data := await loop.sock_recv(self._channel, MAX_MESSAGE_BYTES):
                task = loop.create_task(self._answer(json.loads(data)))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
        except ConnectionError:
            pass
        finally:
            self._hashing.shutdown(wait=False, cancel_futures=True)
            self._connecting.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, request: dict[str, Any]) -> None:
        kind, session = str(request["kind"]), int(request["session"])
        answer: dict[str, Any] = {}
        handed: socket.socket | None = None
        try:
            if kind == "policy":
                answer = await self._in_thread(self._hashing, self._policy)
            elif kind == "login":
                name, password = str(request["name"]), str(request["password"])
                known = await self._in_thread(self._hashing, lambda: self._login(name, password))
                answer = {"granted": known}
            elif kind == "enable":
                password = str(request["password"])
                answer = await self._in_thread(self._hashing, lambda: self._enable(password))
                if answer["granted"]:
                    self._privileged.add(session)
            elif kind == "connect":
                privileged = session in self._privileged and bool(request["privileged"])
                handed = await self._in_thread(self._connecting, lambda: self._connect(privileged))
            elif kind == "forget":
                self._privileged.discard(session)
        except (OSError, ProtocolError) as error:
            answer = {"error": str(error)}
        await self._send({"id": request["id"], **answer}, handed)

    async def _send(self, answer: dict[str, Any], handed: socket.socket | None) -> None:
        """The channel is a queue of whole messages; the other half always empties it."""
        data = json.dumps(answer).encode()
        try:
            while True:
                try:
                    if handed is None:
                        self._channel.send(data)
                    else:
                        socket.send_fds(self._channel, [data], [handed.fileno()])
                    return
                except BlockingIOError:
                    await asyncio.sleep(0.01)
        except OSError:
            pass
        finally:
            if handed is not None:
                handed.close()

    @staticmethod
    async def _in_thread(threads: concurrent.futures.Executor, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(threads, work)

    def _policy(self) -> dict[str, Any]:
        """What a client from elsewhere has to do: "login", nothing ("open"), or go ("closed")."""
        users, problems = self._users.current()
        for problem in problems:
            log.warning("%s", problem)
        if users.passwords:
            return {"policy": "login"}
        return {"policy": "open" if self._is_open and not users.exists else "closed"}

    def _login(self, name: str, password: str) -> bool:
        return self._users.current()[0].knows(name, password)

    def _enable(self, password: str) -> dict[str, Any]:
        users = self._users.current()[0]
        if users.enable is None:
            return {"granted": False, "missing": True}
        return {"granted": users.enables(password)}

    def _connect(self, privileged: bool) -> socket.socket:
        """A connection to the daemon with the rights of its operator. Raises OSError and
        ProtocolError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(DAEMON_TIMEOUT_S)
            connection.connect(self._socket_path)
            if not privileged:
                connection.sendall(encode_frame({"become": VIEWER}))
                answer = decode_frame(_read_line(connection))
                if answer.get("status") != "ok" or answer.get("became") != VIEWER:
                    raise ProtocolError(str(answer.get("error", "it grants no lesser rights")))
        except (OSError, ProtocolError):
            connection.close()
            raise
        return connection


def _read_line(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n") and len(data) < MAX_ANSWER_BYTES:
        piece = connection.recv(1)
        if not piece:
            break
        data += piece
    return data
