"""An incoming call: what the LAC says of it in ICRQ and ICCN."""

from dataclasses import dataclass, field

from l2tpns_core.l2tp.avp import AvpType
from l2tpns_core.l2tp.message import Message
from l2tpns_core.l2tp.states import CallState


@dataclass(slots=True)
class ProxyInfo:
    """What the LAC has negotiated with the subscriber already (RFC 2661 section 4.4.5). LCP fields
    hold the options of a Configure-Request, without its header."""

    initial_received_lcp: bytes | None = None
    last_sent_lcp: bytes | None = None
    last_received_lcp: bytes | None = None
    auth_type: int | None = None
    """1 text, 2 CHAP, 3 PAP, 4 none, 5 MS-CHAPv1."""
    auth_name: bytes | None = None
    auth_challenge: bytes | None = field(default=None, repr=False)
    auth_id: int | None = None
    auth_response: bytes | None = field(default=None, repr=False)


@dataclass(slots=True, eq=False)
class Call:
    """One call of a tunnel. Text is printable, whatever the LAC sent."""

    peer_session_id: int
    session_id: int = 0
    """Ours; 0 until the call is accepted."""
    state: CallState = CallState.REQUESTED
    serial_number: int = 0
    bearer_type: int = 0
    """Bit 0 digital, bit 1 analogue."""
    calling_number: str = ""
    called_number: str = ""
    sub_address: str = ""
    physical_channel: int | None = None
    tx_speed: int = 0
    """Towards the subscriber, bit/s."""
    rx_speed: int = 0
    framing_type: int = 0
    """Bit 0 synchronous, bit 1 asynchronous."""
    private_group_id: str = ""
    sequencing_required: bool = False
    """Whether our data messages must have sequence numbers."""
    proxy: ProxyInfo | None = None


def requested_call(message: Message) -> Call:
    """The call that an ICRQ asks for."""
    channel = message.avps.get(AvpType.PHYSICAL_CHANNEL_ID)
    return Call(
        peer_session_id=message.number(AvpType.ASSIGNED_SESSION_ID),
        serial_number=message.number(AvpType.CALL_SERIAL_NUMBER),
        bearer_type=message.number(AvpType.BEARER_TYPE),
        calling_number=message.text(AvpType.CALLING_NUMBER),
        called_number=message.text(AvpType.CALLED_NUMBER),
        sub_address=message.text(AvpType.SUB_ADDRESS),
        physical_channel=channel if isinstance(channel, int) else None,
    )


def connect_call(call: Call, message: Message) -> None:
    """Add what an ICCN says. A LAC that does not give the speed of one direction means the same as
    the other (section 4.4.3)."""
    call.tx_speed = message.number(AvpType.TX_CONNECT_SPEED)
    call.rx_speed = message.number(AvpType.RX_CONNECT_SPEED, call.tx_speed)
    call.framing_type = message.number(AvpType.FRAMING_TYPE)
    call.private_group_id = message.text(AvpType.PRIVATE_GROUP_ID)
    call.sequencing_required = AvpType.SEQUENCING_REQUIRED in message.avps
    call.proxy = _proxy_info(message)


def _proxy_info(message: Message) -> ProxyInfo | None:
    avps = message.avps
    if avps.keys().isdisjoint(_PROXY_TYPES):
        return None
    has_type = AvpType.PROXY_AUTH_TYPE in avps
    has_id = AvpType.PROXY_AUTH_ID in avps
    return ProxyInfo(
        initial_received_lcp=message.raw(AvpType.INITIAL_RECEIVED_LCP),
        last_sent_lcp=message.raw(AvpType.LAST_SENT_LCP),
        last_received_lcp=message.raw(AvpType.LAST_RECEIVED_LCP),
        auth_type=message.number(AvpType.PROXY_AUTH_TYPE) if has_type else None,
        auth_name=message.raw(AvpType.PROXY_AUTH_NAME),
        auth_challenge=message.raw(AvpType.PROXY_AUTH_CHALLENGE),
        auth_id=message.number(AvpType.PROXY_AUTH_ID) & 0xFF if has_id else None,
        auth_response=message.raw(AvpType.PROXY_AUTH_RESPONSE),
    )


_PROXY_TYPES = frozenset(
    {
        AvpType.INITIAL_RECEIVED_LCP,
        AvpType.LAST_SENT_LCP,
        AvpType.LAST_RECEIVED_LCP,
        AvpType.PROXY_AUTH_TYPE,
        AvpType.PROXY_AUTH_NAME,
        AvpType.PROXY_AUTH_CHALLENGE,
        AvpType.PROXY_AUTH_ID,
        AvpType.PROXY_AUTH_RESPONSE,
    }
)
