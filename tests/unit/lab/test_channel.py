"""The LAC's reliable channel, in virtual time over a line that may be bad."""

import heapq
import itertools
import random
from dataclasses import replace

import pytest

from l2tpns_core.lab.avp import HEADER_LENGTH, Control, Kind, decode_control, encode_control, u16
from l2tpns_core.lab.channel import Channel, ChannelCounters, ChannelOptions, ahead


def body_of(number: int) -> bytes:
    """A message body that tells its number; its type is what a Hello's would be."""
    return b"\x80\x08\x00\x00\x00\x00" + u16(Kind.HELLO) + b"\x00\x08\x00\x63\x00\x01" + u16(number)


def number_of(datagram: bytes) -> int:
    return int.from_bytes(datagram[-2:], "big")


class Line:
    """Two channels and what is on its way between them."""

    def __init__(self, loss: float = 0, duplicate: float = 0, reorder: float = 0) -> None:
        self.now = 0.0
        self.chance = random.Random(5)
        self.loss, self.duplicate, self.reorder = loss, duplicate, reorder
        self.flying: list[tuple[float, int, int, bytes]] = []
        self.order = itertools.count()
        self.violations: list[str] = []
        self.delivered: tuple[list[int], list[int]] = ([], [])
        options = ChannelOptions(in_order=not (loss or reorder))
        self.ends = tuple(
            Channel(
                replace(options),
                ChannelCounters(),
                lambda datagram, to=1 - side: self.send(datagram, to),  # type: ignore[misc]
                self.violations.append,
            )
            for side in (0, 1)
        )
        self.bodies: dict[tuple[int, int], bytes] = {}

    def send(self, datagram: bytes, to: int) -> None:
        if self.chance.random() < self.loss:
            return
        for _ in range(2 if self.chance.random() < self.duplicate else 1):
            late = 0.3 if self.chance.random() < self.reorder else 0.0
            at = self.now + 0.001 + late * self.chance.random()
            heapq.heappush(self.flying, (at, next(self.order), to, datagram))

    def run(self, until: float) -> None:
        while True:
            timers = [(end.get_timer(), side) for side, end in enumerate(self.ends)]
            times = [at for at, _ in timers if at is not None]
            if self.flying:
                times.append(self.flying[0][0])
            if not times or min(times) > until:
                self.now = until
                return
            self.now = max(self.now, min(times))
            for end in self.ends:
                end.handle_timer(self.now)
            while self.flying and self.flying[0][0] <= self.now:
                _, _, to, datagram = heapq.heappop(self.flying)
                self.arrive(to, datagram)

    def arrive(self, to: int, datagram: bytes) -> None:
        message = decode_control(datagram)
        body = datagram[HEADER_LENGTH:]
        if body:
            self.bodies[to, message.ns] = body
        for ready in self.ends[to].receive(message, body, self.now):
            self.delivered[to].append(number_of(self.bodies[to, ready.ns]))


@pytest.mark.parametrize("first", [0, 65_500])
def test_messages_arrive_in_order_over_a_good_line(first: int) -> None:
    line = Line()
    for end in line.ends:
        end.next_ns = end.expected = end._peer_acked = first
    for number in range(300):
        line.ends[0].send(0, body_of(number), line.now)
    line.run(30)
    assert line.delivered[1] == list(range(300))
    assert line.violations == []
    assert line.ends[0].idle
    assert line.ends[0].counters.retransmitted == 0


def test_messages_arrive_once_and_in_order_over_a_bad_line_both_ways() -> None:
    line = Line(loss=0.15, duplicate=0.15, reorder=0.2)
    for number in range(200):
        for end in line.ends:
            end.send(0, body_of(number), line.now)
    line.run(600)
    assert line.delivered[0] == list(range(200))
    assert line.delivered[1] == list(range(200))
    assert line.violations == []


def test_no_more_than_the_peers_window_is_on_its_way() -> None:
    sent: list[bytes] = []
    channel = Channel(ChannelOptions(), ChannelCounters(), sent.append, pytest.fail)
    channel.set_peer_window(3)
    for number in range(10):
        channel.send(0, body_of(number), 0.0)
    acked = 0
    while len(sent) < 10:
        assert len(sent) - acked <= 3
        acked = len(sent)
        channel.receive(decode_control(encode_control(0, 0, 0, acked, b"")), b"", 0.0)
    assert [number_of(datagram) for datagram in sent] == list(range(10))


def test_an_unanswered_message_is_repeated_with_backoff_and_then_given_up() -> None:
    sent: list[float] = []
    options = ChannelOptions(max_retransmits=4, retransmit_cap_s=4)
    now = 0.0
    channel = Channel(options, ChannelCounters(), lambda _: sent.append(now), pytest.fail)
    channel.send(0, body_of(1), 0.0)
    while not channel.failed:
        due = channel.get_timer()
        assert due is not None
        now = due
        channel.handle_timer(now)
    assert sent == [0, 1, 3, 7, 11]
    assert now == 15


