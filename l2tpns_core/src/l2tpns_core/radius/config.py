"""What a RADIUS client is told by the operator."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

RequireMessageAuthenticator = Literal["yes", "no", "auto"]


@dataclass(slots=True, frozen=True)
class RadiusServer:
    """Address (IPv4 or IPv6) and ports of a server; raises ValueError for anything else."""

    address: str
    auth_port: int = 1812
    acct_port: int = 1813

    def __post_init__(self) -> None:
        ip_address(self.address)
        if not (0 < self.auth_port < 65536 and 0 < self.acct_port < 65536):
            raise ValueError(f"ports {self.auth_port} and {self.acct_port} of {self.address}")


@dataclass(slots=True, frozen=True)
class RadiusConfig:
    """Servers in order of preference, and how patiently each is asked; raises ValueError."""

    servers: tuple[RadiusServer, ...] = ()
    secret: bytes = field(default=b"", repr=False)
    nas_ip: str = ""
    """NAS-IP-Address; empty or 0.0.0.0 sends the address that the server sees us under."""
    nas_identifier: str = ""
    timeout_s: float = 3.0
    """Seconds from one try to the next."""
    tries_per_server: int = 2
    dead_time_s: float = 30.0
    """How long a server that is silent is left alone while another one answers."""
    require_message_authenticator: RequireMessageAuthenticator = "auto"
    """In replies to Access-Requests. `auto`: of a server that has sent one, ever after."""

    def __post_init__(self) -> None:
        if self.nas_ip:
            ip_address(self.nas_ip)
        if self.timeout_s <= 0 or self.tries_per_server < 1 or self.dead_time_s < 0:
            raise ValueError(
                "RADIUS needs a timeout above 0, at least one try and no negative time"
            )
