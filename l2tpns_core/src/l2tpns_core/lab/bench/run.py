"""The run: sessions come up step by step, and at each step all candidates take turns."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from l2tpns_core.lab.bench import beside, document, traffic
from l2tpns_core.lab.bench.candidates import Candidate, Daemon, make
from l2tpns_core.lab.bench.figures import PERCENTILES, median, percentile
from l2tpns_core.lab.bench.flood import BOTH, DIRECTIONS, DOWN, UP, Flood
from l2tpns_core.lab.bench.load import Subscriber
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
)
from l2tpns_core.lab.bench.subscriber_line import SubscriberLine
from l2tpns_core.lab.bench.turns import SMALLEST, Options, breathe, prove, take_turns
from l2tpns_core.lab.netns import LabError

BASE_SESSIONS: Final = 1000
"""What everything but the number of sessions is measured with."""
FLOWS: Final = (1, 16)
HEADROOM: Final = 1.3
"""The search for a rate without loss begins so far above the rate under overload."""

Say = Callable[[str], None]


class Run:
    """Fills in a report. Everything that it builds goes when it ends."""

    def __init__(self, options: Options, directory: Path, report: Report, say: Say) -> None:
        self.options, self.report, self.say = options, report, say
        self._directory = directory
        self._candidates: list[Candidate] = []
        self._one: Candidate | None = None
        """The eBPF plane with one session, for as long as there are more of the others."""
        self._bare = make("plain", directory)
        """Where the generator is measured: what it sends is dropped at the first hop."""

    async def run(self) -> None:
        """Raises LabError."""
        steps = sorted(set(self.options.sessions))
        base = max([n for n in steps if n <= BASE_SESSIONS], default=steps[0])
        with ExitStack() as stack:
            await self._open(stack)
            for step in steps:
                await self._grow(step)
                if SESSIONS in self.options.measures:
                    await self._measure_sessions(step, steps[-1])
                if step == base:
                    await self._measure_all(step)
        if BESIDE in self.options.measures:
            await beside.measure(self.options, self._directory, self.report, self.say)

    async def _open(self, stack: ExitStack) -> None:
        stack.callback(self._bare.close)
        await self._bare.open()
        for name in self.options.candidates:
            candidate = make(name, self._directory / name)
            stack.callback(candidate.close)
            try:
                await candidate.open()
            except LabError as error:
                if name != "debian":
                    raise
                candidate.close()
                self.report.notes.append(f"Debian's l2tpns is left out: {error}")
                self.say(self.report.notes[-1])
                continue
            self._candidates.append(candidate)
            self.report.titles[name] = candidate.title
            if candidate.note:
                self.report.notes.append(candidate.note)
        many = max(self.options.sessions) > 1 and SESSIONS in self.options.measures
        if many and "ebpf" in self.options.candidates:
            self._one = make("ebpf", self._directory / "one")
            stack.callback(self._one.close)
            await self._one.open()
            await self._one.grow(1, lambda _: None)
            await prove(self._one)

    async def _grow(self, sessions: int) -> None:
        for candidate in self._candidates:
            await candidate.grow(sessions, partial(self._say_of, candidate))
            await prove(candidate)
            if isinstance(candidate, Daemon):
                rate = round(candidate.logins_per_second)
                self.report.logins_per_second[candidate.name] = rate

    def _say_of(self, candidate: Candidate, text: str) -> None:
        self.say(f"{candidate.title}: {text}")

    async def _measure_all(self, sessions: int) -> None:
        measures = self.options.measures
        if PACKETS in measures:
            for size in self.options.sizes:
                for direction in DIRECTIONS:
                    await self._measure_packets(direction, size, sessions)
        if LOSS_FREE in measures:
            for size in sorted({min(self.options.sizes), max(self.options.sizes)}):
                for direction in (UP, DOWN):
                    await self._measure_loss_free(direction, size, sessions)
        if TCP in measures or LATENCY in measures:
            await self._measure_traffic()

    async def _measure_packets(self, direction: str, size: int, sessions: int) -> None:
        with ExitStack() as stack:
            floods = {
                candidate.name: stack.enter_context(self._flood(candidate, direction, size))
                for candidate in self._candidates
            }
            if direction != BOTH:
                await self._bare.grow(sessions, self.say)
                floods[GENERATOR] = stack.enter_context(
                    self._flood(self._bare, direction, size, first_hop=True)
                )
            rows = {
                name: self.report.row(
                    PACKETS, candidate=name, direction=direction, size=size, sessions=sessions
                )
                for name in floods
            }
            await take_turns([(floods[name], rows[name]) for name in floods], self.options)
        self._tell(f"{direction}, {size} bytes", rows.values())

    async def _measure_sessions(self, sessions: int, most: int) -> None:
        for direction in (UP, DOWN):
            with ExitStack() as stack:
                turns = []
                for candidate in self._candidates:
                    row = self.report.row(
                        SESSIONS,
                        candidate=candidate.name,
                        direction=direction,
                        size=SMALLEST,
                        sessions=sessions,
                        condition="",
                    )
                    flood = stack.enter_context(self._flood(candidate, direction, SMALLEST))
                    turns.append((flood, row))
                if sessions == most and self._one is not None:
                    row = self.report.row(
                        SESSIONS,
                        candidate="ebpf",
                        direction=direction,
                        size=SMALLEST,
                        sessions=sessions,
                        condition=REFERENCE,
                    )
                    flood = stack.enter_context(self._flood(self._one, direction, SMALLEST))
                    turns.append((flood, row))
                await take_turns(turns, self.options)
            self._tell(f"{direction}, {sessions:,} sessions", [row for _, row in turns])

    async def _measure_loss_free(self, direction: str, size: int, sessions: int) -> None:
        rows = []
        with ExitStack() as stack:
            turns = []
            for candidate in self._candidates:
                row = self.report.row(
                    LOSS_FREE,
                    candidate=candidate.name,
                    direction=direction,
                    size=size,
                    sessions=sessions,
                )
                flood = stack.enter_context(self._flood(candidate, direction, size))
                limit = flood.run(self.options.seconds).arrived * HEADROOM
                turns.append((flood, row, limit))
                rows.append(row)
            for _ in range(self.options.rounds):
                for flood, row, limit in turns:
                    rate = flood.loss_free(self.options.seconds, limit)
                    row.rounds.append(rate)
                    if rate:
                        row.cpu_ns.append(flood.run(self.options.seconds, rate).cpu_ns)
                    await breathe()
        self._tell(f"{direction}, {size} bytes, without loss", rows)

    async def _measure_traffic(self) -> None:
        times: dict[str, list[float]] = {}
        with ExitStack() as stack:
            lines = [
                (candidate, stack.enter_context(SubscriberLine(candidate)).address)
                for candidate in self._candidates
            ]
            for _ in range(self.options.rounds):
                for candidate, address in lines:
                    if TCP in self.options.measures:
                        self._send_tcp(candidate, address)
                    if LATENCY in self.options.measures:
                        found = traffic.pings(candidate, address, self.options.pings)
                        times.setdefault(candidate.name, []).extend(found)
                        self._note_pings(candidate.name, found, times[candidate.name])
                    await breathe()
        for name in self.report.titles:
            for measure in (TCP, LATENCY):
                rows = self.report.find(measure, candidate=name)
                if rows:
                    self._tell(f"{measure}, {name}", rows)

    def _send_tcp(self, candidate: Candidate, address: str) -> None:
        for flows in FLOWS:
            for direction in (UP, DOWN):
                rate = traffic.tcp(candidate, address, direction, flows, self.options.seconds)
                row = self.report.row(
                    TCP, candidate=candidate.name, direction=direction, flows=flows
                )
                row.rounds.append(rate)

    def _note_pings(self, name: str, found: list[float], all_of_them: list[float]) -> None:
        row = self.report.row(LATENCY, candidate=name, size=SMALLEST)
        row.rounds.append(median(found))
        if all_of_them:
            row.percentiles = {f"p{p}": percentile(all_of_them, p) for p in PERCENTILES}

    def _flood(
        self, candidate: Candidate, direction: str, size: int, *, first_hop: bool = False
    ) -> Flood:
        who: list[Subscriber] = candidate.subscribers()
        return Flood(candidate, direction, size, who, first_hop=first_hop)

    def _tell(self, what: str, rows: Iterable[Row]) -> None:
        self.say(f"{what}: {', '.join(map(document.describe, rows))}")
