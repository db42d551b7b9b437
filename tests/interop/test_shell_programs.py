"""The shell and the programs of Debian that operators drive it with: telnet, expect, nc, ssh."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import LNS_ADDRESS, Stage, until
from interop import debian
from interop.debian import PackageTree

pytestmark = [pytest.mark.interop, pytest.mark.netns, pytest.mark.slow]

PORT, SSH_PORT = 2323, 2222
NC, EXPECT, TELNET = "/usr/bin/nc.openbsd", "/usr/bin/expect", "/usr/bin/inetutils-telnet"
SSH, SSHD, KEYGEN = "/usr/bin/ssh", "/usr/sbin/sshd", "/usr/bin/ssh-keygen"
PACKAGES = ["expect", "inetutils-telnet", "netcat-openbsd", "openssh-client", "openssh-server"]
PACKAGES += ["tcl-expect", "tcl8.6"]
PASSWD = """\
root:x:0:0:root:/root:/bin/sh
lnsadmin:x:0:0::/:/bin/sh
sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
"""
DIALOGUE = """\
set timeout 10
proc wait_for {text} {
    expect -ex $text {} timeout { puts "no $text"; exit 1 } eof { puts "eof, no $text"; exit 1 }
}
eval spawn $argv
wait_for "vm> "
send "enable\\r"
wait_for "Password: "
send "up\\r"
wait_for "vm# "
send "show session\\r"
wait_for "Username"
wait_for "user-a"
wait_for "vm# "
send "sh ver"
send "\\t"
wait_for "sion"
send "\\r"
wait_for "L2TPNS"
wait_for "vm# "
send "terminal length 5\\r"
wait_for "vm# "
send "show counters\\r"
wait_for "--More--"
send "q"
wait_for "vm# "
send "exit\\r"
expect eof
puts "a good day"
"""


@pytest.fixture(scope="module")
def tree() -> PackageTree:
    return debian.unpack(PACKAGES, [NC, EXPECT, TELNET, SSH, SSHD, KEYGEN])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    users = tmp_path / "users"
    users.write_text("admin:secret\nenable:up\n")
    users.chmod(0o600)
    with Stage(tmp_path, cli_port=PORT, hostname="vm") as stage:
        yield stage


def play(stage: Stage, work: Callable[[], None]) -> None:
    """Have a subscriber on line and the listener up while work is done."""

    async def act(stage: Stage) -> None:
        await until(lambda: "telnet on" in stage.site.log(), "no telnet")
        await stage.log_in("user-a")
        await asyncio.to_thread(work)

    stage.play(act)


def run(
    stage: Stage, command: list[str], typed: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    """A program in the namespace of the daemon."""
    return subprocess.run(
        command,
        preexec_fn=stage.site.lns.child_setup(),
        input=typed,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "TERM": "vt100", **environment},
        check=False,
    )


def test_nc_gets_answers_and_nothing_else(stage: Stage, tree: PackageTree) -> None:
    def work() -> None:
        command = tree.command(NC, "-N", "127.0.0.1", str(PORT))
        done = run(stage, command, "show users\nshow users | count\nquit\n")
        assert done.stdout.replace("\r", "").endswith("user-a\n1\n"), done
        assert "vm" not in done.stdout

    play(stage, work)


def test_expect_and_telnet_work_through_a_dialogue(
    stage: Stage, tree: PackageTree, tmp_path: Path
) -> None:
    script = tmp_path / "dialogue.exp"
    script.write_text(DIALOGUE)

    def work() -> None:
        telnet = tree.command(TELNET, "127.0.0.1", str(PORT))
        library = str(tree.path / "usr/share/tcltk/tcl8.6")
        done = run(stage, [*tree.command(EXPECT, str(script)), *telnet], TCL_LIBRARY=library)
        assert done.stdout.endswith("a good day\n"), done.stdout + done.stderr

    play(stage, work)


class Sshd:
    """Debian's sshd in the daemon's namespace, with accounts of its own."""

    def __init__(self, stage: Stage, tree: PackageTree, directory: Path) -> None:
        self._stage, self._tree, self._directory = stage, tree, directory
        for name in ("host", "user"):
            subprocess.run(
                tree.command(KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", f"{directory}/{name}"),
                check=True,
            )
        (directory / "passwd").write_text(PASSWD)
        cli = f"{sys.executable} -m l2tpns_core.cli.shell -s {stage.site.cli_socket}"
        (directory / "sshd_config").write_text(
            f"HostKey {directory}/host\n"
            f"AuthorizedKeysFile {directory}/user.pub\n"
            "PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"
            "PasswordAuthentication no\n"
            f"SetEnv PYTHONPATH={os.pathsep.join(sys.path)}\n"
            "Match User lnsadmin\n"
            f"    ForceCommand exec {cli} "
            '${SSH_ORIGINAL_COMMAND:+"--command=$SSH_ORIGINAL_COMMAND"}\n'
            "    DisableForwarding yes\n"
        )
        sshd = " ".join(
            tree.command(
                SSHD, "-D", "-e", "-r", "-p", str(SSH_PORT), "-f", f"{directory}/sshd_config"
            )
        )
        mounts = f"mount --bind {directory}/passwd /etc/passwd && mount -t tmpfs none /run"
        script = f"{mounts} && mkdir -p -m 755 /run/sshd && exec {sshd}"
        self._log = (directory / "sshd.log").open("wb")
        self._process = stage.site.lns.popen(
            ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def log(self) -> str:
        return (self._directory / "sshd.log").read_text()

    def wait(self) -> None:
        deadline = time.monotonic() + 15
        while "Server listening" not in self.log():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()

    def command(self, *words: str) -> list[str]:
        options = ["-F", "none", "-p", str(SSH_PORT), "-i", f"{self._directory}/user", "-q"]
        for option in ("UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no"):
            options += ["-o", option]
        return self._tree.command(SSH, *options, f"lnsadmin@{LNS_ADDRESS}", *words)


def test_ssh_with_a_forced_command(stage: Stage, tree: PackageTree, tmp_path: Path) -> None:
    """One command for a script, lines on stdin, and nothing that would be a shell."""
    sshd = Sshd(stage, tree, tmp_path)

    def work() -> None:
        sshd.wait()
        done = run(stage, sshd.command("show users | count"))
        assert (done.stdout, done.returncode) == ("1\n", 0), (done, sshd.log())
        done = run(stage, sshd.command(), "show users\nshow nonsense\n")
        assert (done.stdout, done.returncode) == ("user-a\n", 1), done
        assert done.stderr == 'Invalid command "show nonsense"\n'
        for attempt in ("show users; id", "$(id)", "`id`", "-s /x", "--socket=/x", "&& id"):
            done = run(stage, sshd.command(attempt))
            assert done.returncode != 0, done
            assert "uid=" not in done.stdout + done.stderr
        terminal = ["script", "-qec", " ".join(sshd.command("-tt")), "/dev/null"]
        done = run(stage, terminal, "show version\nexit\n")
        assert "L2TPNS " in done.stdout, done

    try:
        play(stage, work)
    finally:
        sshd.close()
