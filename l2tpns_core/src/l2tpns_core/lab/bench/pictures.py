"""Which graphs a report gives."""

from typing import Final

from l2tpns_core.lab.bench.flood import DOWN, UP
from l2tpns_core.lab.bench.graphs import Bar, BarPanel, Panel, Series, bars, lines
from l2tpns_core.lab.bench.report import GENERATOR, PACKETS, SESSIONS, Report, best_cpu

BY_SIZE: Final = "rate-by-size.svg"
BY_SESSIONS: Final = "rate-by-sessions.svg"
CPU: Final = "cpu-per-packet.svg"
MILLION: Final = 1e6
HEADINGS: Final = {UP: "Up: from subscribers", DOWN: "Down: to subscribers"}
LABELS: Final = {
    "plain": "plain forwarding",
    "ebpf": "l2tpns, eBPF",
    "user": "l2tpns, user space",
    "debian": "Debian's l2tpns",
    GENERATOR: "generator",
}
"""Short enough to stand beside a line."""


def draw(report: Report) -> dict[str, str]:
    """The graphs by file name; without what was not measured."""
    made = {BY_SIZE: _by_size(report), BY_SESSIONS: _by_sessions(report), CPU: _cpu(report)}
    return {name: svg for name, svg in made.items() if svg}


def _by_size(report: Report) -> str:
    rows = report.find(PACKETS)
    sizes = sorted({row.size for row in rows})
    if len(sizes) < 2:
        return ""
    panels = [
        Panel(
            heading,
            tuple(
                Series(
                    name,
                    LABELS[name],
                    tuple(
                        (row.size, row.median / MILLION)
                        for row in report.find(PACKETS, candidate=name, direction=direction)
                    ),
                )
                for name in report.candidates()
            ),
        )
        for direction, heading in HEADINGS.items()
    ]
    return lines(
        "Rate against packet size",
        panels,
        sizes,
        "bytes of the subscriber's packet",
        "million packets a second; what forwards has one core, the load another",
    )


def _by_sessions(report: Report) -> str:
    rows = report.find(SESSIONS, condition="")
    steps = sorted({row.sessions for row in rows})
    if len(steps) < 2:
        return ""
    panels = [
        Panel(
            heading,
            tuple(
                Series(
                    name,
                    LABELS[name],
                    tuple(
                        (row.sessions, row.median / MILLION)
                        for row in rows
                        if row.candidate == name and row.direction == direction
                    ),
                )
                for name in report.candidates()
            ),
        )
        for direction, heading in HEADINGS.items()
    ]
    return lines(
        "Rate against number of connected sessions",
        panels,
        steps,
        "sessions, all of them with traffic",
        "million packets a second of 64 bytes; what forwards has one core, the load another",
        logarithmic=True,
    )


def _cpu(report: Report) -> str:
    sizes = sorted({row.size for row in report.find(PACKETS)})
    if not sizes:
        return ""
    panels = []
    for direction, heading in HEADINGS.items():
        found = [
            Bar(row.candidate, LABELS[row.candidate], best_cpu(report, row))
            for row in report.find(PACKETS, direction=direction, size=sizes[0])
            if row.candidate != GENERATOR
        ]
        panels.append(BarPanel(heading, tuple(found)))
    return bars(
        f"CPU time per packet of {sizes[0]} bytes",
        panels,
        "nanoseconds of the LNS: receiving, forwarding and sending; each where it needs least",
    )
