"""An LNS in memory for the tests of plugins: load, dial, look.

    def test_strips_the_realm(lns_world):
        lns_world.load(StripDomain)
        lns_world.dial("alice@example.net")
        assert lns_world.radius.requests[-1].user == b"alice"

Time is virtual: it stands still but for run(), which walks it, with the timers of the LNS, the
`timer` event, and the plugins' tasks and timers. What waits for something outside of this process
needs wait_until().
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

from l2tpns_core.control.client import BUILT_IN
from l2tpns_core.control.dispatch import Dispatcher
from l2tpns_core.control.wire import Kind, Outcome, Request
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.lab.memory import Client, Lac, World, ip
from l2tpns_core.lab.virtual_loop import VirtualLoop
from l2tpns_core.plugin_host import PluginHost
from l2tpns_core.plugins.chain import LoadedPlugin
from l2tpns_core.plugins.events import ParamBecomeMaster, ParamTimer
from l2tpns_core.plugins.manager import EventName
from l2tpns_core.plugins.settings import FILE_NAME, SettingsTables
from l2tpns_core.radius.avpair import split_avpair
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    AccountingRecord,
    PapCredentials,
)
from l2tpns_core.session import Session

DEFAULT_PASSWORD: Final = "secret"
POLL_S: Final = 0.01
POOL_SIZE: Final = 200
NSCTL_SOURCE: Final = ("127.0.0.1", 40_000)


class LeftBehindError(AssertionError):
    """A plugin was unloaded, and something of it is still there."""


@dataclass(slots=True)
class Answer:
    """What nsctl would print, and whether its exit status would be 0."""

    ok: bool
    text: str


@dataclass(slots=True)
class Account:
    """A user as RADIUS knows it."""

    password: str
    reply: AccessReply
    rejected: bool = False


class Subscriber:
    """One PPP client and its session."""

    def __init__(self, world: "LnsWorld", client: Client) -> None:
        self._world = world
        self._client = client

    @property
    def up(self) -> bool:
        """Whether its IPCP is open: it may send packets."""
        return self._client.up

    @property
    def refusal(self) -> str:
        """What it was told when its login was refused, "" when it was not."""
        return self._client.refused.decode(errors="replace")

    @property
    def session(self) -> Session:
        """The session in the LNS. Raises LookupError when it has ended."""
        session = self._world.lns.sessions.get(self._client.key)
        if session is None:
            raise LookupError(f"the session of {self._client.user} has ended")
        return session

    @property
    def is_connected(self) -> bool:
        """Whether the LNS has a session of it."""
        return self._client.key in self._world.lns.sessions

    @property
    def ip(self) -> int:
        """Its address as a number in host order, as everywhere in the API."""
        return self._client.ip

    def hang_up(self) -> None:
        """End the line by an LCP Terminate-Request."""
        self._client.send(0xC021, 5, 99)
        self._world.run()

    def send(self, packet: bytes) -> bytes | None:
        """Send an IP packet; what goes on into the network, None when a plugin dropped it."""
        return self._pass(packet, self._world.lns.packet_rx, 0)

    def receive(self, packet: bytes) -> bytes | None:
        """Have an IP packet come for it; what reaches it, None when a plugin dropped it."""
        return self._pass(packet, self._world.lns.packet_tx, 1)

    def _pass(
        self, packet: bytes, hook: Callable[[int, bytes], bytes | None], direction: int
    ) -> bytes | None:
        key = self.session.key
        passed = hook(key, packet) or None
        if passed is not None:
            plane = self._world.lns.plane
            used = list(plane.counters(key))
            used[direction] += len(passed)
            used[2 + direction] += 1
            used[4] = used[5] = self._world.now
            self._world.memory.plane.set_usage(key, SessionCounters(*used))  # type: ignore[arg-type]
        return passed


class WorldRadius:
    """The RADIUS server. It accepts everybody until somebody is added; then only those."""

    def __init__(self, memory: World) -> None:
        self._memory = memory
        self._accounts: dict[str, Account] = {}
        self.is_silent = False
        """Set to have no request answered."""
        memory.radius.policy = self._answer

    @property
    def requests(self) -> list[AccessRequest]:
        """The Access-Requests so far."""
        return self._memory.radius.requests

    @property
    def records(self) -> list[AccountingRecord]:
        """The Accounting-Requests so far."""
        return self._memory.radius.records

    def accounting(self) -> list[str]:
        """The same in words, for instance `START alice`."""
        return [
            f"{record.status.name} {record.identity.user if record.identity else ''}".rstrip()
            for record in self.records
        ]

    def add_user(
        self,
        name: str,
        password: str = DEFAULT_PASSWORD,
        avpairs: Iterable[str] = (),
        *,
        rejected: bool = False,
        **attributes: Any,
    ) -> None:
        """Know a user. `avpairs` are the values of Cisco-AVPairs; further attributes are fields of
        l2tpns_core.radius.model.AccessReply. `rejected` has them come with a reject."""
        outcome = AccessOutcome.REJECT if rejected else AccessOutcome.ACCEPT
        pairs = tuple(pair for value in avpairs for pair in split_avpair(value))
        self._accounts[name] = Account(
            password, AccessReply(outcome, avpairs=pairs, **attributes), rejected
        )

    def _answer(self, request: AccessRequest) -> AccessReply | None:
        if self.is_silent:
            return None
        if not self._accounts:
            return AccessReply(AccessOutcome.ACCEPT)
        account = self._accounts.get(request.user.decode(errors="replace"))
        credentials = request.credentials
        if account is None or not isinstance(credentials, PapCredentials):
            return AccessReply(AccessOutcome.REJECT)
        if credentials.password != account.password.encode():
            return AccessReply(AccessOutcome.REJECT)
        return replace(account.reply)


class _Settings:
    """Takes the place of plugins.toml."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        self.tables: dict[str, object] = {}

    def read(self) -> SettingsTables:
        return SettingsTables(self.path, dict(self.tables))


