"""What LCP and the NCPs have in common: the automaton at work on packets (RFC 1661 section 5).

A subclass says what it asks for and what it makes of the peer's wishes. The owner of the protocol
is handed to every call and never kept, so that a link and its protocols are no reference cycle.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, Final, NamedTuple
from typing import Protocol as StructuralType

from l2tpns_core.ppp.automaton import TABLE, TIMED_STATES, Action, Input, State
from l2tpns_core.ppp.config import LinkConfig
from l2tpns_core.ppp.frame import HEADER_BYTES, Code, Packet, encode_packet
from l2tpns_core.ppp.options import Option, Verdict, decode_options, encode_options

FAR_IDENTIFIERS: Final = 0x60
LAYER_ACTIONS: Final = frozenset((Action.TLU, Action.TLD, Action.TLS, Action.TLF))
NEGOTIATING_STATES: Final = frozenset(
    (State.STOPPED, State.REQ_SENT, State.ACK_RCVD, State.ACK_SENT, State.OPENED)
)
"""States in which a Configure-Request of the peer is judged; in the others it changes nothing."""
RESTING_STATES: Final = frozenset((State.STARTING, State.CLOSED, State.STOPPED, State.OPENED))
"""States out of which a Configure-Request of ours begins a new negotiation."""


class Host(StructuralType):
    """What a protocol needs of the link that it belongs to."""

    @property
    def config(self) -> LinkConfig: ...

    @property
    def random(self) -> Callable[[int], bytes]: ...

    @property
    def peer_mru(self) -> int: ...

    def send(self, protocol: int, packet: bytes) -> None: ...

    def take_reject_permit(self, now: float) -> bool: ...


class Judgement(NamedTuple):
    """The peer's options sorted: what is refused outright, and better values for the rest."""

    rejected: list[Option]
    naked: dict[int, bytes]


