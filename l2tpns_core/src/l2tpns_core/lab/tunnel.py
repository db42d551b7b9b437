"""One L2TP tunnel of the lab's LAC and the calls in it."""

import asyncio
import enum
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from l2tpns_core.lab.avp import (
    HEADER_LENGTH,
    Attr,
    Avp,
    Control,
    DecodeError,
    Kind,
    challenge_response,
    decode_control,
    encode_avps,
    u16,
    u32,
)
from l2tpns_core.lab.channel import Channel, ChannelOptions
from l2tpns_core.lab.client import CallEnd, CallOptions, Client
from l2tpns_core.lab.frames import DataMessage
from l2tpns_core.lab.transport import Address, Port
from l2tpns_core.timers import Timer

if TYPE_CHECKING:
    from l2tpns_core.lab.lac import Lac

LATE_DATA_S: Final = 1.0  # data for a call that is over is only late within this time
MAX_CLOSED: Final = 65_536  # ids of ended calls that are remembered, the oldest go first
STOP_BAD_AUTHENTICATION: Final = 4
GENERAL_ERROR: Final = 2
BAD_VALUE: Final = 3  # the error code beside it


class TunnelState(enum.Enum):
    """RFC 2661 section 7.2, seen from the LAC that opens the tunnel."""

    WAIT_REPLY = "wait-ctl-reply"
    ESTABLISHED = "established"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(slots=True)
class TunnelOptions:
    host_name: str = "lab-lac"
    vendor_name: str = "l2tpns-lab"
    secret: bytes = field(default=b"", repr=False)
    """Challenges the LNS, and answers its challenge."""
    challenge: bool = True
    """With a secret: challenge the LNS."""
    hide_avps: bool = False
    """Hide whatever may be hidden; needs the secret."""
    channel: ChannelOptions = field(default_factory=ChannelOptions)
    request_avps: tuple[Avp, ...] = ()
    """More attributes for the SCCRQ."""


@dataclass(slots=True, frozen=True)
class TunnelEnd:
    """How a tunnel ended. `by`: `StopCCN` (the LNS's), `local`, `timeout` or `vanished`."""

    by: str
    result: int = 0
    error: int = 0
    text: str = ""

    def __str__(self) -> str:
        codes = f" {self.result}/{self.error}" if self.result else ""
        return f"{self.by}{codes}{' ' + self.text if self.text else ''}"


class TunnelError(Exception):
    """The tunnel ended before it was established."""

    def __init__(self, end: TunnelEnd) -> None:
        self.end = end
        super().__init__(str(end))


