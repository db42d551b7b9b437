"""BGP as the daemon sees it: networks come and go, and an operator may intervene."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Final

from l2tpns_core.observe.bgp_report import PeerStatus
from l2tpns_core.routing.answers import PeerState
from l2tpns_core.routing.settings import BgpSettings, Prefix, teardown
from l2tpns_core.routing.speaker import Speaker
from l2tpns_core.routing.table import PeerTable

log = logging.getLogger("l2tpns.bgp")

SETTLED_S: Final = 2.0
"""By then a session that has come up has got what came before."""
WITHDRAW_S: Final = 5.0
"""How long withdrawals may take when the daemon stops, and how much longer with many networks."""
WITHDRAWN_PER_S: Final = 1000
SENT_S: Final = 0.5
"""ExaBGP acknowledges before it has sent; it sends some thousand networks a second."""
SENT_PER_S: Final = 5000
STATES: Final = {"up": "Established", "connected": "Connected", "down": "Idle"}


class Bgp:
    """All peers."""

    def __init__(self, settings: BgpSettings) -> None:
        self.settings = settings
        self._tables = {str(peer.address): PeerTable(settings, peer) for peer in settings.peers}
        self._states: dict[str, tuple[str, float, str]] = {}
        self._ups = dict.fromkeys(self._tables, 0)
        self._own: frozenset[Prefix] = frozenset()
        self._settling: dict[str, asyncio.TimerHandle] = {}
        """Sessions that have just come up."""
        self._speaker = Speaker(settings, self._next_command, self._changed, self._started)

    def start(self, networks: Iterable[Prefix], own: Iterable[Prefix] = ()) -> None:
        """Announce these, and what add() brings; `own` stay, whatever is removed."""
        self._own = frozenset(own)
        for prefix in (*self._own, *networks):
            self.add(prefix)
        self._speaker.start()

    async def close(self) -> None:
        """Stop without a word: what peers do with the routes is as agreed (graceful restart)."""
        for handle in self._settling.values():
            handle.cancel()
        await self._speaker.close()

    async def withdraw(self) -> None:
        """Withdraw everything, before a stop that nobody comes back from."""
        told = sum(table.told for table in self._tables.values())
        self.want(False)
        if not await self._speaker.settle(WITHDRAW_S + told / WITHDRAWN_PER_S):
            log.error("BGP: not everything was withdrawn in time")
        elif told:
            await asyncio.sleep(SENT_S + told / SENT_PER_S)

    # What is announced

    def add(self, prefix: Prefix) -> None:
        for table in self._tables.values():
            table.add(prefix)
        self._speaker.wake()

    def remove(self, prefix: Prefix) -> None:
        if prefix in self._own:
            return
        for table in self._tables.values():
            table.remove(prefix)
        self._speaker.wake()

    def want(self, value: bool) -> None:
        """Draw traffic to this node, or do not."""
        for table in self._tables.values():
            table.change(wanted=value)
        self._speaker.wake()

    # What operators ask for

    def suspend(self, peer: str = "", *, suspended: bool = True) -> list[str]:
        """Withdraw everything from a peer, or from all, until it is taken back; returns their
        addresses. Raises LookupError for no peer of ours."""
        tables = self._named(peer)
        for table in tables:
            table.change(suspended=suspended)
        self._speaker.wake()
        return [str(table.peer.address) for table in tables]

    def restart(self, peer: str = "") -> list[str]:
        """End the session with a peer, or all, and begin it anew. Raises LookupError."""
        tables = self._named(peer)
        for table in tables:
            self._speaker.say(teardown(table.peer))
        return [str(table.peer.address) for table in tables]

    def peers(self) -> list[PeerStatus]:
        """How each is."""
        found = []
        for address, table in self._tables.items():
            state, since, reason = self._states.get(address, ("down", 0.0, ""))
            shown = STATES.get(state, state) if self._speaker.is_running else "No speaker"
            found.append(
                PeerStatus(
                    address,
                    table.peer.asn,
                    shown,
                    since,
                    self._ups[address],
                    table.is_suspended,
                    table.announces,
                    table.told,
                    table.pending,
                    table.peer.hold_s,
                    reason,
                )
            )
        return found

    def _named(self, peer: str) -> list[PeerTable]:
        if not peer:
            return list(self._tables.values())
        if peer not in self._tables:
            raise LookupError(f"{peer} is no BGP peer (peers: {', '.join(self._tables)})")
        return [self._tables[peer]]

    def _settle(self, peer: str) -> None:
        del self._settling[peer]
        self._tables[peer].session_settled()
        self._speaker.wake()

    # What ExaBGP says

    def _next_command(self) -> str | None:
        for table in self._tables.values():
            command = table.next_command()
            if command is not None:
                return command
        return None

    def _started(self) -> None:
        self._states.clear()
        for handle in self._settling.values():
            handle.cancel()
        self._settling.clear()
        for table in self._tables.values():
            table.start_over()

    def _changed(self, said: PeerState) -> None:
        table = self._tables.get(said.peer)
        if table is None:
            return
        before = self._states.get(said.peer, ("down", 0.0, ""))[0]
        self._states[said.peer] = (said.state, time.time(), said.reason)
        if said.peer in self._settling:
            self._settling.pop(said.peer).cancel()
        table.session_down()
        if said.state == "up":
            self._ups[said.peer] += 1
            table.session_up()
            later = asyncio.get_running_loop().call_later(SETTLED_S, self._settle, said.peer)
            self._settling[said.peer] = later
            log.warning("BGP session with %s is up", said.peer)
        elif before == "up":
            log.error(
                "BGP session with %s is down: %s", said.peer, said.reason or "no reason given"
            )
