"""Four distributions and their umbrella: in step, each holding its own files and no others."""

import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import l2tpns_core
from l2tpns_core.plugins import PLUGIN_API_VERSION
from l2tpns_core.plugins.discovery import GROUP

ROOT = Path(__file__).parents[2]
CORE = "l2tpns_core"
PLUGINS = ("l2tpns_plugins_autosnoop", "l2tpns_plugins_autothrottle", "l2tpns_plugins_garden")
FOLDERS = (CORE, *PLUGINS)
PYTHONS = {"3.11", "3.12", "3.13"}


def settings(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())


def project(folder: str) -> dict[str, Any]:
    described: dict[str, Any] = settings(folder)["project"]
    return described


def build_wheel(folder: str, target: Path) -> zipfile.ZipFile:
    """Build a distribution as pip would, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    done = subprocess.run(command, cwd=ROOT / folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = target.glob("*.whl")
    return zipfile.ZipFile(wheel)


def test_each_folder_with_a_project_is_a_known_distribution() -> None:
    found = {path.parent.name for path in ROOT.glob("*/pyproject.toml")}
    assert found == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_distribution_is_named_after_its_folder(folder: str) -> None:
    assert project(folder)["name"] == folder.replace("_", "-")


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_there_is_one_version_in_one_place(folder: str) -> None:
    assert project(folder)["dynamic"] == ["version"]
    path = ROOT / folder / settings(folder)["tool"]["hatch"]["version"]["path"]
    assert path.resolve() == Path(l2tpns_core.__file__)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_installed_distribution_is_of_this_version(folder: str) -> None:
    assert version(folder.replace("_", "-")) == l2tpns_core.__version__


def test_tests_import_this_checkout() -> None:
    assert Path(l2tpns_core.__file__).is_relative_to(ROOT / CORE / "src")


@pytest.mark.parametrize("folder", PLUGINS)
def test_a_plugin_takes_the_core_of_its_own_minor_version(folder: str) -> None:
    (core,) = [
        requirement
        for requirement in map(Requirement, project(folder)["dependencies"])
        if requirement.name == "l2tpns-core"
    ]
    current = Version(l2tpns_core.__version__)
    assert core.specifier.contains(current)
    assert not core.specifier.contains(f"{current.major}.{current.minor + 1}.0")


def test_the_umbrella_installs_every_distribution_of_the_checkout() -> None:
    requirements = {r.partition(" @ ")[::2] for r in project("")["dependencies"]}
    assert requirements == {
        (folder.replace("_", "-"), f"{{root:uri}}/{folder}") for folder in FOLDERS
    }


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_python_versions_agree(folder: str) -> None:
    prefix = "Programming Language :: Python :: 3."
    classifiers = project(folder).get("classifiers", [])
    named = {c.rpartition(" ")[2] for c in classifiers if c.startswith(prefix)}
    assert named == (PYTHONS if folder == CORE else named & PYTHONS)
    supported = SpecifierSet(project(folder)["requires-python"])
    assert all(supported.contains(python) for python in PYTHONS)
    assert not supported.contains("3.10")


@pytest.mark.parametrize("folder", FOLDERS)
def test_commands_and_plugins_name_what_exists(folder: str) -> None:
    described = project(folder)
    for name, value in described.get("scripts", {}).items():
        assert callable(EntryPoint(name, value, "console_scripts").load()), name
    for name, value in described.get("entry-points", {}).get(GROUP, {}).items():
        assert value.startswith((f"{folder}:", f"{folder}."))
        assert folder == f"l2tpns_plugins_{name}"
        assert EntryPoint(name, value, GROUP).load().api_version == PLUGIN_API_VERSION


def test_the_core_brings_the_commands() -> None:
    assert set(project(CORE)["scripts"]) >= {"l2tpns", "l2tpns-cli", "l2tpns-lab"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_wheel_holds_its_package_and_nothing_else(folder: str, tmp_path: Path) -> None:
    with build_wheel(folder, tmp_path) as wheel:
        names = [name for name in wheel.namelist() if not name.endswith("/")]
    info = f"{folder}-{l2tpns_core.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {folder, info}
    source = ROOT / folder / "src"
    expected = {
        path.relative_to(source).as_posix()
        for path in (source / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if not name.startswith(info)} == expected
    assert f"{folder}/py.typed" in expected


def test_the_wheel_of_the_umbrella_holds_no_code(tmp_path: Path) -> None:
    with build_wheel("", tmp_path) as wheel:
        tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert tops == {f"l2tpns-{l2tpns_core.__version__}.dist-info"}
