"""Who has a destination that several sessions claim: the last that came, then the one before."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Destination = TypeVar("Destination", bound=Hashable)


class Claims(Generic[Destination]):
    """The slots that claim each destination, in the order in which they came."""

    def __init__(self) -> None:
        self._owners: dict[Destination, int] = {}
        self._waiting: dict[Destination, dict[int, None]] = {}
        """All claims where there are several, so that one claim costs one entry of a dict."""

    def __len__(self) -> int:
        return len(self._owners)

    def add(self, destination: Destination, slot: int) -> None:
        """A slot claims a destination and has it from now on."""
        owner = self._owners.get(destination)
        if owner is not None and owner != slot:
            self._waiting.setdefault(destination, {owner: None}).pop(slot, None)
            self._waiting[destination][slot] = None
        self._owners[destination] = slot

    def remove(self, destination: Destination, slot: int) -> int | None:
        """A slot gives its claim up; return who has the destination now, None for nobody."""
        waiting = self._waiting.get(destination)
        if waiting is None:
            if self._owners.get(destination) == slot:
                del self._owners[destination]
            return self._owners.get(destination)
        waiting.pop(slot, None)
        owner = next(reversed(waiting))
        self._owners[destination] = owner
        if len(waiting) == 1:
            del self._waiting[destination]
        return owner
