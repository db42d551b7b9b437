"""The changes of late, by number, and the reigns that they are of."""

from collections import deque
from typing import Final, NamedTuple

from l2tpns_core.cluster.messages import pairs

MAX_REIGNS: Final = 16
MAX_BATCHES: Final = 16_384
MAX_BYTES: Final = 8 << 20

Reports = dict[int, int]


class Batch(NamedTuple):
    """Changes that travel together."""

    sequence: int
    rows: bytes
    reports: tuple[int, ...] = ()


class History:
    """The last batches without a gap, for those who missed one."""

    def __init__(self, after: int = 0) -> None:
        self._batches: deque[Batch] = deque()
        self._bytes = 0
        self.head = after

    @property
    def oldest(self) -> int:
        """The first that can be had; head + 1 when none can."""
        return self.head + 1 - len(self._batches)

    def add(self, batch: Batch) -> None:
        """Take the next one."""
        self.head = batch.sequence
        self._batches.append(batch)
        self._bytes += len(batch.rows)
        while len(self._batches) > MAX_BATCHES or self._bytes > MAX_BYTES:
            self._bytes -= len(self._batches.popleft().rows)

    def get(self, sequence: int) -> Batch | None:
        index = sequence - self.oldest
        return self._batches[index] if 0 <= index < len(self._batches) else None


class Lineage(NamedTuple):
    """Reigns and the number of the last change before each."""

    reigns: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, numbers: tuple[int, ...]) -> "Lineage":
        """Raises ClusterError."""
        return cls(pairs(numbers)[-MAX_REIGNS:])

    def numbers(self) -> tuple[int, ...]:
        return tuple(number for pair in self.reigns for number in pair)

    def then(self, reign: int, start: int) -> "Lineage":
        return Lineage((*self.reigns, (reign, start))[-MAX_REIGNS:])

    def end_of(self, reign: int, head: int) -> int | None:
        """The last change of a reign, when the present one has come to `head`; None for a reign
        that is not in here."""
        for index, (number, _) in enumerate(self.reigns):
            if number == reign:
                is_last = index + 1 == len(self.reigns)
                return head if is_last else self.reigns[index + 1][1]
        return None

    def common(self, other: "Lineage", head: int, other_head: int) -> int:
        """The last change that both have; 0 for none."""
        ends = (
            min(end, mine)
            for reign, _ in self.reigns
            if (end := other.end_of(reign, other_head)) is not None
            and (mine := self.end_of(reign, head)) is not None
        )
        return max(ends, default=0)
