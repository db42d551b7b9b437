"""A process that has the garden loaded, in place of the daemon: it can be killed.

    python host.py DIRECTORY 1|0 GARDEN...

It prints `ready` (with 1, after build-garden has run), obeys lines on stdin (`trap 10.0.0.1`,
`free 10.0.0.1`, `reload`, `quit`), and answers each with `done`. What the plugin logs goes to
stderr.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from l2tpns_core.plugins import ParamKillSession, ParamNewSession, ParamSettingsChanged
from l2tpns_core.session import Session, SessionState
from l2tpns_plugins_garden import GardenPlugin
from l2tpns_plugins_garden.settings import NamedGarden, Settings


class HostApi:
    """The part of PluginApi that the garden uses."""

    name = "garden"
    is_master = True
    keeps_sessions = False
    log = logging.LoggerAdapter(logging.getLogger("garden"), {})

    def __init__(self, directory: Path, gardens: Iterable[str] = ("unpaid",)) -> None:
        self.config_directory = directory
        self.settings = Settings(
            check_interval=0.1, gardens={name: NamedGarden() for name in gardens}
        )
        self.live: dict[str, Session] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def sessions(self) -> Iterator[Session]:
        return iter(self.live.values())

    def drop(self, session: Session, reason: str) -> None:
        self.live.pop(str(IPv4Address(session.ip)))

    def set_garden(self, session: Session, trapped: bool, *, user: str | None = None) -> None:
        session.walled_garden = trapped

    def create_task(
        self, coroutine: Coroutine[object, object, None], name: str = ""
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def every(self, seconds: float, function: Callable[[], None]) -> Callable[[], object]:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                function()

        return self.create_task(repeat()).cancel


async def main(directory: Path, waits: bool, gardens: list[str]) -> None:
    api = HostApi(directory, gardens)
    plugin = GardenPlugin(api)  # type: ignore[arg-type]
    plugin.plugin_init()
    if waits:
        await asyncio.gather(*(task for task in api.tasks if task.get_name() == "build-garden"))
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, _, address = line.strip().partition(" ")
        if command == "quit":
            break
        obey(api, plugin, command, address)
        print("done", flush=True)
    plugin.plugin_done()  # as in the daemon, before its tasks are cancelled
    for task in list(api.tasks):
        task.cancel()
    print("done", flush=True)


def obey(api: HostApi, plugin: GardenPlugin, command: str, address: str) -> None:
    if command == "reload":
        previous, api.settings = api.settings, replace(api.settings, build_timeout=20.0)
        plugin.settings_changed(ParamSettingsChanged(api.settings, previous))
    elif command == "trap":
        session = Session(1, len(api.live) + 1, 1, 1, 0.0, None, "")
        session.ip, session.walled_garden = int(IPv4Address(address)), True
        session.state, session.user = SessionState.NETWORK, "alice"
        api.live[address] = session
        plugin.new_session(ParamNewSession(t=1, s=session.session_id, session=session))
    else:
        session = api.live.pop(address)
        plugin.kill_session(ParamKillSession(t=1, s=session.session_id, session=session))


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "1", sys.argv[3:]))
