"""What users install: built wheels in environments that hold nothing else."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.daemon.stage import Stage
from l2tpns_core.lab import Namespace

ROOT = Path(__file__).parents[2]
CORE = "l2tpns_core"
PLUGINS = ("autosnoop", "autothrottle", "garden")
EXAMPLE = ROOT / "docs" / "plugins" / "example"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]

LOAD = """
import json, pathlib, sys, tempfile
from l2tpns_core.lab.world import LnsWorld
world = LnsWorld(pathlib.Path(tempfile.mkdtemp()))
outcome = {}
for name in sys.argv[1:]:
    try:
        world.load(name)
        outcome[name] = "loaded"
    except Exception as error:
        outcome[name] = str(error)
outcome["up"] = world.dial("alice").up
world.close()
outcome["left"] = [plugin.name for plugin in world.plugins.loaded()]
print(json.dumps(outcome))
"""


def run(*command: object, cwd: Path | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheels of this checkout, of the example, and of what they need."""
    house = tmp_path_factory.mktemp("wheelhouse")
    folders = [ROOT / CORE, *(ROOT / f"l2tpns_plugins_{name}" for name in PLUGINS), EXAMPLE]
    for folder in folders:
        run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", house, cwd=folder)
    (core,) = house.glob("l2tpns_core-*.whl")
    run(*PIP, "download", "-d", house, core)
    return house


@pytest.fixture
def environment(tmp_path: Path, wheelhouse: Path) -> Callable[..., Path]:
    """Makes a new environment with some distributions, from wheels alone; its Python."""

    def make(*distributions: str) -> Path:
        place = tmp_path / "environment"
        run(sys.executable, "-m", "venv", "--without-pip", place)
        python = place / "bin" / "python"
        install(python, wheelhouse, *distributions)
        return python

    return make


def install(python: Path, wheelhouse: Path, *distributions: str) -> None:
    offline = ("--no-index", "--find-links", wheelhouse)
    run(*PIP, "--python", python, "install", *offline, *distributions)


def load_all(python: Path, *names: str) -> dict[str, object]:
    """Load plugins in an LNS in memory, in a namespace of its own, because the garden has rules."""
    with Namespace("wheels") as place:
        process = place.popen(
            [str(python), "-c", LOAD, *names],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    outcome: dict[str, object] = json.loads(out)
    return outcome


@pytest.mark.netns
def test_the_core_alone_works_and_says_what_is_missing(environment: Callable[..., Path]) -> None:
    python = environment("l2tpns-core")
    for command in ("l2tpns", "l2tpns-cli", "l2tpns-lab", "nsctl"):
        assert run(python.parent / command, "--help")
    outcome = load_all(python, "garden")
    assert outcome == {
        "garden": 'no plugin "garden" is installed (no plugin is): install its distribution with '
        "pip into the environment of l2tpns",
        "up": True,
        "left": [],
    }


@pytest.mark.netns
@pytest.mark.parametrize("names", [*((name,) for name in PLUGINS), PLUGINS], ids="+".join)
def test_the_core_with_plugins(environment: Callable[..., Path], names: tuple[str, ...]) -> None:
    python = environment(*(f"l2tpns-plugins-{name}" for name in names))
    outcome = load_all(python, *names)
    assert outcome == {**dict.fromkeys(names, "loaded"), "up": True, "left": []}


@pytest.mark.daemon
@pytest.mark.netns
def test_the_example_comes_and_goes_in_a_running_daemon(
    environment: Callable[..., Path], wheelhouse: Path, tmp_path: Path
) -> None:
    """Installed while the daemon runs, loaded, used, removed, loaded again; then at the start."""
    python = environment("l2tpns-core")
    site = tmp_path / "site"
    site.mkdir()
    (site / "plugins.toml").write_text("[login_watch]\nper_minute = 1\n")

    async def at_run_time(stage: Stage) -> None:
        assert stage.ask("show plugins") == {"loaded": [], "installed": []}
        await asyncio.to_thread(install, python, wheelhouse, "l2tpns-login-watch")
        for _ in range(2):
            said = await stage.command("configure terminal", "load plugin login_watch")
            assert "Plugin login_watch loaded (l2tpns-login-watch 0.1.0)" in said
            await use(stage)
            said = await stage.command("configure terminal", "remove plugin login_watch")
            assert "Plugin login_watch removed" in said
            assert stage.ask("show plugins")["loaded"] == []
        assert nsctl(stage, python, "login_watch", "user-watched") == "unhandled action\n"

    async def from_the_start(stage: Stage) -> None:
        assert [plugin["name"] for plugin in stage.ask("show plugins")["loaded"]] == ["login_watch"]
        await use(stage)

    async def use(stage: Stage) -> None:
        for _ in range(2):
            client = await stage.log_in("user-watched")
            client.hangup()
            await client.down
        assert nsctl(stage, python, "login_watch", "user-watched") == "user-watched: 2\n"
        assert "user-watched has logged in 2 times in a minute" in stage.site.log()

    with Stage(site, python=str(python)) as stage:
        stage.play(at_run_time)
    with Stage(site, python=str(python), tail='load plugin "login_watch"\n') as stage:
        stage.play(from_the_start)


def nsctl(stage: Stage, python: Path, *words: str) -> str:
    """What nsctl prints or complains on the machine of the LNS."""
    process = stage.site.lns.popen(
        [str(python.parent / "nsctl"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    out, _ = process.communicate(timeout=20)
    return str(out)
