"""What `l2tpns-cli` does itself of the commands: privileges, history, log lines."""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from l2tpns_core.cli.client import Client, DaemonUnreachableError
from l2tpns_core.cli.live_log import CRITICAL, FLAGS

Write = Callable[[str], Any]
DEBUG_OFF: Final = "Debugging off\n"


class Actions:
    """The actions of one shell, until close()."""

    def __init__(self, client: Client, write: Write, *, wait: bool) -> None:
        """With `wait`, log lines are shown until the operator interrupts; without, they come
        between other output."""
        self.history: Callable[[], Iterable[str]] = tuple
        self.terminal: Callable[[str, int], None] = lambda name, size: None
        """Sets the length or the width of the terminal."""
        self._client = client
        self._write = write
        self._wait = wait
        self._flags: set[str] = {CRITICAL}
        self._follower: Client | None = None

    def carry_out(self, words: list[str]) -> None:
        """Raises DaemonUnreachableError."""
        match words:
            case ["enable"]:
                self._client.reconnect()
                self._client.run("", lambda text: None)
            case ["disable"]:
                self._client.become_viewer()
                self._client.run("", lambda text: None)
            case ["history"]:
                lines = "".join(
                    f"{number:>3}. {line}\n" for number, line in enumerate(self.history())
                )
                self._write("\nCommand history:\n" + lines)
            case ["terminal", name, size]:
                self.terminal(name, int(size))
            case ["debug"]:
                names = " ".join(flag for flag in FLAGS if flag in self._flags)
                self._write(f"Currently debugging: {names}\n" if names else DEBUG_OFF)
            case ["debug", *flags]:
                self._watch(self._flags | set(flags))
            case ["no", "debug", *flags]:
                self._watch(self._flags - set(flags))

    def close(self) -> None:
        if self._follower is not None:
            self._follower.shutdown()
            self._follower = None

    def _watch(self, flags: set[str]) -> None:
        self.close()
        self._flags = flags
        if not flags:
            return
        self._follower = follower = Client(self._client.path)
        if self._wait:
            follower.follow(sorted(flags), self._write)
            return
        threading.Thread(target=self._follow, args=(follower, sorted(flags)), daemon=True).start()

    def _follow(self, follower: Client, flags: list[str]) -> None:
        try:
            follower.follow(flags, self._write)
        except DaemonUnreachableError:
            follower.close()
