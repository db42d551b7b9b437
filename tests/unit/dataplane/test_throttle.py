"""Token buckets: what passes when, what waits, and what is dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.dataplane.throttle import (
    BURST_S,
    BYTES_PER_KBIT,
    MIN_BURST,
    MIN_QUEUE,
    QUEUE_S,
    Bucket,
    earliest,
    state_of,
)
from unit.dataplane.fakes import (
    FAR,
    IP_PREFIX,
    KEY,
    SUBSCRIBER,
    Bench,
    data_message,
    route,
    udp_packet,
)

SECONDS = 10.0


def up(size: int = 1000) -> bytes:
    """A data message with a packet of the subscriber."""
    return data_message(IP_PREFIX + packet(size))


def packet(size: int = 1000, *, down: bool = False) -> bytes:
    source, destination = (FAR, SUBSCRIBER) if down else (SUBSCRIBER, FAR)
    return udp_packet(source, destination, payload=bytes(size - 28))


def elapse(bench: Bench, seconds: float) -> None:
    """Let time pass, and the plane do what is due in it."""
    end = bench.now + seconds
    while True:
        deadline = earliest(bench.up.handle_timers(bench.now), bench.down.shaper.release(bench.now))
        if deadline is None or deadline > end:
            break
        bench.now = max(deadline, bench.now)
    bench.now = end


@pytest.mark.parametrize("rate", [8, 64, 1_000, 100_000])
@pytest.mark.parametrize("size", [64, 1000, 1500])
def test_over_time_the_rate_is_the_one_that_was_set(rate: int, size: int) -> None:
    bucket, now, passed = Bucket(rate, 0.0), 0.0, 0
    step = size / (rate * BYTES_PER_KBIT) / 3  # three times too fast
    while now < SECONDS:
        while bucket.take(now) is not None:
            passed += size
        if bucket.passes(size, now):
            passed += size
        else:
            bucket.enqueue(bytes(size))
        now += step
    allowed = rate * BYTES_PER_KBIT * SECONDS
    burst = max(rate * BYTES_PER_KBIT * BURST_S, MIN_BURST)
    assert allowed - size <= passed <= allowed + burst + size


def test_a_packet_over_the_whole_burst_passes_in_its_time() -> None:
    bucket = Bucket(8, 0.0)  # 1,000 bytes a second
    assert bucket.passes(6_000, 0.0)
    assert not bucket.passes(100, 1.0)
    assert bucket.passes(100, 3.2)


def test_a_burst_is_bounded_however_long_nothing_came() -> None:
    bench = Bench(throttle_in=8_000)  # 1 MB/s
    bench.now += 3600
    bench.receive(*[up() for _ in range(100)])
    assert len(bench.device.written) == 1_000_000 * BURST_S / 1000


def test_what_waits_goes_in_order_when_its_credit_is_there() -> None:
    bench = Bench(throttle_in=80)  # 10 kB/s
    packets = [udp_packet(SUBSCRIBER, FAR, payload=bytes([i]) * 972) for i in range(12)]
    bench.receive(*[data_message(IP_PREFIX + each) for each in packets])
    assert bench.device.written == packets[:3]
    elapse(bench, 0.2)
    assert 4 <= len(bench.device.written) < 8
    elapse(bench, 1.0)
    assert bench.device.written == packets
    assert bench.entry.packets_in == 12
    assert bench.entry.octets_in == 12_000
    assert bench.counters.tun_tx_packets == 12
    assert bench.counters.throttle_delayed == 9
    assert bench.counters.throttle_drops == 0


def test_a_full_queue_drops_and_counts() -> None:
    bench = Bench(throttle_out=800)  # 100 kB/s, a queue of 20,000 bytes
    bench.route_down(*[packet(down=True) for _ in range(50)])
    burst = int(100_000 * BURST_S / 1000)
    queue = int(max(100_000 * QUEUE_S, MIN_QUEUE) / 1000)
    assert len(bench.socket.sent) == burst
    elapse(bench, 2.0)
    assert len(bench.socket.sent) == burst + queue
    state = state_of(bench.entry.bucket_in, bench.entry.bucket_out)
    assert state is not None
    assert (state.rate_in, state.rate_out) == (0, 800)
    assert (state.queued_out, state.dropped_out, state.delayed_out) == (
        0,
        50 - burst - queue,
        queue,
    )
    assert state.passed_out == burst + queue == bench.entry.packets_out
    assert bench.counters.throttle_drops == state.dropped_out


def test_both_directions_have_a_limit_of_their_own() -> None:
    bench = Bench(throttle_in=8, throttle_out=8_000)
    bench.receive(*[up() for _ in range(10)])
    bench.route_down(*[packet(down=True) for _ in range(10)])
    assert len(bench.device.written) == 3
    assert len(bench.socket.sent) == 10


def test_another_session_passes_while_one_waits() -> None:
    bench = Bench(throttle_in=8)
    bench.install(key=KEY + 1, ip=0x0A000009)
    other = udp_packet("10.0.0.9", FAR)
    bench.receive(*[up() for _ in range(10)], data_message(IP_PREFIX + other, key=KEY + 1))
    assert bench.device.written[-1] == other


def test_another_rate_acts_at_once_on_what_waits() -> None:
    bench = Bench(throttle_in=8)
    bench.receive(*[up() for _ in range(10)])
    assert len(bench.device.written) == 3
    bench.install(throttle_in=8_000)
    elapse(bench, 0.05)
    assert len(bench.device.written) == 10
    assert bench.entry.bucket_in is not None
    assert bench.entry.bucket_in.passed == 10


def test_no_limit_lets_go_what_waits() -> None:
    bench = Bench(throttle_in=8)
    bench.receive(*[up() for _ in range(10)])
    bench.install(throttle_in=0)
    assert len(bench.device.written) == 10
    assert bench.entry.bucket_in is None
    elapse(bench, 60.0)
    assert len(bench.device.written) == 10


def test_nothing_of_a_session_that_is_gone_is_sent() -> None:
    bench = Bench(throttle_in=8)
    bench.receive(*[up() for _ in range(10)])
    entry = bench.table.remove(KEY)
    assert entry is not None
    bench.up.forget(entry)
    elapse(bench, 60.0)
    assert len(bench.device.written) == 3
    assert bench.counters.throttle_drops == 7


def test_the_loop_is_told_when_to_come() -> None:
    bench = Bench(throttle_in=8)
    bench.receive(*[up() for _ in range(4)])
    assert bench.deadlines
    assert bench.deadlines[-1] == pytest.approx(bench.now + (1000 - 28) / 1000, abs=0.1)


def test_a_session_without_a_limit_has_no_state() -> None:
    bench = Bench()
    assert state_of(bench.entry.bucket_in, bench.entry.bucket_out) is None
    assert not bench.entry.special


@given(
    rate=st.integers(1, 10_000_000),
    arrivals=st.lists(st.tuples(st.floats(0, 2), st.integers(20, 65_535)), min_size=1, max_size=60),
)
def test_what_came_has_passed_waits_or_was_dropped(
    rate: int, arrivals: list[tuple[float, int]]
) -> None:
    bucket, now, octets = Bucket(rate, 0.0), 0.0, 0
    for pause, size in arrivals:
        now += pause
        while (waited := bucket.take(now)) is not None:
            octets += len(waited)
        if bucket.passes(size, now):
            octets += size
        else:
            bucket.enqueue(bytes(size))
        assert bucket.queued_octets == sum(map(len, bucket.queue))
    assert bucket.passed + bucket.dropped + len(bucket.queue) == len(arrivals)
    burst = max(rate * BYTES_PER_KBIT * BURST_S, MIN_BURST)
    largest = max(size for _, size in arrivals)
    assert octets <= rate * BYTES_PER_KBIT * now + burst + largest + 1


def test_a_route_without_network_drops_what_waits() -> None:
    bench = Bench(throttle_out=8)
    bench.route_down(*[packet(down=True) for _ in range(10)])
    bucket = bench.entry.bucket_out
    bench.down.shaper.discard(bucket)
    bench.table.install(route(ip=0, throttle_out=8), None)
    elapse(bench, 60.0)
    assert len(bench.socket.sent) == 3
