"""A login: from the client's PAP or CHAP packet over RADIUS to an address.

Order of events (docs/plugins/events.md): pre_auth, the Access-Request, post_auth, radius_response
for each pair of a Cisco-AVPair; new_session follows when IPCP is open.
"""

import logging
from collections import Counter
from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from l2tpns_core.l2tp.codes import CdnResult, GeneralError
from l2tpns_core.life import Step
from l2tpns_core.lns.accounting import MIN_INTERIM_S, identity_of
from l2tpns_core.lns.filters import take_filter_ids
from l2tpns_core.plugins.events import ParamPostAuth, ParamPreAuth, ParamRadiusResponse
from l2tpns_core.ppp.config import NetworkConfig
from l2tpns_core.ppp.events import (
    AddressRequested,
    AuthenticationRequested,
    ChapLogin,
    MsChapV2Login,
    PapLogin,
)
from l2tpns_core.ppp.events import Login as PppLogin
from l2tpns_core.ppp.link import Phase
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    ChapCredentials,
    Credentials,
    MsChapV2Credentials,
    PapCredentials,
)
from l2tpns_core.session import (
    AddressSource,
    Ending,
    Route,
    Session,
    SessionState,
    TerminateCause,
)

if TYPE_CHECKING:
    from l2tpns_core.lns.server import Lns

log = logging.getLogger("l2tpns.login")

PROTOCOL_PAP = 0xC023
PROTOCOL_CHAP = 0xC223
CLIENT_CHOOSES = 0xFFFFFFFF
NAS_CHOOSES = 0xFFFFFFFE
"""Special values of Framed-IP-Address (RFC 2865 section 5.8)."""
MAX_USER_OCTETS = 253
"""What a User-Name attribute can carry."""

DUPLICATE = Ending("Duplicate session for user", TerminateCause.ADMIN_RESET)
DUPLICATE_ADDRESS = Ending("Duplicate IP address", TerminateCause.ADMIN_RESET)
OTHER_USER = Ending("Other user logged in on a running session", TerminateCause.ADMIN_RESET)
OUT_OF_ADDRESSES = Ending(
    "No IP address available",
    TerminateCause.SERVICE_UNAVAILABLE,
    CdnResult.GENERAL_ERROR,
    GeneralError.TRY_ANOTHER,
    disconnect_cause=None,
)
NO_RADIUS = Ending(
    "RADIUS timeout",
    TerminateCause.REAUTHENTICATION_FAILURE,
    CdnResult.NO_FACILITIES_TEMPORARY,
    disconnect_cause=None,
)
TIME_IS_UP = Ending("Session-Timeout is 0", TerminateCause.SESSION_TIMEOUT)
DUPLICATE_REFUSED = Ending("User is logged in already", TerminateCause.ADMIN_RESET)
ADDRESS_UNUSABLE = Ending("No usable IP address", TerminateCause.SERVICE_UNAVAILABLE)
ADDRESS_REFUSED = Ending("IP address is in use", TerminateCause.SERVICE_UNAVAILABLE)
REFUSALS: Final = {
    TIME_IS_UP: "time_is_up",
    DUPLICATE_REFUSED: "duplicate",
    OUT_OF_ADDRESSES: "no_address",
    ADDRESS_UNUSABLE: "address_unusable",
    ADDRESS_REFUSED: "address_in_use",
}
"""What RADIUS accepts and the LNS refuses all the same, in a word for who counts it."""
REFUSAL_WORDS: Final = ("rejected", "plugin", "name_too_long", "other_user", *REFUSALS.values())


