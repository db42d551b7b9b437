"""The ring of the last echoes of a line."""

from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.ppp.quality import ECHOES, LONGEST, STEP_S, brief_of, quality_of, recorded


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
        None if each is None else min(round(each / STEP_S), LONGEST) * STEP_S
        for each in echoes[-ECHOES:]
    ]
    answered = [each for each in last if each is not None]
    quality = quality_of(ring, 0.0)
    assert (quality.echoes, quality.lost) == (len(last), last.count(None))
    if answered:
        assert quality.last_s == answered[-1]
        assert (quality.least_s, quality.most_s) == (min(answered), max(answered))
        assert quality.median_s == sorted(answered)[(len(answered) - 1) // 2]
    assert brief_of(ring) == (quality.last_s, quality.loss)
