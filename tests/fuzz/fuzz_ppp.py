"""Fuzz entry for PPP: any bytes, as frames to links in several phases and to every decoder.

`one_input` returns when nothing is wrong and raises otherwise, so that any fuzzer can drive it:
bytes may make a decoder raise PppError and nothing else, and a link raise nothing at all.
"""

import contextlib
import random
from collections.abc import Callable
from typing import Final

from l2tpns_core.ppp import chap, pap
from l2tpns_core.ppp.config import (
    AuthProtocol,
    LcpRenegotiation,
    LinkConfig,
    NetworkConfig,
    ProxyLcp,
)
from l2tpns_core.ppp.errors import PppError
from l2tpns_core.ppp.events import AuthenticationRequested, LinkClosed
from l2tpns_core.ppp.frame import decode_frame, decode_packet
from l2tpns_core.ppp.link import Link
from l2tpns_core.ppp.options import decode_options

MAX_FRAMES_PER_FRAME: Final = 4
MAX_EVENTS_PER_FRAME: Final = 3
MAX_FRAMES: Final = 64
MAX_TIMERS: Final = 64

DECODERS: Final[tuple[Callable[[bytes], object], ...]] = (
    decode_frame,
    decode_packet,
    decode_options,
    pap.decode_request,
    lambda data: chap.decode_response(data, chap.MD5_RESPONSE_BYTES),
    lambda data: chap.decode_response(data, chap.MSCHAP_V2_RESPONSE_BYTES),
)
NETWORK: Final = NetworkConfig(0x0A000001, 0x0A000002, (0x0A000003, 0))
CONFIG: Final = LinkConfig(
    "lns",
    auth=(AuthProtocol.PAP, AuthProtocol.CHAP_MD5, AuthProtocol.MSCHAP_V2),
    max_auth_failures=2,
    rechallenge_s=50.0,
    renegotiate=LcpRenegotiation.ON_MISMATCH,
)
PAP_OPENED: Final = ProxyLcp(last_sent_lcp=b"\x03\x04\xc0\x23", last_received_lcp=b"")
CHAP_OPENED: Final = ProxyLcp(last_sent_lcp=b"\x03\x05\xc2\x23\x05", last_received_lcp=b"")
PAP_REQUEST: Final = b"\xc0\x23\x01\x01\x00\x06\x00\x00"
IPCP_REQUEST: Final = b"\x80\x21\x01\x01\x00\x0a\x03\x06\x0a\x00\x00\x02"


def links() -> list[Link]:
    """Links in each phase, all alike in every run."""
    made = [Link(CONFIG, random.Random(1).randbytes) for _ in range(7)]
    _, establish, asked_pap, asked_chap, pending, network, opened = made
    establish.open(0.0)
    asked_pap.open(0.0, PAP_OPENED)
    asked_chap.open(0.0, CHAP_OPENED)
    for link in (pending, network, opened):
        link.open(0.0, PAP_OPENED)
        link.receive(PAP_REQUEST, 0.0)
    for link in (network, opened):
        link.accept(0.0)
    opened.open_network(NETWORK, 0.0)
    request = opened.frames_to_send()[-1]
    opened.receive(IPCP_REQUEST, 0.0)
    opened.receive(request.replace(b"\x80\x21\x01", b"\x80\x21\x02"), 0.0)
    for link in made:
        drain(link)
        link.frames_to_send()
    return made


def drain(link: Link) -> list[object]:
    """Take all events."""
    found: list[object] = []
    while (event := link.next_event()) is not None:
        found.append(event)
    return found


def split(data: bytes) -> list[bytes]:
    """Frames in the input: each is preceded by its length in one byte."""
    frames: list[bytes] = []
    while data and len(frames) < MAX_FRAMES:
        length = data[0]
        frames.append(data[1 : 1 + length])
        data = data[1 + length :]
    return frames


def check(link: Link, closed: bool, now: float) -> bool:
    """Hold what came out of one frame or timer against the bounds; whether the link is closed."""
    sent = link.frames_to_send()
    found = drain(link)
    assert len(sent) <= MAX_FRAMES_PER_FRAME, sent
    assert len(found) <= MAX_EVENTS_PER_FRAME, found
    assert not (closed and found), found
    assert not any(isinstance(event, LinkClosed) for event in found[:-1]), found
    for _ in (event for event in found if isinstance(event, AuthenticationRequested)):
        link.accept(now)
        link.open_network(NETWORK, now)
        link.frames_to_send()
    return closed or any(isinstance(event, LinkClosed) for event in found)


def run(link: Link, frames: list[bytes]) -> None:
    """Feed the frames a second apart, firing timers on the way, and then let time pass."""
    now = 0.0
    closed = False
    for raw in frames:
        now += 1.0
        link.receive(raw, now)
        closed = check(link, closed, now)
        link.handle_timer(now)
        closed = check(link, closed, now)
    for _ in range(MAX_TIMERS):
        timer = link.get_timer()
        if timer is None:
            return
        now = max(now, timer)
        link.handle_timer(now)
        closed = check(link, closed, now)
        later = link.get_timer()
        assert later is None or later > now


def one_input(data: bytes) -> None:
    """Everything that PPP decodes, on these bytes."""
    for decoder in DECODERS:
        with contextlib.suppress(PppError):
            decoder(data)
    frames = split(data)
    for link in links():
        run(link, frames)
