"""BIRD 2 from Debian as the router that we announce to."""

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from interop import debian
from l2tpns_core.lab.netns import Namespace

BIRD = "/usr/sbin/bird"
CLIENT = "/usr/sbin/birdc"
PATIENCE_S = 20.0


class Bird:
    """One BIRD in a namespace of the lab."""

    def __init__(self, space: Namespace, directory: Path, config: str) -> None:
        self._tree = debian.unpack(["bird2"], [BIRD, CLIENT])
        self._space = space
        self._socket = directory / "bird.ctl"
        self._log = directory / "bird.log"
        self.file = directory / "bird.conf"
        self.file.write_text(f'log "{self._log}" all;\n{config}')
        self._process = space.popen(
            self._tree.command(BIRD, "-f", "-c", str(self.file), "-s", str(self._socket)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + PATIENCE_S
        while not self._socket.exists():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < end, "BIRD does not start"
            time.sleep(0.02)

    def ask(self, command: str) -> str:
        """What birdc answers."""
        program = self._tree.command(CLIENT, "-r", "-s", str(self._socket), *command.split())
        return subprocess.run(program, capture_output=True, text=True, check=True).stdout

    def routes(self) -> dict[str, set[str]]:
        """Networks learned by BGP, each with its next hops."""
        found: dict[str, set[str]] = {}
        network = ""
        for line in self.ask("show route table master4 where source = RTS_BGP").splitlines():
            words = line.split()
            if "unicast" in words:
                network = words[0] if "/" in words[0] else network
                found.setdefault(network, set())
            elif words[:1] == ["via"]:
                found[network].add(words[1])
        return found

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def bgp_config(
    neighbours: Iterable[str],
    *,
    own_as: int = 64513,
    their_as: int = 64512,
    router_id: str = "10.9.0.1",
    password: str = "",
    restart: bool = True,
    export: bool = True,
) -> str:
    """A BIRD that learns from neighbours, and puts what it has learned into the kernel."""
    lines = [
        f"router id {router_id};",
        "protocol device { scan time 1; }",
        "protocol direct { ipv4; }",
        "protocol kernel { ipv4 { export where source = RTS_BGP; }; merge paths on limit 8; }"
        if export
        else "",
    ]
    for number, neighbour in enumerate(neighbours, 1):
        lines += [
            f"protocol bgp node{number} {{",
            f"  local {router_id} as {own_as}; neighbor {neighbour} as {their_as};",
            f"  graceful restart {'on' if restart else 'off'}; connect delay time 1;",
            "  error wait time 1, 2; connect retry time 1;",
            f'  password "{password}";' if password else "",
            "  ipv4 { import all; export none; };",
            "}",
        ]
    return "\n".join(lines) + "\n"
