"""The daemon: puts the parts together, runs the loop, handles signals (manual, "Signals")."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path

from l2tpns_core import __version__, realtime
from l2tpns_core.addresses import AddressPool
from l2tpns_core.cli.commands import build_grammar
from l2tpns_core.cli.engine import CliServer
from l2tpns_core.cli.evaluate import Evaluation, evaluate
from l2tpns_core.cli.grammar import Access
from l2tpns_core.cli.telnet_child import TelnetChild, TelnetOptions
from l2tpns_core.clustering.host import Host
from l2tpns_core.clustering.reporting import cluster_of
from l2tpns_core.clustering.service import ClusterService
from l2tpns_core.clustering.settings import is_clustered, open_place
from l2tpns_core.config.directives import DIRECTIVES, ActsAt, Config
from l2tpns_core.config.pool import PoolFile, load_pool
from l2tpns_core.config.startup_config import LoadResult, load
from l2tpns_core.config.startup_file import StartupFile
from l2tpns_core.console import Console
from l2tpns_core.control.dispatch import Dispatcher
from l2tpns_core.control.server import ControlServer
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.plane import DataPlane, Nobody, PacketHook, PlaneEvents
from l2tpns_core.dataplane.tun import UserPlane
from l2tpns_core.lns import Lns
from l2tpns_core.lns.settings import mru_of, own_addresses, tun_address
from l2tpns_core.lns.trace import TracedEvents, TracedPlane
from l2tpns_core.metrics.exporter import Exporter
from l2tpns_core.net import garp
from l2tpns_core.net.netlink import KernelRefused, Netlink
from l2tpns_core.net.routes import TunRoutes
from l2tpns_core.observe.counters import counters_of, speed_line
from l2tpns_core.observe.log import ALWAYS, LogControl, setup_logging
from l2tpns_core.observe.text import printable
from l2tpns_core.observe.usage_files import UsageFiles
from l2tpns_core.options import parse_arguments, run_check, run_convert
from l2tpns_core.planes import PlaneHost
from l2tpns_core.plugin_host import PluginHost
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.plugins.events import ParamBecomeMaster, ParamTimer
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.radius.client import RadiusClient
from l2tpns_core.radius.spool.courier import Courier
from l2tpns_core.radius.spool.opening import open_spool
from l2tpns_core.restart import Restart
from l2tpns_core.rights import become, find_user, prepare, warn_of_closed_files
from l2tpns_core.routing.bgp import Bgp
from l2tpns_core.routing.settings import bgp_settings
from l2tpns_core.service import ServiceManager
from l2tpns_core.startup import (
    StartError,
    detach,
    open_icmp_socket,
    open_l2tp_socket,
    open_tun_device,
    own_hostname,
    plane_options,
    radius_config,
    report_waiting,
    write_pid_file,
)

log = logging.getLogger("l2tpns")

SHUTDOWN_S = 15.0
"""How long clients and LACs have to acknowledge that they are disconnected."""
HAND_OVER_DRAIN_S = 2.0
"""The same where sessions wait for the next process, which sends what is left."""
CUT_OFF_SLICE = 64
"""Sessions that end at a time when that time is over."""
RADIUS_DRAIN_S = 15.0
"""How long RADIUS has to acknowledge the last accounting records."""
TRACE_LEVEL = 3
"""The lowest level of debug at which control messages are logged."""
RESTART_DIRECTIVES = tuple(
    name for name, entry in DIRECTIVES.items() if entry.acts_at is ActsAt.RESTART
)


class LoopTimer:
    """Wakes the LNS at its next deadline: one call_at() for all the timers there are."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lns: Lns) -> None:
        self._loop = loop
        self._lns = lns
        self._handle: asyncio.TimerHandle | None = None
        self._is_held = False
        lns.timers.on_earlier = self._arm

    def close(self) -> None:
        self._lns.timers.on_earlier = None
        self.hold()

    def hold(self) -> None:
        """Wake the LNS no more, until release()."""
        self._is_held = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def release(self) -> None:
        self._is_held = False
        deadline = self._lns.timers.next_deadline()
        if deadline is not None:
            self._arm(deadline)

    def _arm(self, deadline: float) -> None:
        if self._is_held:
            return
        if self._handle is not None:
            if self._handle.when() <= deadline:
                return
            self._handle.cancel()
        self._handle = self._loop.call_at(deadline, self._fire)

    def _fire(self) -> None:
        self._handle = None
        try:
            self._lns.handle_timers(self._loop.time())
        finally:
            deadline = self._lns.timers.next_deadline()
            if deadline is not None:
                self._arm(deadline)


