"""What subscribers notice when nodes of a cluster die: the cases, and what is measured in each.

Probes are some sessions of every tunnel that send an echo request every 50 ms; the others send one
now and then. A gap is the time between two answers that a probe gets.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from interop.bird import Bird, bgp_config
from interop.freeradius import FreeRadius, User
from l2tpns_core.lab import CallOptions, Client, Lac, LacOptions, PppOptions, TunnelOptions
from l2tpns_core.lab.cluster_site import LNS_ADDRESS, ClusterSite, Node
from l2tpns_core.lab.site import HOST_ADDRESS, SECRET
from support.etcd_members import NUMBERS, EtcdMember, endpoints
from support.inside import Inside

PROBE_S = 0.05
OTHERS_PER_SECOND = 200.0
CALLS_AT_ONCE = 64
PATIENCE_S = 120.0
PASSWORD = "password"


@dataclass(slots=True)
class Outcome:
    """One line of the table."""

    case: str
    lost: int = 0
    """Sessions."""
    gap_ms: int = 0
    """The longest of any probe."""
    gap_p99_ms: int = 0
    """Of the probes' longest ones."""
    settled_s: float = 0.0
    """From the failure until one node is master and all others that run are up to date."""
    back_s: float = 0.0
    """The same from when it is mended, when nodes are started or cables put in, on; 0 without."""
    unanswered: int = 0
    sent: int = 0


@dataclass(slots=True)
class Books:
    """What RADIUS was told in all."""

    starts: int = 0
    double_starts: int = 0
    double_stops: int = 0
    missing_stops: int = 0
    packets_passed: int = 0
    """By the sessions' own count of what they sent and what was answered."""
    packets_accounted: int = 0

    @property
    def are_right(self) -> bool:
        return not (self.double_starts or self.double_stops or self.missing_stops)


@dataclass(slots=True)
class Subscribers:
    """Everybody who is logged in, over tunnels of all LACs."""

    site: ClusterSite
    lacs: list[Lac] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    probes: list[Client] = field(default_factory=list)

    async def log_in(self, count: int, tunnels: int, probes: int) -> None:
        """Have `count` sessions over `tunnels` tunnels, `probes` of which are probes."""
        lines = []
        for space, address in self.site.lacs:
            options = LacOptions(
                lns=LNS_ADDRESS, bind=address, make_socket=space.udp_socket, source_ports=True
            )
            self.lacs.append(Lac(options))
        for number in range(tunnels):
            lac = self.lacs[number % len(self.lacs)]
            lines.append(await asyncio.wait_for(lac.open_tunnel(TunnelOptions()), PATIENCE_S))
        pending: list[Client] = []
        for number in range(count):
            ppp = PppOptions(user=f"user{number}", password=PASSWORD, auth=("pap",))
            pending.append(lines[number % tunnels].call(CallOptions(ppp=ppp)))
            if len(pending) == CALLS_AT_ONCE or number == count - 1:
                await asyncio.wait_for(asyncio.gather(*(each.up for each in pending)), PATIENCE_S)
                self.clients += pending
                pending = []
        self.probes = self.clients[:probes]

    def close(self) -> None:
        for lac in self.lacs:
            lac.close()

    @property
    def up(self) -> int:
        return sum(client.is_up for client in self.clients)

    @property
    def answered(self) -> int:
        return sum(client.echo_replies for client in self.clients)


class Traffic:
    """Traffic of all, and the gaps that probes see."""

    def __init__(self, subscribers: Subscribers) -> None:
        self._subscribers = subscribers
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        self.gaps: dict[Client, float] = {}
        self._answered = subscribers.answered

    async def __aenter__(self) -> "Traffic":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        others = itertools.cycle(self._subscribers.clients)
        seen = {client: (client.echo_replies, time.monotonic()) for client in self._probes}
        at = time.monotonic()
        while True:
            for client in self._probes:
                if client.is_up:
                    client.ping(HOST_ADDRESS)
                    self.sent += 1
            for client in itertools.islice(others, int(OTHERS_PER_SECOND * PROBE_S)):
                if client.is_up:
                    client.ping(HOST_ADDRESS)
                    self.sent += 1
            at = max(at + PROBE_S, time.monotonic())
            await asyncio.sleep(at - time.monotonic())
            now = time.monotonic()
            for client in self._probes:
                replies, last = seen[client]
                if client.echo_replies > replies:
                    seen[client] = (client.echo_replies, now)
                    self.gaps[client] = max(self.gaps.get(client, 0.0), now - last)
                else:
                    self.gaps[client] = max(self.gaps.get(client, 0.0), now - last)

    @property
    def _probes(self) -> list[Client]:
        return self._subscribers.probes

    async def outcome(self, case: str, up_before: int, settled_s: float, back_s: float) -> Outcome:
        await asyncio.sleep(0.5)  # the last answers are on their way
        gaps = sorted(self.gaps.values()) or [0.0]
        return Outcome(
            case,
            lost=up_before - self._subscribers.up,
            gap_ms=round(gaps[-1] * 1000),
            gap_p99_ms=round(gaps[min(int(len(gaps) * 0.99), len(gaps) - 1)] * 1000),
            settled_s=round(settled_s, 2),
            back_s=round(back_s, 2),
            unanswered=self.sent - (self._subscribers.answered - self._answered),
            sent=self.sent,
        )


