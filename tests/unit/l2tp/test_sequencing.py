"""The reordering window of data messages."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.l2tp.sequencing import Sequencer, SequencerCounters


def payload(number: int) -> bytes:
    return b"%d" % number


def feed(sequencer: Sequencer, *numbers: int, now: float = 0.0) -> list[int]:
    """Numbers in, numbers out."""
    out: list[bytes] = []
    for number in numbers:
        out += sequencer.receive(number, payload(number & 0xFFFF), now)
    return [int(data) for data in out]


def test_messages_in_order_pass_at_once() -> None:
    sequencer = Sequencer()
    assert feed(sequencer, *range(200)) == list(range(200))
    assert sequencer.counters == SequencerCounters()
    assert sequencer.get_timer() is None


def test_early_message_waits_for_the_missing_one() -> None:
    sequencer = Sequencer(timeout_s=0.1)
    assert feed(sequencer, 0, 2, 3) == [0]
    assert sequencer.get_timer() == 0.1
    assert feed(sequencer, 1) == [1, 2, 3]
    assert sequencer.get_timer() is None
    assert sequencer.counters.reordered == 2
    assert sequencer.counters.lost == 0


def test_missing_message_is_given_up_after_the_timeout() -> None:
    sequencer = Sequencer(timeout_s=0.1)
    feed(sequencer, 0, 2, 3, 6)
    assert sequencer.handle_timer(0.05) == []
    assert sequencer.handle_timer(0.1) == [b"2", b"3"]
    assert sequencer.counters.lost == 1
    assert sequencer.get_timer() == pytest.approx(0.2)
    assert sequencer.handle_timer(0.2) == [b"6"]
    assert sequencer.counters.lost == 3
    assert sequencer.get_timer() is None
    assert sequencer.handle_timer(9.0) == []


def test_message_that_was_given_up_is_late_and_a_repeated_one_a_duplicate() -> None:
    sequencer = Sequencer()
    feed(sequencer, 0, 2)
    sequencer.handle_timer(1.0)
    assert feed(sequencer, 1) == []
    assert feed(sequencer, 1, 2, 0) == []
    assert sequencer.counters.late == 1
    assert sequencer.counters.duplicates == 3


def test_duplicate_of_a_held_message_is_counted() -> None:
    sequencer = Sequencer()
    assert feed(sequencer, 0, 2, 2) == [0]
    assert sequencer.counters.duplicates == 1


def test_number_beyond_the_window_gives_up_what_is_too_far_behind() -> None:
    sequencer = Sequencer(window=4)
    assert feed(sequencer, 0, 2, 4) == [0]
    assert feed(sequencer, 7) == [2, 4]
    assert sequencer.counters.lost == 2
    assert feed(sequencer, 5, 6) == [5, 6, 7]


def test_jump_far_ahead_holds_no_more_than_the_window() -> None:
    sequencer = Sequencer(window=4)
    assert feed(sequencer, 0, 20000) == [0]
    assert sequencer.counters.lost == 19996
    assert sequencer.handle_timer(1.0) == [b"20000"]


def test_numbers_wrap() -> None:
    sequencer = Sequencer()
    assert feed(sequencer, 65534, 0, 65535, 1) == [65534, 65535, 0, 1]


def test_beginning_may_be_missed_or_reordered() -> None:
    assert feed(Sequencer(), 1, 0) == [0, 1]
    late_start = Sequencer()
    assert feed(late_start, 30000, 30001) == [30000, 30001]
    assert late_start.counters.lost == 0


def test_peer_that_counts_anew_is_followed_after_a_window_of_messages() -> None:
    sequencer = Sequencer(window=8)
    feed(sequencer, *range(1000, 1010))
    assert feed(sequencer, *range(20)) == list(range(7, 20))
    assert sequencer.counters.resynchronised == 1


def test_old_messages_between_new_ones_are_not_followed() -> None:
    sequencer = Sequencer(window=4)
    feed(sequencer, *range(100))
    for number in range(100, 120):
        assert feed(sequencer, number, number - 50) == [number]
    assert sequencer.counters.resynchronised == 0
    assert sequencer.counters.duplicates == 20


@given(st.integers(0, 2**32), st.integers(0, 65535), st.integers(2, 20))
def test_messages_shuffled_within_the_window_come_out_in_order(
    seed: int, start: int, window: int
) -> None:
    rng = random.Random(seed)
    sequencer = Sequencer(window=window)
    numbers = [start + i & 0xFFFF for i in range(100)]
    keyed = sorted(range(1, 100), key=lambda i: i + rng.uniform(0, window - 1))
    sent = [numbers[0], *(numbers[i] for i in keyed)]
    if start < window:  # what comes before the first message counts as missing
        feed(sequencer, *range(start))
    assert feed(sequencer, *sent) == numbers
    assert sequencer.counters.lost == 0


@given(st.lists(st.tuples(st.integers(0, 65535), st.floats(0, 0.2)), max_size=200))
def test_whatever_comes_goes_out_at_most_once_per_arrival_and_is_bounded(
    arrivals: list[tuple[int, float]],
) -> None:
    sequencer = Sequencer(window=8)
    now, passed = 0.0, 0
    for number, gap in arrivals:
        now += gap
        passed += len(sequencer.handle_timer(now))
        passed += len(sequencer.receive(number, b"x", now))
        timer = sequencer.get_timer()
        assert timer is None or timer <= now + 0.1
    for _ in range(10):
        timer = sequencer.get_timer()
        if timer is None:
            break
        passed += len(sequencer.handle_timer(timer))
    assert sequencer.get_timer() is None
    assert passed <= len(arrivals)
