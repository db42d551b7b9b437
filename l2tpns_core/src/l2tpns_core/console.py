"""What the operator's commands work on: the running parts behind the names that cli.context asks
for."""

import time
from collections.abc import Callable, Sequence
from functools import partial

from l2tpns_core import __version__
from l2tpns_core.access_lists.lists import AccessLists
from l2tpns_core.cli.context import ClusterView
from l2tpns_core.config.directives import (
    ActsAt,
    Config,
    find_directive,
    format_value,
    with_value,
)
from l2tpns_core.config.merge import Wanted
from l2tpns_core.config.startup_config import LoadResult
from l2tpns_core.config.startup_file import StartupFile
from l2tpns_core.dataplane.counters import PlaneCounters
from l2tpns_core.lns import Lns
from l2tpns_core.observe.busiest import Busiest
from l2tpns_core.observe.counters import (
    Bandwidth,
    BandwidthMeter,
    CounterBoard,
    Traffic,
    TrafficTotals,
    counters_of,
)
from l2tpns_core.observe.plane_report import PlaneReport
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.radius.client import RadiusClient
from l2tpns_core.radius.spool.courier import Courier
from l2tpns_core.routing.bgp import Bgp


class Console:
    """The CommandContext of a daemon (cli.context)."""

    version = __version__

    def __init__(
        self,
        lns: Lns,
        radius: RadiusClient,
        courier: Courier,
        plane_counters: Callable[[], PlaneCounters],
        plane_report: Callable[[], PlaneReport],
        config: Config,
        apply: Callable[[Config], None],
        startup_file: StartupFile,
    ) -> None:
        self.lns = lns
        self.radius = radius
        self.spool_status = courier.status
        self.config = config
        """As it was written, before defaults of the machine were filled in."""
        self.started_time = time.time()
        self.plane_report = plane_report
        self._plane_counters = plane_counters
        self._apply = apply
        self._startup_file = startup_file
        self._removed_plugins: set[str] = set()
        self._meter = BandwidthMeter()
        self.busiest = Busiest()
        self.bgp: Bgp | None = None
        self.cluster: ClusterView | None = None
        self.counters = CounterBoard(
            self.totals,
            {
                "lns": lambda: counters_of(lns.counters),
                "accounting": lambda: counters_of(lns.accounting.counters),
                "l2tp": lambda: counters_of(lns.endpoint.counters),
                "radius": lambda: counters_of(radius.counters),
                "spool": lambda: counters_of(courier.counters),
                "plane": lambda: counters_of(plane_counters()),
            },
            time.time,
        )

    @property
    def hostname(self) -> str:
        return self.lns.config.hostname

    def bandwidth(self) -> Bandwidth:
        return self._meter.rates

    def measure(self, now: float) -> Bandwidth:
        """Bring bandwidth() up to date; called every second."""
        self.busiest.forget_if_unused(now)
        return self._meter.update(self.totals(), now)

    def plugin_names(self) -> Sequence[str]:
        return [plugin.name for plugin in self.lns.plugins.loaded()]

    @property
    def plugins(self) -> PluginManager:
        return self.lns.plugins

    def load_plugin(self, name: str) -> str:
        """Load an installed plugin; returns the line to print. Raises PluginError."""
        plugin = self.plugins.load(name)
        self._removed_plugins.discard(name)
        return f"Plugin {name} loaded ({plugin.distribution} {plugin.version})"

    def remove_plugin(self, name: str) -> str:
        """Unload a plugin; returns the line to print. Raises PluginError."""
        self.plugins.unload(name)
        self._removed_plugins.add(name)
        return f"Plugin {name} removed"

    def set_directive(self, name: str, text: str) -> str:
        """Set a directive of the running configuration; returns the line to print. Raises
        ConfigError."""
        entry = find_directive(name)
        config = with_value(self.config, name, text)
        self._apply(config)
        self.config = config
        value = format_value(entry, getattr(config, name)).strip('"')
        done = f'Setting "{name}" to "{"(hidden)" if entry.secret else value}"'
        if not entry.acts:
            return f"{done} (it has no effect in this release)"
        if entry.acts_at is not ActsAt.NOW:
            return f"{done} (acts {entry.acts_at.value})"
        return done

    def saving(self, *, force: bool) -> Callable[[], str]:
        """What writes the present configuration into the startup-config; raises ConfigError."""
        wanted = Wanted(
            self.config,
            tuple(self.plugin_names()),
            frozenset(self._removed_plugins),
            {each.name: each.text for each in self.access_lists},
        )
        return partial(self._startup_file.save, wanted, force=force)

    def loaded(self, result: LoadResult) -> None:
        """The startup-config was read, again or for the first time."""
        self._startup_file.digest = result.digest
        self._removed_plugins.clear()

    @property
    def access_lists(self) -> AccessLists:
        return self.lns.access_lists

    def totals(self) -> TrafficTotals:
        """Traffic of both sides since the start."""
        plane = self._plane_counters()
        return TrafficTotals(
            ethernet=Traffic(
                rx_bytes=plane.tun_rx_octets,
                rx_packets=plane.tun_rx_packets,
                rx_errors=plane.tun_errors,
                rx_dropped=plane.no_session
                + plane.too_big
                + plane.not_ipv4
                + plane.hook_drops_out
                + plane.filter_drops_out,
                tx_bytes=plane.tun_tx_octets,
                tx_packets=plane.tun_tx_packets,
                tx_errors=plane.tun_write_failures,
            ),
            tunnel=Traffic(
                rx_bytes=plane.socket_rx_octets,
                rx_packets=plane.socket_rx_packets,
                rx_errors=plane.header_errors + plane.unknown_session + plane.wrong_peer,
                rx_dropped=plane.packet_errors
                + plane.source_spoofed
                + plane.hook_drops_in
                + plane.filter_drops_in,
                tx_bytes=plane.socket_tx_octets,
                tx_packets=plane.socket_tx_packets,
                tx_errors=plane.socket_send_failures,
                tx_retries=self.lns.endpoint.counters.retransmissions,
            ),
        )