class Login:
    """Carries logins through; one object for all sessions."""

    __slots__ = ("_lns", "refusals")

    def __init__(self, lns: "Lns") -> None:
        self._lns = lns
        self.refusals: Counter[str] = Counter()
        """Logins that were refused, by one of REFUSAL_WORDS."""

    def requested(self, session: Session, event: AuthenticationRequested, now: float) -> None:
        """The client sent its name and proof."""
        self.abandon(session)
        self._lns.lives.note_login(session, event.protocol.name, _text(event.user))
        user, credentials = event.user, _credentials(event.credentials)
        if self._lns.plugins.listens("pre_auth"):
            param = ParamPreAuth(
                t=session.tunnel_id,
                s=session.session_id,
                session=session,
                username=_text(user),
                password=_proof(credentials),
                protocol=_protocol(credentials),
            )
            self._lns.plugins.pre_auth(param)
            if session.is_going:
                return
            user = _octets(param.username)
            if not param.continue_auth:
                self._lns.lives.note(session, Step.REFUSED, "by a plugin")
                self._refuse(session, _text(user), "Refused by a plugin", now, "plugin")
                return
            if isinstance(credentials, PapCredentials):
                credentials = PapCredentials(param.password)
        if len(user) > MAX_USER_OCTETS:
            self._lns.lives.note(session, Step.REFUSED, "user name is too long")
            self._refuse(session, _text(user), "User name is too long", now, "name_too_long")
            return
        identity = identity_of(session)
        identity.user = _text(user)
        request = AccessRequest(identity, user, credentials)
        session.radius_handle = self._lns.radius.authenticate(
            request, partial(self._answered, session, identity.user, _protocol(credentials))
        )

    def abandon(self, session: Session) -> None:
        """Forget the request that is under way, if any."""
        if session.radius_handle:
            self._lns.radius.cancel(session.radius_handle)
            session.radius_handle = 0

    def networks(self, session: Session) -> tuple[tuple[int, int], ...]:
        """The Framed-Routes that are the session's and no other's."""
        owner_of = self._lns.tables.owner_of_network
        return tuple(route for route in session.routes if owner_of(*route) is session)

    def release_address(self, session: Session, now: float) -> None:
        """Give back the address and withdraw the session's routes."""
        lns = self._lns
        for network, prefix_length in self.networks(session):
            if prefix_length < 32 or lns.tables.by_ip(network) in (None, session):
                lns.routes.remove(network, prefix_length)
        if not session.ip:
            return
        if lns.tables.owner_of_network(session.ip, 32) in (None, session):
            lns.routes.remove(session.ip, 32)
        if lns.pool.release(session.ip, session.key, now, sticky=not session.walled_garden):
            lns.counters.ip_freed += 1

    def _answered(self, session: Session, user: str, protocol: int, reply: AccessReply) -> None:
        """RADIUS has answered, or has not in time."""
        session.radius_handle = 0
        now = self._lns.clock()
        try:
            self._conclude(session, user, protocol, reply, now)
        except Exception:  # noqa: BLE001  (border: costs this session only)
            self._lns.fail(session, now)
        self._lns.settle(session, now)

    def _conclude(
        self, session: Session, user: str, protocol: int, reply: AccessReply, now: float
    ) -> None:
        """Act on the verdict, unless the session is going; a plugin may drop it, too."""
        if session.link is None:
            return
        for problem in reply.problems:
            log.warning("RADIUS reply for %s: %s", user, problem, extra=session.log_ids())
        if reply.outcome is AccessOutcome.TIMEOUT:
            self._lns.counters.radius_timeout += 1
            self._lns.lives.note(session, Step.NO_ANSWER)
            session.link.reject(now, b"authentication is not available")
            self._lns.close(session, NO_RADIUS, now)
            return
        allowed = self._allowed(session, user, protocol, reply)
        self._lns.lives.note(
            session, Step.ACCEPTED if allowed else Step.REJECTED, reply.reply_message
        )
        if session.is_going:
            return
        if not allowed:
            why = "plugin" if reply.outcome is AccessOutcome.ACCEPT else "rejected"
            self._refuse(session, user, reply.reply_message, now, why, reply.ms_chap_error)
        elif session.is_admitted:
            self._again(session, user, reply, now)
        else:
            self._admit(session, user, reply, now)

    def _allowed(self, session: Session, user: str, protocol: int, reply: AccessReply) -> bool:
        """The verdict after the plugins had their say (event post_auth)."""
        allowed = reply.outcome is AccessOutcome.ACCEPT
        if not self._lns.plugins.listens("post_auth"):
            return allowed
        param = ParamPostAuth(
            t=session.tunnel_id,
            s=session.session_id,
            session=session,
            username=user,
            auth_allowed=int(allowed),
            protocol=protocol,
            reply=reply,
        )
        self._lns.plugins.post_auth(param)
        return bool(param.auth_allowed)

    def _again(self, session: Session, user: str, reply: AccessReply, now: float) -> None:
        """A session that is up has proved itself anew (re-challenge, LCP renegotiated)."""
        link = session.link
        assert link is not None
        if user.casefold() != session.user.casefold():
            self._count_refusal("other_user")
            link.reject(now, OTHER_USER.reason.encode())
            self._lns.close(session, OTHER_USER, now)
            return
        renegotiated = link.phase is Phase.AUTHENTICATE
        link.accept(now, reply.ms_chap2_success)
        if renegotiated:
            session.state = SessionState.NETWORK
            self._open_network(session, now)

    def _admit(self, session: Session, user: str, reply: AccessReply, now: float) -> None:
        """Let the client in: attributes, policies, an address; then IPCP."""
        session.user = user
        self._take_attributes(session, reply)
        self._tell_plugins(session, reply)
        if session.is_going:
            return
        ending = self._policy(session, reply, now)
        if ending is None and not session.is_going:
            ending = self._take_address(session, reply, now)
        if session.is_going:
            return
        if ending is not None:
            self._count_refusal(REFUSALS[ending])
            assert session.link is not None
            session.link.reject(now, ending.reason.encode())
            self._lns.close(session, ending, now)
            return
        self._lns.lives.note_address(session)
        self._take_routes(session)
        self._lns.tables.index_login(session)
        self._lns.counters.login_accepted += 1
        session.state = SessionState.NETWORK
        assert session.link is not None
        session.link.accept(now, reply.ms_chap2_success or reply.reply_message.encode())
        self._open_network(session, now)

    def address_requested(self, session: Session, event: AddressRequested, now: float) -> None:
        """The client began IPCP: where RADIUS lets it choose, it gets what it asks for if nobody
        has it, and else an address of the pool."""
        if session.address_source is not AddressSource.CLIENT or session.ip:
            return
        free = self._lns.tables.by_ip(event.ip) is None and not self._lns.pool.holder(event.ip)
        if free and self._is_usable(event.ip):
            self._take_particular_address(session, event.ip)
        else:
            ending = self._take_pool_address(session)
            if ending is not None:
                self._lns.close(session, ending, now)
                return
        self._lns.lives.note_address(session)
        session.setup_ends_at = 0.0
        self._lns.tables.index_login(session)
        self._open_network(session, now)

    def _open_network(self, session: Session, now: float) -> None:
        settings = self._lns.settings
        if not session.ip:  # it is the client's turn, see address_requested()
            session.setup_ends_at = now + settings.link.login_timeout_s
            return
        assert session.link is not None
        session.link.open_network(NetworkConfig(settings.local_ip, session.ip, session.dns), now)

    def _take_attributes(self, session: Session, reply: AccessReply) -> None:
        settings = self._lns.settings
        session.session_timeout = reply.session_timeout or 0
        session.idle_timeout = reply.idle_timeout or 0
        session.interim_interval = (
            max(reply.interim_interval, MIN_INTERIM_S)
            if reply.interim_interval
            else settings.interim_interval
        )
        session.classes = reply.classes
        session.netmask = reply.framed_netmask or 0xFFFFFFFF
        session.routes = tuple(Route(r.network, r.prefix_length) for r in reply.routes)
        session.dns = (
            reply.dns[0] or settings.dns[0],
            reply.dns[1] or settings.dns[1],
        )
        take_filter_ids(self._lns, session, reply.filter_ids)

    def _tell_plugins(self, session: Session, reply: AccessReply) -> None:
        if not self._lns.plugins.listens("radius_response"):
            return
        for key, value in reply.avpairs:
            self._lns.plugins.radius_response(
                ParamRadiusResponse(
                    t=session.tunnel_id,
                    s=session.session_id,
                    session=session,
                    key=key,
                    value=value,
                )
            )

    def _policy(self, session: Session, reply: AccessReply, now: float) -> Ending | None:
        """Why the login is refused after all, or None."""
        lns = self._lns
        if reply.session_timeout == 0 and lns.config.kill_timedout_sessions:
            return TIME_IS_UP
        if lns.config.allow_duplicate_users or session.walled_garden:
            return None
        if session.user.casefold() in lns.settings.guests:
            return None
        for other in lns.tables.of_user(session.user):
            if other is session or other.walled_garden:
                continue
            if lns.config.duplicate_login == "refuse" and not other.is_going:
                return DUPLICATE_REFUSED
            lns.counters.duplicate_ended += 1
            lns.end_now(other, DUPLICATE, now)
            if session.is_going:  # a plugin that heard of that has ended this one as well
                break
        return None

    def _take_address(self, session: Session, reply: AccessReply, now: float) -> Ending | None:
        """Give the session its address; why that is impossible, or None."""
        wanted = reply.framed_ip
        if wanted == CLIENT_CHOOSES:
            session.address_source = AddressSource.CLIENT
            return None
        if wanted in (0, NAS_CHOOSES):
            return self._take_pool_address(session)
        if not self._is_usable(wanted):
            log.error("RADIUS gave an unusable address", extra=session.log_ids())
            return ADDRESS_UNUSABLE
        other = self._lns.tables.by_ip(wanted)
        if other is not None and other is not session:
            if self._lns.config.duplicate_login == "refuse" and not other.is_going:
                return ADDRESS_REFUSED
            self._lns.counters.duplicate_ended += 1
            self._lns.end_now(other, DUPLICATE_ADDRESS, now)
            if session.is_going:
                return None
        self._take_particular_address(session, wanted)
        session.address_source = AddressSource.RADIUS
        return None

    def _take_pool_address(self, session: Session) -> Ending | None:
        lns = self._lns
        sticky_user = "" if session.walled_garden else session.user
        ip = lns.pool.allocate(sticky_user, session.key)
        if ip is None:
            lns.counters.ip_exhausted += 1
            log.error("out of addresses", extra=session.log_ids())
            return OUT_OF_ADDRESSES
        lns.counters.ip_allocated += 1
        session.ip, session.address_source = ip, AddressSource.POOL
        return None

    def _take_particular_address(self, session: Session, ip: int) -> None:
        """An address of RADIUS or of the client; one of the pool is not given to another."""
        self._lns.pool.claim(ip, session.user, session.key)
        session.ip = ip
        if not self._lns.routes.covers(ip):
            self._lns.routes.add(ip, 32)

    def _is_usable(self, ip: int) -> bool:
        return _assignable(ip) and ip not in self._lns.settings.own_ips

    def _take_routes(self, session: Session) -> None:
        for route in session.routes:
            owner = self._lns.tables.claim_network(session, route.network, route.prefix_length)
            if owner is None:
                self._lns.routes.add(route.network, route.prefix_length)
                continue
            owner.routes = tuple(each for each in owner.routes if each != route)
            self._lns.keeper.session_changed(owner)
            log.warning(
                "route %s/%d moves here from session %d of %s",
                IPv4Address(route.network),
                route.prefix_length,
                owner.session_id,
                owner.user,
                extra=session.log_ids(),
            )
            self._lns.install(owner)

    def _refuse(
        self,
        session: Session,
        user: str,
        message: str,
        now: float,
        why: str,
        ms_chap_error: bytes = b"",
    ) -> None:
        """Tell the client no; the link decides whether it may try again."""
        session.user = session.user or user
        self._count_refusal(why)
        assert session.link is not None
        session.link.reject(now, ms_chap_error or message.encode())
        log.warning("login refused: %s", message or "rejected by RADIUS", extra=session.log_ids())

    def _count_refusal(self, why: str) -> None:
        self._lns.counters.login_refused += 1
        self.refusals[why] += 1


def _credentials(login: PppLogin) -> Credentials:
    match login:
        case PapLogin(password):
            return PapCredentials(password)
        case ChapLogin(identifier, challenge, response):
            return ChapCredentials(identifier, challenge, response)
        case MsChapV2Login(identifier, challenge, response):
            return MsChapV2Credentials(identifier, challenge, response)


def _proof(credentials: Credentials) -> bytes:
    return credentials.password if isinstance(credentials, PapCredentials) else credentials.response


def _protocol(credentials: Credentials) -> int:
    return PROTOCOL_PAP if isinstance(credentials, PapCredentials) else PROTOCOL_CHAP


def _text(octets: bytes) -> str:
    """A name as text; octets that are not UTF-8 survive the way back."""
    return octets.decode("utf-8", "surrogateescape")


def _octets(text: str) -> bytes:
    """The way back. What a plugin made that is no text at all is lost."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _assignable(ip: int) -> bool:
    """A unicast address that a host can have: not 0/8, loopback, multicast or reserved."""
    first = ip >> 24
    return 0 < first < 224 and first != 127
