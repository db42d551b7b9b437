"""Ordinary sessions beside others: throttled, intercepted, in the walled garden."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from l2tpns_core.lab.bench.candidates import PASSWORD, Daemon
from l2tpns_core.lab.bench.flood import DOWN, UP, Flood
from l2tpns_core.lab.bench.load import Subscriber
from l2tpns_core.lab.bench.place import HOST_ADDRESS
from l2tpns_core.lab.bench.report import BESIDE, REFERENCE, THROTTLED, Report
from l2tpns_core.lab.bench.turns import Options, prove, take_turns
from l2tpns_core.lab.radius_users import RadiusUser

FREE: Final = 1000
OTHERS: Final = "other%d"
SNOOP_PORT: Final = 9999
SIZE: Final = 64


@dataclass(slots=True, frozen=True)
class Condition:
    text: str
    plugin: str
    others: int
    """Sessions that are not ordinary."""
    user: RadiusUser
    share: int
    """One packet in so many is for or from one of them; 0 for none."""


CONDITIONS: Final = (
    Condition(
        THROTTLED,
        "autothrottle",
        1000,
        RadiusUser(PASSWORD, {"Cisco-AVPair": ["throttle=64"]}),
        10,
    ),
    Condition(
        "100 intercepted sessions",
        "autosnoop",
        100,
        RadiusUser(PASSWORD, {"Cisco-AVPair": [f"intercept={HOST_ADDRESS}:{SNOOP_PORT}"]}),
        100,
    ),
    Condition("10,000 gardened users", "garden", 10_000, RadiusUser(reject=True), 0),
)


async def measure(
    options: Options, directory: Path, report: Report, say: Callable[[str], None]
) -> None:
    """For each condition two LNSs, which differ in nothing but what the others are."""
    installed = {entry_point.name for entry_point in entry_points(group="l2tpns.plugins")}
    for condition in CONDITIONS:
        if condition.plugin not in installed:
            report.notes.append(f"{condition.text}: the plugin {condition.plugin} is not installed")
            say(report.notes[-1])
            continue
        await _measure(condition, options, directory, report, say)


async def _measure(
    condition: Condition,
    options: Options,
    directory: Path,
    report: Report,
    say: Callable[[str], None],
) -> None:
    place = directory / f"beside-{condition.plugin}"
    ordinary = RadiusUser(PASSWORD)
    with ExitStack() as stack:
        daemons = {
            condition.text: Daemon(
                "ebpf",
                place,
                {"other*": condition.user, "*": ordinary},
                (condition.plugin,),
            ),
            f"{REFERENCE} {condition.text}": Daemon("ebpf", place / REFERENCE, {"*": ordinary}),
        }
        for daemon in daemons.values():
            stack.callback(daemon.close)
            await daemon.open()
            await daemon.grow(FREE, lambda _: None)
            await prove(daemon)
            count = FREE + condition.others
            await daemon.lines.grow(count, say, user=OTHERS, password=PASSWORD)
        stack.callback(_listen(daemons[condition.text]).close)
        for direction in (UP, DOWN):
            with ExitStack() as floods:
                turns = []
                for text, daemon in daemons.items():
                    who, marked = _mix(daemon, condition)
                    row = report.row(BESIDE, candidate="ebpf", direction=direction, condition=text)
                    flood = Flood(daemon, direction, SIZE, who, marked)
                    turns.append((floods.enter_context(flood), row))
                await take_turns(turns, options)
            ours, reference = (row.median for _, row in turns)
            say(f"{direction} beside {condition.text}: {ours:,.0f}, without {reference:,.0f}")


def _mix(daemon: Daemon, condition: Condition) -> tuple[list[Subscriber], list[bool]]:
    """The sessions that the load visits, and which of them are not ordinary."""
    free = daemon.subscribers()[:FREE]
    others = daemon.subscribers()[FREE:]
    if not condition.share:
        return free, [False] * len(free)
    shown = others[:FREE]
    repeated = free * (len(shown) * (condition.share - 1) // FREE or 1)
    return [*repeated, *shown], [False] * len(repeated) + [True] * len(shown)


def _listen(daemon: Daemon) -> Any:
    """Somebody has to be there for copies of packets; he need not read them."""
    return daemon.place.net.udp_socket(HOST_ADDRESS, SNOOP_PORT)
