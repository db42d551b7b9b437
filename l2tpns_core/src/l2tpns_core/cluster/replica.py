"""What a slave knows of the state, and which changes it waits for."""

from typing import Final

from l2tpns_core.cluster.counters import ClusterCounters
from l2tpns_core.cluster.errors import ClusterError
from l2tpns_core.cluster.history import Batch, History, Lineage, Reports
from l2tpns_core.cluster.messages import Piece, pairs
from l2tpns_core.cluster.rows import Row, unpack
from l2tpns_core.cluster.transfer import MAX_WAITING, Receiving
from l2tpns_core.state.errors import StateError
from l2tpns_core.state.image import Image

MAX_RESEND: Final = 64
"""Batches that are asked for, or sent again, at once."""


class Replica:
    """An image, and its place in the course of changes."""

    def __init__(self, counters: ClusterCounters) -> None:
        self._counters = counters
        self.image: Image | None = None
        """None when the state is that of the node's user, or there is none."""
        self.history = History()
        self.lineage = Lineage()
        self.reign = 0
        self.complete = False
        """Whether there is a state, as of `sequence`."""
        self.known_head = 0
        self.reports: Reports = {}
        """The last report of each node that is in it."""
        self._waiting: dict[int, Batch] = {}
        self.receiving: Receiving | None = None
        self._fresh = Image()
        self._fresh_lineage = Lineage()
        self._transfers = 0

    @property
    def sequence(self) -> int:
        """The last change that it has."""
        return self.history.head

    @property
    def applied(self) -> int:
        """The last change that is in what grows: a transfer if there is one, and -1 before its
        first piece."""
        return self.sequence if self.receiving is None else self.receiving.sequence

    @property
    def up_to_date(self) -> bool:
        return self.complete and self.receiving is None and self.sequence >= self.known_head

    def can_follow(self, lineage: Lineage, head: int, oldest: int) -> bool:
        """Whether it is an earlier state of what a master has, and the rest can be had. What a
        node had as master is in its user's tables, where nothing is applied to."""
        end = lineage.end_of(self.reign, head)
        has_image = self.complete and self.image is not None
        return has_image and end is not None and oldest - 1 <= self.sequence <= end

    def follow(self, reign: int, lineage: Lineage, head: int) -> None:
        """Go on with the changes of a master."""
        self._waiting.clear()
        self.receiving = None
        self.reign, self.lineage, self.known_head = reign, lineage, head

    def start_over(self, reign: int, lineage: Lineage, head: int, now: float) -> None:
        """Have all rows from a master. What was there stays until they are here."""
        self._waiting.clear()
        self._transfers += 1
        self._fresh = Image()
        self.receiving = Receiving(self._transfers, reign, now)
        self._fresh_lineage, self.known_head = lineage, head

    def add(self, batch: Batch) -> list[Row] | None:
        """Take changes in; return the rows by which the image has changed, if it has."""
        self.known_head = max(self.known_head, batch.sequence)
        if batch.sequence <= self.applied or batch.sequence in self._waiting:
            self._counters.repeated += 1
        elif len(self._waiting) < MAX_WAITING or batch.sequence == self.applied + 1:
            self._waiting[batch.sequence] = batch
        return self._advance()

    def add_piece(self, piece: Piece, now: float) -> None:
        """Take a piece of the transfer in."""
        if self.receiving is not None and piece.reign == self.receiving.reign:
            self.receiving.add(piece, now)
            self._advance()

    def missing(self) -> tuple[int, int] | None:
        """The first and the last of the changes that are missing next; None for none."""
        if self.receiving is not None and not self.receiving.wants_changes:
            return None
        first = self.applied + 1
        last = min((*self._waiting, self.known_head + 1)) - 1
        return (first, min(last, first + MAX_RESEND - 1)) if first <= last else None

    def _advance(self) -> list[Row] | None:
        while self.receiving is not None:
            found = self.receiving.next(self._waiting)
            if found is None:
                return None
            self._apply(self._fresh, found.rows, found.reports)
            if isinstance(found, Piece) and found.is_last:
                self._finish(self.receiving)
        applied: list[Row] = []
        while (batch := self._waiting.pop(self.sequence + 1, None)) is not None:
            self.history.add(batch)
            if self.image is not None:
                applied += self._apply(self.image, batch.rows, batch.reports)
        return applied or None

    def _finish(self, receiving: Receiving) -> None:
        self.image, self.history = self._fresh, History(receiving.sequence)
        self.reign, self.lineage = receiving.reign, self._fresh_lineage
        self.receiving, self.complete = None, True
        self._waiting = {n: b for n, b in self._waiting.items() if n > receiving.sequence}

    def _apply(self, image: Image, data: bytes, reports: tuple[int, ...]) -> list[Row]:
        try:
            rows = unpack(data)
            self.reports.update(pairs(reports))
        except ClusterError:
            self._counters.rows_refused += 1
            return []
        for row in rows:
            try:
                image.apply_of_any_version(row)
            except StateError:
                self._counters.rows_refused += 1
        return rows
