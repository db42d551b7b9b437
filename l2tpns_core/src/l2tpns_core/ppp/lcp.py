"""The Link Control Protocol (RFC 1661 section 6, RFC 1570): the options of the link itself."""

import enum
from collections.abc import Callable, Iterable
from typing import Final

from l2tpns_core.ppp.automaton import Action, Input, State
from l2tpns_core.ppp.config import AuthProtocol, ProxyLcp
from l2tpns_core.ppp.errors import PppError
from l2tpns_core.ppp.frame import HEADER_BYTES, Code, Packet, Protocol, encode_packet
from l2tpns_core.ppp.options import Option, Verdict, decode_options, encode_options
from l2tpns_core.ppp.protocol import ControlProtocol, Host
from l2tpns_core.ppp.saved import SavedLink

DEFAULT_MRU: Final = 1500
MIN_MRU: Final = 576
"""A smaller MRU of the peer is answered with this one."""
MAGIC_BYTES: Final = 4
MAX_LOOPS: Final = 5
"""Times that our own magic number comes back before the line counts as looped."""

EXTRA_CODES: Final = frozenset(
    (
        Code.ECHO_REQUEST,
        Code.ECHO_REPLY,
        Code.DISCARD_REQUEST,
        Code.IDENTIFICATION,
        Code.TIME_REMAINING,
    )
)
"""Codes that lead to event RXR: an Echo-Request is answered, the others are taken in silence."""


class LcpOption(enum.IntEnum):
    """LCP option types that have a meaning here; all others are rejected."""

    MRU = 1
    ACCM = 2
    AUTH = 3
    MAGIC = 5
    PFC = 7
    ACFC = 8


