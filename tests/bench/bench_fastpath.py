"""The fast path against plain forwarding of the kernel, in one run, turn by turn.

    python tests/bench/bench_fastpath.py [--seconds 1] [--rounds 5] [--sizes 64 1400]
        [--sessions 1 60000] [--directions up down] [--json]

Needs root: it makes three namespaces, lac - lns - net, joined by veth pairs. A socket floods from
one side, and the interface at the far end counts what arrives. The same packets are forwarded by
the programs, and, when these are detached and the routes changed, by the kernel alone: towards the
network the outer packets go there as they are, towards the LAC the inner ones.

The CPU time is that of the sender, in whose name the kernel forwards its packets, and of the kernel
thread that does so when there are many: on a busy machine its ratio says more than that of rates.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pyroute2 import IPRoute

sys.path.insert(0, str(Path(__file__).parents[1]))

from integration.dataplane.namespaces import FAR, LAC, LNS_INNER, LNS_OUTER, Topology, usable
from integration.ebpf.setting import Setting, message, route, udp
from l2tpns_core.dataplane.ebpf.table import NextHop
from l2tpns_core.dataplane.plane import SessionRoute

POOL = int.from_bytes(socket.inet_aton("10.0.0.0"), "big")
FLOOD = 4096
"""Packets in the flood; enough to visit sessions far apart."""
WARM_UP_S = 0.3
FLOOD_CORE = 1

fork = multiprocessing.get_context("fork")


@dataclass(slots=True)
class Result:
    """Medians over the rounds; rates are packets per second at the far end."""

    direction: str
    size: int
    sessions: int
    fast: int
    plain: int
    ratio: float
    """Of the rates, median of the rounds' own ratios."""
    fast_cpu_ns: int
    """CPU time per packet that arrived, sender included."""
    plain_cpu_ns: int
    cpu_ratio: float
    """Of these times, plain to fast."""


def subscriber(number: int) -> str:
    return socket.inet_ntoa((POOL + 256 + number).to_bytes(4, "big"))


def session(number: int) -> SessionRoute:
    address = POOL + 256 + number
    return route(key=1 << 16 | number + 1, peer_session_id=number + 1, ip=address)


def main() -> None:
    parser = argparse.ArgumentParser(description="The fast path against plain forwarding")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 1400])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 60_000])
    parser.add_argument("--directions", nargs="+", default=["up", "down"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not usable():
        sys.exit("needs root and /dev/net/tun")
    results = []
    for sessions in options.sessions:
        with bench(sessions) as setting:
            for direction in options.directions:
                for size in options.sizes:
                    result = measure(setting, direction, size, sessions, options)
                    results.append(result)
                    if not options.json:
                        show(result)
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))


@contextlib.contextmanager
def bench(sessions: int) -> Iterator[Setting]:
    topology = Topology("l2t-fp-bench")
    setting = Setting(topology, max_sessions=65535)
    for tap in (setting.at_far, setting.at_lac):
        tap.close()  # it would cost either way of forwarding the same, and so hide a difference
    topology.lac.route("10.0.0.0/8", LNS_OUTER)
    topology.lac.route(f"{FAR.rpartition('.')[0]}.0/24", LNS_OUTER)
    topology.net.route(f"{LAC.rpartition('.')[0]}.0/24", LNS_INNER)
    hop = NextHop(setting.facing, LAC)
    started = time.perf_counter()
    setting.fast.install_many((session(n), hop) for n in range(sessions))
    print(
        f"{sessions} sessions installed in {time.perf_counter() - started:.3f} s", file=sys.stderr
    )
    try:
        yield setting
    finally:
        setting.close()
        topology.remove()


def measure(
    setting: Setting, direction: str, size: int, sessions: int, options: argparse.Namespace
) -> Result:
    rounds = []
    for _ in range(options.rounds):
        with switched(setting, fast=True):
            fast = flood(setting, direction, size, sessions, options.seconds)
        with switched(setting, fast=False):
            plain = flood(setting, direction, size, sessions, options.seconds, plain=True)
        rounds.append((*fast, *plain))
    fasts, fast_cpu, plains, plain_cpu = ([each[n] for each in rounds] for n in range(4))
    return Result(
        direction,
        size,
        sessions,
        round(statistics.median(fasts)),
        round(statistics.median(plains)),
        round(statistics.median(f / p for f, p in zip(fasts, plains, strict=True)), 3),
        round(statistics.median(fast_cpu)),
        round(statistics.median(plain_cpu)),
        round(statistics.median(p / f for f, p in zip(fast_cpu, plain_cpu, strict=True)), 3),
    )


