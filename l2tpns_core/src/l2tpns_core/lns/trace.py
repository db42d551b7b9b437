"""What passes between the LNS and its LACs, for the log (manual, "debug"): 3 the parameters of
control messages, 4 PPP control packets, 5 both as hex dumps.

The two classes stand between the LNS and its plane only while such a level is on, so that it costs
nothing otherwise. Passwords are never shown: neither a PAP request nor what a LAC passes on of one.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from l2tpns_core.dataplane.plane import DataPlane, PassedOn, Peer, PlaneEvents
from l2tpns_core.l2tp.avp import TABLE, AvpType
from l2tpns_core.l2tp.codes import MessageType
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.message import decode_header, decode_message
from l2tpns_core.ppp.errors import PppError
from l2tpns_core.ppp.frame import Code, Protocol, decode_frame, decode_packet
from l2tpns_core.session import SESSION_ID_BITS

log = logging.getLogger("l2tpns.trace")

CALLS: Final = 15
"""Level 4 of the manual, between INFO and DEBUG (observe.log)."""
BYTES_PER_LINE: Final = 16
MAX_DUMP_BYTES: Final = 512
SECRET_AVPS: Final = frozenset(
    {AvpType.PROXY_AUTH_RESPONSE, AvpType.PROXY_AUTH_CHALLENGE, AvpType.CHALLENGE_RESPONSE}
)
MESSAGE_NAMES: Final = {int(kind): kind.name for kind in MessageType}
PROTOCOL_NAMES: Final = {int(protocol): protocol.name for protocol in Protocol}
CODE_NAMES: Final = {int(code): code.name.replace("_", "-").title() for code in Code}
IN: Final = "<-"
OUT: Final = "->"


class TracedEvents:
    """PlaneEvents that are logged on their way to the LNS."""

    __slots__ = ("_events",)

    def __init__(self, events: PlaneEvents) -> None:
        self._events = events

    def control_received(self, datagram: bytes, peer: Peer, local: str, now: float) -> None:
        trace_control(IN, datagram, peer)
        self._events.control_received(datagram, peer, local, now)

    def frame_received(self, key: int, frame: bytes, now: float) -> None:
        trace_frame(IN, key, frame)
        self._events.frame_received(key, frame, now)

    def unknown_session(self, tunnel_id: int, session_id: int, peer: Peer, now: float) -> None:
        self._events.unknown_session(tunnel_id, session_id, peer, now)


class TracedPlane(PassedOn):
    """A DataPlane that logs what it is given to send. A message that goes out has the ids of the
    LAC in it; `tunnel_of` finds ours."""

    __slots__ = ("_tunnel_of",)

    def __init__(self, plane: DataPlane, tunnel_of: Callable[[Peer, int], int]) -> None:
        super().__init__(plane)
        self._tunnel_of = tunnel_of

    def send_frames(self, key: int, frames: Iterable[bytes]) -> None:
        frames = list(frames)
        for frame in frames:
            trace_frame(OUT, key, frame)
        self._plane.send_frames(key, frames)

    def send_control(self, datagrams: Iterable[tuple[bytes, Peer, str]]) -> None:
        datagrams = list(datagrams)
        for datagram, peer, _local in datagrams:
            trace_control(OUT, datagram, peer, self._tunnel_of)
        self._plane.send_control(datagrams)


def trace_control(
    direction: str,
    datagram: bytes,
    peer: Peer,
    tunnel_of: Callable[[Peer, int], int] | None = None,
) -> None:
    """Log one control datagram. Never raises, whatever it is."""
    try:
        header, body = decode_header(datagram)
        message = decode_message(body) if body else None
    except L2tpError as error:
        log.info("%s %s:%d malformed: %s", direction, *peer, error.text)
        return
    what = "ZLB"
    if message is not None:
        what = " ".join([MESSAGE_NAMES.get(message.type, "?"), *_parameters(message.avps)])
    ids = {"tunnel": header.tunnel_id, "session": header.session_id}
    text = f"Ns {header.ns} Nr {header.nr} {what}"
    if tunnel_of is not None:
        text = f"{header.tunnel_id}/{header.session_id} {text}"
        ids = {"tunnel": tunnel_of(peer, header.tunnel_id)}
    log.info("%s %s:%d %s", direction, *peer, text, extra=ids)
    if message is None or SECRET_AVPS.isdisjoint(message.avps):
        _dump(datagram, ids)


def trace_frame(direction: str, key: int, frame: bytes) -> None:
    """Log one PPP frame. Never raises, whatever it is."""
    ids = {"tunnel": key >> SESSION_ID_BITS, "session": key & (1 << SESSION_ID_BITS) - 1}
    try:
        protocol, information = decode_frame(frame)
        packet = decode_packet(information)
    except PppError as error:
        log.log(CALLS, "%s PPP malformed: %s", direction, error, extra=ids)
        return
    known = CODE_NAMES if protocol in (Protocol.LCP, Protocol.IPCP) else {}
    code = known.get(packet.code, f"code {packet.code}")
    name = PROTOCOL_NAMES.get(protocol, f"protocol {protocol:04x}")
    size = len(packet.data)
    log.log(CALLS, "%s %s %s id %d, %d bytes", direction, name, code, packet.identifier, size,
            extra=ids)  # fmt: skip
    if protocol != Protocol.PAP:
        _dump(frame, ids)


def _parameters(avps: Mapping[int, object]) -> Iterator[str]:
    for kind, value in avps.items():
        if kind == AvpType.MESSAGE_TYPE:
            continue
        shown = "(not shown)" if kind in SECRET_AVPS else _shown(value)
        yield f"*{TABLE[kind].name}({shown})"


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _dump(data: bytes, ids: dict[str, int]) -> None:
    """A hex dump in the form of the C program, one log line for each 16 bytes."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    for offset in range(0, min(len(data), MAX_DUMP_BYTES), BYTES_PER_LINE):
        chunk = data[offset : offset + BYTES_PER_LINE]
        digits = chunk.hex(" ")
        text = "".join(chr(byte) if 0x20 < byte < 0x7F else "." for byte in chunk)
        log.debug("%4x: %-47s  %s", offset, digits, text, extra=ids)
