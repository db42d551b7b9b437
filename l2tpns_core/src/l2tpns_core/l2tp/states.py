"""The state machines of tunnels and calls (RFC 2661 sections 7.2 and 7.4.2), LNS side.

Two tables say what a control message does in each state; the tunnel carries it out. Every pair of
state and message has its entry.
"""

import enum
from typing import Final

from l2tpns_core.l2tp.codes import SESSION_MESSAGES, MessageType


class TunnelState(enum.Enum):
    """Where a control connection is."""

    IDLE = "idle"
    WAIT_CTL_CONN = "wait-ctl-conn"
    """SCCRP is sent, SCCCN is awaited."""
    ESTABLISHED = "established"
    CLOSING = "closing"
    """StopCCN was sent or received; the ids are kept for a full retry cycle."""


class CallState(enum.Enum):
    """Where an incoming call is; IDLE is a call that does not exist."""

    IDLE = "idle"
    REQUESTED = "requested"
    """ICRQ has come, the LNS has not decided."""
    WAIT_CONNECT = "wait-connect"
    ESTABLISHED = "established"
    CLOSED = "closed"


class TunnelAction(enum.Enum):
    """What a control message does to a tunnel."""

    OPEN = "answer with SCCRP"
    ESTABLISH = "the tunnel is up"
    PEER_CLOSES = "the peer ends the tunnel"
    ACKNOWLEDGE = "nothing but the acknowledgement"
    CALL = "look in CALL_TABLE"
    VIOLATION = "StopCCN"
    IGNORE = "nothing, and it is counted"


class CallAction(enum.Enum):
    """What a control message does to a call."""

    REQUEST = "ask the LNS"
    REFUSE_OUTGOING = "CDN: we place no calls"
    REFUSE_UNKNOWN = "CDN: we asked for no such call"
    CONNECT = "the call is up"
    PEER_CLOSES = "the peer ends the call"
    REPORT_ERRORS = "tell the LNS"
    REPORT_LINK = "tell the LNS about the ACCMs"
    VIOLATION = "CDN"
    IGNORE = "nothing, and it is counted"


_M = MessageType
_T = TunnelAction
_C = CallAction


def _tunnel_row(default: TunnelAction, **entries: TunnelAction) -> dict[MessageType, TunnelAction]:
    return {kind: entries.get(kind.name, default) for kind in MessageType}


def _established_row() -> dict[MessageType, TunnelAction]:
    calls = {kind.name: _T.CALL for kind in SESSION_MESSAGES}
    return _tunnel_row(_T.VIOLATION, STOPCCN=_T.PEER_CLOSES, HELLO=_T.ACKNOWLEDGE, **calls)


TUNNEL_TABLE: Final[dict[TunnelState, dict[MessageType, TunnelAction]]] = {
    TunnelState.IDLE: _tunnel_row(_T.IGNORE, SCCRQ=_T.OPEN),
    TunnelState.WAIT_CTL_CONN: _tunnel_row(
        _T.VIOLATION, SCCCN=_T.ESTABLISH, STOPCCN=_T.PEER_CLOSES, HELLO=_T.ACKNOWLEDGE
    ),
    TunnelState.ESTABLISHED: _established_row(),
    TunnelState.CLOSING: _tunnel_row(_T.ACKNOWLEDGE),
}


def _call_row(default: CallAction, **entries: CallAction) -> dict[MessageType, CallAction]:
    return {kind: entries.get(kind.name, default) for kind in sorted(SESSION_MESSAGES)}


CALL_TABLE: Final[dict[CallState, dict[MessageType, CallAction]]] = {
    # The call may have ended here while the message was under way: no answer but to requests.
    CallState.IDLE: _call_row(
        _C.IGNORE,
        ICRQ=_C.REQUEST,
        OCRQ=_C.REFUSE_OUTGOING,
        ICRP=_C.REFUSE_UNKNOWN,
        OCRP=_C.REFUSE_UNKNOWN,
    ),
    CallState.REQUESTED: _call_row(_C.VIOLATION, CDN=_C.PEER_CLOSES, WEN=_C.IGNORE, SLI=_C.IGNORE),
    CallState.WAIT_CONNECT: _call_row(
        _C.VIOLATION, ICCN=_C.CONNECT, CDN=_C.PEER_CLOSES, WEN=_C.IGNORE, SLI=_C.IGNORE
    ),
    CallState.ESTABLISHED: _call_row(
        _C.VIOLATION, CDN=_C.PEER_CLOSES, WEN=_C.REPORT_ERRORS, SLI=_C.REPORT_LINK
    ),
    CallState.CLOSED: _call_row(_C.IGNORE),
}
