"""Interception: what is copied, and that nothing comes of it that a subscriber would notice."""

import socket
from collections.abc import Iterator

import pytest

from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.intercept import MAX_COPY, Interceptor
from unit.dataplane.fakes import FAR, IP_PREFIX, SUBSCRIBER, Bench, data_message, udp_packet

UP, DOWN = udp_packet(SUBSCRIBER, FAR), udp_packet(FAR, SUBSCRIBER)


class Receiver:
    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(5)
        self.target: tuple[str, int] = self.socket.getsockname()

    def take(self) -> bytes:
        return self.socket.recv(65535)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.socket.close()


def test_packets_both_ways_are_copied_as_they_went(receiver: Receiver) -> None:
    bench = Bench(snoop=receiver.target)
    bench.interceptor.add(receiver.target)
    bench.receive(data_message(IP_PREFIX + UP))
    assert bench.device.written == [UP]
    assert bench.copies == [(UP, receiver.target)]
    bench.route_down(DOWN)
    assert receiver.take() == DOWN
    assert len(bench.socket.sent) == 1
    assert bench.counters.packets_snooped == 1
    bench.interceptor.close()


def test_what_did_not_pass_is_not_copied(receiver: Receiver) -> None:
    bench = Bench(snoop=receiver.target, throttle_in=8)
    bench.receive(data_message(IP_PREFIX + udp_packet("10.9.9.9", FAR)))  # spoofed
    bench.device.full = True
    bench.receive(data_message(IP_PREFIX + UP))
    assert bench.copies == []


def test_other_sessions_are_not_copied() -> None:
    bench = Bench()
    bench.receive(data_message(IP_PREFIX + UP))
    bench.route_down(DOWN)
    assert bench.copies == []
    assert bench.counters.packets_snooped == 0


def test_a_copy_that_cannot_be_sent_is_only_counted() -> None:
    counters = PlaneCounters()
    interceptor = Interceptor(counters)
    interceptor.add(("127.0.0.1", 9))
    interceptor.copy(bytes(MAX_COPY + 1), ("127.0.0.1", 9))
    interceptor.copy(UP, ("255.255.255.255", 9))  # not allowed without SO_BROADCAST
    interceptor.close()
    assert (counters.packets_snooped, counters.snoop_failures) == (0, 2)


def test_the_socket_lives_as_long_as_somebody_is_intercepted(receiver: Receiver) -> None:
    interceptor = Interceptor(PlaneCounters())
    interceptor.add(receiver.target)
    interceptor.add(receiver.target)
    interceptor.discard(receiver.target)
    interceptor.copy(UP, receiver.target)
    assert receiver.take() == UP
    assert interceptor._socket is not None
    interceptor.discard(receiver.target)
    assert interceptor._socket is None


def test_a_copy_on_its_way_to_a_target_that_is_a_subscriber_is_not_copied() -> None:
    target = (SUBSCRIBER, 4000)
    bench = Bench(snoop=target)
    bench.interceptor.add(target)
    assert bench.interceptor._socket is not None
    port = bench.interceptor._socket.getsockname()[1]
    copy = udp_packet(FAR, SUBSCRIBER, DOWN, ports=(port, 4000))
    assert bench.interceptor.is_own_copy(copy)
    for other in (
        DOWN,
        udp_packet(FAR, SUBSCRIBER, DOWN, ports=(port + 1, 4000)),
        udp_packet(FAR, SUBSCRIBER, DOWN, ports=(port, 4001)),
        udp_packet(FAR, "10.9.9.9", DOWN, ports=(port, 4000)),
    ):
        assert not bench.interceptor.is_own_copy(other)
    bench.route_down(copy)
    assert len(bench.socket.sent) == 1
    assert bench.counters.packets_snooped + bench.counters.snoop_failures == 0
    bench.interceptor.close()


def test_after_close_nothing_is_copied_and_no_socket_is_left(receiver: Receiver) -> None:
    counters = PlaneCounters()
    interceptor = Interceptor(counters)
    interceptor.add(receiver.target)
    interceptor.close()
    interceptor.copy(UP, receiver.target)
    assert interceptor._socket is None
    assert counters.snoop_failures == 1
    interceptor.discard(receiver.target)
    interceptor.add(receiver.target)
    interceptor.copy(UP, receiver.target)
    assert receiver.take() == UP
    interceptor.close()


def envelope(target: tuple[str, int], packet: bytes) -> bytes:
    """A copy as the fast path leaves it in the TUN device."""
    return b"\x05" + udp_packet("192.0.2.1", target[0], packet, ports=(7, target[1]))[1:]


def test_a_copy_that_the_kernel_has_left_goes_on_to_its_target(receiver: Receiver) -> None:
    bench = Bench()
    bench.interceptor.add(receiver.target)
    bench.route_down(envelope(receiver.target, UP))
    assert receiver.take() == UP
    assert bench.counters.packets_snooped == 1
    assert bench.socket.sent == bench.device.written == []
    bench.interceptor.close()
    bench.route_down(envelope(receiver.target, UP), b"\x05")
    assert bench.counters.packets_snooped == 1
    assert (bench.counters.snoop_failures, bench.counters.not_ipv4) == (0, 1)


def test_others_can_send_copies_from_the_same_place(receiver: Receiver) -> None:
    interceptor = Interceptor(PlaneCounters())
    assert interceptor.origin(receiver.target) is None
    interceptor.add(receiver.target)
    origin = interceptor.origin(receiver.target)
    interceptor.copy(UP, receiver.target)
    assert receiver.socket.recvfrom(65535) == (UP, origin)
    assert interceptor.origin(("240.0.0.1", 70000)) is None
    interceptor.close()
    assert interceptor.origin(receiver.target) is None
