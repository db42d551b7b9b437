"""A courier between stub servers and a spool in a directory, on virtual time."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from l2tpns_core.radius.model import AccountingRecord, AccountingStatus, SessionIdentity, Usage
from l2tpns_core.radius.spool.courier import Courier
from l2tpns_core.radius.spool.opening import read_spool
from l2tpns_core.radius.spool.writer import SpoolWriter
from unit.radius.lab import Lab, identity
from unit.radius.stub import Received, Stub

STATUS, DELAY, SESSION_ID, EVENT_TIME = 40, 41, 44, 55
START, STOP, INTERIM = AccountingStatus.START, AccountingStatus.STOP, AccountingStatus.INTERIM
ON, OFF = AccountingStatus.ACCOUNTING_ON, AccountingStatus.ACCOUNTING_OFF
PAUSE_S = 10.0
ROOM = 1 << 20


class Run(Protocol):
    def __call__(self, scenario: Callable[[Lab], Awaitable[None]]) -> None: ...


class Depot:
    """A courier, and what it told who reported."""

    def __init__(self, lab: Lab, directory: Path, limit: int = ROOM) -> None:
        self.lab = lab
        self.done: list[tuple[str, bool]] = []
        self.opened = read_spool(directory)
        self.courier = Courier(lab.client, lab.loop, lab.wall)
        self.courier.configure(limit, PAUSE_S)
        self.writer = SpoolWriter(self.opened.file, self.opened.queue, lab.loop, in_thread)
        self.courier.open(self.opened.queue, self.writer, self.opened.last_number)

    def report(self, name: str, status: AccountingStatus, **fields: Any) -> None:
        """Report about a session, which is known by a number of one digit or more."""
        record = AccountingRecord(status, self.lab.wall(), session(name), **fields)
        self.courier.account(record, lambda ok: self.done.append((f"{status.name} {name}", ok)))

    def announce(self, status: AccountingStatus) -> None:
        record = AccountingRecord(status, self.lab.wall())
        self.courier.account(
            record, lambda ok: self.done.append((status.name.removeprefix("ACCOUNTING_"), ok))
        )

    def die(self) -> None:
        """End as by kill -9: nobody is told anything, nothing more is written."""
        self.lab.client.close()
        self.courier._is_closed = True
        self.opened.file.close()


async def in_thread(work: Callable[[], None]) -> None:
    work()


def session(name: str) -> SessionIdentity:
    return replace(identity(), user=f"user{name}", accounting_id=f"{name:0>16}")


def usage(number: int) -> Usage:
    """Different for each number, and beyond 32 bits."""
    return Usage((5 << 32) + number, (7 << 32) + 2 * number, 3 * number, 4 * number)


def told(request: Received) -> str:
    """What a request reports, for instance `STOP 17`."""
    status = AccountingStatus(request.number(STATUS))
    (name,) = request.values(SESSION_ID)
    if status in (ON, OFF):
        return status.name.removeprefix("ACCOUNTING_")
    return f"{status.name} {name.decode().lstrip('0') or '0'}"


def acknowledged(stub: Stub, since: float = 0.0) -> list[str]:
    """What a stub that answers was told from a time on, in order."""
    return [told(request) for request in stub.requests if request.at >= since]


def times_told(stub: Stub, since: float = 0.0) -> Counter[str]:
    return Counter(acknowledged(stub, since))
