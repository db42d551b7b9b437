"""The plugin that `l2tpns-lab new-plugin` writes is the example of the documentation, renamed."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from l2tpns_core.lab.main import main
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.new_plugin import EXAMPLE, write_plugin

DOCUMENTED = Path(__file__).parents[3] / "docs" / "plugins" / "example"


def test_under_its_own_name_it_is_the_example_of_the_documentation(tmp_path: Path) -> None:
    made = write_plugin(EXAMPLE, tmp_path / "made")
    names = {path.relative_to(tmp_path / "made") for path in made}
    assert {name: (tmp_path / "made" / name).read_text() for name in names} == {
        name: (DOCUMENTED / name).read_text() for name in names
    }
    kept = {
        path.relative_to(DOCUMENTED)
        for path in DOCUMENTED.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert kept == names


def test_another_name_is_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "data_quota"]) == 0
    made = tmp_path / "l2tpns-data-quota"
    assert "cd l2tpns-data-quota" in capsys.readouterr().out
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    assert project["name"] == "l2tpns-data-quota"
    entry_points = project["entry-points"]["l2tpns.plugins"]
    assert entry_points == {"data_quota": "l2tpns_data_quota:DataQuota"}
    source = (made / "src" / "l2tpns_data_quota" / "__init__.py").read_text()
    classes = [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    assert classes == ["Settings", "DataQuota"]
    for path in made.rglob("*"):
        if path.is_file():
            assert EXAMPLE not in path.read_text().lower()


def test_its_own_tests_pass(tmp_path: Path) -> None:
    made = tmp_path / "made"
    write_plugin("data_quota", made)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=made,
        env={**os.environ, "PYTHONPATH": str(made / "src"), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize(
    "name", ["", "Quota", "1st", "a-b", "a_", "a__b", "class", "none", "../x", "x" * 60]
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match="cannot name a plugin"):
        write_plugin(name, tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["core", "garden"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match="there is already"):
        write_plugin(name, tmp_path / "made")


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").write_text("mine")
    assert main(["new-plugin", "quota", "--directory", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
