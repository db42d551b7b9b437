"""How long a takeover takes with many sessions, and for how long the loop is away meanwhile: a
slave's tables from an image, the LNS from the same image, and the slave again.

    python tests/bench/bench_takeover.py [SESSIONS]      default 60,000

The plane is a recording one: what a real plane needs for its part comes on top.
"""

import asyncio
import gc
import logging
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.bench_logins import fill
from l2tpns_core.clustering.counting import Counting
from l2tpns_core.clustering.tables import SlaveTables
from l2tpns_core.state.adoption import Adoption
from l2tpns_core.state.image import Image
from l2tpns_core.state.records import Records
from support.memory import Lac, World


class Watch:
    """The longest time for which the loop was away, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.longest = max(self.longest, now - before)
            before = now

    def close(self) -> float:
        self._task.cancel()
        return self.longest


class Plane:
    """A recording plane that goes on counting."""

    def __init__(self, plane: Any) -> None:
        self._plane = plane

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plane, name)

    def resume(self, key: int, total: object, own: object) -> None:
        pass

    def own_counters(self, key: int) -> Any:
        return self._plane.counters(key)

    def take_unclaimed(self) -> dict[int, Any]:
        return {}


def make(sessions: int) -> World:
    world = World(pool=sessions + 10, primary_dns=0x09090909)
    world.routes.pool = ((0, 0),)
    return world


async def measure(what: str, work: Any) -> None:
    watch, began = Watch(), time.perf_counter()
    await asyncio.sleep(0)
    await work
    elapsed = time.perf_counter() - began
    print(f"{what:<42}{elapsed:8.2f} s, loop away {watch.close() * 1000:6.1f} ms at most")


async def main(sessions: int) -> None:
    world = make(sessions)
    lac = Lac(world).open()
    fill(world, lac, sessions)
    gc.freeze()
    image = Image()

    async def replicate() -> None:
        for rows in Records(world.lns, Plane(world.plane)).everything():
            for row in rows:
                image.apply(row)
            await asyncio.sleep(0)

    await measure("the master's rows, into an image", replicate())
    slave = make(sessions)
    tables = SlaveTables(
        slave.plane, slave.routes, Counting(slave.plane, lambda: 0.0), lambda: 1454
    )
    await measure("a slave's plane, from the image", tables.follow(image))

    async def take() -> None:
        adoption = Adoption(slave.lns, image)
        for _ in adoption.taking():
            await asyncio.sleep(0)
        tables.hand_over()
        await adoption.install(Plane(slave.plane))

    await measure("becoming master", take())
    assert len(slave.lns.sessions) == sessions

    async def step_down() -> None:
        slave.lns.begin_anew()

    await measure("forgetting everything, after stepping down", step_down())


if __name__ == "__main__":
    logging.getLogger("l2tpns").setLevel(logging.CRITICAL)
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60_000))
