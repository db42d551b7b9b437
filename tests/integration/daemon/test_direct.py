"""Packets of subscribers pass by the IP stack while nobody there would look at them."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import Stage, ping, scene, until
from integration.garden.place import install_tools

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

CHAIN = """add table ip operators
add chain ip operators forward { type filter hook forward priority 0; }
add rule ip operators forward icmp type echo-request counter
"""
PINGS = 5


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage"), dataplane="ebpf") as made:
        yield made


@pytest.fixture(scope="module")
def nft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tools = tmp_path_factory.mktemp("tools")
    install_tools(tools)
    return tools / "nft"


def kernel(stage: Stage) -> dict[str, object]:
    found: dict[str, object] = stage.ask("show dataplane")["kernel"]
    return found


@scene
async def test_a_firewall_rule_sees_every_packet_from_the_moment_it_is_there(
    stage: Stage, nft: Path
) -> None:
    client = await stage.log_in("user-one")
    await until(lambda: kernel(stage)["interfaces"], "not attached")
    await until(lambda: kernel(stage)["direct"], "packets do not pass by the stack")
    await ping(client)
    before = kernel(stage)["past_the_stack"]
    for _ in range(PINGS):
        await ping(client, once=True)
    assert kernel(stage)["past_the_stack"] == {
        way: count + PINGS
        for way, count in before.items()  # type: ignore[attr-defined]
    }
    (stage.site.directory / "rules").write_text(CHAIN)
    stage.site.lns.run([str(nft), "-f", str(stage.site.directory / "rules")])
    await until(lambda: not kernel(stage)["direct"], "a firewall rule is not noticed")
    assert kernel(stage)["obstacle"] == "nftables has the chain forward in the table operators"
    for _ in range(PINGS):
        await ping(client, once=True)
    assert "packets 5 " in stage.site.lns.run([str(nft), "list", "ruleset"]).stdout
    stage.site.lns.run([str(nft), "delete", "table", "ip", "operators"])
    await until(lambda: kernel(stage)["direct"], "that the rule is gone is not noticed")


@scene
async def test_a_capture_on_the_tun_device_sees_packets(stage: Stage) -> None:
    client = await stage.log_in("user-two")
    await until(lambda: kernel(stage)["direct"], "packets do not pass by the stack")
    device = stage.ask("show dataplane")["device"]
    capture = stage.site.lns.call(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    capture.bind((device, 3))
    capture.settimeout(1)
    await until(lambda: not kernel(stage)["direct"], "a capture is not noticed")
    await ping(client, once=True)
    assert capture.recv(2000)[9] == socket.IPPROTO_ICMP
    capture.close()
    await until(lambda: kernel(stage)["direct"], "that the capture ended is not noticed")


def test_bpf_direct_keeps_all_packets_on_the_stack(tmp_path: Path) -> None:
    with Stage(tmp_path, dataplane="ebpf", bpf_direct="no") as stage:
        found = kernel(stage)
    assert (found["direct"], found["obstacle"]) == (False, "bpf_direct says so")