class Tunnel:
    """A control connection to the LNS. Made by Lac.open_tunnel()."""

    __slots__ = (
        "_challenge",
        "_closed_calls",
        "_end_waiters",
        "_next_session_id",
        "_open_waiters",
        "_timer",
        "calls",
        "channel",
        "deaf",
        "end",
        "hellos_received",
        "host_name",
        "lac",
        "local_id",
        "opened_at",
        "options",
        "peer",
        "peer_id",
        "peer_session_ids",
        "port",
        "requested_at",
        "results",
        "state",
        "vendor_name",
    )

    def __init__(
        self, lac: "Lac", local_id: int, port: Port, peer: Address, options: TunnelOptions
    ) -> None:
        self.lac = lac
        self.local_id = local_id
        self.peer_id = 0
        self.port = port
        self.peer = peer
        self.options = options
        self.state = TunnelState.WAIT_REPLY
        self.calls: dict[int, Client] = {}
        self.peer_session_ids: set[int] = set()
        self.deaf = False
        self.end: TunnelEnd | None = None
        self.host_name = ""
        """The LNS's."""
        self.vendor_name = ""
        self.hellos_received = 0
        self.results: Counter[str] = Counter()
        """CDN and StopCCN that came, by their codes and text."""
        self.requested_at = lac.clock.now()
        self.opened_at: float | None = None
        self.channel = Channel(options.channel, lac.channel_counters, self.send_raw, self.fault)
        self._challenge = b""
        self._closed_calls: dict[int, float] = {}
        self._next_session_id = int.from_bytes(lac.random(2), "big")
        self._timer = Timer(self._handle_timer)
        self._open_waiters: list[asyncio.Future[None]] = []
        self._end_waiters: list[asyncio.Future[TunnelEnd]] = []
        self._request()

    # -- what tests and dial() use --------------------------------------------------------------

    def call(self, options: CallOptions | None = None) -> Client:
        """Place an incoming call (ICRQ); await its `up`."""
        if self.state is not TunnelState.ESTABLISHED:
            raise RuntimeError(f"tunnel {self.local_id} is {self.state.value}")
        client = Client(self, self._new_session_id(), options or CallOptions())
        self.calls[client.session_id] = client
        return client

    @property
    def established(self) -> "asyncio.Future[None]":
        """Await it; raises TunnelError when the tunnel ends before that."""
        future: asyncio.Future[None] = self.lac.loop.create_future()
        if self.opened_at is not None:
            future.set_result(None)
        elif self.end is not None:
            future.set_exception(TunnelError(self.end))
        else:
            self._open_waiters.append(future)
        return future

    @property
    def closed(self) -> "asyncio.Future[TunnelEnd]":
        """Await it for how the tunnel ended (for our own StopCCN: it was acknowledged)."""
        future: asyncio.Future[TunnelEnd] = self.lac.loop.create_future()
        if self.end is not None and self.state is TunnelState.CLOSED:
            future.set_result(self.end)
        else:
            self._end_waiters.append(future)
        return future

    def close(self, result: int = 1, error: int = 0, text: str = "") -> None:
        """Send a StopCCN; the calls end at once."""
        if self.end is not None:
            return
        value = u16(result) + (u16(error) + text.encode() if error or text else b"")
        avps = [
            Avp(Attr.ASSIGNED_TUNNEL_ID, u16(self.local_id)),
            Avp(Attr.RESULT_CODE, value),
        ]
        self.send_control(Kind.STOPCCN, avps)
        self._finish(TunnelEnd("local", result, error, text), TunnelState.CLOSING)

    def vanish(self) -> None:
        """Play dead: nothing is sent and nothing is heard any more, on the tunnel and its calls."""
        self.deaf = True
        self.channel.stop()
        self.lac.clock.set(self._timer, None)
        self._finish(TunnelEnd("vanished"), TunnelState.CLOSED)

    def hello(self) -> None:
        """Send a HELLO."""
        self.send_control(Kind.HELLO, [])

    def send_control(
        self,
        kind: int,
        avps: Iterable[Avp],
        session_id: int = 0,
        on_sent: Callable[[], None] | None = None,
    ) -> None:
        """Send a control message, reliably; on_sent is called when it first leaves."""
        hide_all = self.options.hide_avps and bool(self.options.secret)
        body = encode_avps(kind, avps, self.options.secret, hide_all, self.lac.random)
        self.channel.send(session_id, body, self.lac.clock.now(), on_sent)
        self._arm()

    def send_raw(self, datagram: bytes) -> None:
        """Send any bytes to the LNS from this tunnel's address and port."""
        if not self.deaf:
            self.port.send(datagram, self.peer)

    def fault(self, text: str) -> None:
        """Note what the LNS did wrong on this tunnel."""
        self.lac.note_violation(f"{self.local_id}/-", text)

    # -- setup ----------------------------------------------------------------------------------

    def _request(self) -> None:
        avps = [
            Avp(Attr.PROTOCOL_VERSION, b"\x01\x00"),
            Avp(Attr.HOST_NAME, self.options.host_name.encode()),
            Avp(Attr.FRAMING_CAPABILITIES, u32(3)),
            Avp(Attr.BEARER_CAPABILITIES, u32(0)),
            Avp(Attr.FIRMWARE_REVISION, u16(0x0100)),
            Avp(Attr.VENDOR_NAME, self.options.vendor_name.encode()),
            Avp(Attr.ASSIGNED_TUNNEL_ID, u16(self.local_id)),
            Avp(Attr.RECEIVE_WINDOW_SIZE, u16(self.options.channel.window)),
        ]
        if self.options.secret and self.options.challenge:
            self._challenge = self.lac.random(16)
            avps.append(Avp(Attr.CHALLENGE, self._challenge))
        self.send_control(Kind.SCCRQ, [*avps, *self.options.request_avps])

    def _receive_reply(self, message: Control) -> None:
        if self.state is not TunnelState.WAIT_REPLY:
            self.fault("a second SCCRP")
            return
        self.peer_id = message.number(Attr.ASSIGNED_TUNNEL_ID)
        self.channel.tunnel_id = self.peer_id
        if not self.peer_id:
            self.fault("SCCRP with tunnel id 0")
            self.channel.stop()
            self._finish(
                TunnelEnd("local", GENERAL_ERROR, BAD_VALUE, "SCCRP without a tunnel id"),
                TunnelState.CLOSED,
            )
            return
        self.lac.check_tunnel_id(self)
        if message.avps.get(Attr.PROTOCOL_VERSION, b"\x01\x00") != b"\x01\x00":
            self.fault("SCCRP with another protocol version than 1.0")
        self.host_name = message.avps.get(Attr.HOST_NAME, b"").decode("utf-8", "backslashreplace")
        self.vendor_name = message.avps.get(Attr.VENDOR_NAME, b"").decode(
            "utf-8", "backslashreplace"
        )
        if Attr.RECEIVE_WINDOW_SIZE in message.avps:
            window = message.number(Attr.RECEIVE_WINDOW_SIZE)
            if not window:
                self.fault("SCCRP with a receive window of 0")
            self.channel.set_peer_window(window)
        if not self._is_authentic(message):
            self.close(STOP_BAD_AUTHENTICATION, text="challenge response missing or wrong")
            return
        self._connect(message)

    def _is_authentic(self, message: Control) -> bool:
        answer = message.avps.get(Attr.CHALLENGE_RESPONSE)
        if not self._challenge:
            if answer is not None:
                self.fault("a challenge response although we did not challenge")
            return True
        return answer == challenge_response(Kind.SCCRP, self.options.secret, self._challenge)

    def _connect(self, message: Control) -> None:
        avps = []
        challenge = message.avps.get(Attr.CHALLENGE)
        if challenge is not None:
            if not self.options.secret:
                self.close(STOP_BAD_AUTHENTICATION, text="challenged, but we know no secret")
                return
            answer = challenge_response(Kind.SCCCN, self.options.secret, challenge)
            avps.append(Avp(Attr.CHALLENGE_RESPONSE, answer))
        self.state = TunnelState.ESTABLISHED
        self.opened_at = self.lac.clock.now()
        self.send_control(Kind.SCCCN, avps)
        for future in self._open_waiters:
            if not future.done():
                future.set_result(None)
        self._open_waiters.clear()

    def _new_session_id(self) -> int:
        for _ in range(0xFFFF):
            self._next_session_id = self._next_session_id % 0xFFFF + 1
            if self._next_session_id not in self.calls:
                self._closed_calls.pop(self._next_session_id, None)
                return self._next_session_id
        raise RuntimeError(f"tunnel {self.local_id} has no session id left")

    # -- receiving ------------------------------------------------------------------------------

    def receive_control(self, datagram: bytes, source: Address) -> None:
        """A control datagram that carries our tunnel id."""
        if self.deaf:
            return
        try:
            message = decode_control(datagram, self.options.secret)
        except DecodeError as error:
            self.fault(str(error))
            return
        self._check_source(message, source)
        for fault in message.faults:
            self.fault(fault)
        now = self.lac.clock.now()
        for ready in self.channel.receive(message, datagram[HEADER_LENGTH:], now):
            self._dispatch(ready)
        self._after_receive()

    def _check_source(self, message: Control, source: Address) -> None:
        if source == self.peer:
            return
        if message.kind == Kind.SCCRP and source[0] == self.peer[0] and not self.peer_id:
            self.peer = source  # section 8.1: the LNS may choose its own port
        else:
            self.fault(f"control message from {source[0]}:{source[1]}")

    def _dispatch(self, message: Control) -> None:
        kind = message.kind
        if kind in (Kind.ICRP, Kind.CDN, Kind.SLI):
            self._dispatch_to_call(message)
            return
        if message.session_id:
            self.fault(f"message type {kind} with session id {message.session_id} in its header")
        if kind == Kind.SCCRP:
            self._receive_reply(message)
        elif kind == Kind.STOPCCN:
            self._receive_stop(message)
        elif kind == Kind.HELLO:
            self.hellos_received += 1

    def _dispatch_to_call(self, message: Control) -> None:
        if message.kind == Kind.CDN:
            self._count_result("CDN", message)
        client = self.calls.get(message.session_id)
        if client is None:
            if message.session_id not in self._closed_calls:
                self.fault(f"message type {message.kind} for unknown session {message.session_id}")
            return
        if client.vanished and message.kind != Kind.CDN:
            return
        if message.kind == Kind.ICRP:
            theirs = message.number(Attr.ASSIGNED_SESSION_ID)
            if theirs in self.peer_session_ids:
                self.fault(f"ICRP with session id {theirs}, which another call has")
            self.peer_session_ids.add(theirs)
            client.receive_reply(message)
        elif message.kind == Kind.CDN:
            client.receive_disconnect(message)

    def _receive_stop(self, message: Control) -> None:
        theirs = message.number(Attr.ASSIGNED_TUNNEL_ID)
        if self.peer_id and theirs != self.peer_id:
            self.fault(f"StopCCN with tunnel id {theirs} instead of {self.peer_id}")
        self._count_result("StopCCN", message)
        self.channel.write_ack()
        if self.end is None:
            self._finish(TunnelEnd("StopCCN", *message.result()), TunnelState.CLOSED)

    def _count_result(self, name: str, message: Control) -> None:
        result, error, text = message.result()
        self.results[f"{name} {result}/{error} {text}".rstrip()] += 1

    def receive_data(self, message: DataMessage, source: Address) -> None:
        """A data message that carries our tunnel id."""
        if self.deaf:
            return
        if source != self.peer:
            self.fault(f"data from {source[0]}:{source[1]}")
        client = self.calls.get(message.session_id)
        if client is not None:
            client.receive_data(message.ns, message.payload)
            return
        ended_at = self._closed_calls.get(message.session_id)
        if ended_at is None:
            self.fault(f"data for unknown session {message.session_id}")
        elif self.lac.clock.now() - ended_at > LATE_DATA_S and not self.lac.spoils_control:
            self.fault(f"data for session {message.session_id}, which is over")
        else:
            self.lac.late_data += 1

    # -- end ------------------------------------------------------------------------------------

    def forget_call(self, client: Client) -> None:
        """A call is over."""
        self.calls.pop(client.session_id, None)
        self.peer_session_ids.discard(client.peer_session_id)
        self._closed_calls[client.session_id] = self.lac.clock.now()
        if len(self._closed_calls) > MAX_CLOSED:
            del self._closed_calls[next(iter(self._closed_calls))]
        self.lac.forget_address(client)

    def _finish(self, end: TunnelEnd, state: TunnelState) -> None:
        self.end = end
        self.state = state
        for client in list(self.calls.values()):
            client.finish(CallEnd(end.by, end.result, end.error, end.text))
        for future in self._open_waiters:
            if not future.done():
                future.set_exception(TunnelError(end))
        self._open_waiters.clear()
        if state is TunnelState.CLOSED:
            self._tell_closed()

    def _tell_closed(self) -> None:
        assert self.end is not None
        for future in self._end_waiters:
            if not future.done():
                future.set_result(self.end)
        self._end_waiters.clear()

    # -- time -----------------------------------------------------------------------------------

    def _after_receive(self) -> None:
        if self.state is TunnelState.CLOSING and self.channel.idle:
            self.state = TunnelState.CLOSED
            self._tell_closed()
        self._arm()

    def _arm(self) -> None:
        self.lac.clock.set(self._timer, None if self.deaf else self.channel.get_timer())

    def _handle_timer(self, now: float) -> None:
        self.channel.handle_timer(now)
        if self.channel.failed and self.state is not TunnelState.CLOSED:
            self.channel.stop()
            self._finish(self.end or TunnelEnd("timeout"), TunnelState.CLOSED)
        self._arm()
