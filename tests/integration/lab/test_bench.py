"""`l2tpns-lab bench` with the smallest selection: what it counts makes sense, at any speed."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.netns, pytest.mark.slow]

COMMAND = [sys.executable, "-m", "l2tpns_core.lab.main", "bench"]
SELECTION = [
    *("--candidates", "plain,ebpf,user", "--measures", "packets,loss-free,sessions,tcp,latency"),
    *("--sizes", "64", "--sessions", "1,5", "--rounds", "1", "--seconds", "0.1"),
]
CANDIDATES = {"plain", "ebpf", "user"}
REFUSALS = ("the kernel refuses", "libbpf", "two cores", "threads here")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bench")
    (made / "tmp").mkdir()
    return made


@pytest.fixture(scope="module")
def report(directory: Path) -> dict[str, Any]:
    files = ["--json", "bench.json", "--graphs", "graphs", "--write", "results.md"]
    done = subprocess.run(
        [*COMMAND, *SELECTION, *files],
        cwd=directory,
        env=os.environ | {"TMPDIR": str(directory / "tmp")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 2 and any(text in done.stderr for text in REFUSALS):
        pytest.skip(f"kernel feature missing: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert (directory / "results.md").read_text().strip() == done.stdout.strip()
    assert {path.name for path in (directory / "graphs").iterdir()} == {
        "cpu-per-packet.svg",
        "rate-by-sessions.svg",
    }
    found: dict[str, Any] = json.loads((directory / "bench.json").read_text())
    return found


def rows(report: dict[str, Any], measure: str) -> list[dict[str, Any]]:
    return [row for row in report["rows"] if row["measure"] == measure]


def test_every_candidate_forwards_packets_each_way(report: dict[str, Any]) -> None:
    found = rows(report, "packets")
    for direction in ("up", "down", "both"):
        there = {row["candidate"] for row in found if row["direction"] == direction}
        assert there - {"generator"} == CANDIDATES
    for row in found:
        (arrived,), (offered,), (cpu_ns,) = row["rounds"], row["offered"], row["cpu_ns"]
        assert 1000 < arrived <= offered * 1.05, row
        assert 50 < cpu_ns < 1_000_000, row


def test_the_generator_is_not_the_bottleneck(report: dict[str, Any]) -> None:
    found = rows(report, "packets")
    for row in found:
        if row["candidate"] == "plain" and row["direction"] != "both":
            assert row["offered"][0] > row["rounds"][0]


def test_rates_without_loss_are_not_above_what_is_possible(report: dict[str, Any]) -> None:
    found = rows(report, "loss-free")
    assert {row["candidate"] for row in found} == CANDIDATES
    assert all(0 <= row["rounds"][0] < 20e6 for row in found)


def test_each_number_of_sessions_is_measured_beside_one(report: dict[str, Any]) -> None:
    found = rows(report, "sessions")
    numbers = {(row["candidate"], row["sessions"]) for row in found if not row["condition"]}
    assert numbers == {(name, sessions) for name in CANDIDATES for sessions in (1, 5)}
    references = [row for row in found if row["condition"] == "reference"]
    assert {(row["sessions"], row["direction"]) for row in references} == {(5, "up"), (5, "down")}
    assert all(row["rounds"][0] > 1000 for row in found)


def test_tcp_and_pings_come_through(report: dict[str, Any]) -> None:
    tcp = rows(report, "tcp")
    assert {(row["candidate"], row["flows"], row["direction"]) for row in tcp} == {
        (name, flows, way) for name in CANDIDATES for flows in (1, 16) for way in ("up", "down")
    }
    assert all(row["rounds"][0] > 1e6 for row in tcp)
    for row in rows(report, "latency"):
        p50, p90, p99 = (row["percentiles"][name] for name in ("p50", "p90", "p99"))
        assert 0 < p50 <= p90 <= p99 < 1


def test_ratios_are_of_what_was_measured(report: dict[str, Any]) -> None:
    texts = [aim["text"] for aim in report["aims"]]
    assert any("to plain forwarding" in text for text in texts)
    assert any("5 sessions to one" in text for text in texts)
    assert not any("Debian" in text for text in texts)
    assert all(0 < aim["measured"] < 1000 for aim in report["aims"])


def test_nothing_stays_behind(report: dict[str, Any], directory: Path) -> None:
    assert report["rows"]
    assert list((directory / "tmp").iterdir()) == []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert str(directory).encode() not in path.read_bytes()
