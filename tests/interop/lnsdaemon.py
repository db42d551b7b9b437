"""The daemon under test as its operator sees it: configuration files, its CLI, its log, signals."""

import json
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interop.namespaces import Child, Namespace, wait_for

READY_TIMEOUT_S = 20
CLI_TIMEOUT_S = 20
RELOAD_TIMEOUT_S = 5


class LnsDaemon:
    """A running `l2tpns`; its configuration directory is `directory`."""

    def __init__(
        self, namespace: Namespace, directory: Path, directives: Mapping[str, str], pool: str
    ) -> None:
        self._namespace = namespace
        self._directory = directory
        self._socket = directory / "cli.sock"
        self._directives = {
            "cli_socket": str(self._socket),
            "state_dir": str(directory / "state"),
            **directives,
        }
        self._write_config()
        (directory / "ip_pool").write_text(pool)
        program = [sys.executable, "-m", "l2tpns_core.daemon", "-c", str(self._config)]
        self.process = Child(namespace.command(*program), directory / "log")
        try:
            wait_for(self._is_settled, READY_TIMEOUT_S, "ready line of the daemon")
            if not self.process.is_running():
                raise RuntimeError(f"the daemon did not start:\n{self.log()[-4000:]}")
        except BaseException:
            self.close()
            raise

    @property
    def _config(self) -> Path:
        return self._directory / "startup-config"

    def _write_config(self) -> None:
        lines = [f'set {name} "{value}"\n' for name, value in self._directives.items()]
        self._config.write_text("".join(lines))

    def _is_settled(self) -> bool:
        return "ready" in self.log() or not self.process.is_running()

    def log(self) -> str:
        return self.process.output()

    def cli(self, command: str, *options: str) -> str:
        """Run one command line through l2tpns-cli; RuntimeError when it fails."""
        program = Path(sysconfig.get_path("scripts")) / "l2tpns-cli"
        done = subprocess.run(
            [program, "-s", self._socket, *options, "-c", command],
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=CLI_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"l2tpns-cli -c {command!r}: {done.stdout}{done.stderr}")
        return done.stdout

    def sessions(self) -> list[dict[str, Any]]:
        """The rows of `show session`."""
        rows = json.loads(self.cli("show session", "--json"))
        assert isinstance(rows, list)
        return rows

    def switch(self, **directives: bool) -> None:
        """Turn directives on or off in the startup-config and have the daemon read it again."""
        wanted = {name: "yes" if value else "no" for name, value in directives.items()}
        self._directives.update(wanted)
        self._write_config()
        self.process.send(signal.SIGHUP)

        def is_read() -> bool:
            running = self._running_config()
            return all(running.get(name, "no") == value for name, value in wanted.items())

        wait_for(is_read, RELOAD_TIMEOUT_S, f"sign that {wanted} were read")

    def _running_config(self) -> dict[str, str]:
        words = (line.split(None, 2) for line in self.cli("show running-config").splitlines())
        return {w[1]: w[2].strip('"') for w in words if len(w) == 3 and w[0] == "set"}

    def close(self) -> None:
        self.process.stop()
