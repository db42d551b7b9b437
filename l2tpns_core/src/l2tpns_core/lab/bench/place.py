"""Where a candidate forwards: LAC - LNS - network, three namespaces joined by veths.

lac0 192.0.2.2 ---- 192.0.2.1 lns0  lns1 198.51.100.1 ---- 198.51.100.2 net0
"""

import os
import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pyroute2 import IPRoute

from l2tpns_core.lab.bench import links
from l2tpns_core.lab.netns import LabError, Namespace, set_offload, veth

LAC_ADDRESS: Final = "192.0.2.2"
LNS_ADDRESS: Final = "192.0.2.1"
INNER_ADDRESS: Final = "198.51.100.1"
HOST_ADDRESS: Final = "198.51.100.2"
ETHERTYPE_IP: Final = b"\x08\x00"
LOAD_CORE: Final = 0
WORK_CORE: Final = 1
RECEIVE_PRIORITY: Final = 2
DISCARD_PORT: Final = 9


class Place:
    """A context manager: the namespaces go when it is left."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.receivers: list[int] = []
        """Kernel threads that receive for the LNS."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.lac = stack.enter_context(Namespace("lac"))
            self.lns = stack.enter_context(Namespace("lns"))
            self.net = stack.enter_context(Namespace("net"))
            for space in (self.lac, self.lns, self.net):
                space.sysctl("net.ipv6.conf.default.disable_ipv6", 1)  # or it speaks by itself
            veth(self.lac, "lac0", f"{LAC_ADDRESS}/24", self.lns, "lns0", f"{LNS_ADDRESS}/24")
            veth(self.lns, "lns1", f"{INNER_ADDRESS}/24", self.net, "net0", f"{HOST_ADDRESS}/24")
            self.lac.add_route("198.51.100.0/24", LNS_ADDRESS)
            self.net.add_route("default", INNER_ADDRESS)
            self.lns.forward()
            self._give_threads()
            self._learn_neighbours()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def receive_on(self, core: int) -> None:
        """Let what receives for the LNS work on a core, before anything else there."""
        for pid in self.receivers:
            os.sched_setaffinity(pid, {core})
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(RECEIVE_PRIORITY))

    def receive_anywhere(self) -> None:
        """Let the scheduler decide, as on a machine that is not measured."""
        for pid in self.receivers:
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
            os.sched_setaffinity(pid, range(os.cpu_count() or 1))

    def upward_ethernet(self) -> bytes:
        """The Ethernet header of what the LAC sends to the LNS."""
        target = links.mac_of(self.lns, "lns0")
        return target + links.mac_of(self.lac, "lac0") + ETHERTYPE_IP

    def downward_ethernet(self) -> bytes:
        target = links.mac_of(self.lns, "lns1")
        return target + links.mac_of(self.net, "net0") + ETHERTYPE_IP

    def tun(self) -> str:
        """The name of the TUN device of the LNS. Raises LabError."""
        names = [name for _, name in self.lns.call(socket.if_nameindex)]
        for name in names:
            if name not in ("lo", "lns0", "lns1"):
                return name
        raise LabError("the LNS has made no TUN device")

    def _give_threads(self) -> None:
        for link in ("lns0", "lns1"):
            self.lns.call(set_offload, link, links.ETHTOOL_SGRO, on=True)
            pids = links.thread_napi(self.lns, link)
            if not pids:
                raise LabError("interfaces have no threads here (/sys/class/net/*/threaded)")
            self.receivers += pids

    def _learn_neighbours(self) -> None:
        """Have the LNS know both neighbours before the first packet, and for good."""
        for link, address, space, end in (
            ("lns0", LAC_ADDRESS, self.lac, "lac0"),
            ("lns1", HOST_ADDRESS, self.net, "net0"),
        ):
            mac = links.mac_of(space, end).hex(":")
            index = links.index_of(self.lns, link)
            self.lns.call(_add_neighbour, index, address, mac)


def _add_neighbour(ifindex: int, address: str, mac: str) -> None:
    with IPRoute() as route:
        route.neigh("replace", dst=address, lladdr=mac, ifindex=ifindex, state="permanent")


def cpu_seconds(pids: list[int]) -> float:
    """What the scheduler has given to all threads of these processes so far."""
    total = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(path.read_text().split()[0])
    return total / 1e9
