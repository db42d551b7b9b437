"""The garden as a plugin of an LNS in memory: who is let in, trapped, set free, and accounted."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.plugins import ParamControl, ParamPostAuth, ParamSettingsChanged, PluginResult
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.radius.model import AccessOutcome, AccessReply, AccountingStatus
from l2tpns_core.session import AddressSource, Session
from l2tpns_plugins_garden import GardenPlugin, plugin
from l2tpns_plugins_garden.settings import NamedGarden, Settings
from support.memory import Lac, World, ip
from unit.garden.fakes import FakeApi, FakeConnections, FakeFirewall, eventually, load

REJECT, ACCEPT = AccessOutcome.REJECT, AccessOutcome.ACCEPT


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plugin, "Firewall", FakeFirewall)
    monkeypatch.setattr(plugin, "Connections", FakeConnections)
    yield
    FakeFirewall.refusal = ""


class Scene:
    """An LNS with the garden; RADIUS accepts nobody but who has the password `pw`."""

    def __init__(self, directory: Path, settings: Settings | None = None, **more: object) -> None:
        self.world = World(**more)  # type: ignore[arg-type]
        self.pairs: tuple[tuple[str, str], ...] = ()
        self.world.radius.policy = lambda request: AccessReply(
            ACCEPT if getattr(request.credentials, "password", b"") == b"pw" else REJECT,
            avpairs=self.pairs,
        )
        self.plugin = load(self.world, directory, settings)
        self.lac = Lac(self.world).open()

    @property
    def api(self) -> FakeApi:
        return self.plugin._api  # type: ignore[return-value]

    @property
    def trapped(self) -> dict[int, str]:
        """Address and garden of who is in a set of the kernel."""
        return {address: where.name for address, where in FakeFirewall.last.members.items()}

    def login(self, password: str, user: str = "alice") -> Session:
        client = self.lac.call(user, password)
        assert client.up
        return self.world.lns.sessions[client.key]

    def control(self, *argv: str, master: int = 1) -> tuple[PluginResult, str]:
        param = ParamControl(
            buf=b"",
            l=0,
            source_ip="127.0.0.1",
            source_port=1,
            type=1,
            id=1,
            data=b"",
            data_length=0,
            argc=len(argv),
            argv=argv,
            iam_master=master,
        )
        result = self.world.plugins.control(param)
        self.world.run()
        return result, param.response.decode()

    def records(self) -> list[tuple[str, str]]:
        """Accounting so far as (what, user)."""
        return [
            (record.status.name, record.identity.user)
            for record in self.world.radius.records
            if record.identity
        ]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_refused_login_is_let_in_and_trapped_without_accounting(scene: Scene) -> None:
    session = scene.login("wrong")
    assert session.walled_garden
    assert scene.trapped == {session.ip: ""}
    assert scene.records() == []
    assert scene.world.lns.sessions_of_user("alice") == []


def test_accepted_login_is_left_alone(scene: Scene) -> None:
    session = scene.login("pw")
    assert not session.walled_garden
    assert scene.trapped == {}
    assert scene.records() == [("START", "alice")]


def test_silent_radius_is_no_way_into_the_garden(scene: Scene) -> None:
    scene.world.radius.policy = lambda request: AccessReply(AccessOutcome.TIMEOUT)
    assert not scene.lac.call("alice", "pw").up
    assert scene.trapped == {}


def test_address_leaves_the_set_with_its_session(scene: Scene) -> None:
    session = scene.login("wrong")
    scene.world.lns.kill_session(session, "test")
    assert scene.trapped == {}
    assert scene.plugin._inmates == {}
    assert scene.records() == []


def test_failed_login_ends_no_session_of_the_real_user(scene: Scene) -> None:
    real, intruder = scene.login("pw"), scene.login("wrong")
    assert set(scene.world.lns.sessions.values()) == {real, intruder}


def test_radius_can_refuse_in_spite_of_the_garden(scene: Scene) -> None:
    scene.pairs = (("garden", "no"),)
    assert not scene.lac.call("alice", "wrong").up


@pytest.mark.parametrize(("password", "accepted"), [("pw", True), ("wrong", False)])
def test_radius_chooses_a_named_garden(tmp_path: Path, password: str, accepted: bool) -> None:
    scene = Scene(tmp_path, Settings(gardens={"unpaid": NamedGarden()}))
    scene.pairs = (("garden", "unpaid"),)
    session = scene.login(password)
    assert session.walled_garden
    assert scene.trapped == {session.ip: "unpaid"}
    assert scene.records() == []


def test_unknown_garden_traps_all_the_same(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.pairs = (("garden", "unpayed"),)
    session = scene.login("pw")
    assert scene.trapped == {session.ip: ""}
    assert "chose the garden 'unpayed', which plugins.toml does not have" in caplog.text


def test_ungarden_makes_a_normal_session_under_a_new_name(scene: Scene) -> None:
    session = scene.login("wrong", "guest")
    scene.world.plane.set_usage(session.key, SessionCounters(octets_in=1000, packets_in=10))
    assert scene.control("ungarden", str(session.session_id), "bob") == (PluginResult.STOP, "")
    assert not session.walled_garden
    assert scene.trapped == {}
    assert scene.records() == [("START", "bob")]
    assert scene.world.lns.sessions_of_user("bob") == [session]
    assert scene.world.lns.sessions_of_user("guest") == []
    assert scene.world.lns.usage(session).octets_in == 0


def test_stop_counts_only_what_came_after_the_garden(scene: Scene) -> None:
    session = scene.login("wrong")
    scene.world.plane.set_usage(session.key, SessionCounters(octets_in=1000, packets_in=10))
    scene.control("ungarden", str(session.session_id))
    scene.world.plane.set_usage(session.key, SessionCounters(octets_in=1024, packets_in=11))
    scene.world.lns.kill_session(session, "test")
    (stop,) = scene.world.radius.of(AccountingStatus.STOP)
    assert stop.usage is not None
    assert (stop.usage.octets_in, stop.usage.packets_in) == (24, 1)


def test_ungarden_ends_the_users_other_session(scene: Scene) -> None:
    real, late = scene.login("pw"), scene.login("wrong")
    scene.control("ungarden", str(late.session_id))
    assert list(scene.world.lns.sessions.values()) == [late]
    (stop,) = scene.world.radius.of(AccountingStatus.STOP)
    assert stop.reason == "Duplicate session when user released from walled garden"
    assert real.ending is not None


def test_ungarden_leaves_duplicates_where_they_are_allowed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, allow_duplicate_users=True)
    scene.login("pw")
    late = scene.login("wrong")
    scene.control("ungarden", str(late.session_id))
    assert len(scene.world.lns.sessions) == 2


def test_garden_stops_accounting_and_ungarden_starts_it_anew(scene: Scene) -> None:
    session = scene.login("pw")
    first_id = session.accounting_id
    assert scene.control("garden", "alice") == (PluginResult.STOP, "")
    assert scene.trapped == {session.ip: ""}
    assert scene.records() == [("START", "alice"), ("STOP", "alice")]
    assert scene.world.lns.sessions_of_user("alice") == []
    scene.control("ungarden", str(session.session_id))
    assert scene.records()[2:] == [("START", "alice")]
    assert session.accounting_id != first_id
    scene.world.lns.kill_session(session, "test")
    assert scene.records()[3:] == [("STOP", "alice")]


def test_interim_updates_pause_in_the_garden(tmp_path: Path) -> None:
    scene = Scene(tmp_path, radius_interim=60)
    session = scene.login("pw")
    scene.control("garden", "alice")
    scene.world.run(300)
    assert not scene.world.radius.of(AccountingStatus.INTERIM)
    scene.control("ungarden", str(session.session_id))
    scene.world.run(100)
    assert scene.world.radius.of(AccountingStatus.INTERIM)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("garden",), "requires username or session id"),
        (("garden", "a", "b"), "requires username or session id"),
        (("garden", "nobody"), "session not found"),
        (("garden", "999"), "session not found"),
        (("garden", "2"), "already in walled garden"),
        (("garden", "mallory"), "session not found"),
        (("ungarden",), "requires session id and optional username"),
        (("ungarden", "1", "b", "c"), "requires session id and optional username"),
        (("garden", "7/1"), "session not found"),
        (("ungarden", "999"), "session not found"),
        (("ungarden", "alice"), "session not found"),
        (("ungarden", "1"), "not in walled garden"),
    ],
)
def test_control_refuses_in_the_words_of_the_original(
    scene: Scene, argv: tuple[str, ...], text: str
) -> None:
    assert scene.login("pw", "alice").session_id == 1
    assert scene.login("wrong", "mallory").session_id == 2
    assert scene.control(*argv) == (PluginResult.ERROR, text)


def test_session_may_be_named_with_its_tunnel(scene: Scene) -> None:
    session = scene.login("pw")
    name = f"{session.tunnel_id}/{session.session_id}"
    assert scene.control("garden", name) == (PluginResult.STOP, "")
    assert scene.control("ungarden", name) == (PluginResult.STOP, "")
    assert not session.walled_garden


def test_session_that_is_about_to_end_is_not_found(scene: Scene) -> None:
    session = scene.login("pw")
    scene.lac.silent = True
    scene.world.lns.drop_session(session, "test")
    assert session.ending is not None
    assert scene.control("garden", "1") == (PluginResult.ERROR, "session not found")


def test_slave_sends_control_to_the_master(scene: Scene) -> None:
    scene.login("pw")
    assert scene.control("garden", "alice", master=0)[0] is PluginResult.NOTMASTER


def test_other_commands_are_for_others(scene: Scene) -> None:
    assert scene.control("drop", "alice") == (PluginResult.OK, "")
    assert scene.control() == (PluginResult.OK, "")


def post_auth(scene: Scene, session: Session, allowed: int, user: str = "alice") -> int:
    param = ParamPostAuth(
        t=session.tunnel_id,
        s=session.session_id,
        session=session,
        username=user,
        auth_allowed=allowed,
        protocol=0xC223,
        reply=AccessReply(ACCEPT if allowed else REJECT),
    )
    scene.plugin.post_auth(param)
    return param.auth_allowed


def test_session_that_fails_a_later_challenge_is_accounted_to_its_end(scene: Scene) -> None:
    session = scene.login("pw")
    assert post_auth(scene, session, 0) == 1
    assert session.walled_garden
    assert scene.records() == [("START", "alice"), ("STOP", "alice")]


def test_right_password_after_a_failed_challenge_opens_the_garden(scene: Scene) -> None:
    session = scene.login("pw")
    post_auth(scene, session, 0)
    assert post_auth(scene, session, 1) == 1
    assert not session.walled_garden
    assert scene.trapped == {}
    assert scene.records() == [("START", "alice"), ("STOP", "alice"), ("START", "alice")]


def test_right_password_on_the_link_of_a_refused_login_has_to_dial_anew(scene: Scene) -> None:
    scene.pairs = (("garden", "unpaid"),)  # what RADIUS says is applied to a new session only
    client = scene.lac.call("alice", "wrong")
    session = scene.world.lns.sessions[client.key]
    client.password = "pw"
    client.send(0xC021, 1, 9, bytes([5, 6]) + b"efgh")  # LCP anew
    scene.world.run()
    assert scene.api.dropped == [
        (ip("10.0.0.1"), "Logged in rightly after a refusal, must dial anew")
    ]
    assert session.key not in scene.world.lns.sessions
    assert scene.trapped == {}
    assert scene.records() == []
    assert scene.login("pw").walled_garden, "the garden that RADIUS chooses"


def test_login_that_another_plugin_forbade_may_be_tried_again(scene: Scene) -> None:
    client = scene.lac.call("alice", "wrong")
    session = scene.world.lns.sessions[client.key]
    session.address_source, session.ip = AddressSource.NONE, 0  # it was never let in
    assert post_auth(scene, session, 1) == 1
    assert scene.api.dropped == []
    assert not session.walled_garden


def test_somebody_elses_password_does_not(scene: Scene) -> None:
    session = scene.login("wrong")
    post_auth(scene, session, 1, user="bob")
    assert session.walled_garden


def test_removal_sets_nobody_free_who_was_refused(scene: Scene) -> None:
    refused, chosen = scene.login("wrong", "mallory"), scene.login("pw", "alice")
    scene.control("garden", "alice")
    kernel, both = FakeFirewall.last, {refused.ip, chosen.ip}
    eventually(lambda: set(FakeConnections.last.forgotten) == both)
    FakeConnections.last.forgotten.clear()
    scene.world.plugins.unload("garden")
    assert scene.api.dropped == [(refused.ip, "Walled garden is removed")]
    assert not chosen.walled_garden
    assert scene.records()[-1] == ("START", "alice")
    eventually(lambda: kernel.calls[-2:] == ["tear down, emptied=False", "close"])
    eventually(lambda: set(FakeConnections.last.forgotten) == both)
    assert sorted(FakeConnections.last.forgotten[-2:]) == sorted([refused.ip, chosen.ip])
    scene.world.run()
    assert list(scene.world.lns.sessions.values()) == [chosen]


def test_refusal_of_the_kernel_is_one_line_and_leaves_no_plugin(tmp_path: Path) -> None:
    FakeFirewall.refusal = "iptables-legacy holds the nat table"
    world = World()
    with pytest.raises(PluginError, match="GardenError: iptables-legacy holds the nat table"):
        load(world, tmp_path)
    assert world.plugins.loaded() == []
    eventually(lambda: FakeFirewall.last.calls == ["close"])


def test_slave_begins_when_it_becomes_the_master(tmp_path: Path) -> None:
    world = World()
    api = FakeApi(world, tmp_path)
    api.is_master = False
    sleeping = GardenPlugin(api)  # type: ignore[arg-type]
    sleeping.plugin_init()
    assert sleeping._worker is None
    sleeping.become_master(None)  # type: ignore[arg-type]
    assert FakeFirewall.last.calls == ["set up, refill=False"]
    sleeping.plugin_done()
    assert "tear down, emptied=False" in FakeFirewall.last.calls


def test_login_is_in_the_log(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    session = scene.login("wrong")
    assert session.ip == ip("10.0.0.1")
    assert "garden user alice (10.0.0.1)" in caplog.messages


def change_settings(scene: Scene, settings: Settings) -> PluginResult | None:
    """What happens when plugins.toml was read again."""
    previous, scene.api.settings = scene.api.settings, settings
    param = ParamSettingsChanged(settings=settings, previous=previous)
    return scene.plugin.settings_changed(param)


def test_other_settings_keep_who_is_trapped(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Settings(gardens={"unpaid": NamedGarden()}))
    scene.pairs = (("garden", "unpaid"),)
    scene.login("pw")
    new = Settings(check_interval=7.0, gardens={"virus": NamedGarden()})
    assert change_settings(scene, new) is None
    assert FakeFirewall.last.calls[-1] == "rearrange, refill=False"
    assert [garden.name for garden in FakeFirewall.last.layout.gardens] == ["", "virus"]
    assert [seconds for seconds, _ in scene.api.timers] == [7.0]
    scene.pairs = (("garden", "virus"),)
    session = scene.login("pw", "bob")
    assert scene.trapped[session.ip] == "virus"


def test_settings_that_cannot_be_are_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path)
    assert change_settings(scene, Settings(mark_mask=0)) is PluginResult.ERROR
    assert "the gardens stay as they are: mark_mask 0x0 is not a mask" in caplog.text
    FakeFirewall.refusal = "no netfilter"
    assert change_settings(scene, Settings(check_interval=9.0)) is PluginResult.ERROR
    assert [seconds for seconds, _ in scene.api.timers] == [30.0]
