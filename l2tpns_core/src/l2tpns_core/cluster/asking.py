"""Commands of an operator at a slave that the master carries out, and its answers.

A request has a number of the slave's; an answer comes in parts, which the slave puts together. What
gets lost is not repeated, for a command must not be carried out twice: the operator is told.
"""

import zlib
from dataclasses import dataclass
from typing import Final

from l2tpns_core.cluster.errors import ClusterError, Refusal
from l2tpns_core.cluster.messages import MAX_BODY, Message

MAX_LINE_BYTES: Final = 4_096
MAX_ANSWER: Final = 16 << 20
"""Octets of an answer; what is beyond is cut off."""
MAX_PARTS: Final = 512
PART: Final = MAX_BODY - 1_000
MAX_OPEN: Final = 64
"""Requests that wait for their answers."""


@dataclass(frozen=True)
class Command(Message, kind=10):
    """A command for the master."""

    request: int
    line: bytes
    privileged: bool = False
    as_json: bool = False


@dataclass(frozen=True)
class Answer(Message, kind=11):
    """A part of what a command came to."""

    request: int
    number: int
    parts: int
    text: bytes
    failed: bool = False
    """The text is why it could not be carried out."""


@dataclass(frozen=True)
class Outcome:
    """What a command came to at the master."""

    request: int
    text: str
    failed: bool


def parts_of(request: int, text: str, *, failed: bool) -> list[Answer]:
    """An answer as messages."""
    packed = zlib.compress(text.encode()[:MAX_ANSWER], 1)
    parts = [packed[at : at + PART] for at in range(0, len(packed), PART)][:MAX_PARTS]
    return [Answer(request, number, len(parts), part, failed) for number, part in enumerate(parts)]


class Asking:
    """The requests of one slave."""

    def __init__(self) -> None:
        self._last = 0
        self._open: dict[int, dict[int, bytes]] = {}

    def ask(self, line: str, *, privileged: bool, as_json: bool) -> Command:
        """A new request. Raises ClusterError when too many wait, or for a line that is too long."""
        data = line.encode()
        if len(self._open) >= MAX_OPEN or len(data) > MAX_LINE_BYTES:
            raise ClusterError(Refusal.SIZE, "too many commands wait for the master")
        self._last += 1
        self._open[self._last] = {}
        return Command(self._last, data, privileged, as_json)

    def forget(self, request: int) -> None:
        """Nobody waits for it any more."""
        self._open.pop(request, None)

    def take(self, part: Answer) -> Outcome | None:
        """Put a part in its place; the outcome when all are here. Raises ClusterError."""
        found = self._open.get(part.request)
        if found is None:
            return None
        if not 0 < part.parts <= MAX_PARTS or part.number >= part.parts:
            raise ClusterError(Refusal.BODY, "an answer has wrong parts")
        found[part.number] = part.text
        if len(found) < part.parts:
            return None
        del self._open[part.request]
        text = _unpacked(b"".join(found[number] for number in range(part.parts)))
        return Outcome(part.request, text, part.failed)


def _unpacked(data: bytes) -> str:
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(data, MAX_ANSWER)
    except zlib.error:
        raise ClusterError(Refusal.BODY, "an answer cannot be unpacked") from None
    return text.decode(errors="replace")
