"""A plane in the namespace of the LNS, between the sockets of a LAC and of a far host."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from pyroute2 import IPRoute

from integration.dataplane.namespaces import FAR, LAC, LNS_OUTER, Topology
from l2tpns_core.dataplane.icmp_socket import IcmpSocket
from l2tpns_core.dataplane.tun import PlaneOptions, UserPlane
from l2tpns_core.dataplane.udp import L2tpSocket
from l2tpns_core.net.netlink import Netlink
from l2tpns_core.net.routes import TunRoutes
from l2tpns_core.net.tun_device import TunDevice
from unit.dataplane.fakes import FakeEvents, data_message, number, route

TUN_ADDRESS = "203.0.113.1"
MTU = 1462
POOL = (number("10.0.0.0"), 24)
PROTOCOL, METRIC = 42, 1
HEADER_BYTES = 10
"""Of L2TP and PPP before a packet to the subscriber."""

Answer = TypeVar("Answer")


class Setting:
    """A plane in the namespace of the LNS, and a socket at each end."""

    def __init__(self, topology: Topology, address: str) -> None:
        self.topology = topology
        self.events = FakeEvents()
        with topology.lac.entered():
            self.lac = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.lac.bind((LAC, 1701))
        with topology.net.entered():
            self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.far.bind((FAR, 9))
        self.lac.setblocking(False)
        self.far.setblocking(False)
        with topology.lns.entered():
            self.device = TunDevice("l2tpns%d")
            self.listener = L2tpSocket(address, 1701, 1 << 20)
            self.icmp = IcmpSocket()
            self.netlink = Netlink()

    async def open(self) -> None:
        """The parts that belong to the loop."""
        with self.topology.lns.entered():
            await self.netlink.open()
        self.index = await self.netlink.index_of(self.device.name)
        await self.netlink.configure_device(self.index, MTU, [number(TUN_ADDRESS)])
        self.routes = TunRoutes(self.netlink, self.index, PROTOCOL, METRIC)
        self.routes.set_pool([POOL])
        await self.routes.start()
        await self.routes.settle()
        self.plane = UserPlane(
            asyncio.get_running_loop(),
            self.device,
            self.listener,
            self.events,
            PlaneOptions(address=number(TUN_ADDRESS)),
            send_icmp=self.icmp.send,
        )
        self.install()
        self.plane.start()

    def install(self, **fields: object) -> None:
        self.plane.install(route(peer=(LAC, 1701), mru=MTU, **fields))

    async def close(self) -> None:
        self.plane.stop()
        await self.routes.close()
        await self.netlink.close()
        for part in (self.device, self.listener, self.icmp, self.lac, self.far):
            part.close()

    def send_up(self, frame: bytes, to: str = LNS_OUTER) -> None:
        self.lac.sendto(data_message(frame), (to, 1701))

    async def ask_kernel(self, question: Callable[[IPRoute], Answer]) -> Answer:
        """Ask by a netlink connection that is not the daemon's, in a thread."""

        def ask() -> Answer:
            with IPRoute(netns=self.topology.lns.name) as kernel:
                return question(kernel)

        return await asyncio.to_thread(ask)

    async def kernel_routes(self) -> set[tuple[str, int]]:
        """(destination, protocol) of the routes to the device."""

        def question(kernel: IPRoute) -> set[tuple[str, int]]:
            found = kernel.get_routes(family=socket.AF_INET, oif=self.index, table=254)
            return {(f"{route.get('dst')}/{route['dst_len']}", route["proto"]) for route in found}

        return await self.ask_kernel(question)


async def receive(end: socket.socket) -> tuple[bytes, tuple[str, int]]:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recvfrom(end, 65535)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - packets set no event
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def opened(topology: Topology, address: str) -> AsyncIterator[Setting]:
    setting = Setting(topology, address)
    await setting.open()
    try:
        yield setting
    finally:
        await setting.close()


def run(
    topology: Topology, test: Callable[[Setting], Awaitable[None]], address: str = LNS_OUTER
) -> None:
    async def main() -> None:
        async with opened(topology, address) as setting:
            await test(setting)

    asyncio.run(main())
