"""Small records that the parts of the LNS share."""

from dataclasses import dataclass, field
from typing import Protocol

from l2tpns_core.l2tp.codes import StopResult
from l2tpns_core.l2tp.tunnel import Tunnel
from l2tpns_core.radius.model import AccountingRecord
from l2tpns_core.session import Session
from l2tpns_core.timers import Timer


class KernelRoutes(Protocol):
    """Routes to the TUN device. Calls return at once; a failure is logged where it happens."""

    def add(self, network: int, prefix_length: int) -> None:
        """Route a network to us; an address is a network of 32 bits."""

    def remove(self, network: int, prefix_length: int) -> None:
        """Undo add(), if there was one. What is routed with the pool stays."""

    def covers(self, ip: int) -> bool:
        """Whether an address lies in a network of the pool, which is routed for good."""


class Keeper(Protocol):
    """Writes down what another process must know to go on. Calls return at once."""

    def session_changed(self, session: Session) -> None:
        """Something of a session that outlives it has changed, or is about to in this turn."""

    def session_ended(self, session: Session) -> None: ...

    def tunnel_changed(self, entry: "TunnelEntry") -> None:
        """The tunnel has heard something, or has something to send."""

    def report_sent(self, record: AccountingRecord) -> None:
        """An accounting record is about to go out: a Start or a Stop must arrive."""

    def report_settled(self, record: AccountingRecord) -> None:
        """It has arrived, or nobody tries any more."""

    def commit(self) -> None:
        """What was told is about to be seen outside."""


class Keepers:
    """All keepers of an LNS as one: the journal on the disk, the slaves of a cluster, or none."""

    __slots__ = ("_keepers",)

    def __init__(self) -> None:
        self._keepers: list[Keeper] = []

    def add(self, keeper: Keeper) -> None:
        self._keepers.append(keeper)

    def discard(self, keeper: Keeper) -> None:
        if keeper in self._keepers:
            self._keepers.remove(keeper)

    def session_changed(self, session: Session) -> None:
        for keeper in self._keepers:
            keeper.session_changed(session)

    def session_ended(self, session: Session) -> None:
        for keeper in self._keepers:
            keeper.session_ended(session)

    def tunnel_changed(self, entry: "TunnelEntry") -> None:
        for keeper in self._keepers:
            keeper.tunnel_changed(entry)

    def report_sent(self, record: AccountingRecord) -> None:
        for keeper in self._keepers:
            keeper.report_sent(record)

    def report_settled(self, record: AccountingRecord) -> None:
        for keeper in self._keepers:
            keeper.report_settled(record)

    def commit(self) -> None:
        for keeper in self._keepers:
            keeper.commit()


@dataclass(slots=True)
class LnsCounters:
    """What happened since the start, for `show counters`."""

    tunnel_created: int = 0
    tunnel_timeout: int = 0
    """Tunnels whose LAC stopped answering."""
    session_created: int = 0
    session_ended: int = 0
    session_timeout: int = 0
    """Ends by Session-Timeout or Idle-Timeout."""
    session_overflow: int = 0
    """Calls refused because max_sessions are up."""
    login_accepted: int = 0
    login_refused: int = 0
    radius_timeout: int = 0
    session_failed: int = 0
    """Sessions ended because handling them raised an exception; the log has it."""
    duplicate_ended: int = 0
    ip_allocated: int = 0
    ip_freed: int = 0
    ip_exhausted: int = 0
    unknown_session: int = 0
    """Data messages for sessions that do not exist."""


@dataclass(slots=True, eq=False)
class TunnelEntry:
    """A tunnel and what the LNS keeps beside it."""

    tunnel: Tunnel
    timer: Timer
    keys: dict[int, None] = field(default_factory=dict)
    """The sessions of the tunnel."""
    drain_ends_at: float = 0.0
    """Set when the tunnel is to end: its sessions have until then."""
    drain_result: StopResult = StopResult.GENERAL_REQUEST
    drain_reason: str = ""
    ended: bool = False
    """StopCCN was sent or received, or the LAC is gone."""
    finished: bool = False
    """The tunnel need not be remembered any more, once its last session has ended."""
