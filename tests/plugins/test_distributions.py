"""Plugins as their users get them: distributions, installed by pip, loaded by a process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
SAMPLES = ("sample-alpha", "sample-beta", "sample-faulty", "sample-refused")


def install(target: Path, *distributions: str) -> None:
    """Build sample distributions and install them into a directory, without any network."""
    options = "--quiet --no-index --no-build-isolation --no-deps --disable-pip-version-check"
    sources = [str(HERE / "dists" / name) for name in distributions]
    command = [sys.executable, "-m", "pip", "install", *options.split(), "--target", str(target)]
    done = subprocess.run([*command, *sources], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sample distributions."""
    target = tmp_path_factory.mktemp("installed")
    install(target, *SAMPLES)
    return target


class Host:
    """A running host.py; refusals are returned as text."""

    def __init__(self, path: Path, log: Path) -> None:
        self._log = log
        with log.open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "host.py")],
                env={**os.environ, "PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def __call__(self, command: str) -> Any:
        """Have a command run and return its result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(command, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, self.log()
        answer = json.loads(line)
        assert "refused" not in answer, answer
        return answer["result"]

    def refusal(self, command: str) -> str:
        """Have a command run that must be refused, and return the explanation."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(command, file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        refused: str = answer["refused"]
        return refused

    def log(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Path], Host]]:
    hosts: list[Host] = []

    def start_host(path: Path) -> Host:
        hosts.append(Host(path, tmp_path / f"log-{len(hosts)}"))
        return hosts[-1]

    yield start_host
    for host in hosts:
        host.close()


@pytest.fixture
def host(installed: Path, start: Callable[[Path], Host]) -> Host:
    return start(installed)


def test_installed_plugins_are_listed_with_their_distributions(host: Host) -> None:
    listed = host("available")
    assert ["alpha", "sample-alpha", "1.2"] in listed
    assert ["beta", "sample-beta", "1.0"] in listed
    assert listed == sorted(listed)
    assert host("loaded") == []


@pytest.mark.parametrize("order", [("alpha", "beta"), ("beta", "alpha")])
def test_load_order_is_call_order(host: Host, order: tuple[str, str]) -> None:
    for name in order:
        host(f"load {name}")
    host("notes")
    assert host("timer 7") == "OK"
    assert host("notes") == [f"{name} timer 7" for name in order]


def test_load_tells_what_was_loaded(host: Host) -> None:
    assert host("load alpha") == ["alpha", "sample-alpha", "1.2"]
    assert host("notes") == ["alpha init"]
    assert host("loaded") == ["alpha"]


def test_stop_keeps_later_plugins_out_and_is_a_success(host: Host) -> None:
    host("load beta")
    host("load alpha")
    host("notes")
    assert host("kill_session") == "STOP"
    assert host("notes") == ["beta kill_session 3/5"]


def test_error_and_notmaster_reach_the_caller(host: Host) -> None:
    host("load beta")
    assert host("new_session") == "NOTMASTER"
    assert host("pre_auth alice@example.net") == ["ERROR", "alice"]


def test_exceptions_are_logged_and_counted_and_the_next_plugin_runs(host: Host) -> None:
    for name in ("faulty", "alpha"):
        host(f"load {name}")
    host("notes")
    assert host("timer 7") == "OK"
    assert host("notes") == ["alpha timer 7"]
    assert host("pre_auth alice") == ["OK", "alice"]
    assert host("statistics") == {
        "faulty": {"timer": [1, 1], "pre_auth": [1, 1]},
        "alpha": {"timer": [1, 0], "kill_session": [0, 0]},
    }
    assert "plugin faulty failed in timer, failure 1: KeyError: 7" in host.log()
    assert "plugin faulty failed in pre_auth, failure 1: HookError: set username" in host.log()


def test_an_unloaded_plugin_hears_nothing_and_may_come_back_last(host: Host) -> None:
    for name in ("alpha", "beta"):
        host(f"load {name}")
    host("unload alpha")
    host("timer 1")
    assert host("notes") == ["alpha init", "alpha done", "beta timer 1"]
    host("load alpha")
    host("timer 2")
    assert host("notes") == ["alpha init", "beta timer 2", "alpha timer 2"]


def test_a_plugin_that_cannot_stop_is_unloaded_all_the_same(host: Host) -> None:
    host("load faulty")
    host("unload faulty")
    assert host("loaded") == []
    assert "plugin faulty failed in plugin_done" in host.log()


@pytest.mark.parametrize(
    ("name", "explanation"),
    [
        ("misspelt", 'there is no event "post_aut", did you mean "post_auth"?'),
        ("renamed", "a hook takes one argument, param"),
        ("unwilling", "refused to start"),
        ("ancient", "upgrade sample-refused with pip"),
        ("futuristic", "upgrade l2tpns-core with pip"),
        ("undated", "its class needs `api_version = 1`"),
        ("argless", "Argless(api) raised TypeError"),
        ("function", "must name a class, not a function"),
        ("module", "must name a class, not a module"),
        ("incomplete", "No module named 'sample_missing_module'; install what is missing"),
        ("alhpa", 'did you mean "alpha"?'),
        ("walrus", "install its distribution with pip"),
    ],
)
def test_a_refusal_says_in_one_line_what_to_do(host: Host, name: str, explanation: str) -> None:
    host("load alpha")
    message = host.refusal(f"load {name}")
    assert explanation in message
    assert f'"{name}"' in message
    assert "\n" not in message
    assert host("loaded") == ["alpha"]
    assert host("timer 1") == "OK"
    assert "alpha timer 1" in host("notes")


def test_a_plugin_that_refused_to_start_is_not_told_to_stop(host: Host) -> None:
    host.refusal("load unwilling")
    assert host("notes") == ["unwilling init"]


def test_a_second_load_is_refused(host: Host) -> None:
    host("load alpha")
    assert "is loaded already" in host.refusal("load alpha")
    assert "is not loaded (loaded: alpha)" in host.refusal("unload beta")


def test_a_plugin_installed_while_the_process_runs_is_found(
    tmp_path: Path, start: Callable[[Path], Host]
) -> None:
    path = tmp_path / "site"
    path.mkdir()
    host = start(path)
    assert "is installed" in host.refusal("load alpha")
    install(path, "sample-alpha")
    assert host("load alpha") == ["alpha", "sample-alpha", "1.2"]


def test_one_name_in_two_distributions_is_refused(
    tmp_path: Path, start: Callable[[Path], Host]
) -> None:
    install(tmp_path / "site", "sample-alpha", "sample-rival")
    host = start(tmp_path / "site")
    message = host.refusal("load alpha")
    assert "sample-alpha and sample-rival" in message
    assert "uninstall all but one" in message
