"""What the LNS did against the rules, gathered by a LAC."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

MAX_KEPT: Final = 200  # violations kept word for word; all are counted
MAX_KINDS: Final = 1000
_NUMBERS: Final = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+(\.\d+)*")


@dataclass(slots=True, frozen=True)
class Violation:
    at: float
    """Monotonic seconds."""
    where: str
    """Tunnel and session, by our ids."""
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(slots=True)
class Violations:
    """The first ones word for word, all of them by kind (their text without its numbers)."""

    count: int = 0
    kept: list[Violation] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, at: float, where: str, text: str) -> None:
        self.count += 1
        if len(self.kept) < MAX_KEPT:
            self.kept.append(Violation(at, where, text))
        kind = _NUMBERS.sub("#", text)
        if kind in self.kinds or len(self.kinds) < MAX_KINDS:
            self.kinds[kind] += 1

    def __len__(self) -> int:
        return self.count

    def __str__(self) -> str:
        """For a failing test: every kept violation on a line."""
        return "\n".join(map(str, self.kept)) or "none"
