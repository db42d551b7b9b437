"""A node of the cluster: the messages it gets, the time, and what it makes of them.

    node.receive(datagram, now)      then take next_event() and datagrams_to_send()
    node.handle_timer(now)           when get_timer() says so; likewise

All nodes come up as slaves. One that hears of no master for the timeout becomes master itself,
unless another node would be the better one.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from l2tpns_core.cluster import messages
from l2tpns_core.cluster.asking import Answer, Asking, Command, parts_of
from l2tpns_core.cluster.context import Context
from l2tpns_core.cluster.counters import ClusterCounters
from l2tpns_core.cluster.counts import Count
from l2tpns_core.cluster.errors import ClusterError, Refusal
from l2tpns_core.cluster.events import (
    Answered,
    Asked,
    BecameMaster,
    Drained,
    Event,
    Forwarded,
    NodeJoined,
    NodeLost,
    RoutesWanted,
    SteppedDown,
)
from l2tpns_core.cluster.following import Following
from l2tpns_core.cluster.history import Lineage
from l2tpns_core.cluster.membership import FORGET_TIMEOUTS, Members, rank
from l2tpns_core.cluster.messages import Forward, Heartbeat, Message, Ping, master_of, term_of
from l2tpns_core.cluster.office import Office, Source
from l2tpns_core.cluster.replica import Replica
from l2tpns_core.cluster.role import NotMasterError, Role
from l2tpns_core.cluster.rows import Row
from l2tpns_core.cluster.ruling import Ruling
from l2tpns_core.cluster.settings import ClusterSettings

NEVER: Final = float("inf")


class ClusterNode:
    """This node."""

    def __init__(
        self,
        settings: ClusterSettings,
        source: Source,
        now: float,
        *,
        started_ms: int,
        wall_ahead: float,
        saved_time: int = 0,
    ) -> None:
        """`started_ms` and `saved_time` are Unix times: of the start of the process, and of the
        state that is saved on this node's disk."""
        self._context = Context(settings, started_ms, wall_ahead)
        self._source = source
        self._following = Following(self._context, Replica(self._context.counters), now, saved_time)
        self._ruling: Ruling | None = None
        self._stopped = False
        self._elect_at = now
        self._ticked_at = now
        self._wants_routes = False
        self._unwanted_at = NEVER
        self._drained = False
        self._rivals: set[int] = set()
        self.appointed_until = NEVER
        """Until when it may be master; for who appoints it to say."""
        self.asking = Asking()

    # What there is to see

    @property
    def role(self) -> Role:
        if self._stopped:
            return Role.STOPPED
        if self._ruling is None:
            return Role.SLAVE
        return Role.RESIGNING if self._ruling.office.successor else Role.MASTER

    @property
    def is_master(self) -> bool:
        return self.role is Role.MASTER

    @property
    def reign(self) -> int:
        """The reign that this node is in; 0 for none."""
        return self._following.reign if self._ruling is None else self._ruling.office.reign

    @property
    def master(self) -> int:
        """Its address, 0 for none; our own when we are it."""
        if self._ruling is not None and self._ruling.office.successor:
            return self._ruling.office.successor
        return master_of(self.reign)

    @property
    def head(self) -> int:
        """The last change that this node has."""
        ruling = self._ruling
        return self._following.replica.sequence if ruling is None else ruling.office.head

    @property
    def up_to_date(self) -> bool:
        return self._ruling is not None or self._following.replica.up_to_date

    @property
    def started(self) -> int:
        """When its process came up: Unix time in milliseconds."""
        return self._context.started

    @property
    def is_draining(self) -> bool:
        return self._context.draining

    @property
    def counters(self) -> ClusterCounters:
        return self._context.counters

    @property
    def settings(self) -> ClusterSettings:
        return self._context.settings

    @property
    def members(self) -> Members:
        return self._context.members

    @property
    def replica(self) -> Replica:
        return self._following.replica

    def followers(self, now: float) -> int:
        """Slaves of this master that are up to date."""
        return 0 if self._ruling is None else len(self._ruling.followers(now))

    @property
    def safe(self) -> int:
        """The count of rows that all slaves that are up to date have."""
        return 0 if self._ruling is None else self._ruling.office.safe

    def promised(self, address: int) -> float:
        """The time from which on a slave wants no other master for the timeout, by its last ping;
        minus infinity when it has said nothing of the kind."""
        peer = self.members.peers.get(address)
        ping = None if peer is None else peer.ping
        if ping is None or self._ruling is None or ping.follows != self._ruling.office.reign:
            return -NEVER
        return ping.echo / 1000 if ping.echo else -NEVER

    def set_wall_ahead(self, ahead: float) -> None:
        """Unix time minus the time that we are told, when the clock was set."""
        self._context.wall_ahead = ahead

    # What the user wants

    def offer(
        self, rows: Sequence[Row], now: float, reports: Mapping[int, int] | None = None
    ) -> int:
        """Tell the slaves of changes; `reports` are those that these account for, by node. Returns
        the count of rows that Safe will tell of. Raises NotMasterError, and ClusterError for a row
        that is too large, when none of them is taken."""
        if not self.is_master or self._ruling is None or now >= self.appointed_until:
            raise NotMasterError
        return self._ruling.office.offer(rows, reports or {}, now)

    def report(self, counts: Mapping[int, Count]) -> bool:
        """Have the master account for what sessions used here; False when too much waits for it.
        It goes out with send_reports(), or with the next ping."""
        return self._ruling is None and self._context.reporting.add(counts)

    def send_reports(self, now: float) -> None:
        """Send what no master has accounted for yet."""
        if self._ruling is None:
            self._following.report(now)

    def forward(
        self, channel: int, packet: bytes, now: float, source: tuple[int, int], local: int = 0
    ) -> bool:
        """Pass a packet on to the master; False when there is none."""
        if self.master in (0, self._context.address):
            return False
        self.counters.forwarded += 1
        self._context.send(Forward(channel, *source, packet, local), now, self.master)
        return True

    def ask(self, line: str, now: float, *, privileged: bool, as_json: bool) -> int:
        """Have the master carry out an operator's command; Answered tells with this number what
        came of it. Raises LookupError when there is no master, or too much waits for it."""
        if self.master in (0, self._context.address):
            raise LookupError("No master is known: try again in a moment")
        try:
            command = self.asking.ask(line, privileged=privileged, as_json=as_json)
        except ClusterError as error:
            raise LookupError(str(error)) from None
        self._context.send(command, now, self.master)
        return command.request

    def answer(self, node: int, request: int, text: str, now: float, *, failed: bool) -> None:
        """Tell a slave what a command came to."""
        for part in parts_of(request, text, failed=failed):
            self._context.send(part, now, node)

    def drain(self, now: float) -> None:
        """Have nothing depend on this node any more; Drained tells when."""
        self._context.draining, self._drained = True, False
        if self._ruling is not None:
            self._ruling.resign(now)
        self._review(now)

    def undrain(self, now: float) -> None:
        self._context.draining = self._drained = False
        self._review(now)

    def leave(self, now: float) -> None:
        """Tell the others that this node stops."""
        if self._ruling is not None:
            self._ruling.flush(now)
            self._step_down("this node stops", now)
        self._context.send(self._following.ping(now, leaving=True), now)
        self._stopped = True

    def appoint(self, now: float, term: int = 0) -> None:
        """Be master, as something else has decided; `term` is at least the number of this
        decision."""
        self._context.highest_term = max(self._context.highest_term, term - 1)
        if self._ruling is None and not self._stopped:
            self._become_master(now)
        self._review(now)

    def promise(self, value: bool) -> None:
        """Whether this node, as a slave, waits for the timeout before it wants another master."""
        self._context.promising = value

    def dismiss(self, now: float, why: str = "another node was appointed") -> None:
        """Be master no more."""
        if self._ruling is not None:
            self._step_down(why, now)
        self._review(now)

    # The four calls

    def receive(self, data: bytes, now: float) -> None:
        """Take a datagram. Never raises; what is wrong is counted."""
        self._note_absence(now)
        try:
            opened = self._context.open(data, now)
            if opened is None or self._stopped:
                return
            self.counters.received += 1
            self._dispatch(*opened, now)
        except ClusterError as error:
            self.counters.refused[error.refusal] += 1
        self._review(now)

    def next_event(self) -> Event | None:
        return self._context.events.popleft() if self._context.events else None

    def datagrams_to_send(self) -> list[tuple[int | None, bytes]]:
        """Each with the node that it is for, or None for all."""
        found = list(self._context.outgoing)
        self._context.outgoing.clear()
        return found

    def get_timer(self) -> float:
        """When handle_timer() wants to be called; may be in the past."""
        if self._stopped:
            return NEVER
        if self._ruling is not None:
            return min(self._ruling.timer, self.appointed_until)
        return min(self._following.timer, self._elect_at)

    def handle_timer(self, now: float) -> None:
        self._note_absence(now)
        if self._stopped:
            return
        if self._ruling is not None:
            self._ruling.handle_timer(now)
        else:
            self._following.handle_timer(now)
            if now >= self._elect_at:
                self._elect_at = now + self.settings.interval
                self._consider_election(now)
        for address in self.members.forget(now - FORGET_TIMEOUTS * self.settings.timeout):
            self._context.emit(NodeLost(address))
        self._review(now)

    # Messages

    def _dispatch(self, sender: int, message: Message, now: float) -> None:
        if isinstance(message, Ping):
            self._ping(sender, message, now)
        elif isinstance(message, Heartbeat):
            self._heartbeat(sender, message, now)
        elif self._ruling is not None:
            self._to_master(self._ruling, sender, message, now)
        elif sender == self._following.master:
            self._of_master(message, now)
        else:
            self.counters.strays += 1

    def _to_master(self, ruling: Ruling, sender: int, message: Message, now: float) -> None:
        if isinstance(message, messages.Resend):
            ruling.resend(sender, message, now)
        elif isinstance(message, messages.Fetch):
            ruling.fetch(sender, message, now)
        elif isinstance(message, messages.Report):
            ruling.report(sender, message)
        elif isinstance(message, Forward):
            self._forwarded(sender, message)
        elif isinstance(message, Command):
            line = message.line.decode(errors="replace")
            rights = (message.privileged, message.as_json)
            self._context.emit(Asked(sender, message.request, line, *rights))
        else:
            self.counters.strays += 1

    def _of_master(self, message: Message, now: float) -> None:
        following = self._following
        if isinstance(message, messages.Changes):
            following.changes(message, now)
        elif isinstance(message, messages.Piece):
            following.piece(message, now)
        elif isinstance(message, messages.Handover):
            if following.handover(message, now) and self.settings.elects:
                self._become_master(now)
        elif isinstance(message, Answer):
            outcome = self.asking.take(message)
            if outcome is not None:
                self._context.emit(Answered(outcome))
        else:
            self.counters.strays += 1

    def _forwarded(self, sender: int, message: Forward) -> None:
        self.counters.forwarded += 1
        where = (message.address, message.port, message.local)
        self._context.emit(Forwarded(sender, message.channel, *where, message.packet))

    def _ping(self, sender: int, ping: Ping, now: float) -> None:
        context, following = self._context, self._following
        context.highest_term = max(context.highest_term, ping.highest_term)
        is_late = ping.highest_term < term_of(following.reign)
        if self._ruling is None and sender == following.master and not is_late:
            following.lose(now, says_so=True)  # it tells of itself, so it is no master
        if ping.leaving:
            if self.members.leave(sender):
                context.emit(NodeLost(sender))
            return
        if self.members.hear(sender, ping, now):
            context.emit(NodeJoined(sender))
        if self._ruling is not None:
            self._ruling.ping(sender, ping, now)

    def _heartbeat(self, sender: int, message: Heartbeat, now: float) -> None:
        if master_of(message.reign) != sender or not message.lineage:
            raise ClusterError(Refusal.BODY, "a heartbeat is of another node's reign")
        lineage = Lineage.of(message.lineage)
        self._context.highest_term = max(self._context.highest_term, term_of(message.reign))
        if self.members.hear(sender, None, now):
            self._context.emit(NodeJoined(sender))
        if self._ruling is not None:
            self._meet_rival(self._ruling, sender, message, lineage, now)
            return
        self._following.heartbeat(sender, message, now)

    def _meet_rival(
        self, ruling: Ruling, sender: int, message: Heartbeat, lineage: Lineage, now: float
    ) -> None:
        """There are two masters: the one with more slaves stays, then the one with more changes."""
        office = ruling.office
        mine, theirs = ruling.weight(now), (message.followers, message.head, message.reign)
        if not self.settings.elects:
            mine, theirs = (0, 0, office.reign), (0, 0, message.reign)
        if not office.successor and message.reign not in self._rivals:
            self._rivals.add(message.reign)
            self.counters.split_brains += 1
        if theirs > mine or office.successor:
            common = lineage.common(office.lineage, message.head, office.head)
            why = "the successor decides" if office.successor else "there was another master"
            self._step_down(why, now, lost=office.head - common)
            self._following.heartbeat(sender, message, now)
        else:
            self._context.send(ruling.heartbeat(now), now, sender)

    def _want_routes(self, wanted: bool, now: float, *, at_once: bool) -> None:
        """Others are given time to be in the routes before this node leaves them."""
        if wanted == self._wants_routes:
            self._unwanted_at = NEVER
            return
        self._unwanted_at = min(self._unwanted_at, now if at_once else now + self.settings.live)
        if now >= self._unwanted_at:
            self._wants_routes, self._unwanted_at = wanted, NEVER
            self._context.emit(RoutesWanted(wanted))

    # Who decides

    def _consider_election(self, now: float) -> None:
        """Become master if there is none, and no better node that could be."""
        following, settings = self._following, self.settings
        if now < following.elect_after:
            return
        following.lose(now)
        if not settings.elects or self._context.draining:
            return
        live = self.members.live(now - settings.live)
        pings = [(peer.ping, peer.address) for peer in live if peer.ping is not None]
        if any(ping.hears_master for ping, _ in pings) or len(live) + 1 < settings.quorum:
            return
        own = rank(following.ping(now), self._context.address)
        others = (rank(ping, address) for ping, address in pings if not ping.draining)
        self.counters.elections += 1
        if all(own > other for other in others):
            self._become_master(now)

    def _become_master(self, now: float) -> None:
        context, following = self._context, self._following
        replica = following.replica
        context.highest_term += 1
        reign = messages.reign_of(context.highest_term, context.address)
        office = Office(reign, replica.lineage, replica.history, replica.reports, self._source)
        image, replica.image = replica.image, None
        replica.receiving = None
        following.reign = 0
        self._ruling = Ruling(context, office, now)
        self._rivals.clear()
        unreported = context.reporting.take_all()
        office.offer([], {context.address: context.reporting.last}, now)
        context.emit(BecameMaster(reign, image, unreported))

    def _step_down(self, why: str, now: float, lost: int = 0) -> None:
        """Be a slave with the state that there is."""
        assert self._ruling is not None
        self._ruling.flush(now)  # what was offered is in the user's tables, so it is in the state
        office = self._ruling.office
        replica = self._following.replica
        replica.history, replica.lineage = office.history, office.lineage
        replica.reign, replica.reports = office.reign, dict(office.reports)
        replica.complete, replica.known_head = True, office.head
        self._ruling = None
        self._following.rest(now)
        self._elect_at = now + self.settings.interval
        self._context.emit(SteppedDown(why, lost))

    def _note_absence(self, now: float) -> None:
        """A master that was not given the processor for the timeout, as one that was stopped and
        goes on, may have a successor: it asks around before it decides anything."""
        away = now - self._ticked_at
        self._ticked_at = now
        if self._ruling is None:
            return
        if away > self.settings.timeout and self.members.peers:
            self._step_down("this node was away", now)
        elif now >= self.appointed_until:
            self._step_down("its lease is over", now)
        elif 1 + len(self.members.live(now - self.settings.timeout)) < self.settings.quorum:
            self._step_down("too few nodes are heard", now)

    # What follows from all that

    def _review(self, now: float) -> None:
        """Tell when traffic should come here or not, and when nothing depends on us any more."""
        context, ruling = self._context, self._ruling
        leaves = self._stopped or context.draining
        if ruling is not None:
            wanted = len(ruling.followers(now)) < self.settings.min_followers
        else:
            wanted = self._following.replica.up_to_date
            leaves = leaves or not self._following.replica.complete
        self._want_routes(wanted and not leaves, now, at_once=wanted or leaves)
        wanted = self._wants_routes
        if context.draining and not self._drained and ruling is None and not wanted:
            self._drained = True
            context.emit(Drained())