class Daemon:
    """All parts of a running LNS, from the configuration file to the last Accounting-Stop."""

    lns: Lns
    plane: UserPlane | EbpfPlane
    radius: RadiusClient
    courier: Courier
    plugins: PluginManager
    console: Console
    log_control: LogControl

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.config_path = Path(options.config)
        self.running = Config()
        """The configuration in force: what waits for a restart is not in it."""
        self._stopping: asyncio.Future[str] | None = None
        self._service = ServiceManager()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cluster: ClusterService | None = None
        self._bgp: Bgp | None = None
        self._grammar = build_grammar()
        self._is_settled = False

    async def run(self) -> None:
        """Start, serve until a signal asks to stop, stop cleanly. Raises StartError."""
        loop = asyncio.get_running_loop()
        self._stopping = loop.create_future()
        loaded = load(self.config_path)
        if not loaded.readable:
            raise StartError(f"{loaded.problems[0]} (the option -c names another startup-config)")
        self.running = self._filled_in(loaded.config)
        user = find_user(self.running.setuid)
        if user is not None:
            prepare(user, self.running)
        async with contextlib.AsyncExitStack() as stack:
            self.log_control = setup_logging(
                self._debug(self.running), self.running.log_file, self.running.log_format
            )
            stack.callback(self.log_control.close)
            self._report(loaded)
            self._planes = PlaneHost(self.running, stack)
            realtime.apply(self.running)
            if user is not None:
                become(user, self.running)
                warn_of_closed_files(self.config_path, user)
            await self._start(loop, loaded, stack)
            log.log(ALWAYS, "l2tpns %s ready", __version__)
            self._service.ready()
            reason = await self._stopping
            self._service.stopping()
            if reason == signal.SIGQUIT.name or not await self._hand_over(reason):
                await self._stop(reason)
                self._restart.forget()

    def stop(self, reason: str) -> None:
        """Begin to stop; a second call changes nothing."""
        if self._stopping is not None and not self._stopping.done():
            self._stopping.set_result(reason)

    # Start: every part is undone by the stack, in reverse

    async def _start(
        self,
        loop: asyncio.AbstractEventLoop,
        loaded: LoadResult,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        config = self.running
        pool_file = self._read_pool()
        write_pid_file(config.pid_file, stack)
        self.plugins = PluginManager()
        self.radius = RadiusClient(radius_config(config), loop)
        stack.callback(self.radius.close)
        await self._open_spool(loop, stack)
        self._l2tp_socket = open_l2tp_socket(config, stack)
        self._restart = Restart(config, stack)
        self._planes.clear(adopt=self._restart.has_sessions)
        self._device = open_tun_device(config, stack, self._planes.left_device)
        await self._configure_network(config, pool_file, stack)
        self._create_lns(loop, loaded, pool_file, stack)
        if self._cluster is None:
            self._restart.take(self.lns)
        self.console = Console(
            self.lns,
            self.radius,
            self.courier,
            self.plane.plane_counters,
            self._planes.report,
            loaded.config,
            self.apply,
            StartupFile(self.config_path, loaded.digest),
        )
        self.console.cluster = self._cluster
        self._host = PluginHost(self.lns, self.plugins, loop, self.config_path.parent)
        stack.callback(self.plugins.close)
        self.plugins.on_change = self._connect_packet_hooks
        self._host.report_unused()
        self._load_plugins(loaded.plugins)
        if self._cluster is None:
            self.plugins.become_master(ParamBecomeMaster())  # alone, this is a cluster of one
        self._open_control(loop, stack)
        self._exporter = Exporter(self.console, loop)
        stack.push_async_callback(self._exporter.close)
        await self._exporter.configure(config.metrics_bind_address, config.metrics_port)
        await self._open_bgp(stack)
        server = CliServer(self.console, config.cli_socket)
        try:
            await server.start()
        except OSError as error:
            raise StartError(
                f"cannot listen on {config.cli_socket}: {error} (see cli_socket)"
            ) from error
        stack.push_async_callback(server.close)
        telnet = TelnetChild(TelnetOptions.of(config, str(self.config_path.parent / "users")))
        telnet.start()
        stack.push_async_callback(telnet.close)
        for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            loop.add_signal_handler(signal_number, self.stop, signal_number.name)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        self.console.counters.add("state", lambda: counters_of(self._restart.counters))
        if self._cluster is None:
            await self._go_on()
            self.lns.cleanup.start(loop.time())
        else:
            self._cluster.start()
            stack.push_async_callback(self._cluster.close)
        self.plane.start()
        stack.callback(self.plane.stop)
        if self._cluster is None:
            await self._restart.begin()
        ticker = loop.create_task(self._tick(loop), name="every second")
        stack.callback(ticker.cancel)

    async def _go_on(self) -> None:
        """Serve the sessions of a former process, or tell RADIUS that there are none."""
        await self._restart.install(self.lns, self.plane)
        await self._settle()
        if not self.lns.sessions:
            self.lns.accounting.announce(on=True)

    async def _settle(self) -> None:
        """The plane knows the sessions that there are: what is left over of others goes."""
        if not self._is_settled:
            self._is_settled = True
            self.plane.take_unclaimed()
            await self._planes.follow()
            self._routes.prune()

    async def _open_spool(
        self, loop: asyncio.AbstractEventLoop, stack: contextlib.AsyncExitStack
    ) -> None:
        """Find the accounting records that a former process could not deliver."""
        config = self.running
        self.courier = Courier(self.radius, loop, time.time)
        stack.push_async_callback(self.courier.close)
        self.courier.configure(config.accounting_spool_size, float(config.radius_dead_time))
        if config.accounting_spool_size:
            directory = Path(config.accounting_spool or Path(config.state_dir) / "accounting")
            await open_spool(self.courier, directory, loop, is_needed=config.radius_accounting)

    def _read_pool(self) -> PoolFile:
        path = self.config_path.parent / "ip_pool"
        pool_file = load_pool(path, self.running.bind_address)
        for problem in pool_file.problems:
            log.log(ALWAYS, "%s", problem)
        own = own_addresses(self.running)
        pool_file.addresses = [ip for ip in pool_file.addresses if ip not in own]
        return pool_file

    async def _configure_network(
        self, config: Config, pool_file: PoolFile, stack: contextlib.AsyncExitStack
    ) -> None:
        """The address of the TUN device and the routes of the pool."""
        self._netlink = Netlink()
        await self._netlink.open()
        stack.push_async_callback(self._netlink.close)
        try:
            index = await self._netlink.index_of(self._device.name)
            await self._netlink.configure_device(index, mru_of(config), [tun_address(config)])
            self._tun_index = index
        except (KernelRefused, LookupError) as error:
            raise StartError(f"{error} (the capability CAP_NET_ADMIN is needed)") from error
        self._routes = TunRoutes(self._netlink, index, config.route_protocol, config.route_metric)
        await self._routes.start(adopt=bool(self._planes.left_device))
        stack.push_async_callback(self._routes.close)
        self._routes.set_pool(pool_file.networks, pool_file.addresses)
        await self._routes.settle()
        if not is_clustered(config):
            await self._announce_address()

    async def _announce_address(self) -> None:
        """Tell the network where our address is now (send_garp)."""
        address = int(self.running.bind_address)
        if not self.running.send_garp or not address:
            return
        try:
            names = await garp.announce(self._netlink, address)
        except (KernelRefused, OSError) as error:
            log.error("cannot send a gratuitous ARP: %s", error)
        else:
            log.info("gratuitous ARP sent on %s", ", ".join(names) or "no interface")

    def _create_lns(
        self,
        loop: asyncio.AbstractEventLoop,
        loaded: LoadResult,
        pool_file: PoolFile,
        stack: contextlib.AsyncExitStack,
    ) -> None:
        config = self.running
        send_icmp = open_icmp_socket(stack)
        user = UserPlane(
            loop,
            self._device,
            self._l2tp_socket,
            Nobody(),
            plane_options(config),
            send_icmp=send_icmp,
            clock=loop.time,
        )
        self.plane = self._planes.open(user, self._device, self._tun_index, self._netlink, loop)
        self.lns = Lns(
            config,
            plane=self.plane,
            radius=self.courier,
            pool=AddressPool(pool_file.addresses),
            plugins=self.plugins,
            routes=self._routes,
            clock=loop.time,
            wall=time.time,
            random=os.urandom,
        )
        if isinstance(self.plane, EbpfPlane):
            self.plane.fast.filters.follow(self.lns.access_lists)
        self._load_access_lists(loaded)
        usage_files = UsageFiles(loop, str(config.bind_address))
        self.lns.usage_report.on_report = lambda at, lines: usage_files.put(
            self.running.accounting_dir, self.running.hostname, at, lines
        )
        stack.push_async_callback(usage_files.close)
        timer = LoopTimer(loop, self.lns)
        stack.callback(timer.close)
        if is_clustered(config):
            self._join_cluster(timer, stack)
        self._connect_plane()

    def _join_cluster(self, timer: LoopTimer, stack: contextlib.AsyncExitStack) -> None:
        """Open the node of this daemon. Raises StartError."""
        place = open_place(self.running)
        stack.callback(place.sock.close)
        host = Host(
            self.lns,
            self.plane,
            self._routes,
            self.radius,
            self.courier,
            self.plugins,
            self._restart,
            timer,
            load_plugins=self._load_plugins,
            connect=self._connect_plane,
            settle=self._settle,
            announce_address=lambda: self._background(self._announce_address()),
            want_routes=self._want_routes,
            events=self._lns_events,
            stop=self.stop,
            evaluate=self._evaluate,
        )
        self._cluster = ClusterService(host, place, self._restart.saved_time)
        self.lns.radius = self.lns.accounting.radius = self._cluster.ledger

    def _want_routes(self, value: bool) -> None:
        """Draw traffic to this node, or do not."""
        log.warning("cluster: this node %s", "draws traffic" if value else "draws no traffic")
        if self._bgp is not None:
            self._bgp.want(value)

    def _evaluate(self, line: str, privileged: bool, as_json: bool) -> Evaluation:
        """A command that another node passes on."""
        if privileged:
            log.warning("command of an operator at another node: %s", printable(line))
        access = Access(privileged=privileged)
        return evaluate(line, self.console, self._grammar, access, as_json=as_json)

    def _lns_events(self) -> PlaneEvents:
        traced = self._debug(self.running) >= TRACE_LEVEL
        return TracedEvents(self.lns) if traced else self.lns

    def _connect_plane(self) -> None:
        """Join LNS and plane, by way of the trace while the level of debug asks for it. The plane
        of a slave reports to the cluster."""
        cluster = self._cluster
        plane: DataPlane = self.plane if cluster is None else cluster.gated(self.plane)
        traced = self._debug(self.running) >= TRACE_LEVEL
        self.lns.plane = TracedPlane(plane, self.lns.tunnel_of) if traced else plane
        is_slave = cluster is not None and not cluster.decides
        self.plane.events = cluster.passing if cluster and is_slave else self._lns_events()
        self.plane.elsewhere = cluster.passing if cluster and is_slave else None

    def _open_control(
        self, loop: asyncio.AbstractEventLoop, stack: contextlib.AsyncExitStack
    ) -> None:
        """The socket for nsctl."""
        config = self.running
        self._control = ControlServer(
            Dispatcher(self.lns, self.plugins, cluster_of(self._cluster)),
            secret=config.nsctl_secret,
            clock=loop.time,
            wall=time.time,
        )
        address, port = str(config.nsctl_bind_address), config.nsctl_port
        try:
            self._control.open(loop, address, port)
        except OSError as error:
            raise StartError(
                f"cannot bind UDP {address}:{port} for nsctl: {error.strerror} "
                "(see nsctl_bind_address and nsctl_port)"
            ) from error
        stack.callback(self._control.close)
        self.console.counters.add("nsctl", lambda: counters_of(self._control.counters))

    async def _open_bgp(self, stack: contextlib.AsyncExitStack) -> None:
        """Begin to announce our address and what is routed to us. Raises StartError."""
        settings = bgp_settings(self.running, is_clustered=self._cluster is not None)
        if settings is None:
            return
        bgp = self._bgp = self.console.bgp = Bgp(settings)
        address = int(self.running.bind_address)
        own = [(address, 32)] if address else []
        bgp.want(self._cluster is None)
        bgp.start(sorted(self._routes.wanted), own)
        self._routes.on_add, self._routes.on_remove = bgp.add, bgp.remove
        stack.push_async_callback(bgp.close)

    def _load_plugins(self, names: list[str]) -> None:
        for name in names:
            try:
                self.plugins.load(name)
            except PluginError as error:
                log.error("%s", error)

    def _connect_packet_hooks(self) -> None:
        """Show packets to plugins, or stop to, after plugins were loaded or unloaded."""
        rx: PacketHook | None = self.lns.packet_rx if self.plugins.listens("packet_rx") else None
        tx: PacketHook | None = self.lns.packet_tx if self.plugins.listens("packet_tx") else None
        changed = (rx is None) != (self.plane.packet_hook_rx is None) or (tx is None) != (
            self.plane.packet_hook_tx is None
        )
        self.plane.packet_hook_rx, self.plane.packet_hook_tx = rx, tx
        if changed:
            self.lns.refresh_routes()
            if self._cluster is not None:
                self._cluster.refresh()

    # Running

    async def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once a second: the timer event, the bandwidth, a look at the receive buffer."""
        at, overruns = loop.time(), 0
        while True:
            at = max(at + 1.0, loop.time())
            await asyncio.sleep(at - loop.time())
            rates = self.console.measure(loop.time())
            self._service.alive(loop.time(), self._status_line())
            if self.running.dump_speed:
                log.log(ALWAYS, "%s", speed_line(rates))
            lost = self.plane.plane_counters().socket_overruns - overruns
            if lost:
                overruns += lost
                log.error(
                    "%d datagrams found the receive buffer full, see udp_receive_buffer", lost
                )
            await self._restart.tick()
            if self.plugins.listens("timer"):
                self.plugins.timer(ParamTimer(time_now=int(time.time())))

    def reload(self) -> None:
        """SIGHUP: see _read_again(). The service manager hears the end of it, however it ends."""
        self._service.reloading()
        try:
            self._read_again()
        finally:
            self._service.ready()

    def _read_again(self) -> None:
        """Read the files again and open the log anew. A line that is gone returns to its default, a
        broken one leaves its directive as it is; a startup-config that cannot be read changes
        nothing."""
        loaded = load(self.config_path)
        if loaded.readable:
            kept = {name: getattr(self.console.config, name) for name in loaded.broken}
            config = replace(loaded.config, **kept)
            self.apply(config)
            self.console.config = config
            self.console.loaded(loaded)
            self._load_access_lists(loaded)
            self._follow_plugins(loaded)
            self._host.reload_settings()
            pool_file = self._read_pool()
            if pool_file.readable:
                self._take_pool(pool_file)
        self.log_control.reopen()
        self._report(loaded)
        if loaded.readable:
            report_waiting(self.running, self._filled_in(self.console.config))
        log.warning("configuration read again from %s", self.config_path)

    def _status_line(self) -> str:
        sessions, tunnels = len(self.lns.sessions), len(self.lns.endpoint.tunnels)
        return f"{sessions} sessions in {tunnels} tunnels"

    def _load_access_lists(self, loaded: LoadResult) -> None:
        """Take the lists of the file; one with a line that cannot be used stays as it is."""
        for problem in self.lns.access_lists.load(loaded.access_lists, loaded.broken_lists):
            log.error("%s", problem)

    def _take_pool(self, pool_file: PoolFile) -> None:
        """Route the networks of a new pool before its addresses are given out."""
        self._routes.set_pool(pool_file.networks, pool_file.addresses)
        self.lns.replace_pool(pool_file.addresses)

    def apply(self, config: Config) -> None:
        """Put a configuration into force, but for what waits for a restart."""
        kept = {name: getattr(self.running, name) for name in RESTART_DIRECTIVES}
        self.running = replace(config, **kept)
        self.log_control.set_destination(self.running.log_file, self.running.log_format)
        self.log_control.set_level(self._debug(self.running))
        self.radius.reconfigure(radius_config(self.running))
        self.courier.configure(
            self.running.accounting_spool_size, float(self.running.radius_dead_time)
        )
        self.plane.configure(plane_options(self.running))
        self.lns.configure(self.running)
        self._host.configure()
        self._control.configure(self.running.nsctl_secret)
        self._connect_plane()
        if self._cluster is not None:
            self._cluster.configure(self.running)
        self._background(
            self._exporter.configure(self.running.metrics_bind_address, self.running.metrics_port)
        )

    def _background(self, work: Coroutine[None, None, None]) -> None:
        """Do something that takes a moment while everything goes on."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _follow_plugins(self, wanted: LoadResult) -> None:
        """Unload what is no longer named, unless a line that cannot be read may have named it; load
        what is new."""
        before = [plugin.name for plugin in self.plugins.loaded()]
        for name in before:
            is_loaded = any(plugin.name == name for plugin in self.plugins.loaded())
            if is_loaded and name not in wanted.plugins and not wanted.broken_plugins:
                self.plugins.unload(name)
        self._load_plugins([name for name in wanted.plugins if name not in before])

    def _debug(self, config: Config) -> int:
        return config.debug + int(self.options.verbose)

    def _filled_in(self, config: Config) -> Config:
        """The configuration with a host name: that of the file, of the option -h, or our own."""
        if config.hostname:
            return config
        return replace(config, hostname=self.options.hostname or own_hostname())

    @staticmethod
    def _report(loaded: LoadResult) -> None:
        for problem in loaded.problems:
            log.log(logging.WARNING if problem.harmless else ALWAYS, "%s", problem)

    # Stop

    async def _hand_over(self, reason: str) -> bool:
        """Leave all sessions to other nodes of the cluster or to the next process (save_state);
        False when that is not to be."""
        if self._cluster is not None and await self._cluster.leave():
            log.log(ALWAYS, "l2tpns stops on %s, other nodes go on", reason)
            self.lns.keeps_sessions = True
            return True
        if not self.running.save_state:
            return False
        self.lns.endpoint.accepting = False
        await self.radius.drain(HAND_OVER_DRAIN_S)
        self.plane.stop()
        self.lns.end_unfinished("LNS is being restarted")
        await self.courier.drain(HAND_OVER_DRAIN_S)
        self.lns.usage_report.finish()
        if not await self._restart.hand_over():
            log.error("sessions cannot be saved: everybody is disconnected")
            self.lns.endpoint.accepting = True
            self.plane.start()
            return False
        log.log(ALWAYS, "l2tpns stops on %s, %d sessions wait", reason, len(self.lns.sessions))
        self._planes.keeps_forwarding = self.lns.keeps_sessions = True
        return True

    async def _stop(self, reason: str) -> None:
        """Tell clients, LACs and RADIUS, in this order, each with a limit in time."""
        log.log(ALWAYS, "l2tpns stops on %s with %d sessions", reason, len(self.lns.sessions))
        if self._bgp is not None:
            await self._bgp.withdraw()
        at_rest = asyncio.Event()
        self.lns.on_rest = at_rest.set
        self.lns.shut_down("LNS is shutting down")
        try:
            async with asyncio.timeout(SHUTDOWN_S):
                await at_rest.wait()
        except TimeoutError:
            log.error("%d sessions and some LACs did not answer in time", len(self.lns.sessions))
            left = len(self.lns.sessions)
            while left:
                left = self.lns.cut_off("LNS is shutting down", CUT_OFF_SLICE)
                await asyncio.sleep(0)
        self.lns.accounting.announce(on=False)
        self.lns.usage_report.finish()
        await self.courier.drain(RADIUS_DRAIN_S)
        self._routes.withdraw()
        await self._routes.settle()


def main(arguments: list[str] | None = None) -> int:
    """The command `l2tpns`; see l2tpns_core.options for its exit status."""
    options = parse_arguments(arguments)
    if options.check:
        return run_check(options)
    if options.convert is not None:
        return run_convert(options)
    if options.detach:
        detach()
    try:
        asyncio.run(Daemon(options).run())
    except StartError as error:
        print(f"l2tpns: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
