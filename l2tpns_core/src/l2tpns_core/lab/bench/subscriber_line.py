"""A subscriber whose packets the kernel makes, for real TCP and pings through the tunnel.

The LAC's end of the session is the fast path of the LNS the other way round: what goes down from
its TUN device is what a subscriber sends. It takes all of the internet for a network of its
session, and it is the same for every candidate.
"""

from contextlib import ExitStack
from typing import Any, Final

from pyroute2 import IPRoute

from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.plane import SessionRoute
from l2tpns_core.lab.bench import links
from l2tpns_core.lab.bench.candidates import Candidate, Daemon
from l2tpns_core.lab.bench.place import HOST_ADDRESS, LAC_ADDRESS, LNS_ADDRESS
from l2tpns_core.lab.client import Client
from l2tpns_core.net.tun_device import TunDevice

MTU: Final = 1400
"""Of subscribers and, so that segments are as large, of plain forwarding."""
NOBODY: Final = (192 << 24) + 8


class SubscriberLine:
    """A context manager. `address` is the subscriber's, in the namespace of the LAC."""

    def __init__(self, candidate: Candidate) -> None:
        self._lac = candidate.place.lac
        self._stack = ExitStack()
        self.address = LAC_ADDRESS
        if isinstance(candidate, Daemon):
            self._open_session(candidate.lines.clients[0])
        else:
            self._lac.call(_route_host, None, "")

    def __enter__(self) -> "SubscriberLine":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open_session(self, client: Client) -> None:
        lac = self._lac
        self.address = client.ip
        device = lac.call(TunDevice, "line%d")
        self._stack.callback(device.close)
        lac.add_address(device.name, f"{client.ip}/32")
        lac.set_up(device.name)
        tun, facing = (links.index_of(lac, name) for name in (device.name, "lac0"))
        lac.call(_route_host, tun, client.ip)
        fast = FastPath.open(FastPathOptions(max_sessions=1))
        self._stack.callback(lac.call, fast.close)
        lac.call(fast.attach_tun, tun)
        lac.call(fast.attach, facing)
        route = SessionRoute(
            key=client.tunnel.local_id << 16 | client.session_id,
            peer=(LNS_ADDRESS, 1701),
            local=LAC_ADDRESS,
            peer_tunnel_id=client.tunnel.peer_id,
            peer_session_id=client.peer_session_id,
            ip=NOBODY,
            networks=((0, 0),),
            mru=MTU,
        )
        fast.install(route, NextHop(facing, LNS_ADDRESS))


def _route_host(interface: int | None, source: str) -> None:
    """The way from the LAC to the host: the subscriber's line, or the LNS as a plain router."""
    way: dict[str, Any] = {"dst": f"{HOST_ADDRESS}/32", "metrics": {"mtu": MTU}}
    if interface is None:
        way["gateway"] = LNS_ADDRESS
    else:
        way |= {"oif": interface, "prefsrc": source}
    with IPRoute() as route:
        if interface is not None:
            route.link("set", index=interface, mtu=MTU)
        route.route("replace", **way)
