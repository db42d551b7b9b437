"""The plugin with a real kernel and the manual's build-garden files, in a process of its own."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.garden import host
from integration.garden.place import ANYWHERE, FREE, GARDEN_SERVER, TRAPPED, Place, ask

pytestmark = pytest.mark.netns

MANUAL_BUILD_GARDEN = """\
iptables -t nat -A garden -p tcp -m tcp --dport 25 -j DNAT --to 192.168.1.1
iptables -t nat -A garden -p udp -m udp --dport 53 -j DNAT --to 192.168.1.1
iptables -t nat -A garden -p tcp -m tcp --dport 53 -j DNAT --to 192.168.1.1
iptables -t nat -A garden -p tcp -m tcp --dport 80 -j DNAT --to 192.168.1.1
iptables -t nat -A garden -p tcp -m tcp --dport 110 -j DNAT --to 192.168.1.1
iptables -t nat -A garden -p tcp -m tcp --dport 443 -j DNAT --to 192.168.1.1
iptables -t nat -A garden -p icmp -m icmp --icmp-type echo-request -j DNAT --to 192.168.1.1
iptables -t nat -A garden -p icmp -j ACCEPT
iptables -t nat -A garden -j DROP
"""
MANUAL_ALL_BUT_DNS = """\
iptables -t nat -A garden -p tcp --dport ! 53 -j DNAT --to 192.168.1.1
iptables -t nat -A garden -p udp --dport ! 53 -j DNAT --to 192.168.1.1
"""
DEADLINE_S = 20.0
CLOSED = "!= 0x00000000 counter"
"""In the rule that drops everything while the gardens are filled."""


class Daemon:
    """A process with the garden, in the router's namespace."""

    def __init__(
        self,
        router: Place,
        directory: Path,
        is_ready: bool = True,
        waits: bool = True,
        gardens: tuple[str, ...] = ("unpaid",),
    ) -> None:
        self.log = directory / "log"
        environment = {**os.environ, "PATH": f"{router.tools}:/usr/bin:/bin"}
        with self.log.open("w") as errors:
            self.process = router.router.popen(
                [sys.executable, host.__file__, str(directory), str(int(waits)), *gardens],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )
        if is_ready:
            self.expect("ready")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        self.expect("done")

    def expect(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == word, self.log.read_text()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def start(router: Place, tmp_path: Path) -> Iterator[Callable[[], Daemon]]:
    started: list[Daemon] = []

    def begin() -> Daemon:
        started.append(Daemon(router, tmp_path))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.kill()


def build_garden(directory: Path, text: str) -> None:
    (directory / "build-garden").write_text(text)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.05)


def counters(router: Place) -> list[tuple[str, int]]:
    """Target and packets of each rule of the garden, as the manual has the operator look."""
    lines = router.run("iptables", "-t", "nat", "-L", "garden", "-nvx").splitlines()[2:]
    return [(words[2], int(words[0])) for words in map(str.split, lines)]


def test_build_garden_of_the_manual(
    router: Place, start: Callable[[], Daemon], tmp_path: Path
) -> None:
    build_garden(tmp_path, MANUAL_BUILD_GARDEN)
    router.serve(ANYWHERE, 9999)
    daemon = start()
    assert router.reaches(TRAPPED, ANYWHERE, 9999) == ANYWHERE
    daemon.tell(f"trap {TRAPPED}")
    assert router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER
    assert router.reaches(TRAPPED, ANYWHERE, 25) == GARDEN_SERVER
    assert router.reaches(TRAPPED, ANYWHERE, 9999) == "", "the last rule must drop"
    assert router.reaches(FREE, ANYWHERE, 80) == ANYWHERE
    counted = counters(router)
    assert counted[0] == ("DNAT", 1)
    assert counted[3] == ("DNAT", 1)
    assert counted[-1][0] == "MARK"
    assert counted[-1][1] >= 1
    daemon.tell(f"free {TRAPPED}")
    assert router.reaches(TRAPPED, ANYWHERE, 80) == ANYWHERE
    assert router.reaches(TRAPPED, ANYWHERE, 9999) == ANYWHERE


def test_build_garden_that_lets_dns_out(
    router: Place, start: Callable[[], Daemon], tmp_path: Path
) -> None:
    build_garden(tmp_path, MANUAL_ALL_BUT_DNS)
    router.serve(ANYWHERE, 53)
    daemon = start()
    daemon.tell(f"trap {TRAPPED}")
    assert router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER
    assert router.reaches(TRAPPED, ANYWHERE, 53) == ANYWHERE


def test_named_gardens_are_filled_by_the_same_file(
    router: Place, start: Callable[[], Daemon], tmp_path: Path
) -> None:
    build_garden(tmp_path, "nft add rule ip nat garden_unpaid tcp dport 80 dnat to 192.168.1.1\n")
    start()
    assert len(router.rules("nat", "garden_unpaid")) == 1


def test_rules_come_back_by_themselves(
    router: Place, start: Callable[[], Daemon], tmp_path: Path
) -> None:
    build_garden(tmp_path, MANUAL_BUILD_GARDEN)
    daemon = start()
    daemon.tell(f"trap {TRAPPED}")
    router.nft("flush ruleset")
    eventually(lambda: router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER)
    assert len(router.rules("nat", "garden")) == 9
    assert len(router.rules("nat", "PREROUTING")) == 1
    assert "the garden is repaired: chain PREROUTING is missing" in daemon.log.read_text()
    router.run("iptables", "-t", "nat", "-F", "garden")
    eventually(lambda: len(router.rules("nat", "garden")) == 9)
    assert "chain garden has lost its rules" in daemon.log.read_text()


