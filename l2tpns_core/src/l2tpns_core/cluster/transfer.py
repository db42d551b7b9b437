"""All rows for a slave that cannot go on from where it is.

The master reads them slice by slice while changes go on. Every piece says after which change it was
read, and the slave takes pieces and changes in that order: so each row is as it was at one time,
and no change is applied to a row that has it already.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from l2tpns_core.cluster.history import Batch
from l2tpns_core.cluster.messages import Fetch, Piece
from l2tpns_core.cluster.rows import Row, packed

WINDOW: Final = 64
"""Pieces that are under way."""
MAX_MISSING: Final = 32
FETCH_EVERY: Final = 16
"""Pieces after which the slave asks for more."""
FETCH_S: Final = 0.1
"""Time without a piece after which it asks again."""
MAX_WAITING: Final = 8_192
"""Batches of changes that a slave keeps for later."""


class Sending:
    """A transfer at the master."""

    def __init__(self, transfer: int, reign: int, slices: Iterator[Sequence[Row]]) -> None:
        self.transfer = transfer
        self._reign = reign
        self._slices = slices
        self._next = 0
        self._wanted = 0
        self._asked = -1
        self._kept: dict[int, Piece] = {}
        self._ended = False
        self.active_at = 0.0

    @property
    def has_work(self) -> bool:
        return not self._ended and self._next < self._wanted + WINDOW

    def fetch(self, request: Fetch) -> list[Piece]:
        """Take what the slave says; return what it has missed."""
        for number in range(self._wanted, min(request.next_piece, self._next)):
            self._kept.pop(number, None)
        stuck = request.next_piece == self._asked
        self._asked = request.next_piece
        self._wanted = min(max(self._wanted, request.next_piece), self._next)
        missing: Iterable[int] = request.missing[:MAX_MISSING]
        if stuck and not request.missing:  # the last ones were lost, which it cannot know
            missing = range(self._wanted, self._wanted + MAX_MISSING)
        return [self._kept[number] for number in missing if number in self._kept]

    def work(self, head: int, reports: tuple[int, ...]) -> list[Piece]:
        """Read the next slice, which is as it is after change `head`. Raises ClusterError."""
        rows = next(self._slices, None)
        if rows is None:
            self._ended = True
            return [self._add(head, b"", is_last=True, reports=reports)]
        return [self._add(head, data) for data, _ in packed(rows)]

    def _add(
        self, head: int, rows: bytes, *, is_last: bool = False, reports: tuple[int, ...] = ()
    ) -> Piece:
        piece = Piece(self._reign, self.transfer, self._next, head, rows, is_last, reports)
        self._kept[self._next] = piece
        self._next += 1
        return piece


class Receiving:
    """A transfer at a slave: what of it is to be applied next."""

    def __init__(self, transfer: int, reign: int, now: float) -> None:
        self.transfer = transfer
        self.reign = reign
        self.sequence = -1
        """The last change that is in what was applied; -1 before the first piece."""
        self.next_piece = 0
        self._pieces: dict[int, Piece] = {}
        self._since_fetch = 0
        self.fetch_at = now

    def add(self, piece: Piece, now: float) -> None:
        beyond = self.next_piece + 4 * WINDOW
        if piece.transfer == self.transfer and self.next_piece <= piece.number < beyond:
            self._pieces[piece.number] = piece
            self._since_fetch += 1
            due = self._since_fetch >= FETCH_EVERY
            self.fetch_at = now if due else now + FETCH_S

    def next(self, waiting: dict[int, Batch]) -> Piece | Batch | None:
        """The piece or the changes that come next; None when those are not here."""
        piece = self._pieces.get(self.next_piece)
        if piece is None:
            return None
        if self.sequence < 0:
            self.sequence = piece.sequence
        if piece.sequence > self.sequence:
            batch = waiting.pop(self.sequence + 1, None)
            if batch is not None:
                self.sequence = batch.sequence
            return batch
        del self._pieces[self.next_piece]
        self.next_piece += 1
        return piece

    def fetch(self, now: float) -> Fetch:
        """What to ask the master for."""
        self._since_fetch = 0
        self.fetch_at = now + FETCH_S
        top = max(self._pieces, default=self.next_piece)
        missing = [n for n in range(self.next_piece, top) if n not in self._pieces]
        return Fetch(self.reign, self.transfer, self.next_piece, tuple(missing[:MAX_MISSING]))

    @property
    def wants_changes(self) -> bool:
        """Whether it waits for changes rather than for a piece."""
        return self.next_piece in self._pieces
