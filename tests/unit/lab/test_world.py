"""The LNS in memory, as the tests of plugins use it."""

import asyncio
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from l2tpns_core.lab.world import LeftBehindError, LnsWorld, address
from l2tpns_core.plugins import (
    PLUGIN_API_VERSION,
    PLUGIN_RET_STOP,
    ParamControl,
    ParamPacketRx,
    ParamPreAuth,
    ParamSettingsChanged,
    ParamTimer,
    PluginApi,
    PluginResult,
    hookimpl,
)


@dataclass
class Settings:
    realm: str = "example.net"


class Everything:
    """Uses a bit of all there is."""

    api_version = PLUGIN_API_VERSION
    Settings = Settings

    def __init__(self, api: PluginApi) -> None:
        self.api = api
        self.ticks: list[int] = []
        self.beats: list[float] = []
        self.slept: list[float] = []
        self.changes = 0

    def plugin_init(self) -> None:
        self.api.create_task(self._sleep())
        self.api.every(10.0, lambda: self.beats.append(0.0))

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> None:
        param.username = param.username.removesuffix(f"@{self.api.settings.realm}")

    @hookimpl
    def timer(self, param: ParamTimer) -> None:
        self.ticks.append(param.time_now)

    @hookimpl
    def packet_rx(self, param: ParamPacketRx) -> None:
        param.buf = b"" if param.buf == b"drop" else param.buf + b"!"

    @hookimpl
    def settings_changed(self, param: ParamSettingsChanged) -> None:
        self.changes += 1

    @hookimpl
    def control(self, param: ParamControl) -> PluginResult | None:
        if param.argv[:1] != ("hello",):
            return None
        param.response = b"hello yourself"
        return PLUGIN_RET_STOP

    async def _sleep(self) -> None:
        while True:
            await asyncio.sleep(3600)
            self.slept.append(asyncio.get_running_loop().time())


def test_a_plugin_is_loaded_and_a_subscriber_logs_in(lns_world: LnsWorld) -> None:
    lns_world.load(Everything)
    client = lns_world.dial("alice@example.net", "pw")
    assert client.up
    assert lns_world.radius.requests[-1].user == b"alice"
    assert lns_world.radius.accounting() == ["START alice"]
    assert client.session.user == "alice"
    assert client.ip == address("10.0.0.1")


def test_settings_and_their_change(lns_world: LnsWorld) -> None:
    plugin = lns_world.load(Everything, settings={"realm": "org"})
    lns_world.dial("bob@org")
    lns_world.change_settings("everything", realm="com")
    lns_world.dial("carol@com")
    assert [request.user for request in lns_world.radius.requests] == [b"bob", b"carol"]
    assert plugin.changes == 1


def test_time_walks_ticks_timers_and_tasks(lns_world: LnsWorld) -> None:
    plugin = lns_world.load(Everything)
    started_at = lns_world.now
    lns_world.run(25.0)
    assert len(plugin.ticks) == 25
    assert plugin.ticks == list(range(plugin.ticks[0], plugin.ticks[0] + 25))
    assert len(plugin.beats) == 2
    lns_world.run(7200.0)
    assert plugin.slept == [started_at + 3600.0, started_at + 7200.0]
    assert lns_world.now == started_at + 7225.0


def test_an_hour_passes_at_once_with_a_subscriber_online(lns_world: LnsWorld) -> None:
    client = lns_world.dial()
    started = time.perf_counter()
    lns_world.run(3600.0)
    assert time.perf_counter() - started < 10.0
    assert client.up
    assert client.is_connected


def test_users_that_radius_knows(lns_world: LnsWorld) -> None:
    lns_world.radius.add_user("alice", "pw", ["throttle=yes,intercept=no"], session_timeout=60)
    lns_world.radius.add_user("locked", "pw", rejected=True, reply_message="pay first")
    assert lns_world.dial("alice", "pw").up
    assert lns_world.dial("alice", "wrong").refusal == "refused"
    assert lns_world.dial("locked", "pw").refusal == "pay first"
    assert lns_world.dial("nobody", "pw").refusal
    lns_world.run(61.0)
    assert lns_world.radius.accounting() == ["START alice", "STOP alice"]


def test_a_silent_radius_server(lns_world: LnsWorld) -> None:
    lns_world.radius.is_silent = True
    client = lns_world.dial()
    assert not client.up
    assert client.is_connected


def test_packets_pass_the_plugins_and_are_counted(lns_world: LnsWorld) -> None:
    lns_world.load(Everything)
    client = lns_world.dial()
    assert client.send(b"packet") == b"packet!"
    assert client.send(b"drop") is None
    assert client.receive(b"back") == b"back"
    usage = lns_world.lns.usage(client.session)
    assert usage[:4] == (7, 4, 1, 1)


