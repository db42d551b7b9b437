"""What operators are told of plugins, and how they load and remove them."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from l2tpns_core.cli.grammar import Access, Mode
from l2tpns_core.plugins import PLUGIN_API_VERSION, ParamTimer, PluginApi, hookimpl
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.plugins.scope import PluginScope
from unit.cli.fakes import FakeContext


class Ticker:
    """Fails at every second tick."""

    api_version = PLUGIN_API_VERSION

    def __init__(self, api: PluginApi) -> None:
        self.api = api
        self.ticks = 0

    @hookimpl
    def timer(self, param: ParamTimer) -> None:
        self.ticks += 1
        if self.ticks % 2 == 0:
            raise ValueError("even")


class Context(FakeContext):
    """With a manager of plugins, and a record of what was asked of it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        nothing: Any = None
        self.manager = PluginManager()
        self.manager.make_api = lambda name, plugin_class: PluginApi(
            name, nothing, PluginScope(name, loop, self.manager.watch), nothing
        )
        self.plugins: Any = self.manager
        self.asked: list[tuple[str, str]] = []

    def load_plugin(self, name: str) -> str:
        if name == "nope":
            raise PluginError('no plugin "nope" is installed')
        self.asked.append(("load", name))
        return f"Plugin {name} loaded (some-dist 1.0)"

    def remove_plugin(self, name: str) -> str:
        self.asked.append(("remove", name))
        return f"Plugin {name} removed"


@pytest.fixture
def context() -> Iterator[Context]:
    loop = asyncio.new_event_loop()
    yield Context(loop)
    loop.close()


def test_plugins_are_loaded_and_removed_in_configure_mode(context: Context) -> None:
    assert context.run("load plugin garden", Mode.CONFIG).text == (
        "Plugin garden loaded (some-dist 1.0)"
    )
    assert context.run("rem pl garden", Mode.CONFIG).text == "Plugin garden removed"
    assert context.asked == [("load", "garden"), ("remove", "garden")]


def test_only_there_and_only_for_who_may(context: Context) -> None:
    assert context.run("load plugin garden").error
    refused = context.run("load plugin garden", access=Access(Mode.CONFIG, privileged=False))
    assert refused.error
    assert context.asked == []


def test_a_refusal_is_the_commands_error(context: Context) -> None:
    assert context.run("load plugin nope", Mode.CONFIG).error == 'no plugin "nope" is installed'
    assert context.run("load plugin", Mode.CONFIG).error == "Specify a plugin to load"
    assert context.run("remove plugin", Mode.CONFIG).error == "Specify a plugin to remove"


def test_show_plugins_tells_calls_time_and_errors(context: Context) -> None:
    context.manager.register("ticker", Ticker)
    for _ in range(4):
        context.manager.timer(ParamTimer(time_now=1))
    lines = context.run("show plugins").lines
    assert lines[0].split()[:3] == ["Plugin", "Version", "Distribution"]
    assert lines[1].split()[0] == "ticker"
    assert lines[2].split()[0] == "timer"
    assert (lines[2].split()[1], lines[2].split()[-1]) == ("4", "2")
    assert "Installed, not loaded:" in lines
    assert any(line.startswith("garden ") for line in lines)
    (document,) = [json.loads(context.run("show plugins", json=True).text)]
    (plugin,) = document["loaded"]
    assert plugin["hooks"]["timer"]["calls"] == 4
    assert plugin["hooks"]["timer"]["errors"] == 2
    assert "garden" in {other["name"] for other in document["installed"]}


def test_show_plugins_tells_what_runs_in_the_background(context: Context) -> None:
    loaded = context.manager.register("ticker", Ticker)
    assert loaded.api is not None
    loaded.api.scope.call(lambda: None)
    assert any(line.startswith("  tasks, timers") for line in context.run("show plugins").lines)


def test_without_plugins_it_says_so(context: Context) -> None:
    assert "No plugin is loaded" in context.run("show plugins").text


def test_counters_of_interception_are_for_privileged_eyes(context: Context) -> None:
    context.values = {"packets_snooped": 3, "session_created": 4}
    assert "packets_snooped" in context.run("show counters").text
    for as_json in (False, True):
        seen = context.run("show counters", json=as_json, access=Access(privileged=False))
        assert "session_created" in seen.text
        assert "snoop" not in seen.text
