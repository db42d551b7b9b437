"""Directives that act on sockets, ports, routes and logs: what they change, with the real daemon.
Which test sees which directive is in unit.config.test_every_directive_acts."""

import asyncio
import json
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import PASSWORD, USERS, Stage, ping, scene, soon, until
from integration.daemon.test_metrics import fetch as fetch_metrics
from l2tpns_core.lab import Lac, LacOptions, RadiusServer, RadiusUser
from support.site import HOST_ADDRESS, LAC_ADDRESS, LNS_ADDRESS, SECRET
from support.telnet import Caller

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

L2TP_PORT, NSCTL_PORT, TELNET_PORT, METRICS_PORT, RADIUS_PORT = 1799, 1798, 2324, 9730, 2812
PROTOCOL, METRIC = 78, 55


class OddStage(Stage):
    """A stage whose LACs call another port."""

    def new_lac(self) -> Lac:
        options = LacOptions(
            lns=LNS_ADDRESS,
            lns_port=L2TP_PORT,
            bind=LAC_ADDRESS,
            make_socket=self.site.lac.udp_socket,
        )
        return Lac(options)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A daemon that is nowhere where it usually is."""
    directory = tmp_path_factory.mktemp("odd")
    routed = {"Framed-Route": ["198.18.4.0/22 0.0.0.0 1"]}
    users = {**USERS, "routed": RadiusUser(PASSWORD, routed)}
    with OddStage(
        directory,
        users,
        l2tp_port=L2TP_PORT,
        udp_receive_buffer=65_536,
        nas_identifier="the-odd-one",
        route_protocol=PROTOCOL,
        route_metric=METRIC,
        dump_speed="yes",
        nsctl_bind_address=LNS_ADDRESS,
        nsctl_port=NSCTL_PORT,
        cli_bind_address=LNS_ADDRESS,
        cli_port=TELNET_PORT,
        cli_open="yes",
        cli_max_operators=1,
        cli_idle_timeout=3,
        metrics_bind_address=LNS_ADDRESS,
        metrics_port=METRICS_PORT,
        accounting_spool=directory / "spool",
        radius_timeout=1,
        radius_tries=1,
        radius_dead_time=1,
    ) as running:
        yield running


@scene
async def test_ports_and_buffers_of_lacs(stage: Stage) -> None:
    """l2tp_port, udp_receive_buffer; that the tunnel is up has shown the first."""
    await ping(await stage.log_in("user1"))
    sockets = stage.site.lns.run(["ss", "-H", "-l", "-u", "-n", "-m"]).stdout
    (own,) = re.findall(rf":{L2TP_PORT} .*\n?.*skmem:\(r\d+,rb(\d+)", sockets)
    assert int(own) == 2 * 65_536  # the kernel counts its own overhead


@scene
async def test_what_radius_and_the_kernel_are_told(stage: Stage) -> None:
    """nas_identifier, route_protocol, route_metric."""
    await stage.log_in("routed")
    (start,) = stage.site.radius.records("Start", "routed")
    assert start["NAS-Identifier"] == "the-odd-one"
    found = stage.site.lns.run(["ip", "route", "show", "proto", str(PROTOCOL)]).stdout
    assert re.search(rf"^198\.18\.4\.0/22 .*metric {METRIC}\b", found, re.M), found


@scene
async def test_the_bandwidth_is_logged(stage: Stage) -> None:
    """dump_speed: a line each second, and none when it is off."""
    await until(lambda: stage.site.log().count("UDP-ETH:") >= 2, "no bandwidth")
    stage.site.write_config(dump_speed="no")
    await stage.reload()
    known = stage.site.log().count("UDP-ETH:")
    await asyncio.sleep(2.5)
    assert stage.site.log().count("UDP-ETH:") - known <= 1


@scene
async def test_nsctl_where_it_listens(stage: Stage) -> None:
    """nsctl_bind_address, nsctl_port."""
    await stage.log_in("user1")
    words = [sys.executable, "-m", "l2tpns_core.control.client", "-t", "5"]
    place = f"{LNS_ADDRESS}:{NSCTL_PORT}"
    done = stage.site.lac.run([*words, "-h", place, "drop", "nobody"], check=False)
    assert "session not found" in done.stdout + done.stderr


@scene
async def test_telnet_where_it_listens(stage: Stage) -> None:
    """cli_bind_address, cli_port, cli_open, cli_max_operators, cli_idle_timeout."""
    await until(lambda: f"telnet on {LNS_ADDRESS}" in stage.site.log(), "no telnet")
    await asyncio.to_thread(use_telnet, stage)


def use_telnet(stage: Stage) -> None:
    connect = stage.site.lac.call
    first = Caller(connect(socket.create_connection, (LNS_ADDRESS, TELNET_PORT), 15))
    with first.connection:
        first.send(b"show version\r\n")  # nobody asks for a name
        first.until(b"L2TPNS")
        second = Caller(connect(socket.create_connection, (LNS_ADDRESS, TELNET_PORT), 15))
        with second.connection:
            assert b"too many of you" in second.rest()  # there is one place, and it is taken
        first.rest()  # nothing was typed for some seconds: it is closed


@scene
async def test_metrics_where_they_listen(stage: Stage) -> None:
    """metrics_bind_address, metrics_port."""

    def fetch() -> bytes:
        made = stage.site.lac.call(socket.create_connection, (LNS_ADDRESS, METRICS_PORT), 10)
        with made as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65_536), b""))

    assert b"l2tpns_build_info" in await asyncio.to_thread(fetch)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(fetch_metrics, stage)  # of 127.0.0.1


@scene
async def test_the_spool_is_where_it_was_said(stage: Stage) -> None:
    """accounting_spool, accounting_spool_size."""
    client, other = await stage.log_in("user1"), await stage.log_in("user2")
    spool = stage.site.directory / "spool"
    stage.site.radius.silent = True
    try:
        client.hangup()
        await until(lambda: any(b"user1" in text(path) for path in spool.iterdir()), "not kept")
        stage.site.write_config(accounting_spool_size=1)
        await stage.reload()
        other.hangup()
        told = "accounting records are lost so far"
        await until(lambda: told in stage.site.log(), "it was kept, or not told")
        assert not any(b"user2" in text(path) for path in spool.iterdir())
    finally:
        stage.site.radius.silent = False
    (start,) = stage.site.radius.records("Start", "user2")
    stage.site.radius.accounting.remove(start)  # its Stop is lost, as it was to be
    await stage.site.radius.wait_for_records("Stop", "user1")


def text(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@scene
async def test_the_log_becomes_json(stage: Stage) -> None:
    """log_format."""
    stage.site.write_config(log_format="json")
    await stage.reload()
    client = await stage.log_in("user3")
    stage.site.write_config(log_format="text")
    await stage.reload()
    entries = [
        json.loads(line) for line in stage.site.log().splitlines() if line.startswith('{"time"')
    ]
    (login,) = [entry for entry in entries if entry["message"].startswith("login by user3")]
    assert login["user"] == "user3"
    assert login["session"] == client.peer_session_id


def test_other_ports_of_radius(tmp_path: Path) -> None:
    """primary_radius_port: accounting is one higher."""

    async def act(stage: Stage) -> None:
        other = RadiusServer(
            USERS,
            secret=SECRET.encode(),
            address=HOST_ADDRESS,
            auth_port=RADIUS_PORT,
            acct_port=RADIUS_PORT + 1,
            make_socket=stage.site.net.udp_socket,
        )
        other.start()
        try:
            client = stage.call("user1")
            await soon(client.up)
            await other.wait_for_records("Start", "user1")
            client.hangup()
            await other.wait_for_records("Stop", "user1")
        finally:
            other.stop()
        assert not stage.site.radius.requests

    with Stage(tmp_path, primary_radius_port=RADIUS_PORT, radius_timeout=1) as stage:
        stage.play(act)


@pytest.mark.parametrize("wanted", ["yes", "no"])
def test_neighbours_are_told_of_the_address(tmp_path: Path, wanted: str) -> None:
    """send_garp, bind_address."""
    with (
        Stage(tmp_path, send_garp=wanted) as stage,
        stage.site.lac.call(
            socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)
        ) as ear,
    ):
        ear.bind(("eth0", 0))
        ear.settimeout(0.5)
        stage.site.daemon.send_signal(signal.SIGTERM)
        stage.site.daemon.wait()
        stage.site.daemon = stage.site._start_daemon()
        stage.site._wait_until_ready()
        assert announced(ear) == (wanted == "yes")


def announced(ear: socket.socket) -> bool:
    """Whether an ARP packet of LNS_ADDRESS about itself came."""
    own = socket.inet_aton(LNS_ADDRESS)
    try:
        while True:
            packet = ear.recv(100)
            if packet[28:32] == own == packet[38:42]:
                return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("room", [2, 100])
def test_room_for_routes_in_the_kernel(tmp_path: Path, room: int) -> None:
    """bpf_max_routes: who has more goes through the process, and is served."""
    routes = [f"198.18.{number}.0/24 0.0.0.0 1" for number in range(4)]
    users = {**USERS, "routed": RadiusUser(PASSWORD, {"Framed-Route": routes})}

    async def act(stage: Stage) -> None:
        await ping(await stage.log_in("routed"))
        punts = stage.ask("show dataplane")["kernel"]["punts"]
        assert bool(punts.get("up flagged")) == (room < len(routes)), punts

    with Stage(tmp_path, users, dataplane="ebpf", bpf_max_routes=room) as stage:
        stage.play(act)


@pytest.mark.parametrize(("level", "is_told"), [(0, False), (3, True)])
def test_how_much_is_logged(tmp_path: Path, level: int, is_told: bool) -> None:
    """debug."""

    async def act(stage: Stage) -> None:
        await stage.log_in("user1")
        assert ("login by user1" in stage.site.log()) == is_told

    with Stage(tmp_path, debug=level) as stage:
        stage.play(act)


def test_a_wrong_secret_lets_nobody_in(tmp_path: Path) -> None:
    """radius_secret."""

    async def act(stage: Stage) -> None:
        refused = stage.call("user1")
        await soon(refused.down)
        stage.site.write_config(radius_secret=SECRET)
        await stage.reload()
        await stage.log_in("user1")

    secrets = {"radius_secret": f"not-{SECRET}", "radius_timeout": 1, "radius_tries": 1}
    with Stage(tmp_path, radius_dead_time=1, **secrets) as stage:
        stage.play(act)


def test_the_tun_device(tmp_path: Path) -> None:
    """tundevicename, iftun_address."""
    with Stage(tmp_path, tundevicename="subs", iftun_address="10.63.9.1") as stage:
        shown = stage.site.lns.run(["ip", "-br", "address", "show", "dev", "subs"]).stdout
    assert "10.63.9.1/32" in shown
