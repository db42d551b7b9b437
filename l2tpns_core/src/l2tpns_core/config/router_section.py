"""The section of a startup-config that configures BGP, as later releases of the C program have it.

    router bgp 64512
     neighbour 192.0.2.1 remote-as 64513
     neighbour 192.0.2.1 timers 30 90
     neighbour 192.0.2.1 update-source 192.0.2.9

It is another way to write the directives as_number, bgp_peer1… and bgp_peer2…
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from l2tpns_core.config.errors import ConfigError, shown

NEIGHBOUR: Final = ("neighbour", "neighbor")
MAX_PEERS: Final = 2
MAX_DIGITS: Final = 5
EXPECTED: Final = (
    "router bgp AS, neighbour PEER remote-as AS, neighbour PEER timers KEEPALIVE HOLD, "
    "or neighbour PEER update-source ADDRESS"
)


@dataclass(slots=True, frozen=True)
class RouterStatement:
    """A line of such a section, in words."""

    line: int
    words: tuple[str, ...]


def is_router(words: Sequence[str]) -> bool:
    """Whether a line is of such a section."""
    first = words[0].lower() if words else ""
    return first in ("router", *NEIGHBOUR)


@dataclass(slots=True)
class RouterReader:
    """Tells which directives the lines of a file set."""

    peers: list[str] = field(default_factory=list)
    """Those that were named, in order."""

    def read(self, statement: RouterStatement) -> list[tuple[str, str]]:
        """The directives and their values. Raises ConfigError."""
        words = [word.lower() for word in statement.words]
        match words:
            case ["router", "bgp", asn]:
                return [("as_number", asn)]
            case [word, peer, "remote-as", asn] if word in NEIGHBOUR:
                name = self._name_of(peer, is_new=True)
                return [(name, peer), (f"{name}_as", asn)]
            case [word, peer, "timers", keepalive, hold] if word in NEIGHBOUR:
                _check_timers(keepalive, hold)
                return [(f"{self._name_of(peer)}_hold", hold)]
            case [word, peer, "update-source", address] if word in NEIGHBOUR:
                return [(f"{self._name_of(peer)}_source", address)]
        raise ConfigError(
            f"{shown(' '.join(statement.words[:2]))} cannot be used", expected=EXPECTED
        )

    def _name_of(self, peer: str, *, is_new: bool = False) -> str:
        if peer not in self.peers:
            if not is_new:
                raise ConfigError("Specify remote-as first", value=peer)
            if len(self.peers) == MAX_PEERS:
                raise ConfigError(f"Too many neighbours (max {MAX_PEERS})", value=peer)
            self.peers.append(peer)
        return f"bgp_peer{self.peers.index(peer) + 1}"


def said_by(statements: Iterable[RouterStatement]) -> dict[str, str]:
    """What the lines that can be used say of directives."""
    reader, said = RouterReader(), dict[str, str]()
    for statement in statements:
        try:
            said.update(reader.read(statement))
        except ConfigError:
            continue
    return said


def _check_timers(keepalive: str, hold: str) -> None:
    words = (keepalive, hold)
    if not all(word.isascii() and word.isdigit() and len(word) <= MAX_DIGITS for word in words):
        raise ConfigError(
            "timers are no numbers", value=f"{keepalive} {hold}", expected="seconds, two numbers"
        )
    if int(keepalive) * 3 > int(hold):
        raise ConfigError(
            "Invalid keepalive time",
            value=keepalive,
            expected="a third of the hold time at most, which is what is used",
        )
