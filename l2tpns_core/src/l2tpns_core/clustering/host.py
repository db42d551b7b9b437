"""The daemon as the cluster sees it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

from l2tpns_core.cli.evaluate import Evaluation
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.plane import PlaneEvents
from l2tpns_core.dataplane.tun import UserPlane
from l2tpns_core.lns import Lns
from l2tpns_core.lns.settings import mru_of
from l2tpns_core.lns.state import KernelRoutes
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.radius.client import RadiusClient
from l2tpns_core.radius.spool.courier import Courier
from l2tpns_core.restart import Restart

LINES_AT_ONCE: Final = 64
LOGIN_S: Final = 2.0
"""How long RADIUS has to answer for logins that are under way when this node gives up its work."""


class LnsTimer(Protocol):
    """What wakes the LNS."""

    def hold(self) -> None: ...
    def release(self) -> None: ...


@dataclass(slots=True)
class Host:
    """The parts of a daemon, and what it does for the cluster."""

    lns: Lns
    plane: UserPlane | EbpfPlane
    routes: KernelRoutes
    radius: RadiusClient
    courier: Courier
    plugins: PluginManager
    restart: Restart
    timer: LnsTimer
    load_plugins: Callable[[list[str]], None]
    connect: Callable[[], None]
    """Joins LNS and plane, or plane and cluster, as ClusterService.decides says."""
    settle: Callable[[], Awaitable[None]]
    """The plane knows all sessions that there are, for the first time or again."""
    announce_address: Callable[[], None]
    """Sends gratuitous ARP, if that is wanted."""
    want_routes: Callable[[bool], None]
    """Draws traffic to this node, or does not."""
    events: Callable[[], PlaneEvents]
    """What the plane of a master reports to."""
    stop: Callable[[str], None]
    """Ends the daemon, with a reason for the log."""
    evaluate: Callable[[str, bool, bool], Evaluation]
    """Begins an operator's command: the line, whether he may change things, whether as JSON."""

    @property
    def lns_events(self) -> PlaneEvents:
        return self.events()

    def mru(self) -> int:
        return mru_of(self.lns.config)

    def shows_packets(self) -> bool:
        """Whether a plugin wants to see the packets of subscribers."""
        return self.plugins.listens("packet_rx") or self.plugins.listens("packet_tx")

    def suspend(self) -> None:
        """The LNS decides nothing any more."""
        self.lns.is_master = False
        self.timer.hold()

    def resume(self) -> None:
        """The LNS decides again."""
        self.lns.is_master = self.lns.endpoint.accepting = True
        self.timer.release()

    async def finish_logins(self) -> None:
        """Let logins that wait for RADIUS go on or end; what is not up then is asked for anew by
        the next master."""
        await self.radius.drain(LOGIN_S)

    async def pause_journal(self) -> None:
        await self.restart.pause(self.lns)

    async def resume_journal(self) -> None:
        await self.restart.keep(self.lns, self.plane)

    def forget_sessions(self) -> None:
        """Have an LNS without sessions, and plugins that never saw any."""
        names = [plugin.name for plugin in self.plugins.loaded()]
        self.lns.keeps_sessions = True
        self.plugins.close()
        self.lns.begin_anew()
        self.lns.keeps_sessions = False
        self.load_plugins(names)

    def show_sessions(self) -> None:
        """Load plugins anew, so that they find the sessions that were taken over."""
        names = [plugin.name for plugin in self.plugins.loaded()]
        self.lns.keeps_sessions = True
        self.plugins.close()
        self.lns.keeps_sessions = False
        self.load_plugins(names)

    async def carry_out(self, line: str, *, privileged: bool, as_json: bool) -> tuple[str, bool]:
        """What a command of an operator at another node comes to, and whether it failed."""
        evaluation = self.evaluate(line, privileged, as_json)
        if evaluation.wait is not None:
            await asyncio.to_thread(evaluation.wait)
        lines = []
        for count, text in enumerate(evaluation.lines):
            if text is not None:
                lines.append(text)
            if not count % LINES_AT_ONCE:
                await asyncio.sleep(0)
        return (evaluation.error, True) if evaluation.error else ("\n".join(lines), False)

    def now(self) -> float:
        return asyncio.get_running_loop().time()
