"""FRR from Debian (zebra and bgpd) as the router that we announce to."""

import json
import shlex
import subprocess
import time
from pathlib import Path

from interop import debian
from l2tpns_core.lab.netns import Namespace

ZEBRA = "/usr/lib/frr/zebra"
BGPD = "/usr/lib/frr/bgpd"
LIBRARIES = "usr/lib/x86_64-linux-gnu/frr"
PATIENCE_S = 20.0


class Frr:
    """One zebra and one bgpd in a namespace of the lab; `config` is that of bgpd."""

    def __init__(self, space: Namespace, directory: Path, config: str) -> None:
        self._tree = debian.unpack(["frr"], [ZEBRA, BGPD], [LIBRARIES])
        self._space = space
        self._directory = directory / "frr"
        self._directory.mkdir()
        self._processes: list[subprocess.Popen[bytes]] = []
        groups = self._directory / "group"
        groups.write_text(Path("/etc/group").read_text() + "frrvty:x:65533:root\n")
        self._logs = directory / "frr.log"
        texts = {"zebra": "", "bgpd": config}
        for program, name in ((ZEBRA, "zebra"), (BGPD, "bgpd")):
            file = self._directory / f"{name}.conf"
            file.write_text(f"log file {self._logs} informational\n{texts[name]}")
            options = ["-f", str(file), "-i", str(self._directory / f"{name}.pid")]
            options += ["-z", str(self._directory / "zserv"), "-P", "0", "-u", "root", "-g", "root"]
            options += ["--vty_socket", str(self._directory)]
            with (self._directory / f"{name}.out").open("wb") as out:
                command = shlex.join(self._tree.command(program, *options))
                own_groups = f"mount --bind {groups} /etc/group && exec {command}"
                process = space.popen(
                    ["unshare", "--mount", "sh", "-c", own_groups],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                )
            self._processes.append(process)
            self._wait_for(self._directory / f"{name}.vty")

    def _wait_for(self, socket: Path) -> None:
        end = time.monotonic() + PATIENCE_S
        while not socket.exists():
            assert all(process.poll() is None for process in self._processes), self.log()
            assert time.monotonic() < end, f"FRR does not start: {self.log()}"
            time.sleep(0.02)

    def routes(self) -> dict[str, set[str]]:
        """What zebra has put into the kernel for bgpd: networks, each with its next hops."""
        rows = json.loads(self._space.run(["ip", "-j", "route", "show", "proto", "bgp"]).stdout)
        return {
            row["dst"]: {hop["gateway"] for hop in row.get("nexthops", [row])}
            for row in rows
            if "gateway" in row or "nexthops" in row
        }

    def log(self) -> str:
        texts = [each.read_text(errors="replace") for each in self._directory.glob("*.out")]
        logged = self._logs.read_text(errors="replace") if self._logs.exists() else ""
        return "\n".join([*texts, logged])

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def bgp_config(
    neighbours: list[str], *, own_as: int = 64513, their_as: int = 64512, password: str = ""
) -> str:
    """A bgpd that learns from neighbours and uses several of them at the same time."""
    lines = [
        f"router bgp {own_as}",
        " bgp router-id 10.9.0.1",
        " no bgp ebgp-requires-policy",
        " bgp graceful-restart",
    ]
    for neighbour in neighbours:
        lines += [
            f" neighbor {neighbour} remote-as {their_as}",
            f" neighbor {neighbour} timers connect 1",
            f" neighbor {neighbour} advertisement-interval 0",
        ]
        if password:
            lines.append(f" neighbor {neighbour} password {password}")
    lines += [" address-family ipv4 unicast", "  maximum-paths 8", " exit-address-family"]
    return "\n".join(lines) + "\n"
