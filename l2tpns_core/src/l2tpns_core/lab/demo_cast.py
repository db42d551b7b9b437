"""Who takes part in the demo, and what RADIUS knows of them."""

from dataclasses import dataclass, field
from typing import Any

from l2tpns_core.lab.client import Client
from l2tpns_core.lab.demo_place import HOST_ADDRESS, SNOOP_PORT
from l2tpns_core.lab.radius_users import RadiusUser


@dataclass(slots=True)
class Subscriber:
    """One subscriber of the demo: what it dials with, and how it fares."""

    name: str
    lac: str
    auth: str
    password: str = field(repr=False)
    rate: float
    """Pings per second."""
    size: int
    """Bytes of each."""
    policy: str = ""
    """What RADIUS or a plugin does with it, in words."""
    has_wrong_password: bool = False
    is_to_be_refused: bool = False
    client: Client | None = None
    refused_count: int = 0
    error: str = ""

    @property
    def is_up(self) -> bool:
        return self.client is not None and self.client.is_up

    @property
    def settled(self) -> bool:
        """Up, or refused if that is its part."""
        return self.refused_count > 0 if self.is_to_be_refused else self.is_up

    def as_dict(self) -> dict[str, Any]:
        client = self.client
        return {
            "user": self.name,
            "lac": self.lac,
            "auth": self.auth,
            "up": self.is_up,
            "refused": bool(self.refused_count),
            "address": client.ip if client else "",
            "pings": client.packets_sent if client else 0,
            "answers": client.echo_replies if client else 0,
            "error": self.error,
        }


def cast(*, has_garden: bool) -> list[Subscriber]:
    """The subscribers. Without a garden, a wrong password is refused."""
    mallory = Subscriber("mallory", "lac-north", "chap", "let-me-in", 1, 84)
    mallory.has_wrong_password = True
    mallory.is_to_be_refused = not has_garden
    mallory.policy = "wrong password: in the walled garden"
    return [
        Subscriber("alice", "lac-north", "pap", "wonderland", 2, 84),
        Subscriber("bob", "lac-north", "chap", "can-we-fix-it", 5, 500, "throttled"),
        Subscriber("carol", "lac-south", "chap", "oh-carol", 10, 1400, "intercepted"),
        Subscriber("dave", "lac-south", "pap", "take-five", 3, 200),
        Subscriber("erin", "lac-south", "chap", "go-bragh", 1, 84),
        mallory,
    ]


def radius_users(subscribers: list[Subscriber]) -> dict[str, RadiusUser]:
    """What the RADIUS server knows: not mallory's password, and what is particular about bob and
    carol."""
    users = {
        one.name: RadiusUser("not-this-one" if one.has_wrong_password else one.password)
        for one in subscribers
    }
    users["bob"].reply = {"Cisco-AVPair": ["throttle=256"]}
    users["carol"].reply = {
        "Framed-IP-Address": ["10.64.2.99"],
        "Framed-Route": ["10.65.0.0/24 0.0.0.0 1"],
        "Session-Timeout": [86_400],
        "Cisco-AVPair": [f"intercept={HOST_ADDRESS}:{SNOOP_PORT}"],
    }
    return users
