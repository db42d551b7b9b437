"""A report as Markdown: the tables of docs/performance, which people read on a terminal too."""

from collections.abc import Sequence
from typing import Final

from l2tpns_core.lab.bench.figures import median, ratios
from l2tpns_core.lab.bench.flood import DIRECTIONS, DOWN
from l2tpns_core.lab.bench.pictures import BY_SESSIONS, BY_SIZE, CPU
from l2tpns_core.lab.bench.report import (
    BESIDE,
    GENERATOR,
    LATENCY,
    LOSS_FREE,
    PACKETS,
    REFERENCE,
    SESSIONS,
    TCP,
    Report,
    Row,
    aims_of,
)

NOTHING: Final = "-"


def render(report: Report, graphs: bool = False) -> str:
    """All tables; with links to the graphs, where there are some beside the file."""
    parts = [
        _machine(report),
        _aims(report),
        _packets(report),
        _picture("Rate against packet size", BY_SIZE, graphs and bool(report.find(PACKETS))),
        _cpu(report),
        _picture("CPU time per packet", CPU, graphs and bool(report.find(PACKETS))),
        _loss_free(report),
        _sessions(report),
        _picture("Rate against sessions", BY_SESSIONS, graphs and bool(report.find(SESSIONS))),
        _tcp(report),
        _latency(report),
        _beside(report),
        _notes(report),
    ]
    return "\n".join(part for part in parts if part)


def describe(row: Row) -> str:
    """A row in a few words, for those who wait."""
    if row.measure == LATENCY:
        return f"{row.median * 1e6:.0f} µs"
    if row.measure == TCP:
        return f"{row.flows} {row.direction} {row.median / 1e9:.2f} Gbit/s"
    one = " with one session" if row.condition == REFERENCE else ""
    return f"{row.candidate}{one} {row.median:,.0f}"


def _machine(report: Report) -> str:
    found = report.machine
    lines = [
        "# Results",
        "",
        f"Made by `{report.command}` in {report.seconds:.0f} s.",
        "",
        f"- machine: {found['cpu']}, {found['cores']} cores, {found['kernel']}",
        f"- each figure: median of {report.options['rounds']} rounds of "
        f"{report.options['seconds']:g} s, candidates in turn",
    ]
    lines += [f"- {name}: {title}" for name, title in report.titles.items()]
    lines += [
        f"- logins a second, {name}: {rate:,.0f}" for name, rate in report.logins_per_second.items()
    ]
    return "\n".join([*lines, ""])


def _aims(report: Report) -> str:
    rows = [
        [
            aim.text,
            f"{aim.measured:.2f}",
            f"{'≥' if aim.at_least else '≤'} {aim.wanted:g}",
            "yes" if aim.met else "**no**",
        ]
        for aim in aims_of(report)
    ]
    return _section("Ratios of the eBPF plane", ["what", "measured", "aim", "met"], rows)


def _packets(report: Report) -> str:
    names = [*report.candidates(), GENERATOR]
    rows = []
    for row in report.find(PACKETS, candidate=_first(report)):
        same = {"direction": row.direction, "size": row.size}
        found = {name: report.find(PACKETS, candidate=name, **same) for name in names}
        cells = [_rate(found[name]) for name in names]
        rows.append(
            [str(row.size), row.direction, *cells, _share(found.get("ebpf"), found.get("plain"))]
        )
    rows.sort(key=lambda cells: (int(cells[0]), DIRECTIONS.index(cells[1])))
    head = ["bytes", "way", *names, "ebpf / plain"]
    return _section("Packets a second, overloaded", head, rows)


def _cpu(report: Report) -> str:
    names = [*report.candidates(), GENERATOR]
    rows = []
    for row in report.find(PACKETS, candidate=_first(report)):
        same = {"direction": row.direction, "size": row.size}
        cells = []
        for name in names:
            over = report.find(PACKETS, candidate=name, **same)
            free = report.find(LOSS_FREE, candidate=name, **same)
            values = [median(each.cpu_ns) for each in (*over, *free)]
            shown = [f"{value:,.0f}" if value else NOTHING for value in values]
            cells.append(" / ".join(shown) or NOTHING)
        rows.append([str(row.size), row.direction, *cells])
    rows.sort(key=lambda cells: (int(cells[0]), DIRECTIONS.index(cells[1])))
    head = ["bytes", "way", *names]
    title = "CPU nanoseconds per packet, overloaded / at the loss-free rate"
    return _section(title, head, rows)


