"""The option negotiation automaton of RFC 1661 section 4: states, events, actions and the table.

The table is that of section 4.1, without the restart option (an Open in Stopped, Stopping or Opened
changes nothing) and without the passive option (a negotiation that times out is over). A pair that
is not in it cannot happen and does nothing.
"""

import enum
from typing import Final


class State(enum.IntEnum):
    """Where an automaton is (RFC 1661 section 4.2)."""

    INITIAL = 0
    STARTING = 1
    CLOSED = 2
    STOPPED = 3
    CLOSING = 4
    STOPPING = 5
    REQ_SENT = 6
    ACK_RCVD = 7
    ACK_SENT = 8
    OPENED = 9

    @property
    def label(self) -> str:
        """The name that the RFC uses, for the operator."""
        return self.name.title().replace("_", "-")


class Input(enum.IntEnum):
    """What happens to an automaton (RFC 1661 section 4.3); the names are those of the RFC."""

    UP = 0
    DOWN = 1
    OPEN = 2
    CLOSE = 3
    TO_PLUS = 4  # timeout with the restart counter above zero
    TO_MINUS = 5  # timeout with the counter used up
    RCR_PLUS = 6  # Configure-Request that we accept
    RCR_MINUS = 7  # Configure-Request that we do not accept
    RCA = 8
    RCN = 9  # Configure-Nak or Configure-Reject
    RTR = 10
    RTA = 11
    RUC = 12  # packet with an unknown code
    RXJ_PLUS = 13  # Code-Reject or Protocol-Reject that can be lived with
    RXJ_MINUS = 14  # one that cannot
    RXR = 15  # Echo-Request, Echo-Reply, Discard-Request


class Action(enum.IntEnum):
    """What an automaton does (RFC 1661 section 4.4); the names are those of the RFC."""

    TLU = 0  # this layer up
    TLD = 1  # this layer down
    TLS = 2  # this layer started
    TLF = 3  # this layer finished
    IRC = 4  # initialize restart counter
    ZRC = 5  # zero restart counter
    SCR = 6  # send Configure-Request
    SCA = 7  # send Configure-Ack
    SCN = 8  # send Configure-Nak or Configure-Reject
    STR = 9  # send Terminate-Request
    STA = 10  # send Terminate-Ack
    SCJ = 11  # send Code-Reject
    SER = 12  # send Echo-Reply


Cell = tuple[tuple[Action, ...], State]

TIMED_STATES: Final = frozenset(
    (State.CLOSING, State.STOPPING, State.REQ_SENT, State.ACK_RCVD, State.ACK_SENT)
)
"""States in which the restart timer runs."""


(_TLU, _TLD, _TLS, _TLF, _IRC, _ZRC, _SCR, _SCA, _SCN, _STR, _STA, _SCJ, _SER) = Action
(_INITIAL, _STARTING, _CLOSED, _STOPPED, _CLOSING, _STOPPING, *_rest) = State
(_REQ_SENT, _ACK_RCVD, _ACK_SENT, _OPENED) = _rest
_SEND: Final = (_IRC, _SCR)
_TERMINATE: Final = (_IRC, _STR)

