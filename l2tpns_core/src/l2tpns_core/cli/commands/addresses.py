"""`show pool` (manual)."""

from collections.abc import Mapping
from ipaddress import IPv4Address

from l2tpns_core.cli.answer import Answer, Listing
from l2tpns_core.cli.context import PoolRowView
from l2tpns_core.cli.grammar import Argument, Call, CommandSet
from l2tpns_core.observe.text import token
from l2tpns_core.session import SESSION_ID_BITS

COMMANDS = CommandSet()
HEADER = f"{'IP Address':<15} {'Used':>4} {'Session':>8} User"
SESSION_ID_MASK = (1 << SESSION_ID_BITS) - 1


@COMMANDS.command(
    "show pool",
    "Show the IP address allocation pool",
    Argument("all", "Addresses that were never used too", optional=True, choices=("all",)),
    at_master=True,
)
def show_pool(call: Call) -> Answer:
    lns, everything = call.context.lns, bool(call.arguments)

    def footer() -> list[str]:
        counts = ["", f"Free: {lns.pool.free_count}", f"Used: {lns.pool.used_count}"]
        return counts if everything else ["(Not displaying unused addresses)", *counts]

    return Listing(
        rows=lns.pool.rows(lns.clock(), include_unused=everything),
        line=pool_line,
        data=pool_data,
        header=HEADER,
        footer=footer,
        name="addresses",
        summary=lambda: {"free": lns.pool.free_count, "used": lns.pool.used_count},
    )


def pool_line(row: PoolRowView) -> str:
    """One address: in use, kept for a user (in brackets, with its age), or never used."""
    text = f"{IPv4Address(row.ip)!s:<15} {'Y' if row.used else 'N':>4}"
    if row.used:
        session_id = "" if row.key is None else row.key & SESSION_ID_MASK
        return f"{text} {session_id:>8} {token(row.user)}"
    if row.freed_ago_s is None:
        return text
    return f"{text} {'':>8} [{token(row.user)}] {int(row.freed_ago_s)}s"


def pool_data(row: PoolRowView) -> Mapping[str, object]:
    key = row.key
    return {
        "ip": str(IPv4Address(row.ip)),
        "used": row.used,
        "tunnel_id": None if key is None else key >> SESSION_ID_BITS,
        "session_id": None if key is None else key & SESSION_ID_MASK,
        "user": row.user,
        "freed_s": row.freed_ago_s,
    }
