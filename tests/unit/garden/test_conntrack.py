"""Forgetting connections: which entries are asked for, and what a failure does."""

import errno
import struct
from collections.abc import Iterable

import pytest

from l2tpns_plugins_garden import conntrack
from l2tpns_plugins_garden.netlink import NetfilterError, attribute, walk
from l2tpns_plugins_garden.rules import IPV4

DELETED = 0x102
WHOLE_LENGTH = 20
"""Of a request without any attribute: it asks for all entries."""


def entry(source: int, target: int) -> bytes:
    """An entry of the kernel's, as far as it matters."""

    def ends(one: int, other: int) -> bytes:
        ip = attribute(1, one.to_bytes(4, "big")) + attribute(2, other.to_bytes(4, "big"))
        return attribute(1, ip)

    return attribute(1, ends(source, target)) + attribute(2, ends(target, source))


class Kernel:
    """Answers dumps; whether it honours filters depends."""

    def __init__(self, entries: Iterable[bytes] = (), *, has_filter: bool = True) -> None:
        self.entries = list(entries)
        self.has_filter = has_filter
        self.dumps: list[bytes] = []
        self.deleted: list[bytes] = []
        self.failures: list[int] = []
        self.sockets = 0
        self.closed = 0

    def dump(self, request: bytes) -> list[bytes]:
        self.dumps.append(request)
        if self.failures:
            raise NetfilterError(self.failures.pop(0), "reading from netfilter")
        if len(request) == WHOLE_LENGTH or not self.has_filter:
            return self.entries
        kind = request[WHOLE_LENGTH + 2] & 0x3F  # which direction it has to be the source of
        address = request[WHOLE_LENGTH + 12 : WHOLE_LENGTH + 16]
        return [
            body
            for body in self.entries
            if conntrack._sources(dict(walk(body)), IPV4)[kind - 1] == address
        ]

    def request(self, message: bytes) -> list[tuple[int, bytes]]:
        assert struct.unpack_from("=H", message, 4) == (DELETED,)
        body = message[WHOLE_LENGTH:]
        if body in self.deleted:
            raise NetfilterError(errno.ENOENT, "asking netfilter")
        self.deleted.append(body)
        return []

    def close(self) -> None:
        self.closed += 1


def forget(kernel: Kernel, addresses: Iterable[int]) -> int:
    return conntrack.forget(kernel, list(addresses))  # type: ignore[arg-type]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()

    def opened() -> Kernel:
        made.sockets += 1
        return made

    monkeypatch.setattr(conntrack, "NetfilterSocket", opened)
    return made


@pytest.mark.parametrize("count", [1, 9, conntrack.FILTERED_AT_MOST])
def test_the_kernel_chooses_the_entries(count: int) -> None:
    kernel = Kernel([entry(1, 1000), entry(1001, 1), entry(2000, 2001)])
    assert forget(kernel, range(1, count + 1)) == 2
    assert len(kernel.dumps) == 2 * count
    assert WHOLE_LENGTH not in map(len, kernel.dumps)


def test_for_very_many_all_entries_are_read_once() -> None:
    kernel = Kernel([entry(1, 10_000), entry(10_001, 10_002)])
    assert forget(kernel, range(1, conntrack.FILTERED_AT_MOST + 2)) == 1
    assert [len(request) for request in kernel.dumps] == [WHOLE_LENGTH]


def test_kernel_that_knows_no_filter_is_asked_once() -> None:
    kernel = Kernel([entry(1, 1000), entry(1001, 9), entry(2000, 2001)], has_filter=False)
    assert forget(kernel, range(1, 10)) == 2
    assert len(kernel.dumps) == 1


def test_passing_failure_is_tried_again_on_another_socket(kernel: Kernel) -> None:
    said: list[str] = []
    connections = conntrack.Connections(report=said.append)
    kernel.entries = [entry(1, 1000)]
    kernel.failures = [errno.ENOMEM]
    assert connections.forget([1]) == 1
    assert (kernel.sockets, kernel.closed) == (2, 1)
    assert said == [
        "connections were forgotten at the second attempt: reading from netfilter: Cannot "
        "allocate memory"
    ]


def test_failure_that_lasts_ends_nothing_for_good(kernel: Kernel) -> None:
    said: list[str] = []
    connections = conntrack.Connections(report=said.append)
    kernel.entries = [entry(2, 1000)]
    kernel.failures = [errno.ENOMEM, errno.ENOBUFS]
    assert connections.forget([1]) == 0
    assert said == [
        "connections of 1 addresses go on as they were: reading from netfilter: No buffer space "
        "available"
    ]
    assert connections.forget([2]) == 1


@pytest.mark.parametrize("code", sorted(conntrack.UNABLE))
def test_kernel_that_cannot_is_not_asked_again(kernel: Kernel, code: int) -> None:
    said: list[str] = []
    connections = conntrack.Connections(report=said.append)
    kernel.failures = [code]
    assert connections.forget([1]) == 0
    assert connections.forget([1]) == 0
    assert len(kernel.dumps) == 1
    (line,) = said
    assert line.endswith("modprobe nf_conntrack_netlink")
