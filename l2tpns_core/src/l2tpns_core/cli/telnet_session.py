"""One telnet client, from its first byte to its last: login, then the shell."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from l2tpns_core.cli.grammar import Mode
from l2tpns_core.cli.live_log import CRITICAL, FLAGS
from l2tpns_core.cli.telnet_gate import Gate, Link, LostError
from l2tpns_core.cli.telnet_limits import Lockout, TooManyError, is_loopback
from l2tpns_core.cli.telnet_screen import (
    GivenUpError,
    LeaveModeError,
    LineTooLongError,
    Screen,
)
from l2tpns_core.cli.telnet_wire import HungUpError, Wire
from l2tpns_core.cli.terminal_keys import Key
from l2tpns_core.cli.words import in_quotes
from l2tpns_core.observe.text import printable

log = logging.getLogger("l2tpns.telnet")

FIRST_BYTES_S: Final = 0.3
"""What a client has time for to begin as a telnet client or as a program does."""
LOGIN_S: Final = 60.0
MAX_TRIES: Final = 3
DENIED: Final = "\nAccess denied\n"
NOBODY: Final = "No users for remote authentication!\n"
NO_ENABLE: Final = "\nThere is no enable password: it is a line enable:PASSWORD of the users file\n"


class Session:
    """Raises nothing; run() returns when the client may be hung up."""

    def __init__(
        self,
        wire: Wire,
        gate: Gate,
        lockout: Lockout,
        address: str,
        number: int,
        idle_s: float,
        promote: Callable[[], object],
    ) -> None:
        """`promote` makes the client an operator; it raises TooManyError. An `idle_s` of 0 is
        without an end."""
        self._wire = wire
        self._gate = gate
        self._lockout = lockout
        self._address = address
        self._number = number
        self._idle_s = idle_s or None
        self._promote = promote
        self._screen = Screen(wire)
        self._link = Link(gate, number)
        self._flags: set[str] = {CRITICAL}
        self._following: asyncio.Task[None] | None = None
        self._name = "(no login)"

    async def run(self) -> None:
        try:
            try:
                async with asyncio.timeout(LOGIN_S):
                    entered = await self._enter()
            except TimeoutError:
                self._screen.say("\nLogin timed out\n")
                return
            if entered:
                await self._shell()
        except TimeoutError:
            self._screen.say("\nIdle for too long\n")
        except (HungUpError, GivenUpError, LineTooLongError):
            pass
        except TooManyError as error:
            self._screen.say(f"\nThere are too many of you: {error}\n")
        except LostError as error:
            self._screen.say(f"\n{error}\n")
        finally:
            await self._leave()

    # Login

    async def _enter(self) -> bool:
        """Find out who the client is."""
        wire = self._wire
        await wire.listen(FIRST_BYTES_S)
        if not wire.speaks_first:
            wire.offer()
        if not is_loopback(self._address):
            policy = await self._gate.policy(self._number)
            if policy == "closed":
                log.warning("no users for remote authentication: %s is hung up", self._address)
                wire.write(NOBODY)
                return False
            if policy == "login" and not await self._log_in():
                return False
        self._promote()
        wire.trust()
        wire.idle_s = self._idle_s
        level = logging.DEBUG if is_loopback(self._address) else logging.INFO
        log.log(level, "operator %s from %s", self._name, self._address)
        return True

    async def _log_in(self) -> bool:
        for _ in range(MAX_TRIES):
            name = await self._screen.ask("\nUsername: ")
            password = await self._screen.ask("Password: ", secret=True)
            await self._wait_for_turn()
            granted = await self._gate.login(self._number, name, password)
            self._screen.say("\n")
            if granted:
                self._lockout.success(self._address)
                self._name = printable(name)
                return True
            log.warning("login of %s from %s failed", printable(name), self._address)
            self._screen.say(DENIED)
            await self._wire.drain()
        return False

    async def _wait_for_turn(self) -> None:
        """Behind wrong passwords of the same address."""
        delay = self._lockout.delay(self._address, asyncio.get_running_loop().time())
        if delay:
            await asyncio.sleep(delay)

    # The shell

    async def _shell(self) -> None:
        await self._run("")
        while self._link.mode is not None:
            try:
                line = await self._screen.read_line(self._link.prompt, self)
            except GivenUpError:
                continue
            except LineTooLongError:
                await self._skip_line()
                self._wire.write("The line is too long\n")
                continue
            except LeaveModeError:
                line = "end" if self._link.mode is Mode.CONFIG else ""
            await self._command(line.strip())

    async def _command(self, line: str) -> None:
        if not self._screen.is_terminal and line.endswith("?") and not in_quotes(line):
            self._wire.write("".join(text + "\n" for text in await self.explain(line[:-1])))
            return
        await self._run(line)
        action = self._link.action
        self._link.action = []
        if action:
            await self._act(action)

    async def _run(self, line: str) -> None:
        """Carry out a command; ^C ends its output."""
        task = asyncio.create_task(self._output(line))
        self._wire.on_interrupt = task.cancel
        try:
            await asyncio.wait((task,))
        finally:
            self._wire.on_interrupt = None
            task.cancel()
        if task.cancelled():
            self._link.close()
            self._wire.write("^C\n")
        else:
            task.result()

    async def _output(self, line: str) -> None:
        screen = self._screen
        screen.begin_output()
        async for text in self._link.run(line):
            if not await screen.print(text):
                self._link.close()
                return
        if self._link.error:
            self._wire.write(self._link.error + "\n")

    async def _skip_line(self) -> None:
        """Read on to the end of the line."""
        while await self._wire.key() is not Key.ENTER:
            pass

    # What the shell does itself

    async def _act(self, words: list[str]) -> None:
        match words:
            case ["enable"]:
                await self._enable()
            case ["disable"]:
                await self._gate.forget(self._number)
                await self._change_rights(privileged=False)
            case ["history"]:
                self._screen.say("\nCommand history:\n" + self._history_text())
            case ["terminal", "length", number]:
                self._screen.length = int(number)
            case ["terminal", "width", number]:
                self._screen.width = int(number)
            case ["debug"]:
                names = " ".join(flag for flag in FLAGS if flag in self._flags)
                self._wire.write(f"Currently debugging: {names}\n" if names else "Debugging off\n")
            case ["debug", *flags]:
                self._watch(self._flags | set(flags))
            case ["no", "debug", *flags]:
                self._watch(self._flags - set(flags))

    async def _enable(self) -> None:
        if self._link.privileged:
            return
        try:
            async with asyncio.timeout(LOGIN_S):
                password = await self._screen.ask("Password: ", secret=True)
                await self._wait_for_turn()
                granted, exists = await self._gate.enable(self._number, password)
        except (TimeoutError, GivenUpError, LineTooLongError):
            self._screen.say("\n" + DENIED)
            return
        if granted or not exists:
            self._lockout.success(self._address)
        if granted:
            log.info("operator %s from %s is privileged", self._name, self._address)
            await self._change_rights(privileged=True)
            return
        if exists:
            log.warning("wrong enable password of %s from %s", self._name, self._address)
        self._screen.say("\n" + (DENIED if exists else NO_ENABLE))

    async def _change_rights(self, *, privileged: bool) -> None:
        self._link.close()
        self._link.privileged = privileged
        await self._run("")

    def _history_text(self) -> str:
        lines = self._screen.history.lines
        return "".join(f"{number:>3}. {line}\n" for number, line in enumerate(lines))

    def _watch(self, flags: set[str]) -> None:
        """Follow the log from now on."""
        self._flags = flags
        if self._following is not None:
            self._following.cancel()
            self._following = None
        if flags:
            self._following = asyncio.create_task(self._follow(sorted(flags)))

    async def _follow(self, flags: list[str]) -> None:
        link = Link(self._gate, self._number)
        try:
            async for text in link.follow(flags):
                self._screen.note(text)
        except LostError:
            pass
        finally:
            link.close()

    # Assistant of the screen

    async def complete(self, line: str) -> tuple[int, list[str]]:
        return await self._link.complete(line)

    async def explain(self, line: str) -> list[str]:
        words = await self._link.help(line)
        return [f"  {word:<20} {text}".rstrip() for word, text in words] or ["  % nothing fits"]

    async def _leave(self) -> None:
        if self._following is not None:
            self._following.cancel()
        self._link.close()
        if self._link.privileged and not self._gate.lost.done():
            await self._gate.forget(self._number)
