"""The other nodes, as far as they were heard."""

from dataclasses import dataclass
from typing import Final

from l2tpns_core.cluster.messages import Ping

MAX_PEERS: Final = 63
FORGET_TIMEOUTS: Final = 10


@dataclass(slots=True)
class Peer:
    """A node that was heard; `ping` is the last that it told of itself, None of a master."""

    address: int
    heard_at: float
    ping: Ping | None = None


Rank = tuple[bool, int, int, int, int, int]


def rank(ping: Ping, address: int) -> Rank:
    """Who should be master: the highest.

    A node that is up to date before one that is not; then who knows more, for a change that was
    told to a subscriber must not be undone; then, as the manual has it, who has run for longer, and
    the higher address.
    """
    return (
        ping.up_to_date,
        ping.reign,
        ping.sequence,
        ping.saved_time,
        -ping.started,
        address,
    )


class Members:
    """The peers, by address."""

    def __init__(self) -> None:
        self.peers: dict[int, Peer] = {}

    def hear(self, address: int, ping: Ping | None, now: float) -> bool:
        """Take note of a node; whether it is new."""
        peer = self.peers.get(address)
        if peer is None:
            if len(self.peers) >= MAX_PEERS:
                return False
            self.peers[address] = Peer(address, now, ping)
            return True
        peer.heard_at, peer.ping = now, ping
        return False

    def leave(self, address: int) -> bool:
        return self.peers.pop(address, None) is not None

    def forget(self, before: float) -> list[int]:
        """Drop those that were not heard since a time."""
        gone = [peer.address for peer in self.peers.values() if peer.heard_at < before]
        for address in gone:
            del self.peers[address]
        return gone

    def live(self, since: float) -> list[Peer]:
        return [peer for peer in self.peers.values() if peer.heard_at >= since]

    def followers(self, reign: int, since: float) -> list[tuple[int, Ping]]:
        """The slaves of a reign that are up to date."""
        return [
            (peer.address, peer.ping)
            for peer in self.live(since)
            if peer.ping is not None
            and peer.ping.reign == reign
            and peer.ping.up_to_date
            and not peer.ping.draining
        ]
