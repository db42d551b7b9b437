"""The recorded life of a session: what happened to it, and when, for `why`.

Steps are kept packed, because there is a life for every session: some 200 octets for one that came
up without trouble (370 of memory, with what is around them), never more than MAX_OCTETS. Of a life
with more than fits, the first steps and the newest are kept.
"""

import enum
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_OCTETS: Final = 1024
FIRST_STEPS: Final = 8
"""Steps that stay however long the life gets: how the session came up."""
MAX_DETAIL: Final = 96
_HEAD: Final = struct.Struct("<dBB")


class Step(enum.IntEnum):
    """What can happen to a session. `detail` is told in brackets."""

    CALLED = 1
    """ICRQ (LAC, number of the caller, number that it called)."""
    CONNECTED = 2
    """ICCN (speeds in bit/s towards the subscriber and from it)."""
    LCP_UP = 3
    """LCP is Opened (MRU of the client)."""
    LOGIN = 4
    """Name and proof came, RADIUS is asked (protocol and name)."""
    ACCEPTED = 5
    REJECTED = 6
    """By RADIUS or a plugin (message)."""
    NO_ANSWER = 7
    """No RADIUS server answered."""
    REFUSED = 8
    """By us, without or against RADIUS (why)."""
    ADDRESS = 9
    """An address was given (address, where from)."""
    ONLINE = 10
    """IPCP is Opened: packets are forwarded."""
    OFFLINE = 11
    """IPCP left Opened (why)."""
    RENEGOTIATION = 12
    """The client began LCP anew."""
    ACCOUNTING = 13
    """RADIUS was told (Start, Stop)."""
    THROTTLED = 14
    """Limits were changed (kbit/s from the subscriber and towards it)."""
    GARDEN = 15
    """The session entered or left the walled garden (which)."""
    CLOSING = 16
    """Its end began, the client is told (why)."""
    ENDED = 17
    """It is over (why)."""
    LINE_BAD = 18
    """Many of the last LCP echoes were lost (how many, of how many)."""
    LINE_GOOD = 19
    """Hardly any is lost any more (the same)."""


class Happening(NamedTuple):
    """One step of a life."""

    at: float
    """Unix time."""
    step: Step
    detail: str


class Life:
    """The steps of one session."""

    __slots__ = ("_packed", "claimed", "lcp_up", "left_out")

    def __init__(self) -> None:
        self._packed = bytearray()
        self.claimed = ""
        """The name of the last login, let in or not."""
        self.lcp_up = False
        """LCP_UP has been noted for the negotiation that is under way."""
        self.left_out = 0
        """Steps that were dropped from the middle."""

    def add(self, at: float, step: Step, detail: str = "") -> None:
        """Note a step."""
        text = detail.encode("utf-8", "surrogateescape")[:MAX_DETAIL]
        self._packed += _HEAD.pack(at, step, len(text)) + text
        if len(self._packed) > MAX_OCTETS:
            self._shorten()

    def __iter__(self) -> Iterator[Happening]:
        packed, start = self._packed, 0
        while start < len(packed):
            at, step, length = _HEAD.unpack_from(packed, start)
            start += _HEAD.size
            text = packed[start : start + length].decode("utf-8", "replace")
            start += length
            yield Happening(at, Step(step), text)

    def _shorten(self) -> None:
        begin = 0
        for _ in range(FIRST_STEPS):
            begin = self._after(begin)
        end = begin
        while len(self._packed) - (end - begin) > MAX_OCTETS:
            end = self._after(end)
            self.left_out += 1
        del self._packed[begin:end]

    def _after(self, start: int) -> int:
        """Where the step behind the one at `start` begins."""
        return start + _HEAD.size + int(self._packed[start + _HEAD.size - 1])


class PastLife(NamedTuple):
    """A session that has ended."""

    user: str
    tunnel_id: int
    session_id: int
    accounting_id: str
    life: Life
