"""Running build-garden: what its iptables lines become, and what is said about its end."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from l2tpns_plugins_garden import script
from unit.garden.fakes import eventually

MASK = 0xF0000


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is first in PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(tmp_path: Path, text: str, timeout_s: float = 20) -> script.Outcome:
    path = tmp_path / "build-garden"
    path.write_text(text)

    async def whole() -> script.Outcome:
        return await script.Run(path, MASK).end(timeout_s)

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("written", "run_as"),
    [
        (
            "-t nat -A garden -p tcp -m tcp --dport 25 -j DNAT --to 192.168.1.1",
            "-t nat -A garden -p tcp -m tcp --dport 25 -j DNAT --to 192.168.1.1",
        ),
        ("-t nat -A garden -j DROP", "-t nat -A garden -j MARK --set-xmark 0xf0000/0xf0000"),
        (
            "-t nat -A garden -p udp --dport ! 53 -j DNAT --to 192.168.1.1",
            "-t nat -A garden -p udp ! --dport 53 -j DNAT --to 192.168.1.1",
        ),
        (
            "-t nat -A garden -s ! 10.0.0.0/8 -d ! 10.1.0.0/16 --jump DROP",
            "-t nat -A garden ! -s 10.0.0.0/8 ! -d 10.1.0.0/16 -j MARK --set-xmark 0xf0000/0xf0000",
        ),
        (
            "-t nat -A garden -p tcp ! --dport 53 -j ACCEPT",
            "-t nat -A garden -p tcp ! --dport 53 -j ACCEPT",
        ),
        (
            "-t nat -A garden -p tcp --syn ! -s 10.0.0.1 -j ACCEPT",
            "-t nat -A garden -p tcp --syn ! -s 10.0.0.1 -j ACCEPT",
        ),
        ("-A FORWARD -j DROP", "-A FORWARD -j DROP"),
        ("-t filter -A FORWARD -j DROP", "-t filter -A FORWARD -j DROP"),
        (
            "--table=nat -A garden -j DROP",
            "--table=nat -A garden -j MARK --set-xmark 0xf0000/0xf0000",
        ),
        ("-t nat -L", "-t nat -L"),
        ("-t nat -A garden -j", "-t nat -A garden -j"),
    ],
)
def test_forms_of_the_manual_become_what_iptables_takes(
    tmp_path: Path, tools: Path, written: str, run_as: str
) -> None:
    program(tools / "iptables-nft", 'echo "$*"')
    assert run(tmp_path, f"iptables {written}").lines == [run_as]


def test_words_stay_whole(tmp_path: Path, tools: Path) -> None:
    program(tools / "iptables-nft", 'for word in "$@"; do echo "[$word]"; done')
    outcome = run(tmp_path, """iptables -A garden -m comment --comment "a * b" '!' x ''""")
    words = ("-A", "garden", "-m", "comment", "--comment", "a * b", "!", "x", "")
    assert outcome.lines == [f"[{word}]" for word in words]


def test_iptables_of_nftables_is_taken_under_either_name(tmp_path: Path, tools: Path) -> None:
    program(
        tools / "iptables", 'case $1 in -V) echo "iptables v1.8.9 (nf_tables)";; *) echo nft;; esac'
    )
    assert run(tmp_path, "iptables -L").lines == ["nft"]
    program(tools / "iptables-nft", "echo better")
    assert run(tmp_path, "iptables -L").lines == ["better"]


def test_iptables_legacy_is_not_run(tmp_path: Path, tools: Path) -> None:
    program(
        tools / "iptables", 'case $1 in -V) echo "iptables v1.8.9 (legacy)";; *) echo ran;; esac'
    )
    outcome = run(tmp_path, "iptables -L")
    assert outcome.status == 1
    (line,) = outcome.lines
    assert line.startswith("iptables is iptables-legacy here")


def test_missing_iptables_is_said(
    tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tools))
    outcome = run(tmp_path, "iptables -L")
    assert outcome.lines == ["there is no iptables: install it, or write nft commands"]
    assert outcome.status == 127


def test_status_and_output_of_both_kinds_are_told(tmp_path: Path) -> None:
    outcome = run(tmp_path, "echo one\necho two >&2\nexit 4")
    assert (outcome.status, sorted(outcome.lines), outcome.timed_out) == (4, ["one", "two"], False)


def test_flood_of_output_is_cut(tmp_path: Path) -> None:
    outcome = run(tmp_path, "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done")
    assert outcome.status == 0
    assert len(outcome.lines) == script.MAX_LINES + 1
    assert outcome.lines[-1] == "(2950 more lines)"


def test_what_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    started_at = time.monotonic()
    outcome = run(tmp_path, f"sleep 600 & echo $! > {pid_file}; echo waiting; wait", 0.5)
    assert time.monotonic() - started_at < 10
    assert outcome.timed_out
    assert outcome.lines == ["waiting"]
    assert _has_ended(int(pid_file.read_text()))


def test_what_it_leaves_running_is_killed_and_waited_for_by_nobody(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    started_at = time.monotonic()
    outcome = run(tmp_path, f"sleep 600 & echo $! > {pid_file}; echo here")
    assert time.monotonic() - started_at < 10
    assert outcome == script.Outcome(0, ["here"])
    assert _has_ended(int(pid_file.read_text()))


def test_who_has_left_the_group_holds_nothing_up(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    started_at = time.monotonic()
    run(tmp_path, f"setsid sh -c 'echo $$ > {pid_file}; exec sleep 600' & sleep 0.5")
    assert time.monotonic() - started_at < 10
    os.kill(int(pid_file.read_text()), signal.SIGKILL)


def test_kill_ends_it_with_its_children_at_once(tmp_path: Path) -> None:
    path, pid_file = tmp_path / "build-garden", tmp_path / "pid"
    path.write_text(f"sleep 600 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait")

    async def killed() -> script.Outcome:
        started = script.Run(path, MASK)
        await asyncio.to_thread(eventually, pid_file.exists)
        started.kill()
        return await started.end(20)

    assert asyncio.run(killed()) == script.Outcome(-signal.SIGKILL, [])
    assert _has_ended(int(pid_file.read_text()))


def test_its_end_keeps_no_descriptor(tmp_path: Path) -> None:
    run(tmp_path, "true")
    before = set(os.listdir("/proc/self/fd"))
    run(tmp_path, "echo one")
    assert set(os.listdir("/proc/self/fd")) == before


def _has_ended(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
    return False
