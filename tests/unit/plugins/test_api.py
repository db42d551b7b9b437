"""The API object of plugins, on an LNS in memory."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from l2tpns_core.plugin_host import PluginHost
from l2tpns_core.plugins import (
    KEEP_RATE,
    PLUGIN_API_VERSION,
    PLUGIN_RET_ERROR,
    ParamSettingsChanged,
    PluginApi,
    PluginResult,
    hookimpl,
)
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.plugins.settings import FILE_NAME
from l2tpns_core.radius.model import AccessOutcome, AccessReply, AccountingStatus, PapCredentials
from support.memory import Client, Lac, World, ip


@dataclass
class Settings:
    speed: int = 64


class Plugin:
    """Keeps its api, and refuses settings with a speed of 0."""

    api_version = PLUGIN_API_VERSION
    Settings = Settings

    def __init__(self, api: PluginApi) -> None:
        self.api = api
        self.changes: list[ParamSettingsChanged] = []

    @hookimpl
    def settings_changed(self, param: ParamSettingsChanged) -> PluginResult | None:
        self.changes.append(param)
        return PLUGIN_RET_ERROR if self.api.settings.speed == 0 else None


class Deaf:
    api_version = PLUGIN_API_VERSION
    Settings = Settings

    def __init__(self, api: PluginApi) -> None:
        self.api = api


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


class Place:
    """A world with a plugin host, one plugin, and a subscriber who is logged in."""

    def __init__(self, loop: asyncio.AbstractEventLoop, directory: Path) -> None:
        self.world = World(throttle_speed=28)
        self.host = PluginHost(self.world.lns, self.world.plugins, loop, directory)
        self.loaded = self.world.plugins.register("p", Plugin)
        self.plugin = self.loaded.instance
        assert isinstance(self.plugin, Plugin)
        self.api = self.plugin.api
        self.lac = Lac(self.world).open()
        self.client: Client = self.lac.call()
        self.session = self.world.lns.sessions[self.client.key]


@pytest.fixture
def place(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Place:
    return Place(loop, tmp_path)


def test_sessions_are_found_by_everything(place: Place) -> None:
    api, session = place.api, place.session
    assert list(api.sessions()) == [session]
    assert api.session_by_id(session.session_id) is session
    assert api.session_by_id(999) is None
    assert api.sessions_by_user("ALICE") == [session]
    assert api.session_by_ip(ip("10.0.0.1")) is session
    assert api.session_by_ip(ip("10.0.0.9")) is None
    assert api.find_session(f"{session.tunnel_id}/{session.session_id}") is session
    with pytest.raises(LookupError, match="is not active"):
        api.find_session("9")


def test_it_says_who_and_where_it_is(place: Place, tmp_path: Path) -> None:
    api = place.api
    assert (api.name, api.version, api.is_master) == ("p", PLUGIN_API_VERSION, True)
    assert api.config_directory == tmp_path
    assert api.config("throttle_speed") == 28
    assert api.config("bind_address") == IPv4Address("0.0.0.0")
    with pytest.raises(KeyError):
        api.config("no_such_directive")


def test_log_lines_carry_the_name_and_the_session(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.api.log.error("hello %s", "you", extra=place.session.log_ids())
    (record,) = caplog.records
    assert record.getMessage() == "p: hello you"
    assert vars(record)["user"] == "alice"


def test_throttle_and_snoop_reach_the_plane(place: Place) -> None:
    api, session = place.api, place.session
    api.throttle(session, 100, 200)
    api.throttle(session, KEEP_RATE, 300)
    api.snoop(session, ip("192.0.2.9"), 4000)
    route = place.world.plane.routes[session.key]
    assert (route.throttle_in, route.throttle_out) == (100, 300)
    assert route.snoop == ("192.0.2.9", 4000)
    api.throttle(session, 0, 0)
    api.snoop(session, 0, 0)
    route = place.world.plane.routes[session.key]
    assert (route.throttle_in, route.throttle_out, route.snoop) == (0, 0, None)


def test_a_change_of_the_record_reaches_the_plane(place: Place) -> None:
    place.session.mru = 576
    place.api.session_changed(place.session)
    assert place.world.plane.routes[place.session.key].mru == 576


def test_drop_waits_for_the_client_and_kill_does_not(place: Place) -> None:
    world, api, session = place.world, place.api, place.session
    place.client.silent = True
    api.drop(session, "enough")
    world.run()
    assert list(api.sessions()) == [session]
    api.kill(session, "enough")
    world.run()
    assert list(api.sessions()) == []
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert stop.reason == "enough"


def test_a_session_that_ended_is_left_alone(place: Place) -> None:
    api, session = place.api, place.session
    api.kill(session, "enough")
    api.drop(session, "again")
    api.kill(session, "again")
    api.throttle(session, 1, 1)
    api.snoop(session, 1, 1)
    api.set_garden(session, True)
    place.world.run()
    assert place.world.plane.routes == {}
    assert len(place.world.radius.of(AccountingStatus.STOP)) == 1


def test_radius_is_asked_about_a_session(place: Place) -> None:
    world, replies = place.world, list[AccessReply]()
    place.api.authenticate(place.session, "bob", "geheim", replies.append)
    assert replies == []
    world.run()
    (reply,) = replies
    assert reply.outcome is AccessOutcome.ACCEPT
    request = world.radius.requests[-1]
    assert request.user == b"bob"
    assert request.credentials == PapCredentials(b"geheim")
    assert request.identity.session_key == place.session.key


def test_an_answer_to_a_plugin_that_is_gone_is_nobodys(place: Place) -> None:
    world, replies = place.world, list[AccessReply]()
    place.api.authenticate(place.session, "bob", "geheim", replies.append)
    world.plugins.unload("p")
    world.run()
    assert replies == []
    assert len(world.radius.cancelled) == 1


def test_an_answer_that_makes_the_plugin_fail_is_counted(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(reply: AccessReply) -> None:
        raise ValueError("what now")

    place.api.authenticate(place.session, "bob", "geheim", fail)
    place.world.run()
    assert place.loaded.background is not None
    assert place.loaded.background.errors == 1
    assert "plugin p failed in the background, failure 1: ValueError: what now" in caplog.text


def test_what_a_plugin_kept_with_sessions_goes_with_it(place: Place) -> None:
    place.session.plugin_data = {"p": 1, "other": 2}
    place.world.plugins.unload("p")
    place.world.run()
    assert place.session.plugin_data == {"other": 2}


def test_settings_come_from_the_file_at_load(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_text("[p]\nspeed = 5\n")
    assert Place(loop, tmp_path).api.settings == Settings(5)


def test_settings_that_are_wrong_refuse_the_load(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_text("[p]\nspeed = 'fast'\n")
    with pytest.raises(PluginError, match=r"\[p\] speed: expected a whole number"):
        Place(loop, tmp_path)


def test_other_settings_raise_the_event_for_the_plugin_alone(place: Place, tmp_path: Path) -> None:
    plugin = place.plugin
    assert isinstance(plugin, Plugin)
    other = place.world.plugins.register("q", Plugin).instance
    assert isinstance(other, Plugin)
    (tmp_path / FILE_NAME).write_text("[p]\nspeed = 5\n")
    place.host.reload_settings()
    place.host.reload_settings()
    assert plugin.changes == [ParamSettingsChanged(Settings(5), Settings(64))]
    assert place.api.settings == Settings(5)
    assert other.changes == []


def test_settings_that_the_plugin_refuses_are_not_taken(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_text("[p]\nspeed = 0\n")
    place.host.reload_settings()
    assert place.api.settings == Settings(64)
    assert "plugin p refused its new settings" in caplog.text


def test_settings_that_make_the_plugin_fail_are_not_taken(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = place.plugin
    assert isinstance(plugin, Plugin)
    monkeypatch.delattr(plugin, "changes")
    (tmp_path / FILE_NAME).write_text("[p]\nspeed = 5\n")
    place.host.reload_settings()
    assert place.api.settings == Settings(64)
    assert "plugin p refused its new settings" in caplog.text


def test_settings_that_are_wrong_change_nothing(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_text("[p]\nspeed = 'x'\n")
    place.host.reload_settings()
    (tmp_path / FILE_NAME).write_text("[p\n")
    place.host.reload_settings()
    assert place.api.settings == Settings(64)
    assert "plugin p keeps its settings" in caplog.text
    assert "all plugins keep their settings" in caplog.text


def test_a_plugin_that_does_not_listen_has_the_new_settings_and_the_log_a_hint(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = place.world.plugins.register("deaf", Deaf).instance
    assert isinstance(deaf, Deaf)
    (tmp_path / FILE_NAME).write_text("[deaf]\nspeed = 7\n")
    with caplog.at_level(logging.WARNING):
        place.host.reload_settings()
    assert deaf.api.settings == Settings(7)
    assert "plugin deaf has other settings now" in caplog.text


def test_a_table_for_nobody_is_reported(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE_NAME).write_text("[gardn]\nx = 1\n[p]\n")
    place.host.report_unused()
    assert "[gardn] is for no plugin that is installed" in caplog.text


def test_the_limit_for_slow_calls_follows_the_directive(place: Place) -> None:
    watch = place.world.plugins.watch
    assert watch.slow_s == 0.05
    place.world.lns.configure(replace(place.world.config, plugin_slow_ms=0))
    place.host.configure()
    assert watch.slow_s == float("inf")


class Tasks:
    """Starts something in plugin_init() and then refuses."""

    api_version = PLUGIN_API_VERSION
    tasks: list["asyncio.Task[None]"]

    def __init__(self, api: PluginApi) -> None:
        self.api = api

    def plugin_init(self) -> bool:
        async def work() -> None:
            await asyncio.sleep(3600)

        type(self).tasks = [self.api.create_task(work())]
        return False


def test_a_load_that_is_refused_leaves_no_task(
    place: Place, loop: asyncio.AbstractEventLoop
) -> None:
    with pytest.raises(PluginError, match="refused to start"):
        place.world.plugins.register("tasks", Tasks)
    loop.run_until_complete(asyncio.wait(Tasks.tasks))
    assert [task.cancelled() for task in Tasks.tasks] == [True]


@pytest.mark.parametrize("rates", [(-2, 0), (0, 10_000_001), (0.5, 0)])
def test_what_is_no_rate_is_refused_and_changes_nothing(
    place: Place, rates: tuple[int, int]
) -> None:
    place.api.throttle(place.session, 64, 64)
    with pytest.raises(ValueError, match="is not a rate"):
        place.api.throttle(place.session, *rates)
    assert (place.session.throttle_in, place.session.throttle_out) == (64, 64)


@pytest.mark.parametrize("target", [(1, 0), (1, 70_000), (-1, 9), (1 << 32, 9)])
def test_what_is_no_target_is_refused_and_the_session_ends_as_any(
    place: Place, target: tuple[int, int]
) -> None:
    with pytest.raises(ValueError, match="cannot send copies"):
        place.api.snoop(place.session, *target)
    assert place.session.snoop_ip == 0
    place.session.snoop_ip, place.session.snoop_port = target  # behind our back
    place.api.session_changed(place.session)
    assert place.world.plane.routes[place.session.key].snoop is None
    place.api.kill(place.session, "enough")
    place.world.run()
    assert len(place.world.radius.of(AccountingStatus.STOP)) == 1
