"""Directives that are changed while the daemon serves: by `set` at the prompt they act as they say,
and a reload brings back what the startup-config has. The daemon is a real one."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from integration.daemon.stage import PATIENCE_S, Stage, down, ping, scene, soon, until
from integration.daemon.test_metrics import fetch
from l2tpns_core.lab import TunnelOptions
from support.site import HOST_ADDRESS

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

NOBODY = ("10.64.0.200", 40_000)
"""An address of the pool that no subscriber has."""
UNREACHABLE = 3
RATE = 5


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("changes"), icmp_rate=RATE) as running:
        yield running


async def change(stage: Stage, **directives: object) -> list[str]:
    """Set directives as an operator does; the lines of the answer."""
    lines = [f'set {name} "{value}"' for name, value in directives.items()]
    return (await stage.command("configure terminal", *lines)).splitlines()


async def unreachables(stage: Stage, least: int) -> tuple[int, float]:
    """How many ICMP errors a host gets for 60 datagrams to nobody, and in how many seconds."""

    def count() -> tuple[int, float]:
        ear = stage.site.net.call(
            socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP
        )
        found, begun = 0, time.monotonic()
        with ear, stage.site.net.udp_socket(HOST_ADDRESS, 7001) as host:
            for _ in range(60):
                host.sendto(b"is anybody there?", NOBODY)
            try:
                while True:
                    ear.settimeout(PATIENCE_S if found < least else 0.5)
                    found += ear.recv(2000)[20] == UNREACHABLE
            except TimeoutError:
                return found, time.monotonic() - begun

    return await asyncio.to_thread(count)


@scene
async def test_the_rate_of_icmp_errors(stage: Stage) -> None:
    """So many at once, then so many in each second."""
    for rate in (RATE, 20, RATE):
        if rate == RATE:
            await stage.reload()
        else:
            answer = await change(stage, icmp_rate=rate)
            assert answer == [f'Setting "icmp_rate" to "{rate}"']
        await asyncio.sleep(1.1)  # until there is room again
        found, seconds = await unreachables(stage, rate)
        assert rate <= found <= rate * (1 + seconds)
    await change(stage, icmp_rate=0)
    assert (await unreachables(stage, 0))[0] == 0
    await stage.reload()


@scene
async def test_the_number_of_sessions(stage: Stage) -> None:
    first = await stage.log_in("user1")
    await change(stage, max_sessions=1)
    refused = stage.call("user2")
    assert (await soon(refused.down)).by == "CDN"
    await ping(first)
    await stage.reload()
    await ping(await stage.log_in("user2"))


@scene
async def test_what_radius_is_told_and_what_is_logged(stage: Stage) -> None:
    await change(stage, nas_identifier="another", debug=0)
    known = len(stage.site.log())
    await stage.log_in("user3")
    (start,) = stage.site.radius.records("Start", "user3")
    assert start["NAS-Identifier"] == "another"
    assert "user3" not in stage.site.log()[known:]
    await stage.reload()
    await stage.log_in("user4")
    (start,) = stage.site.radius.records("Start", "user4")
    assert start["NAS-Identifier"] != "another"
    assert "[user4] login" in stage.site.log()


@scene
async def test_the_next_session_has_it_and_those_that_are_up_do_not(stage: Stage) -> None:
    old = await stage.log_in("user5")
    (answer,) = await change(stage, duplicate_login="refuse")
    assert answer == 'Setting "duplicate_login" to "refuse" (acts with the next session)'
    (answer,) = await change(stage, primary_dns="198.51.100.53")
    assert answer == 'Setting "primary_dns" to "198.51.100.53" (acts with the next session)'
    new = await stage.log_in("user6")
    assert new.dns[0] == "198.51.100.53"
    assert old.dns != new.dns
    await down(stage.call("user5"), 3, 0, "User is logged in already")
    await ping(old)
    await stage.reload()


@scene
async def test_files_and_listeners_come_and_go(stage: Stage) -> None:
    directory = stage.site.directory / "usage"
    directory.mkdir()
    client = await stage.log_in("user7")
    await change(stage, dump_speed="yes", accounting_dir_interval=1, accounting_dir=directory)
    await change(stage, metrics_port=9729)
    await until(lambda: "UDP-ETH:" in stage.site.log(), "no bandwidth")
    await ping(client)  # who has used nothing is in no file
    await until(lambda: list(directory.iterdir()), "no usage")
    await until(lambda: "metrics on http://127.0.0.1:9729" in stage.site.log(), "no metrics")
    assert "l2tpns_sessions" in await asyncio.to_thread(fetch, stage)
    await stage.reload()
    await asyncio.sleep(1.2)
    files, lines = len(list(directory.iterdir())), stage.site.log().count("UDP-ETH:")
    await asyncio.sleep(2.2)
    assert len(list(directory.iterdir())) == files
    assert stage.site.log().count("UDP-ETH:") == lines
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(fetch, stage)


@scene
async def test_what_waits_for_a_restart_is_told_and_waits(stage: Stage) -> None:
    (answer,) = await change(stage, l2tp_port=1799)
    assert answer == 'Setting "l2tp_port" to "1799" (acts at the next restart)'
    stage.site.write_config(l2tp_port=1799, as_number=64_512)
    known = len(stage.site.log())
    await stage.reload()
    told = "l2tp_port has changed in the file, which acts at the next restart"
    await until(lambda: told in stage.site.log()[known:], "not told")
    assert "as_number has changed in the file" in stage.site.log()[known:]
    await stage.lac.open_tunnel(TunnelOptions())  # at the old port
    stage.site.remove_line("l2tp_port")
    stage.site.remove_line("as_number")
    known = len(stage.site.log())
    await stage.reload()
    await ping(await stage.log_in("user8"))
    assert told not in stage.site.log()[known:]


@scene
async def test_what_is_refused_is_told_and_changes_nothing(stage: Stage) -> None:
    before = stage.ask("show running-config")
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "l2tpns_core.cli.shell", "-s", str(stage.site.cli_socket)),
        *("-c", "configure terminal", "-c", "set icmp_rate -1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await soon(program.communicate())
    assert b'icmp_rate: "-1" is not valid: expected an integer from 0 to 1000000' in output
    assert program.returncode == 1
    assert stage.ask("show running-config") == before
