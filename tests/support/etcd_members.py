"""Members of etcd out of Debian's package, each in a namespace on a bridge."""

import contextlib
import subprocess
from pathlib import Path
from typing import Final

from interop.debian import unpack
from l2tpns_core.lab.netns import Namespace, veth

PACKAGES: Final = ("etcd-server",)
PROGRAM: Final = "/usr/bin/etcd"
NUMBERS: Final = (1, 2, 3)


class Machine:
    """A namespace on the bridge, and what runs in it."""

    def __init__(self, bridge: Namespace, name: str, address: str, device: str = "br0") -> None:
        """`device` is the bridge in the namespace `bridge`."""
        self.name, self.address = name, address
        self._bridge = bridge
        self._port = f"p-{name}"
        self.space = Namespace(name)
        veth(bridge, self._port, "", self.space, "eth0", f"{address}/24")
        bridge.run(["ip", "link", "set", self._port, "master", device])
        self.process: subprocess.Popen[str] | None = None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
            self.process = None

    def cut(self) -> None:
        self._bridge.set_down(self._port)

    def heal(self) -> None:
        self._bridge.set_up(self._port)

    def close(self) -> None:
        self.kill()
        self.space.close()


class EtcdMember(Machine):
    """One of three members of etcd, out of Debian's package."""

    def __init__(
        self, bridge: Namespace, number: int, work: Path, network: str, device: str = "br0"
    ) -> None:
        """`network` is the first three numbers of the addresses: theirs end in 21, 22 and 23."""
        super().__init__(bridge, f"etcd{number}", address_of(network, number), device)
        self._tree = unpack(PACKAGES, [PROGRAM])
        self._cluster = ",".join(
            f"etcd{number}=http://{address_of(network, number)}:2380" for number in NUMBERS
        )
        self._data = work / self.name
        self._log = work / f"{self.name}.log"

    def start(self, **options: str) -> None:
        """`options` are further ones of etcd."""
        client, peer = f"http://{self.address}:2379", f"http://{self.address}:2380"
        options = {
            "name": self.name,
            "data-dir": str(self._data),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": self._cluster,
            **options,
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        with self._log.open("a") as log:
            self.process = self.space.popen(
                self._tree.command(PROGRAM, *words), stdout=log, stderr=log, text=True
            )


def endpoints(network: str) -> list[str]:
    return [f"http://{address_of(network, number)}:2379" for number in NUMBERS]


def address_of(network: str, number: int) -> str:
    return f"{network}.{20 + number}"
