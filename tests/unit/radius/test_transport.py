"""Identifiers: one for each request under way, and none again before its time."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest

from l2tpns_core.radius.transport import (
    ANSWERED_REST_S,
    UNANSWERED_REST_S,
    Slot,
    SocketLink,
    SocketPool,
)
from unit.radius.virtual_loop import VirtualLoop

MAX_SOCKETS = 3
CAPACITY = 256 * MAX_SOCKETS


@dataclass
class Fixture:
    loop: VirtualLoop
    server: socket.socket
    datagrams: list[tuple[SocketLink, bytes]] = field(default_factory=list)
    errors: list[OSError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = SocketPool(
            self.loop,
            ip_address("127.0.0.1"),
            self.server.getsockname()[1],
            lambda link, datagram: self.datagrams.append((link, datagram)),
            self.errors.append,
            MAX_SOCKETS,
        )

    def acquire(self, now: float = 0.0) -> Slot:
        slot = self.pool.acquire(now)
        assert slot is not None
        return slot

    def turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0.001))


@pytest.fixture
def one() -> Iterator[Fixture]:
    loop = VirtualLoop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        made = Fixture(loop, server)
        yield made
        made.pool.close()
    loop.close()


def key(slot: Slot) -> tuple[int, int]:
    return slot.link.index, slot.identifier


def test_no_two_requests_share_an_identifier_on_a_socket(one: Fixture) -> None:
    keys = {key(one.acquire()) for _ in range(CAPACITY)}
    assert len(keys) == CAPACITY == one.pool.capacity
    assert one.pool.socket_count == MAX_SOCKETS


def test_sockets_are_opened_only_on_demand(one: Fixture) -> None:
    assert one.pool.socket_count == 0
    for _ in range(256):
        one.acquire()
    assert one.pool.socket_count == 1
    one.acquire()
    assert one.pool.socket_count == 2


def test_with_all_identifiers_in_use_there_is_none(one: Fixture) -> None:
    for _ in range(CAPACITY):
        one.acquire()
    assert one.pool.acquire(1e9) is None
    assert one.pool.next_free_at() is None


def test_identifiers_start_in_random_order(one: Fixture) -> None:
    identifiers = [one.acquire().identifier for _ in range(256)]
    assert identifiers != sorted(identifiers)
    assert identifiers != sorted(identifiers, reverse=True)


@pytest.mark.parametrize(
    ("sendings", "answered", "rest_s"),
    [
        (1, True, ANSWERED_REST_S),
        (2, True, UNANSWERED_REST_S),
        (1, False, UNANSWERED_REST_S),
        (0, False, UNANSWERED_REST_S),
    ],
)
def test_an_identifier_rests_until_no_reply_can_come(
    one: Fixture, sendings: int, answered: bool, rest_s: float
) -> None:
    slots = [one.acquire() for _ in range(CAPACITY)]
    slot = slots[100]
    for _ in range(sendings):
        assert one.pool.send(slot, b"request")
    one.pool.release(slot, 50.0, answered=answered)
    assert one.pool.next_free_at() == 50.0 + rest_s
    assert one.pool.acquire(50.0 + rest_s - 0.01) is None
    assert one.pool.acquire(50.0 + rest_s) is slot


def test_rested_identifiers_are_used_before_another_socket_is_opened(one: Fixture) -> None:
    for _ in range(1000):
        slot = one.acquire(0.0)
        slot.sendings = 1
        one.pool.release(slot, -ANSWERED_REST_S, answered=True)
    assert one.pool.socket_count == 1


def test_datagrams_are_handed_over_with_their_socket(one: Fixture) -> None:
    slots = [one.acquire() for _ in range(257)]
    for slot in (slots[0], slots[256]):
        one.pool.send(slot, b"request")
        _, source = one.server.recvfrom(100)
        one.server.sendto(b"reply to %d" % slot.link.index, source)
    one.turn()
    got = [(link.index, datagram) for link, datagram in one.datagrams]
    assert sorted(got) == [(0, b"reply to 0"), (1, b"reply to 1")]


def test_a_flood_is_read_to_the_end(one: Fixture) -> None:
    slot = one.acquire()
    one.pool.send(slot, b"request")
    _, source = one.server.recvfrom(100)
    for i in range(150):
        one.server.sendto(b"%d" % i, source)
    one.turn()
    assert [datagram for _, datagram in one.datagrams] == [b"%d" % i for i in range(150)]


def test_an_icmp_error_is_reported_and_the_next_datagram_still_goes_out(one: Fixture) -> None:
    slot = one.acquire()
    port = one.server.getsockname()[1]
    one.server.close()
    assert one.pool.send(slot, b"nobody there")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", port))
        assert one.pool.send(slot, b"somebody there")
        assert isinstance(one.errors[0], ConnectionRefusedError)
        again.setblocking(False)
        assert again.recv(100) == b"somebody there"


def test_an_icmp_error_is_noticed_without_sending_again(one: Fixture) -> None:
    slot = one.acquire()
    one.server.close()
    one.pool.send(slot, b"nobody there")
    one.turn()
    assert [type(error) for error in one.errors] == [ConnectionRefusedError]


def test_a_socket_that_cannot_be_had_leaves_nothing_open(one: Fixture) -> None:
    pool = SocketPool(
        one.loop, ip_address("::ffff:255.255.255.255"), 9, lambda *_: None, one.errors.append
    )
    with pytest.raises(OSError, match=r".+"):
        pool.acquire(0.0)
    assert pool.socket_count == 0


def test_closing_in_the_middle_of_a_flood(one: Fixture) -> None:
    slot = one.acquire()
    one.pool.send(slot, b"request")
    _, source = one.server.recvfrom(100)
    for _ in range(3):
        one.server.sendto(b"x", source)
    one.pool._on_datagram = lambda link, datagram: one.pool.close()
    one.turn()
    assert one.pool.socket_count == 0
    assert one.errors == []
