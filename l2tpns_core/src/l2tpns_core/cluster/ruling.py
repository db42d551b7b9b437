"""The part of a node that is the master."""

from typing import Final

from l2tpns_core.cluster.context import Context
from l2tpns_core.cluster.counts import unpack_counts
from l2tpns_core.cluster.events import CountsReported, Resigning, Resumed, Safe
from l2tpns_core.cluster.membership import rank
from l2tpns_core.cluster.messages import Fetch, Handover, Heartbeat, Ping, Report, Resend
from l2tpns_core.cluster.office import Office

RESIGN_INTERVALS: Final = 10
"""Time for a successor to take over."""


class Ruling:
    """An office and those who depend on it."""

    def __init__(self, context: Context, office: Office, now: float) -> None:
        self._context = context
        self.office = office
        self._beat_at = now
        self._silenced_at: dict[int, float] = {}

    # What is asked of it

    def ping(self, sender: int, ping: Ping, now: float) -> None:
        """A slave tells how far it is."""
        settings = self._context.settings
        late = not ping.hears_master or ping.silence_ms > 2000 * settings.interval
        if late and now >= self._silenced_at.get(sender, 0.0):
            self._silenced_at[sender] = now + settings.interval
            self._context.send(self.heartbeat(now), now, sender)
        self.review_safety(now)

    def resend(self, sender: int, request: Resend, now: float) -> None:
        if request.reign == self.office.reign:
            for message in self.office.resend(request):
                self._context.counters.resends_answered += 1
                self._context.send(message, now, sender)

    def fetch(self, sender: int, request: Fetch, now: float) -> None:
        if request.reign == self.office.reign:
            for piece in self.office.fetch(sender, request, now):
                self._context.send(piece, now, sender)

    def report(self, sender: int, report: Report) -> None:
        if report.reign != self.office.reign or self.office.successor:
            return
        counts = unpack_counts(report.counts)
        if self.office.take_report(sender, report):
            self._context.emit(CountsReported(sender, report.number, counts))

    # Its slaves

    def followers(self, now: float) -> list[tuple[int, Ping]]:
        since = now - self._context.settings.live
        return self._context.members.followers(self.office.reign, since)

    def review_safety(self, now: float) -> None:
        """Tell when all slaves that are up to date have more than before."""
        sequences = [ping.sequence for _, ping in self.followers(now)]
        if self.office.acknowledged(min(sequences, default=self.office.head)):
            self._context.emit(Safe(self.office.safe))

    def weight(self, now: float) -> tuple[int, int, int]:
        """Of two masters the one that weighs more stays."""
        return (len(self.followers(now)), self.office.head, self.office.reign)

    # Resigning

    def resign(self, now: float) -> None:
        """Hand over to the best slave as soon as one has everything."""
        office = self.office
        self.flush(now)
        ready = [
            (rank(ping, address), address)
            for address, ping in self.followers(now)
            if ping.sequence == office.head
        ]
        if not ready:
            return
        office.successor, office.resigned_at = max(ready)[1], now
        self._context.emit(Resigning(office.successor))
        self._hand_over(now)

    def _hand_over(self, now: float) -> None:
        office = self.office
        self._context.send(Handover(office.reign, office.successor, office.head), now)

    # Time

    @property
    def timer(self) -> float:
        if self.office.has_work:
            return float("-inf")
        return min(self._beat_at, self.office.flush_at)

    def handle_timer(self, now: float) -> None:
        if now >= self._beat_at:
            self._beat_at = now + self._context.settings.interval
            self._beat(now)
        elif now >= self.office.flush_at:
            self.flush(now)
        elif self.office.has_work:
            self._work(now)

    def flush(self, now: float) -> None:
        for changes in self.office.flush():
            self._context.send(changes, now)
        self.review_safety(now)

    def _beat(self, now: float) -> None:
        office, interval = self.office, self._context.settings.interval
        office.drop_transfers(now - self._context.settings.timeout)
        if office.successor and now - office.resigned_at > RESIGN_INTERVALS * interval:
            office.resume()
            self._context.emit(Resumed())
        if office.successor:
            self._hand_over(now)
            return
        self.flush(now)
        self._context.send(self.heartbeat(now), now)
        self.review_safety(now)
        if self._context.draining:
            self.resign(now)

    def _work(self, now: float) -> None:
        if not self.office.successor:
            self.office.commit()
            self.flush(now)
        node, pieces = self.office.work()
        for piece in pieces:
            self._context.counters.pieces_sent += 1
            self._context.send(piece, now, node)

    def heartbeat(self, now: float) -> Heartbeat:
        settings = self._context.settings
        return self.office.heartbeat(
            self._context.started,
            settings.interval,
            settings.timeout,
            len(self.followers(now)),
            int(now * 1000),
        )
