"""The server without its socket: who is heard, who is refused, and what the log tells of it."""

import logging
import os

import pytest

from l2tpns_core.control import limits, seal, wire
from l2tpns_core.control.dispatch import Dispatcher
from l2tpns_core.control.server import ControlServer
from l2tpns_core.control.wire import Format, Kind, Outcome, Reply
from l2tpns_core.plugins.manager import PluginManager
from unit.control.fakes import FakeLns

SOURCE = ("192.0.2.7", 40000)
DROP = wire.encode_request(Kind.CONTROL, ["drop", "1"])
DROPPED = ("drop", 1, "Requested by administrator.")
SECRET = "open sesame"


class Desk:
    """A server with a clock that is moved by hand."""

    def __init__(self, secret: str = "") -> None:
        self.now = 1000.0
        self.lns = FakeLns()
        self.lns.add()
        self.server = ControlServer(
            Dispatcher(self.lns, PluginManager()),
            secret=secret,
            clock=lambda: self.now,
            wall=lambda: 1_790_000_000.0 + self.now,
        )

    def ask(self, datagram: bytes, source: tuple[str, int] = SOURCE) -> Reply:
        answer = self.server.receive(datagram, source)
        assert answer is not None
        return wire.decode_reply(answer)

    def sealed(self, packet: bytes = DROP, secret: str = SECRET) -> bytes:
        time = 1_790_000_000.0 + self.now
        return seal.seal_request(packet, secret.encode(), os.urandom(16), time)


def test_a_request_is_answered() -> None:
    desk = Desk()
    assert desk.ask(DROP) == Reply(Outcome.OK)
    assert desk.lns.calls == [DROPPED]
    assert (desk.server.counters.requests, desk.server.counters.answered) == (1, 1)


@pytest.mark.parametrize("datagram", [b"", b"\x90", b"junk", DROP[:-1], b"\x90\x13\x99\0\xff"])
def test_what_cannot_be_decoded_is_answered_with_an_error(datagram: bytes) -> None:
    desk = Desk()
    assert desk.ask(datagram) == Reply.error("error unpacking control packet")
    assert desk.server.counters.malformed == 1


def test_a_broken_packet_of_the_first_format_is_answered_in_it() -> None:
    answer = Desk().server.receive(b"\x90\x12\x03\xe8\x00\xff\x00\x00\x00\x07", SOURCE)
    expected = Reply.error("error unpacking control packet")
    assert answer == wire.encode_reply_as(expected, Format.FIRST, 7)


def test_a_reply_is_never_answered_so_that_two_servers_do_not_talk_for_ever() -> None:
    desk, other = Desk(), Desk()
    answer = desk.server.receive(b"junk", SOURCE)
    assert answer is not None
    assert other.server.receive(answer, SOURCE) is None
    assert other.server.counters.replies_ignored == 1


def test_a_source_that_asks_too_often_is_not_heard_while_others_are() -> None:
    desk = Desk()
    answers = [desk.server.receive(DROP, SOURCE) for _ in range(limits.PER_SOURCE + 50)]
    assert answers.count(None) == 50
    assert desk.server.counters.rate_limited == 50
    assert desk.ask(DROP, ("192.0.2.8", 1)) == Reply(Outcome.OK)
    desk.now += 0.1
    answers = [desk.server.receive(DROP, SOURCE) for _ in range(50)]
    assert answers.count(None) == 50 - limits.PER_SOURCE // 10


def test_a_flood_from_many_addresses_is_bounded_in_rate_and_memory() -> None:
    desk = Desk()
    sources = [(f"10.{i >> 8}.{i & 255}.1", 1) for i in range(limits.IN_ALL + 500)]
    answers = [desk.server.receive(DROP, source) for source in sources]
    assert answers.count(None) == 500
    assert len(desk.server._limit._sources) == limits.MAX_SOURCES


def test_with_a_secret_only_sealed_requests_count() -> None:
    desk = Desk(SECRET)
    reply = desk.ask(DROP)
    assert reply == Reply.error("not authenticated: this server wants a secret")
    assert desk.ask(desk.sealed(secret="other")) == Reply.error("authentication failed")
    assert desk.lns.calls == []
    assert desk.server.counters.unauthenticated == 2


def test_a_sealed_request_gets_a_sealed_answer() -> None:
    desk = Desk(SECRET)
    request = desk.sealed()
    answer = desk.server.receive(request, SOURCE)
    assert answer is not None
    packet = seal.open_reply(answer, SECRET.encode(), request[12:28])
    assert wire.decode_reply(packet) == Reply(Outcome.OK)
    assert desk.lns.calls == [DROPPED]


def test_a_sealed_request_acts_once() -> None:
    desk = Desk(SECRET)
    request = desk.sealed()
    desk.server.receive(request, SOURCE)
    assert desk.ask(request) == Reply.error("authentication failed: repeated request")
    assert desk.lns.calls == [DROPPED]


def test_a_sealed_request_that_is_old_does_not_act() -> None:
    desk = Desk(SECRET)
    request = desk.sealed()
    desk.now += 31
    assert desk.ask(request) == Reply.error("authentication failed: clocks differ")
    assert desk.lns.calls == []


def test_junk_under_a_right_seal_gets_a_sealed_error() -> None:
    desk = Desk(SECRET)
    request = desk.sealed(b"junk")
    answer = desk.server.receive(request, SOURCE)
    assert answer is not None
    packet = seal.open_reply(answer, SECRET.encode(), request[12:28])
    assert wire.decode_reply(packet) == Reply.error("error unpacking control packet")


def test_a_seal_inside_a_seal_is_junk() -> None:
    desk = Desk(SECRET)
    answer = desk.server.receive(desk.sealed(desk.sealed()), SOURCE)
    assert answer is not None
    assert desk.lns.calls == []


def test_a_server_without_a_secret_takes_no_seal() -> None:
    desk = Desk()
    assert desk.ask(desk.sealed()) == Reply.error("authentication failed")
    assert desk.ask(desk.sealed(secret="")) == Reply.error("authentication failed")
    assert desk.lns.calls == []


def test_the_secret_can_be_changed() -> None:
    desk = Desk()
    desk.server.configure(SECRET)
    assert desk.ask(DROP).outcome is Outcome.ERROR
    desk.server.configure("")
    assert desk.ask(DROP) == Reply(Outcome.OK)


def test_a_mistake_of_ours_is_an_answer_and_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk()
    monkeypatch.setattr(desk.lns, "drop_session", None)
    assert desk.ask(DROP) == Reply.error("internal error")
    assert desk.server.counters.failures == 1
    assert "TypeError" in caplog.text


def test_refusals_are_logged_but_do_not_fill_the_disk(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(SECRET)
    with caplog.at_level(logging.DEBUG, "l2tpns"):
        for _ in range(100):
            desk.server.receive(DROP, SOURCE)
        assert [record.getMessage() for record in caplog.records] == [
            "nsctl from 192.0.2.7 port 40000 refused: not authenticated"
        ] * limits.LINES_PER_MINUTE
        caplog.clear()
        desk.now += 60
        desk.server.receive(DROP, SOURCE)
    (record,) = caplog.records
    assert "(94 more refusals since the last such line)" in record.getMessage()
    assert SECRET not in caplog.text
