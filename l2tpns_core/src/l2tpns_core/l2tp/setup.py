"""How a control connection is opened (RFC 2661 sections 5.1 and 6.1 to 6.3): what an SCCRQ must
say, and what the SCCRP answers.

We never send an SCCRQ, so two of them cannot cross: a Tie Breaker is read, and its sender wins.
"""

from typing import Final

from l2tpns_core.l2tp.auth import challenge_response
from l2tpns_core.l2tp.avp import AvpType, Hiding
from l2tpns_core.l2tp.codes import GeneralError, MessageType, StopResult
from l2tpns_core.l2tp.config import EndpointConfig
from l2tpns_core.l2tp.errors import L2tpError
from l2tpns_core.l2tp.message import Message, encode_message
from l2tpns_core.l2tp.values import ResultCode, Value

PROTOCOL_VERSION: Final = 0x0100
"""Version 1, revision 0. In a StopCCN of result 5 it is the error code."""
ACCEPTED_VERSIONS: Final = frozenset({0, 1})
"""Some old LACs call it version 0."""
FRAMINGS: Final = 0x3
"""Framing Capabilities: synchronous and asynchronous."""

_REQUIRED: Final = (AvpType.PROTOCOL_VERSION, AvpType.HOST_NAME, AvpType.ASSIGNED_TUNNEL_ID)


def check_request(message: Message) -> None:
    """Raise L2tpError, for a StopCCN, unless an SCCRQ can be accepted."""
    version = message.number(AvpType.PROTOCOL_VERSION, PROTOCOL_VERSION)
    if version >> 8 not in ACCEPTED_VERSIONS:
        text = f"protocol version {version >> 8} is not supported"
        raise L2tpError(StopResult.UNSUPPORTED_VERSION, PROTOCOL_VERSION, text)
    if message.fault is not None:
        raise message.fault
    for kind in _REQUIRED:
        if kind not in message.avps:
            raise _bad_value(f"SCCRQ without AVP {kind.name}")
    if not message.number(AvpType.ASSIGNED_TUNNEL_ID):
        raise _bad_value("Assigned Tunnel ID is 0")


def _bad_value(text: str) -> L2tpError:
    return L2tpError(StopResult.GENERAL_ERROR, GeneralError.BAD_VALUE, text)


def hiding_of(config: EndpointConfig, hiding: Hiding) -> Hiding | None:
    """`hiding` if the configuration wants AVPs hidden and has a secret to do it with."""
    return hiding if config.hide_avps and config.secret else None


def encode_reply(
    config: EndpointConfig,
    local_id: int,
    peer_challenge: bytes | None,
    own_challenge: bytes,
) -> bytes:
    """The SCCRP. A challenge is answered if we have a secret; own_challenge b"" sends none.

    Nothing is hidden in it: a LAC such as xl2tpd looks its secret up by what the SCCRP says.
    """
    avps: list[tuple[AvpType, Value]] = [
        (AvpType.PROTOCOL_VERSION, PROTOCOL_VERSION),
        (AvpType.FRAMING_CAPABILITIES, FRAMINGS),
        (AvpType.HOST_NAME, config.hostname),
    ]
    if config.vendor_name:
        avps.append((AvpType.VENDOR_NAME, config.vendor_name))
    avps.append((AvpType.ASSIGNED_TUNNEL_ID, local_id))
    avps.append((AvpType.RECEIVE_WINDOW_SIZE, config.receive_window))
    if own_challenge:
        avps.append((AvpType.CHALLENGE, own_challenge))
    if peer_challenge is not None and config.secret:
        response = challenge_response(MessageType.SCCRP, config.secret, peer_challenge)
        avps.append((AvpType.CHALLENGE_RESPONSE, response))
    return encode_message(MessageType.SCCRP, avps)


def encode_stop(
    local_id: int, result: int, error: int, text: str, hiding: Hiding | None = None
) -> bytes:
    """A StopCCN; local_id must not be 0, so for a tunnel that never was it is one not in use."""
    avps: tuple[tuple[AvpType, Value], ...] = (
        (AvpType.ASSIGNED_TUNNEL_ID, local_id),
        (AvpType.RESULT_CODE, ResultCode(result, error, text)),
    )
    return encode_message(MessageType.STOPCCN, avps, hiding)
