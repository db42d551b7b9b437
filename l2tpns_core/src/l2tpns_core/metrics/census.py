"""The sessions counted by what they are, a slice at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from l2tpns_core.observe.histogram import Histogram
from l2tpns_core.ppp.quality import brief_of
from l2tpns_core.session import Session

SLICE: Final = 500
"""Sessions that are looked at before the loop may go on: less than a millisecond."""
ROUND_TRIP_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
LOSS_BOUNDS: Final = (0.0, 0.1, 0.25, 0.5, 0.75)


class Census(NamedTuple):
    """How many sessions there are of each kind."""

    states: Mapping[str, int]
    throttled: int
    gardened: int
    intercepted: int
    filtered: int
    round_trips: Histogram
    """The newest round trip of each line, in seconds."""
    losses: Histogram
    """The share of echoes that each line has lost of its last ones."""


async def count_sessions(sessions: Callable[[], list[Session]]) -> Census:
    """Count what is there now; sessions that come or go meanwhile may be missing."""
    states: Counter[str] = Counter()
    round_trips, losses = Histogram(ROUND_TRIP_BOUNDS_S), Histogram(LOSS_BOUNDS)
    throttled = gardened = intercepted = filtered = 0
    all_of_them = sessions()
    for start in range(0, len(all_of_them), SLICE):
        for session in all_of_them[start : start + SLICE]:
            states[session.state.value] += 1
            throttled += bool(session.throttle_in or session.throttle_out)
            gardened += session.walled_garden
            intercepted += bool(session.snoop_ip)
            filtered += bool(session.filter_in or session.filter_out)
            line = None if session.link is None else brief_of(session.link.echoes)
            if line is not None:
                losses.add(line[1])
                if line[0] is not None:
                    round_trips.add(line[0])
        await asyncio.sleep(0)
    return Census(states, throttled, gardened, intercepted, filtered, round_trips, losses)
