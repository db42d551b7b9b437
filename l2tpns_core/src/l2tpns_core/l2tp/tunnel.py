"""One control connection with a LAC, and its calls."""

from collections import deque
from collections.abc import Callable
from typing import Final

from l2tpns_core.l2tp.auth import CHALLENGE_BYTES, response_is_right
from l2tpns_core.l2tp.avp import AvpType, Hiding
from l2tpns_core.l2tp.call import Call
from l2tpns_core.l2tp.calls import CallTable
from l2tpns_core.l2tp.channel import DEFAULT_PEER_WINDOW, Channel
from l2tpns_core.l2tp.codes import (
    DisconnectCause,
    GeneralError,
    MessageType,
    StopResult,
)
from l2tpns_core.l2tp.config import EndpointConfig, Peer, Shared
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.events import Event, TunnelClosed, TunnelFinished, TunnelOpened
from l2tpns_core.l2tp.message import ControlHeader, Message, decode_message, encode_message
from l2tpns_core.l2tp.saved import SavedCall, SavedChannel, SavedTunnel
from l2tpns_core.l2tp.setup import encode_reply, encode_stop, hiding_of
from l2tpns_core.l2tp.states import TUNNEL_TABLE, TunnelAction, TunnelState

_KNOWN_TYPES: Final = {int(kind): kind for kind in MessageType}
_HELLO: Final = encode_message(MessageType.HELLO)


