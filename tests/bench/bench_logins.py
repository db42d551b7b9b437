"""Logins per second as sessions pile up: the whole control path in memory, one core, no sockets.

    python tests/bench/bench_logins.py [SESSIONS]      default 60,000; needs about 500 MB

Each login is ICRQ to IPCP opened, with the LAC's and the client's side of it, which this process
plays as well: the figures are for comparing with each other, not with a product's data sheet.
"""

import argparse
import json
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.memory import Lac, World

STEPS = (1_000, 5_000, 10_000, 20_000, 40_000, 60_000)
BATCH = 500
"""Logins that are timed together."""


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sessions", type=int, nargs="?", default=60_000)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    logging.getLogger("l2tpns").setLevel(logging.ERROR)
    world = World(pool=options.sessions + BATCH, primary_dns=0x09090909)
    world.routes.pool = ((0, 0),)
    lac = Lac(world).open()
    rows = []
    before = resident_bytes()
    for target in [step for step in STEPS if step <= options.sessions]:
        fill(world, lac, target - BATCH)
        started = time.process_time()
        fill(world, lac, target)
        elapsed = time.process_time() - started
        size = (resident_bytes() - before) / target
        rows.append(
            {
                "sessions": target,
                "logins_per_second": round(BATCH / elapsed),
                "bytes_per_session": round(size),
            }
        )
        if not options.json:
            figures = (
                "{sessions:>7} sessions {logins_per_second:>6} logins/s {bytes_per_session} bytes"
            )
            print(figures.format(**rows[-1]), "each, both ends", flush=True)
    if options.json:
        print(json.dumps(rows))


def fill(world: World, lac: Lac, target: int) -> None:
    """Bring the number of sessions to target; what was recorded of earlier ones is dropped."""
    while len(world.lns.sessions) < target:
        client = lac.call(f"user{len(lac.calls)}")
        assert client.up
        client.frames.clear()
        lac.clients.clear()  # the clients that are up need nothing more
        lac.messages.clear()
        world.plane.operations.clear()
        world.radius.records.clear()
        world.radius.requests.clear()


if __name__ == "__main__":
    main()
