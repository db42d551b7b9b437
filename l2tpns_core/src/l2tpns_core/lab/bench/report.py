"""What a run found, as data: rows of rounds, which become JSON and back, and what they say."""

import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from l2tpns_core.lab.bench.figures import median, ratios

FORM: Final = 1
PACKETS, LOSS_FREE, SESSIONS, TCP, LATENCY, BESIDE = (
    "packets",
    "loss-free",
    "sessions",
    "tcp",
    "latency",
    "beside",
)
MEASURES: Final = (PACKETS, LOSS_FREE, SESSIONS, TCP, LATENCY, BESIDE)
GENERATOR: Final = "generator"
"""In place of a candidate: the load as the first hop receives it, with nothing else done."""
REFERENCE: Final = "reference"
"""The condition of what a row is to be compared with, in the same rounds."""
THROTTLED: Final = "1,000 throttled sessions"


@dataclass(slots=True)
class Row:
    """One thing measured, round by round. Packets a second, bit/s, or seconds for latency."""

    measure: str
    candidate: str
    direction: str = ""
    size: int = 0
    sessions: int = 0
    flows: int = 0
    condition: str = ""
    rounds: list[float] = field(default_factory=list)
    cpu_ns: list[float] = field(default_factory=list)
    """CPU time of the LNS for each packet that arrived."""
    offered: list[float] = field(default_factory=list)
    """Packets a second that the generator sent."""
    percentiles: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return median(self.rounds)


@dataclass(slots=True, frozen=True)
class Aim:
    """A ratio that the fast path is built for, and what came of it."""

    text: str
    measured: float
    wanted: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.measured >= self.wanted if self.at_least else self.measured <= self.wanted


@dataclass(slots=True)
class Report:
    machine: dict[str, Any]
    command: str
    options: dict[str, Any]
    titles: dict[str, str] = field(default_factory=dict)
    logins_per_second: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0

    def find(self, measure: str, **wanted: Any) -> list[Row]:
        """Rows of a measure whose fields are as wanted."""
        return [
            row
            for row in self.rows
            if row.measure == measure
            and all(getattr(row, name) == value for name, value in wanted.items())
        ]

    def row(self, measure: str, **wanted: Any) -> Row:
        """The one row that is as wanted: there, or added now."""
        found = self.find(measure, **wanted)
        if found:
            return found[0]
        made = Row(measure, **wanted)
        self.rows.append(made)
        return made

    def candidates(self) -> list[str]:
        return list(self.titles)

    def as_dict(self) -> dict[str, Any]:
        aims = [asdict(aim) | {"met": aim.met} for aim in aims_of(self)]
        return {"form": FORM, **asdict(self), "aims": aims}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Report":
        """What as_dict() gave. Raises ValueError for something else."""
        if not isinstance(data, dict) or data.get("form") != FORM:
            raise ValueError("not a report of this version of l2tpns-lab bench")
        fields = {name: value for name, value in data.items() if name not in ("form", "aims")}
        rows = [Row(**row) for row in fields.pop("rows")]
        return cls(**fields, rows=rows)


def aims_of(report: Report) -> list[Aim]:
    """The ratios that a run can answer, in the order of their importance."""
    return [
        *_beside_plain(report),
        *_beside_debian(report),
        *_by_sessions(report),
        *_beside_others(report),
    ]


def _beside_plain(report: Report) -> list[Aim]:
    return [
        Aim(f"packets {row.direction}, {row.size} bytes, to plain forwarding", found, 0.9)
        for row in report.find(PACKETS, candidate="ebpf")
        if row.direction != "both" and (found := _ratio(report, row, "plain"))
    ]


def _beside_debian(report: Report) -> list[Aim]:
    found = []
    for row in report.find(PACKETS, candidate="ebpf"):
        if row.direction == "both":
            continue
        where = f"{row.direction}, {row.size} bytes, to Debian's l2tpns"
        if rate := _ratio(report, row, "debian"):
            found.append(Aim(f"packets {where}", rate, 2.0))
        theirs = report.find(PACKETS, candidate="debian", direction=row.direction, size=row.size)
        if theirs and (best := best_cpu(report, theirs[0])):
            ratio = best_cpu(report, row) / best
            found.append(Aim(f"CPU per packet {where}", ratio, 0.25, at_least=False))
    for row in report.find(TCP, candidate="ebpf"):
        if ratio := _ratio(report, row, "debian"):
            flows = f"{row.flows} flow{'s' * (row.flows != 1)}"
            found.append(Aim(f"TCP {row.direction}, {flows}, to Debian's l2tpns", ratio, 4.0))
    return found


def _by_sessions(report: Report) -> list[Aim]:
    rows = report.find(SESSIONS, candidate="ebpf", condition="")
    most = max((row.sessions for row in rows), default=0)
    found = []
    for row in rows:
        same = {"direction": row.direction, "sessions": most, "condition": REFERENCE}
        one = report.find(SESSIONS, candidate="ebpf", **same)
        if row.sessions == most and one:
            ratio = median(ratios(row.rounds, one[0].rounds))
            found.append(Aim(f"packets {row.direction}, {most:,} sessions to one", ratio, 0.9))
    return found


def _beside_others(report: Report) -> list[Aim]:
    found = []
    for row in report.find(BESIDE, condition=THROTTLED):
        same = {"direction": row.direction, "condition": f"{REFERENCE} {THROTTLED}"}
        reference = report.find(BESIDE, **same)
        if reference:
            ratio = median(ratios(row.rounds, reference[0].rounds))
            text = f"packets {row.direction} beside {THROTTLED}, to the same without"
            found.append(Aim(text, ratio, 0.97))
    return found


def best_cpu(report: Report, row: Row) -> float:
    """CPU nanoseconds per packet where it is least: overloaded, or at the loss-free rate. What
    drops packets spends time on them; what is not loaded, on waking up."""
    same = {"candidate": row.candidate, "direction": row.direction, "size": row.size}
    values = [median(each.cpu_ns) for each in (row, *report.find(LOSS_FREE, **same))]
    return min((value for value in values if value), default=0.0)


def _ratio(report: Report, row: Row, to: str) -> float:
    names = ("direction", "size", "sessions", "flows", "condition")
    same = {name: getattr(row, name) for name in names}
    other = report.find(row.measure, candidate=to, **same)
    return median(ratios(row.rounds, other[0].rounds)) if other else 0.0


def machine() -> dict[str, Any]:
    """What the figures depend on, and nothing that tells which machine it is."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    cores = sum(line.startswith("processor") for line in lines)
    return {"cpu": model or platform.machine(), "cores": cores, "kernel": f"Linux {release}"}
