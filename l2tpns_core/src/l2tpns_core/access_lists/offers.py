"""What may come next while a rule is being typed, for `?` and Tab."""

from collections.abc import Sequence
from typing import Final

from l2tpns_core.access_lists.rules import FLAGS, PROTOCOLS, FlagTest, Kind, PortTest

Offer = tuple[str, str]
"""A word, or a placeholder in angle brackets, and what it means."""

ADDRESS: Final = (("<ip>", "IP address"),)
WILDCARD: Final = (("<wildcard>", "Bits that are not compared"),)
PROTOCOL_OFFERS: Final = (
    ("ip", "Any protocol"),
    ("tcp", "TCP, with ports and flags"),
    ("udp", "UDP, with ports"),
)
PORT: Final = (("<port>", "Port number, 1 to 65535"),)
PORT_OFFERS: Final = (
    ("eq", "This port"),
    ("neq", "Any other port"),
    ("gt", "Greater ports"),
    ("lt", "Lower ports"),
    ("range", "From one port to another"),
)
FLAG_OFFERS: Final = (
    ("established", "ACK or RST, and no SYN"),
    ("match-any", "One of the flags that follow"),
    ("match-all", "All of the flags that follow"),
)
SIGNS: Final = (("+", "The flag is set"), ("-", "The flag is clear"))
FRAGMENTS: Final[tuple[Offer, ...]] = (("fragments", "Fragments other than the first"),)
PORT_TESTS: Final = frozenset(test.value for test in PortTest)
FLAG_TESTS: Final = frozenset((FlagTest.ANY.value, FlagTest.ALL.value))


def next_words(kind: Kind, given: Sequence[str]) -> tuple[Offer, ...]:
    """What may follow these words behind `permit` or `deny`; nothing when the rule is complete, or
    none. Whether they are a rule only parse_rule() knows."""
    walk = _Walk(given)
    try:
        if kind is Kind.STANDARD:
            _hosts(walk, walk.step(*_hosts_of("source")))
        else:
            _extended(walk)
    except _Reached as reached:
        return reached.offers
    return ()


class _Reached(Exception):  # noqa: N818 - the end of what is typed is no error
    """The words are at an end here."""

    def __init__(self, offers: tuple[Offer, ...]) -> None:
        self.offers = offers


class _Walk:
    """The words, one after the other."""

    __slots__ = ("_left",)

    def __init__(self, words: Sequence[str]) -> None:
        self._left = [word.lower() for word in reversed(words)]

    def step(self, *offers: Offer) -> str:
        """The next word, which is one of these. Raises _Reached."""
        if not self._left:
            raise _Reached(offers)
        return self._left.pop()


def _extended(walk: _Walk) -> None:
    protocol = walk.step(*PROTOCOL_OFFERS)
    ports = PORT_OFFERS if PROTOCOLS.get(protocol) else ()
    _hosts(walk, walk.step(*_hosts_of("source")))
    word = walk.step(*ports, *_hosts_of("destination"))
    fragments = FRAGMENTS
    if _ports(walk, word):
        fragments = ()
        word = walk.step(*_hosts_of("destination"))
    _hosts(walk, word)
    flags = FLAG_OFFERS if protocol == "tcp" else ()
    word = walk.step(*ports, *flags, *fragments)
    if _ports(walk, word):
        word = walk.step(*flags)
    if word in FLAG_TESTS:
        while True:
            walk.step(*((f"{sign}{name}", what) for sign, what in SIGNS for name in FLAGS))


def _hosts_of(end: str) -> tuple[Offer, ...]:
    return (
        ("any", f"Any {end}"),
        ("host", f"A single {end}"),
        ("<ip>", f"Address of the {end}, and a wildcard"),
    )


def _hosts(walk: _Walk, word: str) -> None:
    if word == "host":
        walk.step(*ADDRESS)
    elif word != "any":
        walk.step(*WILDCARD)


def _ports(walk: _Walk, word: str) -> bool:
    if word not in PORT_TESTS:
        return False
    walk.step(*PORT)
    if word == PortTest.RANGE.value:
        walk.step(*PORT)
    return True
