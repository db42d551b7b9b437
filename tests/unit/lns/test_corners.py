"""Rare turns of a session's life, in virtual time."""

import itertools
import logging
import struct
from collections.abc import Callable
from ipaddress import IPv4Address

import pytest

from l2tpns_core.daemon import LoopTimer
from l2tpns_core.dataplane.recording import RouteInstalled
from l2tpns_core.lns import backlog, server
from l2tpns_core.lns.accounting import Accounting
from l2tpns_core.plugins import (
    ParamKillSession,
    ParamNewSession,
    ParamPostAuth,
    ParamPreAuth,
    ParamRadiusAccount,
    ParamRadiusResponse,
    hookimpl,
)
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    AccountingStatus,
    FramedRoute,
    PapCredentials,
)
from l2tpns_core.session import Session, SessionState, TerminateCause
from l2tpns_core.timers import Timer, TimerQueue
from support.memory import Client, Lac, World, avp, ip

CDN = 14
CHOOSE = ip("255.255.255.255")
ACCEPT = AccessOutcome.ACCEPT


class PatientClient(Client):
    """Logs in, but begins IPCP only when told to."""

    def _pap(self, code: int, identifier: int, data: bytes) -> None:
        if code == 3:
            super()._pap(code, identifier, data)

    def begin_ipcp(self) -> None:
        self.send(0x8021, 1, 1, self._ask())
        self.lac.world.run()


class ChapClient(Client):
    """Logs in with CHAP-MD5; the response is of no interest to a RADIUS of memory."""

    def receive(self, frame: bytes) -> None:
        plain = frame.removeprefix(b"\xff\x03")
        protocol, code, identifier = struct.unpack_from("!HBB", plain)
        if protocol != 0xC223:
            super().receive(frame)
        elif code == 1:
            self.send(0xC223, 2, identifier, b"\x10" + bytes(16) + self.user.encode())
        elif code == 3:
            self.send(0x8021, 1, 1, self._ask())
        else:
            self.refused = plain[6:] or b"refused"


def dial(lac: Lac, client: Client) -> Client:
    lac.calls[client.call_id] = client
    lac.send(10, avp(14, struct.pack("!H", client.call_id)) + avp(15, bytes(4)))
    lac.world.run()
    return client


def restart_lcp(client: Client) -> None:
    """The client negotiates LCP anew, and logs in again."""
    client.send(0xC021, 1, 2, bytes([5, 6]) + b"efgh")
    client.lac.world.run()


def magic_of(world: World, client: Client) -> int:
    link = world.lns.sessions[client.key].link
    return 0 if link is None else link.magic


def hang_up(client: Client) -> None:
    lac = client.lac
    lac.send(
        CDN,
        avp(1, struct.pack("!H", 3)) + avp(14, struct.pack("!H", client.call_id)),
        client.session_id,
    )
    lac.world.run(1)


def world_with(answer: AccessReply, **directives: object) -> World:
    world = World(**directives)  # type: ignore[arg-type]
    world.radius.policy = lambda request: answer
    return world


def answer_by_user(answers: dict[bytes, AccessReply]) -> Callable[[AccessRequest], AccessReply]:
    return lambda request: answers.get(request.user, AccessReply(ACCEPT))


def causes(world: World) -> list[int | None]:
    return [record.terminate_cause for record in world.radius.of(AccountingStatus.STOP)]


# A login that comes a second time


def test_other_user_before_ipcp_leaves_nothing_of_the_first() -> None:
    routes = (FramedRoute(ip("198.51.100.0"), 24),)
    answers = {
        b"alice": AccessReply(ACCEPT, framed_ip=CHOOSE, routes=routes),
        b"bob": AccessReply(ACCEPT, framed_ip=CHOOSE),
    }
    world = World(duplicate_login="refuse")
    world.radius.policy = answer_by_user(answers)
    lac = Lac(world).open()
    client = dial(lac, PatientClient(lac, "alice", "pw", 500))
    client.user = "bob"
    restart_lcp(client)
    world.run(20)
    assert not world.lns.sessions_of_user("alice")
    assert not world.routes.routes
    assert lac.call("alice").up


def test_other_user_on_a_running_session_is_told() -> None:
    world = World()
    client = Lac(world).open().call("alice")
    client.user = "bob"
    restart_lcp(client)
    world.run(1)
    assert client.refused
    assert client.terminated
    assert causes(world) == [TerminateCause.ADMIN_RESET]


