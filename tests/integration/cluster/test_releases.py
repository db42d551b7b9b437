"""Nodes of neighbouring releases in one cluster, as real daemons: one after the other is upgraded,
and goes back."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.lab import RadiusUser
from l2tpns_core.lab.cluster_site import ClusterSite, Node
from support import next_release
from support.failures import PASSWORD, Cluster, running

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SESSIONS, TUNNELS = 24, 4
NEXT = (sys.executable, next_release.__file__)


async def become(cluster: Cluster, node: Node, program: Sequence[str]) -> None:
    """Stop a node, and start it as another release."""
    node.terminate()
    await node.wait_until_stopped()
    node.program = program
    await asyncio.to_thread(node.start)
    await asyncio.sleep(0.5)
    await cluster.master()


async def reports(cluster: Cluster) -> list[dict[str, Any]]:
    nodes = cluster.site.nodes
    return [await asyncio.to_thread(node.show, "show cluster") for node in nodes]


def test_nobody_is_lost_when_releases_change(tmp_path: Path) -> None:
    async def upgrade_and_go_back(cluster: Cluster) -> None:
        for program in (NEXT, Node.program):
            for node in cluster.site.nodes:
                master = await cluster.master()
                await become(cluster, node, program)
                if node is not master:  # let each release follow the other
                    await become(cluster, master, master.program)
                mixed.append({each.program for each in cluster.site.nodes})
                refused.extend(report["refused"] for report in await reports(cluster))

    async def story() -> None:
        async with running(site, SESSIONS, TUNNELS, SESSIONS) as cluster:
            outcome = await cluster.play("releases change", upgrade_and_go_back)
            assert outcome.lost == 0, outcome
            assert outcome.unanswered < outcome.sent // 100, outcome
            books = await cluster.books()
            assert books.are_right, books
            assert books.starts == SESSIONS

    site = ClusterSite(tmp_path, {"user*": RadiusUser(PASSWORD)})
    mixed: list[set[Sequence[str]]] = []
    refused: list[dict[str, int]] = []
    asyncio.run(story())
    assert [len(programs) for programs in mixed] == [2, 2, 1, 2, 2, 1]
    # What a node does not know it leaves out; nothing else is wrong with what it is told.
    assert {why for each in refused for why, count in each.items() if count} == {"kind"}
    for node in site.nodes:
        assert "Traceback" not in node.log(), node.log()
