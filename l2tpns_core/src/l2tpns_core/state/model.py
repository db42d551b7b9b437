"""What is saved of a session, and how a Session becomes that and is made of it again."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.l2tp.saved import SavedCall, check_ids
from l2tpns_core.ppp.saved import MAX_U32, SavedLink
from l2tpns_core.session import (
    SESSION_ID_BITS,
    AddressSource,
    Route,
    Session,
    SessionState,
    accounting_id_of,
    session_key,
)

MAX_PREFIX: Final = 32
MAX_RATE: Final = 1 << 31


@dataclass(slots=True)
class SavedSession:
    """A session as plain values. Times are Unix seconds, 0.0 for none. Raises ValueError for values
    that cannot be."""

    tunnel_id: int
    session_id: int
    peer_session_id: int
    unique: int
    opened: float
    lac_address: str
    link: SavedLink | None = None
    """None for a session that is not up: nobody goes on with it."""
    sequencing_required: bool = False
    user: str = ""
    calling_number: str = ""
    called_number: str = ""
    tx_speed: int = 0
    rx_speed: int = 0
    ip: int = 0
    address_source: str = "none"
    netmask: int = 0xFFFFFFFF
    routes: tuple[tuple[int, int], ...] = ()
    dns: tuple[int, int] = (0, 0)
    mru: int = 1500
    session_timeout: int = 0
    idle_timeout: int = 0
    interim_interval: int = 0
    interim_time: float = 0.0
    classes: tuple[bytes, ...] = ()
    filter_in: str = ""
    filter_out: str = ""
    throttle_in: int = 0
    throttle_out: int = 0
    snoop_ip: int = 0
    snoop_port: int = 0
    walled_garden: bool = False
    up_time: float = 0.0
    """When its network came up for the first time."""
    end_time: float = 0.0
    accounting_started: bool = False
    start_time: float = 0.0
    """Of accounting."""
    counted_before: tuple[int, int, int, int] = (0, 0, 0, 0)
    reported: tuple[int, int] = (0, 0)
    plugin_data: str = ""
    """JSON: what plugins keep with it, as far as that is JSON."""
    is_calling: bool = False
    """Its ICCN has not come yet."""

    def __post_init__(self) -> None:
        check_ids(self.tunnel_id, self.session_id, self.peer_session_id)
        AddressSource(self.address_source)
        lengths = (length for _, length in self.routes)
        numbers = (self.ip, self.netmask, self.snoop_ip, *self.dns)
        networks = (network for network, _ in self.routes)
        if not all(number <= MAX_U32 for number in (*numbers, *networks)):
            raise ValueError("an address is out of its range")
        if not all(length <= MAX_PREFIX for length in lengths):
            raise ValueError("a prefix is too long")
        if max(self.throttle_in, self.throttle_out) > MAX_RATE or self.snoop_port > 0xFFFF:
            raise ValueError("a rate or a port is out of its range")

    @property
    def key(self) -> int:
        return session_key(self.tunnel_id, self.session_id)

    @property
    def accounting_id(self) -> str:
        """As Session.accounting_id."""
        return accounting_id_of(self.unique, self.opened)

    @property
    def keeps_address(self) -> bool:
        """Whether its user gets the address again, for as long as nobody else needs it."""
        from_pool = self.address_source == AddressSource.POOL.value
        return from_pool and bool(self.ip and self.user) and not self.walled_garden

    @property
    def call(self) -> SavedCall:
        return SavedCall(
            self.session_id, self.peer_session_id, self.sequencing_required, not self.is_calling
        )


class Counted(NamedTuple):
    """What a session has used: in all, and what of it user space has counted itself. The times in
    it are Unix seconds."""

    total: SessionCounters = SessionCounters()
    own: SessionCounters = SessionCounters()


SAME: Final = (
    "tunnel_id",
    "session_id",
    "peer_session_id",
    "unique",
    "opened",
    "lac_address",
    "user",
    "calling_number",
    "called_number",
    "tx_speed",
    "rx_speed",
    "ip",
    "netmask",
    "dns",
    "mru",
    "session_timeout",
    "idle_timeout",
    "interim_interval",
    "classes",
    "filter_in",
    "filter_out",
    "throttle_in",
    "throttle_out",
    "snoop_ip",
    "snoop_port",
    "walled_garden",
    "accounting_started",
    "counted_before",
    "reported",
)
"""Fields that a Session has under the same name, with the same value."""


OF_CALL: Final = (
    "tunnel_id",
    "session_id",
    "peer_session_id",
    "unique",
    "opened",
    "lac_address",
    "sequencing_required",
    "calling_number",
    "called_number",
    "tx_speed",
    "rx_speed",
    "is_calling",
)
"""What is known of a session before its client says anything."""


def export(session: Session, now: float, wall: float, plugin_data: str = "") -> SavedSession:
    """A session as it is at `now`, which is the Unix time `wall`."""
    ahead = wall - now
    link = None
    if session.network_up and session.state is SessionState.NETWORK and session.link is not None:
        link = session.link.export(now)
    call = None if session.tunnel is None else session.tunnel.calls.get(session.session_id)
    return SavedSession(
        **{name: getattr(session, name) for name in SAME},
        link=link,
        sequencing_required=call is not None and call.sequencing_required,
        address_source=session.address_source.value,
        routes=tuple((route.network, route.prefix_length) for route in session.routes),
        interim_time=_moved(session.next_interim_at, ahead),
        up_time=_moved(session.network_up_at, ahead),
        end_time=_moved(session.ends_at, ahead),
        start_time=_moved(session.start_sent_at, ahead),
        plugin_data=plugin_data,
        is_calling=session.state is SessionState.CALLING,
    )


def restore(saved: SavedSession, now: float, wall: float) -> Session:
    """The session, as yet without a link, a tunnel and a timer."""
    ahead = now - wall
    session = Session(
        **{name: getattr(saved, name) for name in SAME},
        link=None,
        address_source=AddressSource(saved.address_source),
        routes=tuple(Route(*route) for route in saved.routes),
        next_interim_at=_moved(saved.interim_time, ahead),
        network_up_at=_moved(saved.up_time, ahead),
        ends_at=_moved(saved.end_time, ahead),
        start_sent_at=_moved(saved.start_time, ahead),
    )
    if session.idle_timeout:
        session.idle_check_at = now + session.idle_timeout
    return session


def as_called(saved: SavedSession) -> SavedSession:
    """A session as it was when its call came, before anybody logged in."""
    return SavedSession(**{name: getattr(saved, name) for name in OF_CALL})


def shifted(counters: SessionCounters, ahead: float) -> SessionCounters:
    """Counters with their times by another clock."""
    return counters._replace(
        heard_at=_moved(counters.heard_at, ahead), data_at=_moved(counters.data_at, ahead)
    )


def ids_of(key: int) -> tuple[int, int]:
    """The ids of tunnel and session in a key."""
    return key >> SESSION_ID_BITS, key & (1 << SESSION_ID_BITS) - 1


def _moved(at: float, ahead: float) -> float:
    """A time by another clock; 0.0 stays what it is."""
    return at + ahead if at else 0.0
