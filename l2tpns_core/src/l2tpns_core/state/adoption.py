"""Going on with the sessions of another process.

First they are put into the tables of the LNS, before plugins are loaded; then, when these are, into
the plane. What cannot go on is closed in accounting.
"""

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.lns import Lns, garden
from l2tpns_core.lns.state import TunnelEntry
from l2tpns_core.ppp.link import Link
from l2tpns_core.session import Ending, Session, SessionState, TerminateCause
from l2tpns_core.state.image import Image
from l2tpns_core.state.model import Counted, SavedSession, as_called, restore, shifted

log = logging.getLogger("l2tpns.state")

SLICE: Final = 64
MAX_AGE_S: Final = 300.0
"""By then LACs have given up tunnels that nobody answers for."""
COUNTERS_AGE_S: Final = 30.0
"""How old counters of a killed process may be (journal.COUNTERS_ROUND_S)."""
LOST: Final = Ending("Lost when the LNS was restarted", TerminateCause.NAS_REBOOT)
NOTHING: Final = Counted()


class ResumingPlane(Protocol):
    """What is asked of the data plane."""

    def resume(self, key: int, total: SessionCounters, own: SessionCounters) -> None: ...
    def take_unclaimed(self) -> dict[int, SessionCounters]: ...


class Adoption:
    """One image, brought into an LNS that has no session yet."""

    def __init__(self, lns: Lns, image: Image, local: str = "") -> None:
        """`local` is our only address towards LACs, "" when there may be more."""
        self._lns = lns
        self._image = image
        self._local = local
        self._lost: list[tuple[SavedSession, str]] = []
        self._entries: dict[int, TunnelEntry] = {}
        self._stopped = {each.accounting_id for each in image.reports.values() if each.is_stop}
        self._started = set(self._stopped)
        if image.reports:
            started = (each for each in image.sessions.values() if each.accounting_started)
            self._started.update(each.accounting_id for each in started)
        """Of others a Start was not sent yet, for the session comes behind it in the journal."""

    def refuse(self, why: str) -> None:
        """Go on with nothing."""
        log.error("sessions of the last run are not taken over: %s", why)
        self._lost = [(saved, "not taken over") for saved in self._image.sessions.values()]
        self._lns.go_on_from(self._image.unique)

    def take(self) -> None:
        """Bring tunnels and sessions into the tables."""
        for _ in self.taking():
            pass

    def taking(self) -> Iterator[None]:
        """The same in slices, for a loop that has other work, too. Until it is over nobody else
        may work on the LNS."""
        lns, image, now = self._lns, self._image, self._lns.clock()
        lns.go_on_from(image.unique)
        for number, tunnel in image.tunnels.items():
            if self._local and tunnel.local not in ("", self._local):
                log.error("a tunnel to %s is lost: bind_address is another", tunnel.local)
                continue
            try:
                restored = lns.endpoint.restore(tunnel, image.channels[number].saved(), now)
            except ValueError as error:
                log.error("a tunnel is lost: %s", error)
                continue
            self._entries[number] = lns.adopt_tunnel(restored)
        for count, saved in enumerate(image.sessions.values(), 1):
            self._take_session(saved, now)
            if not count % SLICE:
                yield
        lns.tables.ids.reserve({session.session_id for session in lns.sessions.values()})
        for address in image.addresses.values():
            lns.pool.remember(address.ip, address.user, now - (lns.wall() - address.freed_time))

    async def install(self, plane: ResumingPlane) -> None:
        """Bring the sessions into the plane, close those that are lost, and answer LACs again."""
        lns = self._lns
        sessions = list(lns.sessions.values())
        for start in range(0, len(sessions), SLICE):
            for session in sessions[start : start + SLICE]:
                if session.state is not SessionState.ENDED:
                    self._install(session, plane)
            await asyncio.sleep(0)
        for report in self._image.reports.values():
            if report.accounting_id in self._started:
                lns.accounting.deliver(report.record())
        unclaimed = plane.take_unclaimed()
        for start in range(0, len(self._lost), SLICE):
            self._close(self._lost[start : start + SLICE], unclaimed)
            await asyncio.sleep(0)
        lns.flush(lns.clock())
        log.warning(
            "%d sessions in %d tunnels go on, %d are lost",
            len(lns.sessions),
            len(self._entries),
            len(self._lost),
        )

    # A session that goes on

    def _take_session(self, saved: SavedSession, now: float) -> None:
        lns, entry = self._lns, self._entries.get(saved.tunnel_id)
        if entry is None:
            self._lost.append((saved, "its tunnel is lost"))
            return
        try:
            entry.tunnel.restore_call(saved.call)
        except ValueError as error:
            self._lost.append((saved, str(error)))
            return
        if lns.session_by_id(saved.session_id) is not None:
            self._hang_up(saved, entry, now)
            return
        if saved.link is None:
            self._begin_again(saved, entry, now)
            return
        session = restore(saved, now, lns.wall())
        link = session.link = Link(lns.settings.link, lns.random)
        try:
            link.restore(saved.link, now)
        except ValueError:
            self._hang_up(saved, entry, now)
            return
        session.state, session.network_up = SessionState.NETWORK, True
        session.accounting_started &= session.accounting_id not in self._stopped
        session.tunnel = entry.tunnel
        session.plugin_data = plugin_data_from(saved.plugin_data)
        lns.adopt_session(session, entry)
        lns.pool.claim(session.ip, session.user, session.key)
        if not lns.routes.covers(session.ip):
            lns.routes.add(session.ip, 32)
        for network, length in session.routes:
            lns.tables.claim_network(session, network, length)
            lns.routes.add(network, length)

    def _begin_again(self, saved: SavedSession, entry: TunnelEntry, now: float) -> None:
        """A login was under way: the client is asked for it anew, on the same call, or when the LAC
        has connected it. One that was up before was about to end."""
        if saved.up_time or saved.accounting_started:
            self._hang_up(saved, entry, now)
            return
        lns = self._lns
        session = restore(as_called(saved), now, lns.wall())
        session.tunnel = entry.tunnel
        if saved.is_calling:
            session.setup_ends_at = now + lns.settings.endpoint.setup_timeout_s
        else:
            session.link, session.state = Link(lns.settings.link, lns.random), SessionState.LINK
        lns.adopt_session(session, entry)

    def _hang_up(self, saved: SavedSession, entry: TunnelEntry, now: float) -> None:
        """Nobody goes on with a call that was being set up: the LAC is told."""
        self._lost.append((saved, "it was not up"))
        entry.tunnel.disconnect_call(
            saved.session_id, LOST.result, LOST.error, LOST.reason, now, LOST.disconnect_cause
        )

    def _install(self, session: Session, plane: ResumingPlane) -> None:
        lns = self._lns
        if session.timer is not None:
            lns.timers.set(session.timer, lns.limits.next_deadline(session))
        if session.state is SessionState.CALLING:
            return
        lns.install(session)
        if session.state is SessionState.LINK and session.link is not None:
            session.link.open_again(lns.clock())
            lns.touch(session)
        total, own = (self._by_our_clock(each) for each in self._counted(session.key))
        plane.resume(session.key, total, own)

    def _counted(self, key: int) -> Counted:
        return self._image.counted.get(key, NOTHING)

    def _by_our_clock(self, counters: SessionCounters) -> SessionCounters:
        """A process that was killed may have seen a session's last packet after it wrote down the
        counters: then the time of that is not taken to be as early as it may be."""
        now = self._lns.clock()
        moved = shifted(counters, now - self._lns.wall())
        if not moved.data_at or self._image.stopped:
            return moved
        return moved._replace(data_at=min(now, moved.data_at + COUNTERS_AGE_S))

    # A session that is lost

    def _close(
        self,
        lost: Iterable[tuple[SavedSession, str]],
        unclaimed: Mapping[int, SessionCounters],
    ) -> None:
        """Account for the last that is known of sessions."""
        lns, now, wall = self._lns, self._lns.clock(), self._lns.wall()
        ended_at = now - max(wall - self._image.time, 0.0)
        for saved, why in lost:
            session = restore(saved, now, wall)
            session.state, session.ending = SessionState.ENDED, LOST
            session.accounting_started &= session.accounting_id not in self._stopped
            total, own = self._counted(saved.key)
            if saved.key in unclaimed:
                total = added(unclaimed[saved.key], own)
            log.warning("session is lost: %s", why, extra=session.log_ids())
            lns.accounting.stop(
                session, garden.counted(session, total), max(ended_at, session.start_sent_at)
            )


def added(one: SessionCounters, other: SessionCounters) -> SessionCounters:
    return SessionCounters(*(a + b for a, b in zip(one[:4], other[:4], strict=True)))


def plugin_data_from(text: str) -> dict[str, object] | None:
    """What plugins kept with a session; nothing when that is damaged."""
    try:
        data = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
