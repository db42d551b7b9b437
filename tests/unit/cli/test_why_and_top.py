"""`why`, `show top`, `show cluster`, `show bgp` as screens and as data."""

import json
import re

import pytest

from l2tpns_core.cli.commands.why import _gap
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.life import Life, PastLife, Step
from l2tpns_core.lns.lives import Lives
from l2tpns_core.observe.busiest import FORGET_S, Busiest
from unit.cli.fakes import WALL, FakeContext, four_sessions


def with_life(context: FakeContext) -> FakeContext:
    session = next(iter(context.lns.sessions.values()))
    session.life = life = Life()
    life.add(WALL - 20, Step.CALLED, "10.9.0.101 0155>0800")
    life.add(WALL - 19.96, Step.LOGIN, "CHAP_MD5 u1")
    life.add(WALL - 17, Step.ONLINE)
    return context


def past(context: FakeContext, user: str, *details: tuple[Step, str]) -> None:
    life = Life()
    for step, detail in details:
        life.add(WALL - 60, step, detail)
    context.lns.lives._past.append(PastLife(user, 9, 77, "0000", life))


def test_the_life_of_a_user_in_plain_words() -> None:
    lines = with_life(four_sessions()).run("why u1").lines
    assert lines[:2] == ["", "Session 1 of tunnel 2, u1:"]
    assert re.fullmatch(r"  \d{4}-\d\d-\d\d", lines[2])
    ends = [
        "            L2TP: the LAC 10.9.0.101 announces a call of 0155 to 0800",
        "    +40 ms  Login as u1 by CHAP, RADIUS is asked",
        "    +3.0 s  IPCP is up, packets are forwarded",
    ]
    for line, end in zip(lines[3:6], ends, strict=True):
        assert re.fullmatch(rf"  \d\d:\d\d:\d\d\.\d{{3}}{re.escape(end)}", line), line
    assert lines[6].strip() == "Still there."


def test_the_same_by_session_id_and_as_data() -> None:
    context = with_life(four_sessions())
    by_id = json.loads(context.run("why 2/1", json=True).text)
    assert by_id == json.loads(context.run("why u1", json=True).text)
    (told,) = by_id
    assert (told["user"], told["ended"], told["left_out"]) == ("u1", False, 0)
    assert [step["step"] for step in told["steps"]] == ["called", "login", "online"]


def test_past_lives_come_before_the_present_one() -> None:
    context = with_life(four_sessions())
    past(context, "U1", (Step.REJECTED, "no"), (Step.ENDED, "1 2 - login refused (User-Error)"))
    lines = context.run("why u1").lines
    assert lines[1] == "Session 77 of tunnel 9, U1, ended:"
    assert 'RADIUS rejects: "no"' in lines[3]
    assert lines[4].endswith("Ended: login refused (User-Error); 1 bytes up, 2 down")
    assert lines[6] == "Session 1 of tunnel 2, u1:"


def test_no_more_than_a_few_lives_are_told() -> None:
    context = four_sessions()
    for _ in range(9):
        past(context, "gone", (Step.NO_ANSWER, ""))
    assert context.run("why gone").text.count("Session 77") == 5
    assert context.run("why 77").text.count("Session 77") == 5
    assert context.run("why 9/77").text.count("Session 77") == 5


@pytest.mark.parametrize("text", ["nobody", "999999999", "8/77", "/", "2/", "-1"])
def test_of_whom_nothing_is_known(text: str) -> None:
    assert four_sessions().run(f"why {text}").error == f"Nothing is recorded of {text}"


def test_every_step_has_a_sentence() -> None:
    context = FakeContext()
    past(context, "all", *((step, "a b c d") for step in Step))
    lines = context.run("why all").lines[3:]
    assert len(lines) == len(Step)
    assert len({line[24:] for line in lines}) == len(Step)


def test_what_a_stranger_named_himself_moves_no_cursor() -> None:
    context = FakeContext()
    past(context, "x", (Step.LOGIN, "PAP \x1b[2J\nroot"))
    assert "\x1b" not in context.run("why x").text
    assert "\\x1b[2J\\x0aroot" in context.run("why x").text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "+0 ms"), (0.04, "+40 ms"), (2.5, "+2.5 s"), (600, "+10 min"), (9000, "+2.5 h")],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert _gap(seconds) == text


