"""Network namespaces joined by veth pairs, made with pyroute2 alone."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute, netns


class Namespace:
    """A network namespace. Sockets made inside `with namespace.entered()` belong to it for good."""

    def __init__(self, name: str) -> None:
        self.name = name
        with contextlib.suppress(FileNotFoundError):
            netns.remove(name)
        netns.create(name)
        with IPRoute(netns=name) as route:
            route.link("set", index=1, state="up")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Make the calling thread part of the namespace for a while."""
        netns.pushns(self.name)
        try:
            yield
        finally:
            netns.popns()

    def remove(self) -> None:
        netns.remove(self.name)

    def sysctl(self, key: str, value: str) -> None:
        """Set a net.* value, with slashes: `ipv4/ip_forward`."""
        with self.entered():
            Path("/proc/sys/net", key).write_text(value)

    def route(self, destination: str, gateway: str) -> None:
        with IPRoute(netns=self.name) as route:
            route.route("add", dst=destination, gateway=gateway)

    def address(self, interface: str, address: str, prefix_length: int) -> None:
        """Give an interface an address and set it up."""
        with IPRoute(netns=self.name) as route:
            index = route.link_lookup(ifname=interface)[0]
            route.addr("add", index=index, address=address, prefixlen=prefix_length)
            route.link("set", index=index, state="up")

    def statistics(self, interface: str) -> dict[str, int]:
        """The kernel's packet and byte counters of an interface."""
        with IPRoute(netns=self.name) as route:
            link = route.link("get", ifname=interface)[0]
            return dict(link.get("stats64"))


def join(a: Namespace, a_interface: str, b: Namespace, b_interface: str) -> None:
    """Put a veth pair between two namespaces. Its ends have no address yet and are down."""
    with IPRoute(netns=a.name) as route:
        route.link(
            "add",
            ifname=a_interface,
            kind="veth",
            peer={"ifname": b_interface, "net_ns_fd": b.name},
        )


def usable() -> bool:
    """Whether this process may make namespaces and TUN devices."""
    return os.geteuid() == 0 and os.access("/dev/net/tun", os.R_OK | os.W_OK)


LAC, LNS_OUTER, LNS_INNER, FAR = "192.0.2.2", "192.0.2.1", "198.51.100.1", "198.51.100.2"
LNS_SECOND = "192.0.2.17"
"""Another address of the LNS on the network of the LAC."""


class Topology:
    """lac0 [LAC] lns0 - lns1 [FAR] net0: three namespaces; the far one routes 10/8 to the LNS."""

    def __init__(self, prefix: str) -> None:
        self.lac = Namespace(f"{prefix}-lac")
        self.lns = Namespace(f"{prefix}-lns")
        self.net = Namespace(f"{prefix}-net")
        join(self.lac, "lac0", self.lns, "lns0")
        join(self.lns, "lns1", self.net, "net0")
        self.lac.address("lac0", LAC, 24)
        self.lns.address("lns0", LNS_OUTER, 24)
        self.lns.address("lns0", LNS_SECOND, 24)
        self.lns.address("lns1", LNS_INNER, 24)
        self.net.address("net0", FAR, 24)
        self.net.route("10.0.0.0/8", LNS_INNER)
        self.net.route("203.0.113.0/24", LNS_INNER)
        self.lns.sysctl("ipv4/ip_forward", "1")

    def remove(self) -> None:
        for namespace in (self.lac, self.lns, self.net):
            namespace.remove()
