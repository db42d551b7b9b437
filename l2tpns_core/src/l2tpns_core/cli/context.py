"""What commands need of the daemon, so that they know nothing of how it is put together."""

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any, Protocol

from l2tpns_core.access_lists.lists import AccessLists
from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.life import PastLife
from l2tpns_core.observe.bgp_report import PeerStatus
from l2tpns_core.observe.busiest import Busiest
from l2tpns_core.observe.cluster_report import ClusterReport
from l2tpns_core.observe.counters import Bandwidth, CounterBoard
from l2tpns_core.observe.plane_report import PlaneReport
from l2tpns_core.plugins.chain import LoadedPlugin
from l2tpns_core.plugins.discovery import AvailablePlugin
from l2tpns_core.session import Session


class ChannelView(Protocol):
    """The reliable control channel of a tunnel (l2tp.channel)."""

    @property
    def next_ns(self) -> int: ...
    @property
    def next_nr(self) -> int: ...
    @property
    def queue_length(self) -> int: ...
    @property
    def peer_window(self) -> int: ...
    @property
    def retransmissions(self) -> int: ...


class TunnelView(Protocol):
    """A tunnel (l2tp.tunnel)."""

    @property
    def local_id(self) -> int: ...
    @property
    def peer_id(self) -> int: ...
    @property
    def peer(self) -> tuple[str, int]: ...
    @property
    def local(self) -> str: ...
    @property
    def state(self) -> enum.Enum: ...
    @property
    def hostname(self) -> str: ...
    @property
    def vendor_name(self) -> str: ...
    @property
    def opened_at(self) -> float: ...
    @property
    def last_heard_at(self) -> float: ...
    @property
    def calls(self) -> Collection[int]: ...
    @property
    def channel(self) -> ChannelView: ...


class EndpointView(Protocol):
    """All tunnels, by our id."""

    @property
    def tunnels(self) -> Mapping[int, TunnelView]: ...


class PoolRowView(Protocol):
    """One address of the pool."""

    @property
    def ip(self) -> int: ...
    @property
    def used(self) -> bool: ...
    @property
    def key(self) -> int | None: ...
    @property
    def user(self) -> str: ...
    @property
    def freed_ago_s(self) -> float | None: ...


class PoolView(Protocol):
    """The address pool."""

    @property
    def free_count(self) -> int: ...
    @property
    def used_count(self) -> int: ...
    def rows(self, now: float, *, include_unused: bool = False) -> Iterator[PoolRowView]: ...


class ThrottleView(Protocol):
    """What waits in the token buckets of a session, and what found no room, in packets."""

    @property
    def queued_in(self) -> int: ...
    @property
    def queued_out(self) -> int: ...
    @property
    def dropped_in(self) -> int: ...
    @property
    def dropped_out(self) -> int: ...


class LivesView(Protocol):
    """What happened to sessions that have ended."""

    def past_of_user(self, user: str) -> Iterator[PastLife]: ...
    def past_of_id(self, session_id: int, tunnel_id: int = 0) -> Iterator[PastLife]: ...


class LnsView(Protocol):
    """The LNS, as far as operators look at it and act on it."""

    @property
    def sessions(self) -> Mapping[int, Session]: ...
    @property
    def endpoint(self) -> EndpointView: ...
    @property
    def pool(self) -> PoolView: ...
    @property
    def clock(self) -> Callable[[], float]:
        """The monotonic clock that every `*_at` is told by."""

    @property
    def wall(self) -> Callable[[], float]: ...
    @property
    def lives(self) -> LivesView: ...
    def usage(self, session: Session) -> SessionCounters: ...
    def throttle_state(self, session: Session) -> ThrottleView | None: ...
    def sessions_of_user(self, user: str) -> list[Session]: ...
    def find_session(self, text: str) -> Session: ...
    def drop_session(self, session: Session, reason: str) -> None: ...
    def drop_tunnel(self, tunnel: Any, reason: str) -> None: ...
    def throttle(self, session: Session, rate_in: int, rate_out: int) -> None: ...
    def snoop(self, session: Session, ip: int, port: int) -> None: ...
    def filter(self, session: Session, filter_in: str, filter_out: str) -> None: ...


