"""What a rule of an access list says, and how it is written.

    permit|deny  any | host IP | IP [WILDCARD]                                      (standard)
    permit|deny  ip|tcp|udp  SOURCE [PORTS]  DESTINATION [PORTS]  [FLAGS] [fragments]  (extended)

Bits that are set in a wildcard are not compared.
"""

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

MAX_LISTS: Final = 64
MAX_RULES: Final = 64
MAX_NAME_CHARS: Final = 31
MAX_PORT: Final = 65_535
ALL_BITS: Final = 0xFFFFFFFF

TCP: Final = 6
UDP: Final = 17
ANY_PROTOCOL: Final = 0
PROTOCOLS: Final = {"ip": ANY_PROTOCOL, "tcp": TCP, "udp": UDP}
PROTOCOL_NAMES: Final = {number: name for name, number in PROTOCOLS.items()}

FLAGS: Final = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32}


class AccessListError(Exception):
    """What was written is no rule, or cannot be done; the text is for the operator."""


class Kind(enum.Enum):
    """What the rules of a list look at."""

    STANDARD = "standard"
    EXTENDED = "extended"


class PortTest(enum.Enum):
    """How a port is compared."""

    EQUAL = "eq"
    UNEQUAL = "neq"
    GREATER = "gt"
    LESS = "lt"
    RANGE = "range"


class FlagTest(enum.Enum):
    """How the flags of a TCP segment are compared."""

    ESTABLISHED = "established"
    ANY = "match-any"
    ALL = "match-all"


@dataclass(slots=True, frozen=True)
class Hosts:
    """The addresses that differ from one only where the wildcard has bits."""

    address: int = 0
    wildcard: int = ALL_BITS

    def __str__(self) -> str:
        if self.wildcard == ALL_BITS:
            return "any"
        if not self.wildcard:
            return f"host {IPv4Address(self.address)}"
        return f"{IPv4Address(self.address)} {IPv4Address(self.wildcard)}"


@dataclass(slots=True, frozen=True)
class Ports:
    """Some of all ports."""

    test: PortTest
    first: int
    last: int
    """The same as `first` unless it is a range."""

    @property
    def bounds(self) -> tuple[int, int]:
        """The first and the last port that the test is about."""
        if self.test is PortTest.GREATER:
            return self.first + 1, MAX_PORT
        if self.test is PortTest.LESS:
            return 0, self.first - 1
        return self.first, self.last

    @property
    def outside(self) -> bool:
        """Whether those ports are meant that are not within the bounds."""
        return self.test is PortTest.UNEQUAL

    def __str__(self) -> str:
        ports = f"{self.first} {self.last}" if self.test is PortTest.RANGE else str(self.first)
        return f"{self.test.value} {ports}"


@dataclass(slots=True, frozen=True)
class TcpFlags:
    """A test of the flags: what must be set, and what must be clear."""

    test: FlagTest
    set: int = 0
    clear: int = 0

    def __str__(self) -> str:
        if self.test is FlagTest.ESTABLISHED:
            return str(self.test.value)
        words = [f"+{name}" for name, bit in FLAGS.items() if self.set & bit]
        words += [f"-{name}" for name, bit in FLAGS.items() if self.clear & bit]
        return " ".join([self.test.value, *words])


@dataclass(slots=True, frozen=True)
class Rule:
    """One line of a list."""

    permit: bool
    source: Hosts
    destination: Hosts | None = None
    """None in a standard list."""
    protocol: int = ANY_PROTOCOL
    source_ports: Ports | None = None
    destination_ports: Ports | None = None
    flags: TcpFlags | None = None
    fragments: bool = False
    """Only for fragments other than the first."""

    @property
    def looks_inside(self) -> bool:
        """Whether it tests what later fragments do not have."""
        return bool(self.source_ports or self.destination_ports or self.flags)

    def __str__(self) -> str:
        words: list[object] = ["permit" if self.permit else "deny"]
        if self.destination is not None:
            words.append(PROTOCOL_NAMES[self.protocol])
        for part in (
            self.source,
            self.source_ports,
            self.destination,
            self.destination_ports,
            self.flags,
        ):
            if part is not None:
                words.append(part)
        if self.fragments:
            words.append("fragments")
        return " ".join(map(str, words))
