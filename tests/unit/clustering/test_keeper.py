"""What others may see waits until the slaves know it; Stops wait for the last counts."""

import asyncio
from types import SimpleNamespace
from typing import Any

from l2tpns_core.cluster.counts import Count
from l2tpns_core.cluster.role import NotMasterError
from l2tpns_core.clustering.keeper import ClusterKeeper, Gate
from l2tpns_core.clustering.ledger import Ledger
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.radius.model import AccountingRecord, AccountingStatus, SessionIdentity, Usage


class Node:
    """A master with slaves that are slow."""

    def __init__(self) -> None:
        self.is_master = True
        self.safe = 0
        self.rows: list[Any] = []
        self.slaves = 2

    def offer(self, rows: list[Any], now: float, reports: object = None) -> int:
        if not self.is_master:
            raise NotMasterError
        self.rows += rows
        return len(self.rows)

    def followers(self, now: float) -> int:
        return self.slaves


def make() -> tuple[Node, ClusterKeeper, Gate]:
    node = Node()
    records: Any = SimpleNamespace(
        has_changes=False,
        changes=list,
        forget_changes=lambda: None,
        start_over=lambda: None,
        take_reports=list,
    )
    keeper = ClusterKeeper(records, lambda: 0.0)
    keeper.node = node  # type: ignore[assignment]
    keeper.is_ready = True
    return node, keeper, Gate(keeper, lambda: 0.0)


def test_the_gate_opens_in_order() -> None:
    node, keeper, gate = make()
    seen: list[str] = []
    keeper.offer([["S", 1]])
    gate.pass_on(lambda: seen.append("first"))
    keeper.offer([["S", 2]])
    gate.pass_on(lambda: seen.append("second"))
    gate.opened(1)
    assert seen == ["first"]
    gate.pass_on(lambda: seen.append("third"))
    gate.opened(2)
    assert seen == ["first", "second", "third"]
    node.safe = 2
    gate.pass_on(lambda: seen.append("fourth"))
    assert seen[-1] == "fourth", "nothing that is not safe is behind it"


def test_without_slaves_nobody_waits() -> None:
    node, keeper, gate = make()
    node.slaves = 0
    seen: list[int] = []
    keeper.offer([["S", 1]])
    gate.pass_on(lambda: seen.append(1))
    assert seen == [1]


def test_what_is_held_when_another_decides_is_never_seen() -> None:
    _, keeper, gate = make()
    seen: list[int] = []
    keeper.offer([["S", 1]])
    gate.pass_on(lambda: seen.append(1))
    gate.drop()
    gate.opened(99)
    assert seen == []


def test_rows_of_a_master_that_resigns_wait_until_it_resumes() -> None:
    node, keeper, _ = make()
    node.is_master = False
    keeper.offer([["S", 1]])
    assert node.rows == []
    node.is_master = True
    keeper.offer([["S", 2]])
    assert node.rows == [["S", 1], ["S", 2]]
    node.is_master = False
    keeper.offer([["S", 3]])
    keeper.forget()
    node.is_master = True
    keeper.offer([["S", 4]])
    assert node.rows[-1] == ["S", 4]
    assert ["S", 3] not in node.rows


class Courier:
    def __init__(self) -> None:
        self.sent: list[tuple[AccountingRecord, Any]] = []
        self.abandoned = 0

    def account(self, record: AccountingRecord, done: Any) -> int:
        self.sent.append((record, done))
        return 0

    def abandon(self) -> None:
        self.abandoned += 1

    async def settle(self, timeout_s: float) -> None:
        pass


KEY = 0x70001


def record(status: AccountingStatus) -> AccountingRecord:
    identity = SessionIdentity(KEY, 7, 1, "alice", "id", "", "", "", "", 0, 0, ())
    found = AccountingRecord(status, 1.0, identity)
    found.usage = Usage(100, 200, 1, 2)
    return found


def ledger_of(gate: Gate, hold_s: float) -> tuple[Ledger, Courier, list[AccountingRecord]]:
    courier, told = Courier(), list[AccountingRecord]()
    return Ledger(courier, gate, lambda: hold_s, told.append), courier, told  # type: ignore[arg-type]


class Plane:
    def __init__(self) -> None:
        self.added: list[tuple[int, SessionCounters]] = []

    def add(self, key: int, more: SessionCounters) -> None:
        self.added.append((key, more))


def credit(ledger: Ledger, plane: Plane, *, is_up: bool) -> None:
    lns: Any = SimpleNamespace(sessions={KEY: object()} if is_up else {})
    records: Any = SimpleNamespace(counters_of=lambda keys: [])
    ledger.credit({KEY: Count(5, 6, 1, 1, 9)}, lns, plane, records, 0.0)


def test_a_stop_has_what_slaves_report_late() -> None:
    async def story() -> None:
        _, _, gate = make()
        ledger, courier, told = ledger_of(gate, 0.05)
        plane, stop = Plane(), record(AccountingStatus.STOP)
        credit(ledger, plane, is_up=True)
        assert plane.added == [(KEY, SessionCounters(5, 6, 1, 1, 9.0, 9.0))]
        ledger.account(stop, lambda delivered: None)
        credit(ledger, plane, is_up=False)
        assert not courier.sent
        await asyncio.sleep(0.1)
        assert [sent for sent, _ in courier.sent] == [stop]
        assert stop.usage == Usage(105, 206, 2, 3)
        assert told == [stop], "the slaves must know the record as it goes out"

    asyncio.run(story())


def test_without_slaves_a_stop_goes_out_at_once() -> None:
    _, _, gate = make()
    ledger, courier, _ = ledger_of(gate, 0.0)
    ledger.account(record(AccountingStatus.STOP), lambda delivered: None)
    ledger.account(record(AccountingStatus.START), lambda delivered: None)
    ledger.account(record(AccountingStatus.INTERIM), lambda delivered: None)
    assert len(courier.sent) == 3


def test_a_node_that_steps_down_sends_nothing_more_and_hears_of_nothing() -> None:
    async def story() -> None:
        node, keeper, gate = make()
        ledger, courier, _ = ledger_of(gate, 0.05)
        heard: list[bool] = []
        ledger.account(record(AccountingStatus.INTERIM), heard.append)
        ledger.account(record(AccountingStatus.STOP), heard.append)
        keeper.offer([["S", 1]])
        ledger.account(record(AccountingStatus.START), heard.append)
        ledger.drop()
        gate.drop()
        courier.sent[0][1](True)
        await asyncio.sleep(0.1)
        gate.opened(99)
        assert len(courier.sent) == 1, "the Interim that was out already"
        assert heard == []
        assert courier.abandoned == 1
        assert node.is_master

    asyncio.run(story())
