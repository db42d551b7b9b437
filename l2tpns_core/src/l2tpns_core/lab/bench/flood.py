"""One measurement: a load into a candidate for a while, and what comes out at the other end."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from l2tpns_core.lab.bench import links
from l2tpns_core.lab.bench.candidates import Candidate
from l2tpns_core.lab.bench.counter import Counter
from l2tpns_core.lab.bench.figures import highest
from l2tpns_core.lab.bench.generator import Generator
from l2tpns_core.lab.bench.load import Subscriber
from l2tpns_core.lab.bench.place import LOAD_CORE
from l2tpns_core.lab.netns import LabError

UP, DOWN, BOTH = "up", "down", "both"
DIRECTIONS: Final = (UP, DOWN, BOTH)
WARM_UP_S: Final = 0.15
DRAIN_S: Final = 0.05
LOSS: Final = 1e-4
"""What a rate may lose and still count as free of loss."""
WATCH_PRIORITY: Final = 3


@dataclass(slots=True, frozen=True)
class Sample:
    """Packets a second, and CPU time of the LNS for each packet that arrived."""

    offered: float
    arrived: float
    marked: float
    """Of the packets that are counted apart; not among `arrived`."""
    cpu_ns: float


class Flood:
    """A candidate under a load in one direction or both. A context manager; methods block."""

    def __init__(
        self,
        candidate: Candidate,
        direction: str,
        size: int,
        who: Sequence[Subscriber],
        marked: Sequence[bool] = (),
        *,
        first_hop: bool = False,
    ) -> None:
        """With `first_hop`, packets are counted and dropped where the LNS receives them: the
        generator and the way there, with nothing else done."""
        self._candidate = candidate
        self._generators: list[Generator] = []
        self._counters: list[Counter] = []
        self._stack = ExitStack()
        place, shared = candidate.place, direction == BOTH
        chosen, marks = list(who), list(marked)
        if direction in (UP, BOTH):
            load = candidate.upward(size, chosen, marks)
            index = links.index_of(place.lac, "lac0")
            self._add(Generator(place.lac, index, load, LOAD_CORE, shared=shared))
            self._count(Counter(place.lns, "lns0") if first_hop else Counter(place.net, "net0"))
        if direction in (DOWN, BOTH):
            load = candidate.downward(size, chosen, marks)
            index = links.index_of(place.net, "net0")
            self._add(Generator(place.net, index, load, LOAD_CORE, shared=shared))
            self._count(Counter(place.lns, "lns1") if first_hop else Counter(place.lac, "lac0"))

    def __enter__(self) -> "Flood":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, seconds: float, rate: float = 0.0) -> Sample:
        """Send for a while, `rate` packets a second or as many as the generator can."""
        candidate = self._candidate
        candidate.settle()
        try:
            with watching():
                for generator in self._generators:
                    generator.start(rate / len(self._generators))
                try:
                    time.sleep(WARM_UP_S)
                    return self._measure(seconds)
                finally:
                    for generator in self._generators:
                        generator.stop()
        finally:
            candidate.unsettle()

    def trickle(self, seconds: float, rate: float) -> tuple[int, int]:
        """Send at a rate and wait until all is through: packets that left and that arrived."""
        candidate = self._candidate
        candidate.settle()
        try:
            with watching():
                sent, arrived = self._sent(), self._arrived()
                for generator in self._generators:
                    generator.start(rate / len(self._generators))
                time.sleep(seconds)
                for generator in self._generators:
                    generator.stop()
                time.sleep(DRAIN_S)
                now = self._arrived()
                return self._sent() - sent, sum(now) - sum(arrived)
        finally:
            candidate.unsettle()

    def loss_free(self, seconds: float, limit: float) -> float:
        """The highest rate up to a limit at which fewer than one packet in 10,000 is lost."""

        def passes(rate: float) -> bool:
            sent, arrived = self.trickle(seconds, rate)
            return sent > 0 and sent - arrived < max(1.0, sent * LOSS)

        return highest(passes, limit)

    def _measure(self, seconds: float) -> Sample:
        sent, arrived = self._sent(), self._arrived()
        working, started = self._candidate.working(), time.monotonic()
        time.sleep(seconds)
        now, elapsed = self._arrived(), time.monotonic() - started
        used = self._candidate.working() - working
        plain, marked = (b - a for a, b in zip(arrived, now, strict=True))
        return Sample(
            (self._sent() - sent) / elapsed,
            plain / elapsed,
            marked / elapsed,
            used * 1e9 / max(1, plain + marked),
        )

    def _sent(self) -> int:
        return sum(generator.sent for generator in self._generators)

    def _arrived(self) -> tuple[int, int]:
        counts = [counter.read() for counter in self._counters]
        return sum(a for a, _ in counts), sum(b for _, b in counts)

    def _add(self, generator: Generator) -> None:
        self._stack.callback(generator.close)
        self._generators.append(generator)

    def _count(self, counter: Counter) -> None:
        self._stack.callback(counter.close)
        self._counters.append(counter)


@contextmanager
def watching() -> Iterator[None]:
    """Let the calling thread look at the clock in time, however busy the cores are."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(WATCH_PRIORITY))
    except PermissionError as error:
        raise LabError("no real-time scheduling here (CAP_SYS_NICE)") from error
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
