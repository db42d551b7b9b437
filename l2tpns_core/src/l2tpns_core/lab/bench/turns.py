"""Taking turns: round by round, each candidate after the other, so that what slows the machine
for a while slows all of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from l2tpns_core.lab.bench.candidates import Candidate
from l2tpns_core.lab.bench.flood import DOWN, UP, Flood, Sample
from l2tpns_core.lab.bench.place import cpu_seconds
from l2tpns_core.lab.bench.report import Row
from l2tpns_core.lab.netns import LabError

SMALLEST: Final = 64
TRIAL_RATE, TRIAL_S, TRIALS = 5000.0, 0.2, 40
TRIAL_LOSS: Final = 0.1
TRIAL_CPU_S: Final = 0.02
"""More than that, and a daemon forwards what the kernel should."""
TURNS: Final = 4
TURN_S: Final = 0.005


@dataclass(slots=True, frozen=True)
class Options:
    candidates: tuple[str, ...]
    sizes: tuple[int, ...]
    sessions: tuple[int, ...]
    measures: tuple[str, ...]
    seconds: float
    rounds: int
    pings: int


async def take_turns(turns: Sequence[tuple[Flood, Row]], options: Options) -> None:
    """Measure all of them round by round."""
    for _ in range(options.rounds):
        for flood, row in turns:
            note(row, flood.run(options.seconds))
            await breathe()


def note(row: Row, sample: Sample) -> None:
    """Write a measurement into its row."""
    row.rounds.append(sample.arrived)
    row.cpu_ns.append(sample.cpu_ns)
    row.offered.append(sample.offered)


async def prove(candidate: Candidate) -> None:
    """Wait until packets get through both ways, and for the eBPF plane through the kernel.

    Raises LabError.
    """
    who = candidate.subscribers()
    for direction in (UP, DOWN):
        with Flood(candidate, direction, SMALLEST, who) as flood:
            for _ in range(TRIALS):
                pids = candidate.daemons()
                before = cpu_seconds(pids)
                sent, arrived = flood.trickle(TRIAL_S, TRIAL_RATE)
                used = cpu_seconds(pids) - before
                quiet = used < TRIAL_CPU_S or not candidate.in_kernel
                if sent and arrived >= sent * (1 - TRIAL_LOSS) and quiet:
                    break
                await asyncio.sleep(TRIAL_S)
            else:
                raise LabError(
                    f"{candidate.title}: of {sent} packets {direction} {arrived} get through, "
                    f"with {used:.3f} s of the daemon"
                )


async def breathe() -> None:
    """Give LACs and RADIUS servers, which live in this process, a turn."""
    for _ in range(TURNS):
        await asyncio.sleep(TURN_S)
