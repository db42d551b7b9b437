"""What a client believes, over real sockets and against servers that lie."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from pyrad.packet import AuthPacket

from l2tpns_core.radius.client import RadiusClient, RadiusConfig
from l2tpns_core.radius.model import AccessOutcome, AccountingStatus, ChapCredentials
from l2tpns_core.radius.wire import encode_attribute
from unit.radius.lab import Lab
from unit.radius.stub import (
    ACCOUNTING_RESPONSE,
    REJECT,
    SECRET,
    Behaviour,
    Received,
    Stub,
    answer,
    be_silent,
    pyrad_reply,
    reply_octets,
)

Scenario = Callable[[Lab], Awaitable[None]]
Run = Callable[[Scenario], None]


def lying(make: Callable[[bytes], bytes]) -> Behaviour:
    """Sends one reply that does not count, and the right one a second later."""

    def behave(stub: Stub, request: Received) -> None:
        stub.send(request, make(request.octets))
        stub.send_later(1.0, request, pyrad_reply(request.octets))

    return behave


def plain(octets: bytes) -> bytes:
    return reply_octets(octets, message_authenticator=False)


def other_identifier(octets: bytes) -> bytes:
    return bytes((octets[0], octets[1] ^ 1)) + octets[2:]


def test_an_accept_from_pyrad_is_believed(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub())
        lab.ask()
        await lab.settle()
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.ACCEPT]
        assert client.counters.replies == 1

    run(scenario)


def test_the_server_reads_the_password_and_the_chap_proof(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub())
        lab.ask()
        lab.ask(credentials=ChapCredentials(7, b"c" * 16, bytes(16)))
        await lab.settle()
        first, second = (AuthPacket(packet=r.octets, secret=SECRET) for r in lab.stubs[0].requests)
        assert first.PwDecrypt(first[2][0]) == "correct horse"
        assert (second[3], second[60]) == ([b"\x07" + bytes(16)], [b"c" * 16])

    run(scenario)


def test_a_reject_is_handed_on(run: Run) -> None:
    def reject(stub: Stub, request: Received) -> None:
        message = encode_attribute(18, b"no")
        stub.send(request, reply_octets(request.octets, REJECT, message))

    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(reject))
        lab.ask()
        await lab.settle()
        (reply,) = lab.replies
        assert (reply.outcome, reply.reply_message) == (AccessOutcome.REJECT, "no")

    run(scenario)


@pytest.mark.parametrize(
    ("counter", "make"),
    [
        ("malformed", lambda octets: b"\x02" + octets[1:10]),
        ("malformed", lambda octets: reply_octets(octets)[:-1]),
        ("malformed", lambda octets: reply_octets(octets, attributes=b"\x12\x01")),
        ("malformed", lambda octets: reply_octets(octets, attributes=b"\x12\xff")),
        ("wrong_authenticator", lambda octets: reply_octets(octets, secret=b"guess")),
        ("wrong_authenticator", lambda octets: octets[:0] + b"\x02" + octets[1:]),
        ("wrong_code", lambda octets: reply_octets(octets, ACCOUNTING_RESPONSE)),
        ("wrong_code", lambda octets: octets),
        ("proxy_state", lambda octets: reply_octets(octets, attributes=b"\x21\x03x")),
        ("unknown_id", lambda octets: reply_octets(other_identifier(octets))),
        (
            "wrong_message_authenticator",
            lambda octets: reply_octets(
                octets, attributes=b"\x50\x12" + bytes(16), message_authenticator=False
            ),
        ),
    ],
)
def test_what_is_no_reply_changes_nothing(
    run: Run, counter: str, make: Callable[[bytes], bytes]
) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(lying(make)))
        lab.ask()
        await asyncio.sleep(0.5)
        # Only the identifier of the request itself was ever used on the socket.
        assert getattr(client.counters, counter) == 1
        assert not lab.replies
        assert [info.tries for info in client.pending()] == [1]
        await lab.settle()
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.ACCEPT]
        assert client.counters.repetitions == 0

    run(scenario)


def test_a_reply_that_comes_twice_counts_once(run: Run) -> None:
    def twice(stub: Stub, request: Received) -> None:
        answer(stub, request)
        answer(stub, request)

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(twice))
        lab.ask()
        lab.report()
        await asyncio.sleep(0.1)
        assert len(lab.replies) == 1
        assert lab.acknowledged == [True]
        assert client.counters.duplicate == 2

    run(scenario)


def test_a_reject_behind_an_accept_changes_nothing(run: Run) -> None:
    def waver(stub: Stub, request: Received) -> None:
        answer(stub, request)
        stub.send(request, reply_octets(request.octets, REJECT))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(waver))
        lab.ask()
        await asyncio.sleep(0.1)
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.ACCEPT]
        assert client.counters.duplicate == 1

    run(scenario)


def test_a_reply_after_the_end_is_late(run: Run) -> None:
    def sleepy(stub: Stub, request: Received) -> None:
        stub.send_later(20.0, request, pyrad_reply(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(sleepy))
        lab.ask()
        lab.report()
        await asyncio.sleep(30)
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.TIMEOUT]
        assert lab.acknowledged == [False]
        assert client.counters.late == 4
        assert client.counters.timeouts == 2

    run(scenario)


def test_a_forged_reply_after_the_end_is_not_taken_for_a_late_one(run: Run) -> None:
    def forge(stub: Stub, request: Received) -> None:
        answer(stub, request)
        stub.send(request, reply_octets(request.octets, secret=b"guess"))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(forge))
        lab.ask()
        await asyncio.sleep(0.1)
        assert client.counters.wrong_authenticator == 1
        assert client.counters.duplicate == 0

    run(scenario)


def test_a_reply_from_another_address_or_port_never_arrives(run: Run) -> None:
    def elsewhere(stub: Stub, request: Received) -> None:
        for address in ("127.0.0.1", "127.0.0.2"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.bind((address, 0))
                other.sendto(pyrad_reply(request.octets), request.source)

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(elsewhere))
        lab.ask()
        await lab.settle()
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.TIMEOUT]
        assert client.counters.replies == 0

    run(scenario)


@pytest.mark.parametrize(
    ("setting", "outcome"),
    [
        ("yes", AccessOutcome.TIMEOUT),
        ("no", AccessOutcome.ACCEPT),
        ("auto", AccessOutcome.ACCEPT),
    ],
)
def test_a_server_without_message_authenticator(
    run: Run, setting: str, outcome: AccessOutcome
) -> None:
    def unsigned(stub: Stub, request: Received) -> None:
        stub.send(request, plain(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(unsigned), require_message_authenticator=setting)
        lab.ask()
        await lab.settle()
        assert [reply.outcome for reply in lab.replies] == [outcome]
        assert client.counters.no_message_authenticator == (2 if setting == "yes" else 0)

    run(scenario)


@pytest.mark.parametrize(
    ("setting", "second"), [("auto", AccessOutcome.TIMEOUT), ("no", AccessOutcome.ACCEPT)]
)
def test_who_has_sent_a_message_authenticator_must_go_on(
    run: Run, setting: str, second: AccessOutcome
) -> None:
    def unsigned(stub: Stub, request: Received) -> None:
        stub.send(request, plain(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(), require_message_authenticator=setting)
        lab.ask()
        await lab.settle()
        lab.stubs[0].behave = unsigned
        client.reconfigure(lab.config(*lab.stubs, require_message_authenticator=setting))
        lab.ask()
        lab.report()
        await lab.settle()
        outcomes = [reply.outcome for reply in lab.replies]
        assert outcomes == [AccessOutcome.ACCEPT, second]

    run(scenario)


def test_a_forged_message_authenticator_teaches_nothing(run: Run) -> None:
    def behave(stub: Stub, request: Received) -> None:
        stub.send(request, reply_octets(request.octets, secret=b"guess"))
        stub.send(request, plain(request.octets))

    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(behave))
        lab.ask()
        lab.ask()
        await lab.settle()
        assert [reply.outcome for reply in lab.replies] == [AccessOutcome.ACCEPT] * 2
        assert not client.servers()[0].sends_message_authenticator

    run(scenario)


def test_accounting_responses_need_no_message_authenticator(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(), require_message_authenticator="yes")
        lab.report(AccountingStatus.STOP)
        await lab.settle()
        assert lab.acknowledged == [True]

    run(scenario)


def test_a_cancelled_request_is_forgotten(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub())
        handle = lab.ask()
        client.cancel(handle)
        client.cancel(handle)
        client.cancel(12345)
        await asyncio.sleep(30)
        assert not lab.replies
        assert client.counters.late == 1
        assert client.counters.cancelled == 1
        assert list(client.pending()) == []

    run(scenario)


@pytest.mark.parametrize("settings", [{"servers": ()}, {"secret": b""}])
def test_without_servers_or_secret_requests_fail_soon_but_not_at_once(
    run: Run, settings: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(lab: Lab) -> None:
        await lab.start(Stub(), **settings)
        lab.ask()
        lab.report()
        assert (lab.replies, lab.acknowledged) == ([], [])
        await lab.settle(0.1)
        assert lab.replies[0].outcome is AccessOutcome.TIMEOUT
        assert lab.acknowledged == [False]
        assert [entry.levelname for entry in caplog.records] == ["ERROR"]

    run(scenario)


def test_a_request_that_fails_at_once_can_be_cancelled(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start()
        client.cancel(lab.ask())
        await asyncio.sleep(1)
        assert not lab.replies

    run(scenario)


def test_a_proof_that_cannot_be_sent_is_a_reject(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub())
        lab.ask(credentials=ChapCredentials(1, b"c", b"short"))
        assert not lab.replies
        await lab.settle(0.1)
        (reply,) = lab.replies
        assert reply.outcome is AccessOutcome.REJECT
        assert "CHAP" in reply.problems[0]
        assert client.counters.unsendable == 1
        assert not lab.stubs[0].requests

    run(scenario)


def test_close_forgets_what_is_pending_without_a_word(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        lab.ask()
        lab.report()
        client.close()
        assert await client.drain(1.0) == 0
        await asyncio.sleep(60)
        assert (lab.replies, lab.acknowledged) == ([], [])

    run(scenario)


def test_drain_gives_up_in_time(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client = await lab.start(Stub(be_silent))
        lab.report(AccountingStatus.ACCOUNTING_OFF)
        assert await client.drain(2.0) == 1
        assert await client.drain(60.0) == 0
        assert lab.acknowledged == [False]

    run(scenario)


def test_what_show_radius_sees(run: Run) -> None:
    async def scenario(lab: Lab) -> None:
        client: RadiusClient = await lab.start(Stub(be_silent))
        lab.ask()
        for status in AccountingStatus:
            lab.report(status)
        lines = list(client.pending())
        assert [line.state for line in lines] == ["AUTH", "START", "STOP", "INTERIM", "ON", "OFF"]
        assert {line.session_key for line in lines} == {3 << 16 | 7}
        assert {line.socket for line in lines} == {0}
        sent = {request.identifier for request in lab.stubs[0].requests}
        assert not sent  # nothing was read by the server yet
        assert [line.retry_at for line in lines] == [1003.0] * 6

    run(scenario)


def test_no_secret_shows_in_a_repr() -> None:
    assert "testing123" not in repr(RadiusConfig((), SECRET))
