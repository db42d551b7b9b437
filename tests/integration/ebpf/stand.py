"""One plane between a LAC and the network, fed packet by packet, and everything that it does with
each. Packets are put on the wire by hand, so that anything may be in them."""

import asyncio
import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Final

from pyroute2 import IPRoute

from integration.dataplane.namespaces import (
    FAR,
    LAC,
    LNS_INNER,
    LNS_OUTER,
    LNS_SECOND,
    Namespace,
    Topology,
)
from integration.ebpf.setting import ETH_P_ALL, ETH_P_IP, OUTGOING, TUN_ADDRESS, number
from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.icmp_socket import IcmpSocket
from l2tpns_core.dataplane.ipv4 import build
from l2tpns_core.dataplane.plane import SessionRoute
from l2tpns_core.dataplane.ratelimit import RateLimit
from l2tpns_core.dataplane.tun import PlaneOptions, UserPlane
from l2tpns_core.dataplane.udp import L2tpSocket
from l2tpns_core.net.tun_device import TunDevice
from unit.dataplane.fakes import FakeEvents

ETH_P_IPV6: Final = 0x86DD
OURS: Final = frozenset(map(socket.inet_aton, (LNS_OUTER, LNS_SECOND)))
"""Addresses of the LNS where its LACs are."""
ICMP_OF_OURS: Final = frozenset(map(socket.inet_aton, (TUN_ADDRESS, LNS_INNER)))
SNOOP: Final = (FAR, 4500)
"""Where copies go."""
TARGET: Final = socket.inet_aton(SNOOP[0]) + SNOOP[1].to_bytes(2, "big")
MARK: Final = b"what was sent before this has arrived"
ROUNDS: Final = 4
"""Packets wait in one queue of the CPU at each of the interfaces on their way, of which none has
more."""
UNLIMITED: Final = 1_000_000
TUN_MTU: Final = 4000
"""Also that of the network: more than fits into the tunnel."""
PATIENCE_S: Final = 5.0


@dataclass(frozen=True)
class Outcome:
    """What became of one packet. Two outcomes are equal when all of this is."""

    up: tuple[bytes, ...]
    """Packets that came out of the TUN device."""
    down: tuple[bytes, ...]
    """Datagrams to the LAC, as comparable() has them."""
    icmp: tuple[bytes, ...]
    """ICMP errors to the sender."""
    copies: tuple[bytes, ...]
    """Packets of sessions that are intercepted."""
    controls: tuple[object, ...]
    frames: tuple[object, ...]
    unknown: tuple[object, ...]
    sessions: tuple[tuple[int, ...], ...]
    """Packets and octets both ways, and whether `heard_at` and `data_at` are set, of each."""
    counters: tuple[tuple[str, int], ...]
    """What has changed of the plane's."""

    def is_silent(self) -> bool:
        """Whether nothing came out, and nobody was told."""
        return not any(
            (self.up, self.down, self.icmp, self.copies, self.controls, self.frames, self.unknown)
        ) and not any(map(any, self.sessions))

    def differences(self, other: "Outcome") -> str:
        """In words, for a failed test."""
        lines = []
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours != theirs:
                lines.append(f"{field.name}:\n    {shown(ours)}\n    {shown(theirs)}")
        return "\n".join(lines)


def shown(value: object) -> str:
    if isinstance(value, tuple) and value and isinstance(value[0], bytes):
        return " | ".join(part.hex() for part in value)
    return repr(value)


def comparable(packet: bytes) -> bytes:
    """An IPv4 packet of the LNS without what a host is free to choose: the identification with the
    checksum that covers it, and the UDP checksum, which may be none (RFC 2661 section 8.1)."""
    found = bytearray(packet)
    found[4:6] = found[10:12] = bytes(2)
    is_first = not (packet[6] << 8 | packet[7]) & 0x1FFF
    if packet[9] == socket.IPPROTO_UDP and is_first:
        found[26:28] = bytes(2)
    return bytes(found)


