"""The fast path between real kernels: a LAC, an LNS with a TUN device, a far host. No daemon."""

import contextlib
import select
import socket
import struct
from collections.abc import Iterator

from pyroute2 import IPRoute

from integration.dataplane.namespaces import FAR, LAC, LNS_OUTER, Namespace, Topology
from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.ipv4 import build
from l2tpns_core.dataplane.plane import SessionRoute
from l2tpns_core.net.tun_device import TunDevice

TUN_ADDRESS = "203.0.113.1"
SUBSCRIBER = "10.0.1.1"
MRU = 1462
KEY = 1 << 16 | 5
PREFIX = b"\xff\x03\x00\x21"
WAIT_S = 2.0
SILENCE_S = 0.15
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800
OUTGOING = 4


def number(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big")


def route(**fields: object) -> SessionRoute:
    """A session of SUBSCRIBER, with changes."""
    found: dict[str, object] = {
        "key": KEY,
        "peer": (LAC, 1701),
        "local": LNS_OUTER,
        "peer_tunnel_id": 7,
        "peer_session_id": 9,
        "ip": number(SUBSCRIBER),
        "mru": MRU,
    }
    return SessionRoute(**found | fields)  # type: ignore[arg-type]


def udp(source: str, destination: str, payload: bytes, ports: tuple[int, int] = (1024, 9)) -> bytes:
    """An IP packet with a UDP datagram without a checksum."""
    header = struct.pack(">HHHH", *ports, 8 + len(payload), 0)
    return build(socket.inet_aton(source), socket.inet_aton(destination), 17, header + payload)


def message(packet: bytes, key: int = KEY, flags: int = 2, prefix: bytes = PREFIX) -> bytes:
    """An L2TP data message without a length."""
    return struct.pack(">HI", flags, key) + prefix + packet


class Tap:
    """Reads the IP packets that come to an interface, as they are on the wire."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        with namespace.entered():
            # Those who listen to one protocol only hear nothing of what tc takes away.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            self._socket.bind((interface, ETH_P_ALL))

    def packets(self, wait: float = WAIT_S, count: int = 1) -> list[bytes]:
        """So many packets, or those that came in time."""
        found: list[bytes] = []
        while len(found) < count and select.select([self._socket], [], [], wait)[0]:
            data, address = self._socket.recvfrom(70000)
            if address[1] == ETH_P_IP and address[2] != OUTGOING:
                found.append(data)
        return found

    def close(self) -> None:
        self._socket.close()


class Setting:
    """Three namespaces, the fast path attached in that of the LNS, and a session."""

    def __init__(self, topology: Topology, **options: object) -> None:
        self.topology = topology
        self.options = FastPathOptions(**{"max_sessions": 1000} | options)  # type: ignore[arg-type]
        topology.lns.sysctl("ipv6/conf/default/disable_ipv6", "1")  # or it speaks by itself
        with topology.lns.entered():
            self.device = TunDevice("l2tpns%d")
            self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.server.bind((LNS_OUTER, 1701))
        topology.lns.address(self.device.name, TUN_ADDRESS, 32)
        with IPRoute(netns=topology.lns.name) as kernel:
            self.tun: int = kernel.link_lookup(ifname=self.device.name)[0]
            self.facing: int = kernel.link_lookup(ifname="lns0")[0]
            kernel.link("set", index=self.tun, mtu=MRU)
            kernel.route("add", dst="10.0.0.0/8", oif=self.tun)
        with topology.lac.entered():
            self.lac = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.lac.bind((LAC, 1701))
        with topology.net.entered():
            self.far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.far.bind((FAR, 9))
        for end in (self.lac, self.far, self.server):
            end.settimeout(WAIT_S)
        self.at_far = Tap(topology.net, "net0")
        self.at_lac = Tap(topology.lac, "lac0")
        self.fast = self.open()

    def open(self) -> FastPath:
        fast = FastPath.open(self.options)
        with self.topology.lns.entered():
            fast.attach_tun(self.tun)
            fast.attach(self.facing)
        return fast

    def install(self, **fields: object) -> None:
        self.fast.install(route(**fields), NextHop(self.facing, LAC))

    def send_up(self, datagram: bytes) -> None:
        self.lac.sendto(datagram, (LNS_OUTER, 1701))

    def send_down(self, payload: bytes, to: str = SUBSCRIBER) -> None:
        self.far.sendto(payload, (to, 1024))

    def outcomes(self) -> dict[str, int]:
        """Those that are not zero."""
        outcomes = self.fast.statistics().outcomes
        return {name: n for name, n in outcomes.items() if n and "octets" not in name}

    def punted(self) -> list[bytes]:
        """Datagrams that came to the L2TP socket of the LNS."""
        self.server.settimeout(SILENCE_S)
        found = []
        with contextlib.suppress(TimeoutError):
            while True:
                found.append(self.server.recv(70000))
        return found

    def read_tun(self) -> list[bytes]:
        """Packets that the user-space plane would read from the TUN device."""
        found = []
        while select.select([self.device], [], [], SILENCE_S)[0]:
            packet = self.device.read(70000)
            if packet:
                found.append(packet)
        return found

    def set_mtu(self, interface: str, mtu: int) -> None:
        """Of an interface of the LNS."""
        with IPRoute(netns=self.topology.lns.name) as kernel:
            index = kernel.link_lookup(ifname=interface)[0]
            kernel.link("set", index=index, mtu=mtu)

    def close(self) -> None:
        with self.topology.lns.entered():
            self.fast.close()
        for part in (self.device, self.server, self.lac, self.far, self.at_far, self.at_lac):
            part.close()


@contextlib.contextmanager
def opened(topology: Topology, **options: object) -> Iterator[Setting]:
    setting = Setting(topology, **options)
    try:
        setting.install()
        yield setting
    finally:
        setting.close()
