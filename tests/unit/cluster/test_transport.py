"""The clock of a node goes on, whatever its user makes of events."""

import asyncio
import socket
from ipaddress import IPv4Address
from typing import Any

from l2tpns_core.cluster.events import Event, MasterLost
from l2tpns_core.cluster.transport import ClusterTransport

TIMES = 5


class Node:
    """Has an event each time that its timer comes."""

    def __init__(self) -> None:
        self.timers = 0
        self.due = 0.0
        self._events: list[Event] = []
        self.often = asyncio.Event()
        """Set when the timer has come five times."""

    def next_event(self) -> Event | None:
        return self._events.pop() if self._events else None

    def datagrams_to_send(self) -> list[tuple[int | None, bytes]]:
        return []

    def get_timer(self) -> float:
        return self.due

    def set_wall_ahead(self, ahead: float) -> None:
        pass

    def handle_timer(self, now: float) -> None:
        self.timers += 1
        self.due = now + 0.01
        self._events.append(MasterLost(1))
        if self.timers == TIMES:
            self.often.set()


def test_heartbeats_go_on_when_an_event_is_not_handled() -> None:
    async def story() -> int:
        node: Any = Node()

        def fail(event: Event) -> None:
            raise ValueError("what a plugin has left behind")

        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        transport = ClusterTransport(node, sock, fail, group=IPv4Address("239.192.13.13"))
        await asyncio.wait_for(node.often.wait(), 10)
        transport.close()
        return int(node.timers)

    assert asyncio.run(story()) >= TIMES
