"""What the daemon does for its subscribers: kernel routes, traffic, options of L2TP, RADIUS."""

import errno
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from integration.daemon.stage import (
    PASSWORD,
    USERS,
    Stage,
    assert_terminated,
    down,
    ping,
    scene,
    soon,
    until,
)
from l2tpns_core.lab import (
    CallOptions,
    PppOptions,
    RadiusServer,
    RadiusUser,
    TunnelError,
    TunnelOptions,
)
from l2tpns_core.lab.frames import udp_packet
from support.site import HOST_ADDRESS, LNS_ADDRESS, SECRET

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

DEVICE = "subscribers"
ROUTE_PROTOCOL = 77
HOST = int.from_bytes(socket.inet_aton(HOST_ADDRESS), "big")
TUNNEL_SECRET = "tunnel-secret"

# linux/in.h
IP_MTU_DISCOVER, IP_RECVERR, IP_MTU, IP_PMTUDISC_DO = 10, 11, 14, 2


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The daemon of the scenes that need no other one than the others."""
    users = {
        **USERS,
        "routed": RadiusUser(
            PASSWORD,
            {
                "Framed-IP-Address": ["203.0.113.9"],
                "Framed-Route": ["198.18.4.0/22 0.0.0.0 1", "198.18.64.0/26 0.0.0.0 1"],
            },
        ),
    }
    directives: dict[str, Any] = {
        "tundevicename": DEVICE,
        "route_protocol": ROUTE_PROTOCOL,
        "radius_authtypes": "chap,pap",
        "radius_interim": 1,
        "l2tp_secret": TUNNEL_SECRET,
    }
    with Stage(tmp_path_factory.mktemp("operation"), users, **directives) as running:
        yield running


# The kernel


def routes_of(stage: Stage) -> set[str]:
    """The daemon's routes to its device, as the kernel has them."""

    def dump() -> set[str]:
        with IPRoute() as route:
            found = route.link_lookup(ifname=DEVICE)
            return {
                f"{message.get_attr('RTA_DST')}/{message['dst_len']}"
                for message in route.get_routes(family=socket.AF_INET, oif=found[0])
                if message["proto"] == ROUTE_PROTOCOL
            }

    found: set[str] = stage.site.lns.call(dump)
    return found


@scene
async def test_static_address_and_framed_routes_are_kernel_routes(stage: Stage) -> None:
    pool = {"10.64.0.0/24"}
    assert routes_of(stage) == pool
    client = await stage.log_in("routed")
    assert client.ip == "203.0.113.9"
    mine = {"203.0.113.9/32", "198.18.4.0/22", "198.18.64.0/26"}
    await until(lambda: routes_of(stage) == pool | mine, "the routes are not in the kernel")
    receive_from_network(stage, client, "198.18.5.6")
    client.hangup()
    await stage.stop_of("routed", "User-Request")
    await until(lambda: routes_of(stage) == pool, "the routes are still in the kernel")


def receive_from_network(stage: Stage, client: Any, source: str) -> None:
    """A subscriber's network may send."""
    with stage.site.net.udp_socket(HOST_ADDRESS, 7000) as host:
        host.setblocking(True)
        host.settimeout(5)
        address = int.from_bytes(socket.inet_aton(source), "big")
        client.send_ip(udp_packet(address, 40_000, HOST, 7000, b"from behind"))
        assert host.recvfrom(100) == (b"from behind", (source, 40_000))


# Traffic


