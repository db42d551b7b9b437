"""A real daemon between a LAC and a network, each in a namespace, with the lab's RADIUS server.

lac 192.0.2.2 ---- 192.0.2.1 lns 198.51.100.1 ---- 198.51.100.2 net
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from l2tpns_core.lab.dial import DialOptions
from l2tpns_core.lab.netns import LabError, Namespace, check_tun, veth
from l2tpns_core.lab.radius_server import RadiusServer
from l2tpns_core.lab.radius_users import RadiusUser

LNS_ADDRESS = "192.0.2.1"
LAC_ADDRESS = "192.0.2.2"
HOST_ADDRESS = "198.51.100.2"
SECRET = "site-secret"
DATAPLANE_VARIABLE = "L2TPNS_TEST_DATAPLANE"
"""Names the plane of daemons that are started here where the caller names none."""
READY_S = 20.0
STOP_S = 60.0


def chosen_dataplane() -> str:
    """The directive `dataplane` of daemons that are started for tests."""
    return os.environ.get(DATAPLANE_VARIABLE, "auto")


class Site:
    """Entering starts everything; leaving stops the daemon and leaves nothing behind.

    To be used inside a running event loop, which serves the RADIUS server.
    """

    def __init__(
        self,
        directory: Path,
        users: Mapping[str, RadiusUser],
        pool: str = "10.64.0.0/20\n",
        python: str = sys.executable,
        **directives: object,
    ) -> None:
        """`python` is that of the environment whose l2tpns is to run."""
        self.directory = directory
        self.python = python
        self.cli_socket = directory / "cli.sock"
        self.log_file = directory / "log"
        self._users = users
        self._pool = pool
        self._directives = {
            "bind_address": LNS_ADDRESS,
            "iftun_address": "10.63.0.1",
            "primary_radius": HOST_ADDRESS,
            "radius_secret": SECRET,
            "radius_accounting": "yes",
            "primary_dns": "9.9.9.9",
            "send_garp": "no",
            "cli_socket": self.cli_socket,
            "cli_port": 0,
            "state_dir": directory,
            "dataplane": chosen_dataplane(),
            "bpf_directory": "",
            "debug": 1,
            **directives,
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.lac = stack.enter_context(Namespace("lac"))
            self.lns = stack.enter_context(Namespace("lns"))
            self.net = stack.enter_context(Namespace("net"))
            check_tun(self.lns)
            veth(self.lac, "eth0", f"{LAC_ADDRESS}/24", self.lns, "lac", f"{LNS_ADDRESS}/24")
            self.lns.finish_packets("lac")
            veth(self.lns, "net", "198.51.100.1/24", self.net, "eth0", f"{HOST_ADDRESS}/24")
            self.net.add_route("default", "198.51.100.1")
            self.lns.forward()
            self.radius = RadiusServer(
                self._users,
                secret=SECRET.encode(),
                address=HOST_ADDRESS,
                make_socket=self.net.udp_socket,
            )
            self.radius.start()
            stack.callback(self.radius.stop)
            self.write_config()
            self.daemon = self._start_daemon()
            stack.callback(self._kill)
            self._wait_until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def write_config(self, **directives: object) -> None:
        """Write the startup-config and the ip_pool, with some directives changed."""
        self._directives.update(directives)
        lines = [f'set {name} "{value}"\n' for name, value in self._directives.items()]
        (self.directory / "startup-config").write_text("".join(lines))
        (self.directory / "ip_pool").write_text(self._pool)

    def dial_options(self, **options: Any) -> DialOptions:
        """For lab.dial(): from the LAC to this LNS."""
        return DialOptions(
            lns=LNS_ADDRESS, bind=LAC_ADDRESS, make_socket=self.lac.udp_socket, **options
        )

    def show(self, command: str) -> Any:
        """What `l2tpns-cli --json -c COMMAND` answers. Blocks: the daemon is another process."""
        program = [sys.executable, "-m", "l2tpns_core.cli.shell", "-s", str(self.cli_socket)]
        done = subprocess.run(
            [*program, "--json", "-c", command], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"{command}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def resident_bytes(self) -> int:
        """Memory of the daemon (VmRSS)."""
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def cpu_seconds(self) -> float:
        """Processor time that the daemon has used."""
        fields = Path(f"/proc/{self.daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def _start_daemon(self) -> "subprocess.Popen[bytes]":
        with self.log_file.open("wb") as log:
            return self.lns.popen(
                [
                    self.python,
                    "-m",
                    "l2tpns_core.daemon",
                    "-c",
                    str(self.directory / "startup-config"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + READY_S
        while " ready\n" not in self.log():
            if self.daemon.poll() is not None:
                raise LabError(f"the daemon did not start:\n{self.log()}")
            if time.monotonic() > end:
                raise LabError(f"the daemon is not ready:\n{self.log()}")
            time.sleep(0.02)

    def _kill(self) -> None:
        if self.daemon.poll() is None:
            self.daemon.kill()
        self.daemon.wait()
