"""Where the demo plays: three network namespaces, the LNS's files, and the LNS itself.

lac 192.0.2.11, .12 ---- 192.0.2.1  lns  198.51.100.1 ---- 198.51.100.10 net
the LACs and their                  the daemon             a host that answers pings,
subscribers                         and its TUN device     and the RADIUS server
"""

import asyncio
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from l2tpns_core.lab.netns import Namespace, check_tun, veth
from l2tpns_core.lab.site import chosen_dataplane

HOME: Final = Path("/run/l2tpns")  # in a /run of our own, so that it goes when the demo ends
STARTUP_CONFIG_FILE: Final = HOME / "startup-config"
CLI_SOCKET: Final = HOME / "cli.sock"
LNS_ADDRESS: Final = "192.0.2.1"
LAC_ADDRESSES: Final = {"lac-north": "192.0.2.11", "lac-south": "192.0.2.12"}
HOST_ADDRESS: Final = "198.51.100.10"
GARDEN_ADDRESS: Final = "198.51.100.80"
SNOOP_PORT: Final = 9000
GARDEN: Final = "garden"
PLUGINS: Final = ("autothrottle", "autosnoop", GARDEN)
RADIUS_SECRET: Final = "demo-radius-secret"
TUNNEL_SECRET: Final = "demo-tunnel-secret"
READY: Final = re.compile(r"\bready\b")
READY_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 35.0
POLL_S: Final = 0.05
LOG_LINES_SHOWN: Final = 15

STARTUP_CONFIG: Final = f"""\
# What the demo's LNS runs with.
set hostname "demo-lns"
set debug 3
set bind_address {LNS_ADDRESS}
set iftun_address 10.64.0.1
set l2tp_secret "{TUNNEL_SECRET}"
set primary_dns 198.51.100.53
set secondary_dns 198.51.100.54
set primary_radius {HOST_ADDRESS}
set radius_secret "{RADIUS_SECRET}"
set radius_accounting yes
set radius_interim 60
set radius_authtypes "chap,pap"
set send_garp no
set cli_socket "{CLI_SOCKET}"
set cli_port 0
set state_dir "{HOME}/state"
"""

BUILD_GARDEN: Final = f"""\
# Where the pings of subscribers with a wrong password end; everything else of theirs is dropped.
nft add rule ip nat garden ip protocol icmp counter dnat to {GARDEN_ADDRESS}
nft add rule ip nat garden counter meta mark set meta mark or 0xf0000
"""

IP_POOL: Final = "# Addresses for the subscribers\n10.64.1.0/24\n"


class DemoError(Exception):
    """The demo does not work; the text says what went wrong."""


class Place:
    """The namespaces and the daemon; a context manager that leaves nothing behind."""

    def __init__(self, log_file: Path | None = None) -> None:
        self._stack = ExitStack()
        self._log_file = log_file or HOME / "l2tpns.log"
        self._daemon: subprocess.Popen[Any] | None = None
        installed = {entry_point.name for entry_point in entry_points(group="l2tpns.plugins")}
        self.plugins = [name for name in PLUGINS if name in installed]
        """Those of our plugins that can be loaded."""

    def __enter__(self) -> Self:
        try:
            self.lac = self._stack.enter_context(Namespace("lac"))
            self.lns = self._stack.enter_context(Namespace("lns"))
            self.net = self._stack.enter_context(Namespace("net"))
            check_tun(self.lns)
            self._join()
            self._write_files()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()
        self._stack.close()

    def _join(self) -> None:
        north, south = LAC_ADDRESSES.values()
        veth(self.lac, "eth0", f"{north}/24", self.lns, "lac", f"{LNS_ADDRESS}/24")
        self.lac.add_address("eth0", f"{south}/24")
        self.lns.finish_packets("lac")
        veth(self.lns, "net", "198.51.100.1/24", self.net, "eth0", f"{HOST_ADDRESS}/24")
        self.net.add_address("eth0", f"{GARDEN_ADDRESS}/24")
        self.net.add_route("default", "198.51.100.1")
        self.lns.forward()

    def _write_files(self) -> None:
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(parents=True)
        (HOME / "state").mkdir()
        lines = [f"set dataplane {chosen_dataplane()}\n", 'set bpf_directory ""\n']
        lines += [f'load plugin "{name}"\n' for name in self.plugins]
        STARTUP_CONFIG_FILE.write_text(STARTUP_CONFIG + "".join(lines))
        if shutil.which("nft"):  # without it the garden is there, but has no walls
            (HOME / "build-garden").write_text(BUILD_GARDEN)
        (HOME / "ip_pool").write_text(IP_POOL)

    async def start_daemon(self) -> None:
        """Start the LNS and wait until it is ready. Raises DemoError."""
        try:
            with self._log_file.open("w") as log:
                self._daemon = self.lns.popen(
                    [sys.executable, "-m", "l2tpns_core.daemon", "-c", str(STARTUP_CONFIG_FILE)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise DemoError(f"the LNS cannot be started: {error}") from error
        end = time.monotonic() + READY_TIMEOUT_S
        while not READY.search(self._log_file.read_text(errors="replace")):
            if self._daemon.poll() is not None:
                raise DemoError(f"the LNS ended at its start:\n{self.log_tail()}")
            if time.monotonic() > end:
                raise DemoError(f"the LNS is not ready:\n{self.log_tail()}")
            await asyncio.sleep(POLL_S)

    async def stop_daemon(self) -> None:
        """Ask the LNS to end, and wait for it; after a while it is killed."""
        if self._daemon is None:
            return
        self._daemon.terminate()
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._daemon.wait, STOP_TIMEOUT_S)

    @property
    def daemon_runs(self) -> bool:
        return self._daemon is not None and self._daemon.poll() is None

    def log_tail(self) -> str:
        """The last lines of the LNS's log."""
        lines = self._log_file.read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-LOG_LINES_SHOWN:])

    def shell(self) -> "subprocess.Popen[Any]":
        """The interactive shell on our terminal."""
        return self.lns.popen(_shell_command())

    async def show(self, command: str) -> str:
        """What the shell says to one command. Raises DemoError."""
        process = self.lns.popen(
            [*_shell_command(), "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output, _ = await asyncio.to_thread(process.communicate)
        if process.returncode:
            raise DemoError(f"`{command}` ended with {process.returncode}:\n{output}")
        return str(output).rstrip()


def _shell_command() -> list[str]:
    return [sys.executable, "-m", "l2tpns_core.cli.shell", "-s", str(CLI_SOCKET)]
