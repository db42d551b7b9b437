"""A node of a cluster that etcd elects, as a process.

    python etcd_node.py DEVICE ENDPOINTS HOLD JOURNAL

As cluster_node.py; JOURNAL is a file that has a line for each time that it began to decide or
stopped doing so.
"""

import asyncio
import logging
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from cluster_node import Toy, serve

from l2tpns_core.cluster.events import BecameMaster, Event, Resigning, Resumed, SteppedDown
from l2tpns_core.cluster.transport import PORT, address_of
from l2tpns_core.cluster_etcd.backend import EtcdBackend
from l2tpns_core.cluster_etcd.records import Member
from l2tpns_core.cluster_etcd.settings import EtcdSettings


class EtcdToy(Toy):
    """A toy that etcd elects."""

    elects = False
    timeout = 3.0

    def __init__(self, device: str, endpoints: str, hold: str, journal: str) -> None:
        self._journal = Path(journal)
        self.backend: EtcdBackend | None = None
        super().__init__(device, [])
        settings = EtcdSettings(
            tuple(f"http://{each}:2379" for each in endpoints.split(",")), hold=float(hold)
        )
        member = Member(str(address_of(device)), int(time.time() * 1000), PORT)
        self.backend = EtcdBackend(self.node, self.transport, settings, member)
        self.backend.start()

    def on_event(self, event: Event) -> None:
        if isinstance(event, BecameMaster | SteppedDown | Resigning | Resumed):
            with self._journal.open("a") as journal:
                journal.write(f"{time.time()} {type(event).__name__}\n")
        if self.backend is not None:
            self.backend.on_event(event)
        super().on_event(event)

    def command(self, words: list[str]) -> dict[str, Any]:
        found = super().command(words)
        assert self.backend is not None
        return {**found, "etcd": asdict(self.backend.status())}


async def main() -> None:
    toy = EtcdToy(*sys.argv[1:])
    await serve(toy)
    assert toy.backend is not None
    await toy.backend.stop()
    toy.transport.close()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s")
    asyncio.run(main())
