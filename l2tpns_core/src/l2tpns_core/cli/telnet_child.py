"""The telnet listener as the daemon's child: started, started again, ended with it."""

import asyncio
import logging
import sys
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from l2tpns_core.config.directives import Config
from l2tpns_core.observe.text import printable

log = logging.getLogger("l2tpns.telnet")

MODULE: Final = "l2tpns_core.cli.telnet"
FIRST_PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 60.0
STEADY_S: Final = 60.0
"""A listener that lives for so long is started again at once when it ends."""
END_S: Final = 5.0
CANNOT_LISTEN: Final = 3
"""The listener's exit status when its port cannot be had, of which it has logged why."""


class TelnetOptions(NamedTuple):
    """What the listener is told."""

    socket: str
    users: str
    bind: IPv4Address
    port: int
    operators: int
    idle_s: int
    is_open: bool

    @classmethod
    def of(cls, config: Config, users: str) -> "TelnetOptions":
        return cls(
            config.cli_socket,
            users,
            config.cli_bind_address,
            config.cli_port,
            config.cli_max_operators,
            config.cli_idle_timeout,
            config.cli_open,
        )

    def arguments(self) -> list[str]:
        numbers = {"port": self.port, "operators": self.operators, "idle": self.idle_s}
        words = ["--socket", self.socket, "--users", self.users, "--bind", str(self.bind)]
        for name, number in numbers.items():
            words += [f"--{name}", str(number)]
        return [*words, "--supervised", *(["--open"] if self.is_open else [])]


class TelnetChild:
    """Keeps a listener running from start() to close(); a port of 0 is none at all."""

    def __init__(self, options: TelnetOptions, python: str = sys.executable) -> None:
        self._options = options
        self._python = python
        self._task: asyncio.Task[None] | None = None
        self._complaint = ""
        """Why the port cannot be had; logged once, not at every try."""

    def start(self) -> None:
        if self._options.port:
            self._task = asyncio.get_running_loop().create_task(self._supervise(), name="telnet")

    async def close(self) -> None:
        """End the listener and every operator of its."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait((self._task,))
        self._task = None

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_S
        while True:
            begun = loop.time()
            try:
                status = await self._run_once()
            except OSError as error:
                status = None
                log.error("cannot start the telnet listener: %s", error)
            if loop.time() - begun > STEADY_S:
                pause = FIRST_PAUSE_S
            if status != CANNOT_LISTEN:
                log.error("the telnet listener ended (%s); again in %d s", status, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_S)

    async def _run_once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            self._python,
            "-P",  # nothing is imported from the directory that the daemon happens to be in
            "-m",
            MODULE,
            *self._options.arguments(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            await self._log_lines(process.stderr)
            return await process.wait()
        finally:
            if process.stdin is not None:
                process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), END_S)
            except TimeoutError:
                process.kill()

    async def _log_lines(self, stream: asyncio.StreamReader | None) -> None:
        """Pass on what the listener logs: `LEVEL text`."""
        while stream is not None:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.LimitOverrunError as error:
                await stream.read(error.consumed)
                continue
            except asyncio.IncompleteReadError:
                return
            name, _, text = line.decode(errors="replace").rstrip().partition(" ")
            level = logging.getLevelNamesMapping().get(name, logging.ERROR)
            if text != self._complaint:
                log.log(level, "%s", printable(text))
            self._complaint = text if level == logging.ERROR else ""
