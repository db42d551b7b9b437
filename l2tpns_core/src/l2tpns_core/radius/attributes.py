"""Attribute numbers, and the attributes that requests of every kind carry about a session."""

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from l2tpns_core.radius.model import SessionIdentity
from l2tpns_core.radius.wire import MAX_VALUE_OCTETS, encode_attribute

CISCO: Final = 9
MICROSOFT: Final = 311
ASCEND: Final = 529


class Attr(enum.IntEnum):
    """The attributes that we send or act upon (RFC 2865, 2866, 2868, 2869, 3162)."""

    USER_NAME = 1
    USER_PASSWORD = 2
    CHAP_PASSWORD = 3
    NAS_IP_ADDRESS = 4
    NAS_PORT = 5
    SERVICE_TYPE = 6
    FRAMED_PROTOCOL = 7
    FRAMED_IP_ADDRESS = 8
    FRAMED_IP_NETMASK = 9
    FILTER_ID = 11
    REPLY_MESSAGE = 18
    FRAMED_ROUTE = 22
    CLASS = 25
    SESSION_TIMEOUT = 27
    IDLE_TIMEOUT = 28
    CALLED_STATION_ID = 30
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    ACCT_STATUS_TYPE = 40
    ACCT_DELAY_TIME = 41
    ACCT_INPUT_OCTETS = 42
    ACCT_OUTPUT_OCTETS = 43
    ACCT_SESSION_ID = 44
    ACCT_AUTHENTIC = 45
    ACCT_SESSION_TIME = 46
    ACCT_INPUT_PACKETS = 47
    ACCT_OUTPUT_PACKETS = 48
    ACCT_TERMINATE_CAUSE = 49
    ACCT_MULTI_SESSION_ID = 50
    ACCT_INPUT_GIGAWORDS = 52
    ACCT_OUTPUT_GIGAWORDS = 53
    EVENT_TIMESTAMP = 55
    CHAP_CHALLENGE = 60
    NAS_PORT_TYPE = 61
    TUNNEL_TYPE = 64
    TUNNEL_MEDIUM_TYPE = 65
    TUNNEL_CLIENT_ENDPOINT = 66
    CONNECT_INFO = 77
    MESSAGE_AUTHENTICATOR = 80
    ACCT_INTERIM_INTERVAL = 85
    NAS_IPV6_ADDRESS = 95


FRAMED_USER: Final = 2
PPP: Final = 1
VIRTUAL_PORT: Final = 5
L2TP: Final = 3
IPV4_MEDIUM: Final = 1
IPV6_MEDIUM: Final = 2
BY_RADIUS: Final = 1
UINT32_MASK: Final = 0xFFFFFFFF


@dataclass(slots=True, frozen=True)
class Nas:
    """Who asks: at least one of the two is set (RFC 2865 section 4.1)."""

    address: IPv4Address | IPv6Address | None
    identifier: str


def encode_number(kind: int, value: int) -> bytes:
    """A 32-bit number; what is above 32 bits is cut off."""
    return bytes((kind, 6)) + (value & UINT32_MASK).to_bytes(4)


def encode_text(kind: int, text: str) -> bytes:
    """Text, cut to what fits; nothing at all for empty text (RFC 2865 section 5)."""
    octets = text_octets(text)[:MAX_VALUE_OCTETS]
    return encode_attribute(kind, octets) if octets else b""


def text_octets(text: str) -> bytes:
    """The octets of a text; those that were not UTF-8 when it was read come out as they were."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def encode_nas(nas: Nas) -> bytes:
    """NAS-IP-Address or NAS-IPv6-Address, and NAS-Identifier."""
    octets = encode_text(Attr.NAS_IDENTIFIER, nas.identifier)
    if nas.address is None:
        return octets
    is_ipv4 = nas.address.version == 4
    kind = Attr.NAS_IP_ADDRESS if is_ipv4 else Attr.NAS_IPV6_ADDRESS
    return encode_attribute(kind, nas.address.packed) + octets


def encode_identity(identity: SessionIdentity, nas: Nas) -> bytes:
    """What a server is told about a session in every request, behind the user and the proof."""
    parts = [
        encode_number(Attr.NAS_PORT, identity.session_id),
        encode_number(Attr.SERVICE_TYPE, FRAMED_USER),
        encode_number(Attr.FRAMED_PROTOCOL, PPP),
    ]
    if identity.ip:
        parts.append(encode_number(Attr.FRAMED_IP_ADDRESS, identity.ip))
        if identity.netmask:
            parts.append(encode_number(Attr.FRAMED_IP_NETMASK, identity.netmask))
    parts += (
        encode_text(Attr.CALLED_STATION_ID, identity.called_number),
        encode_text(Attr.CALLING_STATION_ID, identity.calling_number),
        encode_nas(nas),
        encode_number(Attr.NAS_PORT_TYPE, VIRTUAL_PORT),
        encode_text(Attr.CONNECT_INFO, identity.connect_info),
        encode_number(Attr.TUNNEL_TYPE, L2TP),
        encode_number(Attr.TUNNEL_MEDIUM_TYPE, _medium(identity.lac_address)),
        encode_text(Attr.TUNNEL_CLIENT_ENDPOINT, identity.lac_address),
    )
    return b"".join(parts)


def _medium(address: str) -> int:
    try:
        return IPV6_MEDIUM if ip_address(address).version == 6 else IPV4_MEDIUM
    except ValueError:
        return IPV4_MEDIUM
