"""What the courier carries, and to whom."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from l2tpns_core.radius.model import AccountingRecord, Authenticator

Done = Callable[[bool], None]


class AccountingClient(Authenticator, Protocol):
    """What the courier needs of the RADIUS client."""

    def take_back(self, handle: int) -> bool:
        """Forget a request if it was never sent; True when it was not, and is forgotten."""


@dataclass(slots=True, eq=False)
class Parcel:
    """A record on its way to a server, or behind another one of its session."""

    record: AccountingRecord
    done: Done
    handle: int = 0
    is_sent: bool = False
    sent_at: float = 0.0