_ROWS: Final[dict[Input, dict[State, Cell]]] = {
    Input.UP: {_INITIAL: ((), _CLOSED), _STARTING: (_SEND, _REQ_SENT)},
    Input.DOWN: {
        _CLOSED: ((), _INITIAL),
        _STOPPED: ((_TLS,), _STARTING),
        _CLOSING: ((), _INITIAL),
        _STOPPING: ((), _STARTING),
        _REQ_SENT: ((), _STARTING),
        _ACK_RCVD: ((), _STARTING),
        _ACK_SENT: ((), _STARTING),
        _OPENED: ((_TLD,), _STARTING),
    },
    Input.OPEN: {
        _INITIAL: ((_TLS,), _STARTING),
        _CLOSED: (_SEND, _REQ_SENT),
        _CLOSING: ((), _STOPPING),
    },
    Input.CLOSE: {
        _STARTING: ((_TLF,), _INITIAL),
        _STOPPED: ((), _CLOSED),
        _STOPPING: ((), _CLOSING),
        _REQ_SENT: (_TERMINATE, _CLOSING),
        _ACK_RCVD: (_TERMINATE, _CLOSING),
        _ACK_SENT: (_TERMINATE, _CLOSING),
        _OPENED: ((_TLD, *_TERMINATE), _CLOSING),
    },
    Input.TO_PLUS: {
        _CLOSING: ((_STR,), _CLOSING),
        _STOPPING: ((_STR,), _STOPPING),
        _REQ_SENT: ((_SCR,), _REQ_SENT),
        _ACK_RCVD: ((_SCR,), _REQ_SENT),
        _ACK_SENT: ((_SCR,), _ACK_SENT),
    },
    Input.TO_MINUS: {
        _CLOSING: ((_TLF,), _CLOSED),
        _STOPPING: ((_TLF,), _STOPPED),
        _REQ_SENT: ((_TLF,), _STOPPED),
        _ACK_RCVD: ((_TLF,), _STOPPED),
        _ACK_SENT: ((_TLF,), _STOPPED),
    },
    Input.RCR_PLUS: {
        _CLOSED: ((_STA,), _CLOSED),
        _STOPPED: ((*_SEND, _SCA), _ACK_SENT),
        _REQ_SENT: ((_SCA,), _ACK_SENT),
        _ACK_RCVD: ((_SCA, _TLU), _OPENED),
        _ACK_SENT: ((_SCA,), _ACK_SENT),
        _OPENED: ((_TLD, _SCR, _SCA), _ACK_SENT),
    },
    Input.RCR_MINUS: {
        _CLOSED: ((_STA,), _CLOSED),
        _STOPPED: ((*_SEND, _SCN), _REQ_SENT),
        _REQ_SENT: ((_SCN,), _REQ_SENT),
        _ACK_RCVD: ((_SCN,), _ACK_RCVD),
        _ACK_SENT: ((_SCN,), _REQ_SENT),
        _OPENED: ((_TLD, _SCR, _SCN), _REQ_SENT),
    },
    Input.RCA: {
        _CLOSED: ((_STA,), _CLOSED),
        _STOPPED: ((_STA,), _STOPPED),
        _REQ_SENT: ((_IRC,), _ACK_RCVD),
        _ACK_RCVD: ((_SCR,), _REQ_SENT),
        _ACK_SENT: ((_IRC, _TLU), _OPENED),
        _OPENED: ((_TLD, _SCR), _REQ_SENT),
    },
    Input.RCN: {
        _CLOSED: ((_STA,), _CLOSED),
        _STOPPED: ((_STA,), _STOPPED),
        _REQ_SENT: (_SEND, _REQ_SENT),
        _ACK_RCVD: ((_SCR,), _REQ_SENT),
        _ACK_SENT: (_SEND, _ACK_SENT),
        _OPENED: ((_TLD, _SCR), _REQ_SENT),
    },
    Input.RTR: {
        _CLOSED: ((_STA,), _CLOSED),
        _STOPPED: ((_STA,), _STOPPED),
        _CLOSING: ((_STA,), _CLOSING),
        _STOPPING: ((_STA,), _STOPPING),
        _REQ_SENT: ((_STA,), _REQ_SENT),
        _ACK_RCVD: ((_STA,), _REQ_SENT),
        _ACK_SENT: ((_STA,), _REQ_SENT),
        _OPENED: ((_TLD, _ZRC, _STA), _STOPPING),
    },
    Input.RTA: {
        _CLOSING: ((_TLF,), _CLOSED),
        _STOPPING: ((_TLF,), _STOPPED),
        _ACK_RCVD: ((), _REQ_SENT),
        _OPENED: ((_TLD, _SCR), _REQ_SENT),
    },
    Input.RXJ_PLUS: {_ACK_RCVD: ((), _REQ_SENT)},
    Input.RXJ_MINUS: {
        _CLOSED: ((_TLF,), _CLOSED),
        _STOPPED: ((_TLF,), _STOPPED),
        _CLOSING: ((_TLF,), _CLOSED),
        _STOPPING: ((_TLF,), _STOPPED),
        _REQ_SENT: ((_TLF,), _STOPPED),
        _ACK_RCVD: ((_TLF,), _STOPPED),
        _ACK_SENT: ((_TLF,), _STOPPED),
        _OPENED: ((_TLD, *_TERMINATE), _STOPPING),
    },
    Input.RUC: {state: ((_SCJ,), state) for state in list(State)[State.CLOSED :]},
    Input.RXR: {_OPENED: ((_SER,), _OPENED)},
}

TABLE: Final = {(state, event): cell for event, row in _ROWS.items() for state, cell in row.items()}
"""(state, event) → (actions in their order, next state); cells that change nothing are left out."""
