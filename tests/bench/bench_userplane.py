"""Packets per second of the user-space plane, each way, on one core.

    python tests/bench/bench_userplane.py [--seconds 3] [--sessions 1 10000] [--json]

Needs root: it makes three namespaces, lac - lns - net, joined by veth pairs. The plane runs in a
process of its own, bound to one core; a flood of UDP comes from another process on another core,
and forwarded packets go on through the kernel to the far end, where its interface counts them.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import resource
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from integration.dataplane.namespaces import FAR, LAC, LNS_OUTER, Namespace, Topology, usable
from l2tpns_core.dataplane.ipv4 import build
from l2tpns_core.dataplane.plane import Peer, SessionRoute
from l2tpns_core.dataplane.tun import PlaneOptions, UserPlane
from l2tpns_core.dataplane.udp import L2tpSocket
from l2tpns_core.net.netlink import Netlink
from l2tpns_core.net.routes import TunRoutes
from l2tpns_core.net.tun_device import TunDevice

TUN_ADDRESS = "203.0.113.1"
POOL = int.from_bytes(socket.inet_aton("10.0.0.0"), "big")
PORT = 1701
FAR_PORT = 9
SNOOP_PORT = 4000
INNER_SIZE = 64
MAX_FLOOD = 4096
"""Different datagrams in the flood; enough to visit sessions far apart."""
WARM_UP_S = 0.5
PLANE_CORE, FLOOD_CORES = 0, (1,)

fork = multiprocessing.get_context("fork")


@dataclass(slots=True)
class Result:
    """One measurement."""

    direction: str
    sessions: int
    wildcard: bool
    multi_read_count: int
    packets_per_second: float
    cpu_microseconds_per_packet: float
    arrived_per_second: float
    """As counted by the interface at the far end."""
    overruns_per_second: float


class Silent:
    """PlaneEvents that nothing is done about."""

    def control_received(self, datagram: bytes, peer: Peer, local: str, now: float) -> None: ...

    def frame_received(self, key: int, frame: bytes, now: float) -> None: ...

    def unknown_session(self, tunnel_id: int, session_id: int, peer: Peer, now: float) -> None: ...


def subscriber(number: int) -> int:
    """The address of the subscriber of one session."""
    return POOL + 256 + number


def spread(sessions: int) -> list[int]:
    """The sessions that the flood visits, evenly over all."""
    count = min(sessions, MAX_FLOOD)
    return [number * sessions // count for number in range(count)]


def main() -> None:
    options = _arguments()
    if not usable():
        sys.exit("needs root and /dev/net/tun")
    results = []
    for sessions in options.sessions:
        for direction in options.directions:
            result = measure(direction, sessions, options)
            results.append(result)
            if not options.json:
                _print(result)
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Packets per second of the user-space plane")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 10_000])
    parser.add_argument(
        "--directions", nargs="+", default=["up", "down"], choices=["up", "down", "both"]
    )
    parser.add_argument("--multi-read-count", type=int, default=PlaneOptions().multi_read_count)
    parser.add_argument("--wildcard", action="store_true", help="bind the socket to 0.0.0.0")
    parser.add_argument(
        "--throttle", type=int, default=0, metavar="KBIT", help="throttle every session"
    )
    parser.add_argument("--snoop", action="store_true", help="intercept every session")
    parser.add_argument("--profile", action="store_true", help="print where the plane spends time")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(direction: str, sessions: int, options: argparse.Namespace) -> Result:
    """Run one flood and return what the plane made of it."""
    with _topology() as (lac, lns, net):
        ours, theirs = fork.Pipe()
        plane = fork.Process(target=run_plane, args=(lns, sessions, options, theirs))
        plane.start()
        theirs.close()  # so that recv() fails when the plane does
        ours.recv()  # the plane is ready
        floods = [
            fork.Process(target=run_flood, args=(namespace, kind, sessions), daemon=True)
            for kind, namespace in (("up", lac), ("down", net))
            if direction in (kind, "both")
        ]
        for flood in floods:
            flood.start()
        time.sleep(WARM_UP_S)
        far, interface = (lac, "lac0") if direction == "down" else (net, "net0")
        before = far.statistics(interface)["rx_packets"]
        started = time.monotonic()
        ours.send("measure")
        figures = ours.recv()
        arrived = far.statistics(interface)["rx_packets"] - before
        elapsed = time.monotonic() - started
        for flood in floods:
            flood.terminate()
            flood.join()
        plane.join()
    return Result(
        direction=direction,
        sessions=sessions,
        wildcard=options.wildcard,
        multi_read_count=options.multi_read_count,
        arrived_per_second=round(arrived / elapsed),
        **figures,
    )


@contextlib.contextmanager
def _topology() -> Iterator[tuple[Namespace, Namespace, Namespace]]:
    topology = Topology("l2t-dp-bench")
    try:
        yield topology.lac, topology.lns, topology.net
    finally:
        topology.remove()


def run_plane(
    lns: Namespace, sessions: int, options: argparse.Namespace, control: Connection
) -> None:
    """The process of the plane."""
    os.sched_setaffinity(0, {PLANE_CORE})
    with lns.entered():
        asyncio.run(_plane(sessions, options, control))


async def _plane(sessions: int, options: argparse.Namespace, control: Connection) -> None:
    loop = asyncio.get_running_loop()
    device = TunDevice()
    listener = L2tpSocket("" if options.wildcard else LNS_OUTER, PORT, 8 << 20)
    netlink = Netlink()
    await netlink.open()
    index = await netlink.index_of(device.name)
    address = int.from_bytes(socket.inet_aton(TUN_ADDRESS), "big")
    await netlink.configure_device(index, 1462, [address])
    routes = TunRoutes(netlink, index, 42, 1)
    routes.set_pool([(POOL, 8)])
    await routes.start()
    await routes.settle()
    plane = UserPlane(
        loop, device, listener, Silent(), PlaneOptions(options.multi_read_count, 0, address)
    )
    local = LNS_OUTER if options.wildcard else ""
    for number in range(sessions):
        plane.install(
            SessionRoute(
                key=1 << 16 | number + 1,
                peer=(LAC, PORT),
                local=local,
                peer_tunnel_id=7,
                peer_session_id=number + 1,
                ip=subscriber(number),
                mru=1462,
                clamp_mss=1422,
                throttle_in=options.throttle,
                throttle_out=options.throttle,
                snoop=(FAR, SNOOP_PORT) if options.snoop else None,
            )
        )
    plane.start()
    control.send("ready")
    await loop.run_in_executor(None, control.recv)
    control.send(await _measured(plane, options))
    plane.stop()
    await routes.close()
    await netlink.close()


async def _measured(plane: UserPlane, options: argparse.Namespace) -> dict[str, float]:
    before, cpu, started = _snapshot(plane), _cpu_seconds(), time.monotonic()
    with _profiled(options.profile):
        await asyncio.sleep(options.seconds)
    after = _snapshot(plane)
    elapsed, cpu = time.monotonic() - started, _cpu_seconds() - cpu
    packets, overruns = after[0] - before[0], after[1] - before[1]
    return {
        "packets_per_second": round(packets / elapsed),
        "cpu_microseconds_per_packet": round(cpu / max(packets, 1) * 1e6, 2),
        "overruns_per_second": round(overruns / elapsed),
    }


@contextlib.contextmanager
def _profiled(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    import cProfile
    import pstats

    profile = cProfile.Profile()
    profile.enable()
    yield
    profile.disable()
    pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(15)


def _snapshot(plane: UserPlane) -> tuple[int, int]:
    counters = plane.plane_counters()
    return counters.tun_tx_packets + counters.socket_tx_packets, counters.socket_overruns


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run_flood(namespace: Namespace, direction: str, sessions: int) -> None:
    """The process that sends as fast as it can."""
    os.sched_setaffinity(0, set(FLOOD_CORES))
    with namespace.entered():
        _flood_up(sessions) if direction == "up" else _flood_down(sessions)


def _flood_up(sessions: int) -> None:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((LAC, PORT))
    sender.connect((LNS_OUTER, PORT))
    datagrams = []
    for number in spread(sessions):
        source = subscriber(number).to_bytes(4, "big")
        payload = struct.pack(">HHHH", 1024, FAR_PORT, INNER_SIZE - 20, 0) + bytes(INNER_SIZE - 28)
        packet = build(source, socket.inet_aton(FAR), socket.IPPROTO_UDP, payload)
        datagrams.append(struct.pack(">HHH", 2, 1, number + 1) + b"\xff\x03\x00\x21" + packet)
    _repeat(lambda: [sender.send(datagram) for datagram in datagrams])


def _flood_down(sessions: int) -> None:
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    payload = bytes(INNER_SIZE - 28)
    targets = [
        (socket.inet_ntoa(subscriber(number).to_bytes(4, "big")), FAR_PORT)
        for number in spread(sessions)
    ]
    _repeat(lambda: [sender.sendto(payload, target) for target in targets])


def _repeat(send_all: Callable[[], object]) -> None:
    while True:
        with contextlib.suppress(OSError):  # port unreachable, buffers full
            send_all()


def _print(result: Result) -> None:
    print(
        f"{result.direction:<5} {result.sessions:>6} sessions"
        f"  {result.packets_per_second:>8,.0f} packets/s"
        f"  {result.cpu_microseconds_per_packet:6.2f} µs CPU each"
        f"  {result.arrived_per_second:>8,.0f}/s arrived"
        f"  {result.overruns_per_second:>8,.0f}/s overrun"
    )


if __name__ == "__main__":
    main()