class Lcp(ControlProtocol):
    """LCP of one link."""

    __slots__ = (
        "_loops",
        "_mru",
        "_refused_auth",
        "_request_heard",
        "acfc",
        "auth",
        "magic",
        "peer_magic",
        "peer_mru",
        "pfc",
    )

    protocol = Protocol.LCP

    def __init__(self, auth: AuthProtocol) -> None:
        super().__init__()
        self.magic = 0
        """Our magic number, 0 when the peer refused it."""
        self.auth = auth
        """What the peer is asked to log in with."""
        self.peer_mru = DEFAULT_MRU
        self.peer_magic = 0
        self.acfc = False
        """The peer takes frames without address and control."""
        self.pfc = False
        """The peer takes one-byte protocol numbers."""
        self._mru = 0  # 0: not asked for
        self._refused_auth: tuple[AuthProtocol, ...] = ()
        self._request_heard = False
        self._loops = 0

    @property
    def looped(self) -> bool:
        """Our own packets come back to us."""
        return self._loops >= MAX_LOOPS

    def take_over(self, host: Host, proxy: ProxyLcp) -> bool:
        """Be Opened with what the LAC and the peer agreed on (RFC 2661 section 4.4.5).

        False, with nothing changed that a new negotiation would not set, when that is not known or
        not what we would have agreed to.
        """
        try:
            sent = decode_options(proxy.last_sent_lcp or b"")
            received = decode_options(proxy.last_received_lcp or b"")
        except PppError:
            return False
        ours = dict(sent)
        auth = _auth_protocol(ours.get(LcpOption.AUTH, b""))
        if (
            auth is None
            or auth not in host.config.auth
            or not all(_is_valid(option) for option in sent)
        ):
            return False
        self.magic = int.from_bytes(ours.get(LcpOption.MAGIC, b""), "big")
        if proxy.last_received_lcp is None or any(self.sort(host, received)):
            return False
        self.auth = auth
        self.adopt(received)
        self.state = State.OPENED
        self._answered = True
        return True

    @property
    def asked_mru(self) -> int:
        """The MRU of our Configure-Request, 0 for none."""
        return self._mru

    def restore_options(self, saved: SavedLink, asked_auth: AuthProtocol) -> None:
        """What both sides agreed on in another process."""
        self.auth = asked_auth
        self.magic, self.peer_magic = saved.magic, saved.peer_magic
        self._mru, self.peer_mru = saved.mru, saved.peer_mru
        self.acfc, self.pfc = saved.acfc, saved.pfc

    # What we ask for.

    def wanted_options(self) -> Iterable[Option]:
        if self._mru:
            yield Option(LcpOption.MRU, self._mru.to_bytes(2, "big"))
        yield Option(LcpOption.AUTH, self.auth.value)
        if self.magic:
            yield Option(LcpOption.MAGIC, self.magic.to_bytes(MAGIC_BYTES, "big"))

    def begin(self, host: Host, now: float) -> None:
        self.magic = _new_magic(host)
        self._mru = host.config.mru
        self.auth = host.config.auth[0]
        self._refused_auth = ()
        self._request_heard = False
        self._loops = 0

    def give_way(self, host: Host, option: Option) -> None:
        if option.type == LcpOption.AUTH:
            self._choose_auth(host, _auth_protocol(option.value))
        elif option.type == LcpOption.MAGIC and self.magic:
            self.magic = _new_magic(host)
        elif option.type == LcpOption.MRU and len(option.value) == 2:
            mru = int.from_bytes(option.value, "big")
            if MIN_MRU <= mru <= host.config.mru:
                self._mru = mru

    def give_up(self, option: Option) -> None:
        if option.type == LcpOption.AUTH:
            self.failure = "the peer refuses to authenticate"
        elif option.type == LcpOption.MAGIC:
            self.magic = 0
        elif option.type == LcpOption.MRU:
            self._mru = 0

    def _choose_auth(self, host: Host, proposed: AuthProtocol | None) -> None:
        """Take the peer's proposal if it is allowed, or else the next protocol of our list."""
        self._refused_auth += (self.auth,)
        left = [auth for auth in host.config.auth if auth not in self._refused_auth]
        if not left:
            self.failure = "no authentication protocol in common"
            return
        self.auth = proposed if proposed in left else left[0]

    # What the peer asks for.

    def check(self, host: Host, option: Option) -> Verdict | bytes:
        checker = _CHECKERS.get(option.type)
        return Verdict.REJECT if checker is None else checker(self, host, option.value)

    def adopt(self, options: Iterable[Option]) -> None:
        values = dict(options)
        self.peer_mru = int.from_bytes(values.get(LcpOption.MRU, b""), "big") or DEFAULT_MRU
        self.peer_magic = int.from_bytes(values.get(LcpOption.MAGIC, b""), "big")
        self.acfc = LcpOption.ACFC in values
        self.pfc = LcpOption.PFC in values

    def _check_mru(self, host: Host, value: bytes) -> Verdict | bytes:
        good = len(value) == 2 and int.from_bytes(value, "big") >= MIN_MRU
        return Verdict.ACCEPT if good else MIN_MRU.to_bytes(2, "big")

    def _check_accm(self, host: Host, value: bytes) -> Verdict | bytes:
        return Verdict.ACCEPT if len(value) == 4 else bytes(4)  # no meaning in L2TP

    def _check_magic(self, host: Host, value: bytes) -> Verdict | bytes:
        magic = int.from_bytes(value, "big")
        if len(value) == MAGIC_BYTES and magic and magic != self.magic:
            return Verdict.ACCEPT
        return _new_magic(host).to_bytes(MAGIC_BYTES, "big")

    def _check_flag(self, host: Host, value: bytes) -> Verdict | bytes:
        return b"" if value else Verdict.ACCEPT

    # Packets.

    def receive(self, host: Host, packet: Packet, now: float) -> Action | None:
        if packet.code in EXTRA_CODES:
            return self.step(host, Input.RXR, now, packet)
        if packet.code == Code.CONFIGURE_REQUEST:
            return self._receive_request(host, packet, now)
        return super().receive(host, packet, now)

    def _receive_request(self, host: Host, packet: Packet, now: float) -> Action | None:
        first = self.state is State.REQ_SENT and not self._request_heard
        if self._is_own_request(packet):
            self._loops += 1
            option = Option(LcpOption.MAGIC, _new_magic(host).to_bytes(MAGIC_BYTES, "big"))
            nak = Packet(Code.CONFIGURE_NAK, packet.identifier, encode_options((option,)))
            return self.step(host, Input.RCR_MINUS, now, packet, encode_packet(nak))
        self._loops = 0
        if first:
            # A LAC whose client is slow to start loses our first request. Ours goes out before the
            # answer: a peer that is Opened by that answer would take it for a renegotiation.
            self.send_request(host, now, again=True)
        layer = super()._receive_request(host, packet, now)
        self._request_heard = True
        return layer

    def _is_own_request(self, packet: Packet) -> bool:
        """Whether a Configure-Request carries our magic number (RFC 1661 section 6.4)."""
        own = self.magic.to_bytes(MAGIC_BYTES, "big")
        options = decode_options(packet.data)
        return bool(self.magic) and Option(LcpOption.MAGIC, own) in options

    def answer(self, host: Host, action: Action, packet: Packet, answer: bytes, now: float) -> None:
        if action is not Action.SER:
            super().answer(host, action, packet, answer, now)
        elif packet.code == Code.ECHO_REQUEST:
            self._answer_echo(host, packet)

    def _answer_echo(self, host: Host, packet: Packet) -> None:
        own = self.magic.to_bytes(MAGIC_BYTES, "big")
        if self.magic and packet.data[:MAGIC_BYTES] == own:
            self._loops += 1
            return
        self._loops = 0
        data = (own + packet.data[MAGIC_BYTES:])[: self.peer_mru - HEADER_BYTES]
        self._send(host, Code.ECHO_REPLY, packet.identifier, data)

    def send_echo_request(self, host: Host) -> int:
        """Send an Echo-Request; return its identifier."""
        identifier = self.next_identifier()
        self._send(host, Code.ECHO_REQUEST, identifier, self.magic.to_bytes(MAGIC_BYTES, "big"))
        return identifier

    def is_from_peer(self, packet: Packet) -> bool:
        """Whether an Echo-Reply carries the magic number of the peer. Zero passes, for clients that
        agree on one and do not use it; what comes back with our own was never there."""
        magic = int.from_bytes(packet.data[:MAGIC_BYTES], "big")
        if len(packet.data) < MAGIC_BYTES:
            return False
        if magic and self.peer_magic:
            return magic == self.peer_magic
        return not magic or magic != self.magic

    def send_protocol_reject(self, host: Host, protocol: int, information: bytes) -> None:
        """Tell the peer that we do not speak a protocol (RFC 1661 section 5.7)."""
        data = (protocol.to_bytes(2, "big") + information)[: self.peer_mru - HEADER_BYTES]
        self._send(host, Code.PROTOCOL_REJECT, self.next_identifier(), data)


def _auth_protocol(value: bytes) -> AuthProtocol | None:
    return next((auth for auth in AuthProtocol if auth.value == value), None)


def _new_magic(host: Host) -> int:
    return int.from_bytes(host.random(MAGIC_BYTES), "big") or 1


def _is_valid(option: Option) -> bool:
    """Whether an option that the LAC asked for in our name is one that we can live with."""
    size = _SIZES.get(option.type)
    return option.type == LcpOption.AUTH or size == len(option.value)


_SIZES: Final[dict[int, int]] = {
    LcpOption.MRU: 2,
    LcpOption.ACCM: 4,
    LcpOption.MAGIC: MAGIC_BYTES,
    LcpOption.PFC: 0,
    LcpOption.ACFC: 0,
}

_CHECKERS: Final[dict[int, Callable[[Lcp, Host, bytes], Verdict | bytes]]] = {
    LcpOption.MRU: Lcp._check_mru,
    LcpOption.ACCM: Lcp._check_accm,
    LcpOption.MAGIC: Lcp._check_magic,
    LcpOption.PFC: Lcp._check_flag,
    LcpOption.ACFC: Lcp._check_flag,
}
