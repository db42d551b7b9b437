"""The peer logs in: PAP, CHAP-MD5 or MS-CHAPv2, judged elsewhere.

No secret is known here: what the peer sends goes out as an event, and the verdict comes back with
accept() or reject().
"""

import enum
from collections.abc import Callable
from typing import Final

from l2tpns_core.ppp import chap, pap
from l2tpns_core.ppp.chap import ChapCode
from l2tpns_core.ppp.config import AuthProtocol, ProxyLcp
from l2tpns_core.ppp.events import (
    AuthenticationRequested,
    ChapLogin,
    Login,
    MsChapV2Login,
    PapLogin,
)
from l2tpns_core.ppp.frame import Packet, Protocol
from l2tpns_core.ppp.keepalive import jitter
from l2tpns_core.ppp.pap import PapCode
from l2tpns_core.ppp.protocol import Host

MIN_CHALLENGE_BYTES: Final = 16
CHALLENGE_LENGTHS: Final = 17  # 16 to 32 bytes
RECHALLENGE_JITTER: Final = 0.25
MAX_PROXY_CHALLENGE_BYTES: Final = 253  # what a RADIUS attribute holds

PROXY_CHAP: Final = 2
PROXY_PAP: Final = 3


class AuthState(enum.IntEnum):
    """Where a login is."""

    WAITING = 0  # the peer's turn
    PENDING = 1  # our owner's turn
    PASSED = 2


