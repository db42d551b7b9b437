"""What is measured: each in namespaces of its own, with the same way through it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Final

from l2tpns_core.lab.bench.debian import DebianRoot, socket_of
from l2tpns_core.lab.bench.load import L2TP_PORT, Load, Subscriber, downward, upward
from l2tpns_core.lab.bench.place import (
    HOST_ADDRESS,
    LAC_ADDRESS,
    LNS_ADDRESS,
    LOAD_CORE,
    WORK_CORE,
    Place,
    cpu_seconds,
)
from l2tpns_core.lab.bench.subscribers import Say, Subscribers
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.radius_server import RadiusServer
from l2tpns_core.lab.radius_users import RadiusUser
from l2tpns_core.lab.transport import SO_RCVBUFFORCE

NAMES: Final = ("plain", "ebpf", "user", "debian")
TITLES: Final = {
    "plain": "plain forwarding",
    "ebpf": "dataplane ebpf",
    "user": "dataplane user",
    "debian": "Debian's l2tpns",
}
SECRET: Final = "bench-secret"
PASSWORD: Final = "secret"
POOL: Final = "10.64.0.0/15\n"
POOL_START: Final = (10 << 24) + (64 << 16) + 256
MAX_SESSIONS: Final = {"debian": 59_999}
READY_S: Final = 20.0
READY_POLL_S: Final = 0.05
DAEMON_PRIORITY: Final = 1
RECEIVE_BUFFER: Final = 8 << 20
DIRECTIVES: Final[dict[str, object]] = {
    "bind_address": LNS_ADDRESS,
    "iftun_address": "10.63.0.1",
    "primary_radius": HOST_ADDRESS,
    "radius_secret": SECRET,
    "radius_authtypes": "pap",
    "primary_dns": "9.9.9.9",
    "send_garp": "no",
    "disable_sending_hello": "yes",
    "echo_timeout": 3600,
    "idle_echo_timeout": 86400,
}


class Candidate:
    """Plain forwarding, and what the others have in common. To be used in a running loop."""

    in_kernel = True
    """Whether what receives a packet also forwards it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.title = TITLES[name]
        self.note = ""
        """What a reader of its figures should know."""
        self.logins_per_second = 0.0
        self._directory = directory
        self._stack = ExitStack()
        self._sessions = 1

    async def open(self) -> None:
        """Build it. Raises LabError."""
        self.place = self._stack.enter_context(Place())
        self.place.lns.add_route("10.64.0.0/15", LAC_ADDRESS)
        self.place.lac.add_route("default", LNS_ADDRESS)

    def close(self) -> None:
        self._stack.close()

    async def grow(self, sessions: int, say: Say) -> None:
        """Have so many sessions. Raises LabError."""
        self._sessions = sessions

    def subscribers(self) -> list[Subscriber]:
        return [Subscriber(1, n + 1, _address(POOL_START + n)) for n in range(self._sessions)]

    def upward(self, size: int, who: list[Subscriber], marked: list[bool]) -> Load:
        """What the LAC sends; a router without L2TP passes it to the host as it is."""
        ethernet = self.place.upward_ethernet()
        return upward(ethernet, LAC_ADDRESS, self._outer(), HOST_ADDRESS, size, who, marked)

    def downward(self, size: int, who: list[Subscriber], marked: list[bool]) -> Load:
        return downward(self.place.downward_ethernet(), HOST_ADDRESS, size, who, marked)

    def working(self) -> float:
        """CPU seconds of the LNS so far: of the kernel threads that receive, and of its daemon."""
        return cpu_seconds([*self.place.receivers, *self.daemons()])

    def settle(self) -> None:
        """Give it its core, for a measurement with the load generator."""
        self.place.receive_on(WORK_CORE if self.in_kernel else _receiving_core())
        for pid in self.daemons():
            os.sched_setaffinity(pid, {WORK_CORE})
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(DAEMON_PRIORITY))

    def unsettle(self) -> None:
        """Leave all cores to the scheduler."""
        self.place.receive_anywhere()
        for pid in self.daemons():
            with suppress(ProcessLookupError):
                os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
                os.sched_setaffinity(pid, range(os.cpu_count() or 1))

    def _outer(self) -> str:
        return HOST_ADDRESS

    def daemons(self) -> list[int]:
        """Process ids of its daemon, if it has one."""
        return []


