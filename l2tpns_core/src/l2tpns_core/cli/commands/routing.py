"""Commands about BGP (manual, "Routing"; later releases' `show bgp`, `suspend bgp`, `restart
bgp`)."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from l2tpns_core.cli.answer import Answer, Message, Report
from l2tpns_core.cli.context import BgpView
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, Choice, CommandSet

COMMANDS = CommandSet()
Act = Callable[[BgpView, str], Sequence[str]]
PEER_HELP = "Address of a BGP peer (all when left out)"
HEADER = (
    f"{'Peer':<16} {'AS':>10} {'State':<12} {'For':>9} {'Ups':>4} {'Route':<10} "
    f"{'Announced':>9} {'Pending':>7} {'Hold':>5}"
)
NOT_CONFIGURED = "BGP is not configured (see as_number and bgp_peer1)."


def _peers(given: Sequence[str]) -> Iterator[Choice]:
    """Nothing is known of peers before the command runs."""
    yield Choice("<address>", PEER_HELP)


PEER = Argument("peer", PEER_HELP, optional=True, values=_peers)


@COMMANDS.command("show bgp", "Show BGP status", PEER)
def show_bgp(call: Call) -> Answer:
    bgp = call.context.bgp
    if bgp is None:
        return Report(lambda: [NOT_CONFIGURED], lambda: {"configured": False, "peers": []})
    wanted = call.arguments[0] if call.arguments else ""
    peers = [peer for peer in bgp.peers() if not wanted or peer.address == wanted]
    if wanted and not peers:
        raise CommandError(f"{wanted} is no BGP peer")
    settings, now = bgp.settings, time.time()

    def lines() -> Iterator[str]:
        yield f"BGPv4 router identifier {settings.router_id}, local AS number {settings.asn}"
        yield (
            f"Graceful restart: {settings.restart_s} s"
            if settings.restart_s
            else ("Graceful restart: no")
        )
        yield ""
        yield HEADER
        yield "-" * len(HEADER)
        for peer in peers:
            route = "suspended" if peer.is_suspended else "yes" if peer.announces else "no"
            since = f"{now - peer.since:.0f} s" if peer.since else "-"
            yield (
                f"{peer.address:<16} {peer.asn:>10} {peer.state:<12} {since:>9} {peer.ups:>4} "
                f"{route:<10} {peer.announced:>9} {peer.pending:>7} {peer.hold_s:>5}"
            )
            if peer.reason and peer.state != "Established":
                yield f"    {peer.reason}"

    def data() -> dict[str, Any]:
        return {
            "configured": True,
            "as_number": settings.asn,
            "router_id": str(settings.router_id),
            "graceful_restart_s": settings.restart_s,
            "peers": [asdict(peer) for peer in peers],
        }

    return Report(lines, data)


@COMMANDS.command("suspend bgp", "Withdraw routes from BGP neighbour", PEER, privileged=True)
def suspend(call: Call) -> Answer:
    return _done(call, "Suspending", lambda bgp, peer: bgp.suspend(peer))


@COMMANDS.command("no suspend bgp", "Advertise routes to BGP neighbour", PEER, privileged=True)
def no_suspend(call: Call) -> Answer:
    return _done(call, "Un-suspending", lambda bgp, peer: bgp.suspend(peer, suspended=False))


@COMMANDS.command("restart bgp", "Restart BGP", PEER, privileged=True)
def restart(call: Call) -> Answer:
    return _done(call, "Restarting", lambda bgp, peer: bgp.restart(peer))


def _done(call: Call, what: str, act: Act) -> Answer:
    bgp = call.context.bgp
    if bgp is None:
        raise CommandError(NOT_CONFIGURED)
    try:
        peers = act(bgp, call.arguments[0] if call.arguments else "")
    except LookupError as error:
        raise CommandError(str(error)) from None
    return Message([f"{what} peer {peer}" for peer in peers])