def test_same_user_after_renegotiation_keeps_address_and_start() -> None:
    world = World()
    client = Lac(world).open().call("alice")
    restart_lcp(client)
    assert client.up
    assert client.ip == ip("10.0.0.1")
    assert world.plane.routes[client.key].ip == client.ip
    assert len(world.radius.of(AccountingStatus.START)) == 1


def test_the_plane_may_answer_echoes_while_lcp_is_open() -> None:
    world = World()
    client = Lac(world).open().call("alice")
    magics = [magic_of(world, client)]
    restart_lcp(client)
    magics.append(magic_of(world, client))
    told = [step.route.magic for step in world.plane.operations if isinstance(step, RouteInstalled)]
    changes = [magic for magic, _ in itertools.groupby(told)]
    assert changes == [0, magics[0], 0, magics[1]]
    assert 0 not in magics


def test_rejected_rechallenge_stops_traffic_at_once() -> None:
    world = World(radius_authtypes="chap", chap_rechallenge=60)
    lac = Lac(world).open()
    client = dial(lac, ChapClient(lac, "alice", "pw", 500))
    assert world.plane.routes[client.key].ip
    world.radius.policy = lambda request: AccessReply(AccessOutcome.REJECT)
    client._lcp = lambda *ignored: None  # type: ignore[method-assign]  # no Terminate-Ack
    while not client.refused:
        world.run(1)
    assert world.plane.routes[client.key].ip == 0


def test_address_that_the_client_never_asks_for_is_not_waited_for_for_ever() -> None:
    world = world_with(AccessReply(ACCEPT, framed_ip=CHOOSE))
    lac = Lac(world).open()
    client = dial(lac, PatientClient(lac, "alice", "pw", 500))
    assert len(world.lns.sessions) == 1
    world.run(120)
    assert client.terminated
    assert not world.lns.sessions


def test_client_that_asks_late_for_its_address_is_not_given_up() -> None:
    world = world_with(AccessReply(ACCEPT, framed_ip=CHOOSE))
    lac = Lac(world).open()
    client = PatientClient(lac, "alice", "pw", 500)
    dial(lac, client)
    world.run(50)
    client.begin_ipcp()
    world.run(60)
    assert client.up
    assert not client.terminated


@pytest.mark.parametrize("own", ["192.0.2.100", "192.0.2.200", "1.2.3.4"])
def test_client_cannot_choose_an_address_of_ours(own: str) -> None:
    world = world_with(
        AccessReply(ACCEPT, framed_ip=CHOOSE),
        bind_address=IPv4Address("192.0.2.100"),
        primary_radius=IPv4Address("192.0.2.200"),
        iftun_address=IPv4Address("1.2.3.4"),
        peer_address=IPv4Address("1.2.3.5"),
    )
    assert Lac(world).open().call(wanted=ip(own)).ip == ip("10.0.0.1")


# Addresses and routes that more than one has a claim to


def test_static_address_that_joins_the_pool_is_not_given_to_another() -> None:
    static = ip("203.0.113.9")
    world = World(pool=0)
    world.radius.policy = answer_by_user({b"alice": AccessReply(ACCEPT, framed_ip=static)})
    lac = Lac(world).open()
    first = lac.call("alice")
    world.lns.replace_pool([static, static + 1])
    second = lac.call("bob")
    assert (first.ip, second.ip) == (static, static + 1)
    hang_up(first)
    assert lac.call("carol").ip == static


def test_host_route_stays_while_another_session_needs_it() -> None:
    static = ip("203.0.113.9")
    answers = {
        b"alice": AccessReply(ACCEPT, framed_ip=static),
        b"bob": AccessReply(ACCEPT, routes=(FramedRoute(static, 32),)),
    }
    world = World()
    world.radius.policy = answer_by_user(answers)
    lac = Lac(world).open()
    first, second = lac.call("alice"), lac.call("bob")
    hang_up(second)
    assert world.routes.routes == {(static, 32)}
    third = lac.call("bob")
    hang_up(first)
    assert world.routes.routes == {(static, 32)}
    hang_up(third)
    assert not world.routes.routes


def test_framed_route_that_was_part_of_the_pool_outlives_it() -> None:
    network = FramedRoute(ip("10.0.0.0"), 24)
    world = world_with(AccessReply(ACCEPT, framed_ip=ip("203.0.113.9"), routes=(network,)))
    client = Lac(world).open().call()
    world.routes.pool = ()
    world.routes.remove(network.network, 24)  # as TunRoutes.set_pool() does
    world.lns.replace_pool([])
    world.run(1)
    assert client.up
    assert (network.network, 24) in world.routes.routes


