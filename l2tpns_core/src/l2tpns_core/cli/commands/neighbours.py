"""`show cluster` and `show bgp`: what they tell of a server that stands alone.

The lines of `show cluster` are the original's, without those that mean nothing without a cluster.
Directives of BGP are accepted, but there is no BGP: `show bgp` says so when one is set.
"""

from collections.abc import Iterator
from typing import Final

from l2tpns_core.cli.answer import Answer, Report
from l2tpns_core.cli.grammar import Call, CommandSet

COMMANDS = CommandSet()
BGP_DIRECTIVES: Final = ("as_number", "bgp_peer1", "bgp_peer1_as", "bgp_peer2", "bgp_peer2_as")


@COMMANDS.command("show cluster", "Show cluster information")
def show_cluster(call: Call) -> Answer:
    sessions = call.context.lns.sessions.values()
    tunnels = call.context.lns.endpoint.tunnels
    highest_session = max((session.session_id for session in sessions), default=0)
    highest_tunnel = max(tunnels, default=0)
    return Report(
        lambda: [
            "Cluster status   : Master",
            f"Highest session  : {highest_session}",
            f"Highest tunnel   : {highest_tunnel}",
            "0 changes queued for sending",
            "0 peers.",
        ],
        lambda: {
            "status": "master",
            "highest_session": highest_session,
            "highest_tunnel": highest_tunnel,
            "peers": [],
        },
    )


@COMMANDS.command("show bgp", "Show BGP status")
def show_bgp(call: Call) -> Answer:
    config = call.context.config
    ignored = [name for name in BGP_DIRECTIVES if getattr(config, name)]

    def lines() -> Iterator[str]:
        if ignored:
            yield f"There is no BGP in this release; without effect: {', '.join(ignored)}"
        else:
            yield "BGP is not configured."

    return Report(lines, lambda: {"configured": False, "peers": [], "without_effect": ignored})