class LnsWorld:
    """A running LNS with its surroundings. Directives are given by their names."""

    def __init__(self, directory: Path, **directives: object) -> None:
        self.memory = World(POOL_SIZE, **directives)
        """What is underneath: plane, kernel routes, LACs."""
        self.lns = self.memory.lns
        self.plugins = self.memory.plugins
        self.radius = WorldRadius(self.memory)
        self.loop = VirtualLoop(lambda: self.memory.now)
        self._settings = _Settings(directory)
        self._host = PluginHost(self.lns, self.plugins, self.loop, directory, self._settings)
        self._control = Dispatcher(self.lns, self.plugins)
        self._lac: Lac | None = None
        self._next_tick: float | None = None

    @property
    def now(self) -> float:
        """Monotonic seconds of the virtual clock."""
        return self.memory.now

    # Plugins

    def load(
        self, plugin: type | str, name: str = "", settings: Mapping[str, object] | None = None
    ) -> Any:
        """Load a plugin: its class, or the name of one that is installed. Returns the instance.
        A class LoginWatch is loaded as login_watch, unless it is given a name. Raises
        PluginError."""
        name = name or (plugin if isinstance(plugin, str) else _snake_case(plugin.__name__))
        if settings is not None:
            self._settings.tables[name] = dict(settings)
        if isinstance(plugin, str):
            loaded = self.plugins.load(plugin)
        else:
            loaded = self.plugins.register(name, plugin)
        self.plugins.become_master(ParamBecomeMaster())
        self.run()
        return loaded.instance

    def loaded(self, name: str) -> LoadedPlugin:
        """What `show plugins` knows of a plugin. Raises LookupError."""
        for plugin in self.plugins.loaded():
            if plugin.name == name:
                return plugin
        raise LookupError(f"plugin {name} is not loaded")

    def change_settings(self, name: str, **settings: object) -> None:
        """As if plugins.toml was changed and the daemon got SIGHUP."""
        self._settings.tables[name] = settings
        self._host.reload_settings()
        self.run()

    def unload(self, name: str) -> None:
        """Unload a plugin. Raises LeftBehindError when a task of it goes on."""
        self.plugins.unload(name)
        self.run()
        left = [task.get_name() for task in asyncio.all_tasks(self.loop) if not task.done()]
        mine = [task for task in left if task.startswith(f"{name}: ")]
        if mine:
            raise LeftBehindError(f"plugin {name} was unloaded, and still there: {', '.join(mine)}")

    # What happens

    def dial(self, user: str = "alice", password: str = DEFAULT_PASSWORD) -> Subscriber:
        """Have a subscriber call and log in by PAP, and wait until it is in or refused."""
        if self._lac is None:
            self._lac = Lac(self.memory).open()
        client = self._lac.call(user, password)
        self.run()
        return Subscriber(self, client)

    def nsctl(self, *words: str) -> Answer:
        """Send a control request, as `nsctl WORD...` does."""
        kind = BUILT_IN.get(words[0]) if words else None
        if kind is None:
            request = Request(Kind.CONTROL, tuple(words))
        else:
            request = Request(kind, tuple(words[1:]))
        reply = self._control.answer(request, b"", NSCTL_SOURCE)
        self.run()
        return Answer(reply.outcome is Outcome.OK, "\n".join(reply.lines))

    def run(self, seconds: float = 0.0) -> None:
        """Let everything happen that happens within so many seconds."""
        memory, end = self.memory, self.memory.now + seconds
        while True:
            memory.run()
            task_at = self.loop.settle()
            if memory.settle():
                continue
            deadlines = (task_at, self.lns.timers.next_deadline(), self._tick_at())
            deadline = min((each for each in deadlines if each is not None), default=None)
            if deadline is None or deadline > end:
                break
            memory.now = max(memory.now, deadline)
            self.lns.handle_timers(memory.now)
            self._tick()
        memory.now = end

    def wait_until(self, condition: Callable[[], object], seconds: float = 5.0) -> None:
        """Wait, in real time, for something that a thread or another process does. Raises
        AssertionError when it does not happen."""
        end = time.monotonic() + seconds
        while True:
            self.run()
            if condition():
                return
            if time.monotonic() > end:
                raise AssertionError(f"it has not happened within {seconds:g} s")
            time.sleep(POLL_S)

    def close(self) -> None:
        """Unload everything. Raises LeftBehindError when anything of any plugin goes on."""
        try:
            for plugin in reversed(self.plugins.loaded()):
                self.plugins.unload(plugin.name)
            self.run()
            left = self._left()
            if left:
                raise LeftBehindError(f"all plugins were unloaded, and still there: {left}")
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.settle()
            self.loop.close()

    def _left(self) -> str:
        """What is still there when no plugin is loaded, whoever started it; "" for nothing."""
        left = sorted(f"task {task.get_name()}" for task in asyncio.all_tasks(self.loop))
        if not left and self.loop.settle() is not None:
            left.append("a timer of asyncio")
        left += [
            f"a hook for {event}" for event in get_args(EventName) if self.plugins.listens(event)
        ]
        return ", ".join(left)

    def _tick_at(self) -> float | None:
        """When `timer` is due. The seconds count from when somebody listens."""
        if not self.plugins.listens("timer"):
            self._next_tick = None
        elif self._next_tick is None:
            self._next_tick = self.memory.now + 1.0
        return self._next_tick

    def _tick(self) -> None:
        due_at = self._tick_at()
        if due_at is not None and self.memory.now >= due_at:
            self._next_tick = due_at + 1.0
            self.plugins.timer(ParamTimer(time_now=int(self.lns.wall())))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def address(text: str) -> int:
    """An IPv4 address as the API has it."""
    return ip(text)
