"""Putting numbered data messages back in order (RFC 2661 section 5.4).

What comes early waits for what is missing, for a short time and in a small window; what then is
still missing is given up, because PPP would rather lose a frame than see it out of order.
"""

from dataclasses import dataclass
from typing import Final

MODULUS: Final = 1 << 16
HALF: Final = 1 << 15
MASK: Final = MODULUS - 1
DEFAULT_WINDOW: Final = 64
DEFAULT_TIMEOUT_S: Final = 0.1


@dataclass(slots=True)
class SequencerCounters:
    """What became of the numbered messages of one session."""

    lost: int = 0
    """Numbers that were given up."""
    reordered: int = 0
    """Messages that came before their turn and were held."""
    duplicates: int = 0
    late: int = 0
    """Messages that came after they were given up; dropped."""
    resynchronised: int = 0
    """Times the peer's numbers had jumped back for good, so that we followed."""


class Sequencer:
    """The receiving side of one session's sequence numbers.

    It holds `window` messages at most. A number `window` or more ahead of what is awaited gives up
    as many missing ones as it takes.
    """

    __slots__ = (
        "_behind",
        "_deadline",
        "_expected",
        "_given_up",
        "_held",
        "_started",
        "_timeout_s",
        "_window",
        "counters",
    )

    def __init__(self, window: int = DEFAULT_WINDOW, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._window = window
        self._timeout_s = timeout_s
        self._expected = 0
        self._started = False
        self._held: dict[int, bytes] = {}
        self._given_up: dict[int, None] = {}
        self._behind = 0
        self._deadline: float | None = None
        self.counters = SequencerCounters()

    def receive(self, ns: int, payload: bytes, now: float) -> list[bytes]:
        """Take one message; return the payloads that can be passed on, in order."""
        ns &= MASK
        if not self._started:
            self._started = True
            if ns >= self._window:  # we did not see the beginning, which is at 0
                self._expected = ns
        ahead = ns - self._expected & MASK
        if ahead >= HALF:
            return self._receive_old(ns, payload)
        self._behind = 0
        if ahead == 0:
            self._expected = ns + 1 & MASK
            return [payload, *self._release(now)] if self._held else [payload]
        if ns in self._held:
            self.counters.duplicates += 1
            return []
        self.counters.reordered += 1
        released = self._make_room(ns) if ahead >= self._window else []
        self._held[ns] = payload
        released += self._release(now)
        if self._deadline is None and self._held:
            self._deadline = now + self._timeout_s
        return released

    def get_timer(self) -> float | None:
        """When handle_timer() has something to do; None while nothing is held."""
        return self._deadline

    def handle_timer(self, now: float) -> list[bytes]:
        """Give up what is missing before the first held message, if it is time to."""
        if self._deadline is None or now < self._deadline:
            return []
        self._deadline = None
        self._give_up(min(self._held, key=lambda ns: ns - self._expected & MASK))
        return self._release(now)

    def _receive_old(self, ns: int, payload: bytes) -> list[bytes]:
        """A number that was passed on or given up before, or a peer that counts anew."""
        self._behind += 1
        if self._behind >= self._window:
            self.counters.resynchronised += 1
            self._behind = 0
            self._held.clear()
            self._given_up.clear()
            self._deadline = None
            self._expected = ns + 1 & MASK
            return [payload]
        if ns in self._given_up:
            del self._given_up[ns]
            self.counters.late += 1
        else:
            self.counters.duplicates += 1
        return []

    def _make_room(self, ns: int) -> list[bytes]:
        """Move on until ns lies in the window."""
        target = ns - self._window + 1 & MASK
        released = []
        for held in sorted(self._held, key=lambda held: held - self._expected & MASK):
            if held - self._expected & MASK >= target - self._expected & MASK:
                break
            self._give_up(held)
            released.append(self._held.pop(held))
            self._expected = held + 1 & MASK
        self._give_up(target)
        return released

    def _give_up(self, target: int) -> None:
        """Count what is missing before target as lost, and wait for target next."""
        missing = target - self._expected & MASK
        self.counters.lost += missing
        for offset in range(max(0, missing - self._window), missing):
            self._given_up[self._expected + offset & MASK] = None
        while len(self._given_up) > self._window:
            del self._given_up[next(iter(self._given_up))]
        self._expected = target

    def _release(self, now: float) -> list[bytes]:
        """Pass on what is in order now; what stays gets its full time to be completed."""
        released = []
        while (payload := self._held.pop(self._expected, None)) is not None:
            released.append(payload)
            self._expected = self._expected + 1 & MASK
        if released:
            self._deadline = now + self._timeout_s if self._held else None
        return released
