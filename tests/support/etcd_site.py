"""Three members of etcd and three nodes of a cluster, in namespaces on a bridge."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from l2tpns_core.lab.netns import Namespace
from support.etcd_members import NUMBERS, EtcdMember, Machine, address_of

PROGRAM = Path(__file__).with_name("etcd_node.py")
NETWORK = "10.9.0"
PATIENCE_S = 90


class EtcdNode(Machine):
    """A node of the cluster."""

    def __init__(self, bridge: Namespace, number: int, hold: float, work: Path) -> None:
        super().__init__(bridge, f"node{number}", f"10.9.0.{number}")
        self._hold = hold
        self.journal = work / f"{self.name}.journal"
        self._log = work / f"{self.name}.log"

    def start(self) -> None:
        etcd = ",".join(address_of(NETWORK, number) for number in NUMBERS)
        with self._log.open("a") as log:
            self.process = self.space.popen(
                [sys.executable, str(PROGRAM), "eth0", etcd, str(self._hold), str(self.journal)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, command: str = "status") -> dict[str, Any]:
        process = self.process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(command + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    @property
    def is_master(self) -> bool:
        return self.process is not None and bool(self.ask()["role"] == "Master")

    def kill(self) -> None:
        was_running = self.process is not None
        super().kill()
        if was_running:
            self._note("Killed")

    def _note(self, what: str) -> None:
        with self.journal.open("a") as journal:
            journal.write(f"{time.time()} {what}\n")

    def freeze(self) -> None:
        """Give it no processor, as a virtual machine that is moved."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        self._note("Frozen")

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """As its end of input has it."""
        process = self.process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=PATIENCE_S)
        super().kill()

    def cut_from_etcd(self, *, cut: bool = True) -> None:
        """Drop what goes to etcd, both ways, and nothing else."""
        action = "add" if cut else "del"
        for number in NUMBERS:
            where = f"{address_of(NETWORK, number)}/32"
            self.space.run(["ip", "route", action, "blackhole", where])

    def reigns(self) -> list[tuple[float, float]]:
        """When it was master, from and to."""
        found: list[tuple[float, float]] = []
        began: float | None = None
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        for line in lines:
            when, what = line.split()
            if what in ("BecameMaster", "Resumed"):
                assert began is None
                began = float(when)
            elif began is not None:
                found.append((began, float(when)))
                began = None
        return found if began is None else [*found, (began, float("inf"))]


class EtcdSite:
    """All of it."""

    def __init__(self, stack: contextlib.ExitStack, hold: float) -> None:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="etcd-site-")))
        bridge = stack.enter_context(Namespace("bridge"))
        options = ["type", "bridge", "mcast_snooping", "0", "forward_delay", "0"]
        bridge.run(["ip", "link", "add", "br0", *options])
        bridge.set_up("br0")
        self.bridge = bridge
        self.etcd: list[EtcdMember] = []
        self.nodes: list[EtcdNode] = []
        for number in NUMBERS:
            member = EtcdMember(bridge, number, work, NETWORK)
            stack.callback(member.close)
            self.etcd.append(member)
        for number in NUMBERS:
            node = EtcdNode(bridge, number, hold, work)
            stack.callback(node.close)
            self.nodes.append(node)

    def start(self) -> None:
        for machine in (*self.etcd, *self.nodes):
            machine.start()

    @property
    def masters(self) -> list[EtcdNode]:
        return [node for node in self.nodes if node.is_master]

    @property
    def master(self) -> EtcdNode:
        wait(lambda: len(self.masters) == 1)
        return self.masters[0]

    def others(self, node: EtcdNode) -> list[EtcdNode]:
        return [each for each in self.nodes if each is not node]

    def all_have(self, sessions: int, last: str, nodes: list[EtcdNode] | None = None) -> bool:
        states = [node.ask() for node in nodes or self.nodes]
        return all(
            state["up_to_date"] and state["sessions"] == sessions and state["last"] == last
            for state in states
        )

    def reigns(self) -> list[tuple[float, float, str]]:
        """All reigns of all nodes in the order in which they began."""
        return sorted((*reign, node.name) for node in self.nodes for reign in node.reigns())


def wait(condition: Callable[[], bool], patience: float = PATIENCE_S) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < patience, "it takes too long"
        time.sleep(0.02)
    return time.monotonic() - began
