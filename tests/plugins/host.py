"""A process with a PluginManager that does what it reads: one command a line, one JSON answer.

Run by test_distributions.py with the directory of the sample distributions on its path.
"""

import asyncio
import json
import logging
import sys
from typing import Any, cast

from l2tpns_core.plugins import ParamKillSession, ParamNewSession, ParamPreAuth, ParamTimer
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.plugins.scope import PluginScope
from l2tpns_core.plugins.watch import Watch


class Api:
    """What the sample plugins are given."""

    def __init__(self, name: str) -> None:
        self.notes: list[str] = []
        self.scope = PluginScope(name, asyncio.new_event_loop(), Watch())

    def note(self, text: str) -> None:
        self.notes.append(text)


class Host:
    """The commands, one method each."""

    def __init__(self) -> None:
        self._api = Api("samples")
        self._manager = PluginManager(lambda name, plugin_class: cast(Any, self._api))

    def load(self, name: str) -> object:
        plugin = self._manager.load(name)
        return [plugin.name, plugin.distribution, plugin.version]

    def unload(self, name: str) -> None:
        self._manager.unload(name)

    def available(self) -> object:
        return [[p.name, p.distribution, p.version] for p in self._manager.available()]

    def loaded(self) -> object:
        return [plugin.name for plugin in self._manager.loaded()]

    def statistics(self) -> object:
        return {
            plugin.name: {event: [s.calls, s.errors] for event, s in plugin.statistics.items()}
            for plugin in self._manager.loaded()
        }

    def timer(self, time_now: str) -> object:
        return self._manager.timer(ParamTimer(time_now=int(time_now))).name

    def kill_session(self) -> object:
        nothing: Any = None
        return self._manager.kill_session(ParamKillSession(t=3, s=5, session=nothing)).name

    def new_session(self) -> object:
        nothing: Any = None
        return self._manager.new_session(ParamNewSession(t=3, s=5, session=nothing)).name

    def pre_auth(self, user: str) -> object:
        nothing: Any = None
        param = ParamPreAuth(
            t=3, s=5, session=nothing, username=user, password=b"pw", protocol=0xC023
        )
        return [self._manager.pre_auth(param).name, param.username]

    def notes(self) -> object:
        """What the plugins have noted since this was last asked."""
        taken, self._api.notes = self._api.notes, []
        return taken


def main() -> None:
    logging.basicConfig(stream=sys.stderr)
    host = Host()
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            answer = {"result": getattr(host, command)(*arguments)}
        except PluginError as error:
            answer = {"refused": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
