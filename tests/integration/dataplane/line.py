"""Subscribers' hosts at the end of the LAC's tunnel: a real IP stack, and traffic to measure."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

from pyroute2 import IPRoute

from integration.dataplane.namespaces import FAR, LNS_OUTER, Namespace, Topology
from integration.dataplane.setting import HEADER_BYTES, MTU, Setting, until
from l2tpns_core.net.tun_device import TunDevice
from unit.dataplane.fakes import IP_PREFIX, data_message

TCP_PORT = 5001
CHUNK = 65_536
TCP_HEADERS = 52
"""IP and TCP with timestamps, of each full packet."""
UDP_HEADERS = 28
TICK_S = 0.005


class Line:
    """A TUN device beside the LAC with the subscribers' addresses. What the kernel sends from one
    goes up the tunnel in his session, and what comes down goes to the kernel."""

    def __init__(self, setting: Setting, keys: dict[str, int]) -> None:
        """`keys` are the sessions by address."""
        self._setting = setting
        self._keys = {socket.inet_aton(address): key for address, key in keys.items()}
        with setting.topology.lac.entered():
            self.device = TunDevice("sub%d")

    def send_up(self) -> None:
        while (packet := self.device.read(MTU)) is not None:
            key = self._keys.get(packet[12:16])
            if key is not None:  # the kernel looks for IPv6 routers, too
                datagram = data_message(IP_PREFIX + packet, key)
                self._setting.lac.sendto(datagram, (LNS_OUTER, 1701))

    def receive_down(self) -> None:
        while True:
            try:
                datagram = self._setting.lac.recv(CHUNK)
            except BlockingIOError:
                return
            self.device.write(datagram[HEADER_BYTES:])


@contextlib.asynccontextmanager
async def connected(setting: Setting, keys: dict[str, int]) -> AsyncIterator[None]:
    """Have hosts with these addresses at the end of these sessions."""
    line, loop = Line(setting, keys), asyncio.get_running_loop()
    await asyncio.to_thread(_configure, setting.topology.lac, line.device.name, list(keys))
    loop.add_reader(line.device.fileno(), line.send_up)
    loop.add_reader(setting.lac.fileno(), line.receive_down)
    try:
        yield
    finally:
        loop.remove_reader(line.device.fileno())
        loop.remove_reader(setting.lac.fileno())
        line.device.close()


def _configure(lac: Namespace, device: str, addresses: list[str]) -> None:
    with IPRoute(netns=lac.name) as kernel:
        index = kernel.link_lookup(ifname=device)[0]
        for address in addresses:
            kernel.addr("add", index=index, address=address, prefixlen=32)
        kernel.link("set", index=index, mtu=MTU, state="up")
        kernel.route("add", dst=f"{FAR}/32", oif=index)


class Ear:
    """Counts what comes to a UDP port from flood(), and sees how long it took."""

    def __init__(self, namespace: Namespace, address: str, port: int) -> None:
        self.octets = 0
        self.numbers: list[int] = []
        self.delays: list[float] = []
        with namespace.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            self.socket.bind((address, port))

    def read(self) -> None:
        while True:
            try:
                payload = self.socket.recv(CHUNK)
            except BlockingIOError:
                return
            self.octets += len(payload) + UDP_HEADERS
            self.numbers.append(int.from_bytes(payload[:8], "big"))
            self.delays.append(time.monotonic() - int.from_bytes(payload[8:16], "big") / 1e9)

    async def rate(self, seconds: float) -> float:
        """The kbit/s of IP packets that come for a while."""
        before, started_at = self.octets, time.monotonic()
        await asyncio.sleep(seconds)
        return (self.octets - before) * 8 / 1000 / (time.monotonic() - started_at)


@contextlib.contextmanager
def listening(namespace: Namespace, address: str, port: int) -> Iterator[Ear]:
    ear = Ear(namespace, address, port)
    asyncio.get_running_loop().add_reader(ear.socket.fileno(), ear.read)
    try:
        yield ear
    finally:
        asyncio.get_running_loop().remove_reader(ear.socket.fileno())
        ear.socket.close()


async def flood(
    sender: socket.socket, target: tuple[str, int], kbit: int, size: int, seconds: float
) -> int:
    """Send IP packets of a size at a rate; return how many."""
    sent, started_at = 0, time.monotonic()
    while (elapsed := time.monotonic() - started_at) < seconds:
        while sent * size * 8 < elapsed * kbit * 1000:
            stamp = sent.to_bytes(8, "big") + time.monotonic_ns().to_bytes(8, "big")
            sender.sendto(stamp.ljust(size - UDP_HEADERS, b"\0"), target)
            sent += 1
        await asyncio.sleep(TICK_S)
    return sent


async def tcp_rate(
    topology: Topology, address: str, *, up: bool, warm_up: float, seconds: float
) -> float:
    """The kbit/s of IP packets that TCP makes of a line, after a while."""
    loop, received = asyncio.get_running_loop(), 0

    async def pour(end: socket.socket) -> None:
        while True:
            await loop.sock_sendall(end, bytes(CHUNK))

    async def take(end: socket.socket) -> None:
        nonlocal received
        while True:
            received += len(await loop.sock_recv(end, CHUNK))

    with _tcp_sockets(topology, address) as (listener, subscriber):
        async with asyncio.timeout(5):
            await loop.sock_connect(subscriber, (FAR, TCP_PORT))
            far, _ = await loop.sock_accept(listener)
        source, sink = (subscriber, far) if up else (far, subscriber)
        tasks = [asyncio.create_task(pour(source)), asyncio.create_task(take(sink))]
        await until(lambda: received)
        await asyncio.sleep(warm_up)
        before, started_at = received, time.monotonic()
        await asyncio.sleep(seconds)
        octets, elapsed = received - before, time.monotonic() - started_at
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        far.close()
    return octets * MTU / (MTU - TCP_HEADERS) * 8 / 1000 / elapsed


@contextlib.contextmanager
def _tcp_sockets(topology: Topology, address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    with topology.net.entered():
        listener = socket.create_server((FAR, TCP_PORT))
    with topology.lac.entered():
        subscriber = socket.socket()
        subscriber.bind((address, 0))
    listener.setblocking(False)
    subscriber.setblocking(False)
    with listener, subscriber:
        yield listener, subscriber
