"""`show radius` (manual)."""

from collections.abc import Mapping

from l2tpns_core.cli.answer import Answer, Listing
from l2tpns_core.cli.commands.status import duration
from l2tpns_core.cli.context import PendingView, SpoolView
from l2tpns_core.cli.grammar import Call, CommandSet
from l2tpns_core.session import SESSION_ID_BITS

COMMANDS = CommandSet()
HEADER = f"{'ID':>6} {'Radius':>6} {'Sock':>4} {'State':<8} {'Session':>7} {'Retry':>10} {'Try':>3}"
SESSION_ID_MASK = (1 << SESSION_ID_BITS) - 1
NONE = "-"


@COMMANDS.command("show radius", "Show active radius queries")
def show_radius(call: Call) -> Answer:
    lns = call.context.lns
    pending = list(call.context.radius.pending())
    spool = call.context.spool_status()
    to_unix_time = lns.wall() - lns.clock()

    def line(request: PendingView) -> str:
        key = request.session_key
        session_id = _number(None if key is None else key & SESSION_ID_MASK)
        retry_time = int(request.retry_at + to_unix_time)
        return (
            f"{request.id:>6} {_number(request.identifier):>6} {_number(request.socket):>4} "
            f"{request.state:<8} {session_id:>7} {retry_time:>10} {request.tries:>3}"
        )

    def data(request: PendingView) -> Mapping[str, object]:
        key = request.session_key
        return {
            "id": request.id,
            "radius_id": request.identifier,
            "socket": request.socket,
            "server": request.server,
            "state": request.state,
            "tunnel_id": None if key is None else key >> SESSION_ID_BITS,
            "session_id": None if key is None else key & SESSION_ID_MASK,
            "retry_time": request.retry_at + to_unix_time,
            "tries": request.tries,
        }

    return Listing(
        rows=pending,
        line=line,
        data=data,
        header=HEADER,
        footer=lambda: ("", f"Used: {len(pending)}", *_spool_lines(spool)),
        name="requests",
        summary=lambda: {"used": len(pending), "spool": _spool_data(spool)},
    )


def _spool_lines(spool: SpoolView) -> list[str]:
    """What waits in the accounting spool; nothing when all is well."""
    lines = []
    if spool.records:
        age = duration(int(spool.oldest_age_s or 0))
        lines.append(
            f"Accounting spool: {spool.records} records, {spool.octets} of {spool.limit} bytes, "
            f"the oldest {age} old, {spool.in_flight} being sent"
        )
    if spool.dropped:
        lines.append(f"Lost for want of room: {spool.dropped} accounting records")
    if spool.is_down:
        lines.append("No RADIUS server takes accounting")
    if spool.records and not spool.on_disk:
        lines.append("The accounting spool cannot be written to disk")
    return lines


def _spool_data(spool: SpoolView) -> dict[str, object]:
    return {
        "records": spool.records,
        "bytes": spool.octets,
        "limit": spool.limit,
        "oldest_age_s": spool.oldest_age_s,
        "in_flight": spool.in_flight,
        "dropped": spool.dropped,
        "down": spool.is_down,
        "on_disk": spool.on_disk,
    }


def _number(value: int | None) -> str:
    return NONE if value is None else str(value)
