"""Counts by size, as Prometheus wants them: cumulative, with fixed bounds."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence


class Histogram:
    """What was observed, in buckets that end at `bounds`, and one above the last."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` ascend; a value that equals one is in its bucket."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0
        """The sum of all values."""

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Each bound as text, `+Inf` last, with the number of values up to it."""
        so_far = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            so_far += count
            yield "+Inf" if bound == float("inf") else str(bound), so_far
