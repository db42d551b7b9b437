"""A cluster of real daemons behind a router, with subscribers: what it does for them and for
operators."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.lab import CallOptions, Client, PppOptions, RadiusUser
from l2tpns_core.lab.cluster_site import LNS_ADDRESS, ClusterSite, Node
from l2tpns_core.lab.site import HOST_ADDRESS
from support.failures import PASSWORD, Cluster, running

pytestmark = [pytest.mark.netns, pytest.mark.slow]

USERS = {
    "slow": RadiusUser(PASSWORD, reply={"Cisco-AVPair": ["throttle=2000"]}),
    "static": RadiusUser(
        PASSWORD,
        reply={
            "Framed-IP-Address": ["172.20.0.7"],
            "Framed-Route": ["172.16.9.0/24 0.0.0.0 1"],
        },
    ),
    "user*": RadiusUser(PASSWORD),
}
PATIENCE_S = 30.0
CLUSTER_PORT = (32_792).to_bytes(2, "big")
Scene = Callable[[Cluster], Coroutine[Any, Any, None]]


def play(directory: Path, scene: Scene, *, sessions: int = 12, **directives: object) -> None:
    """Run a scene in a cluster of three with this many sessions over four tunnels."""

    async def run() -> None:
        site = ClusterSite(directory, USERS, tail='load plugin "autothrottle"\n', **directives)
        async with running(site, sessions, 4, sessions) as cluster:
            await scene(cluster)
        for node in site.nodes:
            assert "Traceback" not in node.log(), node.log()

    asyncio.run(run())


async def until(condition: Callable[[], object], failure: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, failure
        await asyncio.sleep(0.1)


async def answered(client: Client, count: int = 5) -> None:
    """Have so many echo requests answered, all of them."""
    before = client.echo_replies
    for _ in range(count):
        client.ping(HOST_ADDRESS)
        await asyncio.sleep(0.02)
    await until(
        lambda: client.echo_replies >= before + count,
        f"{client.options.ppp.user}: only {client.echo_replies - before} of {count} are answered",
    )


async def log_in(cluster: Cluster, user: str) -> Client:
    tunnel = next(iter(cluster.subscribers.lacs[0].tunnels.values()))
    ppp = PppOptions(user=user, password=PASSWORD, auth=("pap",))
    client = tunnel.call(CallOptions(ppp=ppp))
    await asyncio.wait_for(client.up, PATIENCE_S)
    cluster.subscribers.clients.append(client)
    return client


def passed(node: Node) -> int:
    """Packets that a node has moved for subscribers."""
    tables = node.show("show counters")
    return int(tables["traffic"]["tunnel"]["rx_packets"])


def test_slaves_forward_and_radius_counts_it_all(tmp_path: Path) -> None:
    async def scene(cluster: Cluster) -> None:
        site, clients = cluster.site, cluster.subscribers.clients
        master = await cluster.master()
        for client in clients:
            await answered(client, 20)
        await asyncio.sleep(1.0)
        slaves = [node for node in site.nodes if node is not master]
        for slave in slaves:
            report = await asyncio.to_thread(slave.show, "show cluster")
            assert (report["role"], report["sessions"]) == ("slave", len(clients))
            assert report["draws_traffic"]
        for client in clients:
            client.hangup()
        radius = site.radius
        await until(lambda: len(radius.records("Stop")) == len(clients), "a Stop is missing")
        for record in radius.records("Stop"):
            packets = int(record["Acct-Input-Packets"]), int(record["Acct-Output-Packets"])
            assert packets == (20, 20), record

    play(tmp_path, scene)


def test_what_only_the_master_can_do_is_done_there(tmp_path: Path) -> None:
    """A throttled session is served by the master, whichever node its packets reach, and a static
    address with its Framed-Route is routed on every node."""

    async def scene(cluster: Cluster) -> None:
        slow, static = await log_in(cluster, "slow"), await log_in(cluster, "static")
        await asyncio.sleep(1.0)
        await answered(slow, 10)
        master = await cluster.master()
        rows = await asyncio.to_thread(master.show, "show throttle")
        assert [row["user"] for row in rows] == ["slow"]
        for node in cluster.site.nodes:
            routes = node.space.run(["ip", "route"]).stdout
            assert "172.20.0.7" in routes, node.number
            assert "172.16.9.0/24" in routes, node.number
        static.hangup()
        slave = await cluster.a_slave()
        await until(
            lambda: "172.16.9.0/24" not in slave.space.run(["ip", "route"]).stdout,
            "the Framed-Route stays on a slave",
        )
        master.kill()
        await asyncio.sleep(0.5)
        second = await cluster.master()
        await asyncio.sleep(2.0)
        await answered(slow, 10)
        rows = await asyncio.to_thread(second.show, "show throttle")
        assert [row["user"] for row in rows] == ["slow"]

    play(tmp_path, scene)


def test_a_slave_has_the_master_carry_out_commands(tmp_path: Path) -> None:
    async def scene(cluster: Cluster) -> None:
        slave = await cluster.a_slave()
        clients = cluster.subscribers.clients
        rows = await asyncio.to_thread(slave.show, "show session")
        assert len(rows) == len(clients)
        shown = await asyncio.to_thread(slave.cli, "-c", "show session | include user0")
        assert "user0" in shown.stdout
        dropped = await asyncio.to_thread(slave.cli, "-c", "drop user user1")
        assert dropped.returncode == 0, dropped.stderr
        await until(lambda: not clients[1].is_up, "nobody was dropped")
        refused = await asyncio.to_thread(slave.cli, "-c", "drop user nobody")
        assert refused.returncode == 1
        assert "nobody" in refused.stderr

    play(tmp_path, scene)


def test_drain_moves_the_work_and_no_drain_takes_it_back(tmp_path: Path) -> None:
    async def scene(cluster: Cluster) -> None:
        master = await cluster.master()
        done = await asyncio.to_thread(master.cli, "-c", "cluster drain")
        assert "drained" in done.stdout, done.stderr
        second = await cluster.master()
        assert second is not master
        report = await asyncio.to_thread(master.show, "show cluster")
        assert (report["role"], report["draining"], report["draws_traffic"]) == (
            "slave",
            True,
            False,
        )
        for client in cluster.subscribers.clients:
            await answered(client)
        await asyncio.to_thread(master.cli, "-c", "no cluster drain")
        await until(lambda: master.show("show cluster")["draws_traffic"], "it stays drained")
        assert cluster.subscribers.up == len(cluster.subscribers.clients)

    play(tmp_path, scene)


def test_a_node_with_another_secret_stays_out(tmp_path: Path) -> None:
    async def scene(cluster: Cluster) -> None:
        master, stranger = await cluster.master(), await cluster.a_slave()
        stranger.kill()
        cluster.site.write_config(stranger, cluster_secret="another")
        await asyncio.to_thread(stranger.start)
        await asyncio.sleep(2.0)
        report = await asyncio.to_thread(master.show, "show cluster")
        assert report["refused"]["key"] > 0, report["refused"]
        alone = await asyncio.to_thread(stranger.show, "show cluster")
        assert alone["sessions"] == 0
        assert report["role"] == "master"

    play(tmp_path, scene)


def test_nodes_that_are_named_one_by_one(tmp_path: Path) -> None:
    """cluster_nodes, where there is no multicast, on another port."""

    async def scene(cluster: Cluster) -> None:
        master = await cluster.master()
        report = await asyncio.to_thread(master.show, "show cluster")
        assert (report["group"], report["port"], len(report["peers"])) == ("", 32_999, 2)
        master.kill()
        await asyncio.sleep(0.5)
        assert await cluster.master() is not master
        for client in cluster.subscribers.clients:
            await answered(client)

    nodes = "10.8.0.11, 10.8.0.12, 10.8.0.13"
    play(tmp_path, scene, cluster_nodes=nodes, cluster_port=32_999)


def test_without_a_quorum_nobody_decides(tmp_path: Path) -> None:
    async def scene(cluster: Cluster) -> None:
        first = await cluster.master()
        others = [node for node in cluster.site.nodes if node is not first]
        for node in others:
            node.kill()
        await until(lambda: not first.is_master, "it decides alone")
        await asyncio.sleep(2.0)
        report = await asyncio.to_thread(first.show, "show cluster")
        assert (report["role"], report["sessions"]) == ("slave", 12)
        await asyncio.to_thread(others[0].start)
        await until(lambda: first.is_master or others[0].is_master, "nobody decides")
        for client in cluster.subscribers.clients:
            await answered(client)

    play(tmp_path, scene, cluster_quorum=2)


def test_another_group_and_ttl_and_fewer_slaves(tmp_path: Path) -> None:
    async def scene(cluster: Cluster) -> None:
        site, master = cluster.site, await cluster.master()

        def sniff() -> tuple[str, int]:
            """Where the nodes send to, and with which TTL."""
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as tap:
                tap.bind(("peers", 0x0800))
                tap.settimeout(PATIENCE_S)
                while True:
                    packet = tap.recv(2048)
                    if packet[9] == socket.IPPROTO_UDP and packet[16] >= 224:
                        return socket.inet_ntoa(packet[16:20]), packet[8]

        assert await asyncio.to_thread(site.router.call, sniff) == ("239.1.2.3", 7)
        await asyncio.sleep(2.0)
        report = await asyncio.to_thread(master.show, "show cluster")
        assert (report["group"], report["followers"]) == ("239.1.2.3", 2)
        assert report["draws_traffic"], "two slaves are not the three that were asked for"

    play(
        tmp_path, scene, cluster_address="239.1.2.3", cluster_mcast_ttl=7, cluster_master_min_adv=3
    )


def test_another_interval_while_it_runs(tmp_path: Path) -> None:
    """The master's times hold for the slaves, too."""

    async def scene(cluster: Cluster) -> None:
        site, master = cluster.site, await cluster.master()
        slave = await cluster.a_slave()

        async def heartbeats(seconds: float) -> int:
            before = await asyncio.to_thread(slave.show, "show cluster")
            await asyncio.sleep(seconds)
            after = await asyncio.to_thread(slave.show, "show cluster")
            return int(after["counters"]["heartbeats"] - before["counters"]["heartbeats"])

        assert await heartbeats(4.0) > 10
        site.write_config(master, cluster_hb_interval=20, cluster_hb_timeout=150)
        assert master.daemon is not None
        master.daemon.send_signal(signal.SIGHUP)
        await until(lambda: "configuration read again" in master.recent_log(), "no reload")
        await asyncio.sleep(1.0)
        assert await heartbeats(4.0) <= 4
        master.kill()
        await asyncio.sleep(5.0)
        assert not site.masters(), "the slaves did not wait for as long as the master said"

    play(tmp_path, scene, cluster_hb_interval=2, cluster_hb_timeout=12)


