"""What is asked of the kernel by netlink: device settings, addresses, routes.

Pyroute2's asynchronous class only: the synchronous one cannot be used inside a running loop.
"""

import asyncio
import errno
import logging
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

log = logging.getLogger("l2tpns.net")

MAIN_TABLE: Final = 254
SCOPE_LINK: Final = 253
FAMILY_INET: Final = 2
TX_QUEUE_LENGTH: Final = 1000
"""Packets that the kernel holds for us while the loop does something else."""

ARPHRD_ETHER: Final = 1
IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_NOARP: Final = 0x80


class KernelRefused(Exception):  # noqa: N818 - the sentence reads "KernelRefused: cannot ..."
    """The kernel said no; `errno` is its number, the text names what was asked."""

    def __init__(self, what: str, error: NetlinkError) -> None:
        super().__init__(f"{what}: {error}")
        self.errno = int(error.code)


@dataclass(slots=True, frozen=True)
class Interface:
    """A network interface, as far as ARP is concerned."""

    index: int
    name: str
    mac: bytes


@dataclass(slots=True, frozen=True)
class WaysOut:
    """What is to be known of routes before packets are forwarded without the stack."""

    interfaces: frozenset[int]
    several: bool
    """Whether a route has, or may have, several next hops."""
    special: bool
    """Whether a route has an MTU of its own, or is for a type of service."""


class Netlink:
    """The daemon's netlink connection. Open it inside the loop that uses it."""

    __slots__ = ("_listing", "_route")

    def __init__(self) -> None:
        self._route: AsyncIPRoute | None = None
        self._listing = asyncio.Lock()
        """The kernel reads one list at a time to a socket, and refuses another meanwhile."""

    async def open(self) -> None:
        """Raises OSError when netlink cannot be used."""
        self._route = AsyncIPRoute(ext_ack=True, strict_check=True)
        await self._route.setup_endpoint()

    async def close(self) -> None:
        if self._route is not None:
            self._route.close()
            self._route = None

    async def index_of(self, name: str) -> int:
        """The index of an interface. Raises LookupError."""
        found = await self._ipr.link_lookup(ifname=name)
        if not found:
            raise LookupError(f"no network interface {name}")
        return int(found[0])

    async def configure_device(self, index: int, mtu: int, addresses: list[int]) -> None:
        """Give the TUN device its MTU, queue and addresses (each a /32) and set it up.

        Raises KernelRefused.
        """
        try:
            await self._ipr.link("set", index=index, mtu=mtu, txqlen=TX_QUEUE_LENGTH, state="up")
        except NetlinkError as error:
            raise KernelRefused("cannot set up the TUN device", error) from error
        for address in addresses:
            text = str(IPv4Address(address))
            try:
                await self._ipr.addr("add", index=index, address=text, prefixlen=32)
            except NetlinkError as error:
                if error.code != errno.EEXIST:
                    raise KernelRefused(f"cannot set the address {text}", error) from error

    async def way_to(self, address: str) -> tuple[int, str]:
        """The interface that leads to an address, and where packets go from there: to a gateway, or
        to the address itself. Raises LookupError."""
        try:
            for route in await self._ipr.route("get", dst=address):
                index = route.get("oif")
                if index:
                    return int(index), str(route.get("gateway") or address)
        except NetlinkError as error:
            raise LookupError(f"no route to {address}: {error}") from error
        raise LookupError(f"no route to {address}")

    async def set_mtu(self, index: int, mtu: int) -> None:
        """Raises KernelRefused."""
        try:
            await self._ipr.link("set", index=index, mtu=mtu)
        except NetlinkError as error:
            raise KernelRefused(f"cannot set the MTU to {mtu}", error) from error

    async def change_route(
        self, action: str, prefix: tuple[int, int], index: int, protocol: int, metric: int
    ) -> None:
        """`action` ("add" or "del") the route of a prefix to a device. Raises KernelRefused."""
        try:
            await self._ipr.route(
                action,
                dst=prefix_text(prefix),
                oif=index,
                proto=protocol,
                priority=metric,
                scope=SCOPE_LINK,
                table=MAIN_TABLE,
            )
        except NetlinkError as error:
            raise KernelRefused(f"cannot {action} the route", error) from error

    async def routes_of(self, index: int, protocol: int) -> list[tuple[tuple[int, int], int]]:
        """(prefix, metric) of the routes to a device with a protocol number."""
        async with self._listing:
            found = []
            async for route in await self._ipr.get_routes(
                family=FAMILY_INET, proto=protocol, oif=index, table=MAIN_TABLE
            ):
                # The kernel filters the dump itself, where it is new enough.
                if route.get("oif") != index or route.get("proto") != protocol:
                    continue
                network = int(IPv4Address(route.get("dst") or "0.0.0.0"))
                found.append(((network, int(route["dst_len"])), int(route.get("priority") or 0)))
            return found

    async def ways_out(self) -> "WaysOut":
        """What the routes of the main table say beyond a next hop, and where they lead.

        Raises KernelRefused.
        """
        async with self._listing:
            interfaces: set[int] = set()
            several = special = False
            try:
                async for route in await self._ipr.get_routes(family=FAMILY_INET, table=MAIN_TABLE):
                    hops = route.get("multipath")
                    several = several or bool(hops) or bool(route.get("nh_id"))
                    metrics = route.get("metrics")
                    special = special or bool(route.get("tos") or (metrics and metrics.get("mtu")))
                    interfaces |= {int(hop.get("oif") or 0) for hop in hops or [route]}
            except NetlinkError as error:
                raise KernelRefused("cannot list the routes", error) from error
            return WaysOut(frozenset(interfaces - {0}), several, special)

    async def interfaces_for(self, address: int) -> list[Interface]:
        """The Ethernet interfaces that are up and on whose network an address lies. Raises
        KernelRefused."""
        try:
            async with self._listing:
                return await self._interfaces_for(address)
        except NetlinkError as error:
            raise KernelRefused("cannot list the interfaces", error) from error

    async def _interfaces_for(self, address: int) -> list[Interface]:
        indexes = set()
        async for entry in await self._ipr.get_addr(family=FAMILY_INET):
            network = IPv4Network((entry.get("address"), entry["prefixlen"]), strict=False)
            if IPv4Address(address) in network:
                indexes.add(int(entry["index"]))
        found = []
        async for link in await self._ipr.get_links():
            flags = int(link["flags"])
            if int(link["index"]) not in indexes or int(link["ifi_type"]) != ARPHRD_ETHER:
                continue
            if flags & IFF_UP and not flags & (IFF_LOOPBACK | IFF_NOARP):
                mac = bytes.fromhex(link.get("address").replace(":", ""))
                found.append(Interface(int(link["index"]), link.get("ifname"), mac))
        return found

    @property
    def _ipr(self) -> AsyncIPRoute:
        if self._route is None:
            raise RuntimeError("netlink is not open")
        return self._route


def prefix_text(prefix: tuple[int, int]) -> str:
    """`10.0.0.0/8` of (network, prefix length)."""
    return f"{IPv4Address(prefix[0])}/{prefix[1]}"