def _loss_free(report: Report) -> str:
    names = report.candidates()
    rows = []
    for row in report.find(LOSS_FREE, candidate=_first(report)):
        same = {"direction": row.direction, "size": row.size}
        found = {name: report.find(LOSS_FREE, candidate=name, **same) for name in names}
        share = _share(found.get("ebpf"), found.get("plain"))
        cells = [_rate(found[name]) for name in names]
        rows.append([str(row.size), row.direction, *cells, share])
    head = ["bytes", "way", *names, "ebpf / plain"]
    return _section("Packets a second without loss (under 0.01 %)", head, rows)


def _sessions(report: Report) -> str:
    names = report.candidates()
    rows = []
    for row in report.find(SESSIONS, candidate=_first(report), condition=""):
        same = {"direction": row.direction, "sessions": row.sessions}
        cells = [
            _rate(report.find(SESSIONS, candidate=name, condition="", **same)) for name in names
        ]
        beside = report.find(SESSIONS, candidate="ebpf", condition=REFERENCE, **same)
        rows.append([row.direction, f"{row.sessions:,}", *cells, _rate(beside)])
    rows.sort(key=lambda cells: (cells[0] == DOWN, int(cells[1].replace(",", ""))))
    head = ["way", "sessions", *names, "ebpf with one, same rounds"]
    return _section("Packets a second of 64 bytes, by sessions", head, rows)


def _tcp(report: Report) -> str:
    names = report.candidates()
    rows = []
    for row in report.find(TCP, candidate=_first(report)):
        same = {"direction": row.direction, "flows": row.flows}
        found = {name: report.find(TCP, candidate=name, **same) for name in names}
        cells = [f"{found[name][0].median / 1e9:.2f}" if found[name] else NOTHING for name in names]
        share = _share(found.get("ebpf"), found.get("debian"))
        rows.append([str(row.flows), row.direction, *cells, share])
    return _section("TCP, Gbit/s", ["flows", "way", *names, "ebpf / debian"], rows)


def _latency(report: Report) -> str:
    rows = [
        [row.candidate, *(f"{value * 1e6:,.0f}" for value in row.percentiles.values())]
        for row in report.find(LATENCY)
    ]
    points = next((list(row.percentiles) for row in report.find(LATENCY)), [])
    return _section("Ping through the tunnel, microseconds", ["", *points], rows)


def _beside(report: Report) -> str:
    rows = []
    for row in report.find(BESIDE):
        if row.condition.startswith(REFERENCE):
            continue
        reference = report.find(
            BESIDE, direction=row.direction, condition=f"{REFERENCE} {row.condition}"
        )
        cells = [_rate([row]), _rate(reference), _share([row], reference)]
        rows.append([row.condition, row.direction, *cells])
    head = ["beside", "way", "ordinary sessions", "the same without", "ratio"]
    return _section("Packets a second of 1,000 ordinary sessions", head, rows)


def _notes(report: Report) -> str:
    return "\n".join(f"{note}." for note in report.notes) + "\n" if report.notes else ""


def _first(report: Report) -> str:
    return report.candidates()[0] if report.titles else ""


def _rate(rows: Sequence[Row]) -> str:
    return f"{rows[0].median:,.0f}" if rows and rows[0].rounds else NOTHING


def _share(ours: Sequence[Row] | None, theirs: Sequence[Row] | None) -> str:
    if not ours or not theirs:
        return NOTHING
    found = ratios(ours[0].rounds, theirs[0].rounds)
    return f"{median(found):.2f}" if found else NOTHING


def _picture(text: str, name: str, there: bool) -> str:
    return f"![{text}]({name})\n" if there else ""


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A heading and a table whose columns line up; nothing for no rows."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([f"## {title}", "", line(head), rule, *map(line, rows), ""])
