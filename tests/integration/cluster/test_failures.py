"""The table of failures (tests/bench/failures.py), scaled down: nobody is lost, and every account
is right, whatever dies."""

import asyncio
from pathlib import Path

import pytest

from l2tpns_core.lab import RadiusUser
from l2tpns_core.lab.cluster_site import ClusterSite
from support.failures import BGP, CASES, PASSWORD, Outcome, running

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SESSIONS, TUNNELS, PROBES = 60, 6, 12


@pytest.mark.parametrize("by_bgp", [False, True], ids=["by hand", "bgp"])
def test_nobody_is_lost_and_the_books_are_right(tmp_path: Path, *, by_bgp: bool) -> None:
    async def story() -> None:
        site = ClusterSite(tmp_path, {"user*": RadiusUser(PASSWORD)}, **(BGP if by_bgp else {}))
        async with running(site, SESSIONS, TUNNELS, PROBES, by_bgp=by_bgp) as cluster:
            outcomes: list[Outcome] = []
            for case, (fail, mend) in CASES.items():
                outcomes.append(await cluster.play(case, fail, mend))
            lost = {outcome.case: outcome.lost for outcome in outcomes if outcome.lost}
            assert not lost, outcomes
            assert all(outcome.unanswered < outcome.sent for outcome in outcomes), outcomes
            books = await cluster.books()
            assert books.are_right, books
            assert books.starts == SESSIONS
            assert books.packets_accounted <= books.packets_passed + sum(
                outcome.unanswered for outcome in outcomes
            )
        for node in site.nodes:
            assert "Traceback" not in node.log(), node.log()

    asyncio.run(story())
