"""Becoming master and ceasing to be it: the state goes from the image to the LNS, as after a
restart, while the plane goes on forwarding."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final, Protocol

from l2tpns_core.cluster.counts import Count, together
from l2tpns_core.cluster.events import BecameMaster
from l2tpns_core.clustering.counting import Counting
from l2tpns_core.clustering.host import Host
from l2tpns_core.clustering.keeper import ClusterKeeper
from l2tpns_core.clustering.tables import HOST_BITS, SlaveTables
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.plugins.events import ParamBecomeMaster, ParamNewSessionMaster
from l2tpns_core.session import Session, SessionState
from l2tpns_core.state.adoption import Adoption
from l2tpns_core.state.image import Image

log = logging.getLogger("l2tpns.cluster")

SLICE: Final = 64
NO_COUNT: Final = Count(0, 0, 0, 0)


class AddingPlane(Protocol):
    """What is asked of the data plane."""

    def add(self, key: int, more: SessionCounters) -> None: ...
    def remove(self, key: int) -> SessionCounters: ...


class CountedOn:
    """The plane of a slave that becomes master (state.adoption.ResumingPlane): what it has counted
    that is in the state already is not counted again."""

    def __init__(
        self, plane: AddingPlane, counting: Counting, unreported: Mapping[int, Count]
    ) -> None:
        self._plane = plane
        self._counting = counting
        self._unreported = unreported

    def resume(self, key: int, total: SessionCounters, own: SessionCounters) -> None:
        known, more = self._counting.known(key), self._unreported.get(key, NO_COUNT)
        self._plane.add(
            key,
            SessionCounters(
                total.octets_in + more.octets_in - known.octets_in,
                total.octets_out + more.octets_out - known.octets_out,
                total.packets_in + more.packets_in - known.packets_in,
                total.packets_out + more.packets_out - known.packets_out,
                total.heard_at,
                total.data_at,
            ),
        )

    def take_unclaimed(self) -> dict[int, SessionCounters]:
        return {}


class Takeover:
    """Both ways. The LNS must be suspended meanwhile."""

    def __init__(
        self, host: Host, keeper: ClusterKeeper, tables: SlaveTables, counting: Counting
    ) -> None:
        self._host = host
        self._keeper = keeper
        self._tables = tables
        self._counting = counting
        self._is_first = True

    async def take(self, event: BecameMaster) -> None:
        """Go on with the state that there is."""
        host, lns = self._host, self._host.lns
        if event.image is not None:
            await self._adopt(event.image, event.unreported)
        elif self._is_first:
            await host.restart.take_in_slices(lns)
            if lns.sessions:
                host.show_sessions()
            await host.restart.install(lns, host.plane)
            lns.keeper.add(self._keeper)
        else:
            reports = self._keeper.begin_again()
            lns.keeper.add(self._keeper)
            await host.resume_journal()
            for report in reports:
                lns.accounting.deliver(report.record())
        if self._is_first and event.image is None and not lns.sessions:
            lns.accounting.announce(on=True)
        self._is_first = False
        self._tell_the_rest()
        self._keeper.is_ready = True
        await host.restart.begin()
        await host.settle()

    async def give_up(self) -> None:
        """The state of this node is another's now."""
        lns = self._host.lns
        self._keeper.forget()
        if lns.sessions or lns.endpoint.tunnels:
            self._tables.inherit(
                (session.key, routed(session)) for session in lns.sessions.values()
            )
            self._host.forget_sessions()
        self._is_first = False
        self._host.restart.forget()

    async def announce(self) -> None:
        """Tell plugins and the network."""
        host, plugins = self._host, self._host.plugins
        host.lns.cleanup.start(host.now())
        host.announce_address()
        if plugins.listens("become_master"):
            plugins.become_master(ParamBecomeMaster())
        if plugins.listens("new_session_master"):
            for count, session in enumerate(list(host.lns.sessions.values()), 1):
                if session.state is not SessionState.ENDED:
                    plugins.new_session_master(
                        ParamNewSessionMaster(session.tunnel_id, session.session_id, session)
                    )
                if not count % SLICE:
                    await asyncio.sleep(0)
        host.lns.flush(host.now())

    async def _adopt(self, image: Image, unreported: Mapping[int, Count]) -> None:
        host, lns = self._host, self._host.lns
        self._keeper.forget()
        more = self._uncounted(unreported)
        account_for_ended(image, more)
        bind_address = lns.config.bind_address
        adoption = Adoption(lns, image, str(bind_address) if int(bind_address) else "")
        for _ in adoption.taking():
            await asyncio.sleep(0)
        host.show_sessions()
        here = self._tables.hand_over()
        lns.keeper.add(self._keeper)
        await host.resume_journal()
        await adoption.install(CountedOn(host.plane, self._counting, more))
        self._keeper.records.counted = {
            key: image.counted[key].total for key in lns.sessions if key in image.counted
        }
        for key in here - lns.sessions.keys():
            host.plane.remove(key)
        lost = image.sessions.keys() - lns.sessions.keys()
        self._keeper.records.forget_sessions()
        self._keeper.offer([["S", key] for key in lost])

    def _uncounted(self, unreported: Mapping[int, Count]) -> dict[int, Count]:
        """What this node has counted as a slave that is in nobody's state, besides what its plane
        still has."""
        found = dict(unreported)
        for key, count in self._counting.take(()).items():
            found[key] = together(found[key], count) if key in found else count
        return found

    def _tell_the_rest(self) -> None:
        """Slaves know the sessions; control connections begin where they are now."""
        for entry in self._host.lns.tunnel_entries():
            self._keeper.tunnel_changed(entry)


def account_for_ended(image: Image, more: Mapping[int, Count]) -> None:
    """Add to the Stops of an image that wait to be sent what their sessions used besides."""
    for report in image.reports.values():
        if report.is_stop and report.session_key not in image.sessions:
            count = more.get(report.session_key, NO_COUNT)
            used = zip(report.usage, count[:4], strict=True)
            octets_in, octets_out, packets_in, packets_out = (a + b for a, b in used)
            report.usage = octets_in, octets_out, packets_in, packets_out


def routed(session: Session) -> tuple[tuple[int, int], ...]:
    """What is routed to a session."""
    host = ((session.ip, HOST_BITS),) if session.ip else ()
    networks = ((route.network, route.prefix_length) for route in session.routes)
    return (*host, *(network for network in networks if network not in host))
