"""The ring of the last echoes of a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.ppp.quality import (
    BAD_FROM,
    ECHOES,
    GOOD_UP_TO,
    LONGEST,
    STEPS_PER_S,
    brief_of,
    is_bad,
    quality_of,
    recorded,
)


def test_a_line_that_was_never_asked() -> None:
    assert brief_of(b"") is None
    assert quality_of(b"", 0.0).loss == 0.0


def test_what_never_answers_has_no_round_trip() -> None:
    ring = recorded(recorded(b"", None), None)
    quality = quality_of(ring, 7.0)
    assert (quality.echoes, quality.lost, quality.lost_at) == (2, 2, 7.0)
    assert (quality.last_s, quality.median_s) == (None, None)
    assert brief_of(ring) == (None, 1.0)


@given(st.lists(st.none() | st.floats(0, 10), min_size=1, max_size=3 * ECHOES))
def test_the_ring_says_what_the_last_echoes_were(echoes: list[float | None]) -> None:
    ring = b""
    for seconds in echoes:
        ring = recorded(ring, seconds)
    last = [
        None if each is None else min(round(each * STEPS_PER_S), LONGEST) / STEPS_PER_S
        for each in echoes[-ECHOES:]
    ]
    answered = [each for each in last if each is not None]
    quality = quality_of(ring, 0.0)
    assert (quality.echoes, quality.lost) == (len(last), last.count(None))
    if answered:
        assert quality.last_s == answered[-1]
        assert (quality.least_s, quality.most_s) == (min(answered), max(answered))
        assert quality.median_s == sorted(answered)[(len(answered) - 1) // 2]
        assert quality.jitter_s is None or (
            quality.jitter_s <= max(answered) - min(answered) + 1 / STEPS_PER_S
        )
    assert (quality.jitter_s is None) is (len(answered) < 2)
    assert brief_of(ring) == (quality.last_s, quality.loss)


def test_jitter_is_between_answers_that_follow_each_other() -> None:
    ring = b""
    for seconds in (0.010, 0.030, None, 0.020):
        ring = recorded(ring, seconds)
    assert quality_of(ring, 1.0).jitter_s == pytest.approx(0.015)


@given(st.integers(0, ECHOES), st.integers(0, ECHOES), st.booleans())
def test_a_line_is_bad_from_more_losses_than_it_is_good_with(
    lost: int, answered: int, was_bad: bool
) -> None:
    ring = b""
    for _ in range(min(answered, ECHOES - lost)):
        ring = recorded(ring, 0.5)
    for _ in range(lost):
        ring = recorded(ring, None)
    between = GOOD_UP_TO < lost < BAD_FROM
    assert is_bad(ring, was_bad) is (was_bad if between else lost >= BAD_FROM)
