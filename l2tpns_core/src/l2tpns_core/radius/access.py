"""Access-Request from a login, and the verdict from a verified reply (RFC 2865, 2548, 2869)."""

from collections.abc import Callable
from typing import Final

from l2tpns_core.radius.attributes import (
    ASCEND,
    CISCO,
    MICROSOFT,
    Attr,
    Nas,
    encode_identity,
    encode_text,
)
from l2tpns_core.radius.avpair import split_avpair
from l2tpns_core.radius.dictionary import DictionaryError, Key, decode_value, describe
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    ChapCredentials,
    FramedRoute,
    MsChapV2Credentials,
    PapCredentials,
)
from l2tpns_core.radius.wire import (
    VENDOR_SPECIFIC,
    Code,
    Reply,
    encode_attribute,
    encode_vendor_attribute,
    hide_password,
    split_vendor_attribute,
)

MS_CHAP_ERROR: Final = 2
MS_CHAP_CHALLENGE: Final = 11
MS_CHAP2_RESPONSE: Final = 25
MS_CHAP2_SUCCESS: Final = 26
MS_CHAP2_SUCCESS_OCTETS: Final = 42
CHAP_RESPONSE_OCTETS: Final = 16
MS_CHAP2_CHALLENGE_OCTETS: Final = 16
MS_CHAP2_FLAGS_AT: Final = 48
MS_CHAP2_VALUE_OCTETS: Final = 49

MAX_ROUTES: Final = 64
MAX_CLASSES: Final = 8
"""Class attributes that are kept; each of them goes out again in every accounting request."""
MAX_PROBLEMS: Final = 16
MAX_QUOTED: Final = 60
"""Characters of a bad value that a problem quotes."""

Values = dict[Key, list[bytes]]


class UnsendableError(ValueError):
    """No Access-Request can carry what the client sent; no server could accept it either."""


def encode_access_attributes(
    request: AccessRequest, nas: Nas, authenticator: bytes, secret: bytes
) -> bytes:
    """The attributes of an Access-Request behind its Message-Authenticator.

    Raises UnsendableError.
    """
    try:
        user = encode_attribute(Attr.USER_NAME, request.user) if request.user else b""
        proof = _encode_proof(request, authenticator, secret)
    except ValueError as error:
        raise UnsendableError(str(error)) from None
    session_id = encode_text(Attr.ACCT_SESSION_ID, request.identity.accounting_id)
    return user + proof + encode_identity(request.identity, nas) + session_id


def _encode_proof(request: AccessRequest, authenticator: bytes, secret: bytes) -> bytes:
    match request.credentials:
        case PapCredentials(password):
            hidden = hide_password(password, authenticator, secret)
            return encode_attribute(Attr.USER_PASSWORD, hidden)
        case ChapCredentials(identifier, challenge, response):
            if len(response) != CHAP_RESPONSE_OCTETS or not challenge:
                raise ValueError("a CHAP response of the wrong length cannot be sent")
            return encode_attribute(
                Attr.CHAP_PASSWORD, bytes((identifier & 0xFF,)) + response
            ) + encode_attribute(Attr.CHAP_CHALLENGE, challenge)
        case MsChapV2Credentials(identifier, challenge, response):
            return _encode_ms_chap2(identifier, challenge, response)


def _encode_ms_chap2(identifier: int, challenge: bytes, response: bytes) -> bytes:
    """MS-CHAP-Challenge and MS-CHAP2-Response (RFC 2548 section 2.3).

    The response is Peer-Challenge (16), Reserved (8), NT-Response (24), Flags (1); the attribute
    has Ident and Flags in front, both of one octet, and Flags must be zero there.
    """
    if len(response) != MS_CHAP2_VALUE_OCTETS or len(challenge) != MS_CHAP2_CHALLENGE_OCTETS:
        raise ValueError("an MS-CHAPv2 response of the wrong length cannot be sent")
    value = bytes((identifier & 0xFF, 0)) + response[:MS_CHAP2_FLAGS_AT]
    return encode_vendor_attribute(
        MICROSOFT, MS_CHAP_CHALLENGE, challenge
    ) + encode_vendor_attribute(MICROSOFT, MS_CHAP2_RESPONSE, value)


