"""The user-space plane between real kernels: a LAC, the LNS with its TUN device, a far host."""

import asyncio
import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from integration.dataplane.namespaces import FAR, LAC, LNS_OUTER, LNS_SECOND, Topology
from integration.dataplane.setting import (
    HEADER_BYTES,
    METRIC,
    MTU,
    PROTOCOL,
    TUN_ADDRESS,
    Setting,
    receive,
    run,
    until,
)
from l2tpns_core.net.garp import announce, announcement
from l2tpns_core.net.routes import TunRoutes
from unit.dataplane.fakes import IP_PREFIX, KEY, LCP_ECHO, SUBSCRIBER, number, route, udp_packet

pytestmark = pytest.mark.netns

IP_RECVERR, IP_MTU_DISCOVER, IP_PMTUDISC_DO = 11, 10, 2


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    made = Topology("l2t-dp-test")
    yield made
    made.remove()


def test_subscriber_talks_to_a_far_host(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        setting.send_up(IP_PREFIX + udp_packet(SUBSCRIBER, FAR, b"ping"))
        data, sender = await receive(setting.far)
        assert (data, sender) == (b"ping", (SUBSCRIBER, 1024))
        setting.far.sendto(b"pong", sender)
        datagram, lns = await receive(setting.lac)
        assert lns == (LNS_OUTER, 1701)
        packet = datagram[HEADER_BYTES:]
        assert packet[12:20] == socket.inet_aton(FAR) + socket.inet_aton(SUBSCRIBER)
        assert packet[28:] == b"pong"
        usage = setting.plane.counters(KEY)
        assert (usage.packets_in, usage.packets_out) == (1, 1)
        assert (usage.octets_in, usage.octets_out) == (32, 32)

    run(topology, test)


def test_spoofed_source_does_not_reach_the_far_host(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        setting.send_up(IP_PREFIX + udp_packet("10.0.0.77", FAR, b"spoofed"))
        setting.send_up(IP_PREFIX + udp_packet(SUBSCRIBER, FAR, b"honest"))
        assert (await receive(setting.far))[0] == b"honest"
        assert setting.plane.plane_counters().source_spoofed == 1

    run(topology, test)


def test_control_arrives_with_the_address_that_the_lac_used(topology: Topology) -> None:
    """Bound to 0.0.0.0, answers and packets leave from the address that the LAC talks to."""

    async def test(setting: Setting) -> None:
        message = b"\xc8\x02\x00\x0c" + bytes(8)
        setting.lac.sendto(message, (LNS_SECOND, 1701))
        await until(lambda: setting.events.controls)
        _, peer, local, _ = setting.events.controls[0]
        assert local == LNS_SECOND
        setting.plane.send_control([(b"answer", peer, local)])
        assert await receive(setting.lac) == (b"answer", (LNS_SECOND, 1701))
        setting.install(local=local)
        setting.plane.send_frames(KEY, [LCP_ECHO])
        assert (await receive(setting.lac))[1] == (LNS_SECOND, 1701)
        setting.far.sendto(b"packet", (SUBSCRIBER, 1024))
        assert (await receive(setting.lac))[1] == (LNS_SECOND, 1701)

    run(topology, test, address="0.0.0.0")


async def error_of(end: socket.socket) -> tuple[int, int, int, int, str]:
    """errno, ICMP type and code, the MTU, and who sent the error that waits for a socket."""

    def take() -> bytes | None:
        try:
            ancillary = end.recvmsg(2000, 512, socket.MSG_ERRQUEUE)[1]
        except BlockingIOError:
            return None
        return ancillary[0][2]

    found: list[bytes] = []
    await until(lambda: found or [found.append(raw) for raw in [take()] if raw])
    number_, _, kind, code, _, info, _ = struct.unpack_from("=IBBBBII", found[0])
    return number_, kind, code, info, socket.inet_ntoa(found[0][20:24])


def test_host_unreachable_reaches_the_sender(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        setting.far.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        setting.far.sendto(b"anybody?", ("10.0.0.200", 7))
        error = await error_of(setting.far)
        assert error == (errno.EHOSTUNREACH, 3, 1, 0, TUN_ADDRESS)
        assert setting.plane.plane_counters().icmp_sent == 1

    run(topology, test)


def test_fragmentation_needed_reaches_the_sender(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        # An address of its own: the far host remembers the MTU.
        setting.plane.install(route(peer=(LAC, 1701), mru=1000, ip=number("10.0.0.66")))
        setting.far.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        setting.far.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        setting.far.sendto(bytes(1200), ("10.0.0.66", 7))
        error = await error_of(setting.far)
        assert error == (errno.EMSGSIZE, 3, 4, 1000, TUN_ADDRESS)
        assert setting.plane.plane_counters().too_big == 1

    run(topology, test)


def test_large_datagram_arrives_in_fragments_of_the_mru(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        setting.plane.install(route(peer=(LAC, 1701), mru=576))
        setting.far.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
        payload = bytes(range(256)) * 5
        setting.far.sendto(payload, (SUBSCRIBER, 7))
        body = b""
        while len(body) < 8 + len(payload):
            packet = (await receive(setting.lac))[0][HEADER_BYTES:]
            assert len(packet) <= 576
            assert (struct.unpack_from(">H", packet, 6)[0] & 0x1FFF) * 8 == len(body)
            body += packet[20:]
        assert body[8:] == payload

    run(topology, test)


def test_packet_larger_than_the_line_is_carried_in_ip_fragments(topology: Topology) -> None:
    """1462 + 38 bytes fit into 1500; an MRU of 1492 does not, and must pass all the same."""

    async def test(setting: Setting) -> None:
        await setting.netlink.set_mtu(setting.index, 1492)
        setting.plane.install(route(peer=(LAC, 1701), mru=1492))
        setting.far.sendto(bytes(1464), (SUBSCRIBER, 7))
        packet = (await receive(setting.lac))[0][HEADER_BYTES:]
        assert len(packet) == 1492
        assert setting.plane.plane_counters().socket_send_failures == 0

    run(topology, test)


def test_routes_have_our_protocol_and_leftovers_go(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        setting.routes.add(number("10.77.0.0"), 16)
        setting.routes.add(number("10.88.0.9"), 32)
        await setting.routes.settle()
        assert await setting.kernel_routes() == {
            ("10.0.0.0/24", PROTOCOL),
            ("10.77.0.0/16", PROTOCOL),
            ("10.88.0.9/32", PROTOCOL),
        }
        await setting.ask_kernel(
            lambda kernel: kernel.route("add", dst="10.99.0.0/16", oif=setting.index, proto=4)
        )
        successor = TunRoutes(setting.netlink, setting.index, PROTOCOL, METRIC)
        await successor.start()
        assert await setting.kernel_routes() == {("10.99.0.0/16", 4)}
        await successor.close()

    run(topology, test)


def test_refused_route_is_counted_and_logged(
    topology: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(setting: Setting) -> None:
        foreign = {"dst": "10.55.0.0/16", "proto": 4, "priority": METRIC, "oif": setting.index}
        await setting.ask_kernel(lambda kernel: kernel.route("add", **foreign))
        setting.routes.add(number("10.55.0.0"), 16)
        await setting.routes.settle()
        assert setting.routes.counters.failed == 1
        assert "10.55.0.0/16" in caplog.text
        assert ("10.55.0.0/16", 4) in await setting.kernel_routes()

    run(topology, test)


def test_device_is_configured(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        await setting.netlink.configure_device(setting.index, MTU, [number(TUN_ADDRESS)])  # again
        (link,) = await setting.ask_kernel(lambda kernel: kernel.link("get", index=setting.index))
        addresses = await setting.ask_kernel(
            lambda kernel: list(kernel.get_addr(index=setting.index, family=socket.AF_INET))
        )
        assert link.get("ifname").startswith("l2tpns")
        assert (link.get("mtu"), link.get("txqlen")) == (MTU, 1000)
        assert link["flags"] & 1
        assert [(entry.get("local"), entry["prefixlen"]) for entry in addresses] == [
            (TUN_ADDRESS, 32)
        ]
        with pytest.raises(LookupError):
            await setting.netlink.index_of("no-such-device")

    run(topology, test)


def test_device_that_is_deleted_stops_the_reader(
    topology: Topology, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(setting: Setting) -> None:
        await setting.ask_kernel(lambda kernel: kernel.link("del", index=setting.index))
        await until(lambda: setting.plane.plane_counters().tun_errors)
        await asyncio.sleep(0.01)
        assert setting.plane.plane_counters().tun_errors == 1
        setting.send_up(LCP_ECHO)  # the control plane lives on
        await until(lambda: setting.events.frames)

    run(topology, test)


def test_neighbours_see_the_gratuitous_arp(topology: Topology) -> None:
    async def test(setting: Setting) -> None:
        with topology.lac.entered():
            ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
            ear.bind(("lac0", 0))
            ear.setblocking(False)
        (interface,) = await setting.netlink.interfaces_for(number(LNS_OUTER))
        assert interface.name == "lns0"
        with topology.lns.entered():
            assert await announce(setting.netlink, number(LNS_OUTER)) == ["lns0"]
            assert await announce(setting.netlink, number(TUN_ADDRESS)) == []
        expected = announcement(interface.mac, number(LNS_OUTER))
        async with asyncio.timeout(5):
            while await asyncio.get_running_loop().sock_recv(ear, 100) != expected:
                pass
        ear.close()

    run(topology, test)