class ControlProtocol(ABC):
    """One automaton with its restart timer, counters and identifiers."""

    __slots__ = (
        "_answered",
        "_identifier",
        "_naks_sent",
        "_refusals",
        "_request_id",
        "_restarts",
        "failure",
        "farewell",
        "state",
        "timer_at",
    )

    protocol: ClassVar[int]

    def __init__(self) -> None:
        self.state = State.INITIAL
        self.timer_at: float | None = None
        """When the restart timer fires."""
        self.failure = ""
        """Why the negotiation cannot succeed; the owner then closes the protocol."""
        self.farewell = b""
        """Why we terminate, in words: the data of our Terminate-Request."""
        self._identifier = 0
        self._request_id = 0
        self._answered = False  # a valid answer to our last Configure-Request came already
        self._restarts = 0
        self._naks_sent = 0
        self._refusals = 0

    # What a subclass says about its options.

    @abstractmethod
    def wanted_options(self) -> Iterable[Option]:
        """The options of our Configure-Request as they stand now."""

    @abstractmethod
    def begin(self, host: Host, now: float) -> None:
        """A new negotiation starts: ask for everything again."""

    @abstractmethod
    def check(self, host: Host, option: Option) -> Verdict | bytes:
        """Judge an option of the peer; bytes are the value that it should ask for instead."""

    def missing(self, options: Iterable[Option]) -> dict[int, bytes]:
        """What a request that is acceptable otherwise should have asked for as well."""
        return {}

    @abstractmethod
    def adopt(self, options: Iterable[Option]) -> None:
        """Take over the peer's options, all of them acceptable."""

    @abstractmethod
    def give_way(self, host: Host, option: Option) -> None:
        """The peer would rather see this option of ours (Configure-Nak)."""

    @abstractmethod
    def give_up(self, option: Option) -> None:
        """The peer refuses this option of ours (Configure-Reject)."""

    # Inputs.

    def step(
        self,
        host: Host,
        event: Input,
        now: float,
        packet: Packet | None = None,
        answer: bytes = b"",
    ) -> Action | None:
        """Run one cell of the table; return what it tells the layers above or below, if anything.

        `packet` is what the event is about; `answer` the Ack, Nak or Reject that is ready for it.
        """
        cell = TABLE.get((self.state, event))
        if cell is None:
            return None
        actions, next_state = cell
        if self.state in RESTING_STATES and Action.SCR in actions:
            self._begin(host, now)
        self.state = next_state
        layer: Action | None = None
        for action in actions:
            if action in LAYER_ACTIONS:
                layer = action
            elif action is Action.IRC:
                config = host.config
                ending = next_state in (State.CLOSING, State.STOPPING)
                self._restarts = config.max_terminate if ending else config.max_configure
            elif action is Action.ZRC:
                self._restarts = 0
                self.timer_at = now + host.config.restart_s
            elif action is Action.SCR:
                self.send_request(host, now, again=event is Input.TO_PLUS)
            elif action is Action.STR:
                self._send_terminate(host, now, again=event is Input.TO_PLUS)
            elif packet is not None:
                self.answer(host, action, packet, answer, now)
        if next_state not in TIMED_STATES:
            self.timer_at = None
        return layer

    def receive(self, host: Host, packet: Packet, now: float) -> Action | None:
        """Handle a packet of this protocol. Raises PppError when its content is malformed."""
        handler = _HANDLERS.get(packet.code)
        if handler is None:
            return self.step(host, Input.RUC, now, packet)
        return handler(self, host, packet, now)

    def restore(self, host: Host) -> None:
        """Be Opened, as in another process. Identifiers begin anywhere: those that were used last
        are not known any more."""
        self.state = State.OPENED
        self._answered = True
        self._identifier = host.random(1)[0]

    def is_timer_due(self, now: float) -> bool:
        return self.timer_at is not None and now >= self.timer_at

    def handle_timer(self, host: Host, now: float) -> Action | None:
        """Fire the restart timer if it is due."""
        if not self.is_timer_due(now):
            return None
        return self.step(host, Input.TO_PLUS if self._restarts > 0 else Input.TO_MINUS, now)

    def leave_identifiers(self, host: Host) -> None:
        """Go on far from the identifiers that a negotiation begins with: the peer has seen those
        with other requests."""
        self._identifier = FAR_IDENTIFIERS + host.random(1)[0] % FAR_IDENTIFIERS

    def next_identifier(self) -> int:
        self._identifier = (self._identifier + 1) & 0xFF
        return self._identifier

    def send_request(self, host: Host, now: float, *, again: bool) -> None:
        """Send our Configure-Request.

        Again keeps the identifier of one that is unanswered, so that any answer to it counts.
        """
        if not again or self._answered:
            self._request_id = self.next_identifier()
            self._answered = False
        self._restarts -= 1
        self.timer_at = now + host.config.restart_s
        body = encode_options(self.wanted_options())
        self._send(host, Code.CONFIGURE_REQUEST, self._request_id, body)

    def judge(self, host: Host, packet: Packet) -> tuple[Input, bytes]:
        """Decide on a Configure-Request: the event that it is, and our answer to it."""
        options = decode_options(packet.data)
        rejected, naked = self.sort(host, options)
        if not rejected:
            naked = naked or self.missing(options)
            if self._naks_sent >= host.config.max_failure:
                rejected = [option for option in options if option.type in naked]
                naked = {}
        if rejected:
            return Input.RCR_MINUS, _reply(Code.CONFIGURE_REJECT, packet, encode_options(rejected))
        if naked:
            self._naks_sent += 1
            body = encode_options(Option(*item) for item in naked.items())
            return Input.RCR_MINUS, _reply(Code.CONFIGURE_NAK, packet, body)
        self._naks_sent = 0
        self.adopt(options)
        return Input.RCR_PLUS, _reply(Code.CONFIGURE_ACK, packet, packet.data)

    def sort(self, host: Host, options: Iterable[Option]) -> Judgement:
        """Check every option; an option that comes twice is answered with one Nak."""
        judgement = Judgement([], {})
        for option in options:
            verdict = self.check(host, option)
            if verdict is Verdict.REJECT:
                judgement.rejected.append(option)
            elif isinstance(verdict, bytes):
                judgement.naked[option.type] = verdict
        return judgement

    # Packets of the peer.

    def _receive_request(self, host: Host, packet: Packet, now: float) -> Action | None:
        if self.state not in NEGOTIATING_STATES:
            return self.step(host, Input.RCR_PLUS, now, packet)
        event, answer = self.judge(host, packet)
        return self.step(host, event, now, packet, answer)

    def _receive_ack(self, host: Host, packet: Packet, now: float) -> Action | None:
        if self._is_stale(packet) or packet.data != encode_options(self.wanted_options()):
            return None
        self._answered = True
        return self.step(host, Input.RCA, now, packet)

    def _receive_refusal(self, host: Host, packet: Packet, now: float) -> Action | None:
        if self._is_stale(packet):
            return None
        options = decode_options(packet.data)
        self._answered = True
        self._refusals += 1
        if self._refusals > host.config.max_configure:
            self.failure = "negotiation does not converge"
        for option in options:
            if packet.code == Code.CONFIGURE_NAK:
                self.give_way(host, option)
            else:
                self.give_up(option)
        return None if self.failure else self.step(host, Input.RCN, now, packet)

    def _receive_terminate_request(self, host: Host, packet: Packet, now: float) -> Action | None:
        return self.step(host, Input.RTR, now, packet)

    def _receive_terminate_ack(self, host: Host, packet: Packet, now: float) -> Action | None:
        return self.step(host, Input.RTA, now, packet)

    def _receive_code_reject(self, host: Host, packet: Packet, now: float) -> Action | None:
        vital = bool(packet.data) and packet.data[0] in _HANDLERS
        return self.step(host, Input.RXJ_MINUS if vital else Input.RXJ_PLUS, now, packet)

    def _is_stale(self, packet: Packet) -> bool:
        return self._answered or packet.identifier != self._request_id

    # Actions.

    def _begin(self, host: Host, now: float) -> None:
        self.failure = ""
        self._naks_sent = 0
        self._refusals = 0
        self._restarts = host.config.max_configure
        self.begin(host, now)

    def answer(self, host: Host, action: Action, packet: Packet, answer: bytes, now: float) -> None:
        """Do an action that answers a packet of the peer."""
        if action in (Action.SCA, Action.SCN):
            host.send(self.protocol, answer)
        elif action is Action.STA:
            self._send(host, Code.TERMINATE_ACK, packet.identifier, b"")
        elif action is Action.SCJ and host.take_reject_permit(now):
            rejected = encode_packet(packet)[: max(0, host.peer_mru - HEADER_BYTES)]
            self._send(host, Code.CODE_REJECT, self.next_identifier(), rejected)

    def _send_terminate(self, host: Host, now: float, *, again: bool) -> None:
        identifier = self._identifier if again else self.next_identifier()
        self._restarts -= 1
        self.timer_at = now + host.config.restart_s
        data = self.farewell[: max(0, host.peer_mru - HEADER_BYTES)]
        self._send(host, Code.TERMINATE_REQUEST, identifier, data)

    def _send(self, host: Host, code: int, identifier: int, data: bytes) -> None:
        host.send(self.protocol, encode_packet(Packet(code, identifier, data)))


def _reply(code: int, request: Packet, body: bytes) -> bytes:
    return encode_packet(Packet(code, request.identifier, body))


_HANDLERS: Final[dict[int, Callable[[ControlProtocol, Host, Packet, float], Action | None]]] = {
    Code.CONFIGURE_REQUEST: ControlProtocol._receive_request,
    Code.CONFIGURE_ACK: ControlProtocol._receive_ack,
    Code.CONFIGURE_NAK: ControlProtocol._receive_refusal,
    Code.CONFIGURE_REJECT: ControlProtocol._receive_refusal,
    Code.TERMINATE_REQUEST: ControlProtocol._receive_terminate_request,
    Code.TERMINATE_ACK: ControlProtocol._receive_terminate_ack,
    Code.CODE_REJECT: ControlProtocol._receive_code_reject,
}