def test_the_second_look_knows_who_is_busiest() -> None:
    context = four_sessions()
    first = context.run("show top").lines
    assert first[-1] == "The busiest users are known at the next look."
    now = 5000.0
    context.lns.clock = lambda: now + 2.0  # type: ignore[method-assign]
    key = next(iter(context.lns.sessions))
    context.lns.traffic[key] = SessionCounters(1680 + 25_000, 1690 + 250_000, 20, 21)
    lines = context.run("show top").lines
    assert "Sessions: 4   Tunnels: 2" in lines
    reply = "RADIUS: 127.0.0.1:1812 auth up, replies in 2.5 ms (1.0 to 10.3)"
    assert f"{reply}, 1 under way, 0 waiting" in lines
    assert lines[-3] == "Busiest of 2.0 s:"
    assert lines[-1].split() == ["1", "2", "u1", "10.20.1.1", "1000", "100", "10.9.0.101"]
    data = json.loads(context.run("show top", json=True).text)
    assert data["busiest"][0]["down_bps"] == 1_000_000
    assert data["radius"][0]["latency_mean_s"] == 0.0025


def test_radius_that_is_silent_or_not_there() -> None:
    context = four_sessions()
    context.servers[0].latency, context.servers[0].is_dead = None, True
    assert "given up for now, no reply of late" in context.run("show top").text
    context.servers.clear()
    assert "RADIUS: no server" in context.run("show top").lines


@pytest.mark.parametrize("text", ["0", "51", "x", "9999"])
def test_an_impossible_number_of_users(text: str) -> None:
    error = four_sessions().run(f"show top {text}").error
    assert error == f'Invalid number of users "{text}" (1-50)'


def look(busiest: Busiest, octets: list[tuple[int, int, int]], now: float) -> None:
    for _ in busiest.look(octets, now):
        pass


def test_a_look_soon_after_another_changes_nothing() -> None:
    busiest = Busiest()
    look(busiest, [(1, 0, 0)], 10.0)
    look(busiest, [(1, 1000, 0)], 12.0)
    look(busiest, [(1, 9000, 0)], 12.5)
    assert busiest.found[0].in_bps == 4000
    assert busiest.interval_s == 2.0


def test_counters_that_fell_count_for_nothing() -> None:
    busiest = Busiest()
    look(busiest, [(1, 1000, 1000), (2, 0, 0)], 10.0)
    look(busiest, [(1, 0, 500), (2, 10, 0)], 12.0)
    assert [rates.key for rates in busiest.found] == [2]


def test_only_the_busiest_are_kept_and_all_is_forgotten_in_the_end() -> None:
    busiest = Busiest()
    look(busiest, [(key, 0, 0) for key in range(200)], 10.0)
    look(busiest, [(key, key * 10, 0) for key in range(200)], 12.0)
    assert [rates.key for rates in busiest.found] == list(range(199, 149, -1))
    busiest.forget_if_unused(12.0 + FORGET_S)
    assert busiest.found
    busiest.forget_if_unused(12.1 + FORGET_S)
    assert not busiest.found
    look(busiest, [(1, 5, 5)], 200.0)
    assert busiest.interval_s == 0.0


def test_an_interrupted_look_does_not_bar_the_next() -> None:
    busiest = Busiest()
    looking = busiest.look([(1, 0, 0), (2, 0, 0)], 10.0)
    next(looking)
    look(busiest, [(1, 0, 0)], 20.0)
    assert busiest.interval_s == 0.0
    looking.close()  # type: ignore[attr-defined]
    look(busiest, [(1, 0, 0)], 20.0)
    look(busiest, [(1, 1, 0)], 22.0)
    assert busiest.interval_s == 2.0


def test_a_server_that_stands_alone() -> None:
    context = four_sessions()
    assert context.run("show cluster").lines == [
        "Cluster status   : Master",
        "Highest session  : 4",
        "Highest tunnel   : 3",
        "0 changes queued for sending",
        "0 peers.",
        "This server stands alone: it is not part of a cluster (see cluster_secret).",
    ]
    assert json.loads(context.run("show cluster", json=True).text)["peers"] == []
    assert context.run("show bgp").lines == ["BGP is not configured (see as_number and bgp_peer1)."]
    assert json.loads(context.run("show bgp", json=True).text)["configured"] is False


def test_lives_are_bounded_in_number() -> None:
    assert Lives(lambda: WALL)._past.maxlen == 10_000
