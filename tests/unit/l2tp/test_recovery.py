"""How soon the channel notices that a message was lost, and what it does then; in virtual time."""

import pytest

from l2tpns_core.l2tp.channel import FAST_AFTER, MEASURED_FOR_S, MIN_MARGIN_S, Channel
from l2tpns_core.l2tp.config import EndpointConfig
from l2tpns_core.l2tp.message import ControlHeader, decode_header


def make(peer_window: int = 64, **settings: float) -> Channel:
    channel = Channel(EndpointConfig("lns", **settings), 7)  # type: ignore[arg-type]
    channel.set_peer_window(peer_window)
    return channel


def sent(channel: Channel, now: float) -> list[tuple[int, int, bool]]:
    """(Ns, Nr, whether it is a message) of what goes out."""
    headers = [decode_header(datagram) for datagram in channel.datagrams_to_send(now)]
    return [(header.ns, header.nr, bool(body)) for header, body in headers]


def numbers(channel: Channel, now: float) -> list[int]:
    """The Ns of the messages that go out."""
    return [ns for ns, _, is_message in sent(channel, now) if is_message]


def zlb(channel: Channel, nr: int, now: float) -> list[int]:
    """An acknowledgement of the peer; the messages that it makes us send."""
    header = ControlHeader(1, 0, channel.next_nr, nr & 0xFFFF)
    assert channel.receive(header, b"", now) == []
    return numbers(channel, now)


def message(channel: Channel, ns: int, now: float, nr: int = 0) -> list[int]:
    """A message of the peer; the messages that it makes us send."""
    channel.receive(ControlHeader(1, 0, ns & 0xFFFF, nr & 0xFFFF), b"x", now)
    return numbers(channel, now)


def timeout(channel: Channel) -> float:
    """Wait for the retransmission and let it out; when it was."""
    at = channel.get_timer()
    assert at is not None
    assert channel.handle_timer(at)
    return at


def wait_of(channel: Channel, now: float) -> float:
    """Send one message, which the peer acknowledges: how long would we have waited?"""
    channel.send(0, b"m")
    nr = channel.next_ns + 1
    assert numbers(channel, now) == [nr - 1 & 0xFFFF]
    at = channel.get_timer()
    assert at is not None
    zlb(channel, nr, now)
    return at - now


def exchange(channel: Channel, now: float, round_trip_s: float) -> None:
    """Send one message, which the peer acknowledges so much later."""
    channel.send(0, b"m")
    assert len(numbers(channel, now)) == 1
    zlb(channel, channel.next_ns, now + round_trip_s)


def open_window(size: int, peer_window: int = 64, round_trip_s: float = 0.1) -> Channel:
    """A channel with so many messages under way, sent at second 10, and many more waiting. The
    number of the first is 0."""
    channel = make(peer_window)
    for _ in range(size - 1):
        exchange(channel, 9.0, round_trip_s)
    assert channel.congestion_window == size
    channel._acknowledged = 0
    for _ in range(200):
        channel.send(0, b"m")
    assert numbers(channel, 10.0) == list(range(size))
    return channel


def lose_first(channel: Channel, now: float = 10.1) -> None:
    """The peer acknowledges that later messages came, until the first one goes out again."""
    for _ in range(FAST_AFTER - 1):
        assert zlb(channel, 0, now) == []
    assert zlb(channel, 0, now) == [0]


# The first wait


def test_first_wait_is_as_configured_until_something_is_measured() -> None:
    assert wait_of(make(retransmit_initial_s=2.0), 5.0) == 2.0


def test_first_wait_follows_the_round_trip() -> None:
    channel = make()
    exchange(channel, 0.0, 0.02)
    assert wait_of(channel, 1.0) == pytest.approx(0.02 + MIN_MARGIN_S)


def test_first_wait_grows_with_the_variation() -> None:
    """The numbers of RFC 6298 section 2."""
    channel = make()
    exchange(channel, 0.0, 0.2)
    channel.send(0, b"m")
    numbers(channel, 1.0)
    assert channel.get_timer() == pytest.approx(1.0 + 0.2 + 4 * 0.1)
    zlb(channel, 2, 1.3)
    smoothed = 0.2 + 0.1 / 8
    variation = 0.1 * 3 / 4 + 0.1 / 4
    assert wait_of(channel, 2.0) == pytest.approx(smoothed + 4 * variation)