def test_an_acknowledgement_waits_for_company_and_then_goes_alone() -> None:
    sent: list[bytes] = []
    channel = Channel(ChannelOptions(ack_delay_s=0.05), ChannelCounters(), sent.append, pytest.fail)
    body = body_of(1)
    channel.receive(decode_control(encode_control(0, 0, 0, 0, body)), body, 10.0)
    assert sent == []
    assert channel.get_timer() == 10.05
    channel.handle_timer(10.05)
    assert decode_control(sent[0]).nr == 1
    assert channel.get_timer() is None


def received(ns: int, nr: int, body: bytes = b"", **options: object) -> list[str]:
    """What a fresh channel, which has sent one message, says to one datagram."""
    violations: list[str] = []
    channel = Channel(
        ChannelOptions(**options),  # type: ignore[arg-type]
        ChannelCounters(),
        lambda _: None,
        violations.append,
    )
    channel.send(0, body_of(1), 0.0)
    message = decode_control(encode_control(0, 0, ns, nr, body))
    channel.receive(message, body, 0.0)
    return violations


@pytest.mark.parametrize(
    ("ns", "nr", "body", "violation"),
    [
        (0, 2, b"", "Nr 2 acknowledges what was not sent (next is 1)"),
        (0, 65_535, b"", "Nr went back from 0 to 65535"),
        (1, 1, b"", "ZLB with Ns 1 where 0 is next"),
        (1, 1, body_of(1), "Ns 1 where 0 is next"),
        (64, 1, body_of(1), "Ns 64 beyond our window (we expect 0)"),
    ],
)
def test_wrong_numbers_are_violations(ns: int, nr: int, body: bytes, violation: str) -> None:
    assert violation in received(ns, nr, body)


def test_on_a_bad_line_gaps_are_no_violations() -> None:
    assert received(1, 1, body_of(1), in_order=False) == []
    assert received(1, 1, in_order=False) == []


def test_a_repetition_with_other_content_is_a_violation() -> None:
    violations: list[str] = []
    channel = Channel(ChannelOptions(), ChannelCounters(), lambda _: None, violations.append)
    for number, expected in ((1, []), (1, []), (2, ["message Ns 0 came again with other content"])):
        message = decode_control(encode_control(0, 0, 0, 0, body_of(number)))
        channel.receive(message, body_of(number), 0.0)
        assert violations == expected


def test_a_full_queue_fails_the_channel() -> None:
    channel = Channel(ChannelOptions(), ChannelCounters(), lambda _: None, pytest.fail)
    for _ in range(100_001):
        channel.send(0, b"", 0.0)
    assert not channel.failed
    channel.send(0, b"", 0.0)
    assert channel.failed


def test_numbers_wrap() -> None:
    assert ahead(0, 65_535) == 1
    assert ahead(65_535, 0) == -1
    assert isinstance(Control(0, 0, 0, 0, 0, {}).faults, list)


def test_after_a_timeout_what_was_lost_with_it_is_repeated_without_waiting() -> None:
    sent: list[int] = []
    channel = Channel(
        ChannelOptions(), ChannelCounters(), lambda d: sent.append(number_of(d)), pytest.fail
    )
    channel.set_peer_window(8)
    for number in range(7):  # grow the congestion window, then lose three at once
        channel.send(0, body_of(number), 0.0)
    for acked in (1, 3, 4):
        channel.receive(decode_control(encode_control(0, 0, 0, acked, b"")), b"", 0.0)
    assert sent == list(range(7))
    channel.handle_timer(1.0)
    assert sent[7:] == [4]
    for acked in (5, 6):
        channel.receive(decode_control(encode_control(0, 0, 0, acked, b"")), b"", 1.1)
    assert sent[8:] == [5, 6]


def test_the_wait_follows_the_round_trip_within_its_limits() -> None:
    def wait_after(round_trip: float) -> float:
        channel = Channel(ChannelOptions(), ChannelCounters(), lambda _: None, pytest.fail)
        at = 0.0
        for number in range(40):
            channel.send(0, body_of(number), at)
            at += round_trip
            acked = decode_control(encode_control(0, 0, 0, number + 1, b""))
            channel.receive(acked, b"", at)
        channel.send(0, body_of(99), at)
        due = channel.get_timer()
        assert due is not None
        return due - at

    assert wait_after(0.001) == pytest.approx(0.3)
    assert wait_after(0.5) == pytest.approx(0.5, abs=0.01)
    assert wait_after(3.0) == pytest.approx(1.0)
