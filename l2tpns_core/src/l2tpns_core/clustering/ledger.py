"""Accounting in a cluster: what slaves have counted gets into the records, and no record goes out
that the next master would send again."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from l2tpns_core.cluster.counts import Count
from l2tpns_core.clustering.counting import as_counters
from l2tpns_core.clustering.keeper import Gate
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.lns import Lns
from l2tpns_core.radius.model import (
    AccessReply,
    AccessRequest,
    AccountingRecord,
    AccountingStatus,
    Usage,
)
from l2tpns_core.radius.spool.courier import Courier
from l2tpns_core.state.records import Record, Records

Done = Callable[[bool], None]


class CreditedPlane(Protocol):
    """What is asked of the data plane."""

    def add(self, key: int, more: SessionCounters) -> None: ...


class Ledger:
    """An Authenticator (radius.model) in front of the courier. A Stop waits for what slaves have
    still to report of its session."""

    def __init__(
        self,
        courier: Courier,
        gate: Gate,
        hold_s: Callable[[], float],
        tell: Callable[[AccountingRecord], None],
        decides: Callable[[], bool] = lambda: True,
    ) -> None:
        """`tell` tells keepers of a record that has changed before it went out; `decides` says
        whether the LNS is at work."""
        self._courier = courier
        self._gate = gate
        self._hold_s = hold_s
        self._tell = tell
        self._decides = decides
        self._late: list[Callable[[], None]] = []
        """Answers to logins that came while the LNS was not at work."""
        self._stops: dict[int, tuple[AccountingRecord, Done, asyncio.TimerHandle]] = {}
        self._epoch = 0

    # radius.model.Authenticator

    def authenticate(self, request: AccessRequest, done: Callable[[AccessReply], None]) -> int:
        return self._courier.authenticate(request, partial(self._answered, done))

    def cancel(self, handle: int) -> None:
        self._courier.cancel(handle)

    def _answered(self, done: Callable[[AccessReply], None], reply: AccessReply) -> None:
        if self._decides():
            done(reply)
        else:
            self._late.append(partial(done, reply))

    def account(self, record: AccountingRecord, done: Done) -> int:
        hold_s = self._hold_s()
        if record.status is AccountingStatus.STOP and record.identity is not None and hold_s:
            key = record.identity.session_key
            self._release(key)
            handle = asyncio.get_running_loop().call_later(hold_s, self._release, key)
            self._stops[key] = (record, done, handle)
        else:
            self._send(record, done)
        return 0

    def _release(self, key: int) -> None:
        held = self._stops.pop(key, None)
        if held is not None:
            held[2].cancel()
            self._send(held[0], held[1])

    def _send(self, record: AccountingRecord, done: Done) -> None:
        if record.status in (AccountingStatus.START, AccountingStatus.STOP):
            self._gate.pass_on(partial(self._hand_on, record, self._if_ours(done)))
        else:
            self._hand_on(record, self._if_ours(done))

    def _hand_on(self, record: AccountingRecord, done: Done) -> None:
        self._courier.account(record, done)

    def _if_ours(self, done: Done) -> Done:
        """Tell the outcome unless this node has ceased to be master meanwhile."""
        epoch = self._epoch

        def told(delivered: bool) -> None:
            if epoch == self._epoch:
                done(delivered)

        return told

    # What the service does with it

    def begin(self) -> None:
        """This node becomes master."""
        self._epoch += 1

    def resume(self) -> None:
        """The LNS is at work again, with the sessions that it had."""
        late, self._late = self._late, []
        for answer in late:
            answer()

    def forget(self) -> None:
        """Its sessions are gone."""
        self._late.clear()

    def drop(self) -> None:
        """Another master sends what was under way."""
        self._epoch += 1
        for _, _, handle in self._stops.values():
            handle.cancel()
        self._stops.clear()
        self._courier.abandon()

    async def flush(self) -> None:
        """Send what waits, and wait until it is delivered or safe."""
        for key in list(self._stops):
            self._release(key)
        await self._courier.settle(2.0)

    def credit(
        self,
        counts: Mapping[int, Count],
        lns: Lns,
        plane: CreditedPlane,
        records: Records,
        ahead: float,
    ) -> list[Record]:
        """Count what sessions used at a slave; returns the rows that slaves are told."""
        for key, count in counts.items():
            if key in lns.sessions:
                plane.add(key, as_counters(count, ahead))
            elif key in self._stops:
                self._add_to_stop(self._stops[key][0], count)
        return list(records.counters_of(counts))

    def _add_to_stop(self, record: AccountingRecord, count: Count) -> None:
        usage = record.usage or Usage(0, 0, 0, 0)
        record.usage = Usage(
            usage.octets_in + count.octets_in,
            usage.octets_out + count.octets_out,
            usage.packets_in + count.packets_in,
            usage.packets_out + count.packets_out,
        )
        self._tell(record)
