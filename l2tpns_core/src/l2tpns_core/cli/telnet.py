"""The telnet listener: a process of its own between operators and the daemon's Unix socket.

    python -m l2tpns_core.cli.telnet --socket /run/l2tpns/cli.sock --users /etc/l2tpns/users

It binds its port and splits in two. One half talks with the network; when started as root, it
becomes the user of --user, may open nothing and see nothing, and has a bound on its memory. The
other half reads the users file and opens the connections to the daemon (cli.telnet_keeper).
"""

import argparse
import asyncio
import ctypes
import itertools
import logging
import os
import pwd
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from l2tpns_core.capabilities import Cap, no_new_privileges, permitted, restrict
from l2tpns_core.cli.telnet_child import CANNOT_LISTEN
from l2tpns_core.cli.telnet_gate import Gate
from l2tpns_core.cli.telnet_keeper import Keeper
from l2tpns_core.cli.telnet_limits import (
    LOGIN_SLOTS,
    RESERVED_SLOTS,
    Lockout,
    Slots,
    TooManyError,
    Visitor,
)
from l2tpns_core.cli.telnet_session import Session
from l2tpns_core.cli.telnet_wire import Wire
from l2tpns_core.config.users import UsersFile

log = logging.getLogger("l2tpns.telnet")

BACKLOG: Final = 64
MEMORY_BYTES: Final = 128 << 20
"""What the half that talks with the network may ever use (RLIMIT_DATA)."""
NICENESS: Final = 5
"""The daemon comes first."""
FILES_PER_OPERATOR: Final = 3
OTHER_FILES: Final = 32 + 2 * BACKLOG
"""Clients that are refused have one for a moment."""
KEPT_CAPABILITIES: Final = frozenset((Cap.DAC_OVERRIDE, Cap.KILL))
"""Of root's: for the files of users and the socket, and for the other half."""
PR_SET_DUMPABLE: Final = 4
REFUSALS_PER_LINE: Final = 100
"""Refused clients are too many for a log line each."""
FORMAT: Final = "%(levelname)s %(message)s"


