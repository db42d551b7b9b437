"""What a tunnel reports to the LNS through Tunnel.next_event()."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from l2tpns_core.l2tp.call import Call
from l2tpns_core.l2tp.codes import DisconnectCause
from l2tpns_core.l2tp.values import CallErrors

if TYPE_CHECKING:
    from l2tpns_core.l2tp.tunnel import Tunnel


@dataclass(slots=True)
class TunnelOpened:
    """SCCCN has come: the control connection is up."""

    tunnel: "Tunnel"


@dataclass(slots=True)
class TunnelClosed:
    """The tunnel is over, and all its calls with it; reported once. No CallClosed follows for
    them, and what is asked of the tunnel from now on does nothing."""

    tunnel: "Tunnel"
    result: int
    """Result Code of the StopCCN (codes.StopResult)."""
    error: int
    text: str
    by_peer: bool
    """The StopCCN came from the LAC."""
    lost: bool = False
    """There was no StopCCN: the LAC acknowledges nothing any more, or has forgotten us."""


@dataclass(slots=True)
class TunnelFinished:
    """Nothing more is due for a closed tunnel: Endpoint.forget() it."""

    tunnel: "Tunnel"


@dataclass(slots=True)
class CallRequested:
    """ICRQ: answer with Tunnel.accept_call() or Tunnel.refuse_call()."""

    tunnel: "Tunnel"
    call: Call


@dataclass(slots=True)
class CallConnected:
    """ICCN: PPP frames may flow. `call.proxy` holds what the LAC has negotiated."""

    tunnel: "Tunnel"
    call: Call


@dataclass(slots=True)
class CallClosed:
    """The LAC ended the call, or did something that made us end it; our CDN is on its way then."""

    tunnel: "Tunnel"
    call: Call
    result: int
    """Result Code of the CDN (codes.CdnResult)."""
    error: int
    text: str
    cause: DisconnectCause | None = None
    by_peer: bool = True


@dataclass(slots=True)
class CallErrorsReported:
    """WEN: errors of the line since the call began."""

    tunnel: "Tunnel"
    call: Call
    errors: CallErrors


@dataclass(slots=True)
class LinkInfoReceived:
    """SLI: which control characters to escape on an asynchronous line."""

    tunnel: "Tunnel"
    call: Call
    send_accm: int
    receive_accm: int


Event = (
    TunnelOpened
    | TunnelClosed
    | TunnelFinished
    | CallRequested
    | CallConnected
    | CallClosed
    | CallErrorsReported
    | LinkInfoReceived
)
