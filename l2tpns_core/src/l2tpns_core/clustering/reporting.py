"""What there is to tell of this node and its cluster."""

import logging
from collections.abc import Mapping
from dataclasses import fields
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from l2tpns_core.cluster import events
from l2tpns_core.cluster.errors import Refusal
from l2tpns_core.cluster.membership import Peer
from l2tpns_core.control.dispatch import Cluster
from l2tpns_core.observe.cluster_report import ClusterPeerReport, ClusterReport

if TYPE_CHECKING:
    from l2tpns_core.clustering.service import ClusterService


log = logging.getLogger("l2tpns.cluster")

COMPLAINT_S: Final = 60.0
"""Between two log lines about messages that are refused."""
WHY: Final = {
    Refusal.KEY: "they have another cluster_secret",
    Refusal.VERSION: "they are of a version too far from ours",
    Refusal.TIME: "the clocks of the nodes differ by more than 30 seconds (see NTP)",
}
"""What an operator can mend."""


def report_of(service: "ClusterService") -> ClusterReport:
    """The whole of it, as of now."""
    node, place, lns = service.node, service.place, service.lns
    now = service.now()
    counters = {
        each.name: value
        for each in fields(node.counters)
        if isinstance(value := getattr(node.counters, each.name), int)
    }
    image = node.replica.image
    has_image = image is not None and not service.decides
    return ClusterReport(
        role=node.role.value.lower(),
        decides=service.decides,
        address=str(IPv4Address(place.settings.address)),
        vip=str(lns.config.bind_address),
        interface=lns.config.cluster_interface,
        group=str(place.group) if place.group is not None else "",
        port=place.port,
        since=service.since,
        master=str(IPv4Address(node.master)) if node.master else "",
        up_to_date=node.up_to_date,
        draws_traffic=service.draws_traffic,
        draining=node.is_draining,
        reign=node.reign,
        sequence=node.head,
        followers=node.followers(now),
        sessions=len(image.sessions if image and has_image else lns.sessions),
        tunnels=len(image.tunnels if image and has_image else lns.endpoint.tunnels),
        takeovers=service.takeovers,
        lost_changes=service.lost_changes,
        backend=service.backend.name if service.backend is not None else "multicast",
        backend_state=service.backend.state() if service.backend is not None else "",
        peers=tuple(
            peer_report(peer, node.master, node.head, now)
            for _, peer in sorted(node.members.peers.items())
        ),
        counters=counters,
        refused={refusal.value: count for refusal, count in node.counters.refused.items()},
    )


def peer_report(peer: Peer, master: int, head: int, now: float) -> ClusterPeerReport:
    """What a node has told of itself last."""
    ping = peer.ping
    return ClusterPeerReport(
        address=str(IPv4Address(peer.address)),
        role="master" if peer.address == master else "slave",
        started=ping.started / 1000 if ping is not None else 0.0,
        heard_ago_s=max(now - peer.heard_at, 0.0),
        up_to_date=ping is None or ping.up_to_date,
        draining=ping is not None and ping.draining,
        behind=max(head - ping.sequence, 0) if ping is not None and head else 0,
    )


def cluster_of(service: "ClusterService | None") -> Cluster | None:
    """What control messages are told of the cluster."""
    if service is None:
        return None

    def master() -> str:
        return str(IPv4Address(service.node.master)) if service.node.master else ""

    return Cluster(lambda: service.decides, master)


def log_change(event: events.Event) -> None:
    """What an operator should know."""
    match event:
        case events.MasterFound(master):
            log.warning("cluster: %s is the master", IPv4Address(master))
        case events.MasterLost(master):
            log.error("cluster: the master %s is silent", IPv4Address(master))
        case events.NodeJoined(address):
            log.warning("cluster: %s is there", IPv4Address(address))
        case events.NodeLost(address):
            log.error("cluster: %s is gone", IPv4Address(address))
        case events.UpToDate(value):
            log.warning("cluster: this slave is %s", "up to date" if value else "behind")


class Complaints:
    """Tells of messages that are refused, now and then: nodes that do not hear each other each
    elect a master, so an operator has to know why."""

    def __init__(self) -> None:
        self._told: dict[Refusal, int] = {}
        self._next_at = 0.0

    def look(self, refused: Mapping[Refusal, int], now: float) -> None:
        if now < self._next_at:
            return
        for refusal, why in WHY.items():
            more = refused.get(refusal, 0) - self._told.get(refusal, 0)
            if more:
                log.error("cluster: %d messages were refused: %s", more, why)
                self._next_at = now + COMPLAINT_S
        self._told = dict(refused)
