"""Rules and names of access lists from their words, with the sentences of the original."""

import re
from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from l2tpns_core.access_lists.rules import (
    FLAGS,
    MAX_NAME_CHARS,
    MAX_PORT,
    PROTOCOLS,
    TCP,
    AccessListError,
    FlagTest,
    Hosts,
    Kind,
    Ports,
    PortTest,
    Rule,
    TcpFlags,
)

NAME: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME_CHARS}}}")
NUMBER: Final = re.compile(r"[0-9]{1,5}")
MAX_RULE_WORDS: Final = 32
MAX_SHOWN: Final = 40
ACTIONS: Final = {"permit": True, "deny": False}
PORT_TESTS: Final = {test.value: test for test in PortTest}
FLAG_TESTS: Final = {test.value: test for test in FlagTest}
FRAGMENTS: Final = "fragments"


def parse_name(word: str) -> str:
    """The name of a list. Raises AccessListError."""
    if not NAME.fullmatch(word):
        raise AccessListError(
            f"{_shown(word)} is no name of an access-list "
            f"(1 to {MAX_NAME_CHARS} letters, digits, - and _)"
        )
    return word


def parse_kind(word: str) -> Kind:
    """`standard` or `extended`. Raises AccessListError."""
    try:
        return Kind(word.lower())
    except ValueError:
        raise AccessListError("Specify a filter type: standard or extended") from None


def parse_rule(kind: Kind, words: Sequence[str]) -> Rule:
    """A rule from its words, `permit` or `deny` first. Raises AccessListError."""
    if len(words) > MAX_RULE_WORDS:
        raise AccessListError(f"A rule has at most {MAX_RULE_WORDS} words")
    action = ACTIONS.get(words[0].lower()) if words else None
    if action is None:
        raise AccessListError("A rule begins with permit or deny")
    reader = _Reader(words[1:])
    rule = _standard(action, reader) if kind is Kind.STANDARD else _extended(action, reader)
    if reader.left:
        raise AccessListError(f"Invalid argument {_shown(reader.next())}")
    return rule


class _Reader:
    """The words that are left."""

    __slots__ = ("_at", "_words")

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._words) - self._at

    def peek(self) -> str:
        """The next word in small letters, "" at the end."""
        return self._words[self._at].lower() if self.left else ""

    def next(self, missing: str = "Incomplete command") -> str:
        if not self.left:
            raise AccessListError(missing)
        self._at += 1
        return self._words[self._at - 1]


def _standard(action: bool, reader: _Reader) -> Rule:
    missing = "Specify source ip address and wildcard"
    if reader.peek() in ("any", "host") or reader.left == 2:
        source = _hosts(reader, missing)
    else:
        source = Hosts(_address(reader.next(missing)), 0)
    if reader.left:
        raise AccessListError(missing)
    return Rule(action, source)


def _extended(action: bool, reader: _Reader) -> Rule:
    word = reader.next("Specify protocol: ip, tcp or udp")
    protocol = PROTOCOLS.get(word.lower())
    if protocol is None:
        raise AccessListError(f"Invalid protocol {_shown(word)} (ip, tcp or udp)")
    source = _hosts(reader, "Specify source ip address and wildcard")
    source_ports = _ports(reader) if protocol else None
    destination = _hosts(reader, "Specify destination ip address and wildcard")
    destination_ports = _ports(reader) if protocol else None
    flags = _flags(reader) if protocol == TCP else None
    fragments = reader.peek() == FRAGMENTS
    if fragments:
        reader.next()
        if source_ports or destination_ports or flags:
            raise AccessListError('Can\'t specify "fragments" on rules with layer 4 matches')
    return Rule(
        action, source, destination, protocol, source_ports, destination_ports, flags, fragments
    )


def _hosts(reader: _Reader, missing: str) -> Hosts:
    word = reader.peek()
    if word == "any":
        reader.next()
        return Hosts()
    if word == "host":
        reader.next()
        return Hosts(_address(reader.next("Specify host ip address")), 0)
    address, wildcard = _address(reader.next(missing)), _address(reader.next(missing))
    return Hosts(address & ~wildcard, wildcard)


def _address(word: str) -> int:
    try:
        return int(IPv4Address(word))
    except AddressValueError:
        raise AccessListError(f'Cannot parse IP "{_plain(word)}"') from None


def _ports(reader: _Reader) -> Ports | None:
    test = PORT_TESTS.get(reader.peek())
    if test is None:
        return None
    reader.next()
    first = last = _port(reader)
    if test is PortTest.RANGE:
        last = _port(reader)
        if last < first:
            raise AccessListError(f"Invalid port range {first} {last}")
    return Ports(test, first, last)


def _port(reader: _Reader) -> int:
    word = reader.next("Specify a port number")
    if not NUMBER.fullmatch(word) or not 1 <= int(word) <= MAX_PORT:
        raise AccessListError(f"Invalid port {_shown(word)} (1 to {MAX_PORT})")
    return int(word)


def _flags(reader: _Reader) -> TcpFlags | None:
    test = FLAG_TESTS.get(reader.peek())
    if test is None:
        return None
    reader.next()
    if test is FlagTest.ESTABLISHED:
        return TcpFlags(test)
    wanted = {"+": 0, "-": 0}
    while reader.peek()[:1] in ("+", "-"):
        word = reader.next().lower()
        bit = FLAGS.get(word[1:])
        if bit is None:
            raise AccessListError(f"Invalid tcp flag {_shown(word)}")
        wanted[word[0]] |= bit
    if not any(wanted.values()):
        raise AccessListError(f"Specify tcp flags after {test.value}, as in +syn -ack")
    return TcpFlags(test, wanted["+"], wanted["-"])


def _shown(word: str) -> str:
    return f'"{_plain(word)}"'


def _plain(word: str) -> str:
    return word[:MAX_SHOWN].encode("unicode_escape").decode()
