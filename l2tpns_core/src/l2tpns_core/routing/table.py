"""What each peer is to know, and what it was told."""

from collections.abc import Iterator

from l2tpns_core.routing.settings import (
    BgpPeer,
    BgpSettings,
    Prefix,
    announce,
    end_of_rib,
    withdraw,
)


class PeerTable:
    """The routes of one peer. `next_command()` gives one command after the other, until the peer
    knows what it is to know; what changes meanwhile is taken in."""

    def __init__(self, settings: BgpSettings, peer: BgpPeer) -> None:
        self._settings = settings
        self.peer = peer
        self.is_suspended = False
        self.is_wanted = True
        """Whether this node wants traffic at all."""
        self._networks: dict[Prefix, None] = {}
        self._told: set[Prefix] = set()
        self._changed: dict[Prefix, None] = {}
        self._owes_end = False
        self._is_settled = False
        self._withdrawn: dict[Prefix, None] = {}
        """While the session was not settled."""
        self._again: dict[Prefix, None] = {}

    @property
    def told(self) -> int:
        """Networks that are announced."""
        return len(self._told)

    @property
    def pending(self) -> int:
        """Networks that the peer has to be told of."""
        return len(self._changed)

    @property
    def announces(self) -> bool:
        return self.is_wanted and not self.is_suspended

    def add(self, prefix: Prefix) -> None:
        self._networks[prefix] = None
        self._changed[prefix] = None

    def remove(self, prefix: Prefix) -> None:
        self._networks.pop(prefix, None)
        self._changed[prefix] = None

    def change(self, *, wanted: bool | None = None, suspended: bool | None = None) -> None:
        """Announce everything, or nothing."""
        before = self.announces
        self.is_wanted = self.is_wanted if wanted is None else wanted
        self.is_suspended = self.is_suspended if suspended is None else suspended
        if self.announces != before:
            self._changed.update(dict.fromkeys((*self._networks, *self._told)))

    def start_over(self) -> None:
        """ExaBGP knows nothing: it was started."""
        self._told.clear()
        self._withdrawn.clear()
        self._again.clear()
        self._is_settled = False
        self._changed = dict(self._networks)

    def session_up(self) -> None:
        """The peer waits for the end of the routes (End-of-RIB): until then it keeps what it had
        from us before.

        Of what came while the session was being set up ExaBGP sends announcements and leaves out
        withdrawals, even of the same network, which it then announces for good. So withdrawals are
        repeated now, and once more in session_settled()."""
        self._owes_end = True
        self._again = dict(self._withdrawn)

    def session_settled(self) -> None:
        """It is up for a while: from now on a withdrawal is sent."""
        self._is_settled = True
        self._again, self._withdrawn = self._withdrawn, {}

    def session_down(self) -> None:
        self._is_settled = False

    def next_command(self) -> str | None:
        """What to say next; None for nothing."""
        for prefix in self._due():
            if prefix in self._networks and self.announces:
                self._told.add(prefix)
                return announce(self._settings, self.peer, prefix)
            self._told.discard(prefix)
            if not self._is_settled:
                self._withdrawn[prefix] = None
            return withdraw(self._settings, self.peer, prefix)
        while self._again:
            prefix, _ = self._again.popitem()
            if prefix not in self._told:
                return withdraw(self._settings, self.peer, prefix)
        if self._owes_end:
            self._owes_end = False
            return end_of_rib(self.peer)
        return None

    def _due(self) -> Iterator[Prefix]:
        while self._changed:
            prefix = next(iter(self._changed))
            del self._changed[prefix]
            is_due = prefix in self._networks and self.announces
            if is_due != (prefix in self._told):
                yield prefix
