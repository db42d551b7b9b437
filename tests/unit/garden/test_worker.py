"""The garden's threads: what a login waits for, and what it does not wait for."""

import logging
import threading
from collections.abc import Iterator, Mapping

import pytest

from l2tpns_plugins_garden.netlink import NetfilterError
from l2tpns_plugins_garden.rules import Garden
from l2tpns_plugins_garden.worker import Worker
from unit.garden.fakes import eventually

GARDEN = Garden("", 0x10000)


class Kernel:
    """Stands for firewall and connections; `gate` holds up changes while it is not set."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.changes: list[dict[int, Garden | None]] = []
        self.forgotten: list[list[int]] = []
        self.closings = 0

    def change(self, changes: Mapping[int, Garden | None]) -> None:
        self.gate.wait(10)
        self.changes.append(dict(changes))
        if self.failure is not None:
            raise self.failure

    def forget(self, addresses: list[int]) -> None:
        self.forgotten.append(addresses)

    def close(self) -> None:
        self.closings += 1


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def worker(kernel: Kernel) -> Iterator[Worker]:
    made = Worker(kernel, kernel, logging.getLogger("test.garden"))  # type: ignore[arg-type]
    yield made
    kernel.gate.set()
    if not kernel.closings:
        made.close()
    eventually(lambda: kernel.closings == 2)


def test_change_is_made_when_it_returns_and_connections_follow(
    worker: Worker, kernel: Kernel
) -> None:
    worker.change(1, GARDEN)
    assert kernel.changes == [{1: GARDEN}]
    eventually(lambda: kernel.forgotten == [[1]])


def test_changes_behind_a_busy_kernel_go_out_as_one(worker: Worker, kernel: Kernel) -> None:
    kernel.gate.clear()
    for address in range(1, 101):
        worker.change(address, GARDEN)
    worker.change(100, None)
    kernel.gate.set()
    worker.close()
    eventually(lambda: kernel.closings == 2)
    assert kernel.changes[0] == {1: GARDEN}
    assert sum(len(changes) for changes in kernel.changes) == 100
    assert len(kernel.changes) == 2
    assert kernel.changes[1][100] is None
    assert sorted(address for part in kernel.forgotten for address in part) == list(range(1, 101))


def test_refusal_is_logged_and_the_next_change_goes_on(
    worker: Worker, kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.failure = NetfilterError(1, "changing the rule set")
    worker.change(1, GARDEN)
    kernel.failure = None
    worker.change(2, GARDEN)
    assert kernel.changes == [{1: GARDEN}, {2: GARDEN}]
    assert "the garden cannot be changed: changing the rule set: Operation not permitted" in (
        caplog.text
    )


def test_mistake_in_a_thread_is_not_swallowed(
    worker: Worker, kernel: Kernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.failure = ZeroDivisionError("oops")
    worker.change(1, GARDEN)
    assert "ZeroDivisionError: oops" in caplog.text


def test_closing_waits_for_nothing_and_leaves_nothing_undone(
    worker: Worker, kernel: Kernel
) -> None:
    kernel.gate.clear()
    worker.change(1, GARDEN)
    worker.close()
    assert kernel.closings == 0, "the loop was held up until the kernel let go"
    kernel.gate.set()
    eventually(lambda: kernel.closings == 2)
    assert kernel.changes == [{1: GARDEN}]
    assert kernel.forgotten == [[1]]
