"""Every way a session can begin and end, with what each party is told, in virtual time."""

import struct

import pytest

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.life import Step
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    AccountingStatus,
    FramedRoute,
    PapCredentials,
)
from l2tpns_core.session import TerminateCause
from support.memory import Client, Lac, World, avp, ip

CDN, STOPCCN = 14, 4


def reply(**attributes: object) -> AccessReply:
    return AccessReply(AccessOutcome.ACCEPT, **attributes)  # type: ignore[arg-type]


def world_with(answer: AccessReply | None, **directives: object) -> World:
    world = World(**directives)  # type: ignore[arg-type]
    world.radius.policy = lambda request: answer
    return world


def cdns(lac: Lac) -> list[tuple[int, int]]:
    """(result, error) of the CDNs that the LAC got."""
    results = [avps[1] for kind, _session, avps in lac.messages if kind == CDN]
    return [struct.unpack("!HH", (value + b"\0\0")[:4]) for value in results]  # type: ignore[misc]


def assert_nothing_is_left(world: World) -> None:
    assert not world.lns.sessions
    assert not world.plane.routes
    assert not world.routes.routes
    assert world.lns.pool.used_count == 0
    starts = {
        r.identity.accounting_id for r in world.radius.of(AccountingStatus.START) if r.identity
    }
    stops = [r.identity.accounting_id for r in world.radius.of(AccountingStatus.STOP) if r.identity]
    assert sorted(stops) == sorted(starts)


def only_stop(world: World) -> TerminateCause:
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert stop.terminate_cause is not None
    return TerminateCause(stop.terminate_cause)


def test_login_gives_address_dns_and_one_start() -> None:
    world = World(primary_dns=ip("9.9.9.9"), secondary_dns=ip("8.8.8.8"))
    client = Lac(world).open().call("alice", "secret")
    assert client.up
    assert client.ip == ip("10.0.0.1")
    assert client.dns == (ip("9.9.9.9"), ip("8.8.8.8"))
    (request,) = world.radius.requests
    assert request.user == b"alice"
    assert request.credentials == PapCredentials(b"secret")
    (start,) = world.radius.of(AccountingStatus.START)
    assert start.identity is not None
    assert start.identity.ip == client.ip
    assert world.plane.routes[client.key].ip == client.ip


def test_rejected_login_is_told_by_pap_nak_lcp_terminate_and_cdn() -> None:
    world = World()
    world.radius.policy = lambda request: AccessReply(
        AccessOutcome.REJECT, reply_message="no such user"
    )
    lac = Lac(world).open()
    client = lac.call()
    world.run(10)
    assert client.refused == b"no such user"
    assert client.terminated
    assert len(cdns(lac)) == 1
    assert cdns(lac)[0][0] == 3
    assert not world.radius.records
    assert_nothing_is_left(world)


def test_silent_radius_ends_the_call_with_a_temporary_failure() -> None:
    world = world_with(AccessReply(AccessOutcome.TIMEOUT))
    lac = Lac(world).open()
    client = lac.call()
    world.run(10)
    assert client.refused
    assert [result for result, _error in cdns(lac)] == [4]
    assert_nothing_is_left(world)


def test_exhausted_pool_sends_the_lac_elsewhere() -> None:
    world = World(pool=1)
    lac = Lac(world).open()
    first, second = lac.call("a"), lac.call("b")
    world.run(10)
    assert first.up
    assert not second.up
    assert second.refused
    assert cdns(lac) == [(2, 7)]
    assert world.lns.counters.ip_exhausted == 1


def test_vanished_lac_costs_its_sessions_and_each_gets_one_stop() -> None:
    world = World()
    lac = Lac(world).open()
    for user in ("a", "b", "c"):
        lac.call(user)
    lac.silent = True
    for client in lac.calls.values():
        client.silent = True
    world.run(400)
    stops = world.radius.of(AccountingStatus.STOP)
    assert len(stops) == 3
    assert_nothing_is_left(world)
    assert not world.lns.endpoint.tunnels


def test_vanished_client_is_noticed_by_echo() -> None:
    world = World(echo_timeout=10, idle_echo_timeout=60)
    lac = Lac(world).open()
    client = lac.call()
    client.silent = True
    world.run(90)
    assert only_stop(world) is TerminateCause.LOST_SERVICE
    assert len(cdns(lac)) == 1
    assert_nothing_is_left(world)


def test_client_with_traffic_is_not_asked_for_echo() -> None:
    world = World(echo_timeout=10, line_quality_interval=0)
    client = Lac(world).open().call()
    before = len(client.frames)
    for _ in range(30):
        world.run(2)
        world.plane.set_usage(client.key, SessionCounters(heard_at=world.now, data_at=world.now))
    assert len(client.frames) == before


