"""ExaBGP as the daemon's child: started, started again, told what to announce, ended with it."""

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from l2tpns_core.observe.text import printable
from l2tpns_core.routing.answers import MAX_LINE, Acknowledged, PeerState, understood
from l2tpns_core.routing.settings import BgpSettings, configuration_text

log = logging.getLogger("l2tpns.bgp")

FIRST_PAUSE_S: Final = 1.0
MAX_PAUSE_S: Final = 60.0
STEADY_S: Final = 60.0
"""One that lives for so long is started again at once when it ends."""
CONNECT_S: Final = 20.0
"""How long it may take until it is there."""
ANSWER_S: Final = 10.0
"""An ExaBGP that has said nothing for so long is asked whether it is there; one that does not
answer in the same time is replaced."""
PROBE: Final = "# are you there?"
"""A comment, which is acknowledged and does nothing."""
WINDOW: Final = 64
"""Commands that are not acknowledged yet."""
ENVIRONMENT: Final = {
    "exabgp_api_ack": "true",
    "exabgp_api_cli": "false",
    "exabgp_daemon_drop": "false",
    "exabgp_daemon_user": "root",
    "exabgp_log_destination": "stdout",
    "exabgp_log_level": "ERROR",
    "exabgp_tcp_bind": "",
}


class Speaker:
    """Keeps one ExaBGP running from start() to close()."""

    def __init__(
        self,
        settings: BgpSettings,
        next_command: Callable[[], str | None],
        on_state: Callable[[PeerState], None],
        on_start: Callable[[], None],
        python: str = sys.executable,
    ) -> None:
        """`next_command` is asked for what is to be said; `on_start` is told that an ExaBGP is
        there which knows nothing yet."""
        self._settings = settings
        self._next_command = next_command
        self._on_state = on_state
        self._on_start = on_start
        self._python = python
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._sent: deque[str] = deque()
        self._is_idle = asyncio.Event()
        self.restarts = -1
        self.refused = 0
        """Commands that ExaBGP did not take."""

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._supervise(), name="bgp")

    async def close(self) -> None:
        """End it at once, without a word to peers."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
            self._task = None

    @property
    def is_running(self) -> bool:
        return self._writer is not None

    def wake(self) -> None:
        """There is something to say."""
        while self._writer is not None and len(self._sent) < WINDOW:
            command = self._next_command()
            if command is None:
                break
            self._say(command)
        if self._sent:
            self._is_idle.clear()
        else:
            self._is_idle.set()

    def say(self, command: str) -> None:
        """Say something out of turn, if there is somebody to hear it."""
        if self._writer is not None:
            self._say(command)

    async def settle(self, timeout_s: float) -> bool:
        """Wait until all is said and acknowledged; whether it is."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()
        except TimeoutError:
            return False
        return True

    def _say(self, command: str) -> None:
        assert self._writer is not None
        self._sent.append(command)
        self._writer.write(command.encode() + b"\n")

    # The child

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_S
        while True:
            began = loop.time()
            self.restarts += 1
            try:
                await self._run()
            except OSError as error:
                log.error("cannot run ExaBGP: %s", error)
            if loop.time() - began > STEADY_S:
                pause = FIRST_PAUSE_S
            log.error("ExaBGP has ended, it is started again in %.0f s", pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_S)

    async def _run(self) -> None:
        with tempfile.TemporaryDirectory(prefix="l2tpns-bgp-") as directory:
            path = Path(directory)
            connected: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
            connected = asyncio.get_running_loop().create_future()

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if connected.done():
                    writer.close()
                else:
                    connected.set_result((reader, writer))

            server = await asyncio.start_unix_server(accept, path / "lns", limit=MAX_LINE)
            relay = [self._python, "-m", "l2tpns_core.routing.relay", str(path / "lns")]
            file = path / "exabgp.conf"
            file.touch(mode=0o600)
            file.write_text(configuration_text(self._settings, relay))
            child = await asyncio.create_subprocess_exec(
                *(self._python, "-m", "exabgp", "server", str(file)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT},
                start_new_session=True,
            )
            listening = asyncio.create_task(_log_output(child))
            try:
                ended = asyncio.create_task(child.wait())
                await asyncio.wait(
                    (ended, connected),
                    timeout=CONNECT_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                ended.cancel()
                if connected.done():
                    file.unlink()  # it has been read, and there may be passwords in it
                    await self._converse(*connected.result())
            finally:
                self._writer = None
                self._sent.clear()
                self._is_idle.set()
                server.close()
                if child.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        child.kill()
                await asyncio.wait((asyncio.create_task(child.wait()),))
                listening.cancel()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._sent.clear()
        try:
            self._on_start()
            self.wake()
            while line := await self._line(reader):
                self._hear(line)
        except (OSError, ValueError) as error:
            log.error("ExaBGP: %s", error)
        finally:
            self._writer = None
            writer.close()

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """The next line; empty at the end. Raises OSError when ExaBGP hangs."""
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await reader.readline()
            except TimeoutError:
                if self._sent:
                    raise OSError(f"no answer for {ANSWER_S:.0f} s") from None
                self.say(PROBE)

    def _hear(self, line: bytes) -> None:
        said = understood(line)
        if isinstance(said, PeerState):
            self._on_state(said)
        elif isinstance(said, Acknowledged) and self._sent:
            command = self._sent.popleft()
            if not said.ok:
                self.refused += 1
                log.error("ExaBGP refuses: %s", command)
        self.wake()


async def _log_output(child: asyncio.subprocess.Process) -> None:
    assert child.stdout is not None
    while True:
        try:
            line = await child.stdout.readline()
        except ValueError:
            continue  # it was too long, and is gone; the pipe must be read on, or ExaBGP stops
        if not line:
            return
        log.info("exabgp: %s", printable(line.decode(errors="replace").rstrip()))
