"""Which Ending belongs to what L2TP or PPP report: the one place where their codes meet those of
RADIUS."""

from typing import Final

from l2tpns_core.l2tp.codes import (
    CdnResult,
    DisconnectCause,
    DisconnectCode,
    DisconnectDirection,
)
from l2tpns_core.l2tp.events import CallClosed, TunnelClosed
from l2tpns_core.ppp.events import CloseReason, LinkClosed
from l2tpns_core.session import Ending, TerminateCause

_NO_FACILITIES: Final = frozenset(
    (CdnResult.NO_FACILITIES_TEMPORARY, CdnResult.NO_FACILITIES_PERMANENT)
)

_OF_LINK: Final[dict[CloseReason, tuple[TerminateCause, int, DisconnectCause]]] = {
    CloseReason.PEER_TERMINATED: (
        TerminateCause.USER_REQUEST,
        CdnResult.ADMINISTRATIVE,
        DisconnectCause(DisconnectCode.NORMAL, direction=DisconnectDirection.PEER),
    ),
    CloseReason.LOST: (
        TerminateCause.LOST_SERVICE,
        CdnResult.ADMINISTRATIVE,
        DisconnectCause(DisconnectCode.LCP_ECHO_TIMEOUT, direction=DisconnectDirection.PEER),
    ),
    CloseReason.NEGOTIATION_FAILED: (
        TerminateCause.LOST_SERVICE,
        CdnResult.ADMINISTRATIVE,
        DisconnectCause(DisconnectCode.LCP_TIMEOUT),
    ),
    CloseReason.AUTHENTICATION_FAILED: (
        TerminateCause.USER_ERROR,
        CdnResult.ADMINISTRATIVE,
        DisconnectCause(DisconnectCode.AUTH_FAILED, direction=DisconnectDirection.PEER),
    ),
    CloseReason.AUTHENTICATION_TIMEOUT: (
        TerminateCause.REAUTHENTICATION_FAILURE,
        CdnResult.ADMINISTRATIVE,
        DisconnectCause(DisconnectCode.AUTH_TIMEOUT, direction=DisconnectDirection.PEER),
    ),
    CloseReason.LOOPED: (
        TerminateCause.PORT_ERROR,
        CdnResult.ADMINISTRATIVE,
        DisconnectCause(DisconnectCode.LCP_LOOPED),
    ),
    CloseReason.LOCAL: (
        TerminateCause.ADMIN_RESET,
        CdnResult.ADMINISTRATIVE,
        DisconnectCause(DisconnectCode.ADMINISTRATIVE, direction=DisconnectDirection.LOCAL),
    ),
}


def of_link(event: LinkClosed) -> Ending:
    """The end of a session whose PPP link is over."""
    cause, result, disconnect_cause = _OF_LINK[event.reason]
    return Ending(event.text, cause, result, disconnect_cause=disconnect_cause)


def of_call(event: CallClosed) -> Ending:
    """The end of a session whose LAC sent a CDN, or was sent one for breaking the protocol."""
    disconnect = event.cause
    if disconnect is not None and disconnect.code == DisconnectCode.NORMAL:
        cause = TerminateCause.USER_REQUEST
    elif event.result == CdnResult.LOST_CARRIER:
        cause = TerminateCause.LOST_CARRIER
    elif event.result == CdnResult.ADMINISTRATIVE:
        cause = TerminateCause.ADMIN_RESET
    elif event.result in _NO_FACILITIES:
        cause = TerminateCause.SERVICE_UNAVAILABLE
    else:
        cause = TerminateCause.NAS_REQUEST
    text = event.text or f"CDN with result {event.result}"
    who = "Closed by the LAC" if event.by_peer else "Call broken off"
    return Ending(f"{who}: {text}", cause, lac_knows=True)


def of_tunnel(event: TunnelClosed) -> Ending:
    """The end of the sessions of a tunnel that is over: by StopCCN, or because the LAC is gone."""
    if not event.lost:
        text = event.text or f"StopCCN with result {event.result}"
        return Ending(f"Tunnel closed: {text}", TerminateCause.LOST_SERVICE, lac_knows=True)
    return Ending(f"Tunnel lost: {event.text}", TerminateCause.LOST_CARRIER, lac_knows=True)
