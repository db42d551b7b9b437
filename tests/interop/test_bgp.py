"""BGP against BIRD 2: what a router knows after each step, and what it never forgets."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from interop import frr
from interop.bird import Bird, bgp_config
from interop.slow_router import SlowRouter
from l2tpns_core.lab import (
    CallOptions,
    Lac,
    LacOptions,
    PppOptions,
    RadiusUser,
    TunnelOptions,
)
from l2tpns_core.lab.cluster_site import LNS_ADDRESS, ClusterSite, Node

pytestmark = [pytest.mark.netns, pytest.mark.slow]

PATIENCE_S = 40.0
PASSWORD = "tcp-md5 geheim"
OWN = f"{LNS_ADDRESS}/32"
POOL = "10.64.0.0/19"
FRAMED = "172.16.9.0/24"
STATIC = "172.20.0.7/32"
USERS = {
    "routed": RadiusUser(
        "password",
        reply={
            "Framed-IP-Address": ["172.20.0.7"],
            "Framed-Route": ["172.16.9.0/24 0.0.0.0 1"],
        },
    ),
    "user*": RadiusUser("password"),
}


@contextlib.asynccontextmanager
async def alone(
    directory: Path, *, routers_password: str = PASSWORD, **directives: object
) -> AsyncIterator[tuple[Node, Bird]]:
    """One daemon that is no cluster, and BIRD on the router in front of it."""
    bgp = {
        "as_number": 64512,
        "bgp_peer1": "10.9.0.1",
        "bgp_peer1_as": 64513,
        "bgp_peer1_password": PASSWORD,
        **directives,
    }
    with ClusterSite(directory, USERS, nodes=1, cluster_secret="", **bgp) as site:
        (node,) = site.nodes
        text = bgp_config([node.address], password=routers_password)
        bird = Bird(site.router, directory, f"debug protocols {{ states, routes }};\n{text}")
        try:
            yield node, bird
        finally:
            bird.close()


async def until(condition: Callable[[], bool], failure: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, failure
        await asyncio.sleep(0.1)


async def knows(bird: Bird, *networks: str) -> None:
    """Wait until BIRD's table is exactly this."""
    known: set[str] = set()

    def does() -> bool:
        nonlocal known
        known = set(bird.routes())
        return known == set(networks)

    try:
        await until(does, "")
    except AssertionError:
        raise AssertionError(f"BIRD knows {known} instead of {set(networks)}") from None


def removals(bird: Bird) -> list[str]:
    """What BIRD's log says of routes that were withdrawn."""
    return [line for line in bird.log().splitlines() if "removed" in line and "node1" in line]


def child_of(node: Node, name: bytes) -> int:
    """The process that the daemon has started with a name in its command line."""
    assert node.daemon is not None
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == node.daemon.pid and name in (place / "cmdline").read_bytes():
                return int(place.name)
    raise AssertionError(f"the daemon has no child {name!r}")


@contextlib.contextmanager
def lac_of(site: ClusterSite) -> Iterator[Lac]:
    space, address = site.lacs[0]
    lac = Lac(LacOptions(lns=LNS_ADDRESS, bind=address, make_socket=space.udp_socket))
    try:
        yield lac
    finally:
        lac.close()


def test_the_table_of_the_router_after_each_step(tmp_path: Path) -> None:
    async def story() -> None:
        async with alone(tmp_path) as (node, bird):
            await knows(bird, OWN, POOL)
            await until(lambda: "10.9.0.11" in node.site.router.run(["ip", "route"]).stdout, "")
            with lac_of(node.site) as lac:
                tunnel = await asyncio.wait_for(lac.open_tunnel(TunnelOptions()), PATIENCE_S)
                ppp = PppOptions(user="routed", password="password", auth=("pap",))
                client = tunnel.call(CallOptions(ppp=ppp))
                assert await asyncio.wait_for(client.up, PATIENCE_S) == "172.20.0.7"
                await knows(bird, OWN, POOL, FRAMED, STATIC)
                client.hangup()
                await knows(bird, OWN, POOL)
            assert "Suspending peer 10.9.0.1" in node.cli("-c", "suspend bgp").stdout
            await knows(bird)
            (peer,) = node.show("show bgp")["peers"]
            assert (peer["state"], peer["is_suspended"]) == ("Established", True)
            node.cli("-c", "no suspend bgp 10.9.0.1")
            await knows(bird, OWN, POOL)
            node.cli("-c", "restart bgp")
            await until(lambda: node.show("show bgp")["peers"][0]["ups"] == 2, "no new session")
            await knows(bird, OWN, POOL)
            assert "is no BGP peer" in node.cli("-c", "restart bgp 192.0.2.99").stderr

    asyncio.run(story())


