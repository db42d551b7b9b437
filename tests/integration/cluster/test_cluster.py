"""Three nodes as processes on a bridge: real multicast, real kill -9, a real cable that is cut."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.lab.netns import Namespace, veth

pytestmark = [pytest.mark.netns, pytest.mark.slow]

PROGRAM = Path(__file__).parents[2] / "support" / "cluster_node.py"
SESSIONS = 500
PATIENCE_S = 60


class NodeProcess:
    """A node in its namespace."""

    def __init__(self, bridge: Namespace, number: int, peers: list[str]) -> None:
        self.number = number
        self.address = f"10.9.0.{number}"
        self._peers = [peer for peer in peers if peer != self.address]
        self._bridge = bridge
        self._space = Namespace(f"node{number}")
        veth(bridge, f"port{number}", "", self._space, "eth0", f"{self.address}/24")
        bridge.run(["ip", "link", "set", f"port{number}", "master", "br0"])
        self.start()

    def start(self) -> None:
        self._process = self._space.popen(
            [sys.executable, str(PROGRAM), "eth0", *self._peers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, command: str = "status") -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(command + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def cut(self) -> None:
        self._bridge.set_down(f"port{self.number}")

    def heal(self) -> None:
        self._bridge.set_up(f"port{self.number}")

    def close(self) -> None:
        self.kill()
        self._space.close()


@pytest.fixture(params=["multicast", "unicast"])
def nodes(request: pytest.FixtureRequest) -> Iterator[list[NodeProcess]]:
    """Three nodes; the first was started first, is master and has sessions."""
    peers = [f"10.9.0.{number}" for number in (1, 2, 3)] if request.param == "unicast" else []
    with contextlib.ExitStack() as stack:
        bridge = stack.enter_context(Namespace("bridge"))
        options = ["type", "bridge", "mcast_snooping", "0", "forward_delay", "0"]
        bridge.run(["ip", "link", "add", "br0", *options])
        bridge.set_up("br0")
        found = []
        for number in (1, 2, 3):
            node = NodeProcess(bridge, number, peers)
            stack.callback(node.close)
            node.ask()
            found.append(node)
        wait(lambda: sum(is_master(node) for node in found) == 1)
        master_of(found).ask(f"many {SESSIONS}")
        wait(lambda: all_have(found, SESSIONS))
        yield found


def wait(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE_S, "it takes too long"
        time.sleep(0.02)
    return time.monotonic() - began


def is_master(node: NodeProcess) -> bool:
    return bool(node.ask()["role"] == "Master")


def master_of(nodes: list[NodeProcess]) -> NodeProcess:
    return next(node for node in nodes if is_master(node))


def all_have(nodes: list[NodeProcess], sessions: int, last: str = "user-0") -> bool:
    states = [node.ask() for node in nodes]
    return all(
        state["up_to_date"] and state["sessions"] == sessions and state["last"] == last
        for state in states
    )


def test_nothing_is_lost_when_the_master_is_killed_and_comes_back(nodes: list[NodeProcess]) -> None:
    master = master_of(nodes)
    rest = [node for node in nodes if node is not master]
    master.kill()
    wait(lambda: any(map(is_master, rest)))
    master_of(rest).ask("change 0 changed")
    master.start()
    wait(lambda: all_have(nodes, SESSIONS, "changed"))
    assert not is_master(master)


def test_a_master_that_was_cut_off_steps_down_when_it_is_back(nodes: list[NodeProcess]) -> None:
    master = master_of(nodes)
    rest = [node for node in nodes if node is not master]
    master.cut()
    wait(lambda: any(map(is_master, rest)))
    master_of(rest).ask("change 0 changed")
    wait(lambda: all_have(rest, SESSIONS, "changed"))
    assert is_master(master), "it cannot know"
    master.heal()
    wait(lambda: all_have(nodes, SESSIONS, "changed"))
    assert sum(map(is_master, nodes)) == 1
    assert not is_master(master)


def test_a_drained_master_hands_over_and_can_be_stopped(nodes: list[NodeProcess]) -> None:
    master = master_of(nodes)
    rest = [node for node in nodes if node is not master]
    wait(lambda: not master.ask()["routes"] and all(node.ask()["routes"] for node in rest))
    master.ask("drain")
    wait(lambda: bool(master.ask()["drained"]))
    assert sum(map(is_master, rest)) == 1
    master.ask("leave")
    master.kill()
    wait(lambda: all_have(rest, SESSIONS))