def test_session_that_is_going_does_not_keep_its_user_out() -> None:
    world = world_with(AccessReply(ACCEPT, framed_ip=ip("10.0.0.2")), duplicate_login="refuse")
    lac = Lac(world).open()
    first = lac.call("alice")
    first.silent = True
    world.lns.drop_session(world.lns.sessions[first.key], "test")
    assert lac.call("alice").up


# The end


def test_drop_while_a_timeout_is_near_counts_once() -> None:
    world = world_with(AccessReply(ACCEPT, session_timeout=120, interim_interval=60))
    client = Lac(world).open().call()
    client.silent = True
    world.run(119)
    interims = len(world.radius.of(AccountingStatus.INTERIM))
    world.lns.drop_session(world.lns.sessions[client.key], "test")
    world.run(30)
    assert causes(world) == [TerminateCause.ADMIN_RESET]
    assert world.lns.counters.session_timeout == 0
    assert len(world.radius.of(AccountingStatus.INTERIM)) == interims


def test_sessions_that_a_drain_did_not_reach_end_for_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backlog, "SLICE", 1)
    monkeypatch.setattr(server, "TUNNEL_DRAIN_S", 0.02)
    world = World(pool=20)
    lac = Lac(world).open()
    for number in range(10):
        lac.call(f"user{number}")
    lac.silent = True
    for client in lac.calls.values():
        client.silent = True
    world.lns.shut_down("going down")
    world.run(0.5)
    assert causes(world) == [TerminateCause.ADMIN_REBOOT] * 10


def test_cut_off_ends_what_is_left_at_once_in_parts() -> None:
    world = World(pool=20)
    lac = Lac(world).open()
    for number in range(10):
        lac.call(f"user{number}")
    lac.silent = True
    world.lns.shut_down("going down")
    assert world.lns.cut_off("no time left", 4) == 6
    assert world.lns.cut_off("no time left", 10) == 0
    assert not world.plane.routes
    assert causes(world) == [TerminateCause.ADMIN_REBOOT] * 10


def test_call_that_we_break_off_is_not_said_to_be_closed_by_the_lac() -> None:
    world = World()
    lac = Lac(world).open()
    client = lac.call()
    lac.send(12, avp(24, bytes(4)) + avp(19, bytes(4)), client.session_id)  # a second ICCN
    world.run(1)
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert not stop.reason.startswith("Closed by the LAC")


# Plugins that act on the session that they are told of


class Dropper:
    """Drops the session of one event."""

    def __init__(self, world: World, event: str) -> None:
        self.world, self.event = world, event
        self.kills = 0

    def drop(self, event: str, session: Session) -> None:
        if event == self.event:
            self.world.lns.drop_session(session, "plugin")

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> None:
        self.drop("pre_auth", param.session)

    @hookimpl
    def post_auth(self, param: ParamPostAuth) -> None:
        self.drop("post_auth", param.session)

    @hookimpl
    def radius_response(self, param: ParamRadiusResponse) -> None:
        self.drop("radius_response", param.session)

    @hookimpl
    def new_session(self, param: ParamNewSession) -> None:
        self.drop("new_session", param.session)

    @hookimpl
    def radius_account(self, param: ParamRadiusAccount) -> None:
        self.drop("radius_account", param.session)

    @hookimpl
    def kill_session(self, param: ParamKillSession) -> None:
        self.kills += 1
        self.drop("kill_session", param.session)


@pytest.mark.parametrize(
    "event", ["pre_auth", "post_auth", "new_session", "radius_account", "kill_session"]
)
@pytest.mark.parametrize("silent", [False, True])
def test_session_that_a_plugin_drops_ends_once(event: str, silent: bool) -> None:
    world = World()
    plugin = Dropper(world, event)
    world.plugins.register("dropper", plugin)
    lac = Lac(world).open()
    client = lac.call()
    client.silent = silent
    if event == "kill_session":
        hang_up(client)
    world.run(30)
    assert plugin.kills == 1
    assert not plugin_errors(world)
    assert not world.lns.sessions
    assert not world.plane.routes
    assert world.lns.pool.used_count == 0
    assert world.lns.counters.session_ended == 1
    starts, stops = (
        world.radius.of(status) for status in (AccountingStatus.START, AccountingStatus.STOP)
    )
    assert len(starts) == len(stops)


def plugin_errors(world: World) -> int:
    return sum(
        statistics.errors
        for plugin in world.plugins.loaded()
        for statistics in plugin.statistics.values()
    )


