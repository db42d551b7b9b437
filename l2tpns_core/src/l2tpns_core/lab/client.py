"""One simulated subscriber: an incoming call of the LAC and the PPP client behind it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from l2tpns_core.lab.avp import Attr, Avp, Control, Kind, u16, u32
from l2tpns_core.lab.frames import (
    FaultError,
    Pinger,
    decode_ipv4,
    encode_data,
    is_echo_reply,
    udp_packet,
)
from l2tpns_core.lab.ppp import Phase, PppClient, PppOptions, chap_response
from l2tpns_core.lab.ppp_options import AUTH_CHAP_MD5, AUTH_PAP
from l2tpns_core.timers import Timer

if TYPE_CHECKING:
    from l2tpns_core.lab.tunnel import Tunnel

MAX_RECEIVED: Final = 256  # packets kept for tests to look at; older ones are dropped
MAX_TRACE: Final = 400  # frames kept with `trace`

CDN_LOST_CARRIER: Final = 1
CDN_ADMINISTRATIVE: Final = 3


@dataclass(slots=True)
class CallOptions:
    """What one subscriber's call is like."""

    ppp: PppOptions = field(default_factory=PppOptions)
    calling_number: str = ""
    called_number: str = ""
    sub_address: str = ""
    tx_speed: int = 1_000_000
    rx_speed: int = 128_000
    sequencing: bool = False
    """Sequencing Required in the ICCN."""
    length_field: bool = False
    """Data messages with the L bit."""
    proxy: bool = False
    """The LAC leads LCP and takes the login; both go to the LNS as proxy AVPs."""
    attach_delay_s: float = 0.0
    """Frames of the LNS within this time after the ICCN are lost, as with a real xl2tpd."""
    cdn_grace_s: float = 1.0
    """After the PPP link has ended, how long the LAC waits for the LNS's CDN before its own."""
    trace: bool = False
    """Keep the last frames in `Client.trace`."""
    request_avps: Sequence[Avp] = ()
    """More attributes for the ICRQ."""
    connect_avps: Sequence[Avp] = ()
    """More attributes for the ICCN."""


@dataclass(slots=True, frozen=True)
class CallEnd:
    """How a call ended. `by`: `CDN`, `StopCCN`, `local`, `vanished` or `timeout`."""

    by: str
    result: int = 0
    error: int = 0
    text: str = ""
    cause: bytes = b""
    """The value of a PPP Disconnect Cause Code AVP (RFC 3145)."""

    def __str__(self) -> str:
        codes = f" {self.result}/{self.error}" if self.result else ""
        return f"{self.by}{codes}{' ' + self.text if self.text else ''}"


class CallError(Exception):
    """The call ended without having been up."""

    def __init__(self, client: "Client") -> None:
        self.client = client
        detail = client.ppp_reason or ("login refused" if client.ppp.refused else "")
        super().__init__(f"{client.where}: {client.end}{', ' + detail if detail else ''}")


