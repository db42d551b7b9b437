"""One PPP link of a subscriber, server side: LCP, authentication, IPCP.

Sans-IO: frames and the time go in, frames and events come out. After every call the owner takes
frames_to_send(), then next_event() until there is none, then sets its timer to get_timer(). Nothing
that a peer sends makes a call raise; what is malformed is dropped and counted in `discarded`.
"""

import enum
from collections.abc import Callable
from typing import Final

from l2tpns_core.ppp.auth import AuthExchange
from l2tpns_core.ppp.automaton import Action, Input, State
from l2tpns_core.ppp.config import (
    AuthProtocol,
    LcpRenegotiation,
    LinkConfig,
    NetworkConfig,
    ProxyLcp,
)
from l2tpns_core.ppp.errors import PppError
from l2tpns_core.ppp.events import (
    AddressRequested,
    CloseReason,
    Event,
    LineChanged,
    LinkClosed,
    LinkRestarted,
    NetworkClosed,
    NetworkOpened,
)
from l2tpns_core.ppp.frame import Code, Packet, Protocol, decode_frame, decode_packet, encode_frame
from l2tpns_core.ppp.ipcp import Ipcp, wanted_address
from l2tpns_core.ppp.keepalive import Keepalive
from l2tpns_core.ppp.lcp import Lcp
from l2tpns_core.ppp.quality import LineQuality, quality_of
from l2tpns_core.ppp.saved import SavedLink

__all__ = [
    "AuthProtocol",
    "LcpRenegotiation",
    "Link",
    "LinkConfig",
    "NetworkConfig",
    "Phase",
    "ProxyLcp",
]

MAX_EARLY_BYTES: Final = 516
"""Largest packet that is kept until its time comes: the largest PAP request."""
MAX_QUEUED_FRAMES: Final = 128
"""Frames that wait for frames_to_send(); more are dropped, as a full line drops them."""
MAX_REJECTS: Final = 10
"""Code-Rejects and Protocol-Rejects that a link sends in REJECT_WINDOW_S."""
REJECT_WINDOW_S: Final = 10.0

IP_PREFIXES: Final = {
    (False, False): b"\xff\x03\x00\x21",
    (False, True): b"\xff\x03\x21",
    (True, False): b"\x00\x21",
    (True, True): b"\x21",
}
"""What precedes an IPv4 packet, by (ACFC, PFC)."""


class Phase(enum.Enum):
    """The phases of a link (RFC 1661 section 3.2)."""

    DEAD = "dead"
    ESTABLISH = "establish"
    AUTHENTICATE = "authenticate"
    NETWORK = "network"
    TERMINATE = "terminate"