def decode_access_reply(reply: Reply) -> AccessReply:
    """The verdict of a verified reply. Never raises: what is malformed is named in `problems`.

    Of an attribute that may be there once, the first counts.
    """
    is_accept = reply.code == Code.ACCESS_ACCEPT
    verdict = AccessReply(AccessOutcome.ACCEPT if is_accept else AccessOutcome.REJECT)
    problems: list[str] = []
    if reply.code == Code.ACCESS_CHALLENGE:
        # Whoever cannot ask the user more takes it for a reject (RFC 2865 section 4.4).
        problems.append("Access-Challenge is taken for Access-Reject")
    for key, value in _flat_attributes(reply, problems):
        if key in IGNORED:
            continue
        try:
            name, decoded = decode_value(key, value)
        except DictionaryError as error:
            problems.append(str(error))
            continue
        try:
            handler = HANDLERS.get(key)
            if handler is not None:
                handler(verdict, value)
        except ValueError as error:
            problems.append(f"{describe(key)}: {error}")
            continue
        verdict.attributes.setdefault(name, []).append(decoded)
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"and {len(problems) - MAX_PROBLEMS} more"]
    verdict.problems = tuple(problems)
    return verdict


def _flat_attributes(reply: Reply, problems: list[str]) -> list[tuple[Key, bytes]]:
    """The attributes in order, those of vendors taken out of their envelopes."""
    flat: list[tuple[Key, bytes]] = []
    for kind, value in reply.attributes:
        if kind != VENDOR_SPECIFIC:
            flat.append((kind, value))
            continue
        try:
            vendor, attributes = split_vendor_attribute(value)
        except ValueError as error:
            problems.append(str(error))
            continue
        flat += [((vendor, own_kind), own_value) for own_kind, own_value in attributes]
    return flat