def test_call_that_a_plugin_drops_while_it_is_killed_ends_once() -> None:
    world = World()
    plugin = Dropper(world, "kill_session")
    world.plugins.register("dropper", plugin)
    lac = Lac(world).open()
    client = lac.call(connect=False)
    hang_up(client)
    assert plugin.kills == 1
    assert world.lns.counters.session_ended == 1
    assert not plugin_errors(world)


@pytest.mark.parametrize("event", ["pre_auth", "post_auth", "radius_response"])
def test_session_that_is_dropped_during_its_login_is_not_let_in(event: str) -> None:
    world = world_with(AccessReply(ACCEPT, avpairs=(("a", "b"),)))
    lac = Lac(world).open()
    client = Client(lac, "alice", "pw", 500)
    client._lcp = lcp_without_terminate(client)  # type: ignore[method-assign]
    world.plugins.register("dropper", Dropper(world, event))
    dial(lac, client)
    (session,) = world.lns.sessions.values()
    assert session.state is SessionState.CLOSING
    assert world.lns.counters.login_accepted == 0
    assert world.lns.pool.used_count == 0
    assert len(world.radius.requests) == (event != "pre_auth")


def test_session_that_is_dropped_while_it_logs_in_again_stays_dropped() -> None:
    world = World()
    client = Lac(world).open().call()
    client._lcp = lcp_without_terminate(client)  # type: ignore[method-assign]
    world.plugins.register("dropper", Dropper(world, "post_auth"))
    world.radius.policy = lambda request: AccessReply(AccessOutcome.REJECT)
    restart_lcp(client)
    assert world.lns.sessions[client.key].state is SessionState.CLOSING
    assert world.lns.counters.login_refused == 0


def test_session_that_is_dropped_as_it_comes_up_has_no_accounting() -> None:
    world = World()
    world.plugins.register("dropper", Dropper(world, "new_session"))
    Lac(world).open().call()
    world.run(10)
    assert not world.lns.sessions
    assert not world.radius.records


def lcp_without_terminate(client: Client) -> Callable[[int, int, bytes], None]:
    original = client._lcp
    return lambda code, identifier, data: None if code == 5 else original(code, identifier, data)


def test_user_name_of_a_plugin_that_cannot_be_encoded_does_no_harm() -> None:
    class Rename:
        @hookimpl
        def pre_auth(self, param: ParamPreAuth) -> None:
            param.username = "al\ud800ice"

    world = World()
    world.plugins.register("rename", Rename())
    assert Lac(world).open().call().up
    assert world.radius.requests[0].user == b"al?ice"


def test_reply_that_a_plugin_spoilt_ends_its_own_session_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Spoiler:
        @hookimpl
        def post_auth(self, param: ParamPostAuth) -> None:
            if param.username == "bob":
                param.reply.framed_ip = "10.0.0.9"  # type: ignore[assignment]

    world = World()
    world.plugins.register("spoiler", Spoiler())
    lac = Lac(world).open()
    first, second = lac.call("alice"), lac.call("bob")
    world.run(1)
    assert first.up
    assert second.terminated
    assert [session.user for session in world.lns.sessions.values()] == ["alice"]
    assert lac.kinds().count(CDN) == 1
    assert world.lns.counters.session_failed == 1
    assert "failed" in caplog.text


