"""Unloading and reloading the garden: whom it lets go, and that the loop waits for nothing long."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2tpns_core.lab.memory import Client
from l2tpns_core.lns.login import CLIENT_CHOOSES
from l2tpns_core.plugins import PluginResult
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.radius.model import AccessReply
from l2tpns_plugins_garden import plugin, worker
from l2tpns_plugins_garden.firewall import Firewall
from l2tpns_plugins_garden.rules import Garden, Layout
from l2tpns_plugins_garden.settings import Settings, layout_of
from support.memory import World, ip
from unit.garden.fakes import FakeConnections, FakeFirewall, eventually, load
from unit.garden.test_plugin import ACCEPT, Scene, change_settings


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "Firewall", FakeFirewall)
    monkeypatch.setattr(plugin, "Connections", FakeConnections)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Has the kernel keep who asks for it waiting, until the event is set."""
    event = threading.Event()
    monkeypatch.setattr(worker, "CALL_TIMEOUT_S", 0.2)
    yield event
    event.set()


def test_session_that_is_going_ends_no_other_at_unload(scene: Scene) -> None:
    old = scene.login("pw")
    scene.control("garden", "alice")
    for client in scene.lac.clients.values():
        client.silent = True
    scene.world.lns.drop_session(old, "operator")
    assert old.is_going
    new = scene.login("pw")
    scene.world.plugins.unload("garden")
    assert new.ending is None
    assert scene.records() == [("START", "alice"), ("STOP", "alice"), ("START", "alice")]


def test_session_without_an_address_is_free_after_unload(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.world.radius.policy = lambda request: AccessReply(
        ACCEPT, framed_ip=CLIENT_CHOOSES, avpairs=(("garden", "yes"),)
    )
    with monkeypatch.context() as context:
        context.setattr(Client, "_pap", lambda self, code, identifier, data: None)
        client = scene.lac.call("alice", "pw")  # which does not begin IPCP yet
    session = scene.world.lns.sessions[client.key]
    assert session.walled_garden
    assert not session.ip
    scene.world.plugins.unload("garden")
    assert not session.walled_garden
    client.ip = ip("10.0.0.1")
    client.send(0x8021, 1, 1, client._ask())
    scene.world.run()
    assert scene.records() == [("START", "alice")]


def test_unload_does_not_wait_for_connections(
    scene: Scene, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.login("wrong")
    monkeypatch.setattr(FakeConnections, "forget", lambda self, addresses: held.wait(10))
    started_at = time.monotonic()
    scene.world.plugins.unload("garden")
    assert time.monotonic() - started_at < 2


def test_unload_gives_up_on_a_kernel_that_is_held(
    scene: Scene,
    held: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(FakeFirewall, "tear_down", lambda self, emptied: [held.wait(10)])
    started_at = time.monotonic()
    scene.world.plugins.unload("garden")
    assert time.monotonic() - started_at < 2
    assert "the garden cannot be taken away: no answer in time" in caplog.text


def test_interval_that_cannot_be_leaves_nothing_set_up(tmp_path: Path) -> None:
    FakeFirewall.last = None  # type: ignore[assignment]
    with pytest.raises(PluginError, match=r"check_interval must be 0\.01 seconds or more, not 0"):
        load(World(), tmp_path, Settings(check_interval=0.0))
    assert FakeFirewall.last is None, "the kernel was asked for something"


def test_interval_that_cannot_be_changes_nothing_at_a_reload(scene: Scene) -> None:
    assert change_settings(scene, Settings(check_interval=0.0)) is PluginResult.ERROR
    assert [seconds for seconds, _ in scene.api.timers] == [30.0]
    assert FakeFirewall.last.calls == ["set up, refill=False"]


def test_rearrangement_that_comes_late_is_taken_over(
    scene: Scene, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FakeFirewall.rearrange

    def slow(self: FakeFirewall, layout: Layout, *, refill: bool) -> None:
        held.wait(10)
        real(self, layout, refill=refill)

    monkeypatch.setattr(FakeFirewall, "rearrange", slow)
    new = Settings(mark_mask=0xF0, check_interval=7.0)
    assert change_settings(scene, new) is PluginResult.ERROR
    assert [seconds for seconds, _ in scene.api.timers] == [30.0]
    held.set()
    scene.api.run_tasks()
    assert [seconds for seconds, _ in scene.api.timers] == [7.0]
    session = scene.login("wrong")
    assert FakeFirewall.last.members == {session.ip: Garden("", 0x10)}


def test_rearrangement_that_has_not_begun_is_taken_back(
    scene: Scene, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = scene.plugin._worker
    assert thread is not None
    thread.submit(lambda: held.wait(10))
    assert change_settings(scene, Settings(mark_mask=0xF0)) is PluginResult.ERROR
    held.set()
    assert thread.call(lambda: "idle") == "idle"
    assert FakeFirewall.last.calls == ["set up, refill=False"]
    assert scene.api.coroutines == []


def test_change_means_the_garden_of_that_name_in_the_layout_that_is() -> None:
    sent: list[bytes] = []

    class Kernel:
        def transaction(self, messages: list[bytes]) -> None:
            sent.extend(messages)

    old, new = layout_of(Settings()), layout_of(Settings(mark_mask=0xF0))
    firewall = Firewall(new)
    firewall._kernel = Kernel()  # type: ignore[assignment]
    firewall.change({1: old.gardens[0]})
    assert firewall.members == {1: new.gardens[0]}
    assert sent == list(new.add_members(new.gardens[0], [1]))


def test_unload_kills_build_garden_first(tmp_path: Path) -> None:
    started, log = tmp_path / "started", tmp_path / "log"
    (tmp_path / "build-garden").write_text(
        f"touch {started}; while :; do echo . >> {log}; sleep 0.01; done\n"
    )

    async def story() -> None:
        scene = Scene(tmp_path)
        task = asyncio.create_task(scene.api.coroutines.pop())
        await asyncio.sleep(0)
        await asyncio.to_thread(eventually, started.exists)
        sizes: list[int] = []
        FakeFirewall.last.tear_down = (  # type: ignore[method-assign]
            lambda *, emptied: sizes.append(log.stat().st_size) or []  # type: ignore[func-returns-value]
        )
        scene.world.plugins.unload("garden")
        await asyncio.wait_for(task, 10)
        assert log.stat().st_size - sizes[0] <= 4
        assert "open" not in FakeFirewall.last.calls

    asyncio.run(story())
