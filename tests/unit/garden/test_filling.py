"""Filling the garden: when build-garden runs, and what is open or closed after it."""

import logging
from pathlib import Path

import pytest

from l2tpns_plugins_garden import plugin
from l2tpns_plugins_garden.settings import Settings
from unit.garden.fakes import FakeConnections, FakeFirewall
from unit.garden.test_plugin import Scene, change_settings


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "Firewall", FakeFirewall)
    monkeypatch.setattr(plugin, "Connections", FakeConnections)


def test_without_build_garden_there_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Scene(tmp_path)
    assert FakeFirewall.last.calls == ["set up, refill=False"]
    assert f"there is no {tmp_path / 'build-garden'}" in caplog.text


def test_build_garden_runs_before_the_garden_opens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "build-garden").write_text("echo hello\n")
    scene = Scene(tmp_path)
    kernel = FakeFirewall.last
    assert kernel.calls == ["set up, refill=True"]
    scene.api.run_tasks()
    assert kernel.calls == ["set up, refill=True", "open"]
    assert "build-garden: hello" in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("iptables() { :; }; (exit 3)\n", "build-garden ended with status 3"),
        ("sleep 60\n", "build-garden was killed: it took over 0.3 s"),
        (None, "build-garden cannot be run: [Errno 2] No such file or directory: '/bin/sh'"),
    ],
)
def test_garden_that_cannot_be_filled_stays_closed_and_is_tried_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    reason: str,
) -> None:
    script = tmp_path / "build-garden"
    script.write_text(text or "true\n")
    scene = Scene(tmp_path, Settings(check_interval=7.0, build_timeout=0.3 if text else 30.0))
    with monkeypatch.context() as context:
        if text is None:
            context.setattr("l2tpns_plugins_garden.script.Run", _no_shell)
        scene.api.run_tasks()
    kernel = FakeFirewall.last
    assert kernel.calls == ["set up, refill=True"]
    (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert error.message == (
        f"{tmp_path}/{reason}: the gardens stay closed, everything that trapped users send is "
        "dropped; next attempt in 7 s"
    )
    script.write_text("true\n")
    kernel.has_lost_rules = False
    ((_, look),) = scene.api.timers
    look()
    scene.api.run_tasks()
    assert kernel.calls[1:] == ["check", "empty", "open"]
    look()
    scene.api.run_tasks()
    assert kernel.calls[4:] == ["check"]


def _no_shell(*_: object) -> None:
    raise FileNotFoundError(2, "No such file or directory", "/bin/sh")


def test_garden_that_lost_its_rules_is_filled_again(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "build-garden").write_text(f"echo ran >> {ran}\n")
    scene = Scene(tmp_path, Settings(check_interval=7))
    scene.api.run_tasks()
    ((interval, look),) = scene.api.timers
    assert interval == 7
    look()
    scene.api.run_tasks()
    assert FakeFirewall.last.calls[1:] == ["open", "check", "empty", "open"]
    assert ran.read_text() == "ran\nran\n"


def test_other_settings_run_the_file_again(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    script = tmp_path / "build-garden"
    script.write_text("true\n")
    assert change_settings(scene, Settings(build_timeout=3.0)) is None
    assert FakeFirewall.last.calls[-1] == "rearrange, refill=True"
    scene.api.run_tasks()
    assert FakeFirewall.last.calls[-1] == "open"
