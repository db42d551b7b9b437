"""The metrics, made of what the daemon keeps anyway. docs/reference/metrics.md is generated from
this table.

Nothing here is about a single session: a time series for each of tens of thousands of subscribers
helps nobody.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from l2tpns_core.lns.login import REFUSAL_WORDS
from l2tpns_core.metrics.census import Census
from l2tpns_core.metrics.counter_docs import COUNTERS, docs_of
from l2tpns_core.observe.counters import CounterBoard, TrafficTotals
from l2tpns_core.observe.histogram import Histogram
from l2tpns_core.observe.plane_report import PlaneReport
from l2tpns_core.radius.status import ServerCounters
from l2tpns_core.session import TerminateCause

DROPS: Final = {
    "header_errors": "up",
    "unknown_session": "up",
    "wrong_peer": "up",
    "empty": "up",
    "packet_errors": "up",
    "source_spoofed": "up",
    "hook_drops_in": "up",
    "filter_drops_in": "up",
    "not_ipv4": "down",
    "no_session": "down",
    "too_big": "down",
    "hook_drops_out": "down",
    "filter_drops_out": "down",
    "throttle_drops": "both",
    "socket_overruns": "up",
    "socket_send_failures": "down",
    "tun_write_failures": "up",
}
"""Counters of the plane that are packets lost, with the direction that they went."""


class Subject(Protocol):
    """What the metrics are about: the parts of a running daemon."""

    @property
    def version(self) -> str: ...
    @property
    def started_time(self) -> float: ...
    @property
    def lns(self) -> Any: ...
    @property
    def radius(self) -> Any: ...
    @property
    def plugins(self) -> Any: ...
    @property
    def counters(self) -> CounterBoard: ...
    @property
    def cluster(self) -> Any: ...
    @property
    def bgp(self) -> Any: ...
    def spool_status(self) -> Any: ...
    def totals(self) -> TrafficTotals: ...
    def plane_report(self) -> PlaneReport: ...


@dataclass(slots=True, frozen=True)
class Sample:
    """What a scrape is made of."""

    subject: Subject
    census: Census
    lag: Histogram
    values: dict[str, dict[str, int]] = field(default_factory=dict)
    """The counters, as they are, by group and name."""


Points = Iterator[tuple[tuple[str, ...], Any]]


@dataclass(slots=True, frozen=True)
class Family:
    """One metric: its points are values by labels, or histograms."""

    name: str
    kind: str
    """`counter`, `gauge` or `histogram`."""
    help: str
    labels: tuple[str, ...]
    points: Callable[[Sample], Points]

    @property
    def shown_name(self) -> str:
        """As it is in a query."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def metric(self, sample: Sample) -> Metric:
        """For prometheus_client."""
        if self.kind == "histogram":
            histogram = HistogramMetricFamily(self.name, self.help, labels=self.labels)
            for labels, value in self.points(sample):
                histogram.add_metric(labels, list(value.cumulative()), value.total)
            return histogram
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = made(self.name, self.help, labels=self.labels)
        for labels, value in self.points(sample):
            family.add_metric(labels, float(value))
        return family


FAMILIES: Final[list[Family]] = []
Make = Callable[[Sample], Points]


def family(name: str, kind: str, help_text: str, *labels: str) -> Callable[[Make], Make]:
    """Declare a metric; the function gives its points."""

    def declare(points: Make) -> Make:
        FAMILIES.append(Family(f"l2tpns_{name}", kind, help_text, labels, points))
        return points

    return declare


@family("build_info", "gauge", "1, with what runs here", "version", "dataplane")
def _build(sample: Sample) -> Points:
    yield (sample.subject.version, sample.subject.plane_report().plane), 1


@family("start_time_seconds", "gauge", "When the daemon was started, in Unix time")
def _started(sample: Sample) -> Points:
    yield (), sample.subject.started_time


@family("sessions", "gauge", "Sessions by where they are in their life", "state")
def _sessions(sample: Sample) -> Points:
    for state in ("calling", "link", "network", "closing"):
        yield (state,), sample.census.states.get(state, 0)


@family("sessions_treated", "gauge", "Sessions that are treated in a special way", "how")
def _treated(sample: Sample) -> Points:
    for how in ("throttled", "gardened", "intercepted", "filtered"):
        yield (how,), getattr(sample.census, how)


@family(
    "line_round_trip_seconds",
    "histogram",
    "Lines that are up by the newest round trip of an LCP echo: as it is now, not a sum over time",
)
def _round_trips(sample: Sample) -> Points:
    yield (), sample.census.round_trips


@family(
    "line_loss_ratio",
    "histogram",
    "Lines that are up by the share of their last 16 LCP echoes that were lost: as it is now",
)
def _losses(sample: Sample) -> Points:
    yield (), sample.census.losses


@family(
    "session_ends",
    "counter",
    "Sessions that ended, by the Acct-Terminate-Cause that RADIUS is told",
    "cause",
)
def _ends(sample: Sample) -> Points:
    for cause in TerminateCause:
        yield (cause.name.lower(),), sample.subject.lns.ends[cause]


@family(
    "login_refusals",
    "counter",
    "Logins refused, by why: rejected is the verdict of RADIUS, the others are of the LNS",
    "reason",
)
def _refusals(sample: Sample) -> Points:
    for reason in REFUSAL_WORDS:
        yield (reason,), sample.subject.lns.login.refusals[reason]


@family("tunnels", "gauge", "Tunnels by the state of their control connection", "state")
def _tunnels(sample: Sample) -> Points:
    states = [tunnel.state.value for tunnel in sample.subject.lns.endpoint.tunnels.values()]
    for state in ("wait-ctl-conn", "established", "closing"):
        yield (state,), states.count(state)


