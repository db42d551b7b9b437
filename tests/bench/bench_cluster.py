"""What a cluster costs: changes at a steady rate, and all sessions for a new slave.

    python tests/bench/bench_cluster.py [SESSIONS] [CHANGES_PER_SECOND]      default 60,000 and 100

Two nodes in one process hand each other real datagrams. The time is the processor's, of each node
apart. Sessions are as those of subscribers with an address of the pool; a login is two rows.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.settings import ClusterSettings
from l2tpns_core.ppp.saved import SavedLink
from l2tpns_core.state.codec import encode
from l2tpns_core.state.model import SavedSession

WALL = 1_795_000_000.0
SLICE = 64
SECONDS = 30
PER_TUNNEL = 2_000


def session_row(number: int, changes: int = 0) -> list[Any]:
    session = SavedSession(
        tunnel_id=1 + number // PER_TUNNEL,
        session_id=1 + number % PER_TUNNEL,
        peer_session_id=1 + number * 7919 % 65_535,
        unique=number + 1,
        opened=WALL + number / 7,
        lac_address=f"10.1.0.{1 + number // PER_TUNNEL}",
        link=SavedLink(
            b"\xc2#\x05",
            b"\xc2#\x05",
            magic=number * 2_654_435_761 % (1 << 32),
            peer_magic=number * 40_503_111 % (1 << 32),
            mru=1500,
            peer_mru=1492,
            local_ip=0x0A000001,
            peer_ip=0x64400000 + number,
        ),
        user=f"subscriber{number}@isp.example",
        calling_number=f"04{number * 31 % 10**8:08}",
        tx_speed=10_000_000,
        rx_speed=1_000_000,
        ip=0x64400000 + number,
        address_source="pool",
        interim_interval=600,
        interim_time=WALL + number / 7 + 600 + changes,
        up_time=WALL + number / 7 + 1,
        accounting_started=True,
        start_time=WALL + number / 7 + 1,
        classes=(b"class-%d" % number,),
    )
    return ["s", encode(session)]


class Sessions:
    """What the master serves."""

    def __init__(self) -> None:
        self.count = 0

    is_ready = True

    def commit(self) -> None:
        """Nothing: every change is offered at once."""

    def everything(self) -> Iterator[Sequence[list[Any]]]:
        for start in range(0, self.count, SLICE):
            yield [session_row(n) for n in range(start, min(start + SLICE, self.count))]


class Pair:
    """A master and a slave; the processor time that each has taken, and what went over the wire."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sessions = Sessions()
        self.cpu: Counter[str] = Counter()
        self.octets: Counter[str] = Counter()
        self.longest: dict[str, float] = {"master": 0.0, "slave": 0.0}
        self.nodes: dict[str, ClusterNode] = {}
        self._add("master", 1)
        while not self.nodes["master"].is_master:
            self.step()

    def _add(self, name: str, address: int) -> None:
        settings = ClusterSettings(address, b"secret")
        self.nodes[name] = ClusterNode(
            settings, self.sessions, self.now, started_ms=int(WALL * 1000), wall_ahead=WALL
        )

    def join(self) -> None:
        self._add("slave", 2)

    def step(self) -> None:
        """Let both do what is due."""
        self.now += 0.001
        for name, node in list(self.nodes.items()):
            if node.get_timer() <= self.now:
                self.spend(name, lambda node=node: node.handle_timer(self.now))
            for _, data in node.datagrams_to_send():
                self.octets[name] += len(data) + 28
                for other, receiver in self.nodes.items():
                    if other != name:
                        self.spend(other, lambda r=receiver, d=data: r.receive(d, self.now))
            while node.next_event() is not None:
                pass

    def spend(self, name: str, work: Callable[[], object]) -> None:
        began = time.process_time()
        work()
        spent = time.process_time() - began
        self.cpu[name] += spent
        self.longest[name] = max(self.longest[name], spent)

    def reset(self) -> None:
        self.cpu.clear()
        self.octets.clear()
        self.longest = dict.fromkeys(self.longest, 0.0)


def transfer(pair: Pair, sessions: int) -> None:
    pair.sessions.count = sessions
    pair.join()
    pair.reset()
    began = time.perf_counter()
    while not pair.nodes["slave"].up_to_date:
        pair.step()
    took = time.perf_counter() - began
    print(f"{sessions:,} sessions to a new slave: {took:.1f} s with both nodes on one processor")
    for name in ("master", "slave"):
        print(
            f"  {name}: {pair.cpu[name]:.1f} s of processor time, at most "
            f"{pair.longest[name] * 1000:.1f} ms at once, {pair.octets[name] / 1e6:.2f} MB sent"
        )


def steady(pair: Pair, rate: int) -> None:
    pair.reset()
    master, changed = pair.nodes["master"], 0
    began, until = pair.now, pair.now + SECONDS
    while pair.now < until:
        while changed < (pair.now - began) * rate:
            row = session_row(changed * 17 % pair.sessions.count, changed)
            pair.spend("master", lambda row=row: master.offer([row], pair.now))
            changed += 1
        pair.step()
    interval = master.settings.interval
    print(f"{rate} changes a second:")
    for name in ("master", "slave"):
        print(
            f"  {name}: {pair.cpu[name] / SECONDS * 100:.2f} % of a processor, "
            f"{pair.octets[name] / SECONDS * interval:,.0f} octets an interval of {interval} s"
        )
    if changed:
        print(f"  {pair.octets['master'] / changed:.0f} octets a change, with heartbeats")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sessions", nargs="?", type=int, default=60_000)
    parser.add_argument("rate", nargs="?", type=int, default=100)
    arguments = parser.parse_args()
    pair = Pair()
    transfer(pair, arguments.sessions)
    steady(pair, 0)
    steady(pair, arguments.rate)


if __name__ == "__main__":
    main()
