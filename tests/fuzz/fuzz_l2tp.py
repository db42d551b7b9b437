"""Fuzz entry for L2TP: any bytes, to every decoder and as datagrams to an endpoint.

`one_input` returns when nothing is wrong and raises otherwise, so that any fuzzer can drive it:
bytes may make a decoder raise L2tpError and nothing else, and an endpoint raise nothing at all.
"""

import contextlib
import random
import struct
from collections.abc import Callable
from typing import Final

from l2tpns_core.l2tp.avp import MAX_AVPS, decode_avps
from l2tpns_core.l2tp.data import decode_data
from l2tpns_core.l2tp.endpoint import Endpoint, EndpointConfig
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.events import CallRequested, TunnelClosed, TunnelFinished
from l2tpns_core.l2tp.hiding import reveal
from l2tpns_core.l2tp.message import decode_header, decode_message
from l2tpns_core.l2tp.sequencing import DEFAULT_WINDOW, Sequencer
from l2tpns_core.l2tp.tunnel import Tunnel

SECRET: Final = b"secret"
PEER: Final = ("192.0.2.1", 1701)
LOCAL: Final = "192.0.2.254"
PEER_TUNNEL: Final = 0x77
CONNECTED_CALL: Final = 1
WAITING_CALL: Final = 2
MAX_DATAGRAMS_PER_DATAGRAM: Final = 8
MAX_TIMERS: Final = 64

SCCRQ: Final = bytes.fromhex(
    "8008000000000001800800000002010080070000000761800800000009007780080000000a0004"
)
SCCCN: Final = bytes.fromhex("8008000000000003")
ICRQ: Final = bytes.fromhex("800800000000000a80080000000e")  # and the session id
ICCN: Final = bytes.fromhex("800800000000000c")


def decode_avp_list(data: bytes) -> None:
    """Every value is read, with and without a secret."""
    for secret in (b"", SECRET):
        decoded = decode_avps(data, secret)
        assert len(decoded.values) <= MAX_AVPS
        assert all(text.isprintable() for text in decoded.values.values() if isinstance(text, str))


def decode_body(data: bytes) -> None:
    """A message is read, or it is said why not."""
    for secret in (b"", SECRET):
        with contextlib.suppress(L2tpError):
            message = decode_message(data, secret)
            message.result(), message.cause(), message.call_errors(), message.accm()


def decode_control(data: bytes) -> None:
    """Header and body together."""
    _, body = decode_header(data)
    assert len(body) <= len(data) - 12


def decode_payload(data: bytes) -> None:
    """The payload of a data message lies within it."""
    header = decode_data(data)
    assert 6 <= header.payload_offset <= header.payload_end <= len(data)


def decode_hidden(data: bytes) -> None:
    """What is revealed is no longer than what hid it."""
    assert len(reveal(9, data, SECRET, b"vector")) <= max(len(data) - 2, 0)


DECODERS: Final[tuple[Callable[[bytes], None], ...]] = (
    decode_avp_list,
    decode_body,
    decode_control,
    decode_payload,
    decode_hidden,
)


def split(data: bytes) -> list[bytes]:
    """Bytes as datagrams: each has its length before it in one byte."""
    pieces = []
    while data:
        size = data[0]
        pieces.append(data[1 : 1 + size])
        data = data[1 + size :]
    return pieces


def control(tunnel: int, session: int, ns: int, nr: int, body: bytes) -> bytes:
    return struct.pack("!6H", 0xC802, 12 + len(body), tunnel, session, ns, nr) + body


class Driver:
    """An endpoint with a tunnel and two calls, and everything that its owner has to do."""

    def __init__(self, opened: bool) -> None:
        self.now = 0.0
        config = EndpointConfig("lns", secret=SECRET, max_half_open_per_source=4)
        self.endpoint = Endpoint(config, random.Random(1).randbytes)
        self.closed: set[int] = set()
        self.next_session = 1
        tunnel = self.receive(control(0, 0, 0, 0, SCCRQ))
        assert tunnel is not None
        self.tunnel = tunnel
        if opened:
            self.pass_on(0, 1, SCCCN)
            self.pass_on(0, 2, ICRQ + struct.pack("!H", 101))
            self.pass_on(0, 3, ICRQ + struct.pack("!H", 102))
            self.pass_on(CONNECTED_CALL, 4, ICCN)
        self.ns = 5 if opened else 1

    def pass_on(self, session: int, ns: int, body: bytes) -> None:
        """A message of the LAC, which has got all that we sent."""
        nr = self.tunnel.channel.next_ns
        self.receive(control(self.tunnel.local_id, session, ns, nr, body))

    def receive(self, datagram: bytes) -> Tunnel | None:
        tunnel = self.endpoint.receive(datagram, PEER, LOCAL, self.now)
        assert len(self.endpoint.take_replies()) <= 1
        if tunnel is not None:
            self.pump(tunnel)
        for other in self.endpoint.take_touched():
            self.pump(other)
        return tunnel

    def pump(self, tunnel: Tunnel) -> None:
        while (event := tunnel.next_event()) is not None:
            if isinstance(event, CallRequested):
                tunnel.accept_call(event.call, self.next_session, self.now)
                self.next_session += 1
            elif isinstance(event, TunnelClosed):
                assert tunnel.local_id not in self.closed
                self.closed.add(tunnel.local_id)
            elif isinstance(event, TunnelFinished):
                assert tunnel.local_id in self.closed
                self.endpoint.forget(tunnel)
        assert len(tunnel.datagrams_to_send(self.now)) <= MAX_DATAGRAMS_PER_DATAGRAM

    def run_down(self) -> None:
        """Nobody answers any more: every tunnel must end."""
        for _ in range(MAX_TIMERS):
            if not self.endpoint.tunnels:
                return
            for tunnel in list(self.endpoint.tunnels.values()):
                deadline = tunnel.get_timer()
                assert deadline is not None
                self.now = max(self.now, deadline)
                tunnel.handle_timer(self.now)
                self.pump(tunnel)
        raise AssertionError("a tunnel does not end")


def drive(data: bytes) -> None:
    """The bytes as whole datagrams, and as bodies of messages that are next in turn."""
    for opened in (True, False):
        driver = Driver(opened)
        for piece in split(data):
            driver.now += 0.3
            driver.receive(piece)
            session = piece[-1] % 4 if piece else 0
            driver.pass_on(session, driver.ns, piece)
            driver.ns = driver.ns + bool(piece) & 0xFFFF
        driver.run_down()


def resequence(data: bytes) -> None:
    """The bytes as sequence numbers."""
    sequencer = Sequencer()
    passed = 0
    now = 0.0
    numbers = struct.unpack_from(f"!{len(data) // 2}H", data)
    for number in numbers:
        now += 0.01
        released = sequencer.handle_timer(now) + sequencer.receive(number, b"x", now)
        assert len(released) <= DEFAULT_WINDOW + 1
        passed += len(released)
    while (deadline := sequencer.get_timer()) is not None:
        passed += len(sequencer.handle_timer(deadline))
    assert passed <= len(numbers)


def one_input(data: bytes) -> None:
    """Everything that L2TP decodes, on these bytes."""
    for decoder in DECODERS:
        with contextlib.suppress(L2tpError):
            decoder(data)
    resequence(data)
    drive(data)
