"""The state that files describe: their records applied one after another."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.l2tp.saved import MAX_NUMBER, SavedChannel, SavedMessage, SavedTunnel
from l2tpns_core.state.codec import MAX_INTEGER, decode, without_unknown
from l2tpns_core.state.errors import StateError
from l2tpns_core.state.model import Counted, SavedSession
from l2tpns_core.state.reports import SavedReport

MAX_KEY: Final = (1 << 32) - 1
COUNTERS: Final = 6
"""Numbers of a SessionCounters."""


@dataclass(slots=True, frozen=True)
class SavedAddress:
    """An address that is kept for the user who had it."""

    ip: int
    user: str
    freed_time: float


@dataclass(slots=True, frozen=True)
class _Tick:
    time: float
    unique: int


@dataclass(slots=True, frozen=True)
class _Key:
    key: int

    def __post_init__(self) -> None:
        if self.key > MAX_KEY:
            raise ValueError("it is out of its range")


@dataclass(slots=True)
class Channel:
    """A control connection that records are applied to."""

    acknowledged: int
    next_ns: int
    next_nr: int
    messages: list[SavedMessage] = field(default_factory=list)

    def follow(self, change: SavedChannel) -> None:
        """Take what the peer acknowledged out of the queue, and put new messages behind it."""
        count = change.acknowledged - self.acknowledged & MAX_NUMBER
        del self.messages[:count]
        self.acknowledged, self.next_ns = change.acknowledged, change.next_ns
        self.next_nr = change.next_nr
        self.messages += change.messages

    def saved(self) -> SavedChannel:
        return SavedChannel(self.acknowledged, self.next_ns, self.next_nr, tuple(self.messages))


class Image:
    """All that is known. `apply` raises StateError for a record that makes no sense."""

    def __init__(self) -> None:
        self.tunnels: dict[int, SavedTunnel] = {}
        self.channels: dict[int, Channel] = {}
        self.sessions: dict[int, SavedSession] = {}
        self.counted: dict[int, Counted] = {}
        self.addresses: dict[int, SavedAddress] = {}
        """Those of the pool that are kept for the users who had them."""
        self.reports: dict[str, SavedReport] = {}
        """Starts and Stops that nobody has acknowledged, by name."""
        self.unique = 0
        """The highest number that a session was given."""
        self.time = 0.0
        """When this was known to be so; Unix seconds."""
        self.stopped = False
        """The process has ended in peace: nothing has changed since."""

    @property
    def is_empty(self) -> bool:
        return not self.tunnels and not self.sessions and not self.reports

    def apply(self, record: list[Any]) -> None:
        handler = _HANDLERS.get(record[0]) if isinstance(record[0], str) else None
        if handler is None or len(record) != 2:
            raise StateError("there is a record of an unknown kind")
        handler(self, record[1])

    def apply_of_any_version(self, record: list[Any]) -> None:
        """As apply(), and what a later version has added is left out."""
        try:
            self.apply(record)
        except StateError:
            kind = _KINDS.get(record[0]) if isinstance(record[0], str) else None
            if kind is None or len(record) != 2:
                raise
            self.apply([record[0], without_unknown(kind, record[1])])

    def _tunnel(self, raw: object) -> None:
        tunnel = decode(SavedTunnel, raw)
        self.tunnels[tunnel.local_id] = tunnel
        self.channels[tunnel.local_id] = Channel(0, 0, 0)

    def _channel(self, raw: object) -> None:
        if not isinstance(raw, list) or len(raw) != 5:
            raise StateError("what should be a control connection is none")
        number = decode(_Key, {"key": raw[0]}).key
        messages = decode(_Messages, {"messages": raw[4]}).messages
        numbers = decode(_Numbers, {"numbers": raw[1:4]}).numbers
        channel = self.channels.get(number)
        if channel is not None:
            queue = tuple(SavedMessage(*message) for message in messages)
            channel.follow(SavedChannel(*numbers, queue))

    def _tunnel_gone(self, raw: object) -> None:
        number = decode(_Key, {"key": raw}).key
        self.tunnels.pop(number, None)
        self.channels.pop(number, None)

    def _session(self, raw: object) -> None:
        session = decode(SavedSession, raw)
        if session.key not in self.sessions:
            self.counted.pop(session.key, None)
        self.sessions[session.key] = session
        self.addresses.pop(session.ip, None)
        self.unique = max(self.unique, session.unique)

    def _session_gone(self, raw: object) -> None:
        key = decode(_Key, {"key": raw}).key
        session = self.sessions.pop(key, None)
        self.counted.pop(key, None)
        if session is not None and session.keeps_address:
            self.addresses[session.ip] = SavedAddress(session.ip, session.user, self.time)

    def _counters(self, raw: object) -> None:
        if not isinstance(raw, list) or len(raw) != 1 + 2 * COUNTERS or not _are_numbers(raw):
            raise StateError("what should be counters is none")
        self.counted[int(raw[0])] = Counted(
            _session_counters(raw[1 : 1 + COUNTERS]), _session_counters(raw[1 + COUNTERS :])
        )

    def _report_sent(self, raw: object) -> None:
        report = decode(SavedReport, raw)
        self.reports[report.name] = report

    def _report_settled(self, raw: object) -> None:
        self.reports.pop(decode(str, raw), None)

    def _address(self, raw: object) -> None:
        address = decode(SavedAddress, raw)
        self.addresses[address.ip] = address

    def _tick(self, raw: object) -> None:
        tick = decode(_Tick, raw)
        self.time, self.unique = tick.time, max(self.unique, tick.unique)
        self.stopped = False

    def _stop(self, raw: object) -> None:
        self._tick(raw)
        self.stopped = True


@dataclass(slots=True, frozen=True)
class _Messages:
    messages: tuple[tuple[int, bytes, bool], ...]


@dataclass(slots=True, frozen=True)
class _Numbers:
    numbers: tuple[int, int, int]

    def __post_init__(self) -> None:
        SavedChannel(*self.numbers)


def _are_numbers(raw: list[object]) -> bool:
    """Also that none is too large; there are very many of these records."""
    return all(type(each) in (int, float) and 0 <= each <= MAX_INTEGER for each in raw)  # type: ignore[operator]


def _session_counters(numbers: list[float]) -> SessionCounters:
    octets_in, octets_out, packets_in, packets_out, heard_at, data_at = numbers
    return SessionCounters(
        int(octets_in), int(octets_out), int(packets_in), int(packets_out), heard_at, data_at
    )


_HANDLERS: Final[dict[str, Callable[[Image, object], None]]] = {
    "t": Image._tunnel,
    "m": Image._channel,
    "T": Image._tunnel_gone,
    "s": Image._session,
    "S": Image._session_gone,
    "c": Image._counters,
    "e": Image._report_sent,
    "E": Image._report_settled,
    "p": Image._address,
    "w": Image._tick,
    "stop": Image._stop,
}
_KINDS: Final[dict[str, type]] = {
    "t": SavedTunnel,
    "s": SavedSession,
    "e": SavedReport,
    "p": SavedAddress,
    "w": _Tick,
    "stop": _Tick,
}
"""Of records that are dataclasses."""
