"""A limit on how often something is done."""


class RateLimit:
    """A token bucket with room for one second: `per_second` at once, then that many a second."""

    __slots__ = ("_credit", "_filled_at", "per_second")

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._credit = float(per_second)
        self._filled_at: float | None = None

    def allow(self, now: float) -> bool:
        """Whether one more may go now (monotonic seconds); takes it from the bucket if so."""
        if self._filled_at is not None and now > self._filled_at:
            earned = (now - self._filled_at) * self.per_second
            self._credit = min(float(self.per_second), self._credit + earned)
        self._filled_at = now
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True