class PendingView(Protocol):
    """A RADIUS request that is not answered yet."""

    @property
    def id(self) -> int: ...
    @property
    def identifier(self) -> int | None:
        """The octet that goes out in the packet; None while the request waits for its turn."""

    @property
    def socket(self) -> int | None:
        """Number of the socket that it was sent on."""

    @property
    def server(self) -> str: ...
    @property
    def state(self) -> str:
        """AUTH, START, STOP, INTERIM and so on."""

    @property
    def session_key(self) -> int | None: ...
    @property
    def retry_at(self) -> float: ...
    @property
    def tries(self) -> int: ...


class ServerView(Protocol):
    """A port of a RADIUS server."""

    @property
    def address(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def purpose(self) -> str: ...
    @property
    def is_dead(self) -> bool: ...
    @property
    def pending(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def latency(self) -> tuple[float, float, float] | None:
        """Lowest, mean and highest reply time of the last minute or two, in seconds."""


class RadiusView(Protocol):
    """The RADIUS client."""

    def pending(self) -> Iterable[PendingView]: ...
    def servers(self) -> Sequence[ServerView]: ...


class SpoolView(Protocol):
    """Accounting records that wait for a RADIUS server."""

    @property
    def records(self) -> int: ...
    @property
    def octets(self) -> int: ...
    @property
    def limit(self) -> int: ...
    @property
    def oldest_age_s(self) -> float | None: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def is_down(self) -> bool: ...
    @property
    def on_disk(self) -> bool: ...


class PluginsView(Protocol):
    """The plugins, loaded and installed."""

    def loaded(self) -> list[LoadedPlugin]: ...
    def available(self) -> list[AvailablePlugin]: ...


class BgpSettingsView(Protocol):
    """Ours."""

    @property
    def asn(self) -> int: ...
    @property
    def router_id(self) -> IPv4Address: ...
    @property
    def restart_s(self) -> int: ...


class BgpView(Protocol):
    """BGP, as operators see it."""

    @property
    def settings(self) -> BgpSettingsView: ...
    def peers(self) -> Sequence[PeerStatus]: ...
    def suspend(self, peer: str, *, suspended: bool = True) -> Sequence[str]:
        """Raises LookupError."""

    def restart(self, peer: str) -> Sequence[str]:
        """Raises LookupError."""


class ClusterView(Protocol):
    """The cluster, as operators see it."""

    @property
    def decides(self) -> bool: ...
    def report(self) -> ClusterReport: ...
    def draining(self) -> Callable[[], bool]:
        """What moves the work of this node away, to be called beside the loop; False when nobody
        takes it."""

    def undrain(self) -> None: ...
    def asking(
        self, line: str, *, privileged: bool, as_json: bool
    ) -> Callable[[], tuple[str, bool]]:
        """What waits for the master to carry out a command, to be called beside the loop: the
        text, and whether it failed. Raises LookupError, as the function does."""


class CommandContext(Protocol):
    """Everything that a command may use."""

    @property
    def hostname(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def started_time(self) -> float: ...
    @property
    def config(self) -> Config: ...
    @property
    def lns(self) -> LnsView: ...
    @property
    def radius(self) -> RadiusView: ...
    @property
    def counters(self) -> CounterBoard: ...
    @property
    def busiest(self) -> Busiest: ...
    def spool_status(self) -> SpoolView: ...
    def bandwidth(self) -> Bandwidth: ...
    def plane_report(self) -> PlaneReport: ...
    def plugin_names(self) -> Sequence[str]:
        """The loaded plugins in load order."""

    @property
    def cluster(self) -> ClusterView | None:
        """None where this server stands alone."""

    @property
    def bgp(self) -> BgpView | None:
        """None where it is not configured."""

    @property
    def access_lists(self) -> AccessLists: ...
    @property
    def plugins(self) -> PluginsView: ...
    def load_plugin(self, name: str) -> str:
        """Load an installed plugin; returns the line to print. Raises PluginError."""

    def remove_plugin(self, name: str) -> str:
        """Unload a plugin; returns the line to print. Raises PluginError."""

    def set_directive(self, name: str, text: str) -> str:
        """Set a directive of the running configuration; returns the line to print. Raises
        ConfigError."""

    def saving(self, *, force: bool) -> Callable[[], str]:
        """What writes the present configuration into the startup-config: to be called beside the
        loop, returns the line to print and raises ConfigError. With `force` also over what somebody
        else has changed in the file."""
