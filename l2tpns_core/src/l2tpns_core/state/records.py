"""What there is to be known of an LNS, as records: what has changed, and everything.

A journal on the disk and the slaves of a cluster are told the same; each has a Records of its own,
which knows what it was told already.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, Protocol

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.l2tp.saved import SavedChannel, SavedMessage
from l2tpns_core.lns import Lns
from l2tpns_core.lns.state import TunnelEntry
from l2tpns_core.radius.model import AccountingRecord
from l2tpns_core.session import Session, SessionState
from l2tpns_core.state.codec import encode
from l2tpns_core.state.image import SavedAddress
from l2tpns_core.state.model import export, shifted
from l2tpns_core.state.reports import SavedReport

SLICE: Final = 64
"""Sessions that are looked at before the loop is free again."""
MAX_PLUGIN_DATA: Final = 4096
"""Characters of JSON that plugins may keep with a session."""

Record = list[Any]


class CountingPlane(Protocol):
    """What is asked of the data plane."""

    def counters(self, key: int) -> SessionCounters: ...

    def own_counters(self, key: int) -> SessionCounters:
        """The part of that which ends with this process."""


class Records:
    """Makes the records for one reader."""

    def __init__(self, lns: Lns, plane: CountingPlane) -> None:
        self._lns = lns
        self._plane = plane
        self._sessions: dict[int, Session | None] = {}
        self._tunnels: dict[int, TunnelEntry] = {}
        self._reports: dict[str, SavedReport] = {}
        """Starts and Stops that are under way, by name."""
        self._known: dict[int, tuple[int, int, int, int]] = {}
        """Of tunnels that the reader knows: acknowledged, next Ns and Nr, messages queued."""
        self.counted: dict[int, SessionCounters] = {}
        """What the reader knows of the counters of sessions."""
        self._round: Iterator[int] = iter(())

    # What the LNS tells (lns.state.Keeper)

    def session_changed(self, session: Session) -> None:
        self._sessions[session.key] = session

    def session_ended(self, session: Session) -> None:
        self._sessions[session.key] = None

    def tunnel_changed(self, entry: TunnelEntry) -> None:
        self._tunnels[entry.tunnel.local_id] = entry

    def report_sent(self, record: AccountingRecord) -> list[Record]:
        """The records of a report that is about to go out, and of all that was told before."""
        report = SavedReport.of(record)
        if report is None:
            return []
        self._reports[report.name] = report
        return [["e", encode(report)], *self.changes()]

    def report_settled(self, record: AccountingRecord) -> list[Record]:
        report = SavedReport.of(record)
        if report is None or self._reports.pop(report.name, None) is None:
            return []
        return [["E", report.name]]

    def take_reports(self) -> list[SavedReport]:
        """Forget the reports that are under way, and say which they were."""
        found, self._reports = list(self._reports.values()), {}
        return found

    # Records

    @property
    def has_changes(self) -> bool:
        return bool(self._sessions or self._tunnels)

    def changes(self) -> list[Record]:
        """The records of what was told since the last time."""
        now, wall = self._lns.clock(), self._lns.wall()
        records: list[Record] = []
        for key, session in self._sessions.items():
            if session is None or session.state is SessionState.ENDED:
                records.append(["S", key])
                self.counted.pop(key, None)
            else:
                records.append(session_record(session, now, wall))
        for entry in self._tunnels.values():
            records += self._tunnel_records(entry)
        self._sessions.clear()
        self._tunnels.clear()
        return records

    def forget_changes(self) -> None:
        """The reader gets everything anyway."""
        self._sessions.clear()
        self._tunnels.clear()

    def forget_sessions(self) -> None:
        """The reader knows the sessions as they are."""
        self._sessions.clear()

    def forget_tunnels(self) -> None:
        """The reader is told each tunnel from the start."""
        self._known.clear()

    def start_over(self) -> None:
        """The reader knows nothing: tell each tunnel from the start, and all counters."""
        self._known.clear()
        self.counted.clear()

    def _tunnel_records(self, entry: TunnelEntry) -> Iterable[Record]:
        """What has changed of a tunnel since its last record."""
        tunnel = entry.tunnel
        number, channel = tunnel.local_id, tunnel.channel
        known = self._known.get(number)
        saved = tunnel.export()
        if saved is None or entry.ended:
            if self._known.pop(number, None) is not None:
                yield ["T", number]
            return
        if known is None:
            yield ["t", encode(saved)]
            part = channel.export()
        else:
            part = channel.export(channel.queued - known[-1])
        position = (part.acknowledged, part.next_ns, part.next_nr, channel.queued)
        if position != known:
            self._known[number] = position
            yield ["m", channel_record(number, part)]

    def next_in_turn(self, wanted: int) -> list[int]:
        """The next sessions whose counters are told."""
        keys = list(islice(self._round, wanted))
        if not keys:
            self._round = iter(list(self._lns.sessions))
            keys = list(islice(self._round, wanted))
        return keys

    def counters_of(self, keys: Iterable[int]) -> Iterator[Record]:
        """The counters of sessions, where they have changed."""
        for key in keys:
            total = self._plane.counters(key)
            if self.counted.get(key, NOTHING)[:4] != total[:4] and key in self._lns.sessions:
                self.counted[key] = total
                yield self.counters_record(key, total)

    def counters_record(self, key: int, total: SessionCounters) -> Record:
        ahead = self._lns.wall() - self._lns.clock()
        own = self._plane.own_counters(key)
        return ["c", [key, *shifted(total, ahead), *shifted(own, ahead)]]

    def time(self, kind: str) -> Record:
        return [kind, {"time": self._lns.wall(), "unique": self._lns.highest_unique}]

    def everything(self) -> Iterator[list[Record]]:
        """All there is, a slice at a time, each as it is when it is asked for. What the reader
        was told before does not matter, and stays as it is."""
        lns = self._lns
        yield [self.time("w")]
        for tunnel in list(lns.endpoint.tunnels.values()):
            saved = tunnel.export()
            if saved is not None:
                channel = channel_record(tunnel.local_id, tunnel.channel.export())
                yield [["t", encode(saved)], ["m", channel]]
        sessions = list(lns.sessions.values())
        for start in range(0, len(sessions), SLICE):
            now, wall = lns.clock(), lns.wall()
            some = [
                session
                for session in sessions[start : start + SLICE]
                if session.state is not SessionState.ENDED
            ]
            counters = ((each.key, self._plane.counters(each.key)) for each in some)
            yield [
                *(session_record(session, now, wall) for session in some),
                *(self.counters_record(*each) for each in counters if any(each[1][:4])),
            ]
        ahead = lns.wall() - lns.clock()
        reports = list(self._reports.values())
        for start in range(0, len(reports), SLICE):
            yield [["e", encode(report)] for report in reports[start : start + SLICE]]
        kept = lns.pool.kept()
        for start in range(0, len(kept), SLICE):
            yield [
                ["p", encode(SavedAddress(ip, user, freed_at + ahead))]
                for ip, user, freed_at in kept[start : start + SLICE]
            ]


NOTHING: Final = SessionCounters()


def session_record(session: Session, now: float, wall: float) -> Record:
    return ["s", encode(export(session, now, wall, plugin_data_of(session)))]


def channel_record(number: int, part: SavedChannel) -> Record:
    messages = [[sid, encode(body), answer] for sid, body, answer in map(_fields, part.messages)]
    return [number, part.acknowledged, part.next_ns, part.next_nr, messages]


def plugin_data_of(session: Session) -> str:
    """What plugins keep with a session, each as far as it is JSON and short."""
    kept = {}
    for name, value in (session.plugin_data or {}).items():
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            continue  # an object that means nothing to another process
        if len(text) <= MAX_PLUGIN_DATA:
            kept[name] = value
    return json.dumps(kept) if kept else ""


def _fields(message: SavedMessage) -> tuple[int, bytes, bool]:
    return message.session_id, message.body, message.is_answer