def test_configured_first_wait_is_the_longest() -> None:
    channel = make(retransmit_initial_s=1.0)
    exchange(channel, 0.0, 0.9)
    assert wait_of(channel, 1.0) == 1.0


def test_message_that_was_sent_twice_measures_nothing_and_the_longer_wait_stays() -> None:
    channel = make()
    exchange(channel, 0.0, 0.02)
    first = MIN_MARGIN_S + 0.02
    channel.send(0, b"m")
    numbers(channel, 1.0)
    at = timeout(channel)
    assert at == pytest.approx(1.0 + first)
    assert numbers(channel, at) == [1]
    zlb(channel, 2, at + 0.001)
    assert wait_of(channel, 2.0) == pytest.approx(2 * first)
    assert wait_of(channel, 3.0) < 2 * first, "it was measured again meanwhile"


def test_round_trip_that_has_grown_is_learned() -> None:
    """Else every message would be sent twice from then on."""
    channel = make()
    exchange(channel, 0.0, 0.01)
    repeated = 0
    for start in range(1, 20):
        before = channel.retransmissions
        channel.send(0, b"m")
        numbers(channel, start)
        while (at := channel.get_timer()) is not None and at < start + 0.6:
            timeout(channel)
            numbers(channel, at)
        zlb(channel, channel.next_ns, start + 0.6)
        repeated += channel.retransmissions > before
    assert repeated <= 2


def test_message_behind_one_that_was_lost_measures_nothing() -> None:
    """Its acknowledgement had to wait for the other one."""
    channel = make()
    exchange(channel, 0.0, 0.02)
    channel.send(0, b"m")
    channel.send(0, b"m")
    assert numbers(channel, 1.0) == [1, 2]
    assert zlb(channel, 2, 1.02) == []  # the second one is not measured, as the first is
    channel.send(0, b"m")
    assert numbers(channel, 1.03) == [3]
    at = timeout(channel)
    assert numbers(channel, at) == [2]
    zlb(channel, 4, at + 0.02)
    smoothed, variation = channel._round_trip.smoothed_s, channel._round_trip.variation_s
    assert smoothed == pytest.approx(0.02)
    assert variation == pytest.approx(0.01 * 3 / 4)


def test_one_of_several_messages_is_measured() -> None:
    channel = make()
    exchange(channel, 0.0, 0.1)
    channel.send(0, b"m")
    assert numbers(channel, 1.0) == [1]
    channel.send(0, b"m")
    assert numbers(channel, 1.05) == [2]
    zlb(channel, 2, 1.1)
    channel.send(0, b"m")
    channel.send(0, b"m")
    assert numbers(channel, 2.0) == [3, 4]
    zlb(channel, 3, 2.05)  # of 2 only
    assert channel._round_trip.smoothed_s == pytest.approx(0.1)
    zlb(channel, 4, 2.1)
    assert channel._round_trip.smoothed_s == pytest.approx(0.1)
    assert channel._round_trip.variation_s == pytest.approx(0.05 * 9 / 16)


@pytest.mark.parametrize("pause", [MEASURED_FOR_S - 1, MEASURED_FOR_S + 1])
def test_round_trip_is_forgotten_when_nothing_is_sent_for_long(pause: float) -> None:
    channel = make(retransmit_initial_s=1.0)
    exchange(channel, 0.0, 0.02)
    expected = 1.0 if pause > MEASURED_FOR_S else 0.02 + MIN_MARGIN_S
    assert wait_of(channel, pause) == pytest.approx(expected)


def test_round_trip_after_a_long_pause_is_a_first_one() -> None:
    channel = make(retransmit_initial_s=2.0)
    exchange(channel, 0.0, 0.02)
    exchange(channel, 100.0, 0.5)
    assert wait_of(channel, 101.0) == pytest.approx(0.5 + 4 * 0.25)


# A peer that is silent


