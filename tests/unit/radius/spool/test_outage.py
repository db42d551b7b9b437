"""RADIUS is down for a while: every record arrives, on virtual time."""

import asyncio
from pathlib import Path

import pytest

from l2tpns_core.radius.spool.courier import WINDOW
from unit.radius.lab import Lab
from unit.radius.spool.depot import (
    DELAY,
    EVENT_TIME,
    INTERIM,
    OFF,
    ON,
    PAUSE_S,
    START,
    STOP,
    Depot,
    Run,
    acknowledged,
    times_told,
    told,
    usage,
)
from unit.radius.stub import Received, Stub, answer, be_silent, pyrad_reply

OUTAGE_S = 600.0
MANY = 500
GIVEN_UP_S = 6.5
"""After two tries of 3 s."""


def test_all_stops_of_an_outage_of_ten_minutes_arrive_right_in_every_field(
    run: Run, tmp_path: Path
) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub())
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        for number in range(MANY):
            depot.report(str(number), START)
        await asyncio.sleep(1)
        stub.behave = be_silent
        ended = {}
        for number in range(MANY):
            ended[number] = lab.wall()
            depot.report(
                str(number),
                STOP,
                usage=usage(number),
                session_time=number,
                terminate_cause=1 + number % 6,
                reason=f"reason {number}",
            )
            await asyncio.sleep(OUTAGE_S / MANY)
        stub.behave, back_at = answer, lab.loop.time()
        await asyncio.sleep(60)
        stops = [r for r in stub.requests if r.at >= back_at and told(r).startswith("STOP")]
        assert sorted(map(told, stops)) == sorted(f"STOP {number}" for number in range(MANY))
        for request in stops:
            assert_is_right(request, int(told(request).split()[1]), ended, lab)
        assert depot.courier.status().records == 0
        assert depot.done.count(("STOP 7", True)) == 1
        assert [ok for _, ok in depot.done] == [True] * 2 * MANY

    run(scenario)


def assert_is_right(request: Received, number: int, ended: dict[int, float], lab: Lab) -> None:
    """Every field of a Stop that was delivered late."""
    sent_time = lab.wall() - lab.loop.time() + request.at
    assert request.number(EVENT_TIME) == int(ended[number])
    assert request.number(DELAY) == int(sent_time - ended[number])
    octets_in, octets_out, input_packets, output_packets, giga_in, giga_out = 42, 43, 47, 48, 52, 53
    assert request.number(octets_in) == number
    assert request.number(octets_out) == 2 * number
    assert (request.number(giga_in), request.number(giga_out)) == (5, 7)
    assert request.number(input_packets) == 3 * number
    assert request.number(output_packets) == 4 * number
    session_time, cause, cisco, avpair = 46, 49, 9, 1
    assert request.number(session_time) == number
    assert request.number(cause) == 1 + number % 6
    assert request.vendor_values(cisco, avpair) == [f"disc-cause-ext=reason {number}".encode()]
    assert request.values(1) == [f"user{number}".encode()]
    assert pyrad_reply(request.octets)


