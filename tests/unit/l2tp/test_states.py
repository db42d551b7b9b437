"""Every state with every message, against tables written here from RFC 2661 sections 7.2 and 7.4.

Each entry says what the LAC is told (message, result code) and what becomes of the tunnel or call.
"""

import pytest

from l2tpns_core.l2tp.call import Call
from l2tpns_core.l2tp.codes import SESSION_MESSAGES, MessageType
from l2tpns_core.l2tp.events import (
    CallClosed,
    CallConnected,
    CallErrorsReported,
    CallRequested,
    Event,
    LinkInfoReceived,
    TunnelClosed,
    TunnelOpened,
)
from l2tpns_core.l2tp.states import (
    CALL_TABLE,
    TUNNEL_TABLE,
    CallAction,
    CallState,
    TunnelAction,
    TunnelState,
)
from unit.l2tp.wire import (
    ALL_MESSAGES,
    CDN,
    HELLO,
    ICCN,
    ICRP,
    ICRQ,
    OCCN,
    OCRP,
    OCRQ,
    SCCCN,
    SCCRP,
    SCCRQ,
    SLI,
    STOPCCN,
    WEN,
    Bench,
    avp,
    body_of,
    cdn,
    iccn,
    icrq,
    sccrq,
    stopccn,
    u16,
    u32,
)

BODIES = {
    SCCRQ: sccrq(),
    SCCRP: body_of(SCCRP, avp(2, b"\1\0"), avp(3, u32(3)), avp(7, b"x"), avp(9, u16(5))),
    SCCCN: body_of(SCCCN),
    STOPCCN: stopccn(),
    HELLO: body_of(HELLO),
    OCRQ: body_of(OCRQ, avp(14, u16(99))),
    OCRP: body_of(OCRP, avp(14, u16(99))),
    OCCN: body_of(OCCN),
    ICRQ: icrq(99),
    ICRP: body_of(ICRP, avp(14, u16(99))),
    ICCN: iccn(),
    CDN: cdn(99),
    WEN: body_of(WEN, avp(34, bytes(26))),
    SLI: body_of(SLI, avp(35, bytes(2) + u32(1) + u32(2))),
}

STOP_7 = (STOPCCN, 7)
CDN_2 = (CDN, 2)
Answer = tuple[int, int] | None
TunnelOutcome = tuple[Answer, TunnelState, type[Event] | None]
CallOutcome = tuple[Answer, CallState, type[Event] | None]

VIOLATION: TunnelOutcome = (STOP_7, TunnelState.CLOSING, TunnelClosed)

WAITING: dict[int, TunnelOutcome] = {
    **dict.fromkeys(ALL_MESSAGES, VIOLATION),
    SCCCN: (None, TunnelState.ESTABLISHED, TunnelOpened),
    STOPCCN: (None, TunnelState.CLOSING, TunnelClosed),
    HELLO: (None, TunnelState.WAIT_CTL_CONN, None),
}
UP: dict[int, TunnelOutcome] = {
    **dict.fromkeys(ALL_MESSAGES, (None, TunnelState.ESTABLISHED, None)),
    SCCRQ: VIOLATION,
    SCCRP: VIOLATION,
    SCCCN: VIOLATION,
    STOPCCN: (None, TunnelState.CLOSING, TunnelClosed),
    ICRQ: (None, TunnelState.ESTABLISHED, CallRequested),
    OCRQ: ((CDN, 5), TunnelState.ESTABLISHED, None),
    ICRP: (CDN_2, TunnelState.ESTABLISHED, None),
    OCRP: (CDN_2, TunnelState.ESTABLISHED, None),
}
OVER: dict[int, TunnelOutcome] = dict.fromkeys(ALL_MESSAGES, (None, TunnelState.CLOSING, None))


def tunnel_in(state: TunnelState) -> Bench:
    bench = Bench()
    bench.send(BODIES[SCCRQ])
    if state is not TunnelState.WAIT_CTL_CONN:
        bench.send(BODIES[SCCCN])
    if state is TunnelState.CLOSING:
        bench.open_tunnel.close(1, 0, "", bench.now)
        bench.take()
    bench.wait(0.2)
    bench.acknowledge()
    assert bench.open_tunnel.state is state
    bench.take_events()
    return bench


