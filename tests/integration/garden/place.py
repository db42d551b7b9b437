"""A router with a garden between subscribers and the world, in namespaces.

client 10.0.0.1 (and .2)  --  router  --  world: 203.0.113.1 anything, 192.168.1.1 the garden's
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from interop.debian import PackageTree, unpack
from l2tpns_core.lab.netns import Namespace, veth

TRAPPED, FREE = "10.0.0.1", "10.0.0.2"
ANYWHERE, GARDEN_SERVER = "203.0.113.1", "192.168.1.1"
XTABLES = "/usr/sbin/xtables-nft-multi"
TIMEOUT_S = 2.5
"""Longer than it takes until a lost SYN is sent again."""


def number(address: str) -> int:
    return int(IPv4Address(address))


def install_tools(directory: Path) -> None:
    """Put iptables-nft, iptables (the same) and nft into a directory, for PATH."""
    tree = unpack(["iptables"], [XTABLES])
    libraries = next(tree.path.glob("usr/lib/*/xtables"))
    _wrap(directory / "iptables-nft", tree, XTABLES, "iptables", XTABLES_LIBDIR=str(libraries))
    shutil.copy(directory / "iptables-nft", directory / "iptables")
    system = shutil.which("nft", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if system is None:
        _wrap(directory / "nft", unpack(["nftables"], ["/usr/sbin/nft"]), "/usr/sbin/nft")
    else:
        (directory / "nft").symlink_to(system)


def _wrap(path: Path, tree: PackageTree, program: str, *words: str, **environment: str) -> None:
    exports = "".join(
        f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()
    )
    path.write_text(f'#!/bin/sh\n{exports}exec {shlex.join(tree.command(program, *words))} "$@"\n')
    path.chmod(0o755)


class Place:
    """The three namespaces. Leaving the `with` block takes all of it away."""

    def __init__(self, tools: Path) -> None:
        self.tools = tools
        self.client = Namespace("client")
        self.router = Namespace("router")
        self.world = Namespace("world")
        veth(self.client, "c0", f"{TRAPPED}/24", self.router, "r0", "10.0.0.254/24")
        veth(self.router, "r1", "198.51.100.254/24", self.world, "w0", "198.51.100.1/24")
        self.client.add_address("c0", f"{FREE}/24")
        self.client.add_route("default", "10.0.0.254")
        self.world.add_address("lo", f"{ANYWHERE}/32")
        self.world.add_address("lo", f"{GARDEN_SERVER}/32")
        self.world.add_route("default", "198.51.100.254")
        self.router.add_route("203.0.113.0/24", "198.51.100.1")
        self.router.add_route("192.168.1.0/24", "198.51.100.1")
        self.router.forward()
        self._servers: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for namespace in (self.client, self.router, self.world):
            namespace.close()

    def serve(self, address: str, port: int) -> None:
        """Have a server there answer each line of a client with its own address."""
        server = self.world.call(socket.create_server, (address, port))
        self._servers.append(server)
        threading.Thread(target=_accept, args=(server, address), daemon=True).start()

    def connect(self, source: str, target: str, port: int) -> socket.socket:
        """A connection of a subscriber. Raises OSError."""
        return self.client.call(
            socket.create_connection, (target, port), timeout=TIMEOUT_S, source_address=(source, 0)
        )

    def reaches(self, source: str, target: str, port: int) -> str:
        """Who answers there; "" for nobody."""
        try:
            with self.connect(source, target, port) as connection:
                return ask(connection)
        except OSError:
            return ""

    def run(self, *command: str, check: bool = True) -> str:
        """What a command on the router prints."""
        argv = [str(self.tools / command[0]), *command[1:]]
        done = self.router.run(argv, check=False)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.stderr}")
        return done.stdout + done.stderr

    def nft(self, command: str) -> str:
        return self.run("nft", *shlex.split(command))

    def rule_set(self) -> dict[str, list[Any]]:
        """`nft -j list ruleset`, by kind of object."""
        listed: dict[str, list[Any]] = {"table": [], "chain": [], "rule": [], "set": []}
        for entry in json.loads(self.run("nft", "-j", "list", "ruleset"))["nftables"]:
            for kind, value in entry.items():
                listed.setdefault(kind, []).append(value)
        return listed

    def listing(self) -> list[str]:
        """The lines of the rule set without what they have counted, sorted."""
        listed = self.nft("list ruleset")
        return sorted(re.sub(r"packets \d+ bytes \d+", "", listed).splitlines())

    def rules(self, table: str, chain: str) -> list[Any]:
        """The expressions of each rule of a chain, without counters' values."""
        return [
            [part for part in rule["expr"] if "counter" not in part]
            for rule in self.rule_set()["rule"]
            if (rule["table"], rule["chain"]) == (table, chain)
        ]

    def members(self, name: str = "garden") -> set[str]:
        """Who is in a set."""
        for found in self.rule_set()["set"]:
            if (found["table"], found["name"]) == ("l2tpns", name):
                return set(found.get("elem", ()))
        raise AssertionError(f"there is no set {name}")


def ask(connection: socket.socket) -> str:
    """Who is at the other end. Raises OSError when nobody answers."""
    connection.sendall(b"who?\n")
    return connection.recv(100).decode().strip()


def _accept(server: socket.socket, address: str) -> None:
    while True:
        try:
            connection, _peer = server.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection, address), daemon=True).start()


def _answer(connection: socket.socket, address: str) -> None:
    with connection, contextlib.suppress(OSError):
        while connection.recv(100):
            connection.sendall(f"{address}\n".encode())


@contextlib.contextmanager
def place(tools: Path) -> Iterator[Place]:
    with Place(tools) as made:
        made.serve(ANYWHERE, 80)
        made.serve(ANYWHERE, 25)
        made.serve(GARDEN_SERVER, 80)
        made.serve(GARDEN_SERVER, 25)
        yield made
