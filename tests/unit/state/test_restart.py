"""The journal says what the LNS has, and the next LNS goes on with it."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccountingStatus,
    FramedRoute,
)
from l2tpns_core.session import TerminateCause
from support.memory import Lac, ip
from unit.state.rebirth import Life, sessions_of, tunnels_of

CDN = 14


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path, pool=8).begin()


def test_a_session_goes_on_and_ends_with_one_stop(life: Life) -> None:
    client = Lac(life.world).open().call("alice")
    before = sessions_of(life.world)[client.key]
    life.world.radius.settle_all()
    life.kill()
    world = life.reborn(3.0).world
    assert sessions_of(world)[client.key] == before
    assert [s.user for s in world.lns.sessions_of_user("ALICE")] == ["alice"]
    assert world.lns.session_by_ip(ip("10.0.0.1")) is not None
    assert world.lns.pool.holder(ip("10.0.0.1")) == client.key
    assert world.plane.routes[client.key].ip == ip("10.0.0.1")
    assert not world.radius.records
    client.send(0xC021, 5, 9)
    world.run()
    (stop,) = world.radius.of(AccountingStatus.STOP)
    (start,) = life.world.radius.of(AccountingStatus.START)
    assert stop.identity is not None
    assert start.identity is not None
    assert stop.identity.accounting_id == start.identity.accounting_id
    assert stop.session_time == 3
    assert stop.terminate_cause == TerminateCause.USER_REQUEST


def test_what_is_written_is_counted(life: Life) -> None:
    counters = life.journal.counters
    assert (counters.snapshots, counters.failures) == (1, 0)
    before = counters.journal_octets
    Lac(life.world).open().call("alice")
    life.second()
    assert counters.journal_writes > 0
    assert counters.journal_octets > before


def test_the_control_channel_goes_on_where_it_was(life: Life) -> None:
    lac = Lac(life.world).open()
    lac.call("alice")
    lac.silent = True
    life.world.lns.drop_session(next(iter(life.world.lns.sessions.values())), "test")
    life.world.run(1.0)
    before = tunnels_of(life.world)
    assert [len(channel.messages) for _, channel in before.values()] == [1]
    life.kill()
    lac.silent = False
    next_life = life.reborn(1.0)
    assert lac.kinds()[-1] == CDN
    assert not next_life.world.lns.sessions
    assert lac.call("bob").up
    assert all(not channel.messages for _, channel in tunnels_of(next_life.world).values())


def test_ids_and_addresses_are_not_given_out_twice(life: Life) -> None:
    lac = Lac(life.world).open()
    first, second = lac.call("alice"), lac.call("bob")
    first.send(0xC021, 5, 9)
    life.world.run()
    life.kill()
    next_life = life.reborn()
    third, fourth = lac.call("carol"), lac.call("dave")
    sessions = next_life.world.lns.sessions
    assert len({second.session_id, third.session_id, fourth.session_id}) == 3
    assert len({second.ip, third.ip, fourth.ip}) == 3
    assert len({session.unique for session in sessions.values()}) == 3
    assert min(sessions[c.key].unique for c in (third, fourth)) > sessions[second.key].unique


def test_a_user_who_was_away_gets_his_address_again(life: Life) -> None:
    lac = Lac(life.world).open()
    lac.call("alice").send(0xC021, 5, 9)
    life.world.run(2.0)
    life.kill()
    life = life.reborn()
    life.kill()
    life.reborn(1.0)
    assert lac.call("bob").ip == ip("10.0.0.2")
    assert lac.call("alice").ip == ip("10.0.0.1")


def test_a_login_that_was_under_way_is_asked_for_anew_on_the_same_call(life: Life) -> None:
    lac = Lac(life.world).open()
    life.world.radius.policy = lambda request: None
    client = lac.call("alice")
    assert not client.ip
    life.kill()
    world = life.reborn().world
    client.send(0xC021, 1, 2, bytes([5, 6]) + b"abcd")  # as RFC 1661 has it of an opened LCP
    client.login()
    world.run(3.0)
    assert lac.kinds()[-1] != CDN
    assert client.ip == ip("10.0.0.1")
    assert [session.user for session in world.lns.sessions.values()] == ["alice"]
    assert len(world.radius.of(AccountingStatus.START)) == 1


def test_a_call_that_was_not_connected_yet_waits_for_that(life: Life) -> None:
    lac = Lac(life.world).open()
    late, never = lac.call("alice", connect=False), lac.call("bob", connect=False)
    life.kill()
    world = life.reborn(1.0).world
    assert not late.frames
    assert lac.kinds()[-1] != CDN
    late.connect = True
    late.answered(late.session_id)
    world.run(3.0)
    assert late.ip == ip("10.0.0.1")
    world.run(world.lns.settings.endpoint.setup_timeout_s)
    assert lac.kinds()[-1] == CDN
    assert [session.user for session in world.lns.sessions.values()] == ["alice"]
    assert not never.frames


def test_limits_run_on_while_nobody_is_there(life: Life) -> None:
    life.world.radius.policy = lambda request: AccessReply(
        AccessOutcome.ACCEPT, session_timeout=60, interim_interval=600
    )
    client = Lac(life.world).open().call("alice")
    life.world.run(20.0)
    life.kill()
    world = life.reborn(30.0).world
    world.run(9.0)
    assert client.key in world.lns.sessions
    world.run(3.0)
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert stop.terminate_cause == TerminateCause.SESSION_TIMEOUT
    assert stop.session_time in (60, 61, 62)


def test_framed_routes_throttles_and_the_garden_stay(life: Life) -> None:
    life.world.radius.policy = lambda request: AccessReply(
        AccessOutcome.ACCEPT, routes=(FramedRoute(ip("172.16.0.0"), 24),), classes=(b"\xff\0c",)
    )
    client = Lac(life.world).open().call("alice")
    session = life.world.lns.sessions[client.key]
    life.world.lns.throttle(session, 128, 256)
    life.world.lns.snoop(session, ip("192.0.2.9"), 4242)
    life.world.lns.set_garden(session, True)
    session.plugin_data = {"good": {"tariff": "flat"}, "bad": object()}
    life.world.lns.session_changed(session)
    life.kill()
    world = life.reborn().world
    session = world.lns.sessions[client.key]
    route = world.plane.routes[client.key]
    assert (route.throttle_in, route.throttle_out) == (128, 256)
    assert route.snoop == ("192.0.2.9", 4242)
    assert route.networks == ((ip("172.16.0.0"), 24),)
    assert world.routes.routes == {(ip("172.16.0.0"), 24)}
    assert session.classes == (b"\xff\0c",)
    assert session.walled_garden
    assert not session.accounting_started
    assert session.plugin_data == {"good": {"tariff": "flat"}}


def test_counters_go_on_and_idle_time_is_not_taken_too_early(life: Life) -> None:
    life.world.radius.policy = lambda request: AccessReply(AccessOutcome.ACCEPT, idle_timeout=100)
    client = Lac(life.world).open().call("alice")
    usage = SessionCounters(10, 20, 1, 2, life.world.now, life.world.now)
    life.world.plane.set_usage(client.key, usage)
    life.second()
    life.world.run(80.0)
    life.kill()
    world = life.reborn().world
    assert world.plane.counters(client.key)[:4] == (10, 20, 1, 2)
    world.run(25.0)
    assert client.key in world.lns.sessions  # its last packet may have come after the counters
    world.run(120.0)
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert stop.terminate_cause == TerminateCause.IDLE_TIMEOUT


def test_a_peaceful_end_has_all_counters(life: Life) -> None:
    client = Lac(life.world).open().call("alice")
    life.world.plane.set_usage(client.key, SessionCounters(1, 2, 3, 4, 5.0, 6.0))
    life.finish()
    image = life.load().image
    assert image.stopped
    assert image.counted[client.key].total[:4] == (1, 2, 3, 4)


def test_what_is_refused_is_closed_with_the_time_of_its_end(life: Life) -> None:
    client = Lac(life.world).open().call("alice")
    life.world.plane.set_usage(client.key, SessionCounters(10, 20, 1, 2))
    life.world.run(20.0)
    life.second()
    life.kill()
    ended = life.world.now + life.world.wall_offset
    next_life = life.reborn(1000.0, refuse="a test")
    world = next_life.world
    assert not world.lns.sessions
    (stop,) = world.radius.of(AccountingStatus.STOP)
    assert stop.terminate_cause == TerminateCause.NAS_REBOOT
    assert stop.event_time == pytest.approx(ended)
    assert stop.session_time == 20
    assert stop.usage is not None
    assert stop.usage.octets_in == 10
    next_life.kill()
    assert not next_life.load().image.sessions


def test_a_start_that_nobody_acknowledged_is_sent_again(life: Life) -> None:
    Lac(life.world).open().call("alice")
    (start,) = life.world.radius.records
    life.kill()
    world = life.reborn(2.0).world
    assert world.radius.records == [start]


def test_a_stop_that_nobody_acknowledged_is_sent_again(life: Life) -> None:
    client = Lac(life.world).open().call("alice")
    life.world.plane.set_usage(client.key, SessionCounters(1 << 40, 2, 3, 4))
    life.world.run(5.0)
    client.send(0xC021, 5, 9)
    life.world.run()
    (first,) = life.world.radius.of(AccountingStatus.STOP)
    for _ in range(2):
        life.kill()
        life = life.reborn(60.0)
        (again,) = life.world.radius.of(AccountingStatus.STOP)
        assert again == first
    life.world.radius.settle_all()
    life.kill()
    assert not life.reborn().world.radius.records


def test_a_restart_after_a_restart(life: Life) -> None:
    lac = Lac(life.world).open()
    client = lac.call("alice")
    for _ in range(3):
        before = sessions_of(life.world)
        life.kill()
        life = life.reborn(1.0)
        assert sessions_of(life.world) == before
    assert client.key in life.world.lns.sessions
    assert len(list(life.directory.glob("sessions-0*"))) == 2


ACTIONS = ("call", "fail", "hang up", "drop", "throttle", "garden", "hello", "wait", "compact")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 7)), max_size=25))
def test_whatever_happened_the_journal_knows_it(actions: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        life = Life(Path(name), pool=8).begin()
        world = life.world
        lac = Lac(world).open()
        for action, number in actions:
            act(life, lac, action, number)
        sessions, tunnels = sessions_of(world), tunnels_of(world)
        life.kill()
        loaded = life.load()
        assert not loaded.refused
        image = loaded.image
        assert image.sessions.keys() == sessions.keys()
        for key, session in sessions.items():
            assert (image.sessions[key].link is None) == (session.link is None)
            if session.link is not None:
                assert image.sessions[key] == session
        assert image.tunnels == {number: saved for number, (saved, _) in tunnels.items()}
        for number, (_, channel) in tunnels.items():
            assert image.channels[number].saved() == channel


def act(life: Life, lac: Lac, action: str, number: int) -> None:
    world = life.world
    up = [session for session in world.lns.sessions.values() if session.network_up]
    session = up[number % len(up)] if up else None
    if action == "call":
        lac.call(f"user{number}")
    elif action == "fail":
        policy = world.radius.policy
        world.radius.policy = lambda request: AccessReply(AccessOutcome.REJECT)
        lac.call(f"user{number}")
        world.radius.policy = policy
    elif action == "hello":
        lac.send(6, b"")
    elif action == "wait":
        world.run(float(number))
    elif action == "compact":
        life.begin()
    elif session is not None and action == "hang up":
        lac.clients[session.key].send(0xC021, 5, 9)
    elif session is not None and action == "drop":
        world.lns.drop_session(session, "test")
    elif session is not None and action == "throttle":
        world.lns.throttle(session, number, number)
    elif session is not None and action == "garden":
        world.lns.set_garden(session, not session.walled_garden)
    world.run()
