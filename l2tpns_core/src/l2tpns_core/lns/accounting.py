"""What RADIUS is told of a session's life: one Start, Interims, exactly one Stop (RFC 2866)."""

import logging
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.lns.state import Keepers
from l2tpns_core.plugins.events import ParamRadiusAccount
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.radius.model import (
    AccountingRecord,
    AccountingStatus,
    Authenticator,
    SessionIdentity,
    Usage,
)
from l2tpns_core.session import Session

log = logging.getLogger("l2tpns.accounting")

INTERIM_JITTER = 0.1
"""Interim-Updates are spread by this part of their interval, so that the sessions of a mass login
do not report in one burst for ever after."""
MIN_INTERIM_S = 60
"""A shorter Acct-Interim-Interval is raised to this (RFC 2869 section 5.16)."""


@dataclass(slots=True)
class AccountingCounters:
    starts: int = 0
    interims: int = 0
    stops: int = 0
    undelivered: int = 0
    """Records that no server acknowledged."""


class Accounting:
    """Builds the records of sessions and hands them to RADIUS."""

    __slots__ = (
        "_clock",
        "_is_asking",
        "_plugins",
        "_waiting",
        "_wall",
        "counters",
        "enabled",
        "keeper",
        "radius",
    )

    def __init__(
        self,
        radius: Authenticator,
        plugins: PluginManager,
        clock: Callable[[], float],
        wall: Callable[[], float],
        keeper: Keepers | None = None,
    ) -> None:
        self.radius = radius
        self._plugins = plugins
        self._clock = clock
        self._wall = wall
        self._waiting: deque[tuple[Session, AccountingRecord]] = deque()
        self._is_asking = False
        self.enabled = False
        self.keeper = keeper or Keepers()
        self.counters = AccountingCounters()

    def start(self, session: Session) -> None:
        """Send the Start, once in a session's life."""
        if not self.enabled or session.accounting_started:
            return
        session.accounting_started = True
        session.start_sent_at = self._clock()
        self.counters.starts += 1
        self._send(session, AccountingStatus.START, None)

    def interim(self, session: Session, usage: SessionCounters) -> None:
        if session.accounting_started:
            self.counters.interims += 1
            self._send(session, AccountingStatus.INTERIM, usage)

    def stop(self, session: Session, usage: SessionCounters, ended_at: float | None = None) -> None:
        """Send the Stop if there was a Start. The second call does nothing. `ended_at` is when that
        was, if it was not now."""
        if not session.accounting_started:
            return
        session.accounting_started = False
        self.counters.stops += 1
        self._send(session, AccountingStatus.STOP, usage, ended_at)

    def announce(self, *, on: bool) -> None:
        """Accounting-On when the LNS comes up, Accounting-Off before it goes (section 5.1)."""
        if not self.enabled:
            return
        status = AccountingStatus.ACCOUNTING_ON if on else AccountingStatus.ACCOUNTING_OFF
        self.radius.account(AccountingRecord(status, self._wall()), self._done)

    def next_interim(self, session: Session, now: float) -> float:
        """When the next Interim-Update of a session is due; 0.0 for never."""
        if not session.accounting_started or not session.interim_interval:
            return 0.0
        return now + session.interim_interval * (
            1 + random.uniform(-INTERIM_JITTER, INTERIM_JITTER)
        )

    def _send(
        self,
        session: Session,
        status: AccountingStatus,
        usage: SessionCounters | None,
        at: float | None = None,
    ) -> None:
        now = self._clock()
        at = now if at is None else at
        record = AccountingRecord(status, self._wall() - now + at, identity_of(session))
        if usage is not None:
            record.usage = Usage(
                usage.octets_in, usage.octets_out, usage.packets_in, usage.packets_out
            )
            record.session_time = round(at - session.start_sent_at)
        if status is AccountingStatus.STOP and session.ending is not None:
            record.terminate_cause = int(session.ending.cause)
            record.reason = session.ending.reason
        if not self._plugins.listens("radius_account"):
            self.deliver(record)
            return
        self._waiting.append((session, record))
        if self._is_asking:
            return  # a hook has ended the session: its Stop follows what is being sent
        self._is_asking = True
        try:
            while self._waiting:
                self._ask_plugins(*self._waiting.popleft())
        finally:
            self._is_asking = False

    def _ask_plugins(self, session: Session, record: AccountingRecord) -> None:
        """Send a record with what plugins add to it."""
        param = ParamRadiusAccount(
            t=session.tunnel_id, s=session.session_id, session=session, packet=record.extra
        )
        self._plugins.radius_account(param)
        record.extra = _pairs(param.packet)
        self.deliver(record)

    def deliver(self, record: AccountingRecord) -> None:
        """Hand a record to RADIUS."""
        self.keeper.report_sent(record)
        self.radius.account(record, partial(self._settled, record))

    def _settled(self, record: AccountingRecord, delivered: bool) -> None:
        self._done(delivered)
        self.keeper.report_settled(record)

    def _done(self, delivered: bool) -> None:
        if not delivered:
            self.counters.undelivered += 1
            log.error("no RADIUS server acknowledged an accounting record; it is lost")


def _pairs(attributes: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """What plugins left, without what is no pair of name and value; RADIUS checks the rest."""
    pairs = []
    for attribute in attributes:
        match attribute:
            case (str(name), value):
                pairs.append((name, value))
            case _:
                log.error("plugins left %.80r among the accounting attributes", attribute)
    return pairs


def identity_of(session: Session) -> SessionIdentity:
    """The attributes that every request about a session carries."""
    return SessionIdentity(
        session_key=session.key,
        tunnel_id=session.tunnel_id,
        session_id=session.session_id,
        user=session.user,
        accounting_id=session.accounting_id,
        calling_number=session.calling_number,
        called_number=session.called_number,
        connect_info=_connect_info(session),
        lac_address=session.lac_address,
        ip=session.ip,
        netmask=session.netmask if session.netmask != 0xFFFFFFFF else 0,
        classes=session.classes,
    )


def _connect_info(session: Session) -> str:
    """`TX/RX` in bit/s as the LAC reported them, or nothing when it did not."""
    if not session.tx_speed and not session.rx_speed:
        return ""
    return f"{session.tx_speed}/{session.rx_speed or session.tx_speed}"
