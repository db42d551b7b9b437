"""The sessions counted by what they are, a slice at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from l2tpns_core.session import Session

SLICE: Final = 500
"""Sessions that are looked at before the loop may go on: less than a millisecond."""


class Census(NamedTuple):
    """How many sessions there are of each kind."""

    states: Mapping[str, int]
    throttled: int
    gardened: int
    intercepted: int
    filtered: int


async def count_sessions(sessions: Callable[[], list[Session]]) -> Census:
    """Count what is there now; sessions that come or go meanwhile may be missing."""
    states: Counter[str] = Counter()
    throttled = gardened = intercepted = filtered = 0
    all_of_them = sessions()
    for start in range(0, len(all_of_them), SLICE):
        for session in all_of_them[start : start + SLICE]:
            states[session.state.value] += 1
            throttled += bool(session.throttle_in or session.throttle_out)
            gardened += session.walled_garden
            intercepted += bool(session.snoop_ip)
            filtered += bool(session.filter_in or session.filter_out)
        await asyncio.sleep(0)
    return Census(states, throttled, gardened, intercepted, filtered)
