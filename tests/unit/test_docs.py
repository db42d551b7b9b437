"""The documentation agrees with the code, and its examples work."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import l2tpns_core
from l2tpns_core.cli.reference import commands_page
from l2tpns_core.config.reference import directives_page
from l2tpns_core.dataplane.ebpf.layout import OUTCOMES
from l2tpns_core.plugins import PluginResult
from l2tpns_core.plugins.hookspecs import EVENTS

ROOT = Path(__file__).parents[2]
SOURCE = Path(l2tpns_core.__file__).parent
EVENTS_PAGE = (ROOT / "docs" / "plugins" / "events.md").read_text()
ARCHITECTURE_PAGE = ROOT / "docs" / "architecture.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


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
    headings = re.findall(r"^### (.*)$", section(EVENTS_PAGE, "## The events"), re.MULTILINE)
    assert sorted(headings) == sorted(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_the_fields_of_an_event_are_documented_in_order(event: str) -> None:
    documented = [row[0].strip("`") for row in rows(section(EVENTS_PAGE, f"### {event}"))]
    assert documented == [field.name for field in fields(EVENTS[event])]  # type: ignore[arg-type]


@pytest.mark.parametrize("event", EVENTS)
def test_the_fields_that_may_be_set_are_documented(event: str) -> None:
    table = rows(section(EVENTS_PAGE, f"### {event}"))
    settable = {row[0].strip("`"): row[1] for row in table if "*may be set*" in row[2]}
    declared = {name: kind.__name__ for name, kind in EVENTS[event].CHANGEABLE.items()}
    assert settable == declared


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_names_the_class_of_its_argument(event: str) -> None:
    assert f"`{EVENTS[event].__name__}`" in section(EVENTS_PAGE, f"### {event}")


def test_events_that_the_core_does_not_raise_are_documented_as_such() -> None:
    sources = [p for p in SOURCE.rglob("*.py") if "plugins" not in p.relative_to(SOURCE).parts]
    text = "".join(path.read_text() for path in sources)
    raised = set(re.findall(r"plugins\.(\w+)\(", text)) & set(EVENTS)
    raised.add("settings_changed")  # by the manager itself, see test_api.py
    documented = {
        event
        for event in EVENTS
        if "Not raised in this release" not in section(EVENTS_PAGE, f"### {event}")
    }
    assert documented == raised


def test_the_results_are_documented_with_their_numbers() -> None:
    table = rows(section(EVENTS_PAGE, "## How an event runs"))
    documented = {re.findall(r"PLUGIN_RET_(\w+)", row[0])[0]: int(row[1]) for row in table}
    assert documented == {result.name: int(result) for result in PluginResult}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    for name in re.findall(r"`((?:docs|tests|l2tpns_\w+)/[\w./]*)`", page.read_text()):
        if page.name != "tutorial.md":  # it names what its reader makes
            assert any((base / name).exists() for base in (ROOT, SOURCE.parent)), name


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


def test_the_page_on_the_data_plane_explains_every_reason() -> None:
    page = (ROOT / "docs" / "dataplane.md").read_text()
    reasons = {
        name.partition(f"_{kind}_")[2].replace("_", " ")
        for name in OUTCOMES
        for kind in ("punt", "drop")
    } - {""}
    assert len(reasons) > 15
    assert not [reason for reason in sorted(reasons) if f"`{reason}`" not in page]
