"""Accounting-Starts and -Stops that no server has acknowledged yet, as plain values."""

from dataclasses import dataclass
from typing import Final

from l2tpns_core.l2tp.saved import check_numbers
from l2tpns_core.ppp.saved import MAX_U32
from l2tpns_core.radius.model import AccountingRecord, AccountingStatus, SessionIdentity, Usage

KEPT: Final = frozenset((AccountingStatus.START, AccountingStatus.STOP))
IDENTITY: Final = (
    "session_key",
    "tunnel_id",
    "session_id",
    "user",
    "accounting_id",
    "calling_number",
    "called_number",
    "connect_info",
    "lac_address",
    "ip",
    "netmask",
    "classes",
)
"""Fields that a SessionIdentity has under the same name."""


@dataclass(slots=True)
class SavedReport:
    """A Start or a Stop, without what plugins have added to it. Raises ValueError for what cannot
    be."""

    status: int
    accounting_id: str
    event_time: float
    session_key: int
    tunnel_id: int
    session_id: int
    user: str = ""
    calling_number: str = ""
    called_number: str = ""
    connect_info: str = ""
    lac_address: str = ""
    ip: int = 0
    netmask: int = 0
    classes: tuple[bytes, ...] = ()
    usage: tuple[int, int, int, int] = (0, 0, 0, 0)
    session_time: int = 0
    cause: int = 0
    reason: str = ""

    def __post_init__(self) -> None:
        check_numbers(self.tunnel_id, self.session_id)
        if self.status not in KEPT:
            raise ValueError("it is neither a Start nor a Stop")
        numbers = (self.session_key, self.ip, self.netmask, self.session_time, self.cause)
        if max(numbers) > MAX_U32:
            raise ValueError("a number is out of its range")

    @property
    def name(self) -> str:
        """What it is known by."""
        return f"{self.status}/{self.accounting_id}"

    @property
    def is_stop(self) -> bool:
        return self.status == AccountingStatus.STOP

    @classmethod
    def of(cls, record: AccountingRecord) -> "SavedReport | None":
        """What is saved of a record; None when nobody would miss it."""
        identity, usage = record.identity, record.usage or Usage()
        if identity is None or record.status not in KEPT:
            return None
        return cls(
            status=int(record.status),
            **{name: getattr(identity, name) for name in IDENTITY},
            event_time=record.event_time,
            usage=(usage.octets_in, usage.octets_out, usage.packets_in, usage.packets_out),
            session_time=max(record.session_time, 0),
            cause=record.terminate_cause or 0,
            reason=record.reason,
        )

    def record(self) -> AccountingRecord:
        """What is to be sent again."""
        return AccountingRecord(
            AccountingStatus(self.status),
            self.event_time,
            SessionIdentity(**{name: getattr(self, name) for name in IDENTITY}),
            Usage(*self.usage) if self.is_stop else None,
            self.session_time,
            self.cause or None,
            self.reason,
        )
