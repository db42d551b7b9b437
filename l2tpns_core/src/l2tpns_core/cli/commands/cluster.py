"""Commands about the cluster (manual, "show cluster", "Clustering"). The first lines of `show
cluster` are the original's."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from ipaddress import IPv4Address
from typing import Any

from l2tpns_core.cli.answer import Answer, Deferred, Message, Report
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Call, CommandSet
from l2tpns_core.observe.cluster_report import ClusterPeerReport, ClusterReport

COMMANDS = CommandSet()
ALONE = "This server stands alone: it is not part of a cluster (see cluster_secret)."
PEER_HEADER = (
    f"{'Address':<16} {'Role':<8} {'Uptime':>10} {'Heard':>8} {'Up to date':<10} {'Behind':>7}"
)


@COMMANDS.command("show cluster", "Show cluster information")
def show_cluster(call: Call) -> Answer:
    cluster = call.context.cluster
    if cluster is None:
        return _alone(call)
    report, now = cluster.report(), time.time()
    return Report(lambda: list(_lines(report, now)), lambda: {**_brief(report), **asdict(report)})


@COMMANDS.command(
    "cluster drain",
    "Move the work of this node to others, so that it can be stopped without loss",
    privileged=True,
)
def drain(call: Call) -> Answer:
    cluster = call.context.cluster
    if cluster is None:
        raise CommandError(ALONE)
    move = cluster.draining()

    def work() -> list[str]:
        if not move():
            raise CommandError("No other node took over: this one goes on (see show cluster)")
        return ["This node is drained: nothing depends on it (`no cluster drain` takes it back)"]

    return Deferred(work)


@COMMANDS.command(
    "no cluster drain", "Have this node take part in the cluster again", privileged=True
)
def undrain(call: Call) -> Answer:
    cluster = call.context.cluster
    if cluster is None:
        raise CommandError(ALONE)
    cluster.undrain()
    return Message(["This node takes part again"])


def _alone(call: Call) -> Answer:
    sessions = call.context.lns.sessions.values()
    highest_session = max((session.session_id for session in sessions), default=0)
    highest_tunnel = max(call.context.lns.endpoint.tunnels, default=0)
    return Report(
        lambda: [
            "Cluster status   : Master",
            f"Highest session  : {highest_session}",
            f"Highest tunnel   : {highest_tunnel}",
            "0 changes queued for sending",
            "0 peers.",
            ALONE,
        ],
        lambda: {
            "status": "master",
            "clustered": False,
            "highest_session": highest_session,
            "highest_tunnel": highest_tunnel,
            "peers": [],
        },
    )


def _brief(report: ClusterReport) -> dict[str, Any]:
    return {"status": "master" if report.role == "master" else "slave", "clustered": True}


def _lines(report: ClusterReport, now: float) -> Iterator[str]:
    status = "Master" if report.role == "master" else report.role.capitalize()
    yield f"Cluster status   : {status} for {span(now - report.since)}"
    yield f"My address       : {report.address}"
    yield f"VIP address      : {report.vip}"
    if report.group:
        yield f"Multicast address: {report.group}"
    yield f"UDP port         : {report.port}"
    yield f"Cluster i'face   : {report.interface}"
    if report.backend != "multicast":
        yield f"Backend          : {report.backend} {report.backend_state}".rstrip()
    if report.role != "master":
        heard = next((p.heard_ago_s for p in report.peers if p.address == report.master), None)
        age = "" if heard is None else f" (last heard {heard:.1f} seconds ago)"
        yield f"My master        : {report.master or 'Not defined'}{age}"
        yield f"Uptodate         : {yes_or_no(report.up_to_date)}"
    yield f"Draws traffic    : {yes_or_no(report.draws_traffic)}"
    if report.draining:
        yield "Draining         : Yes"
    yield f"Sequence         : {report.sequence} of reign {reign_text(report.reign)}"
    yield f"Sessions         : {report.sessions} in {report.tunnels} tunnels"
    if report.role == "master":
        yield f"{report.followers} slaves are up to date"
    yield f"{report.takeovers} times master, {report.lost_changes} changes lost to other masters"
    refused = {name: count for name, count in report.refused.items() if count}
    if refused:
        yield "Messages refused : " + ", ".join(f"{n} {name}" for name, n in refused.items())
    yield f"{len(report.peers)} peers."
    if report.peers:
        yield PEER_HEADER
        yield from (_peer(peer, now) for peer in report.peers)


def _peer(peer: ClusterPeerReport, now: float) -> str:
    uptime = span(now - peer.started) if peer.started else "-"
    state = "draining" if peer.draining else yes_or_no(peer.up_to_date)
    return (
        f"{peer.address:<16} {peer.role:<8} {uptime:>10} {peer.heard_ago_s:>6.1f} s "
        f"{state:<10} {peer.behind:>7}"
    )


def span(seconds: float) -> str:
    """A time as an operator reads it."""
    whole = max(int(seconds), 0)
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}d{clock}" if days else clock


def reign_text(reign: int) -> str:
    """Its number, and the master's address."""
    return f"{reign >> 32} ({IPv4Address(reign & 0xFFFFFFFF)})" if reign else "none"


def yes_or_no(value: bool) -> str:
    return "Yes" if value else "No"
