"""Echoes and silence."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.ppp.events import CloseReason, LineChanged, LinkClosed
from l2tpns_core.ppp.link import Link, LinkConfig
from l2tpns_core.ppp.quality import BAD_FROM, ECHOES, LineQuality
from unit.ppp.wire import (
    ECHO_REPLY,
    ECHO_REQUEST,
    LCP,
    TERM_REQUEST,
    Sent,
    events,
    frame,
    log_in,
    make_link,
    open_ipcp,
    sent,
)

PEER_MAGIC = b"\x01\x02\x03\x04"


def echo_times(link: Link, until: float, *, heard_every: float = 0.0) -> list[float]:
    """When the link asks for an echo; each is answered, and traffic passes all the while."""
    times = []
    now = 0.0
    while (timer := link.get_timer()) is not None and timer <= until:
        now = timer
        if heard_every:
            link.heard(now - now % heard_every)
        link.handle_timer(now)
        for request in sent(link):
            assert request.code == ECHO_REQUEST
            times.append(now)
            link.receive(frame(LCP, ECHO_REPLY, request.identifier, PEER_MAGIC), now)
    return times


def test_an_idle_line_is_asked_after_every_interval_of_silence() -> None:
    link = make_link(echo_interval_s=10.0)
    open_ipcp(link)
    times = echo_times(link, 1000.0)
    assert 10.0 <= times[0] < 20.0
    assert all(10.0 <= later - earlier < 12.5 for earlier, later in pairwise(times))


def test_a_busy_line_is_not_asked() -> None:
    link = make_link(echo_interval_s=10.0)
    open_ipcp(link)
    assert echo_times(link, 1000.0, heard_every=5.0) == []


def test_a_busy_line_is_asked_when_that_is_wanted() -> None:
    link = make_link(echo_interval_s=10.0, echo_only_idle=False)
    open_ipcp(link)
    times = echo_times(link, 1000.0, heard_every=1.0)
    assert [later - earlier for earlier, later in pairwise(times)] == pytest.approx([10.0] * 98)


@pytest.mark.parametrize("echo_only_idle", [True, False])
def test_links_that_open_together_do_not_echo_together(echo_only_idle: bool) -> None:
    source = random.Random(5)
    config = LinkConfig("lns", echo_only_idle=echo_only_idle)
    counts = [0] * 60
    for _ in range(300):
        link = Link(config, source.randbytes)
        log_in(link)
        for at in echo_times(link, 59.9):
            counts[int(at)] += 1
    expected = 300 / (11.25 if echo_only_idle else 10.0)
    assert counts[:10] == [0] * 10
    assert max(counts) < 2.2 * expected


def test_no_echo_is_sent_when_there_is_no_interval() -> None:
    link = make_link(echo_interval_s=0.0, dead_after_s=0.0)
    open_ipcp(link)
    assert link.get_timer() is None


@pytest.mark.parametrize("echo_interval_s", [0.0, 10.0])
def test_a_peer_that_is_silent_for_too_long_is_lost(echo_interval_s: float) -> None:
    link = make_link(echo_interval_s=echo_interval_s, dead_after_s=100.0)
    open_ipcp(link)
    bad = LineChanged(bad=True, lost=BAD_FROM, echoes=BAD_FROM)
    found = []
    while (timer := link.get_timer()) is not None and timer < 100.0:
        link.handle_timer(timer)
        found += events(link)
    assert found == ([bad] if echo_interval_s else [])
    sent(link)
    link.handle_timer(100.0)
    assert [s.code for s in sent(link)] == [TERM_REQUEST]
    assert events(link) == [LinkClosed(CloseReason.LOST, "no frame from the peer")]
    link.handle_timer(103.0)
    link.handle_timer(106.0)
    assert (events(link), link.get_timer()) == ([], None)


def test_traffic_that_the_link_does_not_see_keeps_it_alive() -> None:
    link = make_link(echo_interval_s=0.0, dead_after_s=100.0)
    open_ipcp(link)
    link.heard(70.0)
    link.heard(60.0)
    assert link.heard_at == 70.0
    link.handle_timer(100.0)
    assert events(link) == []
    assert link.get_timer() == 170.0


def test_the_round_trip_of_an_echo_is_measured() -> None:
    link = make_link()
    open_ipcp(link)
    assert link.quality is None
    at = link.get_timer()
    assert at is not None
    link.handle_timer(at)
    (request,) = sent(link)
    assert request.data == link.magic.to_bytes(4, "big")
    link.receive(frame(LCP, ECHO_REPLY, request.identifier + 1, PEER_MAGIC), at + 0.25)
    assert link.quality is None
    link.receive(frame(LCP, ECHO_REPLY, request.identifier, PEER_MAGIC), at + 0.5)
    link.receive(frame(LCP, ECHO_REPLY, request.identifier, PEER_MAGIC), at + 9.0)
    assert link.quality == LineQuality(1, 0, 0.5, 0.5, 0.5, 0.5, None, 0.0)


def test_an_echo_without_an_answer_is_lost_when_the_next_one_goes_out() -> None:
    link = make_link()
    open_ipcp(link)
    requests = []
    for _ in range(3):
        at = link.get_timer()
        assert at is not None
        link.handle_timer(at)
        requests += sent(link)
    link.receive(frame(LCP, ECHO_REPLY, requests[1].identifier, PEER_MAGIC), at + 0.1)  # too late
    link.receive(frame(LCP, ECHO_REPLY, requests[2].identifier, PEER_MAGIC), at + 0.2)
    quality = link.quality
    assert quality is not None
    assert (quality.echoes, quality.lost, quality.lost_at) == (3, 2, at)
    assert quality.last_s == pytest.approx(0.2)
    assert quality.loss == pytest.approx(2 / 3)


@pytest.mark.parametrize(("busy_s", "echoes"), [(120.0, 4), (0.0, 0)])
def test_busy_lines_are_asked_now_and_then(busy_s: float, echoes: int) -> None:
    link = make_link(echo_busy_s=busy_s, dead_after_s=0.0)
    open_ipcp(link)
    found = 0
    for second in range(500):
        link.heard(float(second))
        at = link.get_timer()
        if at is not None and at <= second:
            link.handle_timer(float(second))
        for request in sent(link):
            assert request.code == ECHO_REQUEST
            found += 1
            link.receive(frame(LCP, ECHO_REPLY, request.identifier, PEER_MAGIC), second + 0.01)
    assert found == pytest.approx(echoes, abs=1 if echoes else 0)


def ask(link: Link) -> tuple[int, float]:
    """Let the next Echo-Request go out: its identifier, and when."""
    requests: list[Sent] = []
    while not requests:
        at = link.get_timer()
        assert at is not None
        link.handle_timer(at)
        requests = sent(link)
    (request,) = requests
    assert request.code == ECHO_REQUEST
    return request.identifier, at


@pytest.mark.parametrize(
    ("agreed", "magic", "counts"),
    [
        (True, PEER_MAGIC, True),
        (True, bytes(4), True),
        (True, b"\x01\x02\x03\x05", False),
        (True, PEER_MAGIC[:3], False),
        (True, b"", False),
        (True, None, False),  # ours
        (False, bytes(4), True),
        (False, PEER_MAGIC, True),
        (False, None, False),
    ],
)
def test_an_answer_counts_by_its_magic_number(
    agreed: bool, magic: bytes | None, counts: bool
) -> None:
    link = make_link(dead_after_s=0.0)
    open_ipcp(link, 0.0, *([(5, PEER_MAGIC)] if agreed else []))
    assert link.peer_magic == (int.from_bytes(PEER_MAGIC, "big") if agreed else 0)
    identifier, at = ask(link)
    answer = link.magic.to_bytes(4, "big") if magic is None else magic
    link.receive(frame(LCP, ECHO_REPLY, identifier, answer), at + 0.1)
    assert (link.quality is not None) is counts
    link.receive(frame(LCP, ECHO_REPLY, identifier, PEER_MAGIC), at + 0.2)
    assert link.quality is not None
    assert link.quality.last_s == pytest.approx(0.1 if counts else 0.2)


@given(st.lists(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=4), max_size=40))
def test_only_the_first_right_answer_to_the_newest_request_counts(
    rounds: list[list[tuple[int, bool]]],
) -> None:
    """Each round is a request, and answers to requests before, with and after it, of which some
    have the magic number of a stranger."""
    link = make_link(dead_after_s=0.0)
    open_ipcp(link, 0.0, (5, PEER_MAGIC))
    expected: list[float | None] = []
    for answers in rounds:
        identifier, at = ask(link)
        outcome = None
        for number, (offset, is_right) in enumerate(answers, 1):
            magic = PEER_MAGIC if is_right else b"evil"
            after = number * 0.1
            link.receive(frame(LCP, ECHO_REPLY, (identifier + offset) % 256, magic), at + after)
            if outcome is None and offset == 0 and is_right:
                outcome = after
        expected.append(outcome)
    if expected and expected[-1] is None:
        expected.pop()  # nobody knows yet
    last = expected[-ECHOES:]
    quality = link.quality
    if not last:
        assert quality is None
        return
    answered = [each for each in last if each is not None]
    assert quality is not None
    assert (quality.echoes, quality.lost) == (len(last), last.count(None))
    assert quality.last_s == (pytest.approx(answered[-1]) if answered else None)
    assert quality.most_s == (pytest.approx(max(answered)) if answered else None)


def test_busy_lines_that_open_together_are_not_asked_together() -> None:
    source = random.Random(5)
    config = LinkConfig("lns", echo_busy_s=120.0)
    counts = [0] * 36
    for _ in range(360):
        link = Link(config, source.randbytes)
        log_in(link)
        for at in echo_times(link, 359.9, heard_every=1.0):
            counts[int(at) // 10] += 1
    assert sum(counts) == pytest.approx(2 * 360 + 360 * 0.85, rel=0.1)
    assert max(counts) < 2.2 * sum(counts) / len(counts)


def test_a_line_is_told_bad_and_good_again_and_no_more() -> None:
    link = make_link(dead_after_s=0.0)
    open_ipcp(link)
    found = []
    for number in range(4 * ECHOES):
        identifier, at = ask(link)
        if number not in (20, 22, 24, 26, 28):
            link.receive(frame(LCP, ECHO_REPLY, identifier, PEER_MAGIC), at + 0.01)
        found += [(number, event) for event in events(link)]
    # A loss is known at the next request, which is answered; five are in the ring until 20 leaves.
    assert found == [
        (27, LineChanged(bad=True, lost=4, echoes=ECHOES)),
        (42, LineChanged(bad=False, lost=1, echoes=ECHOES)),
    ]