Action = Callable[["Cluster"], Awaitable[None]]


class Cluster:
    """A running site with subscribers, to which failures happen."""

    def __init__(
        self,
        site: ClusterSite,
        subscribers: Subscribers,
        etcd: Sequence[EtcdMember] = (),
        freeradius: FreeRadius | None = None,
    ) -> None:
        self.site = site
        self.subscribers = subscribers
        self.etcd = etcd
        self._freeradius = freeradius

    async def master(self) -> Node:
        return await self.site.settled(PATIENCE_S)

    async def a_slave(self) -> Node:
        master = await self.master()
        return next(node for node in self.site.nodes if node is not master)

    async def play(self, case: str, fail: Action, mend: Action | None = None) -> Outcome:
        """Let a failure happen while traffic goes on; then everything is as it was before."""
        await self.master()
        await asyncio.sleep(1.0)
        up = self.subscribers.up
        back_s = 0.0
        async with Traffic(self.subscribers) as traffic:
            await asyncio.sleep(1.0)
            began = time.monotonic()
            await fail(self)
            await asyncio.sleep(0.5)
            await self.site.settled(PATIENCE_S)
            settled_s = time.monotonic() - began
            await asyncio.sleep(2.0)
            if mend is not None:
                began = time.monotonic()
                await mend(self)
                await self.site.settled(PATIENCE_S)
                back_s = time.monotonic() - began
                await asyncio.sleep(1.0)
                await self.site.settled(PATIENCE_S)
                await asyncio.sleep(2.0)
        return await traffic.outcome(case, up, settled_s, back_s)

    async def books(self) -> Books:
        """Log everybody out and see what RADIUS knows."""
        clients = self.subscribers.clients
        await asyncio.sleep(2.0)
        sent = {client.ppp.options.user: client for client in clients}
        for client in clients:
            if client.is_up:
                client.hangup()
        starts = Counter(record["Acct-Session-Id"] for record in self._records("Start"))
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            stopped = {record["Acct-Session-Id"] for record in self._records("Stop")}
            if stopped >= starts.keys():
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(2.0)
        stops = Counter(record["Acct-Session-Id"] for record in self._records("Stop"))
        accounted = sum(
            int(record["Acct-Output-Packets"])
            for record in self._records("Stop")
            if record["User-Name"] in sent
        )
        return Books(
            starts=len(starts),
            double_starts=sum(count - 1 for count in starts.values()),
            double_stops=sum(count - 1 for count in stops.values()),
            missing_stops=len(starts.keys() - stops.keys()),
            packets_passed=self.subscribers.answered,
            packets_accounted=accounted,
        )

    def _records(self, status: str) -> Sequence[Mapping[str, str]]:
        if self._freeradius is None:
            return self.site.radius.records(status)
        records = self._freeradius.accounting()
        return [record for record in records if record["Acct-Status-Type"] == status]


# The cases


async def kill_slave(cluster: Cluster) -> None:
    (await cluster.a_slave()).kill()


async def kill_master(cluster: Cluster) -> None:
    (await cluster.master()).kill()


async def kill_master_and_slave(cluster: Cluster) -> None:
    slave, master = await cluster.a_slave(), await cluster.master()
    master.kill()
    slave.kill()


async def cut_master(cluster: Cluster) -> None:
    (await cluster.master()).cut()


async def replaced(cluster: Cluster, master: Node) -> None:
    """Wait until another node is the master."""
    end = time.monotonic() + PATIENCE_S
    while not any(node.is_master for node in cluster.site.nodes if node is not master):
        assert time.monotonic() < end, "no other node becomes master"
        await asyncio.sleep(0.05)


async def cut_master_from_others(cluster: Cluster) -> None:
    """Two masters for a while, where the nodes elect."""
    master = await cluster.master()
    master.cut_peers()
    await replaced(cluster, master)
    master.heal()


async def heal_all(cluster: Cluster) -> None:
    for node in cluster.site.nodes:
        node.heal()


async def start_all(cluster: Cluster) -> None:
    for node in cluster.site.nodes:
        if not node.is_running:
            node.start(wait=False)
    for node in cluster.site.nodes:
        await asyncio.to_thread(node.wait_until_ready)


