"""A LAC with a subscriber at kernel speed: the programs of the LNS the other way round.

What goes down from the LAC's TUN device is what a subscriber sends, and what comes up out of the
tunnel is for the subscriber. It takes all of the internet for a network of its session.
"""

from pyroute2 import IPRoute

from integration.dataplane.namespaces import FAR, LAC, LNS_OUTER, Namespace, Topology
from integration.ebpf.setting import KEY, MRU, SUBSCRIBER, number
from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.plane import SessionRoute
from l2tpns_core.lab.netns import set_offload
from l2tpns_core.net.tun_device import TunDevice

NOBODY = "192.0.0.8"


class MirrorLac:
    """Its subscriber is an address in the namespace of the LAC."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        topology.lac.sysctl("ipv6/conf/default/disable_ipv6", "1")
        with topology.lac.entered():
            self.device = TunDevice("ppp%d")
        topology.lac.address(self.device.name, SUBSCRIBER, 32)
        with IPRoute(netns=topology.lac.name) as kernel:
            tun = kernel.link_lookup(ifname=self.device.name)[0]
            facing = kernel.link_lookup(ifname="lac0")[0]
            kernel.link("set", index=tun, mtu=MRU)
            kernel.route("add", dst=f"{FAR}/32", oif=tun, prefsrc=SUBSCRIBER)
        self.fast = FastPath.open(FastPathOptions(max_sessions=10))
        with topology.lac.entered():
            self.fast.attach_tun(tun)
            self.fast.attach(facing)
        session = SessionRoute(
            key=7 << 16 | 9,
            peer=(LNS_OUTER, 1701),
            local=LAC,
            peer_tunnel_id=KEY >> 16,
            peer_session_id=KEY & 0xFFFF,
            ip=number(NOBODY),
            networks=((0, 0),),
            mru=MRU,
        )
        self.fast.install(session, NextHop(facing, LNS_OUTER))

    def close(self) -> None:
        with self.topology.lac.entered():
            self.fast.close()
        self.device.close()


def offload(namespace: Namespace, interface: str, command: int, *, on: bool) -> None:
    """Switch an offload of an interface, as `ethtool -K` does."""
    with namespace.entered():
        set_offload(interface, command, on=on)