def _number(value: bytes) -> int:
    if len(value) != 4:
        raise ValueError(f"{len(value)} octets instead of 4")
    return int.from_bytes(value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _take_framed_ip(verdict: AccessReply, value: bytes) -> None:
    verdict.framed_ip = verdict.framed_ip or _number(value)


def _take_netmask(verdict: AccessReply, value: bytes) -> None:
    mask = _number(value)
    host_bits = mask ^ 0xFFFFFFFF
    if host_bits & (host_bits + 1):
        raise ValueError(f"{mask:#010x} is not a netmask")
    verdict.framed_netmask = verdict.framed_netmask or mask


def _take_route(verdict: AccessReply, value: bytes) -> None:
    if len(verdict.routes) >= MAX_ROUTES:
        raise ValueError(f"more than {MAX_ROUTES} routes")
    route = decode_route(_text(value))
    if route not in verdict.routes:
        verdict.routes += (route,)


def decode_route(text: str) -> FramedRoute:
    """`A.B.C.D[/LENGTH] [GATEWAY [METRIC…]]` (RFC 2865 section 5.22); raises ValueError.

    Without a length the class of the network counts. Gateway and metric are not used: the route
    leads to the subscriber. A default route is refused, as it would take the LNS's own.
    """
    words = text.rstrip("\0").split()
    problem = ValueError(f"{text[:MAX_QUOTED]!a} is not a route")
    if not words:
        raise problem
    dotted, slash, digits = words[0].partition("/")
    octets = dotted.split(".")
    if len(octets) != 4 or not all(_is_number_to(octet, 255) for octet in octets):
        raise problem
    network = int.from_bytes(bytes(int(octet) for octet in octets))
    if slash and not _is_number_to(digits, 32):
        raise problem
    length = int(digits) if slash else _class_length(network)
    if length == 0:
        raise problem
    return FramedRoute(network >> (32 - length) << (32 - length), length)


def _is_number_to(digits: str, highest: int) -> bool:
    return digits.isascii() and digits.isdigit() and len(digits) <= 3 and int(digits) <= highest


def _class_length(network: int) -> int:
    """Prefix length by class A, B or C; 0 for what has none."""
    first = network >> 24
    if first == 0 or first >= 224:
        return 0
    return 8 if first < 128 else 16 if first < 192 else 24


def _take_session_timeout(verdict: AccessReply, value: bytes) -> None:
    if verdict.session_timeout is None:
        verdict.session_timeout = _number(value)


def _take_idle_timeout(verdict: AccessReply, value: bytes) -> None:
    if verdict.idle_timeout is None:
        verdict.idle_timeout = _number(value)


def _take_interim_interval(verdict: AccessReply, value: bytes) -> None:
    if verdict.interim_interval is None:
        verdict.interim_interval = _number(value)


def _take_class(verdict: AccessReply, value: bytes) -> None:
    if len(verdict.classes) >= MAX_CLASSES:
        raise ValueError(f"more than {MAX_CLASSES} of them")
    verdict.classes += (value,)


def _take_message(verdict: AccessReply, value: bytes) -> None:
    text = _text(value)
    verdict.reply_message += f"\n{text}" if verdict.reply_message else text


def _take_filter_id(verdict: AccessReply, value: bytes) -> None:
    verdict.filter_ids += (_text(value),)


def _take_avpair(verdict: AccessReply, value: bytes) -> None:
    verdict.avpairs += tuple(split_avpair(_text(value)))


def _take_primary_dns(verdict: AccessReply, value: bytes) -> None:
    verdict.dns = (verdict.dns[0] or _number(value), verdict.dns[1])


def _take_secondary_dns(verdict: AccessReply, value: bytes) -> None:
    verdict.dns = (verdict.dns[0], verdict.dns[1] or _number(value))


def _take_ms_chap2_success(verdict: AccessReply, value: bytes) -> None:
    """Ident (1) and `S=` with 40 hexadecimal digits (RFC 2548 section 2.3.3)."""
    if len(value) != 1 + MS_CHAP2_SUCCESS_OCTETS or value[1:3] != b"S=":
        raise ValueError("not an authenticator response")
    verdict.ms_chap2_success = value[1:]


def _take_ms_chap_error(verdict: AccessReply, value: bytes) -> None:
    """Ident (1) and `E=…` (RFC 2548 section 2.1.5); some servers leave out the Ident."""
    text = value if value[:2] == b"E=" else value[1:]
    if text[:2] != b"E=":
        raise ValueError("not an MS-CHAP error")
    verdict.ms_chap_error = text


IGNORED: Final[frozenset[Key]] = frozenset({Attr.MESSAGE_AUTHENTICATOR})

HANDLERS: Final[dict[Key, Callable[[AccessReply, bytes], None]]] = {
    Attr.FRAMED_IP_ADDRESS: _take_framed_ip,
    Attr.FRAMED_IP_NETMASK: _take_netmask,
    Attr.FRAMED_ROUTE: _take_route,
    Attr.SESSION_TIMEOUT: _take_session_timeout,
    Attr.IDLE_TIMEOUT: _take_idle_timeout,
    Attr.ACCT_INTERIM_INTERVAL: _take_interim_interval,
    Attr.CLASS: _take_class,
    Attr.REPLY_MESSAGE: _take_message,
    Attr.FILTER_ID: _take_filter_id,
    135: _take_primary_dns,
    136: _take_secondary_dns,
    (ASCEND, 135): _take_primary_dns,
    (ASCEND, 136): _take_secondary_dns,
    (MICROSOFT, 28): _take_primary_dns,
    (MICROSOFT, 29): _take_secondary_dns,
    (MICROSOFT, MS_CHAP2_SUCCESS): _take_ms_chap2_success,
    (MICROSOFT, MS_CHAP_ERROR): _take_ms_chap_error,
    (CISCO, 1): _take_avpair,
}