def test_an_attacker_in_the_same_network_changes_nothing(tmp_path: Path) -> None:
    """Recorded messages again and again, changed, cut off, of another version, and noise."""

    async def scene(cluster: Cluster) -> None:
        site, master = cluster.site, await cluster.master()
        slave = await cluster.a_slave()
        before = await asyncio.to_thread(slave.show, "show cluster")

        def attack() -> None:
            with (
                socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as tap,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out,
            ):
                tap.bind(("peers", 0x0800))
                tap.settimeout(PATIENCE_S)
                heard: list[bytes] = []
                while len(heard) < 40:
                    packet = tap.recv(65_535)
                    if packet[9] == socket.IPPROTO_UDP and packet[22:24] == CLUSTER_PORT:
                        heard.append(packet[28:])
                for number in range(2_000):
                    data = bytearray(heard[number % len(heard)])
                    if number % 5 == 1:
                        data[number % len(data)] ^= 1 + number % 255
                    elif number % 5 == 2:
                        data = data[: number % len(data)]
                    elif number % 5 == 3:
                        data[2:4] = b"\x63\x63"  # version 99
                    elif number % 5 == 4:
                        data = bytearray(number.to_bytes(2, "big") * (number % 600))
                    for node in site.nodes:
                        out.sendto(data, (node.cluster_address, 32_792))

        site.router.add_address("peers", "10.8.0.99/24")
        await asyncio.to_thread(site.router.call, attack)
        await asyncio.sleep(1.0)
        after = await asyncio.to_thread(slave.show, "show cluster")
        refused = {name for name, count in after["refused"].items() if count}
        assert refused >= {"replay", "key", "version", "size"}, after["refused"]
        assert (after["master"], after["reign"]) == (before["master"], before["reign"])
        assert after["up_to_date"]
        assert (await cluster.master()) is master
        for client in cluster.subscribers.clients:
            await answered(client)

    play(tmp_path, scene)


def test_a_new_master_tells_its_neighbours_where_the_address_is(tmp_path: Path) -> None:
    """send_garp, on a takeover."""

    async def scene(cluster: Cluster) -> None:
        site, master = cluster.site, await cluster.master()
        for node in site.nodes:
            node.space.run(["ip", "addr", "add", f"{LNS_ADDRESS}/32", "dev", "eth0"])

        def listen() -> str:
            """The Ethernet address that says that it has ours."""
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)) as tap:
                tap.bind(("core", 0x0806))
                tap.settimeout(PATIENCE_S)
                while True:
                    frame = tap.recv(2048)
                    if frame[28:32] == frame[38:42] == socket.inet_aton(LNS_ADDRESS):
                        return frame[22:28].hex(":")

        heard = asyncio.create_task(asyncio.to_thread(site.router.call, listen))
        await asyncio.sleep(0.5)
        master.kill()
        await asyncio.sleep(0.5)
        second = await cluster.master()
        links = second.space.run(["ip", "-br", "link", "show", "dev", "eth0"]).stdout
        assert await heard in links

    play(tmp_path, scene, send_garp="yes")
