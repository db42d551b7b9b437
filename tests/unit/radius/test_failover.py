"""Which server is asked when, on virtual time: 3 s a try, two tries, 30 s dead."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from l2tpns_core.config.directives import Config
from l2tpns_core.radius.client import RadiusConfig, RadiusServer
from l2tpns_core.radius.model import AccessOutcome
from l2tpns_core.radius.status import ServerCounters
from l2tpns_core.startup import radius_config
from unit.radius.lab import Lab
from unit.radius.stub import SECRET, Received, Stub, answer, be_silent, pyrad_reply, reply_octets

Run = Callable[[Callable[[Lab], Awaitable[None]]], None]


def times(stub: Stub) -> list[float]:
    """Seconds since the start at which requests came in."""
    return [round(request.at - 1000.0, 1) for request in stub.requests]


def test_every_server_is_asked_twice_before_a_request_fails(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent), Stub(be_silent))
        lab.ask()
        await lab.settle()
        assert [times(stub) for stub in lab.stubs] == [[0.0, 3.0], [6.0, 9.0]]
        assert lab.loop.time() == pytest.approx(1012.0, abs=0.1)
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.TIMEOUT]
        assert client.counters.failovers == 1
        counted = [server.counters for server in client.servers() if server.purpose == "auth"]
        assert counted == [ServerCounters(2, 1, 0, 2, 1), ServerCounters(2, 1, 0, 2, 0)]

    run(scenario)


@pytest.mark.parametrize(
    ("directives", "first", "second"),
    [
        ({}, [0.0, 3.0], [6.0, 9.0]),
        ({"radius_timeout": 5}, [0.0, 5.0], [10.0, 15.0]),
        ({"radius_tries": 3}, [0.0, 3.0, 6.0], [9.0, 12.0, 15.0]),
        ({"radius_timeout": 1, "radius_tries": 1}, [0.0], [1.0]),
    ],
)
def test_the_directives_say_how_patiently_a_server_is_asked(
    run: Run, directives: dict[str, Any], first: list[float], second: list[float]
) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent), Stub(be_silent))
        told = radius_config(Config(**directives))
        client.reconfigure(replace(told, servers=lab.config(*lab.stubs).servers, secret=SECRET))
        lab.ask()
        await lab.settle()
        assert [times(stub) for stub in lab.stubs] == [first, second]

    run(scenario)


def test_accounting_fails_over_to_its_acknowledgement(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent), Stub())
        lab.report()
        await lab.settle()
        assert [times(stub) for stub in lab.stubs] == [[0.0, 3.0], [6.0]]
        assert lab.acknowledged == [True]

    run(scenario)


def test_an_access_request_is_repeated_octet_by_octet(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent), Stub())
        lab.ask()
        await lab.settle()
        first, second = lab.stubs[0].requests
        assert (first.octets, first.source) == (second.octets, second.source)
        (third,) = lab.stubs[1].requests
        assert third.authenticator != first.authenticator

    run(scenario)


def test_an_accounting_request_is_made_anew_with_the_delay_of_its_time(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent), Stub())
        lab.report()
        await lab.settle()
        requests = lab.stubs[0].requests + lab.stubs[1].requests
        assert [request.number(41) for request in requests] == [0, 3, 6]
        assert {request.number(55) for request in requests} == {1_700_000_000}
        assert len({request.authenticator for request in requests}) == 3
        assert requests[0].identifier != requests[1].identifier

    run(scenario)


def test_a_reply_to_an_earlier_try_is_as_good(run: Run) -> None:
    def slow(stub: Stub, request: Received) -> None:
        stub.send_later(4.0, request, pyrad_reply(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(slow))
        lab.report()
        lab.ask()
        await lab.settle()
        assert lab.acknowledged == [True]
        assert lab.replies[0].outcome is AccessOutcome.ACCEPT
        assert lab.loop.time() == pytest.approx(1004.0, abs=0.1)
        await asyncio.sleep(10)
        assert client.counters.late + client.counters.duplicate == 2

    run(scenario)


def test_the_first_server_may_still_answer_after_the_failover(run: Run) -> None:
    def slow(stub: Stub, request: Received) -> None:
        stub.send_later(7.0, request, pyrad_reply(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(slow), Stub(be_silent))
        lab.ask()
        await lab.settle()
        assert lab.replies[0].outcome is AccessOutcome.ACCEPT
        assert lab.loop.time() == pytest.approx(1007.0, abs=0.1)
        assert not client.servers()[0].is_dead

    run(scenario)


def test_a_dead_primary_is_passed_over(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent), Stub())
        lab.ask()
        await lab.settle()
        assert [info.is_dead for info in client.servers()] == [True, False, False, False]
        before = lab.loop.time()
        for _ in range(5):
            lab.ask()
        await lab.settle()
        assert lab.loop.time() == before
        assert len(lab.stubs[0].requests) == 2
        assert len(lab.replies) == 6

    run(scenario)


def test_one_request_finds_out_that_the_primary_is_back(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent), Stub())
        lab.ask()
        await lab.settle()
        lab.stubs[0].behave = answer
        await asyncio.sleep(29)
        lab.ask()
        await lab.settle()
        assert len(lab.stubs[0].requests) == 2
        await asyncio.sleep(2)
        for _ in range(3):
            lab.ask()
        await lab.settle()
        assert len(lab.stubs[0].requests) == 3
        assert not client.servers()[0].is_dead
        lab.ask()
        await lab.settle()
        assert len(lab.stubs[0].requests) == 4

    run(scenario)


def test_a_primary_that_stays_dead_costs_one_request_one_try(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent), Stub())
        lab.ask()
        await lab.settle()
        await asyncio.sleep(31)
        before = lab.loop.time()
        lab.ask()
        lab.ask()
        await asyncio.sleep(0.1)
        assert len(lab.replies) == 2
        await lab.settle()
        assert lab.loop.time() - before == pytest.approx(3.0, abs=0.1)
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.ACCEPT] * 3
        lab.ask()
        await lab.settle()
        assert len(lab.stubs[0].requests) == 3

    run(scenario)


def test_a_cancelled_probe_lets_the_next_request_try(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent), Stub())
        lab.ask()
        await lab.settle()
        await asyncio.sleep(31)
        client.cancel(lab.ask())
        lab.stubs[0].behave = answer
        lab.ask()
        await lab.settle()
        assert not client.servers()[0].is_dead

    run(scenario)


def test_with_every_server_dead_they_are_asked_all_the_same(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent), Stub(be_silent))
        lab.ask()
        await lab.settle()
        assert all(info.is_dead for info in client.servers()[:2])
        lab.stubs[1].behave = answer
        lab.ask()
        await lab.settle()
        assert lab.replies[-1].outcome is AccessOutcome.ACCEPT
        assert [info.is_dead for info in client.servers()[:2]] == [True, False]

    run(scenario)


def test_a_single_server_gets_all_its_tries_even_when_it_is_dead(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(be_silent))
        for wait_s in (0, 0, 60):
            await asyncio.sleep(wait_s)
            lab.ask()
            await lab.settle()
        assert len(lab.stubs[0].requests) == 6

    run(scenario)


def test_a_server_that_answers_others_is_not_dead(run: Run) -> None:
    def picky(stub: Stub, request: Received) -> None:
        if request.values(1) != [b"mute"]:
            answer(stub, request)

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(picky), Stub())
        lab.ask(b"mute")
        await asyncio.sleep(5)
        lab.ask()
        await lab.settle()
        assert len(lab.replies) == 2
        assert client.counters.deaths == 0
        assert len(lab.stubs[1].requests) == 1

    run(scenario)


def test_a_closed_port_is_noticed_without_waiting(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(), Stub())
        lab.stubs[0].close()
        await asyncio.sleep(0)
        before = lab.loop.time()
        for _ in range(50):
            lab.ask()
            lab.report()
        await lab.settle()
        assert lab.loop.time() == before
        assert len(lab.replies) == 50
        assert lab.acknowledged == [True] * 50
        assert client.counters.network_errors > 0
        assert client.counters.deaths == 2

    run(scenario)


def test_a_single_server_that_restarts_loses_no_request(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub())
        port = lab.stubs[0].port
        lab.stubs[0].close()
        await asyncio.sleep(0)
        lab.ask()
        lab.report()
        await asyncio.sleep(1)
        lab.stubs.append(await Stub().start(port))
        await lab.settle()
        assert lab.replies[0].outcome is AccessOutcome.ACCEPT
        assert lab.acknowledged == [True]

    run(scenario)


def test_authentication_and_accounting_die_apart(run: Run) -> None:
    def only_authentication(stub: Stub, request: Received) -> None:
        if request.code == 1:
            answer(stub, request)

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(only_authentication), Stub())
        lab.ask()
        lab.report()
        await lab.settle()
        states = {(info.purpose, info.is_dead) for info in client.servers()}
        assert states == {("auth", False), ("acct", True), ("acct", False)}

    run(scenario)


def test_a_pending_request_follows_a_new_configuration_at_its_next_try(run: Run) -> None:
    def slow(stub: Stub, request: Received) -> None:
        stub.send_later(2.0, request, pyrad_reply(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent), Stub(), Stub(slow))
        client.reconfigure(lab.config(lab.stubs[0]))
        lab.ask()
        await asyncio.sleep(1)
        client.reconfigure(lab.config(lab.stubs[1]))
        await asyncio.sleep(1)
        assert not lab.stubs[1].requests
        await lab.settle()
        assert [times(stub) for stub in lab.stubs] == [[0.0], [3.0], []]
        client.reconfigure(lab.config(lab.stubs[2]))
        lab.report()
        await asyncio.sleep(1)
        client.reconfigure(lab.config(lab.stubs[1]))
        await lab.settle()
        assert lab.acknowledged == [True]
        assert len(lab.stubs[1].requests) == 1  # the old server's reply was still heard

    run(scenario)


def test_without_servers_any_more_a_pending_request_fails_at_its_next_try(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        lab.ask()
        client.reconfigure(RadiusConfig())
        await lab.settle()
        assert lab.loop.time() == pytest.approx(1003.0, abs=0.1)
        assert lab.replies[0].outcome is AccessOutcome.TIMEOUT

    run(scenario)


def test_a_new_secret_counts_from_the_next_try_and_replies_under_the_old_one_too(
    run: Run,
) -> None:
    def changed(stub: Stub, request: Received) -> None:
        secret = b"new" if request.octets[1] != stub.requests[0].identifier else b"other"
        stub.send(request, reply_octets(request.octets, secret=secret))

    def old_and_slow(stub: Stub, request: Received) -> None:
        stub.send_later(1.0, request, reply_octets(request.octets, secret=SECRET))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(changed))
        lab.ask()
        client.reconfigure(lab.config(lab.stubs[0], secret=b"new"))
        await lab.settle()
        assert times(lab.stubs[0]) == [0.0, 3.0]
        assert client.counters.wrong_authenticator == 1
        client.reconfigure(lab.config(lab.stubs[0]))
        lab.stubs[0].behave = old_and_slow
        lab.ask()
        client.reconfigure(lab.config(lab.stubs[0], secret=b"new"))
        await lab.settle()
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.ACCEPT] * 2
        assert len(lab.stubs[0].requests) == 3

    run(scenario)


def test_the_nas_address_is_the_one_that_the_server_sees_unless_configured(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(), nas_ip="0.0.0.0")
        lab.ask()
        await lab.settle()
        client.reconfigure(lab.config(*lab.stubs, nas_ip="203.0.113.1"))
        lab.ask()
        await lab.settle()
        addresses = [request.values(4) for request in lab.stubs[0].requests]
        assert addresses == [[b"\x7f\0\0\x01"], [b"\xcb\0\x71\x01"]]

    run(scenario)


def test_a_record_names_the_nas_as_it_is_known_to_the_server_of_each_try(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        lab.report()
        client.reconfigure(lab.config(*lab.stubs, nas_ip="203.0.113.1"))
        await lab.settle()
        addresses = [request.values(4) for request in lab.stubs[0].requests]
        assert addresses == [[b"\xc0\0\x02\x01"], [b"\xcb\0\x71\x01"]]

    run(scenario)


def test_a_server_without_a_way_to_it_gets_nothing_and_nobody_gets_it_instead(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        config = lab.config(*lab.stubs)
        nowhere = RadiusServer("255.255.255.255")  # cannot be connected to
        client.reconfigure(replace(config, servers=(*config.servers, nowhere)))
        lab.ask()
        lab.report()
        await lab.settle()
        assert len(lab.stubs[0].requests) == 4
        assert client.counters.network_errors == 4
        assert lab.replies[0].outcome is AccessOutcome.TIMEOUT
        assert lab.acknowledged == [False]

    run(scenario)


def test_sockets_of_a_server_that_is_gone_are_closed_when_its_requests_are_over(
    run: Run,
) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent), Stub())
        client.reconfigure(lab.config(lab.stubs[0]))
        lab.ask()
        ports = [port for ports in client._dispatcher.ports.values() for port in ports]
        client.reconfigure(lab.config(lab.stubs[1]))
        assert [port.pool.socket_count for port in ports] == [1, 0]
        await lab.settle()
        assert [port.pool.socket_count for port in ports] == [0, 0]

    run(scenario)


def test_reply_times_are_kept_for_the_last_minutes(run: Run) -> None:
    delays = [0.5, 0.1, 0.3]

    def slow(stub: Stub, request: Received) -> None:
        delay = delays[len(stub.requests) - 1]
        stub.send_later(delay, request, pyrad_reply(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(slow))
        for _ in delays:
            lab.ask()
            await lab.settle()
        latency = client.servers()[0].latency
        assert latency == pytest.approx((0.1, 0.3, 0.5))
        await asyncio.sleep(200)
        assert client.servers()[0].latency is None

    run(scenario)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RadiusServer("radius.example"),
        lambda: RadiusServer("192.0.2.1", 0),
        lambda: RadiusServer("192.0.2.1", 1812, 65536),
        lambda: RadiusConfig(nas_ip="here"),
        lambda: RadiusConfig(timeout_s=0),
        lambda: RadiusConfig(tries_per_server=0),
        lambda: RadiusConfig(dead_time_s=-1),
    ],
)
def test_what_is_no_configuration(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        make()
