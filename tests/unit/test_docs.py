"""The documentation agrees with the code, and its examples work."""

import re
import sys
import tomllib
import types
from dataclasses import fields
from pathlib import Path

import pytest

import l2tpns_core
from l2tpns_core.cli.reference import commands_page
from l2tpns_core.config.reference import directives_page
from l2tpns_core.plugins import PluginResult, discovery
from l2tpns_core.plugins.hookspecs import EVENTS
from support.memory import World

ROOT = Path(__file__).parents[2]
SOURCE = Path(l2tpns_core.__file__).parent
PLUGINS_PAGE = (ROOT / "docs" / "plugins.md").read_text()
ARCHITECTURE_PAGE = ROOT / "docs" / "architecture.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one of the same or a higher level."""
    level = heading.split(" ")[0]
    found = re.search(
        rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", page, re.DOTALL | re.MULTILINE
    )
    assert found, f"no heading {heading!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, its head left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def test_the_page_has_a_heading_for_each_event_and_no_other() -> None:
    headings = re.findall(r"^### (.*)$", section(PLUGINS_PAGE, "## The events"), re.MULTILINE)
    assert sorted(headings) == sorted(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_the_fields_of_an_event_are_documented_in_order(event: str) -> None:
    documented = [row[0].strip("`") for row in rows(section(PLUGINS_PAGE, f"### {event}"))]
    assert documented == [field.name for field in fields(EVENTS[event])]  # type: ignore[arg-type]


@pytest.mark.parametrize("event", EVENTS)
def test_the_fields_that_may_be_set_are_documented(event: str) -> None:
    table = rows(section(PLUGINS_PAGE, f"### {event}"))
    settable = {row[0].strip("`"): row[1] for row in table if "*may be set*" in row[2]}
    declared = {name: kind.__name__ for name, kind in EVENTS[event].CHANGEABLE.items()}
    assert settable == declared


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_names_the_class_of_its_argument(event: str) -> None:
    assert f"`{EVENTS[event].__name__}`" in section(PLUGINS_PAGE, f"### {event}")


def test_events_that_the_core_does_not_raise_are_documented_as_such() -> None:
    sources = [p for p in SOURCE.rglob("*.py") if "plugins" not in p.relative_to(SOURCE).parts]
    text = "".join(path.read_text() for path in sources)
    raised = set(re.findall(r"plugins\.(\w+)\(", text)) & set(EVENTS)
    documented = {
        event
        for event in EVENTS
        if "Not raised in this release" not in section(PLUGINS_PAGE, f"### {event}")
    }
    assert documented == raised


def test_the_api_that_is_documented_is_there() -> None:
    lns = World().lns
    names = re.findall(r"`api\.(\w+)", section(PLUGINS_PAGE, "## The api"))
    assert {"sessions", "drop_session"} <= set(names)
    assert [name for name in names if not hasattr(lns, name)] == []


def test_the_results_are_documented_with_their_numbers() -> None:
    table = rows(section(PLUGINS_PAGE, "## How an event runs"))
    documented = {re.findall(r"PLUGIN_RET_(\w+)", row[0])[0]: int(row[1]) for row in table}
    assert documented == {result.name: int(result) for result in PluginResult}


def test_the_example_plugin_works_and_passes_its_own_test(monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, test = code(PLUGINS_PAGE, "python")
    module = types.ModuleType("l2tpns_stripdomain")
    exec(plugin, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    namespace: dict[str, object] = {}
    exec(test, namespace)
    run = namespace["test_realm_is_removed"]
    assert callable(run)
    run()


def test_the_example_project_names_the_example_plugin() -> None:
    (text,) = code(PLUGINS_PAGE, "toml")
    project = tomllib.loads(text)
    (value,) = project["project"]["entry-points"][discovery.GROUP].values()
    module, _, name = value.partition(":")
    (package,) = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert f"`{package}/__init__.py`" in PLUGINS_PAGE
    assert package.endswith(module)
    assert f"class {name}:" in PLUGINS_PAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in anchors, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in re.findall(r"`((?:docs|tests|l2tpns_\w+)/[\w./]*)`", page.read_text()):
        assert (ROOT / name).exists(), name


def test_modules_that_the_architecture_names_exist() -> None:
    names = re.findall(r"`((?:\w+/)*\w+\.py|(?:\w+/)+)`", ARCHITECTURE_PAGE.read_text())
    assert names
    for name in names:
        assert any((base / name).exists() for base in (SOURCE, SOURCE.parent, ROOT)), name


def test_the_architecture_names_every_package_and_top_level_module() -> None:
    text = ARCHITECTURE_PAGE.read_text()
    units = {f"`{path.name}/`" for path in SOURCE.iterdir() if any(path.glob("*.py"))}
    units |= {f"`{path.name}`" for path in SOURCE.glob("*.py")} - {"`__init__.py`"}
    assert {unit for unit in units if unit not in text} == set()


def test_the_changelog_has_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[?({re.escape(l2tpns_core.__version__)}|Unreleased)\b", text, re.M)


def test_the_reference_of_directives_is_that_of_the_code() -> None:
    """Write it anew: python -m l2tpns_core.config.reference > docs/reference/directives.md"""
    page = (ROOT / "docs" / "reference" / "directives.md").read_text()
    assert page.strip() == directives_page().strip()


def test_the_reference_of_commands_is_that_of_the_code() -> None:
    """Write it anew: python -m l2tpns_core.cli.reference > docs/reference/commands.md"""
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert page.strip() == commands_page().strip()