@pytest.mark.parametrize("round_trip_s", [0.0, 0.05, 0.3, 0.9])
@pytest.mark.parametrize("retries", [1, 5, 7])
def test_silent_peer_is_dead_no_sooner_than_configured(round_trip_s: float, retries: int) -> None:
    channel = make(max_retransmits=retries)
    exchange(channel, 0.0, round_trip_s)
    channel.send(0, b"m")
    now, times = 2.0, []
    while True:
        times += [now for _ in numbers(channel, now)]
        at = channel.get_timer()
        assert at is not None
        now = at
        if not channel.handle_timer(now):
            break
    cycle = EndpointConfig("x", max_retransmits=retries).retry_cycle_s
    assert now == pytest.approx(2.0 + cycle)
    assert retries + 1 <= len(times) <= retries + 3
    assert times[-1] <= 2.0 + cycle - MIN_MARGIN_S


def test_retransmissions_double_their_distance_up_to_the_cap() -> None:
    channel = make(retransmit_cap_s=2.0)
    exchange(channel, 0.0, 0.0)
    channel.send(0, b"m")
    numbers(channel, 1.0)
    times = [1.0]
    for _ in range(6):
        times.append(timeout(channel))
        assert numbers(channel, times[-1]) == [1]
    assert times == [1.0, 1.25, 1.75, 2.75, 4.75, 6.75, 8.75]


def test_progress_of_a_window_starts_the_time_to_death_anew() -> None:
    channel = open_window(8)
    zlb(channel, 4, 10.2)
    now = 10.2
    while channel.handle_timer(now):
        numbers(channel, now)
        at = channel.get_timer()
        assert at is not None
        now = at
    assert now == pytest.approx(10.2 + EndpointConfig("x").retry_cycle_s)


def test_progress_starts_the_time_to_death_anew() -> None:
    channel = make(max_retransmits=1)  # dead after 1 + 2 s
    for _ in range(3):
        channel.send(0, b"m")
    now = 0.0
    numbers(channel, now)
    for nr in (1, 2):
        now += 2.9
        channel.handle_timer(now)
        numbers(channel, now)
        zlb(channel, nr, now)
    assert channel.handle_timer(now + 2.9)
    assert not channel.handle_timer(now + 3.0)


# Repeated acknowledgements


def test_repeated_acknowledgements_bring_the_first_message_at_once() -> None:
    channel = open_window(8)
    lose_first(channel)
    assert channel.retransmissions == 1
    assert zlb(channel, 8, 10.2) == [8, 9, 10, 11, 12], "half of the window, and one"


def test_window_is_halved_where_a_timeout_collapses_it() -> None:
    fast, slow = open_window(8), open_window(8)
    lose_first(fast)
    assert numbers(slow, timeout(slow)) == [0]
    assert (fast.congestion_window, slow.congestion_window) == (4, 1)


def test_window_grows_by_one_a_round_after_a_loss() -> None:
    channel = open_window(8)
    lose_first(channel)
    windows = []
    for nr in (8, 13, 19, 26):
        zlb(channel, nr, 10.2)
        windows.append(channel.congestion_window)
    assert windows == [5, 6, 7, 8]


def test_one_loss_brings_one_repetition_and_halves_the_window_once() -> None:
    channel = open_window(16)
    lose_first(channel)
    for _ in range(20):
        assert zlb(channel, 0, 10.15) == []
    assert channel.congestion_window == 8


def test_acknowledgements_of_repetitions_do_not_look_like_a_loss() -> None:
    """The peer acknowledges what it gets twice; only what is sent after the loss ends it."""
    channel = open_window(8)
    lose_first(channel)
    under_way = zlb(channel, 8, 10.2)
    assert len(under_way) > FAST_AFTER
    for _ in range(10):
        assert zlb(channel, 8, 10.21) == []
    more = zlb(channel, 9, 10.3)
    assert more
    for _ in range(FAST_AFTER - 1):
        assert zlb(channel, 9, 10.31) == []
    assert zlb(channel, 9, 10.31) == [9], "a new loss"