def test_client_with_traffic_is_asked_once_in_a_while() -> None:
    world = World(echo_timeout=10, line_quality_interval=120)
    client = Lac(world).open().call()
    for _ in range(600):
        world.run(2)
        world.plane.set_usage(client.key, SessionCounters(heard_at=world.now, data_at=world.now))
    link = world.lns.sessions[client.key].link
    assert link is not None
    assert link.quality is not None
    assert 8 <= link.quality.echoes <= 10  # in 20 minutes, which an echo timeout makes later
    assert link.quality.lost == 0


def test_a_line_that_loses_echoes_is_recorded_as_bad_until_it_is_good_again() -> None:
    world = World(echo_timeout=10, idle_echo_timeout=0)
    client = Lac(world).open().call()
    session = world.lns.sessions[client.key]
    assert session.life is not None

    def told() -> list[tuple[Step, str]]:
        changes = (Step.LINE_BAD, Step.LINE_GOOD)
        life = session.life or ()
        return [(one.step, one.detail) for one in life if one.step in changes]

    world.run(300)
    assert told() == []
    client.echoes = False
    world.run(60)
    assert told() == [(Step.LINE_BAD, "4 16")]
    client.echoes = True
    world.run(300)
    assert told() == [(Step.LINE_BAD, "4 16"), (Step.LINE_GOOD, "1 16")]
    assert session.network_up


def test_negotiating_anew_begins_a_new_measurement() -> None:
    world = World(echo_timeout=10, idle_echo_timeout=0)
    client = Lac(world).open().call()
    client.echoes = False
    world.run(100)
    session = world.lns.sessions[client.key]
    assert session.link is not None
    assert session.link.quality is not None
    client.send(0xC021, 1, 9, bytes([5, 6]) + b"abcd")
    assert session.link.quality is None
    world.run(5)
    assert client.up
    assert session.link.quality is None


def test_second_login_replaces_the_first() -> None:
    world = World()
    lac = Lac(world).open()
    first, second = lac.call("alice"), lac.call("Alice")
    world.run(10)
    assert first.terminated
    assert second.up
    assert len(cdns(lac)) == 1
    assert only_stop(world) is TerminateCause.ADMIN_RESET


def test_second_login_is_refused_when_told_so() -> None:
    world = World(duplicate_login="refuse")
    lac = Lac(world).open()
    first, second = lac.call("alice"), lac.call("alice")
    world.run(10)
    assert first.up
    assert second.refused
    assert not second.up
    assert not world.radius.of(AccountingStatus.STOP)


def test_second_login_is_fine_when_duplicates_are_allowed() -> None:
    world = World(allow_duplicate_users=True)
    lac = Lac(world).open()
    assert all(client.up for client in (lac.call("alice"), lac.call("alice")))


def test_guest_account_may_log_in_twice() -> None:
    world = World(guest_account="guest,other")
    lac = Lac(world).open()
    lac.call("guest")
    lac.call("guest")
    assert len(world.lns.sessions_of_user("guest")) == 2


def test_static_address_is_taken_over_from_its_holder() -> None:
    world = world_with(reply(framed_ip=ip("203.0.113.9")))
    lac = Lac(world).open()
    first, second = lac.call("a"), lac.call("b")
    world.run(10)
    assert first.terminated
    assert second.ip == ip("203.0.113.9")
    assert world.routes.routes == {(ip("203.0.113.9"), 32)}
    world.lns.drop_session(world.lns.sessions[second.key], "test")
    world.run(10)
    assert_nothing_is_left(world)


def test_unusable_static_address_is_refused() -> None:
    world = world_with(reply(framed_ip=ip("127.0.0.1")))
    client = Lac(world).open().call()
    world.run(10)
    assert client.refused
    assert not client.up


@pytest.mark.parametrize("special", ["255.255.255.254", "255.255.255.255"])
def test_special_framed_addresses_give_an_address_of_the_pool(special: str) -> None:
    world = world_with(reply(framed_ip=ip(special)))
    assert Lac(world).open().call().ip == ip("10.0.0.1")


def test_client_may_choose_its_address_when_radius_lets_it() -> None:
    world = world_with(reply(framed_ip=ip("255.255.255.255")))
    lac = Lac(world).open()
    client = lac.call(wanted=ip("203.0.113.77"))
    assert client.up
    assert client.ip == ip("203.0.113.77")
    assert world.routes.routes == {(ip("203.0.113.77"), 32)}
    world.lns.drop_session(world.lns.sessions[client.key], "test")
    world.run(10)
    assert_nothing_is_left(world)


