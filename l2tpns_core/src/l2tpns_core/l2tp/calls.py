"""The calls of one tunnel, and what the messages about them do."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from l2tpns_core.l2tp.avp import AvpType, Hiding
from l2tpns_core.l2tp.call import Call, connect_call, requested_call
from l2tpns_core.l2tp.codes import CdnResult, DisconnectCause, GeneralError, MessageType
from l2tpns_core.l2tp.config import Shared
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.events import (
    CallClosed,
    CallConnected,
    CallErrorsReported,
    CallRequested,
    Event,
    LinkInfoReceived,
)
from l2tpns_core.l2tp.message import Message, encode_message
from l2tpns_core.l2tp.saved import SavedCall
from l2tpns_core.l2tp.states import CALL_TABLE, CallAction, CallState
from l2tpns_core.l2tp.values import ResultCode, Value

if TYPE_CHECKING:
    from l2tpns_core.l2tp.tunnel import Tunnel

MAX_ID: Final = 65535
MAX_PROBES: Final = 64
"""Ids looked at for one that is not in use. The LAC knows its call by its own id in the header, so
that it does no harm if all of these are."""


class CallTable:
    """All calls of a tunnel: every call by the LAC's id, the accepted ones by ours too."""

    __slots__ = (
        "_by_peer_id",
        "_events",
        "_hiding",
        "_limit",
        "_shared",
        "_spare_id",
        "_tunnel",
        "by_id",
    )

    def __init__(
        self,
        tunnel: "Tunnel",
        events: deque[Event],
        limit: int,
        shared: Shared,
        hiding: Hiding | None,
    ) -> None:
        self.by_id: dict[int, Call] = {}
        self._by_peer_id: dict[int, Call] = {}
        self._tunnel = tunnel
        self._events = events
        self._limit = limit
        self._shared = shared
        self._hiding = hiding
        self._spare_id = MAX_ID

    # What the LNS decides

    def accept(self, call: Call, session_id: int) -> None:
        """See Tunnel.accept_call()."""
        if not 0 < session_id <= MAX_ID or session_id in self.by_id:
            raise ValueError(f"session id {session_id} is not free")
        call.session_id = session_id
        if call.state is not CallState.REQUESTED:
            return
        call.state = CallState.WAIT_CONNECT
        self.by_id[session_id] = call
        body = encode_message(
            MessageType.ICRP, ((AvpType.ASSIGNED_SESSION_ID, session_id),), self._hiding
        )
        self._tunnel.channel.send(call.peer_session_id, body, is_answer=True)

    def refuse(self, call: Call, result: int, error: int, text: str) -> None:
        """See Tunnel.refuse_call()."""
        if call.state is CallState.REQUESTED:
            self._remove(call)
            self._send_cdn(call.peer_session_id, 0, ResultCode(result, error, text))

    def disconnect(
        self, session_id: int, result: int, error: int, text: str, cause: DisconnectCause | None
    ) -> None:
        """See Tunnel.disconnect_call()."""
        call = self.by_id.get(session_id)
        if call is not None:
            self._remove(call)
            reason = ResultCode(result, error, text)
            self._send_cdn(call.peer_session_id, session_id, reason, cause, is_answer=False)

    def clear(self) -> None:
        """The tunnel is over, and the calls with it."""
        for call in self._by_peer_id.values():
            call.state = CallState.CLOSED
        self.by_id.clear()
        self._by_peer_id.clear()

    def restore(self, saved: SavedCall) -> None:
        """See Tunnel.restore_call()."""
        if saved.session_id in self.by_id or saved.peer_session_id in self._by_peer_id:
            raise ValueError(f"session id {saved.session_id} or that of its LAC is not free")
        call = Call(
            saved.peer_session_id,
            saved.session_id,
            CallState.ESTABLISHED if saved.is_connected else CallState.WAIT_CONNECT,
            sequencing_required=saved.sequencing_required,
        )
        self.by_id[call.session_id] = self._by_peer_id[call.peer_session_id] = call

    # What the LAC says

    def receive(self, kind: MessageType, message: Message, session_id: int) -> None:
        """Take a message about a call; session_id is that of its header."""
        call = self.by_id.get(session_id)
        if call is None and kind is MessageType.CDN and not session_id:
            # The LAC gave up before it got our ICRP (section 4.4.4, Assigned Session ID)
            call = self._by_peer_id.get(message.number(AvpType.ASSIGNED_SESSION_ID))
        state = CallState.IDLE if call is None else call.state
        action = CALL_TABLE[state][kind]
        if message.fault is not None and action is not CallAction.PEER_CLOSES:
            self._receive_faulty(call, message, message.fault)
        elif call is None:
            _REQUEST_ACTIONS[action](self, message)
        else:
            _ACTIONS[action](self, call, message)

    def fail(self, session_id: int, fault: L2tpError) -> None:
        """End the call that a faulty message was for, if there is one."""
        call = self.by_id.get(session_id)
        if call is not None:
            self._end(call, fault)

    def _receive_faulty(self, call: Call | None, message: Message, fault: L2tpError) -> None:
        self._shared.counters.faulty_messages += 1
        if call is not None:
            self._end(call, fault)
        elif message.type in (MessageType.ICRQ, MessageType.OCRQ):
            self._refuse_request(message, fault.result, fault.error, fault.text)

    def _end(self, call: Call, fault: L2tpError) -> None:
        """CDN to the LAC and CallClosed to the LNS."""
        self._remove(call)
        reason = ResultCode(fault.result, fault.error, fault.text)
        self._send_cdn(call.peer_session_id, call.session_id, reason)
        self._events.append(CallClosed(self._tunnel, call, *reason, by_peer=False))

    def _request(self, message: Message) -> None:
        peer_id = message.number(AvpType.ASSIGNED_SESSION_ID)
        error, text = GeneralError.BAD_VALUE, "Assigned Session ID is missing or 0"
        if not peer_id:
            self._refuse_request(message, CdnResult.GENERAL_ERROR, error, text)
            return
        if not self._shared.accepting:
            error, text = GeneralError.TRY_ANOTHER, "shutting down"
            self._refuse_request(message, CdnResult.GENERAL_ERROR, error, text)
            return
        old = self._by_peer_id.get(peer_id)
        if old is not None:
            self._supersede(old)
        if len(self._by_peer_id) >= self._limit:
            text = "tunnel has no free session"
            self._refuse_request(message, CdnResult.NO_FACILITIES_TEMPORARY, 0, text)
            return
        call = self._by_peer_id[peer_id] = requested_call(message)
        self._events.append(CallRequested(self._tunnel, call))

    def _supersede(self, call: Call) -> None:
        """The LAC gives the id of a call to another one, so it no longer has the former. No CDN: it
        would end the new call."""
        self._remove(call)
        text = "the LAC uses the session id for another call"
        event = CallClosed(self._tunnel, call, CdnResult.GENERAL_ERROR, 0, text)
        self._events.append(event)

    def _refuse_outgoing(self, message: Message) -> None:
        text = "outgoing calls are not supported"
        self._refuse_request(message, CdnResult.NO_FACILITIES_PERMANENT, 0, text)

    def _refuse_unknown(self, message: Message) -> None:
        """An answer to a request that we never made."""
        self._shared.counters.unexpected_message += 1
        if message.number(AvpType.ASSIGNED_SESSION_ID):
            text = "no such call was requested"
            error = GeneralError.INVALID_SESSION
            self._refuse_request(message, CdnResult.GENERAL_ERROR, error, text)

    def _refuse_request(self, message: Message, result: int, error: int, text: str) -> None:
        self._shared.counters.refused_calls += 1
        peer_id = message.number(AvpType.ASSIGNED_SESSION_ID)
        self._send_cdn(peer_id, 0, ResultCode(result, error, text))

    def _connect(self, call: Call, message: Message) -> None:
        call.state = CallState.ESTABLISHED
        connect_call(call, message)
        self._events.append(CallConnected(self._tunnel, call))

    def _end_by_peer(self, call: Call, message: Message) -> None:
        self._remove(call)
        event = CallClosed(self._tunnel, call, *message.result(), cause=message.cause())
        self._events.append(event)

    def _report_errors(self, call: Call, message: Message) -> None:
        errors = message.call_errors()
        if errors is None:
            self._ignore(call, message)
        else:
            self._events.append(CallErrorsReported(self._tunnel, call, errors))

    def _report_link(self, call: Call, message: Message) -> None:
        accm = message.accm()
        if accm is None:
            self._ignore(call, message)
        else:
            event = LinkInfoReceived(self._tunnel, call, accm.send, accm.receive)
            self._events.append(event)

    def _violate(self, call: Call, message: Message) -> None:
        self._shared.counters.unexpected_message += 1
        text = f"{MessageType(message.type).name} in state {call.state.value}"
        self._end(call, L2tpError(CdnResult.GENERAL_ERROR, GeneralError.VENDOR_ERROR, text))

    def _ignore(self, call: Call, message: Message) -> None:
        self._shared.counters.unexpected_message += 1

    def _ignore_unknown(self, message: Message) -> None:
        self._shared.counters.unexpected_message += 1

    def _remove(self, call: Call) -> None:
        call.state = CallState.CLOSED
        self.by_id.pop(call.session_id, None)
        self._by_peer_id.pop(call.peer_session_id, None)

    def _send_cdn(
        self,
        peer_id: int,
        session_id: int,
        reason: ResultCode,
        cause: DisconnectCause | None = None,
        is_answer: bool = True,
    ) -> None:
        """A call that never had an id of ours gets one that is not in use: 0 is not allowed."""
        avps: list[tuple[AvpType, Value]] = [
            (AvpType.RESULT_CODE, reason),
            (AvpType.ASSIGNED_SESSION_ID, session_id or self._unused_id()),
        ]
        if cause is not None:
            avps.append((AvpType.DISCONNECT_CAUSE, cause))
        body = encode_message(MessageType.CDN, avps, self._hiding)
        self._tunnel.channel.send(peer_id, body, is_answer)

    def _unused_id(self) -> int:
        """An id that no call has, or hardly one: counting down, where the LNS counts up."""
        for _ in range(MAX_PROBES):
            self._spare_id = self._spare_id - 1 or MAX_ID
            if self._spare_id not in self.by_id:
                break
        return self._spare_id


_REQUEST_ACTIONS: Final[dict[CallAction, Callable[[CallTable, Message], None]]] = {
    CallAction.REQUEST: CallTable._request,
    CallAction.REFUSE_OUTGOING: CallTable._refuse_outgoing,
    CallAction.REFUSE_UNKNOWN: CallTable._refuse_unknown,
    CallAction.IGNORE: CallTable._ignore_unknown,
}
"""For messages about calls that do not exist."""

_ACTIONS: Final[dict[CallAction, Callable[[CallTable, Call, Message], None]]] = {
    CallAction.CONNECT: CallTable._connect,
    CallAction.PEER_CLOSES: CallTable._end_by_peer,
    CallAction.REPORT_ERRORS: CallTable._report_errors,
    CallAction.REPORT_LINK: CallTable._report_link,
    CallAction.VIOLATION: CallTable._violate,
    CallAction.IGNORE: CallTable._ignore,
}
"""For messages about calls that do."""
