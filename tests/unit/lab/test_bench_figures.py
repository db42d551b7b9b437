"""The sums of the bench: medians, ratios, percentiles, and the search for a rate."""

import pytest

from l2tpns_core.lab.bench.figures import highest, median, percentile, ratios


def test_a_median_of_nothing_is_zero() -> None:
    assert median([]) == 0.0
    assert median([3.0, 1.0, 100.0]) == 3.0


def test_ratios_are_those_of_the_same_rounds() -> None:
    assert ratios([1.0, 4.0, 9.0], [2.0, 4.0, 3.0]) == [0.5, 1.0, 3.0]
    assert ratios([1.0, 4.0], [0.0, 2.0]) == [2.0]


@pytest.mark.parametrize(("part", "expected"), [(50, 2.0), (75, 3.0), (99, 4.0), (1, 1.0)])
def test_a_percentile_is_a_value_that_occurred(part: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], part) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize("edge", [1.0, 300.0, 640.0, 999.0])
def test_the_search_ends_just_below_the_edge(edge: float) -> None:
    found = highest(lambda rate: rate <= edge, 1000.0, steps=10)
    assert found <= edge
    assert edge - found <= 1000 / 2**10


def test_the_search_tries_the_limit_first_and_may_find_nothing() -> None:
    tried: list[float] = []

    def passes(rate: float) -> bool:
        tried.append(rate)
        return True

    assert highest(passes, 500.0) == 500.0
    assert tried == [500.0]
    assert highest(lambda _: False, 500.0) == 0.0
