"""Plugins that end, trap and free sessions from inside their hooks: the books stay right."""

import pytest

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.lab.world import LnsWorld
from l2tpns_core.plugins import (
    PLUGIN_API_VERSION,
    ParamKillSession,
    ParamNewSession,
    ParamPreAuth,
    ParamRadiusAccount,
    PluginApi,
    hookimpl,
)
from l2tpns_core.session import Session


class Plugin:
    api_version = PLUGIN_API_VERSION

    def __init__(self, api: PluginApi) -> None:
        self.api = api
        self.victim: Session | None = None
        """Whom to kill at the next opportunity."""

    def kill_victim(self) -> None:
        victim, self.victim = self.victim, None
        if victim is not None:
            self.api.kill(victim, "a plugin wants it")


class AtAccounting(Plugin):
    @hookimpl
    def radius_account(self, param: ParamRadiusAccount) -> None:
        self.kill_victim()


class AtEnd(Plugin):
    @hookimpl
    def kill_session(self, param: ParamKillSession) -> None:
        self.kill_victim()


def assert_nothing_is_left(world: LnsWorld, session: Session, *users: str) -> None:
    world.run()
    assert world.lns.sessions.get(session.key) is not session
    for user in users:
        assert session not in world.lns.sessions_of_user(user)
    assert world.lns.session_by_ip(session.ip) is not session
    assert session.key not in world.memory.plane.routes
    books = world.radius.accounting()
    for user in users:
        assert books.count(f"START {user}") == books.count(f"STOP {user}"), books


def test_a_start_comes_before_the_stop_of_who_is_killed_in_it(lns_world: LnsWorld) -> None:
    class KillAtStart(Plugin):
        @hookimpl
        def radius_account(self, param: ParamRadiusAccount) -> None:
            if param.session.ending is None:
                self.api.kill(param.session, "no")

    lns_world.load(KillAtStart)
    lns_world.dial("alice")
    assert lns_world.radius.accounting() == ["START alice", "STOP alice"]


def test_killed_while_leaving_the_garden(lns_world: LnsWorld) -> None:
    plugin = lns_world.load(AtEnd)
    session = lns_world.dial("alice").session
    lns_world.lns.set_garden(session, True)
    lns_world.dial("bob")
    plugin.victim = session
    lns_world.lns.set_garden(session, False, "bob")
    assert_nothing_is_left(lns_world, session, "alice", "bob")


def test_killed_while_entering_the_garden(lns_world: LnsWorld) -> None:
    plugin = lns_world.load(AtAccounting)
    session = lns_world.dial("alice").session
    plugin.victim = session
    lns_world.lns.set_garden(session, True)
    assert_nothing_is_left(lns_world, session, "alice")


def test_killed_with_the_session_whose_place_it_takes(lns_world: LnsWorld) -> None:
    class Both(Plugin):
        @hookimpl
        def kill_session(self, param: ParamKillSession) -> None:
            for other in list(self.api.sessions()):
                if other is not param.session:
                    self.api.kill(other, "both")

    lns_world.load(Both)
    first = lns_world.dial("alice").session
    second = lns_world.dial("alice")
    assert not second.is_connected
    assert_nothing_is_left(lns_world, first, "alice")
    assert len(lns_world.lns.pool.leased()) == 0


def test_what_a_session_has_used_is_known_after_its_end(lns_world: LnsWorld) -> None:
    lns, plane = lns_world.lns, lns_world.memory.plane
    session = lns_world.dial("alice").session
    plane.set_usage(session.key, SessionCounters(1_000, 1_000, 10, 10))
    lns.set_garden(session, True)
    lns.set_garden(session, False)
    plane.set_usage(session.key, SessionCounters(1_500, 1_600, 15, 16))
    lns.kill_session(session, "over")
    lns_world.dial("bob")
    assert lns.usage(session)[:4] == (500, 600, 5, 6)


def test_trapped_and_freed_before_the_login_is_as_if_nothing_was(lns_world: LnsWorld) -> None:
    class InAndOut(Plugin):
        @hookimpl
        def pre_auth(self, param: ParamPreAuth) -> None:
            self.api.set_garden(param.session, True)
            self.api.set_garden(param.session, False, user="ghost")

    lns_world.load(InAndOut)
    client = lns_world.dial("alice")
    assert client.session.user == "alice"
    client.hang_up()
    assert lns_world.lns.sessions_of_user("ghost") == []
    assert lns_world.radius.accounting() == ["START alice", "STOP alice"]


def test_a_plugin_that_is_loaded_again_at_once_keeps_what_it_notes(lns_world: LnsWorld) -> None:
    class Notes(Plugin):
        def plugin_init(self) -> None:
            for session in self.api.sessions():
                session.plugin_data = {self.api.name: "new"}

        @hookimpl
        def new_session(self, param: ParamNewSession) -> None:
            param.session.plugin_data = {self.api.name: "old"}

    lns_world.load(Notes)
    session = lns_world.dial("alice").session
    lns_world.plugins.unload("notes")
    lns_world.plugins.register("notes", Notes)
    lns_world.run()
    assert session.plugin_data == {"notes": "new"}


def test_radius_is_not_asked_for_a_plugin_that_is_gone(lns_world: LnsWorld) -> None:
    plugin = lns_world.load(Plugin)
    session = lns_world.dial("alice").session
    lns_world.unload("plugin")
    with pytest.raises(RuntimeError, match="is unloaded"):
        plugin.api.authenticate(session, "alice", "pw", print)


def test_attributes_of_a_hook_that_failed_are_not_sent(lns_world: LnsWorld) -> None:
    class Fails(Plugin):
        @hookimpl
        def radius_account(self, param: ParamRadiusAccount) -> None:
            param.packet.append(("Class", b"half done"))
            raise ValueError("then this")

    lns_world.load(Fails)
    lns_world.dial("alice")
    assert lns_world.radius.records[-1].extra == []
