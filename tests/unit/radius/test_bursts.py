"""Thousands of requests at once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from l2tpns_core.radius import dispatch
from l2tpns_core.radius.model import AccessOutcome, AccountingStatus
from l2tpns_core.radius.server import INITIAL_WINDOW, MIN_WINDOW
from l2tpns_core.radius.transport import ANSWERED_REST_S
from unit.radius.lab import Lab
from unit.radius.stub import Received, Stub, answer, be_silent, pyrad_reply

Run = Callable[[Callable[[Lab], Awaitable[None]]], None]
MANY = 3000


def time_between_uses(stub: Stub) -> list[float]:
    """Seconds between one request and the next one under the same identifier."""
    last: dict[object, float] = {}
    gaps = []
    for request in stub.requests:
        key = request.source, request.identifier
        gaps.append(request.at - last.get(key, float("-inf")))
        last[key] = request.at
    return gaps


def test_a_burst_reaches_a_server_with_a_default_buffer_without_a_loss(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub())
        for _ in range(MANY):
            lab.report(AccountingStatus.STOP)
        await lab.settle()
        assert lab.acknowledged == [True] * MANY
        assert len(lab.stubs[0].requests) == MANY
        assert client.counters.repetitions == 0

    run(scenario)


def test_thousands_are_in_flight_at_a_slow_server(run: Run) -> None:
    def slow(stub: Stub, request: Received) -> None:
        delay_s = 2.5 + len(stub.requests) % 300 / 1000
        stub.send_later(delay_s, request, pyrad_reply(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(slow))
        for _ in range(MANY):
            lab.ask()
        out = 0
        while len(lab.replies) < MANY:
            await asyncio.sleep(0.5)
            out = max(out, client.servers()[0].pending)
        assert {reply.outcome for reply in lab.replies} == {AccessOutcome.ACCEPT}
        assert out > 1000
        assert 1 < client.servers()[0].sockets < 32
        assert client.counters.repetitions == 0
        assert min(time_between_uses(lab.stubs[0])) >= 2.5 + ANSWERED_REST_S

    run(scenario)


def test_thousands_pending_at_a_stalled_server_fail_in_time_and_leave_nothing(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        for _ in range(MANY):
            lab.ask()
        lines = list(client.pending())
        assert len(lines) == MANY
        assert sum(line.tries for line in lines) == INITIAL_WINDOW
        await lab.settle(60)
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.TIMEOUT] * MANY
        assert client.counters.timeouts == MANY
        info = client.servers()[0]
        assert (info.pending, info.waiting) == (0, 0)

    run(scenario)


def test_what_waits_at_a_server_that_dies_goes_to_the_next_one(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent), Stub())
        for _ in range(MANY):
            lab.ask()
        await lab.settle()
        assert {reply.outcome for reply in lab.replies} == {AccessOutcome.ACCEPT}
        assert lab.loop.time() == pytest.approx(1006.0, abs=0.2)
        assert len(lab.stubs[0].requests) == 2 * INITIAL_WINDOW

    run(scenario)


def test_a_server_that_wakes_up_answers_what_waits(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        for _ in range(MANY):
            lab.report()
        await asyncio.sleep(10)
        assert client.servers()[1].is_dead
        lab.stubs[0].behave = answer
        await lab.settle()
        # Those that had their last try while it slept: the first ones, and the shrunken window.
        assert lab.acknowledged.count(False) == INITIAL_WINDOW + MIN_WINDOW
        assert len(lab.acknowledged) == MANY

    run(scenario)


def test_the_window_shrinks_once_for_a_lost_burst_and_not_below_its_floor(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        (port,) = client._dispatcher.ports[dispatch.Code.ACCESS_REQUEST]
        port.window = 1000
        for _ in range(INITIAL_WINDOW):
            lab.ask()
        await asyncio.sleep(3.1)
        assert port.window == 500
        await lab.settle()
        for _ in range(4):
            lab.ask()
            await lab.settle()
        assert port.window == MIN_WINDOW

    run(scenario)


def test_without_a_free_identifier_requests_wait_for_one(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub())
        (port,) = client._dispatcher.ports[dispatch.Code.ACCESS_REQUEST]
        port.pool._max_sockets = 1
        for _ in range(700):
            lab.ask()
        await asyncio.sleep(0.5)
        assert len(lab.replies) == 256
        await lab.settle()
        assert len(lab.replies) == 700
        assert port.pool.socket_count == 1
        assert lab.loop.time() == pytest.approx(1002.0, abs=0.2)

    run(scenario)


def test_cancelling_thousands_leaves_nothing(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        for handle in [lab.ask() for _ in range(MANY)]:
            client.cancel(handle)
        assert list(client.pending()) == []
        info = client.servers()[0]
        assert (info.pending, info.waiting) == (0, 0)
        await asyncio.sleep(100)
        assert not lab.replies

    run(scenario)


def test_too_many_pending_requests_are_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "MAX_PENDING", 10)

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub())
        for _ in range(12):
            lab.report()
        assert not lab.acknowledged
        await lab.settle()
        assert sorted(lab.acknowledged) == [False] * 2 + [True] * 10
        assert client.counters.refused_full == 2

    run(scenario)


def test_a_callback_may_ask_again(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub())
        record_count = 0

        def again(_: bool) -> None:
            nonlocal record_count
            record_count += 1
            if record_count < 5:
                client.account(lab.record(), again)

        client.account(lab.record(), again)
        await lab.settle()
        assert record_count == 5

    run(scenario)


def test_a_callback_that_raises_does_not_stop_the_others(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        seen: list[object] = []
        lab.loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
        client = await lab.start(Stub())

        def fail(_: bool) -> None:
            raise ArithmeticError

        client.account(lab.record(), fail)
        lab.report()
        await lab.settle()
        client.reconfigure(lab.config())
        client.account(lab.record(), fail)
        lab.report()
        await lab.settle()
        assert lab.acknowledged == [True, False]
        assert [type(error) for error in seen] == [ArithmeticError] * 2

    run(scenario)
