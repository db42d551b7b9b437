"""A daemon as a node of a cluster: follows what the node decides, one step after the other."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from typing import Final

from l2tpns_core.cluster import events
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.role import Role
from l2tpns_core.cluster.transport import ClusterTransport
from l2tpns_core.clustering.backends import Backend, start_backend
from l2tpns_core.clustering.counting import Counting
from l2tpns_core.clustering.forwarding import Passing, deliver
from l2tpns_core.clustering.host import Host
from l2tpns_core.clustering.keeper import ClusterKeeper, Gate, GatedPlane
from l2tpns_core.clustering.ledger import Ledger
from l2tpns_core.clustering.operators import Operators
from l2tpns_core.clustering.reporting import Complaints, log_change, report_of
from l2tpns_core.clustering.settings import TENTHS, ClusterPlace, started_ms
from l2tpns_core.clustering.tables import SlaveTables
from l2tpns_core.clustering.takeover import Takeover
from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.plane import DataPlane
from l2tpns_core.lns import Lns
from l2tpns_core.observe.cluster_report import ClusterReport
from l2tpns_core.state.image import Image
from l2tpns_core.state.records import Records

log = logging.getLogger("l2tpns.cluster")

SLICE: Final = 64
"""Sessions that are looked at before the loop is free again."""
COUNTERS_AT_ONCE: Final = 1000
COUNTERS_ROUND_S: Final = 30
"""As in state.journal: how often a master tells what its own plane has counted."""
DRAIN_INTERVALS: Final = 20
ROUTES_PAUSE_S: Final = 1.0
"""Time for routers to follow, before a node stops forwarding."""


class ClusterService:
    """Owns the node of this daemon. What is deferred is done by one task, in order."""

    def __init__(self, host: Host, place: ClusterPlace, saved_time: float) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._host = host
        self._place = place
        self._saved_time = int(saved_time)
        self.backend: Backend | None = None
        """What elects the master, if the nodes do not."""
        lns, plane = host.lns, host.plane
        self.keeper = ClusterKeeper(Records(lns, plane), loop.time)
        self.node = self.keeper.node = ClusterNode(
            place.settings,
            self.keeper,
            loop.time(),
            started_ms=started_ms(),
            wall_ahead=time.time() - loop.time(),
            saved_time=self._saved_time,
        )
        self.gate = Gate(self.keeper, loop.time)
        self.counting = Counting(plane, self._wall_ahead)
        self.tables = SlaveTables(plane, host.routes, self.counting, host.mru, host.shows_packets)
        self._complaints = Complaints()
        self.ledger = Ledger(
            host.courier, self.gate, self._hold_s, lns.keeper.report_sent, lambda: self._decides
        )
        self.passing = Passing(self._pass, self.tables.is_away)
        self.since = time.time()
        """When this node came to be what it is; Unix time."""
        self.takeovers = 0
        self._decides = False
        """Whether the LNS is at work."""
        self._transport: ClusterTransport | None = None
        self._kick_due = False
        self._later: deque[Callable[[], Awaitable[None] | None]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._operators = Operators(self.node, host, lambda: self._decides, self.kick)
        self.lost_changes = 0
        self.draws_traffic = False
        self._takeover = Takeover(host, self.keeper, self.tables, self.counting)
        self.keeper.on_offer = self.kick

    def start(self) -> None:
        """Come up as a slave."""
        place = self._place
        self._host.suspend()
        self._connect()
        self._transport = ClusterTransport(
            self.node, place.sock, self._on_event, group=place.group, port=place.port,
            peers=place.peers,
        )  # fmt: skip
        self.backend = start_backend(self.node, self._transport, place, self._saved_time)
        self._ticker = self._loop.create_task(self._tick(), name="cluster counters")

    async def close(self) -> None:
        """Say goodbye and stop."""
        for task in (self._ticker, self._worker):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._transport is not None:
            if self.node.role is not Role.STOPPED:
                self.node.leave(self._loop.time())
            self._transport.close()
            self._transport = None
        if self.backend is not None:
            await self.backend.stop()

    @property
    def place(self) -> ClusterPlace:
        return self._place

    @property
    def lns(self) -> Lns:
        return self._host.lns

    def now(self) -> float:
        return self._loop.time()

    # What the daemon asks

    @property
    def decides(self) -> bool:
        """Whether this node is a master at work."""
        return self._decides

    def gated(self, plane: DataPlane) -> DataPlane:
        """The plane as the LNS of a master sees it."""
        return GatedPlane(plane, self.gate)

    def configure(self, config: Config) -> None:
        """Other times; those of the master hold."""
        interval, timeout = config.cluster_hb_interval, config.cluster_hb_timeout
        self.node.settings.take_times(interval / TENTHS, timeout / TENTHS)

    async def drain(self) -> bool:
        """Have nothing depend on this node; False when no other node takes over."""
        if self.node.role is Role.STOPPED:
            return False
        if self._decides and not self.node.followers(self._loop.time()):
            return False
        if self._decides:
            await self._finish_logins()
        drained = self._drained
        if drained is None or drained.done():
            drained = self._drained = self._loop.create_future()
            self.node.drain(self._loop.time())
            self._kick()  # at once: who resigns decides nothing any more
        patience_s = DRAIN_INTERVALS * self.node.settings.interval
        await asyncio.wait((drained,), timeout=patience_s)
        if not drained.done():
            self.undrain()
        return drained.done()

    def undrain(self) -> None:
        """Take part again."""
        self.node.undrain(self._loop.time())
        if self._decides:
            self._host.lns.endpoint.accepting = True
        self.kick()

    def refresh(self) -> None:
        """Plugins want to see packets, or no longer do: look at every session of a slave again."""
        image = self.node.replica.image
        if not self._decides and image is not None:
            self._do(lambda: self.tables.follow(image))

    async def leave(self) -> bool:
        """Before the end of the process: True when other nodes go on with everything."""
        if not await self.drain():
            return False
        await self._idle()
        if self._decides:
            return False
        self._host.want_routes(False)
        await asyncio.sleep(ROUTES_PAUSE_S)
        await self._report_all()
        self.node.leave(self._loop.time())
        self.kick()
        return True

    def kick(self) -> None:
        """Have the transport send what there is, at the end of this turn of the loop."""
        if not self._kick_due:
            self._kick_due = True
            self._loop.call_soon(self._kick)

    def _kick(self) -> None:
        self._kick_due = False
        if self._transport is not None:
            self._transport.kick()

    # Events of the node

    def _on_event(self, event: events.Event) -> None:
        """What can wait, waits for its turn; packets and gates do not."""
        if self.backend is not None:
            self.backend.on_event(event)
        match event:
            case events.Forwarded():
                self._forwarded(event)
            case events.Safe():
                if self._decides:
                    self.gate.opened(event.count)
            case events.RoutesWanted():
                self._do(lambda: self._draw_traffic(event.value))  # when the plane has it all
            case events.Drained():
                if self._drained is not None and not self._drained.done():
                    self._drained.set_result(None)
            case events.Resigning():
                log.warning("cluster: %s is to take over", IPv4Address(event.successor))
                self._suspend()
            case events.Resumed():
                self._do(self._resume)
            case events.BecameMaster():
                self._do(lambda: self._become_master(event))
            case events.SteppedDown():
                self._suspend()
                self.gate.drop()
                self.ledger.drop()
                self._do(lambda: self._step_down(event))
            case events.Replaced():
                self._do(lambda: self._follow(event.image))
            case events.RowsApplied():
                self._do(lambda: self.tables.apply(event.rows))
            case events.CountsReported():
                self._do(lambda: self._credit(event))
            case events.Asked():
                self._operators.asked(event)
            case events.Answered():
                self._operators.answered(event)
            case _:
                log_change(event)

    def _do(self, step: Callable[[], Awaitable[None] | None]) -> None:
        """Take a step when those before it are done: at once, if it can be."""
        self._later.append(step)
        if self._worker is None:
            self._go_on()

    def _go_on(self) -> None:
        while self._later:
            rest = None
            try:
                rest = self._later.popleft()()
            except Exception:
                log.exception("a step of the cluster failed")
            if rest is not None:
                self._worker = self._loop.create_task(self._wait_for(rest), name="cluster step")
                return

    async def _wait_for(self, rest: Awaitable[None]) -> None:
        try:
            await rest
        except Exception:
            log.exception("a step of the cluster failed")
        self._worker = None
        self._go_on()

    async def _idle(self) -> None:
        """Wait until all steps are done."""
        while self._worker is not None:
            await asyncio.gather(self._worker, return_exceptions=True)

    # Deciding, and not

    def _suspend(self) -> None:
        """Decide nothing from now on; what there is stays."""
        if self._decides:
            self._decides = False
            self._host.suspend()
            self._connect()

    def _resume(self) -> None:
        if self.node.is_master:
            self._decides = True
            self._host.resume()
            self._connect()
            self.ledger.resume()
            self.keeper.commit()
            self.gate.opened(self.node.safe)

    def _connect(self) -> None:
        self._host.connect()

    async def _become_master(self, event: events.BecameMaster) -> None:
        self.since = time.time()
        self.takeovers += 1
        self.ledger.begin()
        try:
            await self._takeover.take(event)
        except Exception:
            log.exception("cluster: this node cannot take over")
            self._host.stop("takeover that failed")  # another node can, perhaps
            return
        if not self.node.is_master or self.node.reign != event.reign:
            return
        self._resume()
        await self._takeover.announce()
        log.warning("cluster: this node is the master")

    async def _step_down(self, event: events.SteppedDown) -> None:
        self.since = time.time()
        self.lost_changes += event.lost_changes
        log.warning(
            "cluster: this node is master no more: %s (%d changes are lost)",
            event.why,
            event.lost_changes,
        )
        self.counting.start(self.keeper.records.counted)
        self._host.lns.keeper.discard(self.keeper)
        self.keeper.is_ready = False
        await self._host.pause_journal()

    async def _follow(self, image: Image) -> None:
        """Serve what the master says, instead of what was here."""
        await self._takeover.give_up()
        self.ledger.forget()
        await self.tables.follow(image)
        await self._host.settle()
        log.warning("cluster: %d sessions are known here", len(image.sessions))

    def _draw_traffic(self, value: bool) -> None:
        self.draws_traffic = value
        self._host.want_routes(value)

    # Operators

    def report(self) -> ClusterReport:
        """How this node is, and the others."""
        return report_of(self)

    def draining(self) -> Callable[[], bool]:
        """What drains this node, to be called in a thread."""
        return lambda: asyncio.run_coroutine_threadsafe(self.drain(), self._loop).result()

    def asking(
        self, line: str, *, privileged: bool, as_json: bool
    ) -> Callable[[], tuple[str, bool]]:
        """As Operators.asking()."""
        return self._operators.asking(line, privileged=privileged, as_json=as_json)

    # Packets and counters

    def _pass(self, channel: int, packet: bytes, source: tuple[int, int], local: int) -> bool:
        done = self.node.forward(channel, packet, self._loop.time(), source, local)
        if done:
            self.kick()
        return done

    def _forwarded(self, event: events.Forwarded) -> None:
        if not self._decides:
            return
        try:
            known = deliver(event, self._host.lns_events, self._host.plane, self._loop.time())
        except Exception:  # as in the plane: a packet costs nothing but itself
            log.exception("a packet from %s was not handled", IPv4Address(event.node))
            known = False
        self.node.counters.strays += not known

    def _credit(self, event: events.CountsReported) -> None:
        """Sessions have used something at a slave."""
        if self.node.is_master:
            rows = self.ledger.credit(
                event.counts, self._host.lns, self._host.plane, self.keeper.records,
                self._wall_ahead(),
            )  # fmt: skip
            self.keeper.offer(rows, {event.node: event.number})

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.node.settings.interval)
            try:
                await self._tell_counters()
            except Exception:  # the next turn may do better
                log.exception("counters were not told")
            self._complaints.look(self.node.counters.refused, self._loop.time())

    async def _tell_counters(self) -> None:
        """What this node has counted since the last turn: to the slaves, or to the master."""
        if self._decides:
            lns = self._host.lns
            share = len(lns.sessions) * self.node.settings.interval / COUNTERS_ROUND_S
            keys = self.keeper.records.next_in_turn(max(COUNTERS_AT_ONCE, int(share)))
            await self._in_slices(keys, self.keeper.tell_counters)
            if self._decides:
                self.keeper.offer([self.keeper.records.time("w")])
        elif self._worker is None and self.node.master not in (0, self._place.settings.address):
            keys = self.counting.in_turn(self.tables.keys, len(self.tables))
            await self._in_slices(keys, self._report)
            self._send_reports()

    async def _in_slices(self, keys: list[int], work: Callable[[list[int]], None]) -> None:
        """Do something about sessions, as long as this node stays what it is."""
        decides = self._decides
        for start in range(0, max(len(keys), 1), SLICE):
            if self._decides is decides:
                work(keys[start : start + SLICE])
            await asyncio.sleep(0)

    def _report(self, keys: list[int]) -> None:
        if self.node.role is not Role.SLAVE:
            return  # the takeover takes it
        counts = self.counting.take(keys)
        if counts and not self.node.report(counts):
            self.counting.give_back(counts)

    def _send_reports(self) -> None:
        self.node.send_reports(self._loop.time())
        self.kick()

    async def _report_all(self) -> None:
        """The last counts of this node, and time to send them. What it served as master may not
        be in the tables yet."""
        keys = dict.fromkeys((*self.tables.keys, *self._host.lns.sessions))
        await self._in_slices(list(keys), self._report)
        self._send_reports()
        await asyncio.sleep(self.node.settings.interval)

    async def _finish_logins(self) -> None:
        """Let logins that are under way end before another node takes over."""
        self._host.lns.endpoint.accepting = False
        await self._host.finish_logins()
        await self._in_slices(list(self._host.lns.sessions), self.keeper.tell_counters)
        await self.ledger.flush()

    def _wall_ahead(self) -> float:
        return time.time() - self._loop.time()

    def _hold_s(self) -> float:
        """How long the Stop of a session waits for what slaves have counted of it."""
        node = self.node
        return 2 * node.settings.interval if node.followers(self._loop.time()) else 0.0
