"""Daemons of which etcd says who is master, with subscribers."""

import asyncio
from pathlib import Path

import pytest

from l2tpns_core.lab import RadiusUser
from l2tpns_core.lab.cluster_site import ClusterSite
from support.failures import (
    ETCD,
    PASSWORD,
    Action,
    Cluster,
    kill_etcd,
    kill_master,
    running,
    start_all,
    start_etcd,
)

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.interop]

SESSIONS = 24
TENTHS = {"cluster_hb_interval": 3, "cluster_hb_timeout": 40}


async def hand_over(cluster: Cluster) -> None:
    master = await cluster.master()
    master.terminate()
    await master.wait_until_stopped()


async def without_etcd(cluster: Cluster) -> None:
    """All of etcd dies, and the master goes on."""
    before = await cluster.master()
    await kill_etcd(cluster)
    assert await cluster.master() is before
    report = await asyncio.to_thread(before.show, "show cluster")
    assert "master because all nodes let it" in report["backend_state"]


CASES: dict[str, tuple[Action, Action]] = {
    "kill -9 of the master": (kill_master, start_all),
    "the master is stopped": (hand_over, start_all),
    "all of etcd is killed": (without_etcd, start_etcd),
}


def test_no_session_is_lost_whatever_dies(tmp_path: Path) -> None:
    async def run() -> None:
        site = ClusterSite(tmp_path, {"user*": RadiusUser(PASSWORD)}, **ETCD, **TENTHS)
        async with running(site, SESSIONS, 4, 8, by_etcd=True) as cluster:
            master = await cluster.master()
            report = await asyncio.to_thread(master.show, "show cluster")
            assert (report["backend"], report["group"]) == ("etcd", "")
            assert "3 members" in report["backend_state"]
            for case, (fail, mend) in CASES.items():
                outcome = await cluster.play(case, fail, mend)
                assert not outcome.lost, outcome
            assert (await cluster.books()).are_right
        for node in site.nodes:
            assert "Traceback" not in node.log(), node.log()

    asyncio.run(run())
