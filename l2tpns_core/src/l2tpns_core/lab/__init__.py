"""A lab in a box: a LAC with PPP clients, a RADIUS server, network namespaces, and a demo.

Also the fixtures of the project's own tests and of plugin authors' tests.
"""

from l2tpns_core.lab.client import CallEnd, CallError, CallOptions, Client
from l2tpns_core.lab.dial import DialOptions, DialSummary, dial
from l2tpns_core.lab.lac import Lac, LacOptions
from l2tpns_core.lab.netns import LabError, Namespace, veth
from l2tpns_core.lab.ppp import Phase, PppOptions
from l2tpns_core.lab.radius_server import RadiusRecord, RadiusServer
from l2tpns_core.lab.radius_users import RadiusUser, UsersError, load_users, parse_users
from l2tpns_core.lab.transport import Impairments
from l2tpns_core.lab.tunnel import Tunnel, TunnelEnd, TunnelError, TunnelOptions, TunnelState

__all__ = [
    "CallEnd",
    "CallError",
    "CallOptions",
    "Client",
    "DialOptions",
    "DialSummary",
    "Impairments",
    "LabError",
    "Lac",
    "LacOptions",
    "Namespace",
    "Phase",
    "PppOptions",
    "RadiusRecord",
    "RadiusServer",
    "RadiusUser",
    "Tunnel",
    "TunnelEnd",
    "TunnelError",
    "TunnelOptions",
    "TunnelState",
    "UsersError",
    "dial",
    "load_users",
    "parse_users",
    "veth",
]
