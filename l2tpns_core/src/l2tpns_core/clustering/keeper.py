"""Tells the slaves what changes, and holds back what must not be seen before they know it."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from l2tpns_core.cluster.errors import ClusterError
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.role import NotMasterError
from l2tpns_core.dataplane.plane import DataPlane, PassedOn, Peer
from l2tpns_core.lns.state import TunnelEntry
from l2tpns_core.radius.model import AccountingRecord
from l2tpns_core.session import Session
from l2tpns_core.state.records import Record, Records
from l2tpns_core.state.reports import SavedReport

log = logging.getLogger("l2tpns.cluster")


class ClusterKeeper:
    """The Keeper of an LNS (lns.state.Keeper) and the Source of a node (cluster.office.Source)."""

    def __init__(self, records: Records, clock: Callable[[], float]) -> None:
        self.records = records
        self.node: ClusterNode
        """Set before anything is told: node and keeper need each other."""
        self.on_offer: Callable[[], None] = lambda: None
        """There is something to send."""
        self.count = 0
        """Rows that were offered."""
        self.is_ready = False
        """Whether the tables of the LNS are complete, so that others may have them."""
        self._clock = clock
        self._waiting: list[Record] = []

    # lns.state.Keeper

    def session_changed(self, session: Session) -> None:
        self.records.session_changed(session)

    def session_ended(self, session: Session) -> None:
        self.records.session_ended(session)

    def tunnel_changed(self, entry: TunnelEntry) -> None:
        self.records.tunnel_changed(entry)

    def report_sent(self, record: AccountingRecord) -> None:
        self.offer(self.records.report_sent(record))

    def report_settled(self, record: AccountingRecord) -> None:
        self.offer(self.records.report_settled(record))

    def commit(self) -> None:
        """Tell what was noted. Never raises."""
        if self.is_ready and self.node.is_master and (self.records.has_changes or self._waiting):
            self.offer(self.records.changes())

    # cluster.office.Source

    def everything(self) -> Iterator[Sequence[Record]]:
        return self.records.everything()

    # What the service does with it

    def offer(self, rows: list[Record], reports: Mapping[int, int] | None = None) -> None:
        """Tell rows; later, when this node does not decide now. Those that fit into no message
        are left out."""
        rows, self._waiting = self._waiting + rows, []
        if not rows and not reports:
            return
        try:
            self.count = self.node.offer(rows, self._clock(), reports)
        except NotMasterError:
            self._waiting = rows
            return
        except ClusterError:
            for row in rows:
                self._offer_alone(row)
            if reports:  # what they were about is accounted for, whatever was left out
                self.node.offer([], self._clock(), reports)
        self.on_offer()

    def tell_counters(self, keys: Iterable[int]) -> None:
        """Tell the counters of sessions that have changed."""
        self.offer(list(self.records.counters_of(keys)))

    def forget(self) -> None:
        """The state is another's: nothing of what was here is to be told any more."""
        self.count = 0
        self._waiting.clear()
        self.records.forget_changes()
        self.records.start_over()
        self.records.take_reports()

    def begin_again(self) -> list[SavedReport]:
        """Be master again with the state that was here before: what was not told yet will be.
        Returns the reports that were given up when this node stepped down."""
        self.count = 0
        self.records.forget_tunnels()
        return self.records.take_reports()

    def _offer_alone(self, row: Record) -> None:
        try:
            self.count = self.node.offer([row], self._clock())
        except (ClusterError, NotMasterError) as error:
            log.error("slaves are not told of something that has changed: %s", error)


class Gate:
    """Lets through what outsiders may see as soon as all slaves that are up to date could go on
    from it: so that nobody was told what the next master knows nothing of."""

    def __init__(self, keeper: ClusterKeeper, clock: Callable[[], float]) -> None:
        self._keeper = keeper
        self._clock = clock
        self._held: deque[tuple[int, Callable[[], None]]] = deque()

    def pass_on(self, action: Callable[[], None]) -> None:
        """Do something, now or later, and everything in this order."""
        node, count = self._keeper.node, self._keeper.count
        if not node.is_master:  # what it comes from could not be offered
            self._held.append((count + 1, action))
        elif not self._held and (node.safe >= count or not node.followers(self._clock())):
            action()
        else:
            self._held.append((count, action))

    def opened(self, count: int) -> None:
        """The slaves have all rows up to a count."""
        while self._held and self._held[0][0] <= count:
            self._held.popleft()[1]()

    def drop(self) -> None:
        """What is held is not to be seen any more."""
        self._held.clear()


class GatedPlane(PassedOn):
    """A DataPlane whose control messages go through a gate: what LACs see acknowledged is safe."""

    __slots__ = ("_gate",)

    def __init__(self, plane: DataPlane, gate: Gate) -> None:
        super().__init__(plane)
        self._gate = gate

    def send_control(self, datagrams: Iterable[tuple[bytes, Peer, str]]) -> None:
        self._gate.pass_on(partial(self._plane.send_control, list(datagrams)))
