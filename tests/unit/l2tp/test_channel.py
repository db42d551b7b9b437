"""The reliable channel by itself, in virtual time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.l2tp.channel import MAX_ANSWERS, MAX_HELD_BYTES, Channel
from l2tpns_core.l2tp.config import EndpointConfig
from l2tpns_core.l2tp.message import ControlHeader, decode_header

PEER = 7


def make(peer_window: int = 128, **settings: float) -> Channel:
    channel = Channel(EndpointConfig("lns", **settings), PEER)  # type: ignore[arg-type]
    channel.set_peer_window(peer_window)
    return channel


def sent(channel: Channel, now: float = 0.0) -> list[tuple[int, bytes]]:
    """(Ns, body) of what goes out."""
    headers = [decode_header(datagram) for datagram in channel.datagrams_to_send(now)]
    assert all(header.tunnel_id == PEER for header, _ in headers)
    assert all(header.nr == channel.next_nr for header, _ in headers)
    return [(header.ns, body) for header, body in headers]


def get(
    channel: Channel, ns: int, nr: int = 0, body: bytes = b"x", now: float = 0.0
) -> list[bytes]:
    """A message of the peer; what becomes deliverable."""
    header = ControlHeader(1, 0, ns & 0xFFFF, nr & 0xFFFF)
    return [ready for _, ready in channel.receive(header, body, now)]


def acknowledge(channel: Channel, nr: int, now: float = 0.0) -> None:
    get(channel, channel.next_nr, nr, b"", now)


def advance(channel: Channel, count: int) -> None:
    """Exchange so many messages in each direction."""
    for _ in range(count):
        channel.send(0, b"m")
        ns = channel.next_ns
        assert sent(channel) == [(ns, b"m")]
        assert get(channel, channel.next_nr, ns + 1) == [b"x"]


def make_at(number: int) -> Channel:
    """A channel that has exchanged so many messages in each direction."""
    channel = make()
    channel.next_nr = channel._acknowledged = number
    return channel


def test_messages_are_numbered_and_wait_for_their_acknowledgement() -> None:
    channel = make()
    channel.send(5, b"one")
    assert sent(channel) == [(0, b"one")]
    assert sent(channel) == []
    assert (channel.queue_length, channel.next_ns) == (1, 1)
    acknowledge(channel, 1)
    assert channel.queue_length == 0
    assert channel.get_timer() is None


def test_session_id_goes_into_the_header() -> None:
    channel = make()
    channel.send(5, b"one")
    header, _ = decode_header(channel.datagrams_to_send(0.0)[0])
    assert header == ControlHeader(PEER, 5, 0, 0)


def test_numbers_wrap_in_both_directions() -> None:
    channel = make()
    advance(channel, 65536 + 3)
    assert (channel.next_ns, channel.next_nr) == (3, 3)
    assert channel.retransmissions == 0
    assert channel.dropped == 0


def test_messages_held_across_the_wrap_are_delivered_in_order() -> None:
    channel = make_at(65534)
    assert get(channel, 1, 65534, b"4") == []
    assert get(channel, 65535, 65534, b"2") == []
    assert get(channel, 0, 65534, b"3") == []
    assert get(channel, 65534, 65534, b"1") == [b"1", b"2", b"3", b"4"]
    assert channel.next_nr == 2


def test_acknowledgement_across_the_wrap() -> None:
    channel = make_at(65534)
    channel.send(0, b"first")
    assert sent(channel) == [(65534, b"first")]
    acknowledge(channel, 65535)
    for body in (b"a", b"b"):
        channel.send(0, body)
    assert [ns for ns, _ in sent(channel)] == [65535, 0]
    acknowledge(channel, 0)
    assert channel.queue_length == 1
    acknowledge(channel, 65535)  # overtaken: older than what we know
    assert channel.queue_length == 1
    acknowledge(channel, 1)
    assert channel.queue_length == 0


def test_slow_start_opens_the_window_by_one_for_each_acknowledged_message() -> None:
    channel = make(peer_window=8)
    for _ in range(40):
        channel.send(0, b"m")
    sizes = []
    acknowledged = 0
    while channel.queue_length:
        flight = len(sent(channel))
        sizes.append(flight)
        acknowledged += flight
        acknowledge(channel, acknowledged)
    assert sizes == [1, 2, 4, 8, 8, 8, 8, 1]


def test_congestion_avoidance_opens_it_by_one_for_each_full_window() -> None:
    channel = make(peer_window=8, retransmit_initial_s=1.0)
    for _ in range(200):
        channel.send(0, b"m")
    acknowledged = 0
    for _ in range(3):
        acknowledged += len(sent(channel))
        acknowledge(channel, acknowledged)
    assert channel.congestion_window == 8
    sent(channel)
    timer = channel.get_timer()
    assert timer is not None
    assert channel.handle_timer(timer)
    assert channel.congestion_window == 1
    windows = []
    for _ in range(26):
        sent(channel, 1.0)
        acknowledged += 1
        acknowledge(channel, acknowledged, 1.0)
        windows.append(channel.congestion_window)
    assert windows[:3] == [2, 3, 4]  # slow start up to half of what it was
    assert windows[3:7] == [4, 4, 4, 5]
    assert windows[7:12] == [5, 5, 5, 5, 6]
    assert max(windows) == 8


def test_peer_window_of_one_stalls_until_the_acknowledgement() -> None:
    channel = make(peer_window=1)
    channel.send(0, b"a")
    channel.send(0, b"b")
    assert sent(channel) == [(0, b"a")]
    assert sent(channel) == []
    acknowledge(channel, 1)
    assert sent(channel) == [(1, b"b")]


@pytest.mark.parametrize(("offered", "taken"), [(0, 1), (1, 1), (4, 4), (65535, 0x8000)])
def test_window_that_a_peer_offers(offered: int, taken: int) -> None:
    assert make(peer_window=offered).peer_window == taken


def test_retransmission_backs_off_to_the_cap_and_gives_up() -> None:
    channel = make(retransmit_initial_s=1.0, retransmit_cap_s=8.0, max_retransmits=5)
    channel.send(0, b"a")
    times = []
    now = 0.0
    while True:
        if sent(channel, now):
            times.append(now)
        timer = channel.get_timer()
        assert timer is not None
        now = timer
        if not channel.handle_timer(now):
            break
    assert times == [0.0, 1.0, 3.0, 7.0, 15.0, 23.0]
    assert now == 31.0
    assert channel.retransmissions == 5
    assert EndpointConfig("x", max_retransmits=5).retry_cycle_s == now


def test_acknowledgement_starts_the_backoff_anew() -> None:
    channel = make()
    channel.send(0, b"a")
    channel.send(0, b"b")
    sent(channel)
    channel.handle_timer(1.0)
    assert sent(channel, 1.0) == [(0, b"a")]
    assert channel.get_timer() == 3.0
    acknowledge(channel, 1, now=1.5)
    assert sent(channel, 1.5) == [(1, b"b")]
    assert channel.get_timer() == 2.5


def test_timer_before_its_time_does_nothing() -> None:
    channel = make()
    assert channel.handle_timer(5.0)
    channel.send(0, b"a")
    sent(channel)
    assert channel.handle_timer(0.5)
    assert sent(channel, 0.5) == []


def test_timeout_sends_one_message_again_and_an_acknowledgement_skips_the_rest() -> None:
    channel = make()
    for _ in range(3):
        channel.send(0, b"m")
    acknowledged = len(sent(channel))
    acknowledge(channel, acknowledged)
    assert [ns for ns, _ in sent(channel)] == [1, 2]
    channel.handle_timer(1.0)
    assert [ns for ns, _ in sent(channel, 1.0)] == [1]
    acknowledge(channel, 3)  # the peer had kept the second one
    assert channel.queue_length == 0
    assert channel.retransmissions == 1


def test_acknowledgement_of_what_was_not_sent_drops_the_message() -> None:
    channel = make()
    channel.send(0, b"a")
    sent(channel)
    assert get(channel, 0, nr=2) == []
    assert (channel.dropped, channel.queue_length, channel.next_nr) == (1, 1, 0)


def test_duplicate_is_dropped_and_acknowledged_at_once() -> None:
    channel = make()
    assert get(channel, 0) == [b"x"]
    assert sent(channel, 0.1) == [(0, b"")]
    assert get(channel, 0, now=5.0) == []
    assert channel.duplicates == 1
    assert sent(channel, 5.0) == [(0, b"")]


def test_message_out_of_order_is_kept_once() -> None:
    channel = make()
    assert get(channel, 1, body=b"2") == []
    assert get(channel, 1, body=b"2") == []
    assert channel.duplicates == 1
    assert get(channel, 0, body=b"1") == [b"1", b"2"]
    assert get(channel, 1, body=b"2") == []


def test_message_beyond_the_announced_window_is_dropped() -> None:
    channel = make(receive_window=4)
    assert get(channel, 4) == []
    assert channel.dropped == 1
    assert get(channel, 3) == []
    assert channel.dropped == 1


def test_bytes_held_out_of_order_are_bounded() -> None:
    channel = make(receive_window=128)
    big = bytes(MAX_HELD_BYTES // 3)
    for ns in range(1, 6):
        get(channel, ns, body=big)
    assert channel.dropped == 2
    assert len(get(channel, 0)) == 4
    for ns in range(5, 8):  # there is room again
        get(channel, ns, body=big)
    assert channel.dropped == 2
    assert len(get(channel, 4)) == 4


def test_number_half_the_circle_away_is_an_old_one() -> None:
    channel = make(receive_window=32768)
    assert get(channel, 32768) == []
    assert (channel.duplicates, channel.dropped) == (1, 0)
    assert get(channel, 32767) == []
    assert (channel.duplicates, channel.dropped) == (1, 0)


def test_acknowledgement_waits_for_a_message_to_travel_with() -> None:
    channel = make(ack_delay_s=0.1)
    get(channel, 0)
    assert sent(channel, 0.05) == []
    assert channel.get_timer() == 0.1
    channel.send(0, b"answer")
    assert sent(channel, 0.06) == [(0, b"answer")]
    assert sent(channel, 0.5) == []
    assert channel.get_timer() == 1.06


def test_acknowledgement_goes_alone_when_nothing_else_does() -> None:
    channel = make(ack_delay_s=0.1)
    get(channel, 0, now=1.0)
    assert sent(channel, 1.1) == [(0, b"")]
    assert channel.get_timer() is None
    assert sent(channel, 2.0) == []


@pytest.mark.parametrize(("window", "expected"), [(1, 1), (4, 2), (128, 4)])
def test_many_messages_are_acknowledged_at_once(window: int, expected: int) -> None:
    channel = make(receive_window=window)
    count = 0
    while not sent(channel):
        get(channel, count)
        count += 1
    assert count == expected


def test_zlb_is_not_acknowledged_and_takes_no_number() -> None:
    channel = make()
    acknowledge(channel, 0)
    assert (channel.next_nr, channel.get_timer()) == (0, None)


def test_earlier_of_both_timers_counts() -> None:
    channel = make(ack_delay_s=0.1)
    channel.send(0, b"a")
    sent(channel, 0.0)
    get(channel, 0, now=0.95)
    assert channel.get_timer() == 1.0
    get(channel, 1, now=0.2)
    acknowledge(channel, 1)
    assert channel.get_timer() == pytest.approx(1.05)


def test_peer_that_asks_without_acknowledging_is_not_listened_to() -> None:
    channel = make(receive_window=32768)
    for ns in range(MAX_ANSWERS):
        assert get(channel, ns) == [b"x"]
        channel.send(0, b"answer", is_answer=True)
    assert get(channel, MAX_ANSWERS) == []
    sent(channel)
    assert get(channel, MAX_ANSWERS, nr=1) == [b"x"]


def test_our_own_messages_do_not_stop_us_listening() -> None:
    channel = make()
    for _ in range(MAX_ANSWERS + 1):
        channel.send(0, b"CDN")
    assert get(channel, 0) == [b"x"]


def test_first_message_is_repeated_on_demand_without_changing_the_timer() -> None:
    channel = make()
    channel.repeat_first()
    assert sent(channel) == []
    channel.send(0, b"a")
    sent(channel)
    channel.repeat_first()
    assert sent(channel, 0.5) == [(0, b"a")]
    assert channel.get_timer() == 1.0
    assert sent(channel, 0.6) == []


def test_clear_stops_sending_and_keeps_acknowledging() -> None:
    channel = make()
    channel.send(0, b"a")
    sent(channel)
    get(channel, 1)
    channel.clear()
    assert (channel.queue_length, channel.next_ns, channel.get_timer()) == (0, 1, None)
    assert get(channel, 0) == [b"x"]  # the one that was held is gone
    assert sent(channel, 9.0) == [(1, b"")]


@given(
    st.lists(st.tuples(st.integers(-3, 9), st.integers(-3, 9), st.binary(max_size=3)), max_size=60),
    st.integers(0, 65535),
)
def test_any_numbers_leave_the_channel_in_bounds(
    datagrams: list[tuple[int, int, bytes]], start: int
) -> None:
    channel = make(peer_window=4, receive_window=4)
    channel.next_nr = start
    now = 0.0
    delivered = 0
    for ahead, acknowledged, body in datagrams:
        now += 0.3
        channel.send(0, b"m")
        delivered += len(get(channel, start + ahead, acknowledged, body, now))
        for ns, _ in sent(channel, now):
            assert ns <= channel.next_ns
        assert channel.handle_timer(now) or channel.queue_length
        assert 1 <= channel.congestion_window <= 4
    assert delivered == channel.next_nr - start & 0xFFFF
    assert delivered <= len(datagrams)
