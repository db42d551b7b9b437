"""How long sessions have been idle and open, as histograms (`show histogram`)."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from l2tpns_core.cli.answer import Answer
from l2tpns_core.cli.commands.targets import live
from l2tpns_core.cli.context import LnsView
from l2tpns_core.cli.grammar import Call, CommandSet
from l2tpns_core.session import Session

COMMANDS = CommandSet()
IDLE_STEP_S: Final = 5
IDLE_STEPS: Final = 63
"""Rows of IDLE_STEP_S each; one more row has what is idle for longer."""
OPEN_ROWS: Final = 30
"""Rows for 1, 2, 4, 8 … seconds; the last one also has what is open for longer."""


@dataclass(slots=True)
class Histogram:
    """Sessions counted by the row that they belong to."""

    lns: LnsView
    row_of: Callable[[Session], int]
    labels: list[str]
    limits_s: list[int | None]
    """Sessions of a row have less than this; None is without a limit."""

    def text(self) -> Iterator[str | None]:
        counts, total = [0] * len(self.labels), 0
        yield from self._count(counts)
        total = sum(counts)
        for label, count in zip(self.labels, counts, strict=True):
            share = 100 * count / total if total else 0.0
            yield f"{label}{share:7.2f}% ({count:>6})"
        yield f"{total} total sessions open."

    def json(self) -> Iterator[str | None]:
        counts = [0] * len(self.labels)
        yield from self._count(counts)
        rows = (
            json.dumps({"less_than_s": limit, "sessions": count})
            for limit, count in zip(self.limits_s, counts, strict=True)
        )
        yield f'{{"sessions": {sum(counts)}, "rows": [{", ".join(rows)}]}}'

    def _count(self, counts: list[int]) -> Iterator[None]:
        for session in live(self.lns):
            counts[self.row_of(session)] += 1
            yield None


@COMMANDS.command("show histogram idle", "Show histogram of session idle times", at_master=True)
def show_histogram_idle(call: Call) -> Answer:
    lns = call.context.lns
    starts = [step * IDLE_STEP_S for step in range(IDLE_STEPS)]
    return Histogram(
        lns,
        lambda session: min(idle_s(session, lns) // IDLE_STEP_S, IDLE_STEPS),
        [*(f"{start:>3} seconds  : " for start in starts), "lots of secs : "],
        [*(start + IDLE_STEP_S for start in starts), None],
    )


@COMMANDS.command("show histogram open", "Show histogram of session durations", at_master=True)
def show_histogram_open(call: Call) -> Answer:
    lns, wall = call.context.lns, call.context.lns.wall()
    limits = [1 << row for row in range(OPEN_ROWS)]
    return Histogram(
        lns,
        lambda session: min(max(0, int(wall - session.opened)).bit_length(), OPEN_ROWS - 1),
        [f" < {limit:>8} seconds : " for limit in limits],
        [*limits[:-1], None],
    )


def idle_s(session: Session, lns: LnsView) -> int:
    """Seconds since the last packet of a session, or since it began."""
    since = lns.usage(session).data_at or session.network_up_at
    if not since:
        return max(0, int(lns.wall() - session.opened))
    return max(0, int(lns.clock() - since))
