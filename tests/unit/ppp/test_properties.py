"""Whatever a peer sends and an owner calls, in any order: a link holds what it promises."""

import struct
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from l2tpns_core.ppp.automaton import TABLE, TIMED_STATES, Action, Input, State
from l2tpns_core.ppp.config import AuthProtocol
from l2tpns_core.ppp.events import Event, LinkClosed, LinkRestarted, NetworkClosed, NetworkOpened
from l2tpns_core.ppp.ipcp import Ipcp
from l2tpns_core.ppp.link import Link, Phase
from unit.ppp.wire import NETWORK, PAP, Client, events, make_link, parse

MAX_FRAMES_PER_CALL = 4

raw_frames = st.builds(
    lambda protocol, code, number, data: (
        struct.pack("!HHBBH", 0xFF03, protocol, code, number, 4 + len(data)) + data
    ),
    st.sampled_from([0xC021, 0x8021, 0xC023, 0xC223, 0x8057]),
    st.integers(0, 14),
    st.integers(0, 3),
    st.sampled_from(
        [b"", b"\x05\x06abcd", b"\x03\x06\x0a\x14\x01\x01", b"\x01u\x01p", b"\xc0\x21"]
    ),
)
calls = st.one_of(
    raw_frames,
    st.sampled_from(["accept", "reject", "network", "timer", "close", "open"]),
    st.sampled_from(["obey"] * 3),
)


def call(link: Link, what: str | bytes, now: float) -> None:
    if isinstance(what, bytes):
        link.receive(what, now)
    elif what == "accept":
        link.accept(now)
    elif what == "reject":
        link.reject(now)
    elif what == "network":
        link.open_network(NETWORK, now)
    elif what == "close":
        link.close(now)
    elif what == "open":
        link.open(now)
    else:
        link.handle_timer(now)


class Promises:
    """What must hold after every call."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.network_up = False
        self.closed = False
        self.sent: list[bytes] = []

    def hold(self) -> None:
        frames = self.link.frames_to_send()
        assert len(frames) <= MAX_FRAMES_PER_CALL
        for raw in frames:
            parse(raw)
        self.sent = frames
        for event in events(self.link):
            self._event(event)
        if self.network_up:
            assert self.link.phase is Phase.NETWORK
            assert self.link.ipcp_state is State.OPENED
        if self.link.phase in (Phase.AUTHENTICATE, Phase.NETWORK):
            assert self.link.lcp_state is State.OPENED

    def _event(self, event: Event) -> None:
        assert not self.closed
        if isinstance(event, NetworkOpened):
            assert not self.network_up
            self.network_up = True
        elif isinstance(event, NetworkClosed | LinkRestarted | LinkClosed):
            self.network_up = False
        self.closed = isinstance(event, LinkClosed)


@settings(max_examples=300, deadline=None)
@given(st.lists(calls, max_size=40), st.sampled_from(list(AuthProtocol)))
def test_a_link_keeps_its_promises(steps: list[str | bytes], method: AuthProtocol) -> None:
    link = make_link(auth=(method,), max_auth_failures=2, rechallenge_s=30.0)
    client = Client(methods=(method,))
    link.open(0.0)
    promises = Promises(link)
    promises.hold()
    client.start(0.0)
    for now, step in enumerate(steps):
        if step == "obey":  # the client does what it should, so that the walk gets somewhere
            for raw in promises.sent:
                client.receive(raw, float(now))
            frames, client.out = client.out, []
            for raw in frames:
                link.receive(raw, float(now))
                promises.hold()
        else:
            call(link, step, float(now))
            promises.hold()


@settings(max_examples=100, deadline=None)
@given(st.lists(calls, max_size=20))
def test_without_the_peer_every_link_comes_to_an_end(steps: list[str | bytes]) -> None:
    link = make_link()
    link.open(0.0)
    for second, step in enumerate(steps):
        call(link, step, float(second))
    now = float(len(steps))
    seen = events(link)
    fired = 0
    while (timer := link.get_timer()) is not None:
        fired += 1
        assert fired < 300
        assert timer > now or fired == 1
        now = max(now, timer)
        link.handle_timer(now)
        seen += events(link)
    assert [type(event) for event in seen].count(LinkClosed) == 1
    assert now < 60 + 240 + 60
    assert link.phase is Phase.DEAD


class RecordingHost:
    """A host that only notes what is sent."""

    def __init__(self) -> None:
        link = make_link()
        self.config = link.config
        self.random = link.random
        self.peer_mru = 1500
        self.codes: list[int] = []

    def send(self, protocol: int, packet: bytes) -> None:
        self.codes.append(packet[0])

    def take_reject_permit(self, now: float) -> bool:
        return True


@given(st.lists(st.sampled_from(list(Input)), max_size=60))
def test_the_restart_timer_runs_exactly_where_the_rfc_has_it(inputs: list[Input]) -> None:
    host = RecordingHost()
    ipcp = Ipcp(NETWORK)
    for now, event in enumerate(chain([Input.OPEN, Input.UP], inputs)):
        cell = TABLE.get((ipcp.state, event))
        layer = ipcp.step(host, event, float(now))
        assert (ipcp.timer_at is not None) == (ipcp.state in TIMED_STATES)
        if cell is not None:
            assert ipcp.state is cell[1]
            assert layer is None or layer in cell[0]
        else:
            assert layer is None


def test_layer_signals_are_the_first_four_actions() -> None:
    assert [action.name for action in list(Action)[:4]] == ["TLU", "TLD", "TLS", "TLF"]


def test_a_pap_frame_of_every_length_is_survived() -> None:
    whole = struct.pack("!HHBBH", 0xFF03, PAP, 1, 1, 14) + b"\x02u1\x06wonder"
    for end in range(len(whole)):
        link = make_link()
        link.open(0.0)
        link.receive(whole[:end], 0.0)
        assert events(link) == []