def test_killed_daemon_is_succeeded_without_a_trace(
    router: Place, start: Callable[[], Daemon], tmp_path: Path
) -> None:
    build_garden(tmp_path, MANUAL_BUILD_GARDEN)
    router.run(
        "iptables",
        *[
            "-t",
            "nat",
            "-A",
            "PREROUTING",
            "-p",
            "tcp",
            "--dport",
            "2222",
            "-j",
            "DNAT",
            "--to",
            "192.0.2.5",
        ],
    )
    before = router.nft("list ruleset")
    first = start()
    rules = router.listing()
    first.tell(f"trap {TRAPPED}")
    first.kill()
    assert router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER, "a killed daemon frees nobody"
    second = start()
    assert router.listing() == rules
    assert router.reaches(TRAPPED, ANYWHERE, 80) == ANYWHERE
    second.tell(f"trap {FREE}")
    assert router.reaches(FREE, ANYWHERE, 80) == GARDEN_SERVER
    second.tell("quit")
    assert router.nft("list ruleset") == before


def test_open_connections_do_not_pass_the_trap(
    router: Place, start: Callable[[], Daemon], tmp_path: Path
) -> None:
    build_garden(tmp_path, MANUAL_BUILD_GARDEN)
    daemon = start()
    with router.connect(TRAPPED, ANYWHERE, 80) as before:
        assert ask(before) == ANYWHERE
        daemon.tell(f"trap {TRAPPED}")
        eventually(lambda: not _answers(before))


def _answers(connection: socket.socket) -> bool:
    try:
        return bool(ask(connection))
    except OSError:
        return False


def test_users_wait_for_the_garden_to_be_built(router: Place, tmp_path: Path) -> None:
    go_on = tmp_path / "go-on"
    waiting = f"while [ ! -e {go_on} ]; do sleep 0.05; done\n"
    build_garden(tmp_path, waiting + MANUAL_BUILD_GARDEN)
    daemon = Daemon(router, tmp_path, is_ready=False)
    try:
        eventually(lambda: CLOSED in router.nft("list ruleset"))
        router.nft(f"add element ip l2tpns garden {{ {TRAPPED} }}")
        assert router.reaches(TRAPPED, ANYWHERE, 80) == ""
        assert router.reaches(FREE, ANYWHERE, 80) == ANYWHERE
        go_on.touch()
        daemon.expect("ready")
        assert CLOSED not in router.nft("list ruleset")
        assert len(router.rules("nat", "garden")) == 9
    finally:
        daemon.kill()


def test_garden_that_could_not_be_filled_lets_nobody_out(
    router: Place, start: Callable[[], Daemon], tmp_path: Path
) -> None:
    build_garden(tmp_path, "exit 1\n" + MANUAL_BUILD_GARDEN)
    daemon = start()
    daemon.tell(f"trap {TRAPPED}")
    assert router.reaches(TRAPPED, ANYWHERE, 80) == ""
    assert router.reaches(FREE, ANYWHERE, 80) == ANYWHERE
    assert "build-garden ended with status 1: the gardens stay closed" in daemon.log.read_text()
    build_garden(tmp_path, MANUAL_BUILD_GARDEN)
    eventually(lambda: router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER)


def busy(directory: Path) -> Path:
    """Have a build-garden that never leaves the rule set alone; the file that tells it is at it.

    Looking at the rules instead would take no end: nft lists anew when they change meanwhile.
    """
    began = directory / "began"
    rule = "add rule ip nat garden tcp dport 25 accept"
    build_garden(
        directory,
        f"nft {rule} && touch {shlex.quote(str(began))}\n"
        f'while :; do echo "{rule}"; done | nft -i >/dev/null\n',
    )
    return began


def test_removal_while_build_garden_runs_leaves_nothing(router: Place, tmp_path: Path) -> None:
    began = busy(tmp_path)
    daemon = Daemon(router, tmp_path, is_ready=False, waits=False)
    try:
        daemon.expect("ready")
        eventually(began.exists)
        daemon.tell("quit")
        assert router.nft("list tables") == "", daemon.log.read_text()
    finally:
        daemon.kill()


def test_reload_while_build_garden_runs_begins_it_anew(router: Place, tmp_path: Path) -> None:
    began = busy(tmp_path)
    daemon = Daemon(router, tmp_path, is_ready=False, waits=False)
    try:
        daemon.expect("ready")
        daemon.tell(f"trap {TRAPPED}")
        eventually(began.exists)
        build_garden(tmp_path, MANUAL_BUILD_GARDEN)
        daemon.tell("reload")
        eventually(lambda: router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER)
        assert len(router.rules("nat", "garden")) == 9
        assert "the gardens stay" not in daemon.log.read_text()
    finally:
        daemon.kill()


def test_garden_that_the_settings_have_lost_after_a_crash_goes(
    router: Place, start: Callable[[], Daemon], tmp_path: Path
) -> None:
    build_garden(tmp_path, "nft add rule ip nat garden_virus tcp dport 80 dnat to 192.168.1.1\n")
    first = Daemon(router, tmp_path, gardens=("unpaid", "virus"))
    assert len(router.rules("nat", "garden_virus")) == 1
    first.kill()
    build_garden(tmp_path, "true\n")
    second = start()
    assert "garden_virus" not in router.nft("list ruleset")
    second.tell("quit")
    assert "garden" not in router.nft("list ruleset")


def test_without_build_garden_the_log_says_that_nothing_holds_users_back(
    router: Place, start: Callable[[], Daemon]
) -> None:
    daemon = start()
    daemon.tell(f"trap {TRAPPED}")
    assert "nothing holds gardened users back" in daemon.log.read_text()
    assert router.reaches(TRAPPED, ANYWHERE, 80) == ANYWHERE
