"""What subscribers notice when nodes of a cluster die, as a table: sessions lost, gaps in traffic,
accounting. Needs root, or user namespaces.

    python tests/bench/failures.py --sessions 3000

Three nodes, two LACs and a router that spreads over the nodes by flow, each in a namespace.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from l2tpns_core.lab import RadiusUser
from l2tpns_core.lab.cluster_site import ClusterSite
from l2tpns_core.lab.netns import become_lab_root
from support.failures import BGP, CASES, ETCD, ETCD_CASES, PASSWORD, Books, Outcome, running

HEAD = f"{'case':<34}{'lost':>6}{'longest gap':>13}{'p99':>9}{'settled':>10}{'back':>8}"
HEAD += f"{'unanswered':>20}"


def line_of(outcome: Outcome) -> str:
    unanswered = f"{outcome.unanswered} of {outcome.sent}"
    back = f"{outcome.back_s:.1f} s" if outcome.back_s else "-"
    return (
        f"{outcome.case:<34}{outcome.lost:>6}{outcome.gap_ms:>10} ms{outcome.gap_p99_ms:>6} ms"
        f"{outcome.settled_s:>8.1f} s{back:>8}{unanswered:>20}"
    )


def line_of_books(books: Books) -> str:
    return (
        f"accounting: {books.starts} sessions, {books.double_starts} double Starts, "
        f"{books.double_stops} double and {books.missing_stops} missing Stops; "
        f"{books.packets_accounted} packets to subscribers accounted, "
        f"{books.packets_passed} passed"
    )


def pool_for(sessions: int) -> str:
    """A network with an address for each."""
    return f"10.64.0.0/{min(32 - (sessions + 2).bit_length(), 19)}"


async def measure(options: argparse.Namespace) -> int:
    outcomes = []
    with tempfile.TemporaryDirectory() as directory:
        site = ClusterSite(
            Path(directory),
            {"user*": RadiusUser(PASSWORD)},
            radius=not options.freeradius,
            pool=pool_for(options.sessions),
            dataplane=options.plane,
            cluster_hb_interval=options.interval,
            cluster_hb_timeout=options.timeout,
            **(BGP if options.bgp else {}),
            **(ETCD if options.etcd else {}),
        )
        size = options.sessions, options.tunnels, options.probes
        async with running(
            site,
            *size,
            by_bgp=options.bgp,
            by_etcd=options.etcd,
            by_freeradius=options.freeradius,
        ) as cluster:
            if not options.json:
                print(f"{options.sessions} sessions are up\n{HEAD}", flush=True)
            for case in options.cases or (ETCD_CASES if options.etcd else CASES):
                outcome = await cluster.play(case, *ETCD_CASES[case])
                outcomes.append(outcome)
                if not options.json:
                    print(line_of(outcome), flush=True)
            books = await cluster.books()
            if options.keep_logs:
                for node in site.nodes:
                    (Path(options.keep_logs) / f"node{node.number}.log").write_text(node.log())
    if options.json:
        print(json.dumps({"cases": [asdict(each) for each in outcomes], "books": asdict(books)}))
    else:
        print(line_of_books(books))
    return int(any(outcome.lost for outcome in outcomes) or not books.are_right)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--sessions", type=int, default=3000)
    parser.add_argument("--tunnels", type=int, default=24)
    parser.add_argument("--probes", type=int, default=48)
    parser.add_argument("--plane", choices=("ebpf", "user"), default="ebpf")
    parser.add_argument("--bgp", action="store_true", help="routes by BGP, with BIRD 2")
    parser.add_argument("--etcd", action="store_true", help="the master by etcd, three members")
    parser.add_argument("--freeradius", action="store_true", help="instead of the lab's RADIUS")
    parser.add_argument("--interval", type=int, default=5, help="cluster_hb_interval, tenths")
    parser.add_argument("--timeout", type=int, default=30, help="cluster_hb_timeout, tenths")
    parser.add_argument("--case", dest="cases", action="append", choices=list(ETCD_CASES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep-logs", metavar="DIRECTORY", help="put the nodes' logs there")
    become_lab_root()
    return asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
