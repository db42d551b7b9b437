"""dial() against a scripted LNS, in virtual time, and its command line."""

import argparse
import asyncio
import json
from typing import Any

import pytest

from l2tpns_core.lab import DialOptions, DialSummary, Impairments, LabError, dial
from l2tpns_core.lab.dial import percentiles
from l2tpns_core.lab.dial_command import add_parser, options_from, render
from l2tpns_core.lab.main import main
from l2tpns_core.lab.transport import Clock
from unit.lab.scripted_lns import Manners, ScriptedLns
from unit.lab.virtual_loop import run


def dialled(manners: Manners | None = None, **options: Any) -> tuple[DialSummary, ScriptedLns]:
    """The summary of one dial(), and the LNS that was dialled."""

    async def body() -> tuple[DialSummary, ScriptedLns]:
        clock = Clock(asyncio.get_running_loop())
        lns = ScriptedLns(clock, manners)
        try:
            summary = await dial(DialOptions(lns_port=lns.port, **options))
        finally:
            lns.close()
            clock.close()
        return summary, lns

    return run(body())


def test_sessions_are_spread_over_tunnels_and_all_is_counted() -> None:
    summary, lns = dialled(
        tunnels=3, sessions=30, user="u%d", hold_s=5, ping="192.0.2.1", traffic=2, rate=100
    )
    assert summary.ok
    assert (summary.tunnels_up, summary.sessions_up, summary.sessions_failed) == (3, 30, 0)
    assert len(set(summary.addresses)) == 30
    assert summary.traffic_sent == summary.traffic_received == len(lns.packets)
    assert summary.traffic_sent == pytest.approx(30 * 5 * 2, rel=0.05)
    assert 80 <= summary.calls_per_second <= 120
    assert summary.icrq_to_address_s.keys() == {"p50", "p90", "p99", "max"}
    assert summary.results == {"CDN 1/0 subscriber hung up": 30}
    assert sorted({tunnel.stop_result for tunnel in lns.tunnels.values()}) == [(1, 0, "")]
    json.dumps(summary.as_dict())


@pytest.mark.parametrize("how", ["ppp", "call", "tunnel", "vanish"])
def test_every_way_to_hang_up_ends(how: str) -> None:
    summary, lns = dialled(sessions=3, hangup=how)
    assert summary.ok
    assert (lns.tunnel.stop_result is None) == (how == "vanish")


def test_a_refused_login_makes_the_summary_not_ok_and_says_why() -> None:
    manners = Manners(wrong_passwords=frozenset({b"pass2"}))
    summary, _ = dialled(manners, sessions=3, password="pass%d")
    assert not summary.ok
    assert (summary.sessions_up, summary.sessions_failed) == (2, 1)
    assert summary.failures == {"CDN 3/0 login refused, login refused": 1}
    assert summary.failed_calls[0].startswith("user2: ")


def test_a_call_without_an_answer_fails_after_the_setup_timeout() -> None:
    summary, _ = dialled(auth="chap", setup_timeout_s=4)  # the scripted LNS knows PAP only
    assert (summary.sessions_up, summary.sessions_failed) == (0, 1)
    assert "no address after 4 s" in next(iter(summary.failures))


def test_a_refused_tunnel_ends_the_run() -> None:
    summary, _ = dialled(Manners(refuse_tunnel=(2, "no")), sessions=5)
    assert (summary.tunnels_up, summary.sessions_up) == (0, 0)
    assert summary.tunnel_failures == ["StopCCN 2/0 no"]
    assert not summary.ok


def test_sessions_without_any_answer_are_silent() -> None:
    summary, _ = dialled(
        Manners(answer_pings=False), sessions=2, ping="192.0.2.1", traffic=1, hold_s=2
    )
    assert summary.sessions_silent == 2
    assert not summary.ok


def test_violations_and_double_addresses_make_the_summary_not_ok() -> None:
    summary, _ = dialled(Manners(same_address=True), sessions=3, hold_s=1)
    assert summary.duplicate_addresses == 2
    assert summary.violations == 2
    [kind] = summary.violation_kinds
    assert kind == "address # is also the one of #/#"
    assert not summary.ok


def test_a_bad_line_is_no_obstacle() -> None:
    bad = Impairments(loss=10, duplicate=10, reorder=10)
    summary, _ = dialled(
        Manners(retransmit_s=0.3),
        tunnels=2,
        sessions=60,
        impairments=bad,
        retransmit_s=0.3,
        setup_timeout_s=120,
    )
    assert summary.ok
    assert summary.sessions_up == 60
    assert summary.counters["datagrams"]["impaired_lost"] > 0


def test_percentiles_are_of_the_sorted_values() -> None:
    assert percentiles([]) == {}
    values = [number / 1000 for number in range(100, -1, -1)]
    assert percentiles(values) == {"p50": 0.05, "p90": 0.09, "p99": 0.099, "max": 0.1}


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["dial", *argv])


def test_the_command_line_becomes_options() -> None:
    options = options_from(
        parsed(
            *("--lns", "192.0.2.1:1702", "--bind", "192.0.2.2", "--rate", "7.5"),
            *("--tunnels", "4", "--sessions", "20", "--ping", "192.0.2.9", "--hold", "3"),
            *("--loss", "5", "--impair", "all", "--hangup", "vanish"),
        )
    )
    assert (options.lns, options.lns_port, options.bind) == ("192.0.2.1", 1702, "192.0.2.2")
    assert (options.tunnels, options.sessions, options.rate) == (4, 20, 7.5)
    assert (options.ping, options.traffic, options.hangup) == ("192.0.2.9", 1.0, "vanish")
    assert options.impairments == Impairments(loss=5, control=True, data=True)


@pytest.mark.parametrize(
    "argv", ["--hidden-avps", "--traffic 5", "--traffic-total 5", "--ping 192.0.2.1"]
)
def test_combinations_without_sense_are_refused(argv: str) -> None:
    with pytest.raises(LabError, match="needs"):
        options_from(parsed(*argv.split()))


@pytest.mark.parametrize(
    "argv",
    ["--lns x", "--lns 1.2.3.4:99999", "--sessions 0", "--loss 101", "--rate -1", "--size 9"],
)
def test_wrong_values_end_with_status_2(argv: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["dial", *argv.split()])
    assert stop.value.code == 2
    assert "error: argument" in capsys.readouterr().err


def test_an_address_that_is_not_ours_ends_with_status_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["dial", "--bind", "192.0.2.77", "--quiet"]) == 2
    assert "no UDP socket on 192.0.2.77" in capsys.readouterr().err


def test_people_read_the_same_facts() -> None:
    summary, _ = dialled(sessions=4, hold_s=2, ping="192.0.2.1", traffic=1)
    text = render(summary)
    assert "sessions   4 of 4 came up, 0 failed, 0 lost" in text
    assert "10.0.1.2, 10.0.1.3, 10.0.1.4, … (4 in all)" in text
    assert "4 x CDN 1/0 subscriber hung up" in text
    assert text.endswith("as asked")
