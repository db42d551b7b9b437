"""What a master has in hand as long as it reigns."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from l2tpns_core.cluster.history import Batch, History, Lineage, Reports
from l2tpns_core.cluster.messages import Changes, Fetch, Heartbeat, Piece, Report, Resend
from l2tpns_core.cluster.replica import MAX_RESEND
from l2tpns_core.cluster.rows import Row, check, packed
from l2tpns_core.cluster.transfer import Sending

FLUSH_S: Final = 0.01
"""How long changes wait for others to travel with."""
MAX_SENDINGS: Final = 8
"""Slaves that are given all rows at the same time; others wait."""


class Source(Protocol):
    """The state of a master, at its user."""

    @property
    def is_ready(self) -> bool:
        """Whether the state is complete; nobody is given what is not."""

    def commit(self) -> None:
        """Offer all changes that were not offered yet."""

    def everything(self) -> Iterator[Sequence[Row]]:
        """All rows in slices, each as it is when it is asked for."""


class Office:
    """Changes on their way out, and transfers."""

    def __init__(
        self, reign: int, lineage: Lineage, history: History, reports: Reports, source: Source
    ) -> None:
        self.reign = reign
        self.lineage = lineage.then(reign, history.head)
        self.history = history
        self.reports = dict(reports)
        self._source = source
        self._heard_reports = dict(reports)
        self._queue: list[Row] = []
        self._new_reports: Reports = {}
        self.flush_at = float("inf")
        self.count = 0
        """Rows that were offered."""
        self.safe = 0
        """Of these, how many all slaves that are up to date have."""
        self._ends: dict[int, int] = {}
        """Batches that some slave does not have, and the count at the end of each."""
        self._sendings: dict[int, Sending] = {}
        self.successor = 0
        """The node that this master resigns in favour of; 0 for none."""
        self.resigned_at = 0.0

    @property
    def head(self) -> int:
        return self.history.head

    # Changes

    def offer(self, rows: Sequence[Row], reports: Mapping[int, int], now: float) -> int:
        """Raises ClusterError for a row that is too large; then none of them is taken."""
        check(rows)
        self._queue += rows
        self._new_reports.update(reports)
        self.count += len(rows)
        self.flush_at = min(self.flush_at, now + FLUSH_S)
        return self.count

    def flush(self) -> list[Changes]:
        """The changes that were offered, as messages."""
        self.flush_at = float("inf")
        rows, reports = self._queue, tuple(n for pair in self._new_reports.items() for n in pair)
        self._queue = []
        self.reports.update(self._new_reports)
        self._new_reports = {}
        found, count = [], self.count - len(rows)
        for data, number in packed(rows) if rows else ((b"", 0),) if reports else ():
            count += number
            batch = Batch(self.head + 1, data, reports)
            reports = ()
            self.history.add(batch)
            self._ends[batch.sequence] = count
            found.append(self._message(batch))
        return found

    def acknowledged(self, sequence: int) -> bool:
        """All slaves that are up to date have the changes up to here; whether that is news."""
        before = self.safe
        for number in [number for number in self._ends if number <= sequence]:
            self.safe = max(self.safe, self._ends.pop(number))
        return self.safe > before

    def resend(self, request: Resend) -> list[Changes]:
        numbers = range(request.first, min(request.last, request.first + MAX_RESEND - 1) + 1)
        batches = (self.history.get(number) for number in numbers)
        return [self._message(batch) for batch in batches if batch is not None]

    def _message(self, batch: Batch) -> Changes:
        return Changes(self.reign, batch.sequence, batch.rows, batch.reports)

    def heartbeat(
        self, started: int, interval: float, timeout: float, followers: int, stamp: int
    ) -> Heartbeat:
        return Heartbeat(
            self.reign,
            started,
            self.head,
            self.history.oldest,
            self.lineage.numbers(),
            int(interval * 1000),
            int(timeout * 1000),
            followers,
            stamp,
        )

    # Reports of slaves

    def take_report(self, node: int, report: Report) -> bool:
        """Whether this report is the next of its node."""
        last = max(self._heard_reports.get(node, 0), report.after)
        if report.number != last + 1:
            return False
        self._heard_reports[node] = report.number
        return True

    def resume(self) -> None:
        """Nobody takes over: reports that were heard and not accounted for are taken again."""
        self.successor = 0
        self._heard_reports = {**self.reports, **self._new_reports}

    # Transfers

    @property
    def has_work(self) -> bool:
        return self._source.is_ready and any(
            sending.has_work for sending in self._sendings.values()
        )

    def fetch(self, node: int, request: Fetch, now: float) -> list[Piece]:
        """Begin or go on with a transfer; return pieces that got lost."""
        sending = self._sendings.get(node)
        if sending is None or sending.transfer != request.transfer:
            if sending is None and len(self._sendings) >= MAX_SENDINGS:
                return []
            sending = Sending(request.transfer, self.reign, self._source.everything())
            self._sendings[node] = sending
        sending.active_at = now
        return sending.fetch(request)

    def work(self) -> tuple[int, list[Piece]]:
        """Read one slice for one slave: it must be all that was flushed, and no more."""
        for node, sending in self._sendings.items():
            if sending.has_work:
                self._sendings[node] = self._sendings.pop(node)  # in turn
                reports = tuple(n for pair in self.reports.items() for n in pair)
                return node, sending.work(self.head, reports)
        return 0, []

    def commit(self) -> None:
        self._source.commit()

    def drop_transfers(self, before: float) -> None:
        """Forget slaves that have not asked since a time."""
        for node in [n for n, each in self._sendings.items() if each.active_at < before]:
            del self._sendings[node]
