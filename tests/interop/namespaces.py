"""Network namespaces, the processes in them, and how all of it goes away again."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeVar

PREFIX = "l2t-io"
"""Names are PREFIX-PID-ROLE; those of a test run that died are removed by the next one."""
POLL_S = 0.02
STOP_S = 5.0
"""How long a process may take to end before it is killed."""

Value = TypeVar("Value")


def wait_for(test: Callable[[], Value], timeout_s: float, what: str) -> Value:
    """Poll until `test()` is true and return its value; TimeoutError says `what` did not come."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        value = test()
        if value:
            return value
        if time.monotonic() >= give_up_at:
            raise TimeoutError(f"no {what} within {timeout_s:g} s")
        time.sleep(POLL_S)


def run(command: Sequence[str]) -> str:
    """Run a command to its end and return its output; RuntimeError carries its complaint."""
    done = subprocess.run(
        command, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip()
        raise RuntimeError(f"{' '.join(command)}: status {done.returncode}: {complaint}")
    return done.stdout


class Child:
    """A process that dies with the tests, whatever ends them; its output goes to a file.

    With `own_pids` it also takes along whatever it started, at its end at the latest."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: dict[str, str] | None = None,
        own_pids: bool = False,
    ) -> None:
        wrapper = ["setpriv", "--pdeathsig", "KILL"]
        if own_pids:
            wrapper += ["unshare", "--pid", "--fork", "--kill-child=KILL"]
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*wrapper, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def output(self) -> str:
        """All that it has printed so far."""
        return self.log.read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, by SIGKILL if the signal does not in STOP_S; the exit status, as subprocess."""
        if self.is_running():
            self._process.send_signal(number)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()


class Namespace:
    """A network namespace with a name, made here and removed by close()."""

    def __init__(self, role: str) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-{role}"
        run(["ip", "netns", "add", self.name])
        self.ip("link", "set", "lo", "up")
        for which in ("all", "default"):
            self.set(f"net/ipv6/conf/{which}/disable_ipv6", 1)

    def command(self, *arguments: str) -> list[str]:
        """The argv that runs a command inside."""
        return ["ip", "netns", "exec", self.name, *arguments]

    def run(self, *arguments: str) -> str:
        return run(self.command(*arguments))

    def ip(self, *arguments: str) -> str:
        return run(["ip", "-n", self.name, *arguments])

    def set(self, name: str, value: int) -> None:
        """Set a kernel variable, by its path below /proc/sys."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/{name}")

    def statistics(self, interface: str) -> dict[str, int]:
        """The kernel's counters of an interface (`rx_bytes`, `tx_dropped`, …)."""
        directory = f"/sys/class/net/{interface}/statistics"
        lines = self.run("grep", "-r", "", directory).splitlines()
        pairs = (line.rpartition("/")[2].split(":") for line in lines)
        return {name: int(value) for name, value in pairs}

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


def remove_stale() -> None:
    """Remove the namespaces of test runs that are over."""
    for line in run(["ip", "netns", "list"]).splitlines():
        name = line.split()[0] if line else ""
        pid = name.removeprefix(f"{PREFIX}-").partition("-")[0]
        if name.startswith(f"{PREFIX}-") and pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            run(["ip", "netns", "del", name])
