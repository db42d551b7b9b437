"""Skipped tests: shown always, excused for the kernel only, and a failure in CI otherwise."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"

PASSES = "def test_passes(): pass\n"
EXCUSED = """
import pytest
@pytest.mark.skip(reason="kernel feature missing: no such thing")
def test_excused(): pass
"""
LAZY = """
import pytest
def test_lazy(): pytest.skip("not in the mood")
"""
WHOLE_FILE = """
import pytest
pytest.importorskip("no_such_module")
"""


def run(directory: Path, *files: str, ci: bool) -> subprocess.CompletedProcess[str]:
    """Run pytest with this project's conftest.py over test files of the given contents."""
    shutil.copy(CONFTEST, directory)
    (directory / "pytest.ini").write_text("[pytest]\nmarkers = netns: as in the project\n")
    for number, content in enumerate(files):
        (directory / f"test_{number}.py").write_text(content)
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(directory)]
    return subprocess.run(
        command,
        env={**environment, "CI": "true"} if ci else environment,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_skips_ci_passes_and_prints_no_list(tmp_path: Path) -> None:
    done = run(tmp_path, PASSES, ci=True)
    assert done.returncode == 0
    assert "NOT RUN" not in done.stdout


def test_a_missing_kernel_feature_is_shown_and_excused(tmp_path: Path) -> None:
    done = run(tmp_path, PASSES, EXCUSED, ci=True)
    assert done.returncode == 0
    assert "1 NOT RUN" in done.stdout
    assert "kernel feature missing: no such thing" in done.stdout


@pytest.mark.parametrize("content", [LAZY, WHOLE_FILE])
def test_any_other_skip_fails_ci_and_nothing_else(tmp_path: Path, content: str) -> None:
    done = run(tmp_path, PASSES, content, ci=True)
    assert done.returncode == 1
    assert "fails the run" in done.stdout
    done = run(tmp_path, PASSES, content, ci=False)
    assert done.returncode == 0
    assert "1 NOT RUN" in done.stdout


def test_netns_tests_skip_where_the_kernel_refuses(tmp_path: Path) -> None:
    marked = "import pytest\n@pytest.mark.netns\ndef test_tun(): raise SystemError('was run')\n"
    refuse = (
        "import l2tpns_core.lab.netns as netns\n"
        "def refuse(label): raise netns.LabError('not on this machine')\n"
        "netns.Namespace = refuse\n"
    )
    done = run(tmp_path, refuse + marked, ci=True)
    assert done.returncode == 0
    assert "kernel feature missing: not on this machine" in done.stdout
    assert "was run" not in done.stdout
