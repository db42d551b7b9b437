"""`show cluster` and `show bgp`: what they tell of a server that stands alone.

The lines of `show cluster` are the original's, without those that mean nothing without a cluster.
"""

from l2tpns_core.cli.answer import Answer, Report
from l2tpns_core.cli.grammar import Call, CommandSet

COMMANDS = CommandSet()


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
    return Report(lambda: ["BGP is not configured."], lambda: {"configured": False, "peers": []})
