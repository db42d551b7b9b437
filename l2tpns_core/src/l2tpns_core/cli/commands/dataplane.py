"""`show dataplane`: what forwards, what it forwarded, left to the process and dropped, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from l2tpns_core.cli.answer import Answer, Report
from l2tpns_core.cli.grammar import Call, CommandSet
from l2tpns_core.observe.plane_report import KernelReport, PlaneReport

COMMANDS = CommandSet()
NAMES = {
    "ebpf": "eBPF in the kernel, user space for what it leaves",
    "user": "user space",
}
LABEL_WIDTH = 18
REASON_WIDTH = 30
DIRECTIONS = ("up", "down")
SECRETS = ("snoop", "copies")
"""In the names of what only privileged operators see."""


@COMMANDS.command("show dataplane", "Show what forwards packets, and what became of them")
def show_dataplane(call: Call) -> Answer:
    report = call.context.plane_report()
    privileged = call.access.privileged
    return Report(lambda: _lines(report, privileged), lambda: _data(report, privileged))


def _lines(report: PlaneReport, privileged: bool) -> Iterator[str]:
    yield _row("Data plane", NAMES.get(report.plane, report.plane))
    yield _row("dataplane is", report.wanted)
    if report.reason:
        yield _row("Not eBPF because", report.reason)
    yield _row("TUN device", report.device)
    kernel = report.kernel
    if kernel is None:
        yield _row("Sessions", str(report.sessions))
    else:
        yield from _places(kernel)
    yield ""
    yield from _table("Packets", _packets(report))
    if kernel is not None:
        yield from _kernel_tables(kernel, privileged)


def _places(kernel: KernelReport) -> Iterator[str]:
    """Where it is, and how much of it."""
    interfaces = ", ".join(f"{name} ({how})" for name, how in kernel.interfaces.items())
    yield _row("LAC interfaces", interfaces or "none yet: no LAC has sessions")
    yield _row("Outlives us in", kernel.pins or "no place: it ends with the daemon")
    direct = "no" + (f": {kernel.obstacle}" if kernel.obstacle else "")
    yield _row("Past the IP stack", "yes" if kernel.direct else direct)
    yield _row("Sessions", f"{kernel.sessions} of {kernel.max_sessions}")
    for host, way in kernel.lacs.items():
        yield _row(f"LAC {host}", way)


def _packets(report: PlaneReport) -> dict[str, Mapping[str, int]]:
    rows = {"in the process": report.process}
    if report.kernel is None:
        return rows
    return {
        "in the kernel": report.kernel.hits,
        "of these past the IP stack": report.kernel.past_the_stack,
    } | rows


def _kernel_tables(kernel: KernelReport, privileged: bool) -> Iterator[str]:
    for title, counts in (("Left to the process", kernel.punts), ("Dropped", kernel.drops)):
        by_reason = _by_reason(counts)
        if by_reason:
            yield ""
            yield from _table(title, by_reason)
    other = {name: count for name, count in _visible(kernel, privileged).items() if count}
    if other:
        yield ""
        yield f"{'Also':<{REASON_WIDTH}}{'Packets':>14}"
        for name, count in other.items():
            yield f"{_words(name):<{REASON_WIDTH}}{count:>14}"
    yield ""
    yield f"{'Program':<{REASON_WIDTH}}{'Bytes':>14}{'Machine code':>14}"
    for name, (verified, machine) in kernel.programs.items():
        yield f"{name:<{REASON_WIDTH}}{verified:>14}{machine:>14}"
    yield ""
    yield f"{'Map':<{REASON_WIDTH}}{'Bytes':>14}"
    for name, size in {**kernel.maps, "together": kernel.memory}.items():
        yield f"{name:<{REASON_WIDTH}}{size:>14}"


def _by_reason(counts: Mapping[str, int]) -> dict[str, Mapping[str, int]]:
    """`{"up control": 3}` as `{"control": {"up": 3}}`, without what never happened."""
    found: dict[str, Mapping[str, int]] = {}
    for name, count in counts.items():
        direction, _, reason = name.partition(" ")
        if count:
            words = _words(reason)
            found[words] = {**found.get(words, {}), direction: count}
    return found


def _table(title: str, rows: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield f"{title:<{REASON_WIDTH}}{'Up':>14}{'Down':>14}"
    for name, counts in rows.items():
        cells = (str(counts[each]) if each in counts else "-" for each in DIRECTIONS)
        yield f"{name:<{REASON_WIDTH}}" + "".join(f"{cell:>14}" for cell in cells)


def _row(label: str, text: str) -> str:
    return f"{label:<{LABEL_WIDTH}} {text}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _visible(kernel: KernelReport, privileged: bool) -> dict[str, int]:
    secret = () if privileged else SECRETS
    return {
        name: count
        for name, count in kernel.other.items()
        if not any(word in name for word in secret)
    }


def _data(report: PlaneReport, privileged: bool) -> dict[str, object]:
    data = asdict(report)
    if report.kernel is not None:
        programs = {
            name: {"verified": verified, "machine_code": machine}
            for name, (verified, machine) in report.kernel.programs.items()
        }
        data["kernel"] |= {
            "other": _visible(report.kernel, privileged),
            "programs": programs,
            "memory": report.kernel.memory,
        }
    return data
