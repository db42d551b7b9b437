"""The pages for plugin authors: the API as it is documented, and every example at work."""

import inspect
import logging
import re
import sys
import time
import tomllib
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.lab.live import LiveSite
from l2tpns_core.lab.world import LnsWorld, address
from l2tpns_core.plugins import PluginApi, discovery
from l2tpns_core.radius.model import AccessOutcome, AccessReply, AccessRequest

DOCS = Path(__file__).parents[2] / "docs" / "plugins"
API_PAGE = (DOCS / "api.md").read_text()
RECIPES_PAGE = (DOCS / "recipes.md").read_text()
TESTING_PAGE = (DOCS / "testing.md").read_text()
TUTORIAL_PAGE = (DOCS / "tutorial.md").read_text()


def code(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def load_module(source: str, name: str = "documented") -> types.ModuleType:
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses look for it
    exec(source, module.__dict__)
    return module


def recipe(heading: str) -> types.ModuleType:
    _, found, rest = RECIPES_PAGE.partition(f"## {heading}\n")
    assert found, heading
    return load_module(code(rest, "python")[0])


@pytest.fixture(autouse=True)
def forget_modules() -> Iterator[None]:
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith(("documented", "l2tpns_stripdomain")):
            del sys.modules[name]


def test_the_api_is_documented_with_its_arguments() -> None:
    documented = dict(re.findall(r"^\| `(\w+)\((.*?)\)`", API_PAGE, re.MULTILINE))
    methods = {
        name: ", ".join(list(inspect.signature(method).parameters)[1:])
        for name, method in inspect.getmembers(PluginApi, inspect.isfunction)
        if not name.startswith("_")
    }
    assert documented == methods


def test_the_attributes_of_the_api_are_documented(lns_world: LnsWorld) -> None:
    class Plugin:
        api_version = 1

        def __init__(self, api: PluginApi) -> None:
            self.api = api

    api = lns_world.load(Plugin).api
    methods = {name for name, _ in inspect.getmembers(PluginApi, inspect.isfunction)}
    there = {name for name in dir(api) if not name.startswith("_")} - methods
    attributes = API_PAGE.partition("## Attributes")[2].partition("## Looking")[0]
    assert set(re.findall(r"^\| `(\w+)` ", attributes, re.MULTILINE)) == there


def test_the_fixture_is_documented_as_it_is() -> None:
    named = re.findall(r"^\| `(\w+)\(", TESTING_PAGE, re.MULTILINE)
    assert set(named) >= {"load", "dial", "run", "unload", "nsctl", "wait_until"}
    assert [name for name in named if not hasattr(LnsWorld, name)] == []


def test_the_example_of_the_testing_page_passes(lns_world: LnsWorld) -> None:
    source, _with_a_kernel = code(TESTING_PAGE, "python")
    load_module(source).test_a_subscriber_for_an_hour(lns_world)


@pytest.mark.daemon
@pytest.mark.netns
@pytest.mark.lns(plugins=["autothrottle"], throttle_speed=64)
def test_the_example_with_a_kernel_passes(lns_site: LiveSite) -> None:
    _in_memory, source = code(TESTING_PAGE, "python")
    load_module(source).test_throttled_by_radius(lns_site)


@pytest.mark.parametrize("name", ["test_the_realm_is_removed", "test_a_realm_can_be_kept"])
def test_the_tutorials_plugin_passes_its_tests(lns_world: LnsWorld, name: str) -> None:
    plugin, tests = code(TUTORIAL_PAGE, "python")
    load_module(plugin, "l2tpns_stripdomain")
    getattr(load_module(tests), name)(lns_world)


def test_the_tutorials_project_names_its_plugin() -> None:
    (text,) = code(TUTORIAL_PAGE, "toml")
    project = tomllib.loads(text)
    (value,) = project["project"]["entry-points"][discovery.GROUP].values()
    module, _, name = value.partition(":")
    (package,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert f"`{package}/__init__.py`" in TUTORIAL_PAGE
    assert package.endswith(module)
    assert f"class {name}:" in TUTORIAL_PAGE


def test_the_settings_of_the_api_page_fit_together(lns_world: LnsWorld) -> None:
    (source,) = code(API_PAGE, "python")
    (text,) = code(API_PAGE, "toml")
    module = load_module(source)

    class Hotel:
        api_version = 1
        Settings = module.Settings

        def __init__(self, api: PluginApi) -> None:
            self.api = api

    settings = lns_world.load(Hotel, settings=tomllib.loads(text)["hotel"]).api.settings
    assert settings.greeting == "welcome"
    assert settings.rooms["lobby"].places == 20


def test_recipe_tariff(lns_world: LnsWorld) -> None:
    plugin = lns_world.load(recipe("A RADIUS attribute as policy").Tariff)
    for user in ("night", "day"):
        lns_world.radius.add_user(user, avpairs=[f"tariff={user}"])
    plugin.clock = lambda: time.struct_time((2026, 1, 1, 12, 0, 0, 3, 1, 0))
    assert lns_world.dial("night").session.throttle_in == 2_000
    assert lns_world.dial("day").session.throttle_in == 0
    plugin.clock = lambda: time.struct_time((2026, 1, 1, 3, 0, 0, 3, 1, 0))
    lns_world.radius.add_user("night", avpairs=["tariff=night"])
    assert lns_world.dial("night").session.throttle_in == 0


def test_recipe_firewall_set(
    lns_world: LnsWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said = tmp_path / "said"
    program = tmp_path / "nft"
    program.write_text(f'#!/bin/sh\necho "$1" >> {said}\n')
    program.chmod(0o755)
    module = recipe("A firewall set of who is online")
    module.FirewallSet.program = str(program)
    lns_world.load(module.FirewallSet)
    lns_world.radius.add_user("alice", avpairs=["fwset=online"])
    lns_world.radius.add_user("bob")
    lns_world.dial("bob")
    alice = lns_world.dial("alice")
    alice.hang_up()
    lns_world.wait_until(lambda: "delete element" in caplog.text)
    assert said.read_text().splitlines() == [
        "add element inet filter online { 10.0.0.2 }",
        "delete element inet filter online { 10.0.0.2 }",
    ]


def test_recipe_chat(lns_world: LnsWorld, caplog: pytest.LogCaptureFixture) -> None:
    lines: list[str] = []
    module = recipe("A message when somebody logs in")

    def post(self: object, line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            raise OSError("no route")

    module.ChatNote.post = post
    lns_world.load(module.ChatNote, settings={"url": "https://chat.example/hook"})
    for user in ("alice", "bob", "carol"):
        lns_world.dial(user)
    lns_world.wait_until(lambda: len(lines) == 3)
    assert lines == ["alice is online", "bob is online", "carol is online"]
    assert "the chat does not answer: no route" in caplog.text


def test_recipe_second_opinion(lns_world: LnsWorld) -> None:
    lns_world.load(recipe("A second opinion from RADIUS").NumberCheck)
    judge: Callable[[AccessRequest], Any] = lambda request: AccessReply(  # noqa: E731
        AccessOutcome.REJECT if request.user == b"0123456" else AccessOutcome.ACCEPT
    )
    lns_world.memory.radius.policy = judge
    client = lns_world.dial("alice")
    assert lns_world.radius.requests[-1].user == b"0123456"
    lns_world.run(30.0)
    assert not client.is_connected
    assert client.ip == address("10.0.0.1")
    assert lns_world.radius.records[-1].reason == "calling number is barred"
