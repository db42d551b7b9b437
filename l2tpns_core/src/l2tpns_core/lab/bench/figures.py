"""Sums on measurements: medians, percentiles, ratios by round, and the search for a rate."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Final

PERCENTILES: Final = (50, 90, 99)
STEPS: Final = 6
"""Halvings of a search: the rate that it finds is exact to 1/64 of where it began."""


def median(values: Sequence[float]) -> float:
    """0.0 for no values."""
    return statistics.median(values) if values else 0.0


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that so many percent do not exceed. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part / 100 * len(ordered)) - 1)]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round; rounds in which theirs is 0 are left out."""
    return [a / b for a, b in zip(ours, theirs, strict=False) if b]


def highest(passes: Callable[[float], bool], limit: float, steps: int = STEPS) -> float:
    """The highest rate up to a limit that passes, by halving; 0.0 when none does.

    What passes at one rate is taken to pass at all lower ones.
    """
    low, high = 0.0, limit
    if passes(high):
        return high
    for _ in range(steps):
        middle = (low + high) / 2
        if passes(middle):
            low = middle
        else:
            high = middle
    return low
