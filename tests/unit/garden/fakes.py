"""What the garden's tests stand in for: the kernel, and the api on top of an LNS in memory."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path

from l2tpns_core.session import Session
from l2tpns_plugins_garden import GardenPlugin
from l2tpns_plugins_garden.firewall import GardenError
from l2tpns_plugins_garden.rules import Garden, Layout
from l2tpns_plugins_garden.settings import Settings
from support.memory import World


def eventually(condition: Callable[[], object]) -> None:
    """Wait for a thread to bring that about."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


class FakeFirewall:
    """A Firewall of which only the members are real."""

    last: "FakeFirewall"
    refusal = ""

    def __init__(self, layout: Layout, report: Callable[[str], None]) -> None:
        self.layout = layout
        self.members: dict[int, Garden] = {}
        self.calls: list[str] = []
        self.has_lost_rules = True
        FakeFirewall.last = self

    def set_up(self, *, refill: bool) -> None:
        if self.refusal:
            raise GardenError(self.refusal)
        self.calls.append(f"set up, refill={refill}")

    def rearrange(self, layout: Layout, *, refill: bool) -> None:
        if self.refusal:
            raise GardenError(self.refusal)
        self.layout = layout
        self.calls.append(f"rearrange, refill={refill}")

    def change(self, changes: Mapping[int, Garden | None]) -> None:
        for address, garden in changes.items():
            if garden is None:
                del self.members[address]
            else:
                self.members[address] = self.layout.garden(garden.name)

    def check(self) -> bool:
        self.calls.append("check")
        return self.has_lost_rules

    def empty(self) -> None:
        self.calls.append("empty")

    def open(self) -> None:
        self.calls.append("open")

    def tear_down(self, *, emptied: bool) -> list[str]:
        self.calls.append(f"tear down, emptied={emptied}")
        return []

    def close(self) -> None:
        self.calls.append("close")


class FakeConnections:
    last: "FakeConnections"

    def __init__(self, report: Callable[[str], None]) -> None:
        self.forgotten: list[int] = []
        FakeConnections.last = self

    def forget(self, addresses: list[int]) -> int:
        self.forgotten += addresses
        return len(addresses)

    def close(self) -> None:
        pass


class FakeApi:
    """The part of PluginApi that the garden uses."""

    name = "garden"
    is_master = True
    keeps_sessions = False
    log = logging.LoggerAdapter(logging.getLogger("test.garden"), {})

    def __init__(self, world: World, directory: Path, settings: Settings | None = None) -> None:
        self._world = world
        self.config_directory = directory
        self.settings = settings
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.coroutines: list[Coroutine[object, object, None]] = []
        self.dropped: list[tuple[int, str]] = []

    def sessions(self) -> Iterator[Session]:
        return iter(self._world.lns.sessions.values())

    def find_session(self, text: str) -> Session:
        return self._world.lns.find_session(text)

    def sessions_by_user(self, user: str) -> list[Session]:
        return self._world.lns.sessions_of_user(user)

    def set_garden(self, session: Session, trapped: bool, *, user: str | None = None) -> None:
        self._world.lns.set_garden(session, trapped, user)

    def drop(self, session: Session, reason: str) -> None:
        self.dropped.append((session.ip, reason))
        self._world.lns.drop_session(session, reason)

    def create_task(self, coroutine: Coroutine[object, object, None], name: str = "") -> None:
        self.coroutines.append(coroutine)

    def every(self, seconds: float, function: Callable[[], None]) -> Callable[[], None]:
        timer = (seconds, function)
        self.timers.append(timer)
        return lambda: self.timers.remove(timer)

    def run_tasks(self) -> None:
        """Do what create_task() was given."""
        while self.coroutines:
            asyncio.run(self.coroutines.pop(0))


def load(world: World, directory: Path, settings: Settings | None = None) -> GardenPlugin:
    """Have the garden listen to the events of an LNS."""
    plugin = GardenPlugin(FakeApi(world, directory, settings))  # type: ignore[arg-type]
    world.plugins.register("garden", plugin)
    return plugin