@scene
async def test_traffic_both_ways_is_carried_and_counted(stage: Stage) -> None:
    client = await stage.log_in("user-traffic")
    for _ in range(10):
        await ping(client, 500)
    with stage.site.net.udp_socket(HOST_ADDRESS, 7000) as host:
        client.send_udp(HOST_ADDRESS, 7000, b"question")
        question, sender = await soon(receive(host))
        assert (question, sender) == (b"question", (client.ip, 40_000))
        host.sendto(b"answer", sender)
        assert (await client.next_packet()).endswith(b"answer")
    up, downwards = 10 * 500 + 28 + len(b"question"), 10 * 500 + 28 + len(b"answer")
    row = stage.session_of("user-traffic")
    assert (row["uploaded_bytes"], row["uploaded_packets"]) == (up, 11)
    assert (row["downloaded_bytes"], row["downloaded_packets"]) == (downwards, 11)
    client.hangup()
    stop = await stage.stop_of("user-traffic", "User-Request")
    assert (stop["Acct-Input-Octets"], stop["Acct-Input-Packets"]) == (up, 11)
    assert (stop["Acct-Output-Octets"], stop["Acct-Output-Packets"]) == (downwards, 11)


async def receive(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """A datagram of a non-blocking socket; no reader is left in the loop."""
    received: list[tuple[bytes, tuple[str, int]]] = []

    def arrived() -> bool:
        try:
            received.append(sock.recvfrom(2000))
        except BlockingIOError:
            return False
        return True

    await until(arrived, "no datagram")
    return received[0]


@scene
async def test_spoofed_source_does_not_come_out(stage: Stage) -> None:
    client, other = await stage.log_in("user-spoofer"), await stage.log_in("user-victim")
    before = stage.ask("show counters")["counters"]["plane"]["source_spoofed"]
    with stage.site.net.udp_socket(HOST_ADDRESS, 7000) as host:
        for source in (other.ip, "8.8.8.8", LNS_ADDRESS):
            spoofed = int.from_bytes(socket.inet_aton(source), "big")
            client.send_ip(udp_packet(spoofed, 40_000, HOST, 7000, b"spoofed"))
        client.send_udp(HOST_ADDRESS, 7000, b"honest")
        assert await soon(receive(host)) == (b"honest", (client.ip, 40_000))
        with pytest.raises(BlockingIOError):
            host.recvfrom(2000)
    after = stage.ask("show counters")["counters"]["plane"]["source_spoofed"]
    assert after - before == 3
    assert stage.session_of("user-spoofer")["uploaded_packets"] == 1


@scene
async def test_packet_over_the_mru_is_answered_with_fragmentation_needed(stage: Stage) -> None:
    client = await stage.log_in("user-mru", mru=1200)
    with stage.site.net.udp_socket(HOST_ADDRESS, 7000) as host:
        host.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        host.connect((client.ip, 40_000))
        host.send(bytes(1200 - 28))
        assert len(await client.next_packet()) == 1200
        host.send(bytes(1201 - 28))
        await until(
            lambda: host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EMSGSIZE,
            "no ICMP error came",
        )
        assert host.getsockopt(socket.IPPROTO_IP, IP_MTU) == 1200
        host.send(b"small")
        assert (await client.next_packet()).endswith(b"small")


@scene
async def test_address_without_a_subscriber_is_unreachable(stage: Stage) -> None:
    with stage.site.net.udp_socket(HOST_ADDRESS, 7000) as host:
        host.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        host.connect(("10.64.0.200", 40_000))
        host.send(b"is anybody there?")
        await until(
            lambda: host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EHOSTUNREACH,
            "no ICMP error came",
        )


# L2TP and RADIUS


@scene
async def test_sequencing_that_the_lac_requires(stage: Stage) -> None:
    """The lab's LAC checks every number; see the violations that a scene must not have."""
    ppp = PppOptions(user="user-sequence", password=PASSWORD, auth=("pap",))
    client = stage.tunnel.call(CallOptions(ppp=ppp, sequencing=True))
    await soon(client.up)
    known = client.data_ns
    assert known
    for _ in range(5):
        await ping(client)
    assert client.data_ns == known + 5


@scene
async def test_interim_updates_carry_the_counters_of_the_moment(stage: Stage) -> None:
    client = await stage.log_in("user-interim")
    for _ in range(3):
        await ping(client, 100)
    first, second = await stage.site.radius.wait_for_records("Interim-Update", "user-interim", 2)
    (start,) = stage.site.radius.records("Start", "user-interim")
    for interim in (first, second):
        assert interim["Acct-Session-Id"] == start["Acct-Session-Id"]
        assert (interim["Acct-Input-Octets"], interim["Acct-Input-Packets"]) == (300, 3)
        assert (interim["Acct-Output-Octets"], interim["Acct-Output-Packets"]) == (300, 3)
    assert 0.8 < second.time - first.time < 4
    client.hangup()
    await stage.stop_of("user-interim", "User-Request")


def test_hidden_avps_both_ways(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        ppp = PppOptions(user="user-hidden", password=PASSWORD, auth=("pap",))
        client = stage.tunnel.call(CallOptions(ppp=ppp, calling_number="0123456789"))
        await soon(client.up)
        (start,) = await stage.site.radius.wait_for_records("Start", "user-hidden")
        assert start["Calling-Station-Id"] == "0123456789"
        await stage.command("drop user user-hidden")
        await down(client, 3, 0, "dropped by the operator")

    with Stage(tmp_path, l2tp_secret=TUNNEL_SECRET, l2tp_hide_avps="yes") as stage:
        stage.play(act, TunnelOptions(secret=TUNNEL_SECRET.encode(), hide_avps=True))


def test_lac_must_know_the_secret(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        (await stage.log_in("user-secret")).hangup()
        await stage.stop_of("user-secret", "User-Request")
        stranger = stage.lac.start_tunnel(TunnelOptions(secret=b"another", challenge=False))
        end = await soon(stranger.closed)
        assert (end.by, end.result, end.text) == ("StopCCN", 4, "challenge response is wrong")
        with pytest.raises(TunnelError, match="challenged"):
            await soon(stage.lac.open_tunnel(TunnelOptions()))

    with Stage(tmp_path, l2tp_secret=TUNNEL_SECRET, l2tp_challenge_lac="yes") as stage:
        stage.play(act, TunnelOptions(secret=TUNNEL_SECRET.encode()))


def test_chap_is_challenged_again(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        client = await stage.log_in("user-chap", auth="chap")
        first = client.ppp.challenge
        await until(lambda: len(stage.site.radius.requests) == 2, "no second Access-Request")
        await until(lambda: client.ppp.challenge != first, "the same challenge again")
        assert client.is_up
        assert all(request.accepted for request in stage.site.radius.requests)
        assert len(stage.site.radius.records(user="user-chap")) == 1
        client.ppp.options.password = "forgotten"
        await down(client, 3, 0, "login refused")
        assert client.ppp.refused
        assert_terminated(client)
        await stage.stop_of("user-chap", "User-Error")

    with Stage(tmp_path, radius_authtypes="chap", chap_rechallenge=1) as stage:
        stage.play(act)


def test_secondary_radius_takes_over(tmp_path: Path) -> None:
    async def act(stage: Stage) -> None:
        primary = stage.site.radius
        secondary = RadiusServer(
            USERS,
            secret=SECRET.encode(),
            address=HOST_ADDRESS,
            auth_port=1912,
            acct_port=1913,
            make_socket=stage.site.net.udp_socket,
        )
        secondary.start()
        try:
            primary.silent = True
            first = stage.call("user-first")
            await soon(first.up)
            await secondary.wait_for_records("Start", "user-first")
            dropped = primary.counters.dropped
            assert dropped >= 1
            second = stage.call("user-second")
            await soon(second.up)
            assert primary.counters.dropped == dropped, "a dead server was asked first"
            second.hangup()
            first.hangup()
            await secondary.wait_for_records("Stop", "user-first")
            await secondary.wait_for_records("Stop", "user-second")
            assert len(secondary.accounting) == 4
        finally:
            primary.silent = False
            secondary.stop()

    directives: dict[str, Any] = {
        "secondary_radius": HOST_ADDRESS,
        "secondary_radius_port": 1912,
        "radius_timeout": 1,
        "radius_tries": 1,
    }
    with Stage(tmp_path, **directives) as stage:
        stage.play(act)
        assert [r["Acct-Status-Type"] for r in stage.site.radius.accounting] == ["Accounting-On"]
