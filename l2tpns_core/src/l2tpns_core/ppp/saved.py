"""A link that is up as plain values: what must be known to go on with it in another process."""

from dataclasses import dataclass
from typing import Final

MAX_U32: Final = 0xFFFFFFFF
MAX_MRU: Final = 0xFFFF


@dataclass(slots=True, frozen=True)
class SavedLink:
    """What LCP, the login and IPCP agreed on. Raises ValueError for values that cannot be."""

    auth: bytes
    """The protocol that the peer logged in with (AuthProtocol)."""
    asked_auth: bytes
    """The one that our Configure-Request asked for, which may be another."""
    magic: int = 0
    peer_magic: int = 0
    mru: int = 0
    """What we asked for, 0 when we asked for none."""
    peer_mru: int = 1500
    acfc: bool = False
    pfc: bool = False
    local_ip: int = 0
    peer_ip: int = 0
    dns: tuple[int, int] = (0, 0)
    login_id: int = 0
    """The identifier of the login, so that its repetition is known."""
    rechallenge_in: float = -1.0
    """Seconds to the next Challenge; below 0 there is none."""

    def __post_init__(self) -> None:
        for number in (self.magic, self.peer_magic, self.local_ip, self.peer_ip, *self.dns):
            if not 0 <= number <= MAX_U32:
                raise ValueError("a magic number or an address is out of its range")
        if not 0 <= self.mru <= MAX_MRU or not 0 < self.peer_mru <= MAX_MRU:
            raise ValueError("an MRU is out of its range")
        if not 0 <= self.login_id <= 0xFF:
            raise ValueError("an identifier is out of its range")