@family("pool_addresses", "gauge", "Addresses of ip_pool", "state")
def _pool(sample: Sample) -> Points:
    yield ("used",), sample.subject.lns.pool.used_count
    yield ("free",), sample.subject.lns.pool.free_count


@family(
    "traffic_bytes", "counter", "Octets of subscribers' IP packets, up is from them", "direction"
)
def _bytes(sample: Sample) -> Points:
    totals = sample.subject.totals()
    yield ("up",), totals.ethernet.tx_bytes
    yield ("down",), totals.ethernet.rx_bytes


@family("traffic_packets", "counter", "Subscribers' IP packets, up is from them", "direction")
def _packets(sample: Sample) -> Points:
    totals = sample.subject.totals()
    yield ("up",), totals.ethernet.tx_packets
    yield ("down",), totals.ethernet.rx_packets


@family(
    "dataplane_packets",
    "counter",
    "Packets forwarded, by whom: kernel (eBPF) or process",
    "direction",
    "by",
)
def _by_whom(sample: Sample) -> Points:
    report = sample.subject.plane_report()
    for direction in ("up", "down"):
        yield (direction, "process"), report.process.get(direction, 0)
        if report.kernel is not None:
            yield (direction, "kernel"), report.kernel.hits.get(direction, 0)


@family(
    "dataplane_drops",
    "counter",
    "Packets that were dropped, in the kernel or by the process, by reason",
    "direction",
    "reason",
)
def _drops(sample: Sample) -> Points:
    plane = sample.values.get("plane", {})
    for name, direction in DROPS.items():
        yield (direction, name), plane.get(name, 0)


@family(
    "dataplane_punts",
    "counter",
    "Packets that the kernel left to the process, by reason",
    "direction",
    "reason",
)
def _punts(sample: Sample) -> Points:
    kernel = sample.subject.plane_report().kernel
    for name, count in ({} if kernel is None else kernel.punts).items():
        direction, _, reason = name.partition(" ")
        yield (direction, reason.replace(" ", "_")), count


@family("radius_reply_seconds", "histogram", "Time until a server answered", "server", "purpose")
def _replies(sample: Sample) -> Points:
    for server in sample.subject.radius.servers():
        yield (f"{server.address}:{server.port}", server.purpose), server.histogram


def _of_server(name: str) -> Make:
    def points(sample: Sample) -> Points:
        for server in sample.subject.radius.servers():
            where = f"{server.address}:{server.port}"
            yield (where, server.purpose), getattr(server.counters, name)

    return points


for _name, _text in docs_of(ServerCounters).items():
    family(f"radius_server_{_name}", "counter", _text, "server", "purpose")(_of_server(_name))


@family("radius_server_up", "gauge", "0 while a server is given up for dead", "server", "purpose")
def _servers(sample: Sample) -> Points:
    for server in sample.subject.radius.servers():
        yield (f"{server.address}:{server.port}", server.purpose), int(not server.is_dead)


@family("radius_requests_pending", "gauge", "Requests without an answer", "server", "purpose")
def _pending(sample: Sample) -> Points:
    for server in sample.subject.radius.servers():
        yield (f"{server.address}:{server.port}", server.purpose), server.pending + server.waiting


@family("accounting_spool_records", "gauge", "Accounting records that wait for a server")
def _spool(sample: Sample) -> Points:
    yield (), sample.subject.spool_status().records


@family("accounting_spool_bytes", "gauge", "The room that they take")
def _spool_bytes(sample: Sample) -> Points:
    yield (), sample.subject.spool_status().octets


@family("accounting_spool_oldest_seconds", "gauge", "How long ago the oldest of them happened")
def _spool_age(sample: Sample) -> Points:
    yield (), sample.subject.spool_status().oldest_age_s or 0.0


@family(
    "loop_lag_seconds",
    "histogram",
    "How late the event loop came to a timer, ten times a second: what logins and LACs wait for",
)
def _lag(sample: Sample) -> Points:
    yield (), sample.lag


def _hooks(sample: Sample, name: str) -> Points:
    for plugin in sample.subject.plugins.loaded():
        for event, statistics in plugin.statistics.items():
            yield (plugin.name, event), getattr(statistics, name)


@family("plugin_calls", "counter", "Calls of plugins' hooks", "plugin", "event")
def _calls(sample: Sample) -> Points:
    return _hooks(sample, "calls")


@family("plugin_seconds", "counter", "Time spent in them", "plugin", "event")
def _seconds(sample: Sample) -> Points:
    return _hooks(sample, "seconds")


@family("plugin_errors", "counter", "Calls that failed", "plugin", "event")
def _errors(sample: Sample) -> Points:
    return _hooks(sample, "errors")


@family(
    "plugin_slow_calls", "counter", "Calls that took longer than plugin_slow_ms", "plugin", "event"
)
def _slow(sample: Sample) -> Points:
    return _hooks(sample, "slow")


def _counter(group: str, name: str) -> Make:
    def points(sample: Sample) -> Points:
        yield (), sample.values.get(group, {}).get(name, 0)

    return points


def _declare_counters() -> None:
    """Every counter of `show counters`."""
    for group, record in COUNTERS.items():
        for name, text in docs_of(record).items():
            full = name if name.startswith(f"{group}_") else f"{group}_{name}"
            family(full, "counter", f"{text} ({group}.{name} of `show counters`)")(
                _counter(group, name)
            )


_declare_counters()


def metrics_of(sample: Sample) -> list[Metric]:
    """All metrics at this moment."""
    return [each.metric(sample) for each in FAMILIES]
