"""The daemon under test as its operator sees it: configuration files, its CLI, its log, signals."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interop.namespaces import Child, Namespace, wait_for
from l2tpns_core.lab.site import chosen_dataplane

READY_TIMEOUT_S = 20
CLI_TIMEOUT_S = 20
RELOAD_TIMEOUT_S = 5


def script(name: str) -> Path:
    """A program that the distributions install."""
    return Path(sysconfig.get_path("scripts")) / name


class LnsDaemon:
    """A running `l2tpns`; its configuration directory is `directory`."""

    def __init__(
        self,
        namespace: Namespace,
        directory: Path,
        directives: Mapping[str, str],
        pool: str,
        *,
        plugins: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        programs: Path | None = None,
    ) -> None:
        """`files` are further ones beside the startup-config, by name; `programs` is a directory
        that its PATH begins with."""
        self._namespace = namespace
        self._plugins = plugins
        self._programs = programs
        self._directory = directory
        self.socket = directory / "cli.sock"
        self._directives = {
            "cli_socket": str(self.socket),
            "cli_port": "0",
            "state_dir": str(directory / "state"),
            "dataplane": chosen_dataplane(),
            "bpf_directory": "",
            **directives,
        }
        self._write_config()
        for name, text in {"ip_pool": pool, **(files or {})}.items():
            (directory / name).write_text(text)
        self.start()

    def start(self) -> None:
        """Start it, again if it has ended; its log goes on."""
        path = os.environ["PATH"]
        environment = {**os.environ, "PATH": f"{self._programs}:{path}" if self._programs else path}
        log = self._directory / "log"
        self._log_start = len(log.read_text(errors="replace")) if log.exists() else 0
        program = [sys.executable, "-m", "l2tpns_core.daemon", "-c", str(self._config)]
        self.process = Child(self._namespace.command(*program), log, environment)
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
        lines += [f'load plugin "{name}"\n' for name in self._plugins]
        self._config.write_text("".join(lines))

    def _is_settled(self) -> bool:
        return "ready" in self.log()[self._log_start :] or not self.process.is_running()

    def log(self) -> str:
        return self.process.output()

    def cli(self, command: str, *options: str) -> str:
        """Run one command line through l2tpns-cli; RuntimeError when it fails."""
        done = subprocess.run(
            [script("l2tpns-cli"), "-s", self.socket, *options, "-c", command],
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=CLI_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"l2tpns-cli -c {command!r}: {done.stdout}{done.stderr}")
        return done.stdout

    def nsctl(self, *arguments: str) -> str:
        """Run nsctl beside it; RuntimeError when it fails."""
        return self._namespace.run(str(script("nsctl")), *arguments)

    def sessions(self) -> list[dict[str, Any]]:
        """The rows of `show session`."""
        return self.rows("show session")

    def rows(self, command: str) -> list[dict[str, Any]]:
        """What a command shows, as data."""
        rows = json.loads(self.cli(command, "--json"))
        assert isinstance(rows, list)
        return rows

    def object(self, command: str) -> dict[str, Any]:
        """The same of a command that shows one thing."""
        found = json.loads(self.cli(command, "--json"))
        assert isinstance(found, dict)
        return found

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