@contextlib.contextmanager
def switched(setting: Setting, *, fast: bool) -> Iterator[None]:
    """With or without the programs."""
    if fast:
        yield
        return
    with setting.topology.lns.entered():
        setting.fast.detach(setting.facing)
    with IPRoute(netns=setting.topology.lns.name) as kernel:
        kernel.route("replace", dst="10.0.0.0/8", gateway=LAC, oif=setting.facing)
        try:
            yield
        finally:
            kernel.route("replace", dst="10.0.0.0/8", oif=setting.tun)
            with setting.topology.lns.entered():
                setting.fast.attach(setting.facing)


def flood(
    setting: Setting, direction: str, size: int, sessions: int, seconds: float, plain: bool = False
) -> tuple[float, float]:
    """Packets per second that arrive, and CPU nanoseconds for each."""
    topology = setting.topology
    source, far, interface = (
        (topology.lac, topology.net, "net0")
        if direction == "up"
        else (topology.net, topology.lac, "lac0")
    )
    packets = datagrams(direction, size, sessions, plain)
    with source.entered():
        sender = fork.Process(target=send_for_ever, args=(packets,), daemon=True)
        sender.start()
    time.sleep(WARM_UP_S)
    workers = [sender.pid, *kernel_threads()]
    before, cpu, started = far.statistics(interface)["rx_packets"], work(workers), time.monotonic()
    time.sleep(seconds)
    arrived = far.statistics(interface)["rx_packets"] - before
    elapsed, cpu = time.monotonic() - started, work(workers) - cpu
    sender.terminate()
    sender.join()
    return arrived / elapsed, cpu / max(arrived, 1)


def datagrams(
    direction: str, size: int, sessions: int, plain: bool
) -> list[tuple[list[bytes], tuple[str, int]]]:
    """What to send where: as the fast path wants it, or the same on the wire for routers. It is as
    many packets for one session as for thousands, so that the sender has the same work. The load
    of all is the same object, or reading it would empty the caches of the CPU."""
    chosen = [number * sessions // FLOOD for number in range(FLOOD)]
    load = bytes(size - 28)
    if direction == "down":
        return [([load], (subscriber(number), 9)) for number in chosen]
    heads = [
        message(udp(subscriber(number), FAR, load), 1 << 16 | number + 1)[: -len(load)]
        for number in chosen
    ]
    return [([head, load], (FAR, 9) if plain else (LNS_OUTER, 1701)) for head in heads]


def send_for_ever(packets: list[tuple[list[bytes], tuple[str, int]]]) -> None:
    os.sched_setaffinity(0, {FLOOD_CORE})
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):
        sender.bind(("", 1701))
    send, nothing = sender.sendmsg, ()
    while True:
        with contextlib.suppress(OSError):  # port unreachable, buffers full
            for parts, target in packets:
                send(parts, nothing, 0, target)


def kernel_threads() -> list[int]:
    """Those that forward the packets of the sender when it sends more than they can take."""
    name = f"ksoftirqd/{FLOOD_CORE}"
    found = [path for path in Path("/proc").glob("[0-9]*/comm") if path.read_text().strip() == name]
    return [int(path.parent.name) for path in found]


def work(processes: list[int | None]) -> int:
    """CPU nanoseconds of processes so far."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in processes)


def show(result: Result) -> None:
    print(
        f"{result.direction:<5}{result.size:>5} bytes {result.sessions:>6} sessions"
        f"  fast {result.fast:>8,}/s {result.fast_cpu_ns:>6} ns"
        f"  plain {result.plain:>8,}/s {result.plain_cpu_ns:>6} ns"
        f"  ratio {result.ratio:.3f}, of CPU times {result.cpu_ratio:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
