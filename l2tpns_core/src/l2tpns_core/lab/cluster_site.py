"""Several real daemons as one LNS: a cluster behind a router, with LACs, a network and RADIUS.

    lacs 192.0.2.2… --- router ---(10.9.0.0/24)--- node 1, 2, 3 (10.9.0.1N, all have 203.0.113.1)
    net 198.51.100.2 ---'                              '---(10.8.0.0/24)--- what nodes tell another

The router spreads over the nodes by flow (ECMP). Who is in its routes is said by BGP where a test
has it, else by follow_routes(), which reads in the nodes' logs whether they draw traffic.
"""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from l2tpns_core.lab.netns import LabError, Namespace, check_tun, veth
from l2tpns_core.lab.radius_server import RadiusServer
from l2tpns_core.lab.radius_users import RadiusUser
from l2tpns_core.lab.site import HOST_ADDRESS, READY_S, SECRET, chosen_dataplane

LNS_ADDRESS: Final = "203.0.113.1"
LAC_NETWORK: Final = "192.0.2"
POOL: Final = "10.64.0.0/19"
BRIDGE: Final = ("type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
MARK: Final = "cluster: "
DRAWS: Final = "this node draws traffic"
DRAWS_NOT: Final = "this node draws no traffic"


class Node:
    """A daemon in its namespace, with a cable to the router and one to the other nodes. `program`
    is what it runs."""

    program: Sequence[str] = (sys.executable, "-m", "l2tpns_core.daemon")

    def __init__(self, site: "ClusterSite", number: int) -> None:
        self.site = site
        self.number = number
        self.directory = site.directory / f"node{number}"
        self.directory.mkdir(exist_ok=True)
        self.log_file = self.directory / "log"
        self.cli_socket = self.directory / "cli.sock"
        self.address = f"10.9.0.1{number}"
        self.cluster_address = f"10.8.0.1{number}"
        self.daemon: subprocess.Popen[bytes] | None = None
        self.is_cut = False
        self._began_at = self._read_to = 0
        self._lines: list[str] = []
        space = self.space = Namespace(f"node{number}")
        check_tun(space)
        veth(site.router, f"node{number}", "", space, "eth0", f"{self.address}/24")
        veth(site.router, f"peer{number}", "", space, "eth1", f"{self.cluster_address}/24")
        for port, bridge in ((f"node{number}", "core"), (f"peer{number}", "peers")):
            site.router.run(["ip", "link", "set", port, "master", bridge])
        space.finish_packets("eth0")
        space.run(["ip", "addr", "add", f"{LNS_ADDRESS}/32", "dev", "lo"])
        space.add_route("default", "10.9.0.1")
        space.forward()

    def start(self, *, wait: bool = True) -> None:
        """Start the daemon, and wait until it says that it is ready."""
        self._began_at = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._read_to, self._lines = self._began_at, []
        with self.log_file.open("ab") as log:
            self.daemon = self.space.popen(
                [*self.program, "-c", str(self.directory / "startup-config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        end = time.monotonic() + READY_S
        while " ready\n" not in self.recent_log():
            if self.daemon is None or self.daemon.poll() is not None:
                raise LabError(f"node {self.number} did not start:\n{self.recent_log()}")
            if time.monotonic() > end:
                raise LabError(f"node {self.number} is not ready:\n{self.recent_log()}")
            time.sleep(0.02)

    @property
    def is_running(self) -> bool:
        return self.daemon is not None and self.daemon.poll() is None

    def kill(self) -> None:
        """As a crash does it."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()

    def terminate(self) -> None:
        """Ask it to stop; see wait_until_stopped()."""
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGTERM)

    async def wait_until_stopped(self, patience_s: float = 60.0) -> None:
        async with asyncio.timeout(patience_s):
            assert self.daemon is not None
            await asyncio.to_thread(self.daemon.wait)

    def cut(self) -> None:
        """Take every cable out."""
        self.is_cut = True
        self.cut_router()
        self.cut_peers()

    def cut_router(self) -> None:
        self.site.router.set_down(f"node{self.number}")

    def cut_peers(self) -> None:
        self.site.router.set_down(f"peer{self.number}")

    def heal(self) -> None:
        self.is_cut = False
        for cable in ("node", "peer"):
            self.site.router.set_up(f"{cable}{self.number}")

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def recent_log(self) -> str:
        """Since the daemon was started."""
        with self.log_file.open("rb") as log:
            log.seek(self._began_at)
            return log.read().decode(errors="replace")

    def said(self, one: str, other: str) -> bool:
        """Whether the daemon has said the one since it has said the other, if ever."""
        with self.log_file.open("rb") as log:
            log.seek(self._read_to)
            data = log.read()
        data = data[: data.rfind(b"\n") + 1]
        self._read_to += len(data)
        self._lines += [line for line in data.decode(errors="replace").splitlines() if MARK in line]
        for line in reversed(self._lines):
            if line.endswith(one) or other in line:
                return line.endswith(one)
        return False

    @property
    def draws_traffic(self) -> bool:
        return self.is_running and not self.is_cut and self.said(DRAWS, DRAWS_NOT)

    @property
    def is_master(self) -> bool:
        return self.is_running and self.said("this node is the master", "master no more")

    @property
    def is_up_to_date(self) -> bool:
        return self.is_running and self.said("this slave is up to date", "this slave is behind")

    def show(self, command: str) -> Any:
        """What `l2tpns-cli --json -c COMMAND` answers. Blocks."""
        done = self.cli("--json", "-c", command)
        if done.returncode:
            raise LabError(f"{command}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        program = [sys.executable, "-m", "l2tpns_core.cli.shell", "-s", str(self.cli_socket)]
        return subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)

    def close(self) -> None:
        self.kill()
        self.space.close()


class ClusterSite:
    """Entering starts everything; leaving leaves nothing behind. To be used inside a running event
    loop, which serves the RADIUS server. Without `radius` no such server runs: a test has another
    one answer at HOST_ADDRESS."""

    def __init__(
        self,
        directory: Path,
        users: Mapping[str, RadiusUser],
        *,
        nodes: int = 3,
        lacs: int = 2,
        pool: str = POOL,
        tail: str = "",
        radius: bool = True,
        **directives: object,
    ) -> None:
        self.directory = directory
        self._users = users
        self._count = nodes
        self._lacs = lacs
        self._pool = pool
        self._tail = tail
        self._has_radius = radius
        self.nodes: list[Node] = []
        self._directives = {
            "bind_address": LNS_ADDRESS,
            "iftun_address": "10.63.0.1",
            "primary_radius": HOST_ADDRESS,
            "radius_secret": SECRET,
            "radius_accounting": "yes",
            "send_garp": "no",
            "cli_port": 0,
            "dataplane": chosen_dataplane(),
            "bpf_directory": "",
            "save_state": "yes",
            "cluster_interface": "eth1",
            "cluster_secret": "site-cluster",
            "cluster_hb_interval": 2,
            "cluster_hb_timeout": 12,
            "debug": 2,
            **directives,
        }
        self._stack = ExitStack()
        self._followed: tuple[str, ...] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.router = stack.enter_context(Namespace("router"))
            self.net = stack.enter_context(Namespace("net"))
            self.lacs = []
            self.router.forward()
            self.router.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
            for bridge, address in (("core", "10.9.0.1/24"), ("peers", "")):
                self.router.run(["ip", "link", "add", bridge, *BRIDGE])
                if address:
                    self.router.add_address(bridge, address)
                self.router.set_up(bridge)
            for number in range(self._lacs):
                lac = stack.enter_context(Namespace(f"lac{number}"))
                network = f"192.0.{2 + number * 10}"
                veth(lac, "eth0", f"{network}.2/24", self.router, f"lac{number}", f"{network}.1/24")
                lac.add_route("default", f"{network}.1")
                self.lacs.append((lac, f"{network}.2"))
            veth(self.net, "eth0", f"{HOST_ADDRESS}/24", self.router, "net", "198.51.100.1/24")
            self.net.add_route("default", "198.51.100.1")
            self.radius = RadiusServer(
                self._users,
                secret=SECRET.encode(),
                address=HOST_ADDRESS,
                make_socket=self.net.udp_socket,
            )
            if self._has_radius:
                self.radius.start()
                stack.callback(self.radius.stop)
            for number in range(1, self._count + 1):
                node = Node(self, number)
                stack.callback(node.close)
                self.nodes.append(node)
                self.write_config(node)
            for node in self.nodes:
                node.start(wait=False)
            for node in self.nodes:
                node.wait_until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def write_config(self, node: Node, **directives: object) -> None:
        """Write the files of a node."""
        own = {"cli_socket": node.cli_socket, "state_dir": node.directory}
        lines = {**self._directives, **own, **directives}
        text = "".join(f'set {name} "{value}"\n' for name, value in lines.items())
        (node.directory / "startup-config").write_text(text + self._tail)
        (node.directory / "ip_pool").write_text(self._pool + "\n")

    # The routes of the router, without BGP

    def follow_routes(self) -> bool:
        """Route to the nodes that draw traffic; whether that has changed anything."""
        drawing = tuple(node.address for node in self.nodes if node.draws_traffic)
        if drawing == self._followed:
            return False
        self._followed = drawing
        for network in (f"{LNS_ADDRESS}/32", self._pool):
            if drawing:
                hops = [part for address in drawing for part in ("nexthop", "via", address)]
                self.router.run(["ip", "route", "replace", network, *hops])
            else:
                self.router.run(["ip", "route", "replace", "unreachable", network])
        return True

    async def keep_following(self, pause_s: float = 0.05) -> None:
        """Do that for as long as the task lives."""
        while True:
            self.follow_routes()
            await asyncio.sleep(pause_s)

    # Who is what

    def masters(self) -> list[Node]:
        return [node for node in self.nodes if node.is_master]

    async def settled(self, patience_s: float = 60.0, nodes: Sequence[Node] = ()) -> Node:
        """Wait until one node is master and the other running ones are up to date; the master."""
        wanted = list(nodes) or [n for n in self.nodes if n.is_running and not n.is_cut]
        async with asyncio.timeout(patience_s):
            while True:
                masters = [node for node in wanted if node.is_master]
                if len(masters) == 1 and all(
                    node.is_up_to_date for node in wanted if node is not masters[0]
                ):
                    return masters[0]
                await asyncio.sleep(0.1)
