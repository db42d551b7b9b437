"""Commands about the daemon as a whole (manual, "uptime", "show counters")."""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from l2tpns_core.cli.answer import Answer, Message, Report
from l2tpns_core.cli.grammar import Call, CommandSet
from l2tpns_core.observe.counters import Traffic, TrafficTotals, speed_line

COMMANDS = CommandSet()
MIN_WIDTH = 10
NAME_WIDTH = 30
SECRET = "snoop"
"""In the name of a counter: only privileged operators see it."""


@COMMANDS.command("show version", "Show currently running software version")
def show_version(call: Call) -> Answer:
    version = call.context.version
    return Report(lambda: [f"L2TPNS {version}"], lambda: {"name": "l2tpns", "version": version})


@COMMANDS.command("show counters", "Display all the internal counters and running totals")
def show_counters(call: Call) -> Answer:
    board = call.context.counters
    traffic, reset_time = board.traffic(), board.reset_time
    groups = board.values()
    if not call.access.privileged:
        groups = {name: _without_secrets(values) for name, values in groups.items()}

    def lines() -> Iterator[str]:
        yield from _traffic_lines(traffic)
        for group, values in groups.items():
            yield ""
            yield f"{f'Counter ({group})':<{NAME_WIDTH}}{'Value':<{MIN_WIDTH}}"
            yield "-" * (NAME_WIDTH + MIN_WIDTH + 1)
            for name, value in values.items():
                yield f"{name:<{NAME_WIDTH}}{value}"
        yield ""
        yield f"Last counter reset {time.ctime(reset_time)}"

    def data() -> dict[str, object]:
        return {
            "ethernet": traffic.ethernet._asdict(),
            "tunnel": traffic.tunnel._asdict(),
            "counters": groups,
            "reset_time": reset_time,
        }

    return Report(lines, data)


@COMMANDS.command("clear counters", "Clear internal counters", privileged=True)
def clear_counters(call: Call) -> Answer:
    call.context.counters.clear()
    return Message(["Counters cleared"])


@COMMANDS.command("uptime", "Show uptime and bandwidth utilisation")
def uptime(call: Call) -> Answer:
    context = call.context
    wall = context.lns.wall()
    up = max(0.0, wall - context.started_time)
    users, rates, load = len(context.lns.sessions), context.bandwidth(), os.getloadavg()

    def lines() -> Iterator[str]:
        clock = time.strftime("%H:%M:%S", time.localtime(wall))
        averages = ", ".join(f"{value:.2f}" for value in load)
        yield f"{clock} up {duration(int(up))}, {users} users, load average: {averages}"
        yield f"Bandwidth: {speed_line(rates)}"

    def data() -> dict[str, object]:
        return {
            "time": wall,
            "uptime_s": up,
            "users": users,
            "load_average": list(load),
            "bandwidth": {**asdict(rates), "total_bps": rates.total_bps},
        }

    return Report(lines, data)


def _without_secrets(values: Mapping[str, int]) -> dict[str, int]:
    """Counters without those that tell that somebody is intercepted."""
    return {name: value for name, value in values.items() if SECRET not in name}


def duration(seconds: int) -> str:
    """A time span as in the original: `40 secs`, `12 mins`, `3:07`, `8 days, 3:07`."""
    days, rest = divmod(seconds, 86_400)
    hours, minutes = rest // 3600, rest % 3600 // 60
    parts = [_plural(days, "day")] if days else []
    if hours:
        parts.append(f"{hours}:{minutes:02}")
    elif minutes:
        parts.append(_plural(minutes, "min"))
    elif not days:
        parts.append(_plural(rest, "sec"))
    return ", ".join(parts)


def _plural(count: int, unit: str) -> str:
    return f"{count} {unit}" + ("" if count == 1 else "s")


def _traffic_lines(traffic: TrafficTotals) -> Iterator[str]:
    sides = (
        ("Ethernet", traffic.ethernet, ("Errors", "Dropped"), _ethernet_tail(traffic.ethernet)),
        ("Tunnel", traffic.tunnel, ("Errors", "Retries"), _tunnel_tail(traffic.tunnel)),
    )
    largest = max(*traffic.ethernet, *traffic.tunnel)
    width = max(MIN_WIDTH, len(str(largest)))
    for index, (title, side, heads, (rx_tail, tx_tail)) in enumerate(sides):
        if index:
            yield ""
        rows = (
            (title, "Bytes", "Packets", *heads),
            ("RX", side.rx_bytes, side.rx_packets, *rx_tail),
            ("TX", side.tx_bytes, side.tx_packets, *tx_tail),
        )
        for name, *values in rows:
            yield f"{name:<10} " + " ".join(f"{value:>{width}}" for value in values)


def _ethernet_tail(side: Traffic) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (side.rx_errors, side.rx_dropped), (side.tx_errors,)


def _tunnel_tail(side: Traffic) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (side.rx_errors,), (side.tx_errors, side.tx_retries)
