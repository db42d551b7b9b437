"""Many subscribers at once: bring them up at a rate, hold them with traffic, hang up, report."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from l2tpns_core.lab.channel import ChannelOptions
from l2tpns_core.lab.client import CallOptions, Client
from l2tpns_core.lab.lac import Lac, LacOptions
from l2tpns_core.lab.ppp import PppOptions
from l2tpns_core.lab.traffic import Traffic
from l2tpns_core.lab.transport import Impairments, SocketMaker, make_udp_socket
from l2tpns_core.lab.tunnel import Tunnel, TunnelError, TunnelOptions

PROGRESS_INTERVAL_S: Final = 2.0
DRAIN_S: Final = 1.0  # time for the last echo replies to come back
PACE_S: Final = 0.01  # how often the pacing of calls looks at the clock
MAX_LISTED: Final = 20  # failed calls that the summary names

HANGUPS: Final = ("ppp", "call", "tunnel", "vanish")
AUTHS: Final[dict[str, tuple[str, ...]]] = {
    "pap": ("pap",),
    "chap": ("chap",),
    "both": ("chap", "pap"),
}

Report = Callable[[str], None]


@dataclass(slots=True)
class DialOptions:
    """What to dial. Times in seconds, rates per second, impairments in percent."""

    lns: str = "127.0.0.1"
    lns_port: int = 1701
    bind: str = "0.0.0.0"
    bind_port: int = 0
    source_ports: bool = False
    tunnels: int = 1
    sessions: int = 1
    """Over all tunnels."""
    user: str = "user%d"
    """`%d` becomes the number of the session, from 1."""
    password: str = field(default="password", repr=False)
    auth: str = "both"
    secret: str = field(default="", repr=False)
    hidden_avps: bool = False
    rate: float = 0.0
    """Calls per second; 0 for as fast as max_pending allows."""
    max_pending: int = 256
    """Calls that may be in setup at once."""
    setup_timeout_s: float = 30.0
    """From the ICRQ to the address; a call that takes longer has failed."""
    hold_s: float = 0.0
    traffic: float = 0.0
    """Echo requests per second of each session."""
    traffic_total: float = 0.0
    """Echo requests per second of all sessions together."""
    ping: str = ""
    """The target of the traffic."""
    size: int = 64
    """Bytes of each IPv4 packet."""
    echo_interval_s: float = 0.0
    """LCP Echo-Requests of each client; 0 sends none."""
    hangup: str = "ppp"
    sequencing: bool = False
    proxy: bool = False
    compress: bool = False
    window: int = 64
    retransmit_s: float = 1.0
    """First wait before a control message is repeated; it doubles up to eight times as much."""
    impairments: Impairments = field(default_factory=Impairments)
    make_socket: SocketMaker = make_udp_socket


@dataclass(slots=True)
class DialSummary:
    """What came of it; `as_dict()` is what `--json` prints."""

    tunnels_asked: int = 0
    tunnels_up: int = 0
    sessions_asked: int = 0
    sessions_up: int = 0
    sessions_failed: int = 0
    sessions_lost: int = 0
    """Up, and ended by somebody else than us before we hung up."""
    sessions_silent: int = 0
    """Up and with traffic, of which nothing came back."""
    setup_seconds: float = 0.0
    calls_per_second: float = 0.0
    icrq_to_address_s: dict[str, float] = field(default_factory=dict)
    """From each call's ICRQ: p50, p90, p99, max."""
    sccrq_to_address_s: dict[str, float] = field(default_factory=dict)
    """From each tunnel's SCCRQ to the address of its first session."""
    addresses: list[str] = field(default_factory=list)
    duplicate_addresses: int = 0
    traffic_sent: int = 0
    traffic_received: int = 0
    results: dict[str, int] = field(default_factory=dict)
    """CDN and StopCCN messages of the LNS by codes and text."""
    failures: dict[str, int] = field(default_factory=dict)
    """Why calls failed, by reason."""
    failed_calls: list[str] = field(default_factory=list)
    tunnel_failures: list[str] = field(default_factory=list)
    violations: int = 0
    violation_kinds: dict[str, int] = field(default_factory=dict)
    first_violations: list[str] = field(default_factory=list)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    cpu_seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Everything that was asked for worked, and the LNS kept the rules."""
        return (
            self.tunnels_up == self.tunnels_asked
            and self.sessions_up == self.sessions_asked
            and not self.sessions_lost
            and not self.sessions_silent
            and not self.duplicate_addresses
            and not self.violations
        )

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.ok, **asdict(self)}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99 and max in seconds, rounded to 0.1 ms; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    points = {f"p{part}": ordered[round(last * part / 100)] for part in (50, 90, 99)}
    return {name: round(value, 4) for name, value in (points | {"max": ordered[-1]}).items()}


async def dial(options: DialOptions, report: Report = lambda _: None) -> DialSummary:
    """Do what options say, from SCCRQ to StopCCN. `report` hears of the progress, in lines.

    Raises OSError when the socket cannot be had; all else is in the summary.
    """
    run = _Run(options, report)
    try:
        await run.run()
    finally:
        run.lac.close()
    return run.summary


class _Run:
    """One call of dial()."""

    def __init__(self, options: DialOptions, report: Report) -> None:
        self.options = options
        self.report = report
        self.lac = Lac(_lac_options(options))
        self.summary = DialSummary(tunnels_asked=options.tunnels, sessions_asked=options.sessions)
        self.tunnels: list[Tunnel] = []
        self.clients: list[Client] = []
        self.pending: dict[Client, None] = {}
        self.reported_at = self.lac.clock.now()
        self.traffic = Traffic(self.lac.clock, options.ping, options.size)

    async def run(self) -> None:
        cpu = time.process_time()
        started = self.lac.clock.now()
        await self._open_tunnels()
        if self.tunnels:
            await self._place_calls()
            self.summary.setup_seconds = round(self.lac.clock.now() - started, 3)
            await self._hold()
            self._count_sessions()
            await self._hang_up()
        self._finish()
        self.summary.cpu_seconds = round(time.process_time() - cpu, 3)

    async def _open_tunnels(self) -> None:
        tunnels = [self.lac.start_tunnel() for _ in range(self.options.tunnels)]
        for tunnel in tunnels:
            try:
                await tunnel.established
            except TunnelError as error:
                self.summary.tunnel_failures.append(str(error))
            else:
                self.tunnels.append(tunnel)
        self.summary.tunnels_up = len(self.tunnels)
        self._say(f"{len(self.tunnels)} of {self.options.tunnels} tunnels are up", always=True)

    async def _place_calls(self) -> None:
        started = self.lac.clock.now()
        placed = 0
        while placed < self.options.sessions or self.pending:
            now = self.lac.clock.now()
            if placed < self.options.sessions:
                placed += self._place_some(placed, now - started)
            self._sweep_pending(now)
            up = sum(client.is_up for client in self.clients)
            self._say(f"{placed} calls placed, {up} up, {len(self.pending)} pending")
            if placed < self.options.sessions or self.pending:
                await asyncio.sleep(PACE_S)
            if not any(tunnel.end is None for tunnel in self.tunnels):
                break
        self.summary.sessions_failed = self.options.sessions - placed

    def _place_some(self, placed: int, elapsed: float) -> int:
        """Place what the rate allows by now; return how many."""
        due = self.options.sessions
        if self.options.rate:
            due = min(due, int(elapsed * self.options.rate) + 1)
        count = 0
        while placed + count < due and len(self.pending) < self.options.max_pending:
            tunnel = self.tunnels[(placed + count) % len(self.tunnels)]
            if tunnel.end is not None:
                tunnel = next((t for t in self.tunnels if t.end is None), tunnel)
            if tunnel.end is not None:
                break
            client = tunnel.call(_call_options(self.options, placed + count + 1, self.lac))
            self.clients.append(client)
            self.pending[client] = None
            count += 1
        return count

    def _sweep_pending(self, now: float) -> None:
        for client in list(self.pending):
            if client.up_at is not None or client.end is not None:
                del self.pending[client]
            elif now - client.requested_at > self.options.setup_timeout_s:
                del self.pending[client]
                client.ppp_reason = client.ppp_reason or (
                    f"no address after {self.options.setup_timeout_s:g} s "
                    f"(link in phase {client.ppp.phase.value})"
                )
                client.disconnect(1, text="setup timed out")

    async def _hold(self) -> None:
        """Stay up with traffic for as long as asked."""
        up = [client for client in self.clients if client.is_up]
        rate = self.options.traffic_total or self.options.traffic * len(up)
        if rate:
            self.traffic.start(up, rate)
        end = self.lac.clock.now() + self.options.hold_s
        while (left := end - self.lac.clock.now()) > 0:
            await asyncio.sleep(min(left, 0.5))
            self._say(
                f"{sum(client.is_up for client in self.clients)} up, "
                f"{self.traffic.sent} echo requests sent, {left:.0f} s left"
            )
        if rate:
            self.traffic.stop()
            await asyncio.sleep(DRAIN_S)

    def _count_sessions(self) -> None:
        summary = self.summary
        up = [client for client in self.clients if client.up_at is not None]
        summary.sessions_up = len(up)
        summary.sessions_failed += len(self.clients) - len(up)
        summary.sessions_lost = sum(not client.is_up for client in up)
        summary.addresses = [client.ip for client in up if client.is_up]
        summary.duplicate_addresses = len(summary.addresses) - len(set(summary.addresses))
        if self.traffic.sent:
            summary.sessions_silent = sum(
                client.packets_sent > 0 and not client.echo_replies for client in up
            )
            summary.traffic_sent = self.traffic.sent
            summary.traffic_received = sum(client.echo_replies for client in up)
        self._count_latencies(up)
        self._count_failures()

    def _count_latencies(self, up: list[Client]) -> None:
        first: dict[int, float] = {}
        latencies = []
        for client in up:
            assert client.up_at is not None
            latencies.append(client.up_at - client.requested_at)
            first[client.tunnel.local_id] = min(
                first.get(client.tunnel.local_id, client.up_at), client.up_at
            )
        self.summary.icrq_to_address_s = percentiles(latencies)
        self.summary.sccrq_to_address_s = percentiles(
            [first[t.local_id] - t.requested_at for t in self.tunnels if t.local_id in first]
        )
        if up:
            span = max(c.up_at or 0.0 for c in up) - min(c.requested_at for c in up)
            self.summary.calls_per_second = round(len(up) / max(span, 1e-6), 1)

    def _count_failures(self) -> None:
        failures: Counter[str] = Counter()
        for client in self.clients:
            if client.is_up:
                continue
            reason = str(client.end or "silent")
            if client.ppp.refused:
                reason += ", login refused"
            if client.ppp_reason:
                reason += f", {client.ppp_reason}"
            failures[reason] += 1
            if len(self.summary.failed_calls) < MAX_LISTED:
                self.summary.failed_calls.append(f"{client.ppp.options.user}: {reason}")
        self.summary.failures = dict(failures.most_common(MAX_LISTED))

    async def _hang_up(self) -> None:
        how = self.options.hangup
        alive = [client for client in self.clients if client.end is None]
        self._say(f"hanging up {len(alive)} calls ({how})", always=True)
        if how == "vanish":
            for tunnel in self.tunnels:
                tunnel.vanish()
            return
        if how in ("ppp", "call"):
            for start in range(0, len(alive), self.options.max_pending):
                batch = alive[start : start + self.options.max_pending]
                for client in batch:
                    if client.end is None:
                        client.hangup(how)
                await asyncio.gather(*(client.down for client in batch))
        for tunnel in self.tunnels:
            tunnel.close()
        await asyncio.gather(*(tunnel.closed for tunnel in self.tunnels))

    def _finish(self) -> None:
        summary, lac = self.summary, self.lac
        summary.results = dict(lac.results)
        summary.violations = lac.violations.count
        summary.violation_kinds = dict(lac.violations.kinds.most_common())
        summary.first_violations = [str(v) for v in lac.violations.kept[:MAX_LISTED]]
        summary.counters = {
            "channel": asdict(lac.channel_counters),
            "ppp": asdict(lac.ppp_counters),
            "datagrams": asdict(lac.transport_counters) | {"late_data": lac.late_data},
        }

    def _say(self, text: str, always: bool = False) -> None:
        now = self.lac.clock.now()
        if always or now - self.reported_at >= PROGRESS_INTERVAL_S:
            self.reported_at = now
            self.report(text)


def _lac_options(options: DialOptions) -> LacOptions:
    tunnel = TunnelOptions(
        secret=options.secret.encode(),
        hide_avps=options.hidden_avps,
        channel=ChannelOptions(
            window=options.window,
            retransmit_s=options.retransmit_s,
            retransmit_cap_s=options.retransmit_s * 8,
        ),
    )
    return LacOptions(
        lns=options.lns,
        lns_port=options.lns_port,
        bind=options.bind,
        bind_port=options.bind_port,
        source_ports=options.source_ports,
        impairments=options.impairments,
        tunnel=tunnel,
        make_socket=options.make_socket,
    )


def _call_options(options: DialOptions, number: int, lac: Lac) -> CallOptions:
    ppp = PppOptions(
        user=options.user.replace("%d", str(number)),
        password=options.password.replace("%d", str(number)),
        auth=AUTHS[options.auth],
        echo_interval_s=options.echo_interval_s,
        compress=options.compress,
        strict=not lac.options.impairments.spoils(control=False),
    )
    return CallOptions(
        ppp=ppp,
        calling_number=f"555{number:07d}",
        called_number="5550000000",
        sequencing=options.sequencing,
        proxy=options.proxy,
    )