def test_handler_that_fails_in_the_pump_ends_its_own_session_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    lac = Lac(world).open()
    first = lac.call("alice")

    def fail(*_arguments: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(Accounting, "start", fail)
    second = lac.call("bob")
    world.run(1)
    assert not second.up
    assert list(world.lns.sessions) == [first.key]
    assert world.lns.pool.used_count == 1


def test_timer_that_fails_ends_its_own_session_only(monkeypatch: pytest.MonkeyPatch) -> None:
    world = world_with(AccessReply(ACCEPT, interim_interval=60))
    lac = Lac(world).open()
    client = lac.call()

    def fail(*_arguments: object) -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(Accounting, "interim", fail)
    world.run(80)
    assert client.terminated
    assert not world.lns.sessions
    assert len(causes(world)) == 1


def test_accounting_attributes_of_a_plugin_are_taken_as_far_as_they_are_pairs() -> None:
    class Attributes:
        @hookimpl
        def radius_account(self, param: ParamRadiusAccount) -> None:
            param.packet = [("Filter-Id", "x"), "rubbish", ("Filter-Id",), ([], 1)]  # type: ignore[list-item]

    world = World()
    world.plugins.register("attributes", Attributes())
    Lac(world).open().call()
    (start,) = world.radius.of(AccountingStatus.START)
    assert start.extra == [("Filter-Id", "x")]


# What is around the sessions


def test_session_is_not_found_by_digits_of_another_kind() -> None:
    world = World()
    client = Lac(world).open().call()
    with pytest.raises(LookupError):
        world.lns.find_session(f"²/{client.session_id}")


class StillLoop:
    """A loop of which only call_at() is used, and that runs nothing by itself."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return 100.0

    def call_at(self, when: float, callback: Callable[[], None]) -> "StillLoop":
        self.calls.append((when, callback))
        return self

    def when(self) -> float:
        return self.calls[-1][0]

    def cancel(self) -> None:
        self.calls.clear()


def test_timers_go_on_after_one_has_failed() -> None:
    def fail(now: float) -> None:
        raise ValueError("a mistake")

    world, loop = World(), StillLoop()
    LoopTimer(loop, world.lns)  # type: ignore[arg-type]
    world.lns.timers.set(Timer(fail), 50.0)
    world.lns.timers.set(Timer(lambda now: None), 200.0)
    _when, callback = loop.calls.pop()
    with pytest.raises(ValueError, match="a mistake"):
        callback()
    assert [when for when, _callback in loop.calls] == [200.0]


def test_cleanup_gives_back_an_address_that_no_session_has() -> None:
    world = World()
    world.lns.cleanup.start(world.now)
    client = Lac(world).open().call()
    world.lns.pool.allocate("ghost", 4711)
    world.lns.pool.allocate("ghost", client.key)
    world.run(30)
    assert world.lns.cleanup.repaired == 2
    assert world.lns.pool.leased() == [client.ip]
    assert client.up


def test_line_errors_are_logged_as_numbers(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    lac = Lac(world).open()
    client = lac.call()
    with caplog.at_level(logging.INFO, "l2tpns"):
        lac.send(15, avp(34, bytes(2) + struct.pack("!6I", 1, 2, 3, 4, 5, 6)), client.session_id)
        world.run()
    assert "LAC reports line errors" in caplog.text
    assert "object at" not in caplog.text


def test_event_that_a_plugin_causes_waits_until_the_plugin_is_done() -> None:
    class DropOthers:
        depth = deepest = kills = 0

        @hookimpl
        def kill_session(self, param: ParamKillSession) -> None:
            self.depth += 1
            self.kills += 1
            self.deepest = max(self.deepest, self.depth)
            for session in list(world.lns.sessions.values()):
                world.lns.drop_session(session, "plugin")
            self.depth -= 1

    world, plugin = World(echo_timeout=10, idle_echo_timeout=60), DropOthers()
    world.plugins.register("others", plugin)
    lac = Lac(world).open()
    for user in ("a", "b", "c"):
        lac.call(user)
    for client in lac.calls.values():
        client.silent = True
    world.run(90)
    assert plugin.kills == 3
    assert plugin.deepest == 1


def test_backlog_goes_on_after_an_item_has_failed() -> None:
    def handle(item: int, now: float) -> None:
        if item == 1:
            raise ValueError("a mistake")
        handled.append(item)

    timers, handled = TimerQueue(), list[int]()
    waiting = backlog.Backlog(timers, handle)
    waiting.add([0, 1, 2], 0.0)
    with pytest.raises(ValueError, match="a mistake"):
        timers.expire(1.0)
    timers.expire(2.0)
    assert handled == [0, 2]


def test_login_that_the_lac_collected_is_put_to_radius() -> None:
    world = World(lcp_renegotiation="on-mismatch")
    lac = Lac(world).open()
    client = lac.call("alice", connect=False)
    ours = bytes([1, 4, 5, 0xB6, 3, 4, 0xC0, 0x23, 5, 6]) + b"lnsm"
    theirs = bytes([5, 6]) + b"abcd"
    lac.send(
        12,
        avp(24, struct.pack("!I", 1_000_000))
        + avp(19, struct.pack("!I", 1))
        + avp(26, theirs)
        + avp(27, ours)
        + avp(28, theirs)
        + avp(29, struct.pack("!H", 3))
        + avp(30, b"alice")
        + avp(32, struct.pack("!H", 7))
        + avp(33, b"secret"),
        client.session_id,
    )
    world.run()
    (request,) = world.radius.requests
    assert (request.user, request.credentials) == (b"alice", PapCredentials(b"secret"))
    assert client.up
    assert not any(frame[2:5] == b"\xc0\x21\x01" for frame in client.frames)
