"""Token buckets: what passes when, what waits, and what is dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.dataplane.throttle import (
    BURST_S,
    BYTES_PER_KBIT,
    MIN_BURST,
    MIN_QUEUE,
    PACKETS_IN_A_TURN,
    QUEUE_S,
    Bucket,
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
        bench.up.shaper.release(bench.now)
        bench.down.shaper.release(bench.now)
        due = (bench.up.shaper.next_at, bench.down.shaper.next_at)
        deadline = min((each for each in due if each is not None), default=None)
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


def test_a_slower_rate_bounds_how_long_the_rest_waits() -> None:
    bench = Bench(throttle_in=100_000)
    for _ in range(20):
        bench.receive(*[up() for _ in range(100)])
    assert bench.entry.bucket_in is not None
    assert bench.entry.bucket_in.queued_octets > MIN_QUEUE
    bench.install(throttle_in=64)
    assert bench.entry.bucket_in.queued_octets <= MIN_QUEUE
    elapse(bench, MIN_QUEUE / (64 * BYTES_PER_KBIT) + 1)
    assert not bench.entry.bucket_in.queue
    state = state_of(bench.entry.bucket_in, None)
    assert state is not None
    assert state.passed_in + state.dropped_in == 2000
    assert state.dropped_in == bench.counters.throttle_drops


def test_rates_that_change_again_and_again_leave_nothing_behind() -> None:
    bench = Bench(throttle_in=8)
    bench.receive(*[up() for _ in range(10)])
    for rate in (16, 8) * 500:
        bench.install(throttle_in=rate)
    assert len(bench.up.shaper._heap) <= 2


def test_one_turn_is_short_and_the_rest_comes_in_the_next() -> None:
    bench = Bench(throttle_in=8)
    for number in range(1, 500):
        bench.install(key=KEY + number, ip=0x0A000100 + number, throttle_in=8)
    for number in range(500):
        source = "10.0.0.5" if not number else f"10.0.{1 + number // 256}.{number % 256}"
        one = udp_packet(source, FAR, payload=bytes(1000)) if number else packet(1028)
        bench.receive(*[data_message(IP_PREFIX + one, key=KEY + number)] * 5)
    passed = len(bench.device.written)
    bench.now += 3.0
    bench.up.shaper.release(bench.now)
    assert len(bench.device.written) - passed <= PACKETS_IN_A_TURN
    assert bench.up.shaper.next_at is not None
    assert bench.up.shaper.next_at <= bench.now + 0.01


def test_a_network_that_came_back_waits_for_its_own_credit_only() -> None:
    bench = Bench(throttle_in=8)
    bench.receive(*[up(1500) for _ in range(4)])
    bench.up.shaper.discard(bench.entry.bucket_in)
    bench.receive(up(100))
    due_at = bench.up.shaper.next_at
    assert due_at is not None
    assert due_at <= bench.now + (100 + 1500) / 1000
    assert bench.entry.bucket_in is not None
    assert bench.entry.bucket_in.dropped == bench.counters.throttle_drops > 0


STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(10, 80)),
    st.tuples(st.just("wait"), st.floats(0, 2)),
    st.tuples(st.just("rate"), st.sampled_from([0, 8, 64, 2_000, 100_000])),
)


@given(st.lists(STEPS, min_size=10, max_size=30))
def test_whatever_happens_order_is_kept_and_each_packet_is_accounted_for(
    steps: list[tuple[str, int | float]],
) -> None:
    bench, sent = Bench(throttle_in=64), 0
    for kind, value in steps:
        if kind == "rate":
            bench.install(throttle_in=value)
        elif kind == "wait":
            elapse(bench, value)
        else:
            numbers = range(sent, sent + int(value))
            payloads = [number.to_bytes(4, "big") + bytes(number % 3 * 480) for number in numbers]
            packets = [udp_packet(SUBSCRIBER, FAR, payload=payload) for payload in payloads]
            bench.receive(*[data_message(IP_PREFIX + each) for each in packets])
            sent += len(packets)
        bucket, passed = bench.entry.bucket_in, len(bench.device.written)
        waiting = len(bucket.queue) if bucket else 0
        assert sent == passed + waiting + bench.counters.throttle_drops
        assert bench.entry.packets_in == bench.counters.tun_tx_packets == passed
    elapse(bench, 60.0)
    assert sent == len(bench.device.written) + bench.counters.throttle_drops
    assert bench.up.shaper.next_at is None
    assert bench.device.written == sorted(bench.device.written, key=lambda each: each[28:32])


def test_time_that_the_process_was_away_is_made_up_for_while_packets_wait() -> None:
    bucket, now, passed = Bucket(800, 0.0), 0.0, 0  # 100 kB/s
    while now < SECONDS:
        while bucket.take(now) is not None:
            passed += 1000
        while bucket.enqueue(bytes(1000)):
            pass
        now += 0.15  # three times as long as a burst
    assert passed == pytest.approx(100_000 * SECONDS, rel=0.03)


def test_what_is_made_up_for_is_no_burst_for_what_comes_then() -> None:
    bucket = Bucket(800, 0.0)
    assert bucket.passes(5_000, 0.0)
    bucket.enqueue(bytes(1000))
    assert bucket.take(10.0) is not None
    passed = 0
    while bucket.passes(1000, 10.0):
        passed += 1
    assert passed <= 100_000 * BURST_S / 1000 + 1