def test_acknowledgements_after_a_timeout_do_not_look_like_a_loss() -> None:
    channel = open_window(16)
    at = timeout(channel)
    assert numbers(channel, at) == [0]
    assert zlb(channel, 4, at + 0.1) == [4, 5, 6, 7, 8]  # again: they are not known to have come
    for _ in range(10):
        assert zlb(channel, 4, at + 0.2) == []


def test_acknowledgement_that_moves_on_starts_the_count_anew() -> None:
    channel = open_window(8)
    for nr in range(1, 5):
        for _ in range(FAST_AFTER):  # the first of them moves on
            zlb(channel, nr, 10.1)
    assert channel.retransmissions == 0
    assert zlb(channel, 4, 10.1) == [4]


def test_messages_with_the_same_nr_are_no_sign_of_a_loss() -> None:
    channel = open_window(8)
    for ns in range(10):
        assert message(channel, ns, 10.1) == []  # new ones
    for ns in range(10):
        assert message(channel, ns, 10.2) == []  # repeated ones
    for ns in range(12, 20):
        assert message(channel, ns, 10.2) == []  # early ones
    assert channel.retransmissions == 0


def test_older_acknowledgements_are_no_sign_of_a_loss() -> None:
    channel = open_window(8)
    zlb(channel, 2, 10.1)
    for _ in range(10):
        assert zlb(channel, 1, 10.2) == []
    assert channel.retransmissions == 0


@pytest.mark.parametrize("under_way", [1, 2, FAST_AFTER])
def test_few_messages_under_way_cannot_show_a_loss(under_way: int) -> None:
    """So many cannot have arrived behind the first: the network doubles datagrams."""
    channel = open_window(under_way)
    for _ in range(10):
        assert zlb(channel, 0, 10.1) == []


def test_window_of_four_is_enough_to_show_a_loss() -> None:
    lose_first(open_window(4, peer_window=4))


def test_timer_starts_anew_with_the_repetition_but_not_the_time_to_death() -> None:
    channel = open_window(8)
    wait = channel._interval_s
    lose_first(channel, 10.2)
    assert channel.get_timer() == pytest.approx(10.2 + wait)
    now = 10.2
    while channel.handle_timer(now):
        numbers(channel, now)
        at = channel.get_timer()
        assert at is not None
        now = at
    assert now == pytest.approx(10.0 + EndpointConfig("x").retry_cycle_s)


def test_repetition_measures_nothing() -> None:
    channel = open_window(8, round_trip_s=0.1)
    lose_first(channel, 10.3)
    zlb(channel, 1, 10.9)
    assert channel._round_trip.smoothed_s == pytest.approx(0.1)


def test_repetition_that_is_lost_too_comes_after_the_timeout() -> None:
    channel = open_window(16)
    lose_first(channel)
    assert numbers(channel, timeout(channel)) == [0]
    assert channel.congestion_window == 1
    zlb(channel, 16, 11.0)
    assert channel.congestion_window == 9, "slow start up to half of 16, then one: one loss"


def test_timeouts_in_a_row_are_one_loss() -> None:
    channel = open_window(16)
    for _ in range(3):
        assert numbers(channel, timeout(channel)) == [0]
    for nr in range(1, 8):
        zlb(channel, nr, 14.0)
    assert channel.congestion_window == 8


def test_loss_starts_the_round_anew_after_which_the_window_grows() -> None:
    channel = open_window(8)
    lose_first(channel)
    zlb(channel, 8, 10.2)  # 4 of these 8 opened the window to 5
    numbers(channel, timeout(channel))
    windows = []
    for nr in (9, 10, 11):
        zlb(channel, nr, 11.0)
        windows.append(channel.congestion_window)
    assert windows == [2, 2, 3]


def test_timeout_after_a_recovery_is_another_loss() -> None:
    channel = open_window(16)
    numbers(channel, timeout(channel))
    zlb(channel, 16, 10.6)
    assert channel.congestion_window == 9
    assert numbers(channel, timeout(channel)) == [16]
    zlb(channel, 16 + 4, 12.0)
    assert channel.congestion_window == 4


def test_next_message_that_was_lost_with_the_first_follows_it() -> None:
    channel = open_window(16, round_trip_s=0.1)
    lose_first(channel, 10.1)
    assert zlb(channel, 5, 10.2) == [5]
    assert zlb(channel, 5, 10.2) == []
    assert zlb(channel, 9, 10.3) == [9, 16, 17]
    assert channel.retransmissions == 3
    assert zlb(channel, 16, 10.4)[0] == 18, "nothing else was lost"


