"""Two thousand subscribers over four tunnels, on a good line and on a bad one."""

import asyncio
from pathlib import Path

import pytest

from l2tpns_core.lab import Impairments, RadiusUser, dial
from support.site import HOST_ADDRESS, Site

pytestmark = [pytest.mark.daemon, pytest.mark.netns, pytest.mark.slow]

SESSIONS = 2000
TUNNELS = 4
MAX_BYTES_PER_SESSION = 8192
USERS = {"user*": RadiusUser("password")}


def run(tmp_path: Path, hold_s: float, impairments: Impairments, **options: object) -> Site:
    async def scene() -> Site:
        with Site(tmp_path, USERS, echo_timeout=10) as site:
            before = site.resident_bytes()
            dialling = asyncio.create_task(
                dial(
                    site.dial_options(
                        tunnels=TUNNELS,
                        sessions=SESSIONS,
                        source_ports=True,
                        hold_s=hold_s,
                        echo_interval_s=20,
                        ping=HOST_ADDRESS,
                        impairments=impairments,
                        **options,
                    ),
                    print,
                )
            )
            peak = before
            while not dialling.done():
                await asyncio.sleep(0.5)
                peak = max(peak, site.resident_bytes())
            summary = dialling.result()
            print(summary.as_dict() | {"addresses": len(summary.addresses)})
            print(f"{(peak - before) / SESSIONS:.0f} bytes of RSS per session")
            print(f"{site.cpu_seconds():.1f} s of processor time in the daemon")
            assert summary.ok, summary.as_dict() | {"addresses": []}
            assert len(set(summary.addresses)) == SESSIONS
            assert (peak - before) / SESSIONS < MAX_BYTES_PER_SESSION
            await wait_for_stops(site)
            starts = [record["Acct-Session-Id"] for record in site.radius.records("Start")]
            stops = [record["Acct-Session-Id"] for record in site.radius.records("Stop")]
            assert len(set(starts)) == SESSIONS
            assert sorted(stops) == sorted(starts)
            assert site.daemon.poll() is None
            assert "Traceback" not in site.log()
            return site

    return asyncio.run(scene())


async def wait_for_stops(site: Site) -> None:
    for _ in range(200):
        if len(site.radius.records("Stop")) >= SESSIONS:
            return
        await asyncio.sleep(0.1)


def test_two_thousand_subscribers_come_up_stay_and_leave(tmp_path: Path) -> None:
    run(tmp_path, 60, Impairments(), traffic_total=400)


def test_two_thousand_subscribers_over_a_bad_control_channel(tmp_path: Path) -> None:
    """Each loss stalls a tunnel for a retransmission time, so setting up takes its time."""
    run(
        tmp_path,
        60,
        Impairments(loss=10, duplicate=10, reorder=10),
        traffic_total=400,
        retransmit_s=0.3,
        max_pending=64,
        setup_timeout_s=120,
    )