class Client:
    """A call and its subscriber. Made by Tunnel.call()."""

    __slots__ = (
        "_down_waiters",
        "_ns",
        "_packet_waiters",
        "_timer",
        "_up_waiters",
        "bytes_received",
        "connected_at",
        "data_ns",
        "echo_replies",
        "end",
        "ended_at",
        "options",
        "packets_received",
        "packets_sent",
        "peer_session_id",
        "pinger",
        "ppp",
        "ppp_reason",
        "received",
        "requested_at",
        "sequencing",
        "serial_number",
        "session_id",
        "trace",
        "tunnel",
        "up_at",
        "vanished",
    )

    def __init__(self, tunnel: "Tunnel", session_id: int, options: CallOptions) -> None:
        lac = tunnel.lac
        self.tunnel = tunnel
        self.session_id = session_id
        """Our id; `peer_session_id` is the LNS's."""
        self.peer_session_id = 0
        self.options = options
        self.ppp = PppClient(options.ppp, self, lac.random, lac.ppp_counters)
        self.ppp_reason = ""
        self.serial_number = lac.next_serial_number()
        self.sequencing = options.sequencing
        self.data_ns: int | None = None
        """The sequence number that the LNS's next data message should carry."""
        self.end: CallEnd | None = None
        self.vanished = False
        self.requested_at = lac.clock.now()
        self.connected_at: float | None = None
        self.up_at: float | None = None
        self.ended_at: float | None = None
        self.packets_sent = 0
        self.packets_received = 0
        self.bytes_received = 0
        self.echo_replies = 0
        self.received: deque[bytes] = deque(maxlen=MAX_RECEIVED)
        """IPv4 packets that came, other than answers to `pinger`."""
        self.trace: deque[tuple[float, bool, bytes]] | None = (
            deque(maxlen=MAX_TRACE) if options.trace else None
        )
        """(when, sent by us, frame)."""
        self.pinger: Pinger | None = None
        self._ns = 0
        self._timer = Timer(self._handle_timer)
        self._up_waiters: list[asyncio.Future[str]] = []
        self._down_waiters: list[asyncio.Future[CallEnd]] = []
        self._packet_waiters: list[asyncio.Future[None]] = []
        self._request()

    # -- what tests and dial() use --------------------------------------------------------------

    @property
    def where(self) -> str:
        return f"{self.tunnel.local_id}/{self.session_id}"

    @property
    def ip(self) -> str:
        """The address that the LNS gave, "" before."""
        return dotted(self.ppp.ip) if self.ppp.ip else ""

    @property
    def dns(self) -> tuple[str, ...]:
        return tuple(dotted(address) for address in self.ppp.dns if address)

    @property
    def is_up(self) -> bool:
        return self.ppp.phase is Phase.UP and self.end is None

    @property
    def up(self) -> "asyncio.Future[str]":
        """Await it for the address; raises CallError when the call ends before that."""
        future: asyncio.Future[str] = self.tunnel.lac.loop.create_future()
        if self.is_up:
            future.set_result(self.ip)
        elif self.end is not None:
            future.set_exception(CallError(self))
        else:
            self._up_waiters.append(future)
        return future

    @property
    def down(self) -> "asyncio.Future[CallEnd]":
        """Await it for how the call ended."""
        future: asyncio.Future[CallEnd] = self.tunnel.lac.loop.create_future()
        if self.end is not None:
            future.set_result(self.end)
        else:
            self._down_waiters.append(future)
        return future

    def hangup(self, how: str = "ppp") -> None:
        """End the call: `ppp` (LCP Terminate), `call` (CDN), `tunnel` (StopCCN) or `vanish`."""
        if how == "ppp":
            self.tunnel.lac.forget_address(self)
            self.ppp.terminate()
            self.tunnel.lac.clock.after(self.options.cdn_grace_s * 3, self._end_if_open)
        elif how == "call":
            self.disconnect(CDN_ADMINISTRATIVE, text="hung up")
        elif how == "tunnel":
            self.tunnel.close()
        elif how == "vanish":
            self.vanish()
        else:
            raise ValueError(f"no such way to hang up: {how}")

    def disconnect(self, result: int, error: int = 0, text: str = "") -> None:
        """Send a CDN with these codes; the call is over at once for us."""
        if self.end is not None:
            return
        value = u16(result) + (u16(error) + text.encode() if error or text else b"")
        avps = [
            Avp(Attr.RESULT_CODE, value),
            Avp(Attr.ASSIGNED_SESSION_ID, u16(self.session_id)),
        ]
        self.tunnel.send_control(Kind.CDN, avps, self.peer_session_id)
        self.finish(CallEnd("local", result, error, text))

    def vanish(self) -> None:
        """Play dead: nothing is sent and nothing is heard any more; the tunnel goes on."""
        self.vanished = True
        self.tunnel.lac.clock.set(self._timer, None)
        self.tunnel.lac.forget_address(self)

    def send_ip(self, packet: bytes) -> None:
        """Send an IPv4 packet through the tunnel."""
        self.packets_sent += 1
        self.ppp.send_ip(packet)

    def send_udp(self, target: str, port: int, data: bytes, source_port: int = 40_000) -> None:
        """Send a UDP datagram from our address through the tunnel."""
        self.send_ip(udp_packet(self.ppp.ip, source_port, number(target), port, data))

    def ping(self, target: str, size: int = 64) -> None:
        """Send one ICMP echo request of `size` bytes; answers count in `echo_replies`."""
        wanted = (number(target), size)
        if self.pinger is None or (self.pinger.target, self.pinger.size) != wanted:
            self.pinger = Pinger(self.ppp.ip, number(target), self.session_id, size)
        self.send_ip(self.pinger.next_packet())

    async def next_packet(self, timeout_s: float = 5.0) -> bytes:
        """The oldest packet in `received`, waiting for one. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not self.received:
                future: asyncio.Future[None] = self.tunnel.lac.loop.create_future()
                self._packet_waiters.append(future)
                await future
        return self.received.popleft()

    def report_errors(self, errors: Sequence[int] = (0, 0, 0, 0, 0, 0)) -> None:
        """Send a WEN with these six counters."""
        value = bytes(2) + b"".join(map(u32, errors))
        self.tunnel.send_control(Kind.WEN, [Avp(Attr.CALL_ERRORS, value)], self.peer_session_id)

    def renegotiate(self) -> None:
        """Start over with LCP."""
        self.ppp.renegotiate(self.tunnel.lac.clock.now())
        self._arm()

    # -- the call -------------------------------------------------------------------------------

    def _request(self) -> None:
        options = self.options
        avps = [
            Avp(Attr.ASSIGNED_SESSION_ID, u16(self.session_id)),
            Avp(Attr.CALL_SERIAL_NUMBER, u32(self.serial_number)),
        ]
        for attr, text in (
            (Attr.CALLED_NUMBER, options.called_number),
            (Attr.CALLING_NUMBER, options.calling_number),
            (Attr.SUB_ADDRESS, options.sub_address),
        ):
            if text:
                avps.append(Avp(attr, text.encode()))
        self.tunnel.send_control(Kind.ICRQ, [*avps, *options.request_avps])

    def receive_reply(self, message: Control) -> None:
        """The ICRP came: connect."""
        if self.peer_session_id:
            self.ppp_fault("a second ICRP")
            return
        self.peer_session_id = message.number(Attr.ASSIGNED_SESSION_ID)
        if not self.peer_session_id:
            self.ppp_fault("ICRP with session id 0")
            self.disconnect(2, 3, "ICRP without a session id")
            return
        avps = [
            Avp(Attr.TX_CONNECT_SPEED, u32(self.options.tx_speed)),
            Avp(Attr.FRAMING_TYPE, u32(1)),
            Avp(Attr.RX_CONNECT_SPEED, u32(self.options.rx_speed)),
        ]
        if self.options.sequencing:
            avps.append(Avp(Attr.SEQUENCING_REQUIRED, b""))
            self.data_ns = 0
        if self.options.proxy:
            avps += self._proxy_avps()
        avps += self.options.connect_avps
        self.tunnel.send_control(Kind.ICCN, avps, self.peer_session_id, self._connected)

    def _connected(self) -> None:
        """The ICCN has left: the line is through."""
        if self.end is not None:
            return
        self.connected_at = self.tunnel.lac.clock.now()
        if not self.options.proxy:
            self.ppp.start(self.connected_at)
        self._arm()

    def _proxy_avps(self) -> list[Avp]:
        """Pretend that the LAC led LCP with this client, and take its login (section 4.4.5)."""
        random, ppp = self.tunnel.lac.random, self.ppp
        auth = AUTH_PAP if ppp.options.auth[0] == "pap" else AUTH_CHAP_MD5
        lac_magic = random(4)
        client_asked = b"\x02\x06\0\0\0\0\x05\x06" + ppp.magic
        lac_asked = bytes((3, 2 + len(auth))) + auth + b"\x05\x06" + lac_magic
        avps = [
            Avp(Attr.INITIAL_RECEIVED_LCP, client_asked),
            Avp(Attr.LAST_SENT_LCP, lac_asked),
            Avp(Attr.LAST_RECEIVED_LCP, client_asked),
            Avp(Attr.PROXY_AUTH_NAME, ppp.options.user.encode()),
            Avp(Attr.PROXY_AUTH_ID, b"\0\x07"),
        ]
        if auth == AUTH_PAP:
            avps.append(Avp(Attr.PROXY_AUTH_TYPE, u16(3)))
            avps.append(Avp(Attr.PROXY_AUTH_RESPONSE, ppp.options.password.encode()))
        else:
            challenge = random(16)
            response = chap_response(7, ppp.options.password, challenge)
            avps.append(Avp(Attr.PROXY_AUTH_TYPE, u16(2)))
            avps.append(Avp(Attr.PROXY_AUTH_CHALLENGE, challenge))
            avps.append(Avp(Attr.PROXY_AUTH_RESPONSE, response))
        ppp.start_after_proxy(auth, lac_magic, 7)
        return avps

    def receive_disconnect(self, message: Control) -> None:
        """The LNS's CDN."""
        theirs = message.number(Attr.ASSIGNED_SESSION_ID)
        if self.peer_session_id and theirs != self.peer_session_id:
            self.ppp_fault(f"CDN with session id {theirs} instead of {self.peer_session_id}")
        cause = message.avps.get(Attr.DISCONNECT_CAUSE, b"")
        self.finish(CallEnd("CDN", *message.result(), cause))

    def finish(self, end: CallEnd) -> None:
        """The call is over."""
        if self.end is not None:
            return
        self.end = end
        self.ended_at = self.tunnel.lac.clock.now()
        self.tunnel.lac.clock.set(self._timer, None)
        self.tunnel.forget_call(self)
        for up in self._up_waiters:
            if not up.done():
                up.set_exception(CallError(self))
        for down in self._down_waiters:
            if not down.done():
                down.set_result(end)
        self._up_waiters.clear()
        self._down_waiters.clear()

    def _end_if_open(self) -> None:
        if self.end is None and not self.vanished:
            self.disconnect(CDN_LOST_CARRIER, text=self.ppp_reason or "link down")

    # -- data -----------------------------------------------------------------------------------

    def receive_data(self, ns: int | None, frame: bytes) -> None:
        """A data message of the LNS for this call."""
        lac = self.tunnel.lac
        now = lac.clock.now()
        if self.vanished:
            return
        if self.connected_at is None:
            self.ppp_fault("data before the ICCN")
            return
        if self.options.attach_delay_s and now < self.connected_at + self.options.attach_delay_s:
            return
        self._check_sequence(ns)
        if self.trace is not None:
            self.trace.append((now, False, frame))
        self.ppp.receive(frame, now)
        if self.ppp.phase is not Phase.UP or frame[:1] != b"\xff" or frame[2:4] != b"\x00\x21":
            self._arm()

    def _check_sequence(self, ns: int | None) -> None:
        if ns is None:
            if self.options.sequencing:
                self.ppp_fault("data without a sequence number although sequencing is required")
            self.sequencing = False
            return
        if self.data_ns is not None and ns != self.data_ns and self.ppp.options.strict:
            self.ppp_fault(f"data with Ns {ns} where {self.data_ns} is next")
        # RFC 2661 section 5.4: the LNS may begin it at any time, and then we number as well.
        self.sequencing = True
        self.data_ns = (ns + 1) & 0xFFFF

    def send_frame(self, frame: bytes) -> None:
        """Send any bytes as a PPP frame (with whatever address and control field they have)."""
        if self.vanished or not self.peer_session_id:
            return
        ns = None
        if self.sequencing:
            ns = self._ns
            self._ns = (ns + 1) & 0xFFFF
        if self.trace is not None:
            self.trace.append((self.tunnel.lac.clock.now(), True, frame))
        self.tunnel.send_raw(
            encode_data(
                self.tunnel.peer_id, self.peer_session_id, frame, ns, self.options.length_field
            )
        )

    def ppp_fault(self, text: str) -> None:
        """Note what the LNS did wrong in this call."""
        self.tunnel.lac.note_violation(self.where, text)

    def ppp_up(self) -> None:
        """The link is up (called by `ppp`)."""
        if self.up_at is None:
            self.up_at = self.tunnel.lac.clock.now()
        self.tunnel.lac.register_address(self)
        for future in self._up_waiters:
            if not future.done():
                future.set_result(self.ip)
        self._up_waiters.clear()

    def ppp_down(self, reason: str) -> None:
        """The link has ended (called by `ppp`): the LNS's CDN should follow, else ours."""
        self.ppp_reason = reason
        self.tunnel.lac.forget_address(self)
        self.tunnel.lac.clock.after(self.options.cdn_grace_s, self._end_if_open)

    def ppp_packet(self, packet: bytes) -> None:
        """An IPv4 packet came (called by `ppp`)."""
        try:
            decoded = decode_ipv4(packet)
        except FaultError as fault:
            self.ppp_fault(str(fault))
            return
        self.packets_received += 1
        self.bytes_received += len(packet)
        if decoded.target != self.ppp.ip:
            self.ppp_fault(f"a packet to {dotted(decoded.target)} reached {self.ip}")
            return
        if self.pinger is not None and is_echo_reply(decoded, self.pinger.identifier):
            self.echo_replies += 1
            if decoded.source != self.pinger.target:
                self.ppp_fault(f"an echo reply from {dotted(decoded.source)}, who was not asked")
            return
        self.received.append(packet)
        for future in self._packet_waiters:
            if not future.done():
                future.set_result(None)
        self._packet_waiters.clear()

    def _arm(self) -> None:
        if self.end is None and not self.vanished:
            self.tunnel.lac.clock.set(self._timer, self.ppp.get_timer())

    def _handle_timer(self, now: float) -> None:
        if self.end is None and not self.vanished:
            self.ppp.handle_timer(now)
            self._arm()


def dotted(address: int) -> str:
    """An IPv4 address as text."""
    return ".".join(map(str, address.to_bytes(4, "big")))


def number(address: str) -> int:
    """An IPv4 address as a number. Raises ValueError."""
    parts = [int(part) for part in address.split(".")]
    if len(parts) != 4:
        raise ValueError(f"no IPv4 address: {address}")
    return int.from_bytes(bytes(parts), "big")
