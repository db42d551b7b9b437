"""A small LNS for testing the LAC: polite by default, and rude on request."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from l2tpns_core.lab import frames
from l2tpns_core.lab.avp import (
    HEADER_LENGTH,
    Attr,
    Avp,
    Control,
    Kind,
    challenge_response,
    decode_control,
    encode_avps,
    u16,
    u32,
)
from l2tpns_core.lab.channel import Channel, ChannelCounters, ChannelOptions
from l2tpns_core.lab.transport import Address, Clock, make_udp_socket
from l2tpns_core.timers import Timer

MAGIC = b"\x11\x22\x33\x44"
LNS_IP = bytes((10, 0, 0, 1))


@dataclass(slots=True)
class Manners:
    """How the LNS behaves."""

    secret: bytes = b""
    challenge: bool = False
    refuse_tunnel: tuple[int, str] | None = None
    refuse_call: tuple[int, str] | None = None
    wrong_passwords: frozenset[bytes] = frozenset()
    same_address: bool = False
    misdirect_replies: bool = False
    numbers_data: bool = True
    """Number data messages when the LAC requires it."""
    answer_pings: bool = True
    cdn_after_terminate: bool = True
    change: Callable[[int, list[Avp]], list[Avp]] = lambda _kind, avps: avps
    """Changes the attributes of a message before it is sent."""
    retransmit_s: float = 1.0


@dataclass(slots=True)
class Call:
    theirs: int
    ours: int
    user: bytes = b""
    ip: bytes = bytes(4)
    sequenced: bool = False
    ns: int = 0
    connect_avps: dict[int, bytes] = field(default_factory=dict)
    request_avps: dict[int, bytes] = field(default_factory=dict)
    frames: list[bytes] = field(default_factory=list)


class ScriptedTunnel:
    def __init__(self, lns: "ScriptedLns", theirs: int, ours: int, peer: Address) -> None:
        self.lns, self.theirs, self.ours, self.peer = lns, theirs, ours, peer
        options = ChannelOptions(in_order=False, retransmit_s=lns.manners.retransmit_s)
        self.channel = Channel(options, ChannelCounters(), self.send_raw, lns.complaints.append)
        self.channel.tunnel_id = theirs
        self.channel.set_peer_window(64)
        self.calls: dict[int, Call] = {}
        self.stop_result: tuple[int, int, str] | None = None
        self.timer = Timer(self._handle_timer)
        self._challenge = b"lns-challenge-16"

    def send_raw(self, datagram: bytes) -> None:
        self.lns.sock.sendto(datagram, self.peer)

    def send(self, kind: int, avps: list[Avp], session_id: int = 0) -> None:
        avps = self.lns.manners.change(kind, avps)
        body = encode_avps(kind, avps, self.lns.manners.secret, random=lambda n: bytes(range(n)))
        self.channel.send(session_id, body, self.lns.clock.now())
        self.arm()

    def arm(self) -> None:
        self.lns.clock.set(self.timer, self.channel.get_timer())

    def _handle_timer(self, now: float) -> None:
        self.channel.handle_timer(now)
        self.arm()

    def receive(self, datagram: bytes) -> None:
        message = decode_control(datagram, self.lns.manners.secret)
        for ready in self.channel.receive(message, datagram[HEADER_LENGTH:], self.lns.clock.now()):
            self.lns.heard.append((ready.kind, ready.avps))
            self._act(ready)
        self.arm()

    def _act(self, message: Control) -> None:
        if message.kind == Kind.SCCRQ:
            self._answer_request(message)
        elif message.kind == Kind.SCCCN and self.lns.manners.challenge:
            expected = challenge_response(Kind.SCCCN, self.lns.manners.secret, self._challenge)
            if message.avps.get(Attr.CHALLENGE_RESPONSE) != expected:
                self.lns.complaints.append("wrong challenge response in the SCCCN")
        elif message.kind == Kind.ICRQ:
            self._answer_call(message)
        elif message.kind == Kind.ICCN:
            call = self.calls[message.session_id]
            call.connect_avps = message.avps
            call.sequenced = (
                Attr.SEQUENCING_REQUIRED in message.avps and self.lns.manners.numbers_data
            )
            options = b"\x03\x04\xc0\x23\x05\x06" + MAGIC
            self.ppp(call, frames.PROTO_LCP, 1, 1, options)
        elif message.kind == Kind.CDN:
            self.calls.pop(message.session_id, None)
        elif message.kind == Kind.STOPCCN:
            self.stop_result = message.result()

    def _answer_request(self, message: Control) -> None:
        manners = self.lns.manners
        if manners.refuse_tunnel is not None:
            result, text = manners.refuse_tunnel
            self.stop(result, text)
            return
        avps = [
            Avp(Attr.PROTOCOL_VERSION, b"\x01\x00"),
            Avp(Attr.FRAMING_CAPABILITIES, u32(3)),
            Avp(Attr.HOST_NAME, b"scripted"),
            Avp(Attr.ASSIGNED_TUNNEL_ID, u16(self.ours)),
            Avp(Attr.RECEIVE_WINDOW_SIZE, u16(16)),
        ]
        challenge = message.avps.get(Attr.CHALLENGE)
        if challenge is not None:
            answer = challenge_response(Kind.SCCRP, manners.secret, challenge)
            avps.append(Avp(Attr.CHALLENGE_RESPONSE, answer))
        if manners.challenge:
            avps.append(Avp(Attr.CHALLENGE, self._challenge))
        self.send(Kind.SCCRP, avps)

    def _answer_call(self, message: Control) -> None:
        theirs = message.number(Attr.ASSIGNED_SESSION_ID)
        call = Call(theirs, self.lns.next_session_id())
        call.request_avps = message.avps
        self.calls[call.ours] = call
        if self.lns.manners.refuse_call is not None:
            result, text = self.lns.manners.refuse_call
            self.disconnect(call, result, text)
            return
        self.send(Kind.ICRP, [Avp(Attr.ASSIGNED_SESSION_ID, u16(call.ours))], theirs)

    def disconnect(self, call: Call, result: int, text: str = "") -> None:
        value = u16(result) + (u16(0) + text.encode() if text else b"")
        avps = [Avp(Attr.RESULT_CODE, value), Avp(Attr.ASSIGNED_SESSION_ID, u16(call.ours))]
        self.send(Kind.CDN, avps, call.theirs)
        self.calls.pop(call.ours, None)

    def stop(self, result: int, text: str = "") -> None:
        value = u16(result) + (u16(0) + text.encode() if text else b"")
        self.send(
            Kind.STOPCCN,
            [Avp(Attr.ASSIGNED_TUNNEL_ID, u16(self.ours)), Avp(Attr.RESULT_CODE, value)],
        )

    # -- PPP ------------------------------------------------------------------------------------

    def data(self, call: Call, frame: bytes) -> None:
        ns = None
        if call.sequenced:
            ns = call.ns
            call.ns = (ns + 1) & 0xFFFF
        self.send_raw(frames.encode_data(self.theirs, call.theirs, frame, ns))

    def ppp(self, call: Call, protocol: int, code: int, identifier: int, data: bytes) -> None:
        self.data(call, frames.encode_packet(protocol, code, identifier, data))

    def receive_frame(self, call: Call, frame: bytes) -> None:
        call.frames.append(frame)
        protocol = int.from_bytes(frame[2:4], "big")
        if protocol == frames.PROTO_IPV4:
            self._receive_packet(call, frame[4:])
            return
        code, identifier, data = frames.decode_packet(frame[4:])
        if protocol == frames.PROTO_PAP:
            self._receive_login(call, identifier, data)
        elif code == frames.CONFIGURE_REQUEST:
            self._receive_configure(call, protocol, identifier, data)
        elif code == frames.TERMINATE_REQUEST:
            self.ppp(call, protocol, frames.TERMINATE_ACK, identifier, b"")
            if self.lns.manners.cdn_after_terminate:
                self.disconnect(call, 1, "subscriber hung up")
        elif code == frames.ECHO_REQUEST:
            self.ppp(call, protocol, frames.ECHO_REPLY, identifier, MAGIC + data[4:])
        elif code == frames.CONFIGURE_ACK and protocol == frames.PROTO_IPCP:
            self.lns.network_acks += 1

    def _receive_login(self, call: Call, identifier: int, data: bytes) -> None:
        call.user = data[1 : 1 + data[0]]
        password = data[2 + data[0] :]
        if password in self.lns.manners.wrong_passwords:
            self.ppp(call, frames.PROTO_PAP, 3, identifier, b"\x02no")
            self.disconnect(call, 3, "login refused")
            return
        call.ip = self.lns.next_ip()
        self.ppp(call, frames.PROTO_PAP, 2, identifier, b"\x00")
        self.ppp(call, frames.PROTO_IPCP, 1, 1, b"\x03\x06" + LNS_IP)

    def _receive_configure(self, call: Call, protocol: int, identifier: int, data: bytes) -> None:
        wanted = dict(frames.decode_options(data))
        if protocol == frames.PROTO_IPCP and wanted[3] != call.ip:
            answer = b"\x03\x06" + call.ip + b"\x81\x06\x0a\x00\x00\x35\x83\x06\x0a\x00\x00\x36"
            self.ppp(call, protocol, frames.CONFIGURE_NAK, identifier, answer)
        else:
            self.ppp(call, protocol, frames.CONFIGURE_ACK, identifier, data)

    def _receive_packet(self, call: Call, packet: bytes) -> None:
        self.lns.packets.append(packet)
        if packet[9] == 1 and packet[20] == 8 and self.lns.manners.answer_pings:
            source, target = struct.unpack_from("!II", packet, 12)
            if self.lns.manners.misdirect_replies:
                source += 1
            reply = b"\x00\x00\x00\x00" + packet[24:]
            reply = reply[:2] + frames.checksum(reply).to_bytes(2, "big") + reply[4:]
            answer = frames.ipv4_packet(target, source, 1, reply)
            self.data(call, b"\xff\x03\x00\x21" + answer)


class ScriptedLns:
    """Listens on the loopback; make it inside a running loop."""

    def __init__(self, clock: Clock, manners: Manners | None = None) -> None:
        self.clock = clock
        self.manners = manners or Manners()
        self.sock = make_udp_socket("127.0.0.1", 0)
        self.port: int = self.sock.getsockname()[1]
        self.tunnels: dict[int, ScriptedTunnel] = {}
        self.heard: list[tuple[int, dict[int, bytes]]] = []
        self.complaints: list[str] = []
        self.packets: list[bytes] = []
        self.network_acks = 0
        self._session_ids = 100
        self._ips = 1
        clock.loop.add_reader(self.sock.fileno(), self._read)

    def close(self) -> None:
        self.clock.loop.remove_reader(self.sock.fileno())
        self.sock.close()

    @property
    def tunnel(self) -> ScriptedTunnel:
        return next(iter(self.tunnels.values()))

    @property
    def call(self) -> Call:
        return next(iter(self.tunnel.calls.values()))

    def next_session_id(self) -> int:
        self._session_ids += 1
        return self._session_ids

    def next_ip(self) -> bytes:
        if not self.manners.same_address:
            self._ips += 1
        return (0x0A000100 + self._ips).to_bytes(4, "big")

    def _read(self) -> None:
        while True:
            try:
                datagram, source = self.sock.recvfrom(65535)
            except BlockingIOError:
                return
            if datagram[0] & 0x80:
                self._receive_control(datagram, source)
            else:
                message = frames.decode_data(datagram)
                tunnel = self.tunnels[message.tunnel_id]
                call = tunnel.calls.get(message.session_id)
                if call is not None:
                    tunnel.receive_frame(call, message.payload)

    def _receive_control(self, datagram: bytes, source: Address) -> None:
        tunnel_id = int.from_bytes(datagram[4:6], "big")
        if tunnel_id:
            self.tunnels[tunnel_id].receive(datagram)
            return
        message = decode_control(datagram, self.manners.secret)
        theirs = message.number(Attr.ASSIGNED_TUNNEL_ID)
        for tunnel in self.tunnels.values():
            if (tunnel.theirs, tunnel.peer) == (theirs, source):
                tunnel.receive(datagram)
                return
        ours = 7001 + len(self.tunnels)
        self.tunnels[ours] = ScriptedTunnel(self, theirs, ours, source)
        self.tunnels[ours].receive(datagram)