@pytest.mark.parametrize("how", ["kill -9", "SIGTERM"])
def test_a_restart_with_save_state_withdraws_nothing(tmp_path: Path, how: str) -> None:
    async def story() -> None:
        async with alone(tmp_path) as (node, bird):
            await knows(bird, OWN, POOL)
            if how == "SIGTERM":
                node.terminate()
                await node.wait_until_stopped()
            else:
                node.kill()
            await until(lambda: "Established" not in bird.ask("show protocols node1"), "still up")
            await knows(bird, OWN, POOL)
            await asyncio.to_thread(node.start)
            await until(lambda: node.show("show bgp")["peers"][0]["state"] == "Established", "down")
            await asyncio.sleep(1.0)
            await knows(bird, OWN, POOL)
            assert not removals(bird), bird.log()

    asyncio.run(story())


def test_exabgp_is_started_again_and_nothing_is_withdrawn(tmp_path: Path) -> None:
    async def story() -> None:
        async with alone(tmp_path) as (node, bird):
            await knows(bird, OWN, POOL)
            os.kill(child_of(node, b"exabgp"), signal.SIGKILL)
            await until(lambda: "ExaBGP has ended" in node.recent_log(), "it lives")
            await until(lambda: node.show("show bgp")["peers"][0]["ups"] == 2, "no new session")
            await asyncio.sleep(1.0)
            await knows(bird, OWN, POOL)
            assert not removals(bird), bird.log()

    asyncio.run(story())


def test_a_stop_for_good_withdraws_everything_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with alone(tmp_path, save_state="no", bgp_graceful_restart=120) as (node, bird):
            await knows(bird, OWN, POOL)
            node.terminate()
            await node.wait_until_stopped()
            await knows(bird)
            assert len(removals(bird)) == 2

    asyncio.run(story())


def test_without_the_right_password_nothing_comes_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with alone(tmp_path, routers_password="another") as (node, bird):
            await asyncio.sleep(8.0)
            assert node.show("show bgp")["peers"][0]["state"] != "Established"
            assert not bird.routes()
            assert PASSWORD not in node.log()

    asyncio.run(story())


HOST_ROUTE = LNS_ADDRESS
"""How the kernel shows OWN."""


async def leads(router: frr.Frr, nodes: list[Node]) -> None:
    """Wait until the router's kernel sends everything to these nodes and no others."""
    hops = {node.address for node in nodes}
    known: dict[str, set[str]] = {}

    def does() -> bool:
        nonlocal known
        known = router.routes()
        return known == ({HOST_ROUTE: hops, POOL: hops} if hops else {})

    try:
        await until(does, "")
    except AssertionError:
        said = [f"node {each.number}:\n{each.recent_log()}" for each in nodes[0].site.nodes]
        words = "\n".join([f"FRR has {known} instead of all by {hops}", router.log(), *said])
        raise AssertionError(words) from None


def test_frr_spreads_over_the_slaves_and_follows_a_takeover(tmp_path: Path) -> None:
    """ECMP (maximum-paths) with a cluster: its master draws no traffic, its slaves do."""

    async def story() -> None:
        bgp = {
            "as_number": 64512,
            "bgp_peer1": "10.9.0.1",
            "bgp_peer1_as": 64513,
            "bgp_peer1_password": "geheim",
            "bgp_peer1_hold": 9,
        }
        with ClusterSite(tmp_path, USERS, **bgp) as site:
            text = frr.bgp_config([node.address for node in site.nodes], password="geheim")
            router = frr.Frr(site.router, tmp_path, text)
            try:
                master = await site.settled(PATIENCE_S)
                slaves = [node for node in site.nodes if node is not master]
                await leads(router, slaves)
                gone, heir = slaves
                gone.kill()
                await leads(router, [heir])
                await asyncio.to_thread(gone.start)
                await leads(router, slaves)
                master.kill()
                second = await site.settled(PATIENCE_S)
                assert second is not master
                await leads(router, [node for node in slaves if node is not second])
                await asyncio.to_thread(master.start)
                await leads(router, [node for node in site.nodes if node is not second])
                slave = next(node for node in site.nodes if node is not second)
                slave.cli("-c", "suspend bgp")
                await leads(router, [n for n in site.nodes if n not in (second, slave)])
            finally:
                router.close()

    asyncio.run(story())


