"""The kernel goes on forwarding when the interface to the LAC is another."""

from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from integration.daemon.stage import Stage, ping, scene, until
from l2tpns_core.lab import veth
from support.site import LAC_ADDRESS, LNS_ADDRESS

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage"), dataplane="ebpf") as made:
        yield made


def remove(name: str) -> None:
    with IPRoute() as kernel:
        kernel.link("del", index=kernel.link_lookup(ifname=name)[0])


@scene
async def test_a_new_interface_is_attached_to(stage: Stage) -> None:
    site = stage.site
    client = await stage.log_in("user-one")
    await until(lambda: interfaces(stage) == ["lac"], "not attached")
    await ping(client)
    site.lns.call(remove, "lac")
    veth(site.lac, "eth1", f"{LAC_ADDRESS}/24", site.lns, "other", f"{LNS_ADDRESS}/24")
    site.lns.finish_packets("other")
    await until(lambda: interfaces(stage) == ["other"], "not attached to the new one")
    before = stage.ask("show dataplane")
    await ping(client, once=True)
    after = stage.ask("show dataplane")
    for way in ("up", "down"):
        assert after["kernel"]["hits"][way] == before["kernel"]["hits"][way] + 1
    assert after["process"] == before["process"]
    assert after["kernel"]["lacs"] == {LAC_ADDRESS: "other"}


def interfaces(stage: Stage) -> list[str]:
    return list(stage.ask("show dataplane")["kernel"]["interfaces"])
