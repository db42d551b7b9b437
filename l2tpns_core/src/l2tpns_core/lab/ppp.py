"""A PPP client for the lab: LCP, PAP or CHAP-MD5, IPCP (RFC 1661, 1334, 1994, 1332, 1877).

Sans-IO like the LNS's own link, but written apart from it. It obeys, and reports every oddity.
"""

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from l2tpns_core.lab import frames
from l2tpns_core.lab.frames import FaultError
from l2tpns_core.lab.negotiation import Negotiation, NegotiationTimes, Outcome
from l2tpns_core.lab.ppp_options import (
    AUTH_CHAP_MD5,
    AUTH_PAP,
    NO_ADDRESS,
    OPT_ACFC,
    OPT_ADDRESS,
    OPT_DNS1,
    OPT_DNS2,
    OPT_PFC,
    IpcpPolicy,
    LcpPolicy,
)

AUTH_RESTART_S: Final = 3.0
AUTH_TRIES: Final = 10
MAX_NOTED: Final = 32  # Protocol-Rejects and the like that are kept for tests


class Phase(enum.Enum):
    """Where a link is (RFC 1661 section 3.2); UP is Network with IPCP open."""

    DEAD = "dead"
    ESTABLISH = "establish"
    AUTHENTICATE = "authenticate"
    NETWORK = "network"
    UP = "up"
    TERMINATE = "terminate"


@dataclass(slots=True)
class PppOptions:
    user: str = ""
    password: str = field(default="", repr=False)
    auth: tuple[str, ...] = ("pap", "chap")
    """What the client agrees to, preferred first."""
    mru: int | None = None
    compress: bool = False
    """Ask for, and use, protocol and address field compression."""
    times: NegotiationTimes = field(default_factory=NegotiationTimes)
    echo_interval_s: float = 0.0
    """0 sends no echo requests."""
    ask_dns: bool = True
    strict: bool = True
    """The path loses and reorders nothing, so that every packet out of place is a fault."""


class Owner(Protocol):
    """Whoever carries the frames."""

    def send_frame(self, frame: bytes) -> None:
        """Send a frame, address and control field included where they belong."""

    def ppp_fault(self, text: str) -> None:
        """The LNS broke a rule."""

    def ppp_up(self) -> None:
        """IPCP is open; the address is known."""

    def ppp_down(self, reason: str) -> None:
        """The link ended or will never come up."""

    def ppp_packet(self, packet: bytes) -> None:
        """An IPv4 packet came."""


@dataclass(slots=True)
class PppCounters:
    echo_requests_received: int = 0
    echo_replies_sent: int = 0
    echo_requests_sent: int = 0
    echo_replies_received: int = 0
    renegotiations: int = 0


