"""The metrics of the cluster and of BGP, where there are such."""

from collections.abc import Callable
from typing import Final

from l2tpns_core.metrics.families import Points, Sample, family
from l2tpns_core.observe.cluster_report import ClusterReport

NUMBERS: Final[tuple[tuple[str, str, str, Callable[[ClusterReport], int]], ...]] = (
    (
        *("cluster_master", "gauge", "1 on the master of a cluster, 0 on its slaves"),
        lambda report: report.decides,
    ),
    (
        *("cluster_has_master", "gauge", "Whether this node knows of a master"),
        lambda report: bool(report.master),
    ),
    (
        *("cluster_up_to_date", "gauge", "Whether this node has all that the master has"),
        lambda report: report.up_to_date,
    ),
    (
        *("cluster_draws_traffic", "gauge", "Whether this node is in the routes"),
        lambda report: report.draws_traffic,
    ),
    (
        *("cluster_nodes", "gauge", "Nodes that this one hears, itself included"),
        lambda report: len(report.peers) + 1,
    ),
    (
        *("cluster_followers", "gauge", "Slaves that are up to date, on the master"),
        lambda report: report.followers,
    ),
    (
        *("cluster_sequence", "gauge", "The last change that this node has"),
        lambda report: report.sequence,
    ),
    (
        *("cluster_takeovers", "counter", "Times that this node became master"),
        lambda report: report.takeovers,
    ),
    (
        "cluster_lost_changes",
        "counter",
        "Changes of this node as a master that another undid",
        lambda report: report.lost_changes,
    ),
)
"""Those that are one number for a node."""


def _report(sample: Sample) -> ClusterReport | None:
    cluster = sample.subject.cluster
    return None if cluster is None else cluster.report()


def _number(value_of: Callable[[ClusterReport], int]) -> Callable[[Sample], Points]:
    def points(sample: Sample) -> Points:
        report = _report(sample)
        if report is not None:
            yield (), int(value_of(report))

    return points


for _name, _kind, _help, _value_of in NUMBERS:
    family(_name, _kind, _help)(_number(_value_of))


@family("cluster_messages_refused", "counter", "Messages that were not taken, by why", "reason")
def _refused(sample: Sample) -> Points:
    report = _report(sample)
    if report is not None:
        for reason, count in report.refused.items():
            yield (reason,), count


@family(
    "cluster_events", "counter", "What happens in the cluster, by the names of the counters", "name"
)
def _events(sample: Sample) -> Points:
    report = _report(sample)
    if report is not None:
        for name, count in report.counters.items():
            yield (name,), count


@family("bgp_peer_up", "gauge", "Whether a BGP session is established", "peer")
def _bgp_up(sample: Sample) -> Points:
    bgp = sample.subject.bgp
    for peer in bgp.peers() if bgp is not None else ():
        yield (peer.address,), int(peer.state == "Established")


@family("bgp_announced", "gauge", "Networks that a peer is told of", "peer")
def _bgp_announced(sample: Sample) -> Points:
    bgp = sample.subject.bgp
    for peer in bgp.peers() if bgp is not None else ():
        yield (peer.address,), peer.announced


@family("bgp_sessions", "counter", "Sessions with a peer so far", "peer")
def _bgp_sessions(sample: Sample) -> Points:
    bgp = sample.subject.bgp
    for peer in bgp.peers() if bgp is not None else ():
        yield (peer.address,), peer.ups
