"""Finding the accounting records of one session among all that FreeRADIUS has heard."""

from interop.clientsession import ClientSession
from interop.freeradius import FreeRadius, Record
from interop.namespaces import wait_for

ACCOUNTING_TIMEOUT_S = 10


def accounting_of(radius: FreeRadius, session_id: str) -> list[Record]:
    """The accounting of one session, oldest first."""
    everything = radius.accounting()
    return [record for record in everything if record.get("Acct-Session-Id") == session_id]


def start_of(radius: FreeRadius, session: ClientSession, user: str) -> Record:
    """The Accounting Start of a user's session that is up."""

    def find() -> Record | None:
        found = [
            record
            for record in radius.accounting(user)
            if record["Acct-Status-Type"] == "Start"
            and record["Framed-IP-Address"] == session.given["local"]
        ]
        return found[-1] if found else None

    record = wait_for(find, ACCOUNTING_TIMEOUT_S, f"Accounting Start of {user}")
    assert record is not None
    return record


def stop_of(radius: FreeRadius, start: Record) -> Record:
    """The Stop that belongs to a Start. There must be no other, and nothing after it."""

    def is_stopped() -> bool:
        found = accounting_of(radius, start["Acct-Session-Id"])
        return any(record["Acct-Status-Type"] == "Stop" for record in found)

    wait_for(is_stopped, ACCOUNTING_TIMEOUT_S, f"Accounting Stop of {start['User-Name']}")
    found = accounting_of(radius, start["Acct-Session-Id"])
    kinds = [record["Acct-Status-Type"] for record in found]
    assert kinds == ["Start", *["Interim-Update"] * (len(kinds) - 2), "Stop"]
    return found[-1]
