"""A node of a cluster with a table of sessions, as a process.

    python cluster_node.py DEVICE [PEER…]      multicast, or unicast to PEERs

It is told on its standard input, and answers in one line of JSON each:

    status | change NUMBER USER | many COUNT | drain | leave
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from l2tpns_core.cluster.events import BecameMaster, Drained, Event, Replaced, RoutesWanted
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.settings import ClusterSettings
from l2tpns_core.cluster.transport import PORT, ClusterTransport, address_of, open_socket
from unit.cluster.world import row_of, table_of

GROUP = IPv4Address("239.192.13.13")
SLICE = 64


class Toy:
    """The table and its node."""

    elects = True
    timeout = 1.0

    def __init__(self, device: str, peers: Sequence[IPv4Address]) -> None:
        address = address_of(device)
        group = None if peers or not self.elects else GROUP
        loop = asyncio.get_running_loop()
        self.table: dict[int, str] = {}
        self.drained = self.routes = False
        settings = ClusterSettings(
            int(address), b"a secret", interval=0.1, timeout=self.timeout, elects=self.elects
        )
        self.node = ClusterNode(
            settings,
            self,
            loop.time(),
            started_ms=int(time.time() * 1000),
            wall_ahead=time.time() - loop.time(),
        )
        sock = open_socket(device, address, group, PORT)
        self.transport = ClusterTransport(
            self.node, sock, self.on_event, group=group, port=PORT, peers=peers
        )

    is_ready = True

    def commit(self) -> None:
        """Nothing: every change is offered at once."""

    def everything(self) -> Iterator[Sequence[list[Any]]]:
        numbers = list(self.table)
        for start in range(0, len(numbers), SLICE):
            yield [row_of(n, self.table[n]) for n in numbers[start : start + SLICE]]

    def on_event(self, event: Event) -> None:
        if isinstance(event, BecameMaster) and event.image is not None:
            self.table = table_of(event.image)
        elif isinstance(event, Replaced):
            self.table = {}
        elif isinstance(event, Drained):
            self.drained = True
        elif isinstance(event, RoutesWanted):
            self.routes = event.value

    def change(self, number: int, user: str) -> None:
        self.table[number] = user
        self.node.offer([row_of(number, user)], asyncio.get_running_loop().time())

    def command(self, words: list[str]) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        match words:
            case ["change", number, user]:
                self.change(int(number), user)
            case ["many", count]:
                for number in range(int(count)):
                    self.change(number, f"user-{number}")
            case ["drain"]:
                self.node.drain(now)
            case ["leave"]:
                self.node.leave(now)
        self.transport.kick()
        image = self.node.replica.image
        known = self.table if image is None else table_of(image)
        return {
            "role": self.node.role.value,
            "master": str(IPv4Address(self.node.master)),
            "up_to_date": self.node.up_to_date,
            "routes": self.routes,
            "drained": self.drained,
            "sessions": len(known),
            "last": known.get(0, ""),
        }


async def serve(toy: Toy) -> None:
    """Do what is said on standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(toy.command(line.decode().split())), flush=True)


async def main() -> None:
    toy = Toy(sys.argv[1], [IPv4Address(each) for each in sys.argv[2:]])
    await serve(toy)
    toy.transport.close()


if __name__ == "__main__":
    asyncio.run(main())