class AuthExchange:
    """The login of one link, and its repetitions."""

    __slots__ = (
        "_challenge",
        "_failures",
        "_identifier",
        "_logged_in",
        "_message",
        "_tries",
        "protocol",
        "state",
        "timer_at",
    )

    def __init__(self, protocol: AuthProtocol, identifier: int) -> None:
        """identifier is random, so that an answer to an earlier exchange does not fit this one."""
        self.protocol = protocol
        """What the peer logs in with."""
        self.state = AuthState.WAITING
        self.timer_at: float | None = None
        """When the Challenge is sent again, or the next one is due."""
        self._identifier = identifier
        self._challenge = b""
        self._tries = 0
        self._failures = 0
        self._message = b""
        self._logged_in = False

    def start(self, host: Host, now: float) -> None:
        """It is the peer's turn: PAP waits for it, CHAP sends a new Challenge."""
        self.state = AuthState.WAITING
        if self.protocol is AuthProtocol.PAP:
            return
        length = chap.MSCHAP_V2_CHALLENGE_BYTES
        if self.protocol is AuthProtocol.CHAP_MD5:
            length = MIN_CHALLENGE_BYTES + host.random(1)[0] % CHALLENGE_LENGTHS
        self._identifier = (self._identifier + 1) & 0xFF
        self._challenge = host.random(length)
        self._tries = 0
        self._send_challenge(host, now)

    def take_over(self, proxy: ProxyLcp) -> AuthenticationRequested | None:
        """The login that the LAC collected, or None if it is not what was agreed on or damaged."""
        if proxy.auth_name is None or proxy.auth_id is None or proxy.auth_response is None:
            return None
        challenge, response = proxy.auth_challenge or b"", proxy.auth_response
        credentials: Login
        if self.protocol is AuthProtocol.PAP:
            fits = proxy.auth_type == PROXY_PAP
            credentials = PapLogin(response)
        elif self.protocol is AuthProtocol.CHAP_MD5:
            fits = proxy.auth_type == PROXY_CHAP and len(response) == chap.MD5_RESPONSE_BYTES
            fits = fits and 0 < len(challenge) <= MAX_PROXY_CHALLENGE_BYTES
            credentials = ChapLogin(proxy.auth_id, challenge, response)
        else:
            fits = proxy.auth_type == PROXY_CHAP and len(response) == chap.MSCHAP_V2_RESPONSE_BYTES
            fits = fits and len(challenge) == chap.MSCHAP_V2_CHALLENGE_BYTES
            credentials = MsChapV2Login(proxy.auth_id, challenge, response)
        if not fits:
            return None
        self._identifier = proxy.auth_id & 0xFF
        self.state = AuthState.PENDING
        return AuthenticationRequested(self.protocol, proxy.auth_name, credentials)

    @property
    def identifier(self) -> int:
        """That of the last exchange."""
        return self._identifier

    def restore(self, timer_at: float | None) -> None:
        """The peer has logged in, in another process."""
        self.state = AuthState.PASSED
        self._logged_in = True
        self.timer_at = timer_at

    def receive(self, host: Host, protocol: int, packet: Packet) -> AuthenticationRequested | None:
        """Handle a PAP or CHAP packet. Raises PppError when it is malformed."""
        if protocol == Protocol.PAP:
            return self._receive_pap(host, packet)
        return self._receive_chap(host, packet)

    def accept(self, host: Host, message: bytes, now: float) -> bool:
        """The login is good: tell the peer. False when no verdict was due."""
        if self.state is not AuthState.PENDING:
            return False
        self.state = AuthState.PASSED
        self._logged_in = True
        self._challenge = b""
        self._message = message
        self._send_verdict(host, passed=True)
        period = host.config.rechallenge_s
        if period and self.protocol is not AuthProtocol.PAP:
            self.timer_at = now + period + jitter(host.random, period * RECHALLENGE_JITTER)
        return True

    def reject(self, host: Host, message: bytes, now: float) -> bool:
        """The login is bad: tell the peer. True when it has no try left."""
        if self.state is not AuthState.PENDING:
            return False
        self._message = message
        self._send_verdict(host, passed=False)
        self._failures += 1
        if self._logged_in or self._failures >= host.config.max_auth_failures:
            self.state = AuthState.WAITING
            return True
        self.start(host, now)
        return False

    def repeat_success(self, host: Host) -> None:
        """Send a CHAP Success again to a peer that seems to have missed it.

        Unlike PAP, a CHAP peer has nothing to retransmit: it waits (RFC 1994 section 4.2).
        """
        if self.state is AuthState.PASSED and self.protocol is not AuthProtocol.PAP:
            self._send_verdict(host, passed=True)

    def handle_timer(self, host: Host, now: float) -> bool:
        """Send the Challenge again or anew. True when the peer did not answer any of them."""
        if self.timer_at is None or now < self.timer_at:
            return False
        if self.state is AuthState.PASSED:
            self.start(host, now)
        elif self._tries >= host.config.chap_max_tries:
            self.timer_at = None
            return True
        else:
            self._send_challenge(host, now)
        return False

    def _receive_pap(self, host: Host, packet: Packet) -> AuthenticationRequested | None:
        if packet.code != PapCode.REQUEST or not self._takes_pap(host):
            return None
        user, password = pap.decode_request(packet.data)
        self.protocol = AuthProtocol.PAP
        self.timer_at = None
        self._identifier = packet.identifier
        return _ON_LOGIN[self.state](self, host, user, PapLogin(password))

    def _takes_pap(self, host: Host) -> bool:
        """PAP, if agreed on; or instead of CHAP, by a first login where PAP is allowed as well."""
        if self.protocol is AuthProtocol.PAP:
            return True
        waiting = self.state is AuthState.WAITING and not self._logged_in
        return waiting and AuthProtocol.PAP in host.config.auth

    def _receive_chap(self, host: Host, packet: Packet) -> AuthenticationRequested | None:
        if packet.code != ChapCode.RESPONSE or self.protocol is AuthProtocol.PAP:
            return None
        if packet.identifier != self._identifier:
            return None
        credentials: Login
        if self.protocol is AuthProtocol.CHAP_MD5:
            value, user = chap.decode_response(packet.data, chap.MD5_RESPONSE_BYTES)
            credentials = ChapLogin(packet.identifier, self._challenge, value)
        else:
            value, user = chap.decode_response(packet.data, chap.MSCHAP_V2_RESPONSE_BYTES)
            credentials = MsChapV2Login(packet.identifier, self._challenge, value)
        return _ON_LOGIN[self.state](self, host, user, credentials)

    def _ask(self, host: Host, user: bytes, credentials: Login) -> AuthenticationRequested | None:
        self.state = AuthState.PENDING
        self.timer_at = None
        return AuthenticationRequested(self.protocol, user, credentials, self._logged_in)

    def _wait(self, host: Host, user: bytes, credentials: Login) -> AuthenticationRequested | None:
        """A repetition while the verdict is pending; that will answer the latest identifier."""
        return None

    def _repeat(
        self, host: Host, user: bytes, credentials: Login
    ) -> AuthenticationRequested | None:
        """Our verdict was lost (RFC 1334 section 2.2.1, RFC 1994 section 4.2)."""
        self._send_verdict(host, passed=True)
        return None

    def _send_challenge(self, host: Host, now: float) -> None:
        """The same Challenge however often: a slow peer's answer to an earlier one still counts."""
        self._tries += 1
        self.timer_at = now + host.config.chap_retry_s
        name = host.config.hostname.encode(errors="replace")
        host.send(Protocol.CHAP, chap.encode_challenge(self._identifier, self._challenge, name))

    def _send_verdict(self, host: Host, *, passed: bool) -> None:
        if self.protocol is AuthProtocol.PAP:
            answer = PapCode.ACK if passed else PapCode.NAK
            host.send(Protocol.PAP, pap.encode_answer(answer, self._identifier, self._message))
            return
        result = ChapCode.SUCCESS if passed else ChapCode.FAILURE
        host.send(Protocol.CHAP, chap.encode_result(result, self._identifier, self._message))


_ON_LOGIN: Final[
    dict[
        AuthState,
        Callable[[AuthExchange, Host, bytes, Login], AuthenticationRequested | None],
    ]
] = {
    AuthState.WAITING: AuthExchange._ask,
    AuthState.PENDING: AuthExchange._wait,
    AuthState.PASSED: AuthExchange._repeat,
}
"""What a login of the peer leads to."""