class Tunnel:
    """A tunnel from its SCCRQ to the end of its memory.

    Whoever owns it calls receive() or handle_timer(), then next_event() until there is none, then
    datagrams_to_send(), and comes back at get_timer(). Nothing here raises for what a peer sends.
    """

    __slots__ = (
        "_calls",
        "_challenge",
        "_config",
        "_ends_at",
        "_events",
        "_finished",
        "_hiding",
        "_shared",
        "channel",
        "hostname",
        "last_heard_at",
        "local",
        "local_id",
        "opened_at",
        "peer",
        "peer_id",
        "replaces",
        "request_digest",
        "state",
        "vendor_name",
    )

    def __init__(
        self,
        local_id: int,
        peer: Peer,
        local: str,
        config: EndpointConfig,
        shared: Shared,
        random: Callable[[int], bytes],
        now: float,
    ) -> None:
        """A tunnel in IDLE; open() gives it its SCCRQ."""
        self.local_id = local_id
        self.peer_id = 0
        self.peer = peer
        self.local = local
        """Our address that the LAC talks to."""
        self.state = TunnelState.IDLE
        self.hostname = ""
        self.vendor_name = ""
        self.opened_at = now
        """When the SCCRQ came."""
        self.last_heard_at = now
        """When the last control datagram came. An owner that sees data of the tunnel may move it
        on, which puts off the next HELLO."""
        self.channel = Channel(config, 0)
        self.replaces: Tunnel | None = None
        """A tunnel of the same LAC under the same id, which this one outdates once it is up."""
        self.request_digest = 0
        self._config = config
        self._shared = shared
        self._challenge = random(CHALLENGE_BYTES) if config.challenge_peer else b""
        self._hiding = hiding_of(config, Hiding(config.secret, random))
        self._events: deque[Event] = deque()
        self._ends_at = 0.0  # of the setup, or of the memory of a closed tunnel
        self._finished = False
        self._calls = CallTable(
            self, self._events, config.max_sessions_per_tunnel, shared, self._hiding
        )

    # What the owner calls

    @property
    def calls(self) -> dict[int, Call]:
        """The accepted calls by our session id."""
        return self._calls.by_id

    def next_event(self) -> Event | None:
        """What has happened next, None when there is no more."""
        return self._events.popleft() if self._events else None

    def datagrams_to_send(self, now: float) -> list[bytes]:
        """What is to be sent to `peer` now."""
        before = self.channel.retransmissions
        datagrams = self.channel.datagrams_to_send(now)
        self._shared.counters.retransmissions += self.channel.retransmissions - before
        return datagrams

    def get_timer(self) -> float | None:
        """When to call handle_timer() and datagrams_to_send() again."""
        if self._finished:
            return None
        deadline = self.channel.get_timer()
        own = self._own_deadline()
        if own is None:
            return deadline
        return own if deadline is None else min(own, deadline)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self._finished:
            return
        if not self.channel.handle_timer(now):
            self._give_up(now)
            return
        deadline = self._own_deadline()
        if deadline is None or now < deadline:
            return
        if self.state is TunnelState.CLOSING:
            self._finish()
        elif self.state is TunnelState.ESTABLISHED:
            self.channel.send(0, _HELLO)
        else:
            self.close(StopResult.GENERAL_REQUEST, 0, "SCCCN did not come in time", now)

    def accept_call(self, call: Call, session_id: int, now: float) -> None:
        """Answer a CallRequested with ICRP. Nothing is sent if the call has ended meanwhile; its
        CallClosed or the TunnelClosed is yet to come then.

        Raises ValueError when session_id is not a free one from 1 to 65535.
        """
        self._calls.accept(call, session_id)

    def refuse_call(self, call: Call, result: int, error: int, text: str, now: float) -> None:
        """Answer a CallRequested with CDN; does nothing if the call has ended meanwhile."""
        self._calls.refuse(call, result, error, text)

    def disconnect_call(
        self,
        session_id: int,
        result: int,
        error: int,
        text: str,
        now: float,
        cause: DisconnectCause | None = None,
    ) -> None:
        """End an accepted call with CDN; does nothing when there is no such call."""
        self._calls.disconnect(session_id, result, error, text, cause)

    def close(self, result: int, error: int, text: str, now: float) -> None:
        """End the tunnel with StopCCN, after what is queued already; does nothing when it has
        ended. TunnelClosed follows."""
        if self.state is TunnelState.CLOSING:
            return
        self.channel.send(0, encode_stop(self.local_id, result, error, text, self._hiding))
        self._enter_closing(TunnelClosed(self, result, error, text, by_peer=False), now)

    # Going on in another process

    def export(self) -> SavedTunnel | None:
        """What another process must know of the tunnel itself; None unless it is established."""
        if self.state is not TunnelState.ESTABLISHED:
            return None
        return SavedTunnel(
            self.local_id,
            self.peer_id,
            *self.peer,
            self.local,
            self.channel.peer_window,
            self._config.receive_window,
            self.hostname,
            self.vendor_name,
        )

    def restore(self, saved: SavedTunnel, channel: SavedChannel) -> None:
        """Be established as the tunnel of another process was."""
        self.peer_id = self.channel.peer_id = saved.peer_id
        self.hostname, self.vendor_name = saved.hostname, saved.vendor_name
        self.channel.set_peer_window(saved.peer_window)
        self.channel.restore(channel)
        self._challenge = b""
        self.state = TunnelState.ESTABLISHED

    def restore_call(self, saved: SavedCall) -> None:
        """Know a call that is established, or waits for its ICCN. Raises ValueError when an id of
        it is taken."""
        self._calls.restore(saved)

    # What the endpoint calls

    def open(self, header: ControlHeader, body: bytes, message: Message, now: float) -> None:
        """Take the SCCRQ, which setup.check_request() has let pass, and answer with SCCRP."""
        self.peer_id = self.channel.peer_id = message.number(AvpType.ASSIGNED_TUNNEL_ID)
        self.request_digest = hash(body)
        self.channel.receive(header, body, now)
        _ACTIONS[TUNNEL_TABLE[self.state][MessageType.SCCRQ]](self, message, now)

    def receive(self, header: ControlHeader, body: bytes, now: float) -> None:
        """Take a control datagram from `peer`."""
        self.last_heard_at = now
        for session_id, ready in self.channel.receive(header, body, now):
            self._receive_message(session_id, ready, now)

    def receive_duplicate(self, now: float) -> None:
        """The SCCRQ came again: the LAC did not get our SCCRP in time, or it was delayed."""
        self.last_heard_at = now
        self.channel.duplicates += 1
        self.channel.acknowledge_now(now)
        if self.state is TunnelState.WAIT_CTL_CONN:
            self.channel.repeat_first()

    def abandon(self, text: str, now: float) -> None:
        """End a tunnel that the LAC has forgotten: nothing is sent, for it would meet the LAC's new
        tunnel under the same id."""
        if self.state is not TunnelState.CLOSING:
            self.channel.clear()
            self._enter_closing(self._lost(text), now)
            self._finish()

    # Messages

    def _receive_message(self, session_id: int, body: bytes, now: float) -> None:
        counters = self._shared.counters
        if self.state is TunnelState.CLOSING:
            return
        try:
            message = decode_message(body, self._config.secret)
        except L2tpError as error:
            counters.faulty_messages += 1
            self._fail(session_id, error, now)
            return
        counters.unknown_avp += message.ignored
        counters.hidden_failures += message.hidden_failures
        kind = _KNOWN_TYPES.get(message.type)
        if kind is None:
            self._receive_unknown(message, now)
            return
        action = TUNNEL_TABLE[self.state][kind]
        if action is TunnelAction.CALL:
            self._calls.receive(kind, message, session_id)
        elif message.fault is not None and action is not TunnelAction.PEER_CLOSES:
            counters.faulty_messages += 1
            self._fail(0, message.fault, now)
        else:
            _ACTIONS[action](self, message, now)

    def _fail(self, session_id: int, fault: L2tpError, now: float) -> None:
        """End what a faulty message belongs to: a call, or with session_id 0 the tunnel."""
        if session_id:
            self._calls.fail(session_id, fault)
        else:
            self.close(fault.result, fault.error, fault.text, now)

    def _receive_unknown(self, message: Message, now: float) -> None:
        """A message of a type that we do not know (section 4.4.1)."""
        if not message.mandatory:
            self._shared.counters.unknown_message += 1
            return
        text = f"unknown message type {message.type}"
        self._shared.counters.faulty_messages += 1
        self.close(StopResult.GENERAL_ERROR, GeneralError.UNKNOWN_AVP, text, now)

    def _reply(self, message: Message, now: float) -> None:
        config = self._config
        self.hostname = message.text(AvpType.HOST_NAME)
        self.vendor_name = message.text(AvpType.VENDOR_NAME)
        window = message.number(AvpType.RECEIVE_WINDOW_SIZE, DEFAULT_PEER_WINDOW)
        self.channel.set_peer_window(window)
        challenge = message.raw(AvpType.CHALLENGE)
        if challenge is not None and not config.secret:
            self._shared.counters.unanswered_challenges += 1
        reply = encode_reply(config, self.local_id, challenge, self._challenge)
        self.channel.send(0, reply)
        self.state = TunnelState.WAIT_CTL_CONN
        self._ends_at = now + config.setup_timeout_s

    def _establish(self, message: Message, now: float) -> None:
        if self._challenge:
            response = message.raw(AvpType.CHALLENGE_RESPONSE) or b""
            secret, challenge = self._config.secret, self._challenge
            if not response_is_right(MessageType.SCCCN, secret, challenge, response):
                self._shared.counters.not_authorized += 1
                text = (
                    "challenge response is wrong" if response else "challenge response is missing"
                )
                self.close(StopResult.NOT_AUTHORIZED, 0, text, now)
                return
            self._challenge = b""
        self.state = TunnelState.ESTABLISHED
        self._events.append(TunnelOpened(self))

    def _end_by_peer(self, message: Message, now: float) -> None:
        result = message.result()
        self.channel.clear()
        self.channel.acknowledge_now(now)
        self._enter_closing(TunnelClosed(self, *result, by_peer=True), now)

    def _acknowledge(self, message: Message, now: float) -> None:
        pass  # the channel does

    def _violate(self, message: Message, now: float) -> None:
        self._shared.counters.unexpected_message += 1
        text = f"{MessageType(message.type).name} in state {self.state.value}"
        self.close(StopResult.STATE_ERROR, 0, text, now)

    def _ignore(self, message: Message, now: float) -> None:
        self._shared.counters.unexpected_message += 1

    # The end

    def _own_deadline(self) -> float | None:
        """When the tunnel itself, apart from its channel, has something to do."""
        if self.state is TunnelState.WAIT_CTL_CONN:
            return self._ends_at
        if self.channel.queue_length:
            return None  # the channel notices when nothing is acknowledged
        if self.state is not TunnelState.ESTABLISHED:
            return self._ends_at
        if not self._config.hello_interval_s:
            return None
        return self.last_heard_at + self._config.hello_interval_s

    def _enter_closing(self, event: TunnelClosed, now: float) -> None:
        self.state = TunnelState.CLOSING
        self._calls.clear()
        self._ends_at = now + self._config.retry_cycle_s
        self._events.append(event)

    def _give_up(self, now: float) -> None:
        """The LAC acknowledges nothing any more; there is nobody to send a StopCCN to."""
        self.channel.clear()
        if self.state is not TunnelState.CLOSING:
            self._shared.counters.peers_lost += 1
            self._enter_closing(self._lost("the LAC does not answer"), now)
        self._finish()

    def _lost(self, text: str) -> TunnelClosed:
        return TunnelClosed(self, StopResult.GENERAL_ERROR, 0, text, by_peer=False, lost=True)

    def _finish(self) -> None:
        self.channel.clear()
        self._finished = True
        self._events.append(TunnelFinished(self))


_ACTIONS: Final[dict[TunnelAction, Callable[[Tunnel, Message, float], None]]] = {
    TunnelAction.OPEN: Tunnel._reply,
    TunnelAction.ESTABLISH: Tunnel._establish,
    TunnelAction.PEER_CLOSES: Tunnel._end_by_peer,
    TunnelAction.ACKNOWLEDGE: Tunnel._acknowledge,
    TunnelAction.VIOLATION: Tunnel._violate,
    TunnelAction.IGNORE: Tunnel._ignore,
}
