"""The bench's report: rows, ratios, JSON and back, and the tables."""

import json
import re

import pytest

from l2tpns_core.lab.bench import document, pictures
from l2tpns_core.lab.bench.report import (
    BESIDE,
    GENERATOR,
    LATENCY,
    LOSS_FREE,
    PACKETS,
    REFERENCE,
    SESSIONS,
    TCP,
    THROTTLED,
    Aim,
    Report,
    aims_of,
    best_cpu,
    machine,
)

RATES = {"plain": [100.0, 200.0, 300.0], "ebpf": [95.0, 180.0, 300.0], "debian": [40.0, 60.0, 90.0]}


def report() -> Report:
    made = Report(
        {"cpu": "a CPU", "cores": 2, "kernel": "Linux 6.18"},
        "l2tpns-lab bench",
        {"rounds": 3, "seconds": 0.5},
        titles={name: name.title() for name in RATES},
    )
    for name, rates in RATES.items():
        for direction in ("up", "down"):
            for size in (64, 1400):
                same = {"candidate": name, "direction": direction, "size": size}
                row = made.row(PACKETS, **same)
                row.rounds, row.cpu_ns = list(rates), [1e5 / rate for rate in rates]
                made.row(LOSS_FREE, **same).cpu_ns = [400.0]
            for sessions in (1, 1000):
                row = made.row(
                    SESSIONS, candidate=name, direction=direction, sessions=sessions, condition=""
                )
                row.rounds = list(rates)
            made.row(TCP, candidate=name, direction=direction, flows=16).rounds = list(rates)
        row = made.row(LATENCY, candidate=name)
        row.rounds, row.percentiles = [2e-5], {"p50": 2e-5, "p99": 9e-5}
    one = {"candidate": "ebpf", "direction": "up", "sessions": 1000, "condition": REFERENCE}
    made.row(SESSIONS, **one).rounds = [100.0, 200.0, 400.0]
    for condition, rates in ((THROTTLED, [98.0]), (f"{REFERENCE} {THROTTLED}", [100.0])):
        row = made.row(BESIDE, candidate="ebpf", direction="up", condition=condition)
        row.rounds = rates
    return made


def measured(text: str) -> Aim:
    return next(aim for aim in aims_of(report()) if text in aim.text)


def test_ratios_are_medians_of_the_rounds_own_ratios() -> None:
    assert measured("packets up, 64 bytes, to plain").measured == pytest.approx(0.95)
    assert measured("packets up, 64 bytes, to Debian").measured == pytest.approx(3.0)
    assert measured("TCP down, 16 flows").measured == pytest.approx(3.0)
    assert measured("1,000 sessions to one").measured == pytest.approx(0.9)
    assert measured(THROTTLED).measured == pytest.approx(0.98)


def test_an_aim_is_met_on_its_own_side() -> None:
    assert measured("packets up, 64 bytes, to plain").met
    assert not measured("TCP down, 16 flows").met
    cpu = measured("CPU per packet up, 64 bytes")
    assert not cpu.at_least
    assert not cpu.met
    assert Aim("x", 0.2, 0.25, at_least=False).met


def test_cpu_time_is_taken_where_it_is_least() -> None:
    made = report()
    assert best_cpu(made, made.find(PACKETS, candidate="ebpf")[0]) == 400.0
    row = made.find(PACKETS, candidate="ebpf")[0]
    row.cpu_ns = [300.0]
    assert best_cpu(made, row) == 300.0


def test_without_a_candidate_nothing_is_said_about_it() -> None:
    made = report()
    made.rows = [row for row in made.rows if row.candidate != "debian"]
    assert not [aim for aim in aims_of(made) if "Debian" in aim.text]
    assert aims_of(Report({}, "", {})) == []


def test_a_report_survives_json() -> None:
    made = report()
    again = Report.from_dict(json.loads(json.dumps(made.as_dict())))
    assert again == made
    with pytest.raises(ValueError, match="not a report"):
        Report.from_dict({"form": 0})


def test_a_row_is_made_once() -> None:
    made = report()
    row = made.row(TCP, candidate="ebpf", direction="up", flows=16)
    assert row.rounds == RATES["ebpf"]
    assert len(made.find(TCP)) == 6


def test_tables_line_up_and_name_the_machine() -> None:
    text = document.render(report(), graphs=True)
    assert "a CPU, 2 cores, Linux 6.18" in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert len(tables) == 8
    for table in tables:
        assert len({len(line) for line in table.splitlines()}) == 1
    links = set(re.findall(r"\]\(([^)]+)\)", text))
    assert links == {pictures.BY_SIZE, pictures.BY_SESSIONS, pictures.CPU}
    assert "](" not in document.render(report())


def test_what_was_not_measured_has_no_table_and_no_graph() -> None:
    made = report()
    made.rows = made.find(TCP)
    text = document.render(made, graphs=True)
    assert text.count("## ") == 2  # the ratios and TCP
    assert "![" not in text
    assert pictures.draw(made) == {}


def test_there_is_a_graph_for_each_question() -> None:
    made = report()
    made.row(PACKETS, candidate=GENERATOR, direction="up", size=64).rounds = [1000.0]
    graphs = pictures.draw(made)
    assert set(graphs) == {pictures.BY_SIZE, pictures.BY_SESSIONS, pictures.CPU}
    assert all("plain forwarding" in svg and "</svg>" in svg for svg in graphs.values())


def test_the_machine_has_no_name() -> None:
    assert set(machine()) == {"cpu", "cores", "kernel"}
    assert re.fullmatch(r"Linux \d+\.\d+", machine()["kernel"])
