"""Commands about tunnels (manual, "show tunnel", "drop tunnel")."""

from collections.abc import Iterator, Mapping

from l2tpns_core.cli.answer import Answer, Listing, Message
from l2tpns_core.cli.commands.live import live_tunnels
from l2tpns_core.cli.context import CommandContext, TunnelView
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, CommandSet
from l2tpns_core.config.errors import shown
from l2tpns_core.observe.text import printable, token

COMMANDS = CommandSet()
HEADER = f"{'TID':>5} {'Hostname':>20} {'IP':>20} {'State':>7} Sessions"
STATES = {
    "IDLE": "Free",
    "WAIT_CTL_CONN": "Opening",
    "ESTABLISHED": "Open",
    "CLOSING": "Dieing",
}
"""The manual's names (heading "show tunnel") for the states of l2tp.tunnel."""
MAX_TUNNEL_ID = 65_535
IDS_PER_LINE = 16
DROP_REASON = "dropped by the operator"


@COMMANDS.command(
    "show tunnels",
    "Show a list of tunnels or details for a single tunnel",
    Argument("ID", "Tunnel ID", optional=True, repeated=True, live=live_tunnels),
    at_master=True,
)
def show_tunnels(call: Call) -> Answer:
    context = call.context
    tunnels = context.lns.endpoint.tunnels
    if call.arguments:
        chosen = [_find(context, text, "Invalid tunnel id {}") for text in call.arguments]
        return Listing(
            rows=chosen,
            line=lambda tunnel: tunnel_details(tunnel, context.lns.clock()),
            data=lambda tunnel: tunnel_data(tunnel, context.lns.clock()),
        )
    return Listing(
        rows=list(tunnels.values()),
        line=tunnel_line,
        data=lambda tunnel: tunnel_data(tunnel, context.lns.clock()),
        header=HEADER,
    )


@COMMANDS.command(
    "drop tunnel",
    "Disconnect a tunnel and all sessions on that tunnel",
    Argument(
        "ID", "Tunnel ID", repeated=True, missing="Specify a tunnel to drop", live=live_tunnels
    ),
    privileged=True,
    at_master=True,
)
def drop_tunnel(call: Call) -> Answer:
    message = Message()
    for text in call.arguments:
        try:
            invalid = f"Invalid tunnel ID (1-{MAX_TUNNEL_ID})"
            tunnel = _find(call.context, text, invalid)
            if tunnel.state.name == "CLOSING":
                raise CommandError(f"Tunnel {tunnel.local_id} is already being shut down")
        except CommandError as error:
            message.fail(str(error))
            continue
        call.context.lns.drop_tunnel(tunnel, DROP_REASON)
        name = printable(tunnel.hostname)
        message.lines.append(f"Tunnel {tunnel.local_id} shut down ({name})")
    return message


def tunnel_line(tunnel: TunnelView) -> str:
    """The line of the list."""
    name, address = token(tunnel.hostname) or "(null)", tunnel.peer[0]
    return (
        f"{tunnel.local_id:>5} {name:>20} {address:>20} {state_of(tunnel):>7} "
        f"{len(tunnel.calls):>6}"
    )


def tunnel_details(tunnel: TunnelView, now: float) -> Iterator[str]:
    """The lines of `show tunnel ID`."""
    channel = tunnel.channel
    yield ""
    yield f"Tunnel {tunnel.local_id}:"
    yield f"\tState:\t\t{state_of(tunnel)}"
    yield f"\tHostname:\t{printable(tunnel.hostname) or '(none)'}"
    yield f"\tVendor:\t\t{printable(tunnel.vendor_name) or '(none)'}"
    yield f"\tRemote ID:\t{tunnel.peer_id}"
    yield f"\tRemote IP:\t{tunnel.peer[0]}"
    yield f"\tRemote Port:\t{tunnel.peer[1]}"
    yield f"\tRx Window:\t{channel.peer_window}"
    yield f"\tNext Recv:\t{channel.next_nr}"
    yield f"\tNext Send:\t{channel.next_ns}"
    yield f"\tQueue Len:\t{channel.queue_length}"
    yield f"\tResent:\t\t{channel.retransmissions}"
    yield f"\tLast Packet Age:{max(0, int(now - tunnel.last_heard_at))}"
    ids = [str(session_id) for session_id in tunnel.calls]
    yield f"\tSessions:\t{' '.join(ids[:IDS_PER_LINE])}"
    for start in range(IDS_PER_LINE, len(ids), IDS_PER_LINE):
        yield f"\t\t\t{' '.join(ids[start : start + IDS_PER_LINE])}"


def tunnel_data(tunnel: TunnelView, now: float) -> Mapping[str, object]:
    channel = tunnel.channel
    return {
        "tunnel_id": tunnel.local_id,
        "remote_tunnel_id": tunnel.peer_id,
        "hostname": tunnel.hostname,
        "vendor": tunnel.vendor_name,
        "ip": tunnel.peer[0],
        "port": tunnel.peer[1],
        "local_ip": tunnel.local,
        "state": tunnel.state.name.lower(),
        "sessions": len(tunnel.calls),
        "opened_s": max(0.0, now - tunnel.opened_at),
        "last_heard_s": max(0.0, now - tunnel.last_heard_at),
        "receive_window": channel.peer_window,
        "next_receive": channel.next_nr,
        "next_send": channel.next_ns,
        "queue_length": channel.queue_length,
        "retransmissions": channel.retransmissions,
    }


def state_of(tunnel: TunnelView) -> str:
    """The state in the words of the manual."""
    return STATES.get(tunnel.state.name, tunnel.state.name.capitalize())


def _find(context: CommandContext, text: str, invalid: str) -> TunnelView:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 8 else 0
    if not 1 <= number <= MAX_TUNNEL_ID:
        raise CommandError(invalid.format(shown(text)))
    tunnel = context.lns.endpoint.tunnels.get(number)
    if tunnel is None:
        raise CommandError(f"Tunnel {number} is not connected")
    return tunnel
