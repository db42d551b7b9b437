"""How long the daemon's loop is away while somebody looks at very many sessions.

    python tests/bench/bench_listing.py [SESSIONS]      default 60,000

The sessions and their counters are made up; the command line, its socket and l2tpns-cli are real.
The longest pause is what a subscriber's packet may wait in the user-space plane.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from l2tpns_core.cli.engine import CliServer
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.metrics.census import count_sessions
from unit.cli.fakes import FakeContext

COMMANDS = (
    ["-c", "show session"],
    ["--json", "-c", "show session"],
    ["-c", "show session | include nobody"],
    ["-c", "show users"],
    ["-c", "show histogram idle"],
    ["-c", "show throttle"],
    ["-c", "show top"],
)


def crowd(sessions: int) -> FakeContext:
    context = FakeContext()
    for number in range(1, sessions + 1):
        session = context.lns.add(
            1 + number // 2000, number, f"user-{number}", ip=0x0A000000 + number
        )
        session.link.echoes = b"\x2c\x01" * 16  # type: ignore[union-attr, misc]
        context.lns.traffic[session.key] = SessionCounters(1680, 1690, 20, 21, 4000.0, 4001.0)
    return context


async def ask(path: Path, arguments: list[str]) -> None:
    """One command, by the program that operators use."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "l2tpns_core.cli.shell", "-s", str(path)),
        *arguments,
        stdout=subprocess.DEVNULL,
    )
    await program.wait()


async def measure(work: Coroutine[None, None, object]) -> tuple[float, float]:
    """Seconds that the work took, and the longest turn of the loop."""
    longest = 0.0

    async def turn() -> None:
        nonlocal longest
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, before = max(longest, now - before), now

    turning = asyncio.create_task(turn())
    begun = time.perf_counter()
    await work
    turning.cancel()
    return time.perf_counter() - begun, longest


def report(what: str, figures: tuple[float, float]) -> None:
    took, longest = figures
    print(f"{what:<36} {took:6.2f} s   longest pause {1000 * longest:5.1f} ms")


async def run(sessions: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "cli.sock"
        context = crowd(sessions)
        server = CliServer(context, path)
        await server.start()
        print(f"{sessions} sessions")
        for arguments in COMMANDS:
            report(" ".join(arguments), await measure(ask(path, arguments)))
        census = count_sessions(lambda: list(context.lns.sessions.values()))
        report("the sessions in a scrape", await measure(census))
        await server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sessions", type=int, nargs="?", default=60_000)
    asyncio.run(run(parser.parse_args().sessions))


if __name__ == "__main__":
    main()