@pytest.mark.parametrize("kind", ALL_MESSAGES)
@pytest.mark.parametrize(
    ("state", "outcomes"),
    [
        (TunnelState.WAIT_CTL_CONN, WAITING),
        (TunnelState.ESTABLISHED, UP),
        (TunnelState.CLOSING, OVER),
    ],
)
def test_message_in_a_tunnel(
    state: TunnelState, outcomes: dict[int, TunnelOutcome], kind: int
) -> None:
    bench = tunnel_in(state)
    answer, after, event = outcomes[kind]
    packets = bench.send(BODIES[kind]) + bench.wait(0.2)
    answers = [(p.kind, p.result[0]) for p in packets if p.kind]
    assert answers == ([answer] if answer else [])
    assert bench.open_tunnel.state is after
    assert [type(e) for e in bench.events] == ([event] if event else [])
    assert packets[-1].nr == bench.ns, "every message is acknowledged"


REFUSED: CallOutcome = (CDN_2, CallState.CLOSED, CallClosed)
WAIT_CONNECT: dict[int, CallOutcome] = {
    **dict.fromkeys(map(int, SESSION_MESSAGES), REFUSED),
    ICCN: (None, CallState.ESTABLISHED, CallConnected),
    CDN: (None, CallState.CLOSED, CallClosed),
    WEN: (None, CallState.WAIT_CONNECT, None),
    SLI: (None, CallState.WAIT_CONNECT, None),
}
CONNECTED: dict[int, CallOutcome] = {
    **dict.fromkeys(map(int, SESSION_MESSAGES), REFUSED),
    CDN: (None, CallState.CLOSED, CallClosed),
    WEN: (None, CallState.ESTABLISHED, CallErrorsReported),
    SLI: (None, CallState.ESTABLISHED, LinkInfoReceived),
}
GONE: dict[int, CallOutcome] = {
    **dict.fromkeys(map(int, SESSION_MESSAGES), (None, CallState.CLOSED, None)),
    ICRQ: (None, CallState.CLOSED, CallRequested),
    OCRQ: ((CDN, 5), CallState.CLOSED, None),
    ICRP: (CDN_2, CallState.CLOSED, None),
    OCRP: (CDN_2, CallState.CLOSED, None),
}


@pytest.mark.parametrize("kind", sorted(SESSION_MESSAGES))
@pytest.mark.parametrize(
    ("state", "outcomes"),
    [
        (CallState.WAIT_CONNECT, WAIT_CONNECT),
        (CallState.ESTABLISHED, CONNECTED),
        (CallState.CLOSED, GONE),
    ],
)
def test_message_for_a_call(
    state: CallState, outcomes: dict[int, CallOutcome], kind: MessageType
) -> None:
    bench = tunnel_in(TunnelState.ESTABLISHED)
    call = bench.call(99, 5, connected=state is not CallState.WAIT_CONNECT)
    other = bench.call(100, 6)
    if state is CallState.CLOSED:
        bench.open_tunnel.disconnect_call(5, 3, 0, "", bench.now)
        bench.take()
    bench.take_events()
    answer, after, event = outcomes[kind]
    packets = bench.send(BODIES[kind], session=5) + bench.wait(0.2)
    answers = [(p.kind, p.result[0]) for p in packets if p.kind]
    assert answers == ([answer] if answer else [])
    assert all(p.session == 99 for p in packets if p.kind)
    assert call.state is after
    assert [type(e) for e in bench.events] == ([event] if event else [])
    assert bench.open_tunnel.state is TunnelState.ESTABLISHED
    assert other.state is CallState.ESTABLISHED
    assert (5 in bench.open_tunnel.calls) == (after is not CallState.CLOSED)


def test_tables_have_an_entry_for_every_pair() -> None:
    assert set(TUNNEL_TABLE) == set(TunnelState)
    assert all(set(row) == set(MessageType) for row in TUNNEL_TABLE.values())
    assert set(CALL_TABLE) == set(CallState)
    assert all(set(row) == SESSION_MESSAGES for row in CALL_TABLE.values())


def test_only_an_sccrq_opens_a_tunnel() -> None:
    row = TUNNEL_TABLE[TunnelState.IDLE]
    assert {kind for kind, action in row.items() if action is not TunnelAction.IGNORE} == {SCCRQ}


@pytest.mark.parametrize("kind", sorted(SESSION_MESSAGES))
def test_undecided_call_is_ended_by_whatever_would_end_a_waiting_one(kind: MessageType) -> None:
    """The LAC has no id of ours for it yet, so it can only reach it by CDN."""
    expected = {ICCN: CallAction.VIOLATION}.get(kind)
    waiting = CALL_TABLE[CallState.WAIT_CONNECT][kind]
    assert CALL_TABLE[CallState.REQUESTED][kind] is (expected or waiting)


def test_closed_call_is_not_touched_by_anything() -> None:
    assert set(CALL_TABLE[CallState.CLOSED].values()) == {CallAction.IGNORE}
    assert Call(1).state is CallState.REQUESTED
