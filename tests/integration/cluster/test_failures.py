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


@pytest.mark.parametrize("real", [False, True], ids=["lab", "bird and freeradius"])
def test_nobody_is_lost_and_the_books_are_right(tmp_path: Path, *, real: bool) -> None:
    """With the lab's own router and RADIUS server, and with those that nobody here wrote."""

    async def story() -> None:
        users = {} if real else {"user*": RadiusUser(PASSWORD)}
        site = ClusterSite(tmp_path, users, radius=not real, **(BGP if real else {}))
        size = SESSIONS, TUNNELS, PROBES
        async with running(site, *size, by_bgp=real, by_freeradius=real) as cluster:
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