class Listener:
    """The clients of the listening socket."""

    def __init__(self, gate: Gate, max_operators: int, idle_s: float) -> None:
        self._gate = gate
        self._idle_s = idle_s
        self._slots = Slots(max_operators)
        self._lockout = Lockout()
        self._numbers = itertools.count(1)
        self._sessions: set[asyncio.Task[None]] = set()
        self._refused = 0

    async def run(self, listening: socket.socket) -> None:
        """Serve until the keeper is gone."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Wire(self._made), sock=listening, backlog=BACKLOG)
        await self._gate.lost
        server.close()
        for task in self._sessions:
            task.cancel()

    def _made(self, wire: Wire) -> None:
        address = wire.address
        now = asyncio.get_running_loop().time()
        try:
            visitor = self._slots.admit(address, now, wire.abort)
        except TooManyError as error:
            if self._refused % REFUSALS_PER_LINE == 0:
                log.warning("%s is refused: there are %s", address, error)
            self._refused += 1
            wire.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(wire, visitor, address))
        self._sessions.add(task)
        task.add_done_callback(self._sessions.discard)

    async def _serve(self, wire: Wire, visitor: Visitor, address: str) -> None:
        loop = asyncio.get_running_loop()
        session = Session(
            wire,
            self._gate,
            self._lockout,
            address,
            next(self._numbers),
            self._idle_s,
            lambda: self._slots.promote(visitor, loop.time()),
        )
        running = loop.create_task(session.run())
        closed = loop.create_task(wire.closed.wait())
        try:
            await asyncio.wait((running, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
            running.cancel()
            self._slots.leave(visitor)
            wire.finish()
        if running.done() and not running.cancelled() and running.exception() is not None:
            log.error("a session ended with an error", exc_info=running.exception())


def main(arguments: Sequence[str] | None = None) -> int:
    """The program. Exit status: 0 ended as asked, 1 with an error, 3 the port cannot be had."""
    options = parse_arguments(arguments)
    logging.basicConfig(stream=sys.stderr, format=FORMAT, level=logging.INFO)
    try:
        listening = bind(options.bind, options.port)
    except OSError as error:
        where = f"{options.bind}:{options.port}"
        log.error(
            "cannot listen on TCP %s for telnet: %s (see cli_bind_address and cli_port); "
            "will try again",
            where,
            error.strerror or error,
        )
        return CANNOT_LISTEN
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        serve_network(listening, theirs, options)
    theirs.close()
    log.info("telnet on %s:%d", *listening.getsockname())
    listening.close()
    return keep(ours, child, options)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m l2tpns_core.cli.telnet",
        description="The telnet command-line interface of l2tpns; started by the daemon.",
    )
    parser.add_argument("--socket", required=True, help="the daemon's Unix socket")
    parser.add_argument("--users", required=True, help="the users file")
    parser.add_argument("--bind", default="127.0.0.1", help="address (default: %(default)s)")
    parser.add_argument("--port", type=int, default=23, help="TCP port (default: %(default)s)")
    parser.add_argument(
        "--user", default="nobody", help="whom to become if started as root (default: %(default)s)"
    )
    parser.add_argument("--operators", type=int, default=16, help="at a time")
    parser.add_argument("--idle", type=int, default=600, help="seconds; 0 is without an end")
    parser.add_argument(
        "--open", action="store_true", help="without a users file, let everybody in"
    )
    parser.add_argument("--supervised", action="store_true", help="end when stdin ends")
    return parser.parse_args(arguments)


def bind(address: str, port: int) -> socket.socket:
    """The listening socket. Raises OSError."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def serve_network(
    listening: socket.socket, channel: socket.socket, options: argparse.Namespace
) -> NoReturn:
    """The half without rights. Does not return."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if options.supervised:
            os.close(0)
        drop_privileges(options.user, options.operators)
        asyncio.run(_serve_network(listening, channel, options))
        status = 0
    except Exception:
        log.exception("the telnet listener ended with an error")
    finally:
        os._exit(status)


async def _serve_network(
    listening: socket.socket, channel: socket.socket, options: argparse.Namespace
) -> None:
    await Listener(Gate(channel), options.operators, float(options.idle)).run(listening)


def drop_privileges(user: str, operators: int) -> None:
    """Give up what talking on open sockets does not need."""
    files = OTHER_FILES + LOGIN_SLOTS + RESERVED_SLOTS + FILES_PER_OPERATOR * operators
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)
    if os.geteuid() == 0:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
        os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    restrict(())
    no_new_privileges()
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def drop_capabilities() -> None:
    """Keep of root's rights only those on files and on the other half, of another user's none."""
    try:
        restrict(KEPT_CAPABILITIES & permitted() if os.geteuid() == 0 else ())
        no_new_privileges()
    except OSError as error:
        log.error("cannot drop capabilities: %s", error)


def keep(channel: socket.socket, child: int, options: argparse.Namespace) -> int:
    """The half with the keys."""
    drop_capabilities()
    users = UsersFile(options.users)
    keeper = Keeper(channel, options.socket, users, is_open=options.open)
    try:
        asyncio.run(_keep(keeper, supervised=options.supervised))
    finally:
        channel.close()
    try:
        os.kill(child, signal.SIGTERM)
    except ProcessLookupError:
        pass
    _, status = os.waitpid(child, 0)
    return 0 if os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0 else 1


async def _keep(keeper: Keeper, *, supervised: bool) -> None:
    loop = asyncio.get_running_loop()
    serving = loop.create_task(keeper.run())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, serving.cancel)
    if supervised:
        loop.add_reader(0, lambda: os.read(0, 1) or serving.cancel())
    await asyncio.wait((serving,))


if __name__ == "__main__":
    sys.exit(main())