class PppClient:
    """One subscriber's link."""

    __slots__ = (
        "_auth_identifier",
        "_auth_restart_at",
        "_auth_tries",
        "_echo_at",
        "_echo_data",
        "_echo_identifier",
        "_identifier",
        "_ipcp",
        "_lcp",
        "answer_echo",
        "auth_message",
        "auth_protocol",
        "authenticated",
        "challenge",
        "code_rejects",
        "compress",
        "counters",
        "ip",
        "ipcp_wanted",
        "lcp_rejected",
        "magic",
        "mru",
        "options",
        "owner",
        "peer_ip",
        "peer_magic",
        "peer_mru",
        "peer_takes_acfc",
        "peer_takes_pfc",
        "phase",
        "protocol_rejects",
        "random",
        "refused",
    )

    def __init__(
        self,
        options: PppOptions,
        owner: Owner,
        random: Callable[[int], bytes],
        counters: PppCounters,
    ) -> None:
        self.options = options
        self.owner = owner
        self.random = random
        self.counters = counters
        self.phase = Phase.DEAD
        self.answer_echo = True
        """False plays dead to the LNS's echo requests and nothing else."""
        self.magic = random(4)
        self.mru = options.mru
        self.compress = options.compress
        self.lcp_rejected: set[int] = set()
        self.auth_protocol = b""
        self.peer_magic = bytes(4)
        self.peer_mru = 1500
        self.peer_takes_pfc = False
        self.peer_takes_acfc = False
        self.authenticated = False
        self.refused = False
        """The LNS said no: PAP-Nak or CHAP Failure."""
        self.auth_message = b""
        """What the LNS said with its verdict."""
        self.challenge = b""
        self.ipcp_wanted: dict[int, bytes] = {}
        self.ip = 0
        self.peer_ip = 0
        self.protocol_rejects: list[int] = []
        self.code_rejects: list[bytes] = []
        self._lcp = Negotiation(
            "LCP", LcpPolicy(self), options.times, self._write_lcp, owner.ppp_fault
        )
        self._ipcp = Negotiation(
            "IPCP", IpcpPolicy(self), options.times, self._write_ipcp, owner.ppp_fault
        )
        self._auth_identifier = 0
        self._auth_restart_at: float | None = None
        self._auth_tries = 0
        self._identifier = 0x80
        self._echo_at: float | None = None
        self._echo_identifier: int | None = None
        self._echo_data = b""

    @property
    def dns(self) -> tuple[int, int]:
        """The DNS servers that the LNS gave, 0 for none."""
        first, second = (
            int.from_bytes(self.ipcp_wanted.get(kind, NO_ADDRESS), "big")
            for kind in (OPT_DNS1, OPT_DNS2)
        )
        return first, second

    # -- output ---------------------------------------------------------------------------------

    def _write(self, protocol: int, code: int, identifier: int, data: bytes) -> None:
        self.owner.send_frame(frames.encode_packet(protocol, code, identifier, data))

    def _write_lcp(self, code: int, identifier: int, data: bytes) -> None:
        self._write(frames.PROTO_LCP, code, identifier, data)

    def _write_ipcp(self, code: int, identifier: int, data: bytes) -> None:
        self._write(frames.PROTO_IPCP, code, identifier, data)

    def send_ip(self, packet: bytes) -> None:
        """Send an IPv4 packet, compressed as agreed."""
        head = b"" if self.compress and self.peer_takes_acfc else b"\xff\x03"
        head += b"\x21" if self.compress and self.peer_takes_pfc else b"\x00\x21"
        self.owner.send_frame(head + packet)

    # -- life -----------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """The call is connected: negotiate."""
        self.phase = Phase.ESTABLISH
        self._lcp.start(now)

    def start_after_proxy(self, auth: bytes, peer_magic: bytes, identifier: int) -> None:
        """The LAC led LCP and took the login; the verdict of the LNS is what is missing."""
        self.auth_protocol = auth
        self.peer_magic = peer_magic
        self._auth_identifier = identifier
        self._lcp.assume_open()
        self.phase = Phase.AUTHENTICATE

    def renegotiate(self, now: float) -> None:
        """Start over with LCP although the link is open."""
        self._stop_all()
        self.authenticated = False
        self.start(now)

    def terminate(self, reason: bytes = b"User request") -> None:
        """Send an LCP Terminate-Request and wait for its Ack."""
        self.phase = Phase.TERMINATE
        self._stop_all()
        self._identifier = (self._identifier + 1) & 0xFF
        self._write_lcp(frames.TERMINATE_REQUEST, self._identifier, reason)

    def _stop_all(self) -> None:
        self._lcp.stop()
        self._ipcp.stop()
        self._auth_restart_at = None
        self._echo_at = None

    def _end(self, reason: str) -> None:
        self.phase = Phase.DEAD
        self._stop_all()
        self.owner.ppp_down(reason)

    def get_timer(self) -> float | None:
        """When handle_timer has something to do."""
        earliest: float | None = None
        for at in (
            self._lcp.restart_at,
            self._ipcp.restart_at,
            self._auth_restart_at,
            self._echo_at,
        ):
            if at is not None and (earliest is None or at < earliest):
                earliest = at
        return earliest

    def handle_timer(self, now: float) -> None:
        """Repeat what was not answered; send echoes."""
        if self._lcp.handle_timer(now) is Outcome.FAILED:
            self._end("LCP does not come up")
        elif self._ipcp.handle_timer(now) is Outcome.FAILED:
            self._end("IPCP does not come up")
        if self._auth_restart_at is not None and self._auth_restart_at <= now:
            if self._auth_tries >= AUTH_TRIES:
                self._end("no answer to the login")
            elif self.auth_protocol == AUTH_PAP:
                self._send_pap(now)
        if self._echo_at is not None and self._echo_at <= now:
            self._send_echo(now)

    # -- input ----------------------------------------------------------------------------------

    def receive(self, frame: bytes, now: float) -> None:
        """Take a frame of the LNS."""
        try:
            self._receive(frame, now)
        except FaultError as fault:
            self.owner.ppp_fault(str(fault))

    def _receive(self, frame: bytes, now: float) -> None:
        framed, protocol, width, start = frames.split_protocol(frame)
        if protocol == frames.PROTO_IPV4:
            self._check_framing(framed, width)
            if self.phase is Phase.UP:
                self.owner.ppp_packet(frame[start:])
            elif self._must_be_silent():
                self.owner.ppp_fault(f"an IPv4 packet in phase {self.phase.value}")
            return
        if protocol == frames.PROTO_LCP:
            if not framed or width == 1:
                raise FaultError("LCP packet in a compressed frame")
            self._receive_lcp(*frames.decode_packet(frame[start:]), now)
            return
        self._check_framing(framed, width)
        if not self._lcp.opened:
            # RFC 1661 section 3.4: nothing but LCP in this phase, and what comes is discarded.
            if self._must_be_silent():
                raise FaultError(f"protocol {protocol:#06x} before LCP is open")
            return
        if protocol == frames.PROTO_PAP:
            self._receive_pap(*frames.decode_packet(frame[start:]), now)
        elif protocol == frames.PROTO_CHAP:
            self._receive_chap(*frames.decode_packet(frame[start:]), now)
        elif protocol == frames.PROTO_IPCP:
            self._receive_ipcp(*frames.decode_packet(frame[start:]), now)
        else:
            self._reject_protocol(protocol, frame[start:])

    def _must_be_silent(self) -> bool:
        """Whether a packet of a later phase can only be a mistake, not one still on its way."""
        if not self.options.strict or self.phase in (Phase.TERMINATE, Phase.DEAD):
            return False
        return self.phase is not Phase.ESTABLISH or not self.ip

    def _check_framing(self, framed: bool, width: int) -> None:
        if not framed and not (self.compress and OPT_ACFC not in self.lcp_rejected):
            raise FaultError("a frame without address and control field, which we did not agree to")
        if width == 1 and not (self.compress and OPT_PFC not in self.lcp_rejected):
            raise FaultError("a frame with a compressed protocol field, which we did not agree to")

    def _reject_protocol(self, protocol: int, packet: bytes) -> None:
        self._identifier = (self._identifier + 1) & 0xFF
        data = protocol.to_bytes(2, "big") + packet[:1400]
        self._write_lcp(frames.PROTOCOL_REJECT, self._identifier, data)

    def _receive_lcp(self, code: int, identifier: int, data: bytes, now: float) -> None:
        if self.phase in (Phase.DEAD, Phase.TERMINATE) and code not in (
            frames.TERMINATE_REQUEST,
            frames.TERMINATE_ACK,
        ):
            return
        if frames.CONFIGURE_REQUEST <= code <= frames.CONFIGURE_REJECT:
            self._handle_lcp(self._lcp.receive(code, identifier, data, now), now)
        elif code == frames.TERMINATE_REQUEST:
            self._write_lcp(frames.TERMINATE_ACK, identifier, data)
            if self.phase is not Phase.DEAD:
                self._end("the LNS ended the link: " + data.decode("utf-8", "backslashreplace"))
        elif code == frames.TERMINATE_ACK:
            if self.phase is Phase.TERMINATE:
                self._end("we ended the link")
            elif self.options.strict and self.phase is not Phase.DEAD:
                raise FaultError("LCP Terminate-Ack that nobody asked for")
        elif code == frames.ECHO_REQUEST:
            self._answer_echo(identifier, data)
        elif code == frames.ECHO_REPLY:
            self._take_echo_reply(identifier, data)
        elif code == frames.PROTOCOL_REJECT:
            self._take_protocol_reject(data)
        elif code == frames.CODE_REJECT:
            if len(self.code_rejects) < MAX_NOTED:
                self.code_rejects.append(data)
        elif code not in (frames.DISCARD_REQUEST, 12, 13):
            self._identifier = (self._identifier + 1) & 0xFF
            packet = bytes((code, identifier)) + (4 + len(data)).to_bytes(2, "big") + data
            self._write_lcp(frames.CODE_REJECT, self._identifier, packet)
            raise FaultError(f"LCP code {code}")

    def _handle_lcp(self, outcome: Outcome, now: float) -> None:
        if outcome is Outcome.FAILED:
            self._end("LCP does not converge")
        elif outcome is Outcome.RESTARTED:
            self.counters.renegotiations += 1
            self.phase = Phase.ESTABLISH
            self.authenticated = False
            self._ipcp.stop()
            self._auth_restart_at = None
            self._echo_at = None
        elif outcome is Outcome.OPENED:
            self.phase = Phase.AUTHENTICATE
            if not self.auth_protocol:
                self.owner.ppp_fault("the LNS asks for no login")
                self._open_network(now)
            elif self.auth_protocol == AUTH_PAP:
                self._auth_tries = 0
                self._auth_identifier = (self._auth_identifier + 1) & 0xFF
                self._send_pap(now)
            else:
                self._auth_tries = AUTH_TRIES
                self._auth_restart_at = now + AUTH_RESTART_S * AUTH_TRIES

    def _answer_echo(self, identifier: int, data: bytes) -> None:
        self.counters.echo_requests_received += 1
        if not self._lcp.opened and self.options.strict:
            raise FaultError("LCP Echo-Request before LCP is open")
        if data[:4] != self.peer_magic:
            self.owner.ppp_fault(
                f"LCP Echo-Request with magic {data[:4].hex()}, agreed was {self.peer_magic.hex()}"
            )
        if self.answer_echo and self._lcp.opened:
            self.counters.echo_replies_sent += 1
            self._write_lcp(frames.ECHO_REPLY, identifier, self.magic + data[4:])

    def _send_echo(self, now: float) -> None:
        self._echo_at = now + self.options.echo_interval_s
        self._identifier = (self._identifier + 1) & 0xFF
        self._echo_identifier = self._identifier
        self._echo_data = self.random(4)
        self.counters.echo_requests_sent += 1
        self._write_lcp(frames.ECHO_REQUEST, self._identifier, self.magic + self._echo_data)

    def send_echo(self, now: float) -> None:
        """Send one LCP Echo-Request."""
        at = self._echo_at
        self._send_echo(now)
        self._echo_at = at

    def _take_echo_reply(self, identifier: int, data: bytes) -> None:
        if identifier != self._echo_identifier:
            if self.options.strict:
                raise FaultError(f"LCP Echo-Reply {identifier} that nobody asked for")
            return
        self._echo_identifier = None
        self.counters.echo_replies_received += 1
        if data != self.peer_magic + self._echo_data:
            raise FaultError("LCP Echo-Reply with a wrong magic number or other data than we sent")

    def _take_protocol_reject(self, data: bytes) -> None:
        protocol = int.from_bytes(data[:2], "big")
        if len(self.protocol_rejects) < MAX_NOTED:
            self.protocol_rejects.append(protocol)
        if not self._lcp.opened and self.options.strict:
            self.owner.ppp_fault("LCP Protocol-Reject before LCP is open")
        if protocol in (frames.PROTO_LCP, frames.PROTO_IPCP, frames.PROTO_IPV4):
            self._end(f"the LNS rejects protocol {protocol:#06x}")

    # -- login ----------------------------------------------------------------------------------

    def _send_pap(self, now: float) -> None:
        self._auth_tries += 1
        self._auth_restart_at = now + AUTH_RESTART_S
        user, password = self.options.user.encode(), self.options.password.encode()
        data = bytes((len(user),)) + user + bytes((len(password),)) + password
        self._write(frames.PROTO_PAP, 1, self._auth_identifier, data)

    def repeat_login(self, now: float) -> None:
        """Send the PAP request once more, as a client does whose Ack was lost."""
        self._send_pap(now)
        self._auth_restart_at = None

    def _receive_pap(self, code: int, identifier: int, data: bytes, now: float) -> None:
        if self.auth_protocol != AUTH_PAP:
            raise FaultError("PAP although CHAP was agreed")
        if code not in (2, 3):
            raise FaultError(f"PAP code {code} from the LNS")
        if identifier != self._auth_identifier:
            raise FaultError(f"PAP answer {identifier} to request {self._auth_identifier}")
        if not data or len(data) < 1 + data[0]:
            raise FaultError("PAP answer without its message length")
        self._take_verdict(code == 2, data[1 : 1 + data[0]], now)

    def _receive_chap(self, code: int, identifier: int, data: bytes, now: float) -> None:
        if self.auth_protocol != AUTH_CHAP_MD5:
            raise FaultError("CHAP although PAP was agreed")
        if code == 1:
            if not data or data[0] == 0 or len(data) < 1 + data[0]:
                raise FaultError("CHAP Challenge without a value")
            self.challenge = data[1 : 1 + data[0]]
            if len(data) == 1 + data[0]:
                self.owner.ppp_fault("CHAP Challenge without a name")
            self._auth_identifier = identifier
            response = chap_response(identifier, self.options.password, self.challenge)
            answer = b"\x10" + response + self.options.user.encode()
            self._write(frames.PROTO_CHAP, 2, identifier, answer)
        elif code in (3, 4):
            if identifier != self._auth_identifier:
                raise FaultError(f"CHAP verdict {identifier} on response {self._auth_identifier}")
            self._take_verdict(code == 3, data, now)
        else:
            raise FaultError(f"CHAP code {code} from the LNS")

    def _take_verdict(self, good: bool, message: bytes, now: float) -> None:
        self._auth_restart_at = None
        self.auth_message = message
        if not good:
            self.refused = True
        elif not self.authenticated:
            self.authenticated = True
            self._open_network(now)

    # -- network --------------------------------------------------------------------------------

    def _open_network(self, now: float) -> None:
        self.phase = Phase.NETWORK
        self.ipcp_wanted = {OPT_ADDRESS: NO_ADDRESS}
        if self.options.ask_dns:
            self.ipcp_wanted |= {OPT_DNS1: NO_ADDRESS, OPT_DNS2: NO_ADDRESS}
        self._ipcp.start(now)

    def _receive_ipcp(self, code: int, identifier: int, data: bytes, now: float) -> None:
        if self.phase is Phase.AUTHENTICATE:
            raise FaultError("IPCP before the login was answered")
        if self.phase not in (Phase.NETWORK, Phase.UP):
            return
        if frames.CONFIGURE_REQUEST <= code <= frames.CONFIGURE_REJECT:
            outcome = self._ipcp.receive(code, identifier, data, now)
            if outcome is Outcome.OPENED:
                self._come_up(now)
            elif outcome is Outcome.RESTARTED:
                self.phase = Phase.NETWORK
            elif outcome is Outcome.FAILED:
                self._end("IPCP does not converge")
        elif code == frames.TERMINATE_REQUEST:
            self._write_ipcp(frames.TERMINATE_ACK, identifier, b"")
            self._ipcp.stop()
            self._end("the LNS ended IPCP")
        elif code not in (frames.TERMINATE_ACK, frames.CODE_REJECT):
            raise FaultError(f"IPCP code {code}")

    def _come_up(self, now: float) -> None:
        address = int.from_bytes(self.ipcp_wanted.get(OPT_ADDRESS, NO_ADDRESS), "big")
        if not address:
            self.owner.ppp_fault("IPCP opened without an address for us")
        if self.ip and address != self.ip:
            self.owner.ppp_fault("another address after IPCP was negotiated again")
        self.ip = address
        self.phase = Phase.UP
        if self.options.echo_interval_s:
            # The first one at a random point, so that many clients do not send at once.
            part = self.random(1)[0] / 256
            self._echo_at = now + self.options.echo_interval_s * part
        self.owner.ppp_up()


def chap_response(identifier: int, password: str, challenge: bytes) -> bytes:
    """CHAP-MD5 (RFC 1994 section 4.1)."""
    seed = bytes((identifier,)) + password.encode() + challenge
    return hashlib.md5(seed, usedforsecurity=False).digest()
