"""The part of a node that is a slave."""

from typing import Final

from l2tpns_core.cluster.context import Context
from l2tpns_core.cluster.events import MasterFound, MasterLost, Replaced, RowsApplied, UpToDate
from l2tpns_core.cluster.history import Batch, Lineage
from l2tpns_core.cluster.messages import (
    Changes,
    Handover,
    Heartbeat,
    Piece,
    Ping,
    Resend,
    master_of,
)
from l2tpns_core.cluster.replica import Replica

ACK_S: Final = 0.01
"""How often the master is told at most that changes have come."""
REORDER_S: Final = 0.03
"""How long changes that overtook others wait for them before they are asked for."""
NEVER: Final = float("inf")


class Following:
    """A replica that follows a master, or has none to follow."""

    def __init__(self, context: Context, replica: Replica, now: float, saved_time: int) -> None:
        self._context = context
        self.replica = replica
        self.saved_time = saved_time
        self.reign = 0
        """That it follows; 0 for none."""
        self.heard_at = now
        self.elect_after = now + context.settings.timeout
        """Until then a master may still show up."""
        self._past_reign = 0
        """Of the last master: what still comes of it is late."""
        self._stamp = 0
        self._up_to_date = False
        self._ping_at = now
        self._gap_at = NEVER
        self._ack_at = NEVER
        self._acked_at = 0.0

    @property
    def master(self) -> int:
        return master_of(self.reign)

    def hears(self, now: float) -> bool:
        """Whether there is a master."""
        return bool(self.reign) and now < self.elect_after

    def _heard(self, now: float) -> None:
        self.heard_at, self.elect_after = now, now + self._context.settings.timeout

    def rest(self, now: float) -> None:
        """Be without a master for as long as one needs to make itself heard."""
        self.reign = self._past_reign = 0
        self.elect_after = now + self._context.settings.live
        self._gap_at = self._ack_at = NEVER
        self._ping_at = now
        self._up_to_date = self.replica.up_to_date

    # Masters

    def adopt(self, heartbeat: Heartbeat, now: float) -> None:
        """Follow a master from now on."""
        lineage = Lineage.of(heartbeat.lineage)
        replica = self.replica
        self.reign, self._past_reign = heartbeat.reign, 0
        self._heard(now)
        self._context.emit(MasterFound(self.master, self.reign))
        if replica.can_follow(lineage, heartbeat.head, heartbeat.oldest):
            replica.follow(heartbeat.reign, lineage, heartbeat.head)
        else:
            self._start_over(heartbeat, lineage, now)

    def lose(self, now: float, *, says_so: bool = False) -> None:
        """The master is none any more: it is silent, or says so."""
        if not self.reign:
            return
        self._context.emit(MasterLost(self.master))
        if says_so:
            self._past_reign = self.reign
            self.elect_after = now + 2 * self._context.settings.interval
        self.reign = 0
        self._gap_at = self._ack_at = NEVER

    def _start_over(self, heartbeat: Heartbeat, lineage: Lineage, now: float) -> None:
        self._context.counters.transfers += 1
        self.replica.start_over(heartbeat.reign, lineage, heartbeat.head, now)

    # Messages of the master

    def heartbeat(self, sender: int, message: Heartbeat, now: float) -> None:
        context, replica = self._context, self.replica
        is_other = self.hears(now) and sender != self.master
        is_late = sender == self.master and message.reign < self.reign
        if is_other or is_late or message.reign == self._past_reign:
            context.counters.strays += 1
            return
        if message.reign != self.reign:
            self.adopt(message, now)
        context.counters.heartbeats += 1
        context.settings.take_times(message.interval_ms / 1000, message.timeout_ms / 1000)
        self._heard(now)
        self._stamp = message.stamp
        replica.known_head = max(replica.known_head, message.head)
        if replica.applied >= 0 and message.oldest > replica.applied + 1:
            self._start_over(message, Lineage.of(message.lineage), now)
        self._review(now)

    def changes(self, message: Changes, now: float) -> None:
        if self._is_stray(message.reign, now):
            return
        was_receiving = self.replica.receiving is not None
        rows = self.replica.add(Batch(message.sequence, message.rows, message.reports))
        if rows and not was_receiving:
            self._context.emit(RowsApplied(rows))
        if not was_receiving:
            self._ack_at = min(self._ack_at, max(now, self._acked_at + ACK_S))
        self._after(now, was_receiving=was_receiving)

    def piece(self, message: Piece, now: float) -> None:
        if not self._is_stray(message.reign, now) and self.replica.receiving is not None:
            self.replica.add_piece(message, now)
            self._after(now, was_receiving=True)

    def _is_stray(self, reign: int, now: float) -> bool:
        """Whether a message is of another reign; one of this reign says that the master lives."""
        if reign != self.reign:
            self._context.counters.strays += 1
            return True
        self._heard(now)
        return False

    def _after(self, now: float, *, was_receiving: bool) -> None:
        replica = self.replica
        if was_receiving and replica.receiving is None and replica.image is not None:
            self._context.emit(Replaced(replica.image))
            self._ack_at = now
        self._review(now)

    def handover(self, message: Handover, now: float) -> bool:
        """Whether it is for this node to be master now."""
        if self._is_stray(message.reign, now):
            return False
        self.replica.known_head = max(self.replica.known_head, message.sequence)
        self._review(now)
        return message.successor == self._context.address and self.replica.up_to_date

    def _review(self, now: float) -> None:
        """What follows from a change of the replica."""
        replica = self.replica
        self._context.reporting.settle(replica.reports.get(self._context.address, 0))
        if replica.missing() is None:
            self._gap_at = NEVER
        elif self._gap_at == NEVER:
            self._gap_at = now + REORDER_S
        if replica.up_to_date != self._up_to_date:
            self._up_to_date = replica.up_to_date
            self._context.emit(UpToDate(self._up_to_date))

    # Time

    @property
    def timer(self) -> float:
        receiving = self.replica.receiving
        fetch_at = receiving.fetch_at if receiving is not None and self.reign else NEVER
        return min(self._ping_at, self._gap_at, self._ack_at, fetch_at)

    def handle_timer(self, now: float) -> None:
        context = self._context
        if now >= self._ping_at:
            self._ping_at = now + context.settings.interval
            self._beat(now)
        if now >= self._ack_at and self.reign:
            self._ack_at, self._acked_at = NEVER, now
            context.send(self.ping(now), now, self.master)
        missing = self.replica.missing() if now >= self._gap_at else None
        if missing is not None and self.reign:
            self._gap_at = now + max(REORDER_S, context.settings.interval / 5)
            context.counters.resends_asked += 1
            context.send(Resend(self.reign, *missing), now, self.master)
        receiving = self.replica.receiving
        if receiving is not None and self.reign and now >= receiving.fetch_at:
            context.send(receiving.fetch(now), now, self.master)

    def _beat(self, now: float) -> None:
        context = self._context
        context.send(self.ping(now), now)
        if not self.reign:
            return
        if now - self.heard_at > 2 * context.settings.interval:
            context.send(self.ping(now), now, self.master)  # multicast may be what is broken
        self.report(now)

    def report(self, now: float) -> None:
        """Send what no master has accounted for yet."""
        if self.reign:
            for report in self._context.reporting.to_send(self.reign):
                self._context.send(report, now, self.master)

    def ping(self, now: float, *, leaving: bool = False) -> Ping:
        context, replica = self._context, self.replica
        silence = min(now - self.heard_at, 1e6) if self.reign else 0.0
        hears = self.hears(now)
        return Ping(
            started=context.started,
            reign=replica.reign,
            sequence=replica.sequence,
            up_to_date=replica.up_to_date,
            hears_master=hears,
            silence_ms=max(int(silence * 1000), 0),
            saved_time=self.saved_time,
            draining=context.draining,
            leaving=leaving,
            highest_term=context.highest_term,
            follows=self.reign if hears else 0,
            echo=self._stamp if hears and context.promising else 0,
        )