def test_client_cannot_choose_the_address_of_another() -> None:
    world = world_with(reply(framed_ip=ip("255.255.255.255")))
    lac = Lac(world).open()
    lac.call("a", wanted=ip("10.0.0.2"))
    assert lac.call("b", wanted=ip("10.0.0.2")).ip == ip("10.0.0.1")


def test_framed_route_goes_to_kernel_and_plane_and_leaves_with_the_session() -> None:
    network = FramedRoute(ip("198.51.100.0"), 24)
    world = world_with(reply(routes=(network,)))
    client = Lac(world).open().call()
    assert world.routes.routes == {(network.network, 24)}
    assert world.plane.routes[client.key].networks == ((network.network, 24),)
    world.lns.drop_session(world.lns.sessions[client.key], "test")
    world.run(10)
    assert_nothing_is_left(world)


def test_framed_route_moves_to_the_newer_session_and_stays_there() -> None:
    network = FramedRoute(ip("198.51.100.0"), 24)
    world = world_with(reply(routes=(network,)))
    lac = Lac(world).open()
    first, second = lac.call("a"), lac.call("b")
    assert world.plane.routes[first.key].networks == ()
    assert world.lns.sessions[first.key].routes == (), "slaves and saved state go by this"
    world.lns.drop_session(world.lns.sessions[first.key], "test")
    world.run(10)
    assert world.routes.routes == {(network.network, 24)}
    assert world.plane.routes[second.key].networks == ((network.network, 24),)


def test_session_timeout_ends_the_session() -> None:
    world = world_with(reply(session_timeout=120))
    lac = Lac(world).open()
    client = lac.call()
    world.run(119)
    assert not client.terminated
    world.run(10)
    assert client.terminated
    assert only_stop(world) is TerminateCause.SESSION_TIMEOUT
    assert len(cdns(lac)) == 1
    assert_nothing_is_left(world)


def test_session_timeout_of_zero_is_no_time_at_all() -> None:
    client = Lac(world := world_with(reply(session_timeout=0))).open().call()
    world.run(10)
    assert client.refused
    assert_nothing_is_left(world)


def test_idle_timeout_counts_from_the_last_packet() -> None:
    world = world_with(reply(idle_timeout=60))
    client = Lac(world).open().call()
    world.run(50)
    world.plane.set_usage(client.key, SessionCounters(data_at=world.now, heard_at=world.now))
    world.run(55)
    assert not client.terminated
    world.run(20)
    assert client.terminated
    assert only_stop(world) is TerminateCause.IDLE_TIMEOUT


def test_administrator_drops_a_session() -> None:
    world = World()
    lac = Lac(world).open()
    client = lac.call()
    world.lns.drop_session(world.lns.find_session(str(client.session_id)), "dropped by operator")
    world.run(1)
    assert client.terminated
    assert cdns(lac) == [(3, 0)]
    assert lac.messages[-1][2][46][:5] == b"\0\1\0\0\0"  # RFC 3145: administrative
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert stop.terminate_cause == TerminateCause.ADMIN_RESET
    assert stop.reason == "dropped by operator"
    assert any(b"dropped by operator" in frame for frame in client.frames)
    assert_nothing_is_left(world)


def test_dropped_session_ends_although_its_client_is_silent() -> None:
    world = World()
    lac = Lac(world).open()
    client = lac.call()
    client.silent = True
    world.lns.drop_session(world.lns.sessions[client.key], "test")
    world.run(15)
    assert len(cdns(lac)) == 1
    assert_nothing_is_left(world)


def test_client_hangs_up() -> None:
    world = World()
    lac = Lac(world).open()
    client = lac.call()
    client.send(0xC021, 5, 9)
    world.run(10)
    assert only_stop(world) is TerminateCause.USER_REQUEST
    assert len(cdns(lac)) == 1
    assert_nothing_is_left(world)


def test_lac_ends_the_call() -> None:
    world = World()
    lac = Lac(world).open()
    client = lac.call()
    lac.send(
        14,
        avp(1, struct.pack("!H", 1)) + avp(14, struct.pack("!H", client.call_id)),
        client.session_id,
    )
    world.run(1)
    assert only_stop(world) is TerminateCause.LOST_CARRIER
    assert not cdns(lac)
    assert_nothing_is_left(world)


def test_lac_ends_the_tunnel() -> None:
    world = World(pool=300)
    lac = Lac(world).open()
    for i in range(200):
        lac.call(f"user{i}")
    lac.send(4, avp(1, struct.pack("!H", 1)) + avp(9, struct.pack("!H", lac.tunnel_id)))
    world.run(1)
    assert len(world.radius.of(AccountingStatus.STOP)) == 200
    assert_nothing_is_left(world)
    world.run(300)
    assert not world.lns.endpoint.tunnels