def test_while_nobody_answers_one_record_at_a_time_is_risked(run: Run, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.report("1", STOP)
        await asyncio.sleep(GIVEN_UP_S)
        for number in range(2, MANY):
            depot.report(str(number), STOP)
        known = len(stub.requests)
        await asyncio.sleep(10 * (PAUSE_S + 6))
        assert len(stub.requests) - known <= 2 * 10
        assert depot.courier.status().is_down
        assert depot.courier.counters.outages == 1

    run(scenario)


def test_delivery_goes_through_a_window_and_leaves_room_for_what_happens_now(
    run: Run, tmp_path: Path
) -> None:
    def slow(stub: Stub, request: Received) -> None:
        stub.send_later(0.5, request, pyrad_reply(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        for number in range(MANY):
            depot.report(str(number), STOP)
        await asyncio.sleep(60)
        assert depot.courier.status().records == MANY
        stub.behave = slow
        most = 0
        for turn in range(200):
            await asyncio.sleep(0.1)
            most = max(most, client.servers()[1].pending)
            if turn == 150:
                assert depot.courier.status().records > 0, "the test is too slow to say anything"
                asked_at = lab.loop.time()
                depot.report("live", START)
                await asyncio.sleep(0.6)
                assert ("START live", True) in depot.done
                assert lab.loop.time() - asked_at < 1
        assert WINDOW // 2 < most <= WINDOW + 1
        await asyncio.sleep(60)
        assert depot.courier.status().records == 0

    run(scenario)


def test_delivery_stops_as_soon_as_the_server_is_gone_again(run: Run, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        for number in range(MANY):
            depot.report(str(number), STOP)
        await asyncio.sleep(60)

        is_dead = asyncio.Event()

        def die_after_a_hundred(stub: Stub, request: Received) -> None:
            answer(stub, request)
            if depot.courier.counters.delivered >= 100:
                stub.behave = be_silent
                is_dead.set()

        stub.behave = die_after_a_hundred
        await is_dead.wait()
        delivered_at = lab.loop.time()
        await asyncio.sleep(GIVEN_UP_S)
        assert depot.courier.status().is_down
        later = [told(r) for r in stub.requests if r.at > delivered_at + 0.1]
        assert len(later) <= 2 * WINDOW
        stub.behave, back_at = answer, lab.loop.time()
        await asyncio.sleep(60)
        assert depot.courier.status().records == 0
        assert depot.courier.counters.delivered == MANY
        assert len(acknowledged(stub, back_at)) <= MANY - 100

    run(scenario)


@pytest.mark.parametrize("pause_s", [0.0, 2.0, 5.0, 7.0, 20.0])
def test_a_start_is_never_overtaken_by_its_stop(run: Run, tmp_path: Path, pause_s: float) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        for number in range(20):
            depot.report(str(number), START)
        await asyncio.sleep(pause_s)
        for number in range(20):
            depot.report(str(number), STOP)
        await asyncio.sleep(2)
        stub.behave, back_at = answer, lab.loop.time()
        await asyncio.sleep(60)
        order = acknowledged(stub, back_at)
        for number in range(20):
            assert order.index(f"START {number}") < order.index(f"STOP {number}")

    run(scenario)


def test_only_the_newest_interim_is_kept_and_none_when_there_is_a_stop(
    run: Run, tmp_path: Path
) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.report("0", START)
        await asyncio.sleep(GIVEN_UP_S)
        for number in (1, 2, 3):
            depot.report("7", INTERIM, usage=usage(number), session_time=number)
            depot.report("8", INTERIM, usage=usage(number), session_time=number)
        depot.report("8", STOP, usage=usage(9), session_time=9)
        assert depot.courier.counters.superseded == 5
        stub.behave, back_at = answer, lab.loop.time()
        await asyncio.sleep(60)
        assert sorted(acknowledged(stub, back_at)) == ["INTERIM 7", "START 0", "STOP 8"]
        assert [r.number(46) for r in stub.requests if told(r) == "INTERIM 7"] == [3]

    run(scenario)


def test_records_that_find_no_room_are_counted_and_the_oldest_stay(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path, limit=4000), lab.stubs
        depot.report("0", STOP)
        await asyncio.sleep(GIVEN_UP_S)
        for number in range(1, 100):
            depot.report(str(number), STOP)
        await asyncio.sleep(1)
        kept, dropped = depot.courier.counters.kept, depot.courier.counters.dropped
        assert kept + dropped == 100
        assert 0 < depot.courier.status().octets <= 4000
        assert [name for name, ok in depot.done if not ok] == [
            f"STOP {number}" for number in range(kept, 100)
        ]
        assert caplog.text.count("are lost so far: there is room for 4000 bytes") == 1
        stub.behave, back_at = answer, lab.loop.time()
        await asyncio.sleep(60)
        assert times_told(stub, back_at) == {f"STOP {number}": 1 for number in range(kept)}

    run(scenario)


def test_accounting_on_goes_before_what_is_newer_and_after_what_is_older(
    run: Run, tmp_path: Path
) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.report("1", STOP)
        await asyncio.sleep(GIVEN_UP_S)
        depot.report("2", STOP)
        depot.announce(OFF)
        depot.announce(ON)
        for number in range(3, 9):
            depot.report(str(number), START)
        stub.behave, back_at = answer, lab.loop.time()
        await asyncio.sleep(60)
        order = acknowledged(stub, back_at)
        assert order[:4] == ["STOP 1", "STOP 2", "OFF", "ON"]
        assert sorted(order[4:]) == [f"START {number}" for number in range(3, 9)]

    run(scenario)


def test_accounting_off_waits_for_the_stops_before_it(run: Run, tmp_path: Path) -> None:
    def slow(stub: Stub, request: Received) -> None:
        stub.send_later(1.0, request, pyrad_reply(request.octets))

    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(slow))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.report("1", STOP)
        depot.announce(OFF)
        await depot.courier.drain(15)
        assert acknowledged(stub) == ["STOP 1", "OFF"]
        assert stub.requests[1].at >= stub.requests[0].at + 1

    run(scenario)


def test_a_server_that_ignores_accounting_on_does_not_stop_the_rest(
    run: Run, tmp_path: Path
) -> None:
    def ignore(stub: Stub, request: Received) -> None:
        if told(request) != "ON":
            answer(stub, request)

    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(ignore))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.announce(ON)
        await asyncio.sleep(GIVEN_UP_S)
        for number in range(20):
            depot.report(str(number), START)
        await asyncio.sleep(120)
        assert depot.courier.status().records == 0
        assert depot.courier.counters.refused == 1
        starts = {told: count for told, count in times_told(stub).items() if told != "ON"}
        assert starts == {f"START {number}": 1 for number in range(20)}
        depot.report("20", START)
        await asyncio.sleep(1)
        assert ("START 20", True) in depot.done

    run(scenario)


def test_accounting_on_that_is_ignored_while_starts_are_not_is_given_up_at_once(
    run: Run, tmp_path: Path
) -> None:
    def ignore(stub: Stub, request: Received) -> None:
        if told(request) != "ON":
            answer(stub, request)

    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(ignore))
        depot = Depot(lab, tmp_path)
        depot.announce(ON)
        await asyncio.sleep(1)
        depot.report("1", START)
        await asyncio.sleep(GIVEN_UP_S)
        assert depot.done == [("START 1", True), ("ON", False)]
        assert depot.courier.status().records == 0

    run(scenario)


def test_a_record_that_the_server_ignores_rests_while_others_pass(run: Run, tmp_path: Path) -> None:
    def picky(stub: Stub, request: Received) -> None:
        if told(request) != "START 1":
            answer(stub, request)

    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(picky))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.report("1", START)
        await asyncio.sleep(1)
        depot.report("1", STOP)
        for number in range(2, 40):
            depot.report(str(number), START)
            await asyncio.sleep(1)
        assert {name for name, ok in depot.done if ok} >= {f"START {n}" for n in range(2, 40)}
        assert depot.courier.status().records == 2
        assert not depot.courier.status().is_down
        stub.behave, better_at = answer, lab.loop.time()
        await asyncio.sleep(400)
        assert acknowledged(stub, better_at) == ["START 1", "STOP 1"]

    run(scenario)