class Daemon(Candidate):
    """An LNS: a process with a startup-config, and sessions that logged in at it."""

    def __init__(
        self,
        name: str,
        directory: Path,
        users: dict[str, RadiusUser] | None = None,
        plugins: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, directory)
        self.in_kernel = name == "ebpf"
        self.log_file = directory / "log"
        self._users = users or {"*": RadiusUser(PASSWORD)}
        self._plugins = plugins
        self._process: subprocess.Popen[Any] | None = None

    async def open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.place = self._stack.enter_context(Place())
        self.place.lac.finish_packets("lac0")  # L2TP as it is on a wire
        self.place.lns.finish_packets("lns0")
        radius = RadiusServer(
            self._users,
            secret=SECRET.encode(),
            address=HOST_ADDRESS,
            make_socket=self.place.net.udp_socket,
        )
        radius.start()
        self._stack.callback(radius.stop)
        with self.log_file.open("wb") as log:
            self._process = self._start(log)
        self._stack.callback(self._end)
        await self._wait_until_ready()
        self.lines = Subscribers(self.place)
        self._stack.callback(self.lines.close)

    async def grow(self, sessions: int, say: Say) -> None:
        wanted = min(sessions, MAX_SESSIONS.get(self.name, sessions))
        rate = await self.lines.grow(wanted, say, password=PASSWORD)
        if rate:
            self.logins_per_second = rate
            say(f"{wanted} sessions are up, {rate:.0f} a second")

    def subscribers(self) -> list[Subscriber]:
        return self.lines.load()

    def _start(self, log: IO[Any]) -> "subprocess.Popen[Any]":
        config = self._directory / "startup-config"
        directives = {
            **DIRECTIVES,
            "dataplane": self.name,
            "bpf_directory": "",
            "cli_socket": self._directory / "cli.sock",
            "cli_port": 0,
            "state_dir": self._directory,
        }
        config.write_text(_config(directives, self._plugins))
        (self._directory / "ip_pool").write_text(POOL)
        return self.place.lns.popen(
            [sys.executable, "-m", "l2tpns_core.daemon", "-c", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _is_ready(self) -> bool:
        return " ready\n" in self.log_file.read_text(errors="replace")

    async def _wait_until_ready(self) -> None:
        end = time.monotonic() + READY_S
        while not self._is_ready():
            if self._process is None or self._process.poll() is not None:
                raise LabError(f"{self.title} did not start: {self._last_words()}")
            if time.monotonic() > end:
                raise LabError(f"{self.title} is not ready: {self._last_words()}")
            await asyncio.sleep(READY_POLL_S)

    def _last_words(self) -> str:
        lines = self.log_file.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _end(self) -> None:
        """At once: its sessions and its routes go with the namespace."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _outer(self) -> str:
        return LNS_ADDRESS

    def daemons(self) -> list[int]:
        """Process ids of its daemon, if it has one."""
        alive = self._process is not None and self._process.poll() is None
        return [self._process.pid] if self._process is not None and alive else []


class Debian(Daemon):
    """The C program, with the same configuration as far as it knows it."""

    def __init__(self, name: str, directory: Path) -> None:
        super().__init__(name, directory)
        self._socket: socket.socket | None = None
        self._buffer = 0

    async def open(self) -> None:
        await super().open()
        end = time.monotonic() + READY_S
        while self._socket is None and time.monotonic() < end:
            await asyncio.sleep(READY_POLL_S)  # it opens its socket after its TUN device
            for pid in self.daemons():
                self._socket = socket_of(pid, L2TP_PORT)
        if self._socket is not None:
            self._stack.callback(self._socket.close)
            self._buffer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            self.note = (
                f"Under the generator's load {self.title} has a receive buffer of "
                f"{RECEIVE_BUFFER >> 20} MB, as ours has; otherwise its own of "
                f"{self._buffer >> 10} KB, which holds fifty of the generator's frames"
            )

    def settle(self) -> None:
        super().settle()
        self._set_buffer(RECEIVE_BUFFER)

    def unsettle(self) -> None:
        super().unsettle()
        self._set_buffer(self._buffer // 2)  # the kernel doubles what it is asked for

    def _set_buffer(self, size: int) -> None:
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)

    def _start(self, log: IO[Any]) -> "subprocess.Popen[Any]":
        root = DebianRoot(self._directory)
        self._stack.callback(root.close)
        self.title = f"Debian's l2tpns {root.version}"
        extra = {"debug": 1, "cluster_interface": "lns1", "cli_bind_address": "127.0.0.1"}
        root.write("startup-config", _config(DIRECTIVES | extra))
        root.write("ip_pool", POOL)
        root.write("users", "bench:bench\n")
        root.mount()
        return root.popen(self.place.lns, log)

    def _is_ready(self) -> bool:
        try:
            self.place.tun()
        except LabError:
            return False
        return True


def make(name: str, directory: Path) -> Candidate:
    """A candidate by one of NAMES, not yet opened."""
    if name == "plain":
        return Candidate(name, directory)
    return Debian(name, directory) if name == "debian" else Daemon(name, directory)


def _config(directives: dict[str, object], plugins: tuple[str, ...] = ()) -> str:
    lines = [f'set {name} "{value}"\n' for name, value in directives.items()]
    return "".join([*lines, *(f'load plugin "{name}"\n' for name in plugins)])


def _receiving_core() -> int:
    """Where the kernel receives for a daemon that has a core of its own: that of the generator,
    which yields, unless there is a third one."""
    return 2 if (os.cpu_count() or 1) > 2 else LOAD_CORE


def _address(number: int) -> str:
    return ".".join(map(str, number.to_bytes(4, "big")))
