"""Which data plane forwards: the one that the directive `dataplane` names, or the best that the
system has, after what a killed daemon left in the kernel was cleared away."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Coroutine
from pathlib import Path

from l2tpns_core.config.checks import SEPARATORS
from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.ebpf.attach import remove_strays
from l2tpns_core.dataplane.ebpf.direct import DirectWay
from l2tpns_core.dataplane.ebpf.errors import FastPathError
from l2tpns_core.dataplane.ebpf.fastpath import FastPath, FastPathOptions
from l2tpns_core.dataplane.ebpf.keep import Keep
from l2tpns_core.dataplane.ebpf.paths import LacPaths
from l2tpns_core.dataplane.ebpf.plane import EbpfPlane
from l2tpns_core.dataplane.tun import UserPlane
from l2tpns_core.net.netlink import KernelRefused, Netlink, WaysOut
from l2tpns_core.net.onlookers import OldTables, Onlookers
from l2tpns_core.net.tun_device import TunDevice
from l2tpns_core.observe.plane_report import KernelReport, PlaneReport
from l2tpns_core.startup import StartError

log = logging.getLogger("l2tpns.plane")

SHOWN_APART = ("forwarded", "octets", "direct")
DIRECT_IS_OFF = "bpf_direct says so"


class PlaneHost:
    """Opens the plane of a daemon, and knows how it came to be. What it opens the stack closes. It
    has to be made before the process becomes another user."""

    def __init__(self, config: Config, stack: contextlib.AsyncExitStack) -> None:
        self.plane: UserPlane | EbpfPlane
        self._config = config
        self._stack = stack
        self._keep: Keep | None = None
        self._why_no_keep = "bpf_directory is empty"
        self._reason = ""
        self._device_name = ""
        self._direct: DirectWay | None = None
        self._paths: LacPaths | None = None
        self._old_tables = OldTables()
        stack.callback(self._old_tables.close)
        self.left_device = ""
        """The TUN device of a former process, when its forwarding is taken over."""
        self.keeps_forwarding = False
        """Whether the kernel goes on forwarding when the stack closes."""

    def clear(self, *, adopt: bool = False) -> None:
        """Remove what a former daemon left: programs, maps, the TUN device. Before a device of the
        same name is opened. With `adopt` it stays as far as it can be used."""
        config = self._config
        base = Path(config.bpf_directory)
        if not config.bpf_directory or (config.dataplane == "user" and not Keep.exists(base)):
            return
        try:
            keep = self._keep = Keep.open(base)
            self._stack.callback(keep.close)
            if not keep.is_empty:
                name = keep.tun_device()
                fits = config.tundevicename in ("", name) and config.dataplane != "user"
                if adopt and name and fits:
                    self.left_device = name
                    return
                keep.discard()
                remove_strays()
                remove_device(name)
                log.warning("a former daemon was killed: what it left in the kernel is removed")
        except FastPathError as error:
            self._keep, self._why_no_keep = None, str(error)

    def open(
        self,
        user: UserPlane,
        device: TunDevice,
        tun_index: int,
        netlink: Netlink,
        loop: asyncio.AbstractEventLoop,
    ) -> UserPlane | EbpfPlane:
        """The plane, whose part in user space is `user`. Raises StartError."""
        self.plane = user
        self._device_name = device.name
        wanted = self._config.dataplane
        if wanted == "user":
            log.warning("data plane: user space, as `dataplane` says")
            self._reason = "dataplane says so"
            return user
        try:
            fast = self._open_fast_path(device, tun_index)
        except FastPathError as error:
            if wanted == "ebpf":
                raise StartError(
                    f"cannot forward in the kernel: {error} (see dataplane)"
                ) from error
            log.warning("data plane: user space, because the kernel does not forward: %s", error)
            self._reason = str(error)
            return user
        plane = self.plane = EbpfPlane(user, fast)
        names = [name for name in SEPARATORS.split(self._config.lac_interfaces) if name]
        self._paths = LacPaths(plane, netlink.way_to, names)
        if self._config.bpf_direct:
            self._direct = DirectWay(
                fast,
                tun_index,
                Onlookers(tun_index, self._old_tables).find,
                lambda: ways_out(netlink),
                loop.time,
            )
        log.warning("data plane: eBPF, with user space for what it leaves")
        if self._keep is None:
            log.warning("forwarding ends when the daemon is killed: %s", self._why_no_keep)
        return plane

    async def follow(self) -> None:
        """Begin to follow the ways to LACs and out. What a former process attached beyond what we
        need for the sessions that were taken over is detached."""
        if self._paths is None or not isinstance(self.plane, EbpfPlane):
            return
        if self.left_device:
            await self._paths.look()
            if self._direct is not None:
                await self._direct.look()
            self.plane.fast.remove_leftovers()
        self._follow(self._paths.run(), "ways to LACs")
        if self._direct is not None:
            self._follow(self._direct.run(), "direct way")

    def _follow(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(report_end)
        self._stack.callback(task.cancel)

    def report(self) -> PlaneReport:
        """What `show dataplane` has to say."""
        plane = self.plane
        counters = (plane.user if isinstance(plane, EbpfPlane) else plane).plane_counters()
        return PlaneReport(
            plane=self.plane.name,
            wanted=self._config.dataplane,
            reason=self._reason,
            device=self._device_name,
            sessions=self.plane.session_count,
            process={"up": counters.tun_tx_packets, "down": counters.tun_rx_packets},
            kernel=self._kernel_report(),
        )

    def _open_fast_path(self, device: TunDevice, tun_index: int) -> FastPath:
        config, keep = self._config, self._keep
        fast = FastPath.open(
            FastPathOptions(
                max_sessions=config.max_sessions,
                max_networks=config.bpf_max_routes,
                l2tp_port=config.l2tp_port,
                local=str(config.bind_address) if int(config.bind_address) else "",
                pins=None if keep is None else keep.pins,
            )
        )
        self._stack.callback(lambda: fast.close(keep=self.keeps_forwarding))
        fast.attach_tun(tun_index)
        if keep is not None:
            try:
                device.set_persistent(True)
            except OSError as error:
                raise FastPathError(f"{device.name} cannot be made persistent: {error}") from None
            self._stack.callback(lambda: device.set_persistent(self.keeps_forwarding))
        return fast

    def _kernel_report(self) -> KernelReport | None:
        if not isinstance(self.plane, EbpfPlane):
            return None
        found = self.plane.fast.statistics()
        known = {f"{way}_{what}" for way in ("up", "down") for what in SHOWN_APART}
        return KernelReport(
            sessions=found.sessions,
            max_sessions=found.max_sessions,
            interfaces={name_of(index): how for index, how in found.interfaces.items()},
            lacs={
                host: name_of(hop.ifindex) + (f" by {hop.gateway}" if hop.gateway != host else "")
                for host, hop in self.plane.paths.items()
            },
            past_the_stack={
                "up": found.outcomes["up_direct"],
                "down": found.outcomes["down_direct"],
            },
            hits={
                "up": found.outcomes["up_forwarded"],
                "down": found.outcomes["down_forwarded"],
            },
            punts=found.punts,
            drops=found.drops,
            other={
                name: count
                for name, count in found.outcomes.items()
                if name not in known and "_punt_" not in name and "_drop_" not in name
            },
            programs=found.programs,
            maps=found.memory,
            pins=str(self._keep.pins) if self._keep is not None else "",
            direct=self._direct is not None and self._direct.obstacle == "",
            obstacle=DIRECT_IS_OFF if self._direct is None else self._direct.obstacle or "",
        )


def report_end(task: "asyncio.Task[None]") -> None:
    """A task that ends by itself has failed; nobody waits for it."""
    if not task.cancelled() and task.exception() is not None:
        log.critical("%s: nobody follows any more", task.get_name(), exc_info=task.exception())


async def ways_out(netlink: Netlink) -> WaysOut | None:
    """What routes say, or None when they cannot be read just now."""
    try:
        return await netlink.ways_out()
    except KernelRefused as error:
        log.debug("%s", error)
        return None


def name_of(ifindex: int) -> str:
    """The name of an interface, or its number when it is gone."""
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return str(ifindex)


def remove_device(name: str) -> None:
    """Remove a persistent TUN device that nobody has open; "" for none."""
    if not name:
        return
    try:
        device = TunDevice(name)
    except (OSError, ValueError) as error:
        log.error("cannot remove %s, left by a former daemon: %s", name, error)
        return
    try:
        device.set_persistent(False)
    finally:
        device.close()