def test_a_record_that_is_ignored_for_ever_is_given_up_in_the_end(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def picky(stub: Stub, request: Received) -> None:
        if told(request) != "START 1":
            answer(stub, request)

    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(picky))
        depot = Depot(lab, tmp_path)
        depot.report("1", START)
        for number in range(40_000):
            depot.report(str(number), INTERIM) if number != 1 else None
            await asyncio.sleep(1)
            if depot.courier.counters.refused:
                break
        assert depot.courier.counters.refused == 1
        assert depot.courier.status().records == 0
        assert "it is given up" in caplog.text
        assert number > 3600

    run(scenario)


def test_a_record_that_is_kept_already_is_not_kept_twice(run: Run, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.report("1", STOP)
        await asyncio.sleep(GIVEN_UP_S)
        depot.report("1", STOP)
        await asyncio.sleep(0.1)
        assert depot.done == [("STOP 1", True)] * 2
        stub.behave, back_at = answer, lab.loop.time()
        await asyncio.sleep(60)
        assert acknowledged(stub, back_at) == ["STOP 1"]

    run(scenario)


def test_without_a_limit_nothing_is_kept(run: Run, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path, limit=0), lab.stubs
        depot.report("1", START)
        depot.report("1", STOP)
        await asyncio.sleep(20)
        assert depot.done == [("START 1", False), ("STOP 1", False)]
        stub.behave = answer
        depot.report("2", START)
        await asyncio.sleep(1)
        assert depot.done[2:] == [("START 2", True)]

    run(scenario)


def test_an_answered_login_shows_that_the_server_is_back(run: Run, tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        depot, (stub,) = Depot(lab, tmp_path), lab.stubs
        depot.courier.configure(1 << 20, 3600.0)
        depot.report("1", STOP)
        await asyncio.sleep(GIVEN_UP_S)
        stub.behave = answer
        await asyncio.sleep(60)
        assert depot.courier.status().records == 1
        depot.courier.authenticate(lab.request(), lab.replies.append)
        await asyncio.sleep(1)
        assert lab.replies
        assert depot.courier.status().records == 0

    run(scenario)