def test_administrator_drops_a_tunnel() -> None:
    world = World()
    lac = Lac(world).open()
    clients = [lac.call("a"), lac.call("b")]
    (tunnel,) = world.lns.endpoint.tunnels.values()
    world.lns.drop_tunnel(tunnel, "maintenance")
    world.run(1)
    assert all(client.terminated for client in clients)
    assert lac.kinds().count(CDN) == 2
    assert lac.kinds()[-1] == STOPCCN
    assert_nothing_is_left(world)


def test_shut_down_tells_everybody_and_refuses_newcomers() -> None:
    world = World()
    lac = Lac(world).open()
    client = lac.call()
    world.lns.shut_down("going down")
    world.run(2)
    assert client.terminated
    assert lac.kinds()[-1] == STOPCCN
    assert only_stop(world) is TerminateCause.ADMIN_REBOOT
    assert world.lns.at_rest
    late = Lac(world, ("192.0.2.2", 1701)).open()
    assert late.kinds() == [STOPCCN]


def test_call_that_is_never_connected_is_given_up() -> None:
    world = World()
    lac = Lac(world).open()
    lac.call(connect=False)
    assert len(world.lns.sessions) == 1
    world.run(120)
    assert len(cdns(lac)) == 1
    assert_nothing_is_left(world)


def test_call_over_max_sessions_is_refused() -> None:
    world = World(max_sessions=1)
    lac = Lac(world).open()
    lac.call("a")
    lac.call("b")
    assert [result for result, _error in cdns(lac)] == [4]
    assert world.lns.counters.session_overflow == 1


def test_interim_update_carries_the_counters_of_the_moment() -> None:
    world = World(radius_interim=100)
    client = Lac(world).open().call()
    world.plane.set_usage(client.key, SessionCounters(10, 20, 1, 2, world.now, world.now))
    world.run(130)
    interims = world.radius.of(AccountingStatus.INTERIM)
    assert len(interims) == 1
    usage = interims[0].usage
    assert usage is not None
    assert (usage.octets_in, usage.octets_out, usage.packets_in, usage.packets_out) == (
        10,
        20,
        1,
        2,
    )
    assert 90 <= interims[0].session_time <= 110


def test_stop_carries_the_final_counters() -> None:
    world = World()
    lac = Lac(world).open()
    client = lac.call()
    world.plane.set_usage(client.key, SessionCounters(1 << 33, 2, 3, 4))
    world.lns.drop_session(world.lns.sessions[client.key], "test")
    world.run(10)
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert stop.usage is not None
    assert stop.usage.octets_in == 1 << 33


def test_no_records_without_radius_accounting() -> None:
    world = World(radius_accounting=False)
    lac = Lac(world).open()
    client = lac.call()
    world.lns.drop_session(world.lns.sessions[client.key], "test")
    world.run(10)
    assert client.terminated
    assert not world.radius.records


def test_reply_for_a_session_that_is_gone_changes_nothing() -> None:
    world = world_with(None)
    lac = Lac(world).open()
    client = lac.call()
    handle_count = len(world.radius.cancelled)
    lac.send(
        14,
        avp(1, struct.pack("!H", 3)) + avp(14, struct.pack("!H", client.call_id)),
        client.session_id,
    )
    world.run()
    assert len(world.radius.cancelled) == handle_count + 1
    world.radius.policy = lambda request: reply()
    world.run(10)
    assert_nothing_is_left(world)


def test_session_ids_are_not_reused_at_once() -> None:
    world = World()
    lac = Lac(world).open()
    first = lac.call("a")
    world.lns.drop_session(world.lns.sessions[first.key], "test")
    world.run(10)
    assert lac.call("b").session_id != first.session_id


def test_name_that_is_not_utf8_survives_to_radius() -> None:
    world = World()
    lac = Lac(world).open()
    client = Client(lac, "", "pw", 500)
    client.login = lambda: client.send(0xC023, 1, 7, b"\x02\xff\xfe\x02pw")  # type: ignore[method-assign]
    lac.calls[500] = client
    lac.send(10, avp(14, struct.pack("!H", 500)) + avp(15, bytes(4)))
    world.run()
    assert world.radius.requests[0].user == b"\xff\xfe"


@pytest.mark.parametrize("refused", [True, False])
def test_policy_sees_each_login_once(refused: bool) -> None:
    world = World()
    seen: list[AccessRequest] = []

    def policy(request: AccessRequest) -> AccessReply:
        seen.append(request)
        return AccessReply(AccessOutcome.REJECT if refused else AccessOutcome.ACCEPT)

    world.radius.policy = policy
    Lac(world).open().call()
    world.run(30)
    assert len(seen) == 1
