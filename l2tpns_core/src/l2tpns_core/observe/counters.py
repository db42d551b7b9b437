"""Counters as the operator sees them: traffic tables, named values, and the bandwidth line.

The parts of the daemon count upwards for ever; `clear counters` only moves the zero of what is
shown, so that nobody else who reads a counter sees it fall.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

BITS: Final = 8
MEGA: Final = 1_000_000


class Traffic(NamedTuple):
    """One side's totals: the tun device ("Ethernet") or the L2TP socket ("Tunnel")."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_retries: int = 0


class TrafficTotals(NamedTuple):
    """Both sides since the start."""

    ethernet: Traffic = Traffic()
    tunnel: Traffic = Traffic()


@dataclass(slots=True, frozen=True)
class Bandwidth:
    """Rates over the last second; `up` is from the LACs (user uploads), `down` towards them."""

    up_received_bps: float = 0.0
    """Bits per second from the LACs, as UDP payload."""
    up_sent_bps: float = 0.0
    """Bits per second into the network, as IP packets."""
    down_received_bps: float = 0.0
    down_sent_bps: float = 0.0
    up_pps: float = 0.0
    """Packets per second from the LACs."""
    down_pps: float = 0.0

    @property
    def total_bps(self) -> float:
        """The sum of all four, as in the original: forwarded traffic counts twice."""
        return self.up_received_bps + self.up_sent_bps + self.down_received_bps + self.down_sent_bps


def speed_line(rates: Bandwidth) -> str:
    """The figures of the `Bandwidth:` line, in Mbit/s and packets/s (manual, "uptime")."""
    up = f"{rates.up_received_bps / MEGA:.0f}/{rates.up_sent_bps / MEGA:.0f}"
    down = f"{rates.down_received_bps / MEGA:.0f}/{rates.down_sent_bps / MEGA:.0f}"
    total = f"{rates.total_bps / MEGA:.1f}"
    return (
        f"UDP-ETH:{up}  ETH-UDP:{down}  TOTAL:{total}   "
        f"IN:{rates.up_pps:.0f} OUT:{rates.down_pps:.0f}"
    )


class BandwidthMeter:
    """Turns totals into rates; the daemon calls update() about once a second."""

    __slots__ = ("_at", "_totals", "rates")

    def __init__(self) -> None:
        self.rates = Bandwidth()
        self._totals: TrafficTotals | None = None
        self._at = 0.0

    def update(self, totals: TrafficTotals, now: float) -> Bandwidth:
        """Take over the totals at `now` (monotonic seconds) and return the rates since the last
        call; the first call only remembers."""
        before, elapsed = self._totals, now - self._at
        if before is not None and elapsed <= 0:
            return self.rates
        if before is not None:
            ethernet, tunnel = totals.ethernet, totals.tunnel
            self.rates = Bandwidth(
                up_received_bps=(tunnel.rx_bytes - before.tunnel.rx_bytes) * BITS / elapsed,
                up_sent_bps=(ethernet.tx_bytes - before.ethernet.tx_bytes) * BITS / elapsed,
                down_received_bps=(ethernet.rx_bytes - before.ethernet.rx_bytes) * BITS / elapsed,
                down_sent_bps=(tunnel.tx_bytes - before.tunnel.tx_bytes) * BITS / elapsed,
                up_pps=(tunnel.rx_packets - before.tunnel.rx_packets) / elapsed,
                down_pps=(ethernet.rx_packets - before.ethernet.rx_packets) / elapsed,
            )
        self._totals, self._at = totals, now
        return self.rates


def counters_of(record: Any) -> dict[str, int]:
    """The integer fields of a dataclass of counters, by name."""
    values = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    return {name: value for name, value in values.items() if isinstance(value, int)}


class CounterBoard:
    """All counters of the daemon in one place.

    `traffic` gives the totals of both sides; each group of `groups` gives named values.
    """

    def __init__(
        self,
        traffic: Callable[[], TrafficTotals],
        groups: Mapping[str, Callable[[], Mapping[str, int]]],
        wall: Callable[[], float],
    ) -> None:
        self._traffic = traffic
        self._groups = dict(groups)
        self._wall = wall
        self._traffic_zero = TrafficTotals()
        self._zeros: dict[str, dict[str, int]] = {}
        self.reset_time = wall()
        """Unix time of the last clear()."""

    def add(self, group: str, read: Callable[[], Mapping[str, int]]) -> None:
        """Have one more group of named values."""
        self._groups[group] = read

    def traffic(self) -> TrafficTotals:
        """Both sides since the last clear()."""
        now = self._traffic()
        return TrafficTotals(
            _difference(now.ethernet, self._traffic_zero.ethernet),
            _difference(now.tunnel, self._traffic_zero.tunnel),
        )

    def raw_values(self) -> dict[str, dict[str, int]]:
        """Every named value since the start, by group and name."""
        return {group: dict(read()) for group, read in self._groups.items()}

    def values(self) -> dict[str, dict[str, int]]:
        """Every named value since the last clear(), by group and name."""
        result: dict[str, dict[str, int]] = {}
        for group, read in self._groups.items():
            zeros = self._zeros.get(group, {})
            result[group] = {name: value - zeros.get(name, 0) for name, value in read().items()}
        return result

    def clear(self) -> None:
        """Show everything from zero again."""
        self._traffic_zero = self._traffic()
        self._zeros = {group: dict(read()) for group, read in self._groups.items()}
        self.reset_time = self._wall()


def _difference(now: Traffic, before: Traffic) -> Traffic:
    return Traffic(*(value - zero for value, zero in zip(now, before, strict=True)))
