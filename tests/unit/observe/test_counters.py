"""Counters, their zero, and the bandwidth line."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.observe.counters import (
    Bandwidth,
    BandwidthMeter,
    CounterBoard,
    Traffic,
    TrafficTotals,
    counters_of,
    speed_line,
)


@dataclass(slots=True)
class Counters:
    seen: int = 3
    name: str = "x"
    lost: int = 4


def totals(up_rx: int, up_tx: int, down_rx: int, down_tx: int, packets: int = 0) -> TrafficTotals:
    return TrafficTotals(
        ethernet=Traffic(rx_bytes=down_rx, tx_bytes=up_tx, rx_packets=packets),
        tunnel=Traffic(rx_bytes=up_rx, tx_bytes=down_tx, rx_packets=2 * packets),
    )


def test_meter_gives_rates_since_the_last_call() -> None:
    meter = BandwidthMeter()
    assert meter.update(totals(0, 0, 0, 0), 100.0) == Bandwidth()
    rates = meter.update(totals(1000, 900, 500, 600, 10), 102.0)
    assert rates == Bandwidth(4000, 3600, 2000, 2400, 10, 5)
    assert rates.total_bps == 12_000
    assert meter.update(totals(1000, 900, 500, 600, 10), 103.0) == Bandwidth()


def test_meter_keeps_its_rates_when_no_time_has_passed() -> None:
    meter = BandwidthMeter()
    meter.update(totals(0, 0, 0, 0), 1.0)
    rates = meter.update(totals(8, 0, 0, 0), 2.0)
    assert meter.update(totals(800, 0, 0, 0), 2.0) == rates
    assert meter.update(totals(16, 0, 0, 0), 3.0).up_received_bps == 64


def test_speed_line_is_that_of_the_original() -> None:
    assert speed_line(Bandwidth()) == "UDP-ETH:0/0  ETH-UDP:0/0  TOTAL:0.0   IN:0 OUT:0"
    assert speed_line(Bandwidth(6.2e6, 5.9e6, 13.1e6, 12.6e6, 3033.4, 2569)) == (
        "UDP-ETH:6/6  ETH-UDP:13/13  TOTAL:37.8   IN:3033 OUT:2569"
    )


def test_counters_of_takes_the_integers() -> None:
    assert counters_of(Counters()) == {"seen": 3, "lost": 4}


@given(st.lists(st.integers(0, 10**15), min_size=8, max_size=8), st.integers(0, 10**15))
def test_board_counts_from_its_last_clearing(values: list[int], seen: int) -> None:
    state = {"traffic": TrafficTotals(Traffic(*values), Traffic()), "now": 5.0}
    counters = Counters(seen=seen)
    board = CounterBoard(
        lambda: state["traffic"],  # type: ignore[arg-type, return-value]
        {"lns": lambda: counters_of(counters)},
        lambda: state["now"],  # type: ignore[arg-type, return-value]
    )
    assert board.traffic().ethernet == Traffic(*values)
    assert board.values() == {"lns": {"seen": seen, "lost": 4}}
    state["now"] = 9.0
    board.clear()
    assert board.reset_time == 9.0
    assert board.traffic() == TrafficTotals()
    counters.seen += 2
    assert board.values() == {"lns": {"seen": 2, "lost": 0}}
