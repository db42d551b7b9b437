"""The fixtures as pytest gives them to the authors of plugins."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULE = "l2tpns_core.pytest_plugin"

HEAVY = ("l2tpns_core.lab", "l2tpns_core.plugins", "asyncio", "ssl", "pluggy", "pyrad", "pyroute2")
ADDED = f"""
import sys, pytest
before = set(sys.modules)
import {MODULE}
added = set(sys.modules) - before
print(" ".join(name for name in {HEAVY} if name in added))
"""

REFUSING = """
from l2tpns_core.lab.live import LiveSite
from l2tpns_core.lab.netns import LabError

def refuse(self):
    try:
        raise PermissionError(1, "unshare")
    except OSError as error:
        raise LabError("run as root") from error

LiveSite.__enter__ = refuse
"""

LEAVING = """
import asyncio

class Leaving:
    api_version = 1

    def __init__(self, api):
        self.api = api

    def plugin_init(self):
        self.api.create_task(self.start())

    async def start(self):
        self.child = asyncio.create_task(asyncio.sleep(60), name="forgotten")

def test_leaving(lns_world):
    lns_world.load(Leaving)
"""


def run_pytest(directory: Path, source: str, conftest: str = "") -> tuple[int, str]:
    """Run a test file with no settings but the defaults; exit status and output."""
    (directory / "test_it.py").write_text(source)
    (directory / "conftest.py").write_text(conftest)
    (directory / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=directory,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_pytest_imports_a_module_that_is_cheap() -> None:
    project = tomllib.loads((ROOT / "l2tpns_core" / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"l2tpns": MODULE}
    done = subprocess.run([sys.executable, "-c", ADDED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_mark_is_known_where_unknown_ones_are_errors(tmp_path: Path) -> None:
    source = "import pytest\n\n@pytest.mark.lns(throttle_speed=9)\ndef test_it(lns_world): ...\n"
    status, output = run_pytest(tmp_path, source)
    assert status == 0, output
    assert "1 passed" in output


def test_a_plugin_that_leaves_something_behind_fails_its_test(tmp_path: Path) -> None:
    status, output = run_pytest(tmp_path, LEAVING)
    assert status == 1, output
    assert "all plugins were unloaded, and still there: task forgotten" in output


def test_a_site_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    status, output = run_pytest(tmp_path, "def test_it(lns_site): ...\n", REFUSING)
    assert status == 1, output
    _, _, rest = output.partition("ERROR at setup of test_it")
    said, _, _ = rest.partition("=====")
    assert said.strip("_ \n") == "lns_site: run as root"
