"""What it costs to raise an event, with 0, 1 and 3 plugins that listen.

    python tests/bench/bench_chain.py [--json]

Nanoseconds for each event as the LNS raises it, its argument built anew each time where somebody
listens; the best of several rounds, so that what else the machine does counts little.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from l2tpns_core.plugins import (
    ParamKillSession,
    ParamPacketRx,
    ParamPreAuth,
    ParamTimer,
    hookimpl,
)
from l2tpns_core.plugins.manager import PluginManager

EVENTS_IN_A_ROUND = 20_000
ROUNDS = 9
COUNTS = (0, 1, 3)
NOBODY: Any = None


class Listener:
    """Does nothing, at every event that is measured."""

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> None:
        pass

    @hookimpl
    def packet_rx(self, param: ParamPacketRx) -> None:
        pass

    @hookimpl
    def timer(self, param: ParamTimer) -> None:
        pass

    @hookimpl
    def kill_session(self, param: ParamKillSession) -> None:
        pass


def pre_auth(plugins: PluginManager) -> None:
    """As lns.login does it: the argument is only built for somebody."""
    if plugins.listens("pre_auth"):
        plugins.pre_auth(
            ParamPreAuth(
                t=1, s=1, session=NOBODY, username="alice", password=b"pw", protocol=0xC023
            )
        )


def packet_rx(plugins: PluginManager) -> None:
    """As Lns.packet_rx does it, which nobody calls while nobody listens."""
    if plugins.listens("packet_rx"):
        plugins.packet_rx(ParamPacketRx(t=1, s=1, session=NOBODY, buf=b"packet", len=6))


def timer(plugins: PluginManager) -> None:
    if plugins.listens("timer"):
        plugins.timer(ParamTimer(time_now=1))


def kill_session(plugins: PluginManager) -> None:
    """The one that is raised whether somebody listens or not."""
    plugins.kill_session(ParamKillSession(t=1, s=1, session=NOBODY))


RAISED: dict[str, Callable[[PluginManager], None]] = {
    "pre_auth": pre_auth,
    "packet_rx": packet_rx,
    "timer": timer,
    "kill_session": kill_session,
}


def measure(raise_event: Callable[[PluginManager], None], listeners: int) -> float:
    """Nanoseconds for one event."""
    plugins = PluginManager()
    for number in range(listeners):
        plugins.register(f"listener{number}", Listener())
    best = float("inf")
    for _ in range(ROUNDS):
        started_at = time.perf_counter_ns()
        for _ in range(EVENTS_IN_A_ROUND):
            raise_event(plugins)
        best = min(best, (time.perf_counter_ns() - started_at) / EVENTS_IN_A_ROUND)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to raise an event")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    logging.disable()
    results = {
        event: {count: measure(raise_event, count) for count in COUNTS}
        for event, raise_event in RAISED.items()
    }
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'ns for an event':<16}" + "".join(f"{f'{count} plugins':>12}" for count in COUNTS))
    for event, costs in results.items():
        print(f"{event:<16}" + "".join(f"{cost:>12.0f}" for cost in costs.values()))


if __name__ == "__main__":
    main()