class Wire:
    """A raw socket on an interface; frames go out as they are, IP packets that come in are kept."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        with namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def send_packet(self, interface: str, packet: bytes, protocol: int) -> None:
        """Put a packet on an interface without MAC addresses."""
        try:
            self._socket.sendto(packet, (interface, protocol))
        except OSError as error:  # a program at the egress drops it, and the sender is told
            if error.errno != errno.ENOBUFS:
                raise

    def receive(self, header: int = 14) -> list[bytes]:
        """IP packets that came since the last time, without so many bytes before them."""
        found = []
        while True:
            try:
                frame, address = self._socket.recvfrom(70000)
            except BlockingIOError:
                return found
            if address[1] == ETH_P_IP and address[2] != OUTGOING:
                found.append(frame[header:])

    def wait(self) -> bool:
        return bool(select.select([self._socket], [], [], PATIENCE_S)[0])

    def close(self) -> None:
        self._socket.close()


class Stand:
    """A plane with sessions. The process has to stay on one CPU (see one_cpu()), for then packets
    do not overtake each other."""

    def __init__(self, topology: Topology, routes: Iterable[SessionRoute], *, ebpf: bool) -> None:
        self.routes = list(routes)
        self.events = FakeEvents()
        self.fast: FastPath | None = None
        self._topology = topology
        self._loop = asyncio.new_event_loop()
        # Before there is a device, or the kernel speaks on it by itself.
        topology.lns.sysctl("ipv6/conf/default/disable_ipv6", "1")
        with topology.lns.entered():
            self._device = TunDevice("l2tpns%d")
            self._socket = L2tpSocket("", 1701, 1 << 22)
            self._icmp = IcmpSocket()
        self.tun = self._device.name
        self._prepare_kernel()
        self._open_ends()
        self.user = UserPlane(
            self._loop,
            self._device,
            self._socket,
            self.events,
            PlaneOptions(icmp_rate=UNLIMITED, address=number(TUN_ADDRESS)),
            send_icmp=self._icmp.send,
        )
        self.user._up._reports = RateLimit(UNLIMITED)
        self.plane: UserPlane | EbpfPlane = self._join() if ebpf else self.user
        with topology.lns.entered():
            for route in self.routes:
                self.plane.install(route)
        self.plane.start()
        self._settle()

    def _prepare_kernel(self) -> None:
        topology, lns = self._topology, self._topology.lns
        lns.sysctl("ipv4/icmp_ratemask", "0")
        # No room for fragments, or they are put together, or told of half a minute later.
        for end in ("low", "high"):
            lns.sysctl(f"ipv4/ipfrag_{end}_thresh", "0")
        lns.address(self.tun, TUN_ADDRESS, 32)
        for space, interface in ((topology.net, "net0"), (lns, "lns1"), (lns, self.tun)):
            with IPRoute(netns=space.name) as kernel:
                kernel.link("set", index=kernel.link_lookup(ifname=interface)[0], mtu=TUN_MTU)

    def _join(self) -> EbpfPlane:
        lns = self._topology.lns
        with IPRoute(netns=lns.name) as kernel:
            tun = kernel.link_lookup(ifname=self.tun)[0]
            facing = kernel.link_lookup(ifname="lns0")[0]
        self.fast = FastPath.open(FastPathOptions(max_sessions=16))
        with lns.entered():
            self.fast.attach_tun(tun)
            self.fast.attach(facing)
        plane = EbpfPlane(self.user, self.fast)
        plane.paths[LAC] = NextHop(facing, LAC)
        return plane

    def _open_ends(self) -> None:
        topology = self._topology
        self._at_lac = Wire(topology.lac, "lac0")
        self._at_far = Wire(topology.net, "net0")
        self._at_tun = Wire(topology.lns, self.tun)
        self._silent = []
        for space, address, port in (
            (topology.lac, LAC, 1701),
            (topology.lac, LAC, 1999),
            (topology.net, FAR, 7777),
            (topology.net, *SNOOP),
        ):
            with space.entered():  # whoever has a port closed says so
                taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                taker.bind((address, port))
            self._silent.append(taker)
        self._to_lns = mac(topology.lns, "lns0") + mac(topology.lac, "lac0") + b"\x08\x00"
        self._to_lns1 = mac(topology.lns, "lns1") + mac(topology.net, "net0") + b"\x08\x00"
        neighbours = (
            (topology.lns, "lns0", LAC, mac(topology.lac, "lac0")),
            (topology.lns, "lns1", FAR, mac(topology.net, "net0")),
        )
        for space, interface, address, hardware in neighbours:
            with IPRoute(netns=space.name) as kernel:
                kernel.neigh(
                    "replace",
                    dst=address,
                    lladdr=hardware.hex(":"),
                    ifindex=kernel.link_lookup(ifname=interface)[0],
                    state=0x80,  # permanent
                )

    # What happens

    def from_lac(self, packet: bytes) -> Outcome:
        """An outer IP packet from the LAC, and what becomes of it. What comes up is for nobody:
        the kernel drops it as a packet from a place to which it has no route."""
        return self._observe(lambda: self._at_lac.send(self._to_lns + packet))

    def from_network(self, packet: bytes) -> Outcome:
        """An IP packet that arrives on the side of the network and is routed to a subscriber."""
        return self._observe(lambda: self._at_far.send(self._to_lns1 + packet))

    def into_tun(self, packet: bytes, protocol: int = ETH_P_IP) -> Outcome:
        """A packet that goes to the TUN device past the routing, whatever is in it."""
        return self._observe(lambda: self._at_tun.send_packet(self.tun, packet, protocol))

    def route_subscribers(self, prefix: str) -> None:
        """Have the kernel route a prefix into the TUN device."""
        with IPRoute(netns=self._topology.lns.name) as kernel:
            index = kernel.link_lookup(ifname=self.tun)[0]
            kernel.route("add", dst=prefix, oif=index)

    def refuse_what_comes_up(self) -> None:
        """The kernel routes nothing that comes out of the TUN device."""
        self._topology.lns.sysctl(f"ipv4/conf/{self.tun}/rp_filter", "1")

    def _observe(self, send: Callable[[], None]) -> Outcome:
        before = replace(self.plane.plane_counters())
        for wire in (self._at_lac, self._at_far, self._at_tun):
            wire.receive()
        for told in (self.events.controls, self.events.frames, self.events.unknown):
            told.clear()
        send()
        at_far = self._settle()
        with self._topology.lns.entered():
            sessions = tuple(map(self._end_of, self.routes))
        after = self.plane.plane_counters()
        down = [p for p in self._at_lac.receive() if p[12:16] in OURS and p[9] == 17]
        icmp = [p for p in at_far if p[12:16] in ICMP_OF_OURS and p[9] == 1]
        return Outcome(
            up=tuple(self._at_tun.receive(header=0)),
            down=tuple(map(comparable, down)),
            icmp=tuple(map(comparable, icmp)),
            copies=tuple(p[28:] for p in at_far if p[9] == 17 and p[16:20] + p[22:24] == TARGET),
            controls=tuple(event[:-1] for event in self.events.controls),
            frames=tuple(event[:-1] for event in self.events.frames),
            unknown=tuple(event[:-1] for event in self.events.unknown),
            sessions=sessions,
            counters=grown(before, after),
        )

    def _end_of(self, route: SessionRoute) -> tuple[int, ...]:
        """The final counters of a session, which begins anew, so that times can be compared."""
        end = self.plane.remove(route.key)
        self.plane.install(route)
        return (*end[:4], bool(end.heard_at), bool(end.data_at))

    def _settle(self) -> list[bytes]:
        """Wait until everything that was sent has come to its end, and the plane has done its
        work; return what came to the far host."""
        found: list[bytes] = []
        work = None
        while work != self._work():
            work = self._work()
            for _ in range(ROUNDS):
                found += self._send_mark()
                self._pump()
        return found

    def _send_mark(self) -> list[bytes]:
        """Send a packet on the way that the others go, past the plane; return what else came to
        the far host."""
        header = struct.pack(">HHHH", 7777, 7777, 8 + len(MARK), 0)
        packet = build(socket.inet_aton(LAC), socket.inet_aton(FAR), 17, header + MARK)
        self._at_lac.send(self._to_lns + packet)
        found: list[bytes] = []
        while True:
            assert self._at_far.wait(), "the wire is broken"
            found += self._at_far.receive()
            if any(packet.endswith(MARK) for packet in found):
                return [packet for packet in found if not packet.endswith(MARK)]

    def _pump(self) -> None:
        while select.select([self._device, self._socket], [], [], 0)[0]:
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()

    def _work(self) -> tuple[int, int]:
        counters = self.user.plane_counters()
        return counters.socket_rx_packets, counters.tun_rx_packets

    def hits(self) -> int:
        return 0 if self.fast is None else self.fast.statistics().hits

    def close(self) -> None:
        self.plane.stop()
        if self.fast is not None:
            with self._topology.lns.entered():
                self.fast.close()
        self._loop.close()
        parts = (self._device, self._socket, self._icmp, self._at_lac, self._at_far, self._at_tun)
        for part in (*parts, *self._silent):
            part.close()


def grown(before: PlaneCounters, after: PlaneCounters) -> tuple[tuple[str, int], ...]:
    earlier = before.as_dict()
    return tuple(
        (name, value - earlier[name])
        for name, value in after.as_dict().items()
        if value != earlier[name]
    )


def mac(namespace: Namespace, interface: str) -> bytes:
    with IPRoute(netns=namespace.name) as kernel:
        address = kernel.link("get", ifname=interface)[0].get("address")
    return bytes.fromhex(str(address).replace(":", ""))


def one_cpu() -> set[int]:
    """Stay on one CPU; return those before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    return before