def test_nsctl_asks_plugins_and_core(lns_world: LnsWorld) -> None:
    lns_world.load(Everything)
    assert lns_world.nsctl("hello").text == "hello yourself"
    assert not lns_world.nsctl("nonsense").ok
    client = lns_world.dial("alice")
    assert lns_world.nsctl("drop", "alice").ok
    assert not client.is_connected


def test_a_subscriber_hangs_up(lns_world: LnsWorld) -> None:
    client = lns_world.dial()
    client.hang_up()
    assert not client.is_connected
    with pytest.raises(LookupError, match="the session of alice has ended"):
        _ = client.session


@pytest.mark.lns(throttle_speed=77)
def test_directives_come_from_the_mark(lns_world: LnsWorld) -> None:
    plugin = lns_world.load(Everything)
    assert plugin.api.config("throttle_speed") == 77


def test_an_installed_plugin_is_loaded_by_its_name(lns_world: LnsWorld) -> None:
    lns_world.load("autothrottle")
    lns_world.radius.add_user("alice", avpairs=["throttle=64"])
    assert lns_world.dial("alice").session.throttle_in == 64
    assert lns_world.loaded("autothrottle").statistics["radius_response"].calls == 1
    with pytest.raises(LookupError):
        lns_world.loaded("garden")


class Stubborn:
    """Has a task that will not be cancelled."""

    api_version = PLUGIN_API_VERSION

    def __init__(self, api: PluginApi) -> None:
        self.api = api
        self.is_released = False

    def plugin_init(self) -> None:
        self.api.create_task(self._hold(), "hold")

    async def _hold(self) -> None:
        while not self.is_released:
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                continue


def test_what_is_left_behind_is_named(lns_world: LnsWorld) -> None:
    plugin = lns_world.load(Stubborn)
    with pytest.raises(LeftBehindError, match="stubborn: hold"):
        lns_world.unload("stubborn")
    plugin.is_released = True
    lns_world.run(10.0)


class Parent:
    """Has a task that starts another one, of which the API knows nothing."""

    api_version = PLUGIN_API_VERSION

    def __init__(self, api: PluginApi) -> None:
        self.api = api

    def plugin_init(self) -> None:
        self.api.create_task(self._start(), "start")

    async def _start(self) -> None:
        self.child = asyncio.create_task(asyncio.sleep(3600), name="child")


class Caller:
    """Has a timer past the API."""

    api_version = PLUGIN_API_VERSION

    def __init__(self, api: PluginApi) -> None:
        self.api = api

    def plugin_init(self) -> None:
        self.api.create_task(self._start())

    async def _start(self) -> None:
        asyncio.get_running_loop().call_later(3600, print)


@pytest.mark.parametrize(
    ("plugin", "left"),
    [(Parent, "task child"), (Caller, "a timer of asyncio"), (Stubborn, "task stubborn: hold")],
)
def test_nothing_may_be_left_when_the_world_closes(tmp_path: Path, plugin: type, left: str) -> None:
    world = LnsWorld(tmp_path)
    world.load(plugin)
    with pytest.raises(
        LeftBehindError, match=f"all plugins were unloaded, and still there: {left}"
    ):
        world.close()
    assert world.loop.is_closed()
    assert world.plugins.loaded() == []


def test_what_ends_by_itself_or_with_the_plugin_is_not_left_behind(tmp_path: Path) -> None:
    world = LnsWorld(tmp_path)
    world.load(Everything)
    world.load("autothrottle")
    world.dial("alice")
    world.run(30.0)
    world.close()


class Ticking:
    """Counts seconds."""

    api_version = PLUGIN_API_VERSION

    def __init__(self, api: PluginApi) -> None:
        self.api = api
        self.ticked_at: list[float] = []

    @hookimpl
    def timer(self, param: ParamTimer) -> None:
        self.ticked_at.append(self.api.now())


def test_seconds_before_the_load_are_not_made_up_for(lns_world: LnsWorld) -> None:
    for _ in range(2):
        lns_world.run(100.5)
        loaded_at = lns_world.now
        plugin = lns_world.load(Ticking)
        assert plugin.ticked_at == []
        lns_world.run(3.0)
        assert plugin.ticked_at == [loaded_at + 1, loaded_at + 2, loaded_at + 3]
        lns_world.unload("ticking")


def test_waiting_for_a_thread(lns_world: LnsWorld) -> None:
    done = threading.Event()
    threading.Timer(0.05, done.set).start()
    lns_world.wait_until(done.is_set)
    with pytest.raises(AssertionError, match="has not happened"):
        lns_world.wait_until(lambda: False, 0.05)


def test_nsctl_loads_unloads_and_helps(lns_world: LnsWorld) -> None:
    assert lns_world.nsctl("load_plugin", "autothrottle").ok
    assert lns_world.loaded("autothrottle").is_loaded
    assert "throttle" in lns_world.nsctl("help").text
    assert lns_world.nsctl("unload_plugin", "autothrottle").ok
    assert lns_world.nsctl("unload_plugin", "autothrottle").text == "plugin not loaded"
