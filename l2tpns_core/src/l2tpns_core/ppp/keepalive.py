"""Silence on a link: when to ask whether the peer is there, and when to give it up."""

from collections.abc import Callable
from typing import Final

from l2tpns_core.ppp.config import LinkConfig
from l2tpns_core.ppp.quality import is_bad, recorded

JITTER_STEPS: Final = 1 << 16
IDLE_JITTER: Final = 0.25
"""Share of the echo interval by which the check of an idle line comes later, at most."""


def jitter(random: Callable[[int], bytes], span_s: float) -> float:
    """A random time in [0, span_s), so that what starts together does not stay together."""
    return int.from_bytes(random(2), "big") / JITTER_STEPS * span_s


class Keepalive:
    """Silence of one link. Traffic only notes a time: the timer does not move with every frame."""

    __slots__ = (
        "_dead_at",
        "_echo_at",
        "_echo_id",
        "_sent_at",
        "heard_at",
        "is_bad",
        "lost_at",
        "ring",
    )

    def __init__(self, config: LinkConfig, random: Callable[[int], bytes], now: float) -> None:
        self.heard_at = now
        """When the peer last sent anything."""
        self.ring = b""
        """What became of our last Echo-Requests (ppp.quality)."""
        self.lost_at = 0.0
        """When the newest of them that got no answer was given up."""
        self.is_bad = False
        """Whether so many of them are lost that the line counts as bad."""
        interval = config.echo_interval_s
        # The first round is spread over a whole interval, for links that open together.
        self._echo_at = now + interval + jitter(random, interval) if interval else None
        self._dead_at = now + config.dead_after_s if config.dead_after_s else None
        self._echo_id: int | None = None
        # As if there had been one: busy lines that open together are not asked together.
        self._sent_at = now - jitter(random, config.echo_busy_s)

    @property
    def timer_at(self) -> float | None:
        if self._echo_at is None or self._dead_at is None:
            return self._dead_at if self._echo_at is None else self._echo_at
        return min(self._echo_at, self._dead_at)

    def heard(self, at: float) -> None:
        """A frame of the peer came at that time."""
        self.heard_at = max(self.heard_at, at)

    def is_dead(self, config: LinkConfig, now: float) -> bool:
        """Whether the peer has been silent for too long; looks only when that is due."""
        if self._dead_at is None or now < self._dead_at:
            return False
        self._dead_at = self.heard_at + config.dead_after_s
        return now >= self._dead_at

    def is_echo_due(self, config: LinkConfig, random: Callable[[int], bytes], now: float) -> bool:
        """Whether to send an Echo-Request now; plans the next check if the time has come."""
        if self._echo_at is None or now < self._echo_at:
            return False
        interval = config.echo_interval_s
        if not config.echo_only_idle:
            self._echo_at = now + interval
            return True
        idle = now - self.heard_at >= interval
        last = now if idle else self.heard_at
        self._echo_at = last + interval + jitter(random, interval * IDLE_JITTER)
        return idle or 0 < config.echo_busy_s <= now - self._sent_at

    def echo_sent(self, identifier: int, now: float) -> None:
        """An Echo-Request goes out. The one before it is lost if it has no answer by now."""
        if self._echo_id is not None:
            self.ring, self.lost_at = recorded(self.ring, None), now
        self._echo_id = identifier
        self._sent_at = now

    def echo_answered(self, identifier: int, now: float) -> None:
        """An Echo-Reply came; one that answers nothing we wait for is of no interest."""
        if identifier == self._echo_id:
            self.ring = recorded(self.ring, now - self._sent_at)
            self._echo_id = None

    def has_changed(self) -> bool:
        """Whether the line has become bad, or good again, since this was last asked."""
        before, self.is_bad = self.is_bad, is_bad(self.ring, self.is_bad)
        return self.is_bad is not before
