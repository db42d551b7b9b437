"""Keeps the kernel's work off the daemon's loop.

One thread owns the rules, another the connections, so that a long connection table does not hold
up the next trap. What comes while a thread is busy goes out as one transaction afterwards.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from l2tpns_plugins_garden.conntrack import Connections
from l2tpns_plugins_garden.firewall import Firewall
from l2tpns_plugins_garden.netlink import NetfilterError
from l2tpns_plugins_garden.rules import Garden

PATIENCE_S: Final = 0.02
"""How long a login is held until its address is in the kernel's set, which takes 0.3 ms. Somebody
who loads a large rule set may hold the kernel longer: then logins go on, and what a user did before
the trap closed is undone by forgetting his connections."""
CALL_TIMEOUT_S: Final = 5.0
"""How long loading, unloading and a reload wait for the kernel."""

T = TypeVar("T")
Log = logging.Logger | logging.LoggerAdapter[Any]


class Worker:
    """The threads of one garden. Called from the loop's thread."""

    def __init__(self, firewall: Firewall, connections: Connections, log: Log) -> None:
        self.firewall = firewall
        self._connections = connections
        self._log = log
        self._rules_thread = ThreadPoolExecutor(1, "garden-rules")
        self._connections_thread = ThreadPoolExecutor(1, "garden-connections")
        self._lock = threading.Lock()
        self._changes: dict[int, Garden | None] = {}
        self._forgotten: dict[int, None] = {}
        self._is_slow = False
        """The last change was not made in time, and still is not."""

    def change(self, address: int, garden: Garden | None) -> None:
        """Trap an address, or free it (None); as a rule that is done when this returns."""
        with self._lock:
            is_first = not self._changes
            self._changes[address] = garden
        if not is_first:
            return
        future = self._rules_thread.submit(self._carry_out)
        if self._is_slow:
            return
        try:
            future.result(PATIENCE_S)
        except TimeoutError:
            self._is_slow = True

    def submit(self, function: Callable[[], T]) -> "Future[T]":
        """Run a function of the firewall in its thread."""
        return self._rules_thread.submit(function)

    def call(self, function: Callable[[], T]) -> T:
        """The same, and wait for it. Raises what it raises, and TimeoutError."""
        return self.wait(self.submit(function))

    def wait(self, future: "Future[T]") -> T:
        """Wait for what submit() began; not long. Raises as call() does."""
        return future.result(CALL_TIMEOUT_S)

    def forget(self, addresses: Iterable[int]) -> None:
        """Have the connections of addresses forgotten, some time soon."""
        with self._lock:
            is_first = not self._forgotten
            self._forgotten.update(dict.fromkeys(addresses))
        if is_first:
            self._connections_thread.submit(self._forget)

    def abandon(self) -> None:
        """Give up on threads that the kernel does not let go on. Returns at once."""
        self._rules_thread.shutdown(wait=False, cancel_futures=True)
        self._connections_thread.shutdown(wait=False)

    def close(self) -> None:
        """End the threads when they have done what they were asked for. Returns at once."""
        self._rules_thread.submit(self._close_rules)
        self._rules_thread.shutdown(wait=False)

    def _close_rules(self) -> None:
        """The last of the rules' thread, which may have had connections to be forgotten."""
        self.firewall.close()
        self._connections_thread.submit(self._connections.close)
        self._connections_thread.shutdown(wait=False)

    def _carry_out(self) -> None:
        with self._lock:
            changes, self._changes = self._changes, {}
        try:
            self.firewall.change(changes)
        except NetfilterError as error:
            self._log.error("the garden cannot be changed: %s", error)
        except Exception:  # noqa: BLE001  (border: nothing waits for it that would tell)
            self._log.exception("the garden cannot be changed")
        self._is_slow = False
        self.forget(changes)

    def _forget(self) -> None:
        with self._lock:
            addresses, self._forgotten = list(self._forgotten), {}
        try:
            self._connections.forget(addresses)
        except Exception:  # noqa: BLE001  (as above)
            self._log.exception("connections cannot be forgotten")