def test_sources_next_hop_and_hold_time(tmp_path: Path) -> None:
    """update-source, timers and the next hop, as later releases of the C program write them."""
    section = (
        "router bgp 64512\n neighbour 10.9.0.1 remote-as 64513\n"
        " neighbour 10.9.0.1 timers 3 9\n neighbour 10.9.0.1 update-source 10.9.0.21\n"
    )

    async def story() -> None:
        with ClusterSite(
            tmp_path, USERS, nodes=1, cluster_secret="", nexthop_address="10.9.0.11", tail=section
        ) as site:
            (node,) = site.nodes
            node.space.add_address("eth0", "10.9.0.21/24")
            node.kill()
            await asyncio.to_thread(node.start)
            bird = Bird(site.router, tmp_path, bgp_config(["10.9.0.21"]))
            try:
                await knows(bird, OWN, POOL)
                assert bird.routes()[OWN] == {"10.9.0.11"}
                assert "/9\n" in bird.ask("show protocols all node1")
                (peer,) = node.show("show bgp")["peers"]
                assert (peer["address"], peer["asn"], peer["hold_s"]) == ("10.9.0.1", 64513, 9)
            finally:
                bird.close()

    asyncio.run(story())


def test_what_is_withdrawn_while_a_session_is_set_up_is_not_announced(tmp_path: Path) -> None:
    """ExaBGP itself sends the announcement then, and leaves the withdrawal out."""

    async def story() -> None:
        bgp = {"as_number": 64512, "bgp_peer1": "10.9.0.1", "bgp_peer1_as": 64513}
        with ClusterSite(tmp_path, USERS, nodes=1, cluster_secret="", **bgp) as site:
            (node,) = site.nodes
            node.cli("-c", "suspend bgp")
            async with SlowRouter(site.router, "10.9.0.1", 64513) as router:
                await asyncio.wait_for(router.connected.wait(), PATIENCE_S)
                for command in ("no suspend bgp", "suspend bgp"):
                    await asyncio.to_thread(node.cli, "-c", command)
                await asyncio.sleep(2.5)
                router.may_speak.set()
                await until(lambda: state_of(node) == "Established", "no session")
                await asyncio.sleep(1.0)
                assert router.routes == set()
                await asyncio.to_thread(node.cli, "-c", "no suspend bgp")
                await until(lambda: router.routes == {OWN, POOL}, "nothing is announced")

    asyncio.run(story())


def state_of(node: Node) -> str:
    (peer,) = node.show("show bgp")["peers"]
    return str(peer["state"])


def test_bird_picks_up_the_kernel_routes_of_the_daemon(tmp_path: Path) -> None:
    """Without BGP of ours: routes by their protocol number, as docs/routing.md has it."""
    config = (
        "router id 10.9.0.11;\nprotocol device { scan time 1; }\n"
        "protocol kernel { learn; scan time 1; ipv4 { import where krt_source = 42; }; }\n"
    )

    async def story() -> None:
        with ClusterSite(tmp_path, USERS, nodes=1, cluster_secret="") as site:
            (node,) = site.nodes
            bird = Bird(node.space, tmp_path, config)
            try:
                await until(lambda: POOL in bird.ask("show route"), "the pool is not learned")
                with lac_of(site) as lac:
                    site.router.run(["ip", "route", "add", OWN, "via", node.address])
                    tunnel = await asyncio.wait_for(lac.open_tunnel(TunnelOptions()), PATIENCE_S)
                    ppp = PppOptions(user="routed", password="password", auth=("pap",))
                    client = tunnel.call(CallOptions(ppp=ppp))
                    await asyncio.wait_for(client.up, PATIENCE_S)
                    await until(lambda: FRAMED in bird.ask("show route"), "no Framed-Route")
                    client.hangup()
                    await until(lambda: FRAMED not in bird.ask("show route"), "it stays")
            finally:
                bird.close()

    asyncio.run(story())
