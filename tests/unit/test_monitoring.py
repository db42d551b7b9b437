"""What docs give to Prometheus and Grafana asks for metrics that there are."""

import asyncio
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from l2tpns_core.lns.state import LnsCounters
from l2tpns_core.metrics.census import Census, count_sessions
from l2tpns_core.metrics.counter_docs import docs_of
from l2tpns_core.metrics.exporter import Exporter
from l2tpns_core.metrics.families import FAMILIES
from l2tpns_core.metrics.lag import INTERVAL_S, LoopLag
from l2tpns_core.metrics.reference import metric_names, metrics_page
from l2tpns_core.observe.histogram import Histogram
from unit.cli.fakes import FakeBgp, FakeCluster, FakeContext

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "docs" / "monitoring"
FOREIGN = {"up", "process_resident_memory_bytes"}
METRIC = re.compile(r"\b(?:l2tpns|process)_\w+|\bup(?=\{)")
DASHBOARD = json.loads((MONITORING / "grafana.json").read_text())
NEIGHBOURS = ("l2tpns_cluster_", "l2tpns_bgp_")
PLANE = SimpleNamespace(plane="user", process={}, kernel=None)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_the_reference_is_that_of_the_code() -> None:
    """Write it anew: python -m l2tpns_core.metrics.reference > docs/reference/metrics.md"""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    assert page.strip() == metrics_page().strip()


def test_names_are_those_of_prometheus() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert re.fullmatch(r"l2tpns_[a-z0-9_]+[a-z0-9]", family.name)
        assert not family.name.endswith("_total")
        assert family.help
        assert family.kind in ("counter", "gauge", "histogram")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_metrics_that_there_are(panel: dict[str, object]) -> None:
    known = {*metric_names(), *FOREIGN}
    targets = panel["targets"]
    assert isinstance(targets, list)
    assert targets
    for target in targets:
        asked = set(METRIC.findall(target["expr"]))
        assert asked
        assert asked <= known
        assert target["expr"].count("(") == target["expr"].count(")")


def test_the_dashboard_can_be_imported() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert DASHBOARD["schemaVersion"] >= 36
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert set(panel["gridPos"]) == {"h", "w", "x", "y"}


def test_alerts_ask_for_metrics_that_there_are() -> None:
    lines = (MONITORING / "alerts.yml").read_text().splitlines()
    asked = [line.partition("expr:")[2] for line in lines if "expr:" in line]
    assert len(asked) == sum("alert:" in line for line in lines) > 5
    for expression in asked:
        names = set(METRIC.findall(expression))
        assert names
        assert names <= {*metric_names(), *FOREIGN}


def test_the_text_behind_a_counter_is_its_help() -> None:
    docs = docs_of(LnsCounters)
    assert docs["tunnel_timeout"] == "Tunnels whose LAC stopped answering"
    assert docs["login_accepted"] == "Login accepted"
    assert set(docs) == set(LnsCounters.__dataclass_fields__)


def test_a_histogram_counts_up_to_its_bounds() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.add(value)
    assert list(histogram.cumulative()) == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert histogram.total == 6.0


def test_a_census_of_nobody() -> None:
    census = asyncio.run(count_sessions(list))
    assert isinstance(census, Census)
    assert (census.throttled, dict(census.states)) == (0, {})


def test_the_lag_is_what_the_loop_was_away() -> None:
    async def play() -> LoopLag:
        lag = LoopLag(asyncio.get_running_loop())
        time.sleep(INTERVAL_S + 0.06)  # noqa: ASYNC251  (what it is to see)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        lag.close()
        return lag

    histogram = asyncio.run(play()).histogram
    assert sum(histogram.counts) == 1
    assert histogram.total >= 0.06


def test_who_asks_at_once_gets_what_another_got() -> None:
    async def play() -> None:
        context = FakeContext()
        subject = SimpleNamespace(
            version="1",
            cluster=FakeCluster(),
            bgp=FakeBgp(),
            started_time=0.0,
            lns=context.lns,
            radius=SimpleNamespace(servers=list),
            plugins=SimpleNamespace(loaded=list),
            counters=context.counters,
            spool_status=lambda: context.spool,
            totals=lambda: context.totals,
            plane_report=lambda: PLANE,
        )
        exporter = Exporter(subject, asyncio.get_running_loop())
        first, second = await asyncio.gather(exporter.render(""), exporter.render("text/plain"))
        assert first[1] is second[1]
        kind, text = await exporter.render("application/openmetrics-text; version=\xff")
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert text.endswith(b"# EOF\n")
        await exporter.close()

    asyncio.run(play())


def test_the_cluster_and_bgp_are_measured_where_there_are_such() -> None:
    context = FakeContext()
    sample = SimpleNamespace(subject=context)
    measured = {family.name: family for family in FAMILIES if family.name.startswith(NEIGHBOURS)}
    assert len(measured) == 14
    for family in measured.values():
        assert list(family.points(sample)) == [], family.name
    context.cluster, context.bgp = FakeCluster(), FakeBgp()
    values = {name: dict(family.points(sample)) for name, family in measured.items()}
    assert values["l2tpns_cluster_master"] == {(): 1}
    assert values["l2tpns_cluster_nodes"] == {(): 2}
    assert values["l2tpns_cluster_messages_refused"][("replay",)] == 3
    assert values["l2tpns_bgp_peer_up"] == {("192.0.2.9",): 1}
    assert values["l2tpns_bgp_announced"] == {("192.0.2.9",): 3}
