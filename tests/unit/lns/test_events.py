"""The events of plugins as the LNS raises them in a session's life (docs/plugins/events.md)."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.plugins import (
    PLUGIN_RET_ERROR,
    PLUGIN_RET_NOTMASTER,
    PLUGIN_RET_STOP,
    ParamKillSession,
    ParamNewSession,
    ParamPacketRx,
    ParamPacketTx,
    ParamPostAuth,
    ParamPreAuth,
    ParamRadiusAccount,
    ParamRadiusResponse,
    PluginResult,
    hookimpl,
)
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccountingStatus,
    ChapCredentials,
    PapCredentials,
)
from l2tpns_core.session import SessionState, TerminateCause
from support.memory import Client, Lac, World, avp, ip

PAIRS = (("intercept", "yes"), ("throttle", "256"), ("intercept", "no"))
REJECT = AccessReply(AccessOutcome.REJECT, reply_message="no such user")


class Recorder:
    """Writes down every event, after `act` had a go at it."""

    def __init__(self, act: Callable[[str, Any], PluginResult | None] | None = None) -> None:
        self.events: list[tuple[str, Any]] = []
        self.act = act

    def _note(self, event: str, param: Any) -> PluginResult | None:
        self.events.append((event, param))
        return self.act(event, param) if self.act else None

    @property
    def names(self) -> list[str]:
        return [event for event, _param in self.events]

    def of(self, event: str) -> list[Any]:
        return [param for name, param in self.events if name == event]

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> PluginResult | None:
        return self._note("pre_auth", param)

    @hookimpl
    def post_auth(self, param: ParamPostAuth) -> PluginResult | None:
        return self._note("post_auth", param)

    @hookimpl
    def radius_response(self, param: ParamRadiusResponse) -> PluginResult | None:
        return self._note("radius_response", param)

    @hookimpl
    def new_session(self, param: ParamNewSession) -> PluginResult | None:
        return self._note("new_session", param)

    @hookimpl
    def kill_session(self, param: ParamKillSession) -> PluginResult | None:
        return self._note("kill_session", param)

    @hookimpl
    def radius_account(self, param: ParamRadiusAccount) -> PluginResult | None:
        return self._note("radius_account", param)


class PacketPlugin:
    """Answers both packet events with the same packet and result."""

    def __init__(self, buf: bytes, result: PluginResult | None) -> None:
        self.buf, self.result = buf, result
        self.seen: list[tuple[str, bytes, int]] = []

    @hookimpl
    def packet_rx(self, param: ParamPacketRx) -> PluginResult | None:
        self.seen.append(("rx", param.buf, param.len))
        param.buf = self.buf
        return self.result

    @hookimpl
    def packet_tx(self, param: ParamPacketTx) -> PluginResult | None:
        self.seen.append(("tx", param.buf, param.len))
        param.buf = self.buf
        return self.result


class ChapClient(Client):
    """Logs in with CHAP-MD5; the response is made of one octet."""

    def receive(self, frame: bytes) -> None:
        plain = frame.removeprefix(b"\xff\x03")
        protocol, code, identifier = struct.unpack_from("!HBB", plain)
        if protocol != 0xC223:
            super().receive(frame)
        elif code == 1:
            self.send(0xC223, 2, identifier, b"\x10" + b"r" * 16 + self.user.encode())
        elif code == 3:
            self.send(0x8021, 1, 1, self._ask())


def world_with(
    act: Callable[[str, Any], PluginResult | None] | None = None, **directives: object
) -> tuple[World, Recorder]:
    world = World(**directives)  # type: ignore[arg-type]
    recorder = Recorder(act)
    world.plugins.register("recorder", recorder)
    return world, recorder


def accepted(**attributes: object) -> AccessReply:
    return AccessReply(AccessOutcome.ACCEPT, **attributes)  # type: ignore[arg-type]


def drop(world: World, client: Client) -> None:
    world.lns.drop_session(world.lns.sessions[client.key], "dropped")
    world.run(10)


def on(event: str, **changes: object) -> Callable[[str, Any], None]:
    """Sets fields of the param of one event."""

    def act(name: str, param: Any) -> None:
        if name == event:
            for field, value in changes.items():
                setattr(param, field, value)

    return act


# Order and number


def test_events_come_in_the_order_of_a_session_s_life() -> None:
    world, recorder = world_with()
    world.radius.policy = lambda request: accepted(avpairs=PAIRS, interim_interval=60)
    client = Lac(world).open().call()
    assert recorder.names == [
        "pre_auth",
        "post_auth",
        "radius_response",
        "radius_response",
        "radius_response",
        "new_session",
        "radius_account",
    ]
    del recorder.events[:]
    world.run(70)
    drop(world, client)
    assert recorder.names == ["radius_account", "kill_session", "radius_account"]


def test_every_event_names_tunnel_and_session() -> None:
    world, recorder = world_with()
    world.radius.policy = lambda request: accepted(avpairs=PAIRS)
    lac = Lac(world).open()
    client = lac.call()
    drop(world, client)
    assert {(param.t, param.s) for _name, param in recorder.events} == {
        (lac.lns_tunnel_id, client.session_id)
    }
    assert {param.tunnel.hostname for _name, param in recorder.events} == {"lac"}


def test_new_session_and_kill_session_come_once_however_often_the_link_restarts() -> None:
    world, recorder = world_with()
    client = Lac(world).open().call()
    client.send(0x8021, 1, 9, client._ask())  # IPCP anew
    world.run(1)
    client.send(0xC021, 1, 2, bytes([5, 6]) + b"efgh")  # LCP anew, with another login
    world.run(1)
    assert client.up
    drop(world, client)
    assert recorder.names.count("pre_auth") == 2
    assert recorder.names.count("new_session") == 1
    assert recorder.names.count("kill_session") == 1


def test_call_that_never_came_up_is_killed_without_having_been_new() -> None:
    world, recorder = world_with()
    lac = Lac(world).open()
    lac.call(connect=False)
    world.run(120)
    assert recorder.names == ["kill_session"]


def test_sessions_of_a_lost_lac_are_killed_once_each() -> None:
    world, recorder = world_with()
    lac = Lac(world).open()
    for user in ("a", "b", "c"):
        lac.call(user)
    lac.silent = True
    for client in lac.calls.values():
        client.silent = True
    world.run(400)
    killed = [param.session.user for param in recorder.of("kill_session")]
    assert sorted(killed) == ["a", "b", "c"]


# pre_auth


def test_pre_auth_sees_what_the_client_sent_and_changes_what_radius_is_asked() -> None:
    seen: list[tuple[str, bytes, int]] = []

    def act(name: str, param: Any) -> None:
        if name == "pre_auth":
            seen.append((param.username, param.password, param.protocol))
            param.username, param.password = "alice", b"other"

    world, _recorder = world_with(act)
    client = Lac(world).open().call("alice@realm", "secret")
    assert seen == [("alice@realm", b"secret", 0xC023)]
    (request,) = world.radius.requests
    assert (request.user, request.identity.user) == (b"alice", "alice")
    assert request.credentials == PapCredentials(b"other")
    assert world.lns.sessions[client.key].user == "alice"
    (start,) = world.radius.of(AccountingStatus.START)
    assert start.identity is not None
    assert start.identity.user == "alice"


def test_pre_auth_cannot_change_a_chap_response() -> None:
    world, recorder = world_with(on("pre_auth", password=b"other"), radius_authtypes="chap")
    lac = Lac(world).open()
    client = lac.calls[500] = ChapClient(lac, "alice", "", 500)
    lac.send(10, avp(14, struct.pack("!H", 500)) + avp(15, bytes(4)))
    world.run()
    assert client.up
    assert recorder.of("pre_auth")[0].protocol == 0xC223
    (request,) = world.radius.requests
    assert isinstance(request.credentials, ChapCredentials)
    assert request.credentials.response == b"r" * 16


def test_pre_auth_ends_a_login_with_a_nak_and_radius_is_not_asked() -> None:
    world, recorder = world_with(on("pre_auth", continue_auth=0))
    lac = Lac(world).open()
    client = lac.call()
    world.run(10)
    assert client.refused
    assert client.terminated
    assert not world.radius.requests
    assert recorder.names == ["pre_auth", "kill_session"]
    assert lac.kinds().count(14) == 1
    assert world.lns.counters.login_refused == 1


def test_pre_auth_tells_the_next_plugin_what_it_changed() -> None:
    world, _first = world_with(on("pre_auth", username="bob"))
    second = Recorder()
    world.plugins.register("second", second)
    Lac(world).open().call("alice")
    assert second.of("pre_auth")[0].username == "bob"


def test_pre_auth_that_stops_the_chain_keeps_the_next_plugin_out_of_it() -> None:
    world, _first = world_with(lambda name, param: PLUGIN_RET_STOP if name == "pre_auth" else None)
    second = Recorder()
    world.plugins.register("second", second)
    assert Lac(world).open().call("alice").up
    assert second.names[0] == "post_auth"


# post_auth and radius_response


def test_post_auth_lets_a_rejected_client_in() -> None:
    world, recorder = world_with(on("post_auth", auth_allowed=1))
    world.radius.policy = lambda request: REJECT
    client = Lac(world).open().call()
    assert client.up
    assert client.ip == ip("10.0.0.1")
    assert recorder.of("post_auth")[0].reply is REJECT
    assert recorder.names.count("new_session") == 1


def test_post_auth_refuses_an_accepted_client() -> None:
    world, recorder = world_with(on("post_auth", auth_allowed=0))
    world.radius.policy = lambda request: accepted(avpairs=PAIRS)
    client = Lac(world).open().call()
    world.run(10)
    assert client.refused
    assert not client.up
    assert recorder.names == ["pre_auth", "post_auth", "kill_session"]
    assert world.lns.pool.used_count == 0


@pytest.mark.parametrize(("answer", "verdict"), [(accepted(), 1), (REJECT, 0)])
def test_post_auth_is_told_the_verdict(answer: AccessReply, verdict: int) -> None:
    verdicts: list[tuple[str, int, int]] = []

    def act(name: str, param: Any) -> None:
        if name == "post_auth":
            verdicts.append((param.username, param.auth_allowed, param.protocol))

    world, _recorder = world_with(act)
    world.radius.policy = lambda request: answer
    Lac(world).open().call("alice")
    assert verdicts == [("alice", verdict, 0xC023)]


def test_post_auth_changes_the_reply() -> None:
    def act(name: str, param: Any) -> None:
        if name == "post_auth":
            param.reply.framed_ip = ip("203.0.113.9")
            param.reply.session_timeout = 60

    world, _recorder = world_with(act)
    client = Lac(world).open().call()
    assert client.ip == ip("203.0.113.9")
    world.run(70)
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert stop.terminate_cause == TerminateCause.SESSION_TIMEOUT


def test_silent_radius_raises_no_post_auth() -> None:
    world, recorder = world_with(on("post_auth", auth_allowed=1))
    world.radius.policy = lambda request: AccessReply(AccessOutcome.TIMEOUT)
    client = Lac(world).open().call()
    world.run(10)
    assert client.refused
    assert recorder.names == ["pre_auth", "kill_session"]


def test_radius_response_comes_for_each_pair_before_the_session_has_an_address() -> None:
    pairs: list[tuple[str, str, str, int]] = []

    def act(name: str, param: Any) -> None:
        if name == "radius_response":
            pairs.append((param.key, param.value, param.session.user, param.session.ip))

    world, _recorder = world_with(act)
    world.radius.policy = lambda request: accepted(avpairs=PAIRS)
    Lac(world).open().call("alice")
    assert pairs == [(key, value, "alice", 0) for key, value in PAIRS]


def test_client_put_into_the_garden_is_let_in_without_accounting() -> None:
    def act(name: str, param: Any) -> None:
        if name == "post_auth" and not param.auth_allowed:
            param.session.walled_garden, param.auth_allowed = True, 1

    world, recorder = world_with(act)
    world.radius.policy = lambda request: REJECT
    client = Lac(world).open().call("alice")
    assert client.up
    assert not world.lns.sessions_of_user("alice")
    drop(world, client)
    assert not world.radius.records
    assert recorder.names.count("kill_session") == 1
    assert world.lns.pool.used_count == 0


# new_session and kill_session


def test_what_new_session_sets_counts_from_the_first_packet() -> None:
    def act(name: str, param: Any) -> None:
        if name == "new_session":
            assert param.session.ip
            param.session.throttle_in, param.session.throttle_out = 256, 1024

    world, _recorder = world_with(act)
    client = Lac(world).open().call()
    route = world.plane.routes[client.key]
    assert (route.ip, route.throttle_in, route.throttle_out) == (client.ip, 256, 1024)


def test_kill_session_sees_all_that_the_session_had() -> None:
    seen: list[tuple[object, ...]] = []

    def act(name: str, param: Any) -> None:
        if name == "kill_session":
            session = param.session
            reason = session.ending.reason
            usage = world.lns.usage(session).octets_in
            alive = world.lns.sessions.get(session.key) is session
            seen.append((session.user, session.ip, reason, usage, alive, session.state))

    world, _recorder = world_with(act)
    client = Lac(world).open().call("alice")
    world.plane.set_usage(client.key, SessionCounters(octets_in=77))
    drop(world, client)
    assert seen == [("alice", client.ip, "dropped", 77, True, SessionState.ENDED)]


# radius_account


def test_radius_account_adds_attributes_to_each_record_of_the_session() -> None:
    def act(name: str, param: Any) -> None:
        if name == "radius_account":
            param.packet.append(("Filter-Id", param.session.user))

    world, _recorder = world_with(act)
    world.radius.policy = lambda request: accepted(interim_interval=60)
    client = Lac(world).open().call("alice")
    world.run(70)
    drop(world, client)
    assert [(record.status, record.extra) for record in world.radius.records] == [
        (AccountingStatus.START, [("Filter-Id", "alice")]),
        (AccountingStatus.INTERIM, [("Filter-Id", "alice")]),
        (AccountingStatus.STOP, [("Filter-Id", "alice")]),
    ]


# packet_rx and packet_tx


def test_packets_of_all_sessions_are_shown_while_a_plugin_listens() -> None:
    world = World()
    client = Lac(world).open().call()
    assert not world.plane.routes[client.key].hooked
    world.plugins.register("packets", PacketPlugin(b"", None))
    world.lns.refresh_routes()
    world.run(1)
    assert world.plane.routes[client.key].hooked
    world.plugins.unload("packets")
    world.lns.refresh_routes()
    world.run(1)
    assert not world.plane.routes[client.key].hooked


@pytest.mark.parametrize(
    ("result", "passed"),
    [
        (None, b"new"),
        (PLUGIN_RET_STOP, b"new"),
        (PLUGIN_RET_ERROR, None),
        (PLUGIN_RET_NOTMASTER, None),
    ],
)
def test_packet_events_change_and_drop_packets(
    result: PluginResult | None, passed: bytes | None
) -> None:
    world = World()
    plugin = PacketPlugin(b"new", result)
    world.plugins.register("packets", plugin)
    world.plane.packet_hook_rx, world.plane.packet_hook_tx = (
        world.lns.packet_rx,
        world.lns.packet_tx,
    )
    client = Lac(world).open().call()
    assert world.plane.packet_hook_rx(client.key, b"up") == passed
    assert world.plane.packet_hook_tx(client.key, b"down") == passed
    assert plugin.seen == [("rx", b"up", 2), ("tx", b"down", 4)]


def test_packet_of_a_session_that_is_gone_passes_the_hooks_by() -> None:
    world = World()
    plugin = PacketPlugin(b"new", None)
    world.plugins.register("packets", plugin)
    assert world.lns.packet_rx(1 << 16 | 1, b"up") == b"up"
    assert world.lns.packet_tx(1 << 16 | 1, b"down") == b"down"
    assert not plugin.seen


# Plugins that fail


def test_plugin_that_fails_in_every_event_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def act(name: str, param: Any) -> None:
        for field in ("username", "auth_allowed", "continue_auth"):
            if hasattr(param, field):
                setattr(param, field, None)
        raise RuntimeError("a mistake")

    world, _failing = world_with(act)
    second = Recorder()
    world.plugins.register("second", second)
    world.radius.policy = lambda request: accepted(avpairs=PAIRS, interim_interval=60)
    client = Lac(world).open().call("alice")
    assert client.up
    world.run(70)
    drop(world, client)
    assert client.terminated
    assert second.names.count("radius_response") == len(PAIRS)
    assert second.names.count("new_session") == second.names.count("kill_session") == 1
    assert [record.status for record in world.radius.records] == [
        AccountingStatus.START,
        AccountingStatus.INTERIM,
        AccountingStatus.STOP,
    ]
    assert not world.lns.sessions
    assert world.lns.pool.used_count == 0
    assert "a mistake" in caplog.text


def test_packet_hook_that_fails_lets_the_packet_pass() -> None:
    class Fails:
        @hookimpl
        def packet_rx(self, param: ParamPacketRx) -> None:
            param.buf = b"half done"
            raise RuntimeError("a mistake")

    world = World()
    world.plugins.register("fails", Fails())
    client = Lac(world).open().call()
    assert world.lns.packet_rx(client.key, b"up") == b"up"


def test_plugin_may_be_unloaded_by_its_own_event() -> None:
    def act(name: str, param: Any) -> None:
        if name == "new_session":
            world.plugins.unload("recorder")

    world, recorder = world_with(act)
    client = Lac(world).open().call()
    assert client.up
    drop(world, client)
    assert recorder.names[-1] == "new_session"
    assert not world.lns.sessions