class Link:
    """One PPP link; see the module."""

    __slots__ = (
        "_auth",
        "_early",
        "_ended",
        "_ending",
        "_events",
        "_frames",
        "_ipcp",
        "_keepalive",
        "_lcp",
        "_login_ends_at",
        "_rejects",
        "_rejects_from",
        "config",
        "discarded",
        "ip_prefix",
        "phase",
        "random",
    )

    def __init__(self, config: LinkConfig, random: Callable[[int], bytes]) -> None:
        self.config = config
        self.random = random
        self.phase = Phase.DEAD
        self.ip_prefix = IP_PREFIXES[False, False]
        """What precedes an IPv4 packet towards the peer."""
        self.discarded = 0
        """Frames of the peer that were malformed."""
        self._lcp = Lcp(config.auth[0])
        self._ipcp: Ipcp | None = None
        self._auth: AuthExchange | None = None
        self._keepalive: Keepalive | None = None  # while LCP is Opened
        self._early: tuple[int, Packet] | None = None
        self._login_ends_at: float | None = None
        self._ending: tuple[CloseReason, str] | None = None  # why we close the link
        self._ended = False  # LinkClosed is out
        self._rejects = 0
        self._rejects_from = 0.0
        self._frames: list[bytes] = []
        self._events: list[Event] = []

    # What the owner may look at.

    @property
    def lcp_state(self) -> State:
        return self._lcp.state

    @property
    def ipcp_state(self) -> State:
        return State.INITIAL if self._ipcp is None else self._ipcp.state

    @property
    def peer_mru(self) -> int:
        """Largest packet that the peer takes, in bytes."""
        return self._lcp.peer_mru

    @property
    def magic(self) -> int:
        """Our magic number, 0 for none."""
        return self._lcp.magic

    @property
    def peer_magic(self) -> int:
        return self._lcp.peer_magic

    @property
    def auth_protocol(self) -> AuthProtocol | None:
        """What the peer logs in with, once LCP is Opened."""
        return None if self._auth is None else self._auth.protocol

    @property
    def echoes(self) -> bytes:
        """What became of our last Echo-Requests, for ppp.quality."""
        return b"" if self._keepalive is None else self._keepalive.ring

    @property
    def quality(self) -> LineQuality | None:
        """The same as figures; None before the first echo is answered or lost."""
        keepalive = self._keepalive
        if keepalive is None or not keepalive.ring:
            return None
        return quality_of(keepalive.ring, keepalive.lost_at)

    @property
    def heard_at(self) -> float | None:
        """When the peer last sent anything, once LCP is Opened."""
        return None if self._keepalive is None else self._keepalive.heard_at

    # What the owner calls.

    def open(self, now: float, proxy: ProxyLcp | None = None) -> None:
        """The call is connected: negotiate LCP, or take over what the LAC negotiated."""
        if self.phase is not Phase.DEAD or self._ended:
            return
        self.phase = Phase.ESTABLISH
        self._login_ends_at = now + self.config.login_timeout_s
        wanted = self.config.renegotiate is LcpRenegotiation.ON_MISMATCH
        if wanted and proxy is not None and self._lcp.take_over(self, proxy):
            self._lcp_opened(now, proxy)
            return
        self._lcp.step(self, Input.OPEN, now)
        self._lcp.step(self, Input.UP, now)

    def open_again(self, now: float) -> None:
        """Another process was negotiating on this call: negotiate LCP from the start."""
        self._lcp.leave_identifiers(self)
        self.open(now)

    def receive(self, frame: bytes, now: float) -> None:
        """Handle a frame of the peer, from address and control or from the protocol on."""
        if self.phase is Phase.DEAD:
            return
        self.heard(now)
        try:
            protocol, information = decode_frame(frame)
            handler = _HANDLERS.get(protocol)
            if handler is not None:
                handler(self, decode_packet(information), now)
            elif protocol != Protocol.IPV4:
                self._reject_protocol(protocol, information, now)
        except PppError:
            self.discarded += 1

    def next_event(self) -> Event | None:
        return self._events.pop(0) if self._events else None

    def frames_to_send(self) -> list[bytes]:
        """The frames that are due, in order; they are the caller's from now on."""
        frames = self._frames
        if frames:
            self._frames = []
        return frames

    def get_timer(self) -> float | None:
        """When handle_timer() has something to do."""
        timers = [self._login_ends_at, self._lcp.timer_at]
        if self._ipcp is not None:
            timers.append(self._ipcp.timer_at)
        if self._auth is not None:
            timers.append(self._auth.timer_at)
        if self._keepalive is not None:
            timers.append(self._keepalive.timer_at)
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due at now."""
        if self._login_ends_at is not None and now >= self._login_ends_at:
            self._login_timed_out(now)
        self._lcp_signal(self._lcp.handle_timer(self, now), now, "no answer to LCP")
        if self._ipcp is not None:
            self._handle_ipcp_timer(self._ipcp, now)
        if self._auth is not None and self._auth.handle_timer(self, now):
            self._shut(CloseReason.AUTHENTICATION_TIMEOUT, "no answer to CHAP challenge", now)
        if self._keepalive is not None:
            self._check_silence(self._keepalive, now)

    def heard(self, at: float) -> None:
        """Traffic of the peer passed at that time without this object seeing it."""
        if self._keepalive is not None:
            self._keepalive.heard(at)

    def accept(self, now: float, message: bytes = b"") -> None:
        """The login is good. The message goes to the peer (for MS-CHAPv2 the `S=` string).

        Ignored when no login waits for a verdict.
        """
        if self._auth is None or not self._auth.accept(self, message, now):
            return
        self.phase = Phase.NETWORK
        self._login_ends_at = None

    def reject(self, now: float, message: bytes = b"") -> None:
        """The login is bad. Ends the link after max_auth_failures, or if it was logged in before.

        Ignored when no login waits for a verdict.
        """
        if self._auth is not None and self._auth.reject(self, message, now):
            self._shut(CloseReason.AUTHENTICATION_FAILED, "login refused", now)

    def open_network(self, network: NetworkConfig, now: float) -> None:
        """Start IPCP with these addresses; only once after each login."""
        if self.phase is not Phase.NETWORK or self._ipcp is not None:
            return
        self._ipcp = Ipcp(network)
        self._ipcp.step(self, Input.OPEN, now)
        self._ipcp.step(self, Input.UP, now)
        self._replay_early(now)

    def close(self, now: float, reason: str = "") -> None:
        """End the link: LinkClosed follows when the peer has acknowledged, or does not answer."""
        if self.phase is Phase.DEAD:
            self._end(CloseReason.LOCAL, reason, Phase.DEAD)
        else:
            self._shut(CloseReason.LOCAL, reason, now)

    # Going on in another process.

    def export(self, now: float) -> SavedLink | None:
        """What another process must know to go on; None unless IPv4 packets may pass."""
        lcp, ipcp, auth = self._lcp, self._ipcp, self._auth
        if ipcp is None or auth is None or self.phase is not Phase.NETWORK:
            return None
        if lcp.state is not State.OPENED or ipcp.state is not State.OPENED:
            return None
        network = ipcp.network
        return SavedLink(
            auth.protocol.value,
            lcp.auth.value,
            lcp.magic,
            lcp.peer_magic,
            lcp.asked_mru,
            lcp.peer_mru,
            lcp.acfc,
            lcp.pfc,
            network.local_ip,
            network.peer_ip,
            network.dns,
            auth.identifier,
            -1.0 if auth.timer_at is None else max(auth.timer_at - now, 0.0),
        )

    def restore(self, saved: SavedLink, now: float) -> None:
        """Be up, in a new link, as another process left one. The peer counts as heard just now.
        Raises ValueError for what is no protocol to log in with."""
        lcp, protocol = self._lcp, AuthProtocol(saved.auth)
        lcp.restore_options(saved, AuthProtocol(saved.asked_auth))
        lcp.restore(self)
        ipcp = self._ipcp = Ipcp(NetworkConfig(saved.local_ip, saved.peer_ip, saved.dns))
        ipcp.restore(self)
        ipcp.heard = True
        self._auth = AuthExchange(protocol, saved.login_id)
        challenged = saved.rechallenge_in >= 0 and protocol is not AuthProtocol.PAP
        self._auth.restore(now + saved.rechallenge_in if challenged else None)
        self._keepalive = Keepalive(self.config, self.random, now)
        self.ip_prefix = IP_PREFIXES[lcp.acfc, lcp.pfc]
        self.phase = Phase.NETWORK

    # What the protocols call.

    def send(self, protocol: int, packet: bytes) -> None:
        """Queue a packet; LCP always goes out in the long form."""
        if len(self._frames) < MAX_QUEUED_FRAMES:
            short = protocol != Protocol.LCP and self._lcp.acfc
            self._frames.append(encode_frame(protocol, packet, short=short))

    def take_reject_permit(self, now: float) -> bool:
        """Whether one more Code-Reject or Protocol-Reject may go out."""
        if now >= self._rejects_from + REJECT_WINDOW_S:
            self._rejects_from = now
            self._rejects = 0
        self._rejects += 1
        return self._rejects <= MAX_REJECTS

    # LCP.

    def _receive_lcp(self, packet: Packet, now: float) -> None:
        if packet.code == Code.PROTOCOL_REJECT:
            self._receive_protocol_reject(packet, now)
            return
        if packet.code == Code.ECHO_REPLY and self._lcp.is_from_peer(packet):
            self._receive_echo_reply(packet, now)
        layer = self._lcp.receive(self, packet, now)
        if packet.code == Code.TERMINATE_REQUEST and layer is Action.TLD:
            self._end(CloseReason.PEER_TERMINATED, "peer terminated the link", Phase.TERMINATE)
        self._lcp_signal(layer, now, "peer refused LCP")
        if self._lcp.looped:
            self._end(CloseReason.LOOPED, "line is looped back", Phase.DEAD)
        elif self._lcp.failure:
            self._shut(CloseReason.NEGOTIATION_FAILED, self._lcp.failure, now)

    def _lcp_signal(self, layer: Action | None, now: float, text: str) -> None:
        """Follow LCP up and down; text says why, in case that this is the end."""
        if layer is Action.TLU:
            self._lcp_opened(now)
        elif layer is Action.TLF:
            reason, text = self._ending or (CloseReason.NEGOTIATION_FAILED, text)
            self._end(reason, text, Phase.DEAD)
        elif layer is Action.TLD:
            login_ends_at = self._login_ends_at
            self._drop_upper_layers()
            if self._lcp.state in (State.CLOSING, State.STOPPING):
                self.phase = Phase.TERMINATE
                self._ending = self._ending or (CloseReason.NEGOTIATION_FAILED, text)
            else:
                self.phase = Phase.ESTABLISH
                self._login_ends_at = login_ends_at or now + self.config.login_timeout_s
                self._events.append(LinkRestarted())

    def _lcp_opened(self, now: float, proxy: ProxyLcp | None = None) -> None:
        self.phase = Phase.AUTHENTICATE
        self.ip_prefix = IP_PREFIXES[self._lcp.acfc, self._lcp.pfc]
        self._keepalive = Keepalive(self.config, self.random, now)
        self._auth = AuthExchange(self._lcp.auth, self.random(1)[0])
        login = None if proxy is None else self._auth.take_over(proxy)
        if login is not None:
            self._events.append(login)
            return
        self._auth.start(self, now)
        self._replay_early(now)

    def _receive_protocol_reject(self, packet: Packet, now: float) -> None:
        if self._lcp.state is not State.OPENED or len(packet.data) < 2:
            return
        protocol = int.from_bytes(packet.data[:2], "big")
        if protocol == Protocol.LCP:
            layer = self._lcp.step(self, Input.RXJ_MINUS, now, packet)
            self._lcp_signal(layer, now, "peer rejects LCP")
        elif protocol in (Protocol.PAP, Protocol.CHAP):
            text = "peer rejects the authentication protocol"
            self._shut(CloseReason.NEGOTIATION_FAILED, text, now)
        elif protocol in (Protocol.IPCP, Protocol.IPV4) and self._ipcp is not None:
            layer = self._ipcp.step(self, Input.RXJ_MINUS, now, packet)
            self._ipcp_signal(self._ipcp, layer, "peer rejects IP")

    # Authentication.

    def _receive_auth(self, protocol: int, packet: Packet, now: float) -> None:
        if self._auth is None:
            # The peer may be Opened already while the answer that opens us is late.
            if protocol == Protocol.PAP and self._lcp.state is State.ACK_SENT:
                self._keep_early(protocol, packet)
            return
        request = self._auth.receive(self, protocol, packet)
        if request is not None:
            self._events.append(request)

    def _receive_pap(self, packet: Packet, now: float) -> None:
        self._receive_auth(Protocol.PAP, packet, now)

    def _receive_chap(self, packet: Packet, now: float) -> None:
        self._receive_auth(Protocol.CHAP, packet, now)

    def _login_timed_out(self, now: float) -> None:
        if self.phase is Phase.ESTABLISH:
            self._shut(CloseReason.NEGOTIATION_FAILED, "LCP took too long", now)
        else:
            self._shut(CloseReason.AUTHENTICATION_TIMEOUT, "no login in time", now)

    # IPCP.

    def _receive_ipcp(self, packet: Packet, now: float) -> None:
        if self.phase is not Phase.NETWORK:
            return
        if self._ipcp is None:
            if packet.code == Code.CONFIGURE_REQUEST:
                self._events.append(AddressRequested(wanted_address(packet)))
                self._keep_early(Protocol.IPCP, packet)
            return
        self._ipcp.heard = True
        layer = self._ipcp.receive(self, packet, now)
        self._ipcp_signal(self._ipcp, layer, "peer closed IPCP")
        if self._ipcp.failure:
            self._report_network_closed(self._ipcp, self._ipcp.failure)
            self._ipcp.failure = ""
            self._ipcp.step(self, Input.CLOSE, now)

    def _handle_ipcp_timer(self, ipcp: Ipcp, now: float) -> None:
        if self._auth is not None and not ipcp.heard and ipcp.is_timer_due(now):
            self._auth.repeat_success(self)
        self._ipcp_signal(ipcp, ipcp.handle_timer(self, now), "no answer to IPCP")

    def _ipcp_signal(self, ipcp: Ipcp, layer: Action | None, text: str) -> None:
        if layer is Action.TLU:
            ipcp.closed_reported = False
            self._events.append(NetworkOpened())
        elif layer is Action.TLD and ipcp.state not in (State.CLOSING, State.STOPPING):
            self._events.append(NetworkClosed("peer renegotiates IPCP", renegotiating=True))
        elif layer in (Action.TLD, Action.TLF):
            self._report_network_closed(ipcp, text)

    def _report_network_closed(self, ipcp: Ipcp, text: str) -> None:
        if not ipcp.closed_reported:
            ipcp.closed_reported = True
            self._events.append(NetworkClosed(text))

    # Packets at the wrong time, and silence.

    def _reject_protocol(self, protocol: int, information: bytes, now: float) -> None:
        """Answer an unknown protocol, but not before the login (RFC 1661 section 3.5)."""
        if self.phase is Phase.NETWORK and self.take_reject_permit(now):
            self._lcp.send_protocol_reject(self, protocol, information)

    def _keep_early(self, protocol: int, packet: Packet) -> None:
        if len(packet.data) <= MAX_EARLY_BYTES:
            self._early = (protocol, packet)

    def _replay_early(self, now: float) -> None:
        if self._early is not None:
            (protocol, packet), self._early = self._early, None
            try:
                _HANDLERS[protocol](self, packet, now)
            except PppError:
                self.discarded += 1

    def _check_silence(self, keepalive: Keepalive, now: float) -> None:
        if keepalive.is_dead(self.config, now):
            self._shut(CloseReason.LOST, "no frame from the peer", now)
            self._end(CloseReason.LOST, "no frame from the peer", Phase.TERMINATE)
        elif keepalive.is_echo_due(self.config, self.random, now):
            keepalive.echo_sent(self._lcp.send_echo_request(self), now)
            self._judge_line(keepalive)

    def _receive_echo_reply(self, packet: Packet, now: float) -> None:
        if self._keepalive is not None:
            self._keepalive.echo_answered(packet.identifier, now)
            self._judge_line(self._keepalive)

    def _judge_line(self, keepalive: Keepalive) -> None:
        if keepalive.has_changed():
            quality = quality_of(keepalive.ring, keepalive.lost_at)
            self._events.append(LineChanged(keepalive.is_bad, quality.lost, quality.echoes))

    # The end.

    def _shut(self, reason: CloseReason, text: str, now: float) -> None:
        """Begin to end the link from our side, unless it is ending already."""
        if self._ended or self._ending is not None:
            return
        self._ending = (reason, text)
        self.phase = Phase.TERMINATE
        self._drop_upper_layers()
        self._lcp.farewell = text.encode("utf-8", "replace")
        self._lcp_signal(self._lcp.step(self, Input.CLOSE, now), now, text)

    def _drop_upper_layers(self) -> None:
        self._ipcp = None
        self._auth = None
        self._early = None
        self._keepalive = None
        self._login_ends_at = None

    def _end(self, reason: CloseReason, text: str, phase: Phase) -> None:
        """The link is over for its owner. Phase TERMINATE still answers the peer's packets."""
        self.phase = phase
        self._drop_upper_layers()
        if phase is Phase.DEAD:
            self._lcp.timer_at = None
        if not self._ended:
            self._ended = True
            self._events.append(LinkClosed(reason, text))


_HANDLERS: Final[dict[int, Callable[[Link, Packet, float], None]]] = {
    Protocol.LCP: Link._receive_lcp,
    Protocol.PAP: Link._receive_pap,
    Protocol.CHAP: Link._receive_chap,
    Protocol.IPCP: Link._receive_ipcp,
}