async def restart_each(cluster: Cluster) -> None:
    """A rolling upgrade: one node after the other is stopped and started."""
    for node in cluster.site.nodes:
        node.terminate()
        await node.wait_until_stopped()
        await asyncio.to_thread(node.start)
        await asyncio.sleep(0.5)
        await cluster.site.settled(PATIENCE_S)


async def stop_and_start_all(cluster: Cluster) -> None:
    for node in cluster.site.nodes:
        node.terminate()
    for node in cluster.site.nodes:
        await node.wait_until_stopped()
    await start_all(cluster)


async def kill_and_start_all(cluster: Cluster) -> None:
    for node in cluster.site.nodes:
        node.kill()
    await start_all(cluster)


CASES: dict[str, tuple[Action, Action | None]] = {
    "kill -9 of a slave": (kill_slave, start_all),
    "kill -9 of the master": (kill_master, start_all),
    "kill -9 of master and slave": (kill_master_and_slave, start_all),
    "master cut off, heal": (cut_master, heal_all),
    "master cut from the others, heal": (cut_master_from_others, None),
    "each restarted in turn": (restart_each, None),
    "all stopped and started": (stop_and_start_all, None),
    "all killed and started": (kill_and_start_all, None),
}


async def cut_master_from_etcd(cluster: Cluster) -> None:
    master = await cluster.master()
    for member in cluster.etcd:
        master.space.run(["ip", "route", "add", "blackhole", f"{member.address}/32"])
    await replaced(cluster, master)


async def join_etcd(cluster: Cluster) -> None:
    for node in cluster.site.nodes:
        node.space.run(["ip", "route", "flush", "type", "blackhole"])


async def kill_one_of_etcd(cluster: Cluster) -> None:
    cluster.etcd[0].kill()
    await asyncio.sleep(4.0)


async def kill_etcd(cluster: Cluster) -> None:
    for member in cluster.etcd:
        member.kill()
    await asyncio.sleep(10.0)


async def start_etcd(cluster: Cluster) -> None:
    for member in cluster.etcd:
        if member.process is None:
            member.start()
    await asyncio.sleep(5.0)


ETCD_CASES: dict[str, tuple[Action, Action | None]] = {
    **CASES,
    "master cut from etcd, heal": (cut_master_from_etcd, join_etcd),
    "kill -9 of one of three of etcd": (kill_one_of_etcd, start_etcd),
    "all of etcd killed, for 10 s": (kill_etcd, start_etcd),
}
PEERS = "10.8.0"
ETCD = {"cluster_backend": "etcd", "cluster_etcd": ",".join(endpoints(PEERS))}
"""Directives that have etcd elect the master."""

BGP = {"as_number": 64512, "bgp_peer1": "10.9.0.1", "bgp_peer1_as": 64513, "bgp_peer1_hold": 9}
"""Directives that have nodes announce to the router."""


def freeradius_of(site: ClusterSite) -> FreeRadius:
    """A FreeRADIUS, at the address of the site's own server, that lets everybody in."""
    directory = site.directory / "freeradius"
    directory.mkdir()
    everybody = [User("DEFAULT", PASSWORD)]
    place = Inside(site.net)
    return FreeRadius(place, directory, everybody, SECRET, HOST_ADDRESS, clients="0.0.0.0/0")


@asynccontextmanager
async def running(
    site: ClusterSite,
    sessions: int,
    tunnels: int,
    probes: int,
    *,
    by_bgp: bool = False,
    by_etcd: bool = False,
    by_freeradius: bool = False,
) -> AsyncIterator[Cluster]:
    """The cluster with everybody logged in. The routes of the router follow what nodes say in
    their logs, or by BGP (BIRD 2), when they have the directives for that. FreeRADIUS answers
    instead of the site's own server, when that was told not to."""
    async with AsyncExitStack() as stack:
        stack.enter_context(site)
        freeradius = None
        if by_freeradius:
            freeradius = freeradius_of(site)
            stack.callback(freeradius.close)
        if by_bgp:
            text = bgp_config([node.address for node in site.nodes])
            stack.callback(Bird(site.router, site.directory, text).close)
        etcd = []
        for number in NUMBERS if by_etcd else ():
            member = EtcdMember(site.router, number, site.directory, PEERS, "peers")
            stack.callback(member.close)
            member.start()
            etcd.append(member)
        await site.settled(PATIENCE_S)
        if not by_bgp:
            follower = asyncio.create_task(site.keep_following())
            stack.push_async_callback(asyncio.gather, follower, return_exceptions=True)
            stack.callback(follower.cancel)
        subscribers = Subscribers(site)
        try:
            await asyncio.sleep(1.0)
            await subscribers.log_in(sessions, tunnels, probes)
            yield Cluster(site, subscribers, etcd, freeradius)
        finally:
            subscribers.close()
