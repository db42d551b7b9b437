"""Who is found in the kernel that would look at packets."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from integration.dataplane.namespaces import Namespace
from integration.garden.place import install_tools
from l2tpns_core.net.netlink import Netlink, WaysOut
from l2tpns_core.net.onlookers import IP_TABLES_NAMES, VIRTUAL_SERVERS, OldTables, Onlookers, ask
from l2tpns_core.net.tun_device import TunDevice

pytestmark = pytest.mark.netns

ETH_P_ALL = 3


@pytest.fixture
def space() -> Iterator[Namespace]:
    made = Namespace("l2t-look")
    with made.entered():
        yield made
    made.remove()


@pytest.fixture
def device(space: Namespace) -> Iterator[TunDevice]:
    made = TunDevice("l2tpns%d")
    yield made
    made.close()


@pytest.fixture
def onlookers(device: TunDevice) -> Iterator[Onlookers]:
    with closing(OldTables()) as tables:
        yield Onlookers(socket.if_nametoindex(device.name), tables)


Nft = Callable[[str], None]


@pytest.fixture(scope="module")
def nft(tmp_path_factory: pytest.TempPathFactory) -> Nft:
    tools = tmp_path_factory.mktemp("tools")
    install_tools(tools)

    def run(rules: str) -> None:
        subprocess.run([tools / "nft", "-f", "-"], input=rules, text=True, check=True)

    return run


def test_in_an_empty_namespace_there_is_nobody(onlookers: Onlookers) -> None:
    assert onlookers.find() == ""


@pytest.mark.parametrize(
    ("family", "chain"),
    [
        ("ip", "type filter hook forward priority 0;"),
        ("inet", "type filter hook forward priority 0;"),
        ("ip", "type filter hook prerouting priority -300;"),
        ("ip", "type nat hook postrouting priority 100;"),
        ("netdev", 'type filter hook ingress device "lo" priority 0;'),
    ],
)
def test_a_chain_counts_when_it_has_rules(
    onlookers: Onlookers, nft: Nft, family: str, chain: str
) -> None:
    assert onlookers.find() == ""
    nft(f"add table {family} t\nadd chain {family} t c {{ {chain} }}")
    assert onlookers.find() == ""
    nft(f"add rule {family} t c counter")
    assert onlookers.find() == "nftables has the chain c in the table t"
    nft(f"flush chain {family} t c")
    assert onlookers.find() == ""


def test_a_chain_that_drops_counts_without_rules(onlookers: Onlookers, nft: Nft) -> None:
    nft("add table ip t\nadd chain ip t c { type filter hook forward priority 0; policy drop; }")
    assert onlookers.find() == "nftables has the chain c in the table t"


@pytest.mark.parametrize(
    ("family", "hook"), [("inet", "input"), ("ip", "output"), ("ip6", "forward"), ("arp", "input")]
)
def test_chains_that_forwarded_packets_do_not_pass_do_not_count(
    onlookers: Onlookers, nft: Nft, family: str, hook: str
) -> None:
    nft(f"add table {family} t\nadd chain {family} t c {{ type filter hook {hook} priority 0; }}")
    nft(f"add rule {family} t c counter")
    assert onlookers.find() == ""


def test_rules_of_policy_routing_count(onlookers: Onlookers) -> None:
    with IPRoute() as kernel:
        for rule in ({"src": "10.0.0.0/8", "table": 100}, {"fwmark": 1, "table": 254}):
            kernel.rule("add", family=socket.AF_INET, priority=50, **rule)
            assert onlookers.find() == "there are rules of policy routing"
            kernel.rule("del", family=socket.AF_INET, priority=50, **rule)
            assert onlookers.find() == ""


def test_policies_of_ipsec_count(onlookers: Onlookers) -> None:
    policy = "src 10.0.0.0/8 dst 192.0.2.0/24 dir fwd"
    subprocess.run(["ip", "xfrm", "policy", "add", *policy.split()], check=True)
    assert onlookers.find() == "there are IPsec policies"


def test_a_capture_counts_where_the_packets_would_be_seen(
    onlookers: Onlookers, device: TunDevice
) -> None:
    for interface, seen in (("lo", False), (device.name, True)):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as capture:
            capture.bind((interface, ETH_P_ALL))
            assert (onlookers.find() == "somebody captures packets") == seen
    everywhere = socket.htons(ETH_P_ALL)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, everywhere):
        assert onlookers.find() == "somebody captures packets"
    assert onlookers.find() == ""


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        (IP_TABLES_NAMES, "nat\nfilter\n", "iptables has the table nat (legacy)"),
        (VIRTUAL_SERVERS, "IP Virtual\nProt\n  -> \n", ""),
        (VIRTUAL_SERVERS, "IP Virtual\nProt\n  -> \nTCP  1 rr\n", "virtual servers (IPVS)"),
    ],
)
@pytest.mark.usefixtures("space")
def test_what_the_kernel_lists_in_files(tmp_path: Path, name: str, text: str, answer: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with closing(OldTables(tmp_path)) as tables:
        found = Onlookers(1, tables, tmp_path).find()
    assert found.endswith(answer)
    assert bool(found) == bool(answer)


def test_tables_that_appear_later_are_seen(tmp_path: Path) -> None:
    with closing(OldTables(tmp_path)) as tables:
        assert tables.names() == []
        path = tmp_path / IP_TABLES_NAMES
        path.parent.mkdir()
        path.write_text("nat\n")
        assert tables.names() == ["nat"]
        path.write_text("nat\nfilter\n")
        assert tables.names() == ["nat", "filter"]


@pytest.mark.usefixtures("space")
def test_a_question_that_the_kernel_refuses_raises() -> None:
    with pytest.raises(OSError, match="ENOTSUP"):
        list(ask(socket.NETLINK_ROUTE, 0x0FFF, bytes(4)))


async def ways_out() -> WaysOut:
    netlink = Netlink()
    await netlink.open()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(netlink.close)
        return await netlink.ways_out()


def test_what_routes_say(space: Namespace, device: TunDevice) -> None:
    space.address(device.name, "203.0.113.1", 24)
    index = socket.if_nametoindex(device.name)
    assert asyncio.run(ways_out()) == WaysOut(frozenset({index}), several=False, special=False)
    with IPRoute() as kernel:
        kernel.route("add", dst="10.0.0.0/8", oif=index, metrics={"mtu": 900})
        assert asyncio.run(ways_out()).special
        kernel.route("del", dst="10.0.0.0/8", oif=index)
        hops = [{"gateway": f"203.0.113.{n}"} for n in (2, 3)]
        kernel.route("add", dst="10.0.0.0/8", multipath=hops)
    assert asyncio.run(ways_out()) == WaysOut(frozenset({index}), several=True, special=False)