def test_message_that_was_late_is_not_taken_for_a_loss() -> None:
    """The acknowledgement comes sooner than the repetition can have arrived."""
    channel = open_window(16, round_trip_s=0.1)
    lose_first(channel, 10.1)
    assert zlb(channel, 5, 10.12) == [16, 17, 18, 19, 20]
    assert channel.congestion_window == 16
    for nr in range(6, 16):
        assert min(zlb(channel, nr, 10.2)) > 20
    assert channel.retransmissions == 1
    for _ in range(FAST_AFTER - 1):
        assert zlb(channel, 15, 10.2) == []
    assert zlb(channel, 15, 10.2) == [15], "a loss is noticed again"


def test_answer_may_come_as_soon_as_the_soonest_one_so_far() -> None:
    """The usual round trip includes the delay of acknowledgements."""
    channel = open_window(16, round_trip_s=0.2)
    zlb(channel, 1, 10.05)
    for _ in range(FAST_AFTER):
        zlb(channel, 1, 10.1)
    assert zlb(channel, 5, 10.15)[0] == 5


# What we tell the peer


def test_message_out_of_order_is_acknowledged_at_once() -> None:
    channel = make()
    for ns in (2, 3, 1):
        message_at = 1.0 + ns
        channel.receive(ControlHeader(1, 0, ns, 0), b"x", message_at)
        assert channel.get_timer() == message_at
        assert sent(channel, message_at) == [(0, 0, False)]


def test_message_that_came_early_twice_is_acknowledged_at_once() -> None:
    channel = make()
    for _ in range(2):
        channel.receive(ControlHeader(1, 0, 3, 0), b"x", 1.0)
        assert sent(channel, 1.0) == [(0, 0, False)]


def test_message_that_was_missing_is_acknowledged_at_once() -> None:
    channel = make()
    message(channel, 1, 1.0)
    message(channel, 4, 1.0)
    channel.receive(ControlHeader(1, 0, 0, 0), b"x", 1.1)
    assert sent(channel, 1.1) == [(0, 2, False)]
    channel.receive(ControlHeader(1, 0, 2, 0), b"x", 1.2)
    assert sent(channel, 1.2) == [(0, 3, False)], "another one is missing yet"
    channel.receive(ControlHeader(1, 0, 3, 0), b"x", 1.3)
    assert sent(channel, 1.3) == [(0, 5, False)]
    channel.receive(ControlHeader(1, 0, 5, 0), b"x", 1.4)
    assert sent(channel, 1.4) == [], "all is in order again"


def test_cleared_channel_repeats_nothing_and_has_no_acknowledgement_waiting() -> None:
    channel = open_window(8)
    for _ in range(FAST_AFTER):
        channel.receive(ControlHeader(1, 0, 0, 0), b"", 10.1)
    channel.receive(ControlHeader(1, 0, 1, 0), b"x", 10.1)
    channel.clear()
    assert channel.get_timer() is None
    assert sent(channel, 10.1) == []
    channel.receive(ControlHeader(1, 0, 0, 0), b"x", 10.1)
    assert sent(channel, 10.3) == [(8, 1, False)]


def test_cleared_channel_measures_what_is_sent_afterwards() -> None:
    channel = open_window(8, round_trip_s=0.1)
    channel.clear()
    exchange(channel, 20.0, 0.1)
    assert wait_of(channel, 21.0) == pytest.approx(0.1 + MIN_MARGIN_S)


def test_cleared_channel_notices_losses_afterwards() -> None:
    channel = open_window(8)
    assert numbers(channel, timeout(channel)) == [0]
    channel.clear()
    channel.congestion_window = 8
    for _ in range(8):
        channel.send(0, b"m")
    assert numbers(channel, 20.0) == list(range(8, 16))
    for _ in range(FAST_AFTER - 1):
        assert zlb(channel, 8, 20.1) == []
    assert zlb(channel, 8, 20.1) == [8]
