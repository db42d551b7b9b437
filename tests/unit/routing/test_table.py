"""A peer comes to know what it is to know, whatever happens in between; what ExaBGP says."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.routing.answers import Acknowledged, PeerState, understood
from l2tpns_core.routing.table import PeerTable
from unit.routing.test_settings import settings_of

NETWORKS = [(0x0A000000 + (number << 8), 24) for number in range(4)]


class Speaker:
    """What an ExaBGP would announce after these commands."""

    def __init__(self) -> None:
        self.announced: set[str] = set()
        self.ends = 0

    def hear(self, commands: Iterator[str]) -> None:
        for command in commands:
            words = command.split()
            if words[2:4] == ["announce", "eor"]:
                self.ends += 1
            elif words[2] == "announce":
                self.announced.add(words[4])
            else:
                self.announced.discard(words[4])


def commands(table: PeerTable, limit: int = 1000) -> Iterator[str]:
    for _ in range(limit):
        command = table.next_command()
        if command is None:
            return
        yield command


def make() -> PeerTable:
    settings = settings_of()
    return PeerTable(settings, settings.peers[0])


def test_networks_come_and_go() -> None:
    table, speaker = make(), Speaker()
    table.add(NETWORKS[0])
    table.add(NETWORKS[1])
    speaker.hear(commands(table))
    assert speaker.announced == {"10.0.0.0/24", "10.0.1.0/24"}
    table.remove(NETWORKS[0])
    assert table.pending == 1
    speaker.hear(commands(table))
    assert speaker.announced == {"10.0.1.0/24"}
    assert (table.told, table.pending) == (1, 0)


def test_what_comes_and_goes_in_between_is_not_mentioned() -> None:
    table = make()
    table.add(NETWORKS[0])
    table.remove(NETWORKS[0])
    assert table.next_command() is None


def test_the_end_of_the_routes_comes_behind_them() -> None:
    table = make()
    table.add(NETWORKS[0])
    table.session_up()
    assert [command.split()[2:4] for command in commands(table)] == [
        ["announce", "route"],
        ["announce", "eor"],
    ]
    assert table.next_command() is None


class Router:
    """What a router knows by an ExaBGP that treats withdrawals as badly as the real one does: of
    what it was told while the session was being set up it sends all announcements, and no
    withdrawal."""

    def __init__(self) -> None:
        self.table = make()
        self.known: set[str] = set()
        self._is_up = False
        self._early: set[str] = set()

    def talk(self, limit: int = 100) -> None:
        for command in commands(self.table, limit):
            _, _, verb, kind, network, *_ = command.split()
            if kind == "eor":
                continue
            if verb == "announce":
                (self.known if self._is_up else self._early).add(network)
            elif self._is_up:
                self.known.discard(network)

    def come_up(self) -> None:
        self._is_up, self.known, self._early = True, self._early, set()
        self.table.session_up()

    def go_down(self) -> None:
        """It begins to connect again at once, and ExaBGP sends again what is announced."""
        self._is_up, self._early = False, self.known
        self.known = set()
        self.table.session_down()

    def start_over(self) -> None:
        self._is_up, self._early, self.known = False, set(), set()
        self.table.start_over()


def test_a_withdrawal_during_the_setup_of_a_session_is_not_lost() -> None:
    router = Router()
    router.table.add(NETWORKS[0])
    router.talk()
    router.table.change(wanted=False)
    router.talk()
    router.come_up()
    assert router.known == {"10.0.0.0/24"}, "as ExaBGP has it"
    router.talk()
    assert router.known == set()
    router.table.session_settled()
    router.talk()
    assert router.table.next_command() is None


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 3)),
        st.tuples(st.sampled_from(["want", "suspend"]), st.booleans()),
        st.tuples(st.sampled_from(["talk"]), st.integers(0, 3)),
        st.tuples(st.sampled_from(["start_over", "come_up", "settle", "go_down"]), st.just(0)),
    ),
    max_size=40,
)


@given(steps)
def test_in_the_end_it_announces_exactly_what_it_should(plan: list[tuple[str, int]]) -> None:
    router, wanted, is_up = Router(), set[int](), False
    table = router.table
    for what, number in plan:
        if what == "add":
            table.add(NETWORKS[number])
            wanted.add(number)
        elif what == "remove":
            table.remove(NETWORKS[number])
            wanted.discard(number)
        elif what == "want":
            table.change(wanted=bool(number))
        elif what == "suspend":
            table.change(suspended=bool(number))
        elif what == "talk":
            router.talk(number)
        elif what == "settle":
            if is_up:
                table.session_settled()
        elif (what == "come_up") is not is_up:
            getattr(router, what)()
            is_up = what == "come_up"
    if not is_up:
        router.come_up()
    router.talk()
    table.session_settled()
    router.talk()
    expected = {f"10.0.{number}.0/24" for number in wanted} if table.announces else set()
    assert router.known == expected
    assert table.told == len(expected)


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        (b"done\n", Acknowledged(True, "done")),
        (b"error\n", Acknowledged(False, "error")),
        (b'{"status": "ok"}\n', Acknowledged(True)),
        (b"hello\n", None),
        (b'{"type": "state"}\n', None),
        (b"{broken\n", None),
        (
            b'{"type":"state","neighbor":{"address":{"local":"1.1.1.1","peer":"2.2.2.2"},'
            b'"state":"down","reason":"peer closed"}}\n',
            PeerState("2.2.2.2", "down", "peer closed"),
        ),
    ],
)
def test_what_exabgp_says(line: bytes, meaning: object) -> None:
    assert understood(line) == meaning


@given(st.binary(max_size=200))
def test_whatever_it_says_nothing_breaks(line: bytes) -> None:
    understood(line)
