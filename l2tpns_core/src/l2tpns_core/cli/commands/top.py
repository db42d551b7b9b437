"""`show top`: one look at what goes on; `l2tpns-cli top` shows it again and again."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from l2tpns_core.cli.answer import Answer
from l2tpns_core.cli.commands.status import duration
from l2tpns_core.cli.commands.targets import live
from l2tpns_core.cli.context import CommandContext, ServerView
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, CommandSet
from l2tpns_core.config.errors import shown
from l2tpns_core.observe.busiest import KEPT, Rates
from l2tpns_core.observe.text import token
from l2tpns_core.session import Session

COMMANDS = CommandSet()
SHOWN: Final = 10
"""Users, if nothing else is said."""
HEADER: Final = (
    f"{'SID':>5} {'TID':>5} {'Username':<32} {'IP':<15} {'down kbit/s':>12} {'up kbit/s':>12} LAC"
)
KILO: Final = 1000
MEGA: Final = 1_000_000


@dataclass(slots=True)
class Top:
    """The busiest sessions among what they share."""

    context: CommandContext
    count: int

    def text(self) -> Iterator[str | None]:
        yield from self._look()
        yield from self._summary_lines()
        yield from self._radius_lines()
        yield ""
        interval = self.context.busiest.interval_s
        if not interval:
            yield "The busiest users are known at the next look."
            return
        yield f"Busiest of {interval:.1f} s:"
        yield HEADER
        for session, rates in self._busiest():
            user, address = token(session.user) or "*", str(IPv4Address(session.ip))
            yield (
                f"{session.session_id:>5} {session.tunnel_id:>5} {user:<32} {address:<15} "
                f"{rates.out_bps / KILO:>12.0f} {rates.in_bps / KILO:>12.0f} {session.lac_address}"
            )

    def json(self) -> Iterator[str | None]:
        yield from self._look()
        context = self.context
        rates = context.bandwidth()
        yield json.dumps(
            {
                "time": context.lns.wall(),
                "uptime_s": max(0.0, context.lns.wall() - context.started_time),
                "load_average": list(os.getloadavg()),
                "sessions": len(context.lns.sessions),
                "tunnels": len(context.lns.endpoint.tunnels),
                "in_bps": rates.up_received_bps,
                "in_pps": rates.up_pps,
                "out_bps": rates.down_sent_bps,
                "out_pps": rates.down_pps,
                "radius_pending": sum(1 for _ in context.radius.pending()),
                "radius": [_server_data(server) for server in context.radius.servers()],
                "interval_s": context.busiest.interval_s,
                "busiest": [self._row(session, rates) for session, rates in self._busiest()],
            }
        )

    def _look(self) -> Iterator[None]:
        lns = self.context.lns
        octets = (
            (session.key, usage.octets_in, usage.octets_out)
            for session in live(lns)
            for usage in (lns.usage(session),)
        )
        yield from self.context.busiest.look(octets, lns.clock())

    def _busiest(self) -> Iterator[tuple[Session, Rates]]:
        for rates in self.context.busiest.found[: self.count]:
            session = self.context.lns.sessions.get(rates.key)
            if session is not None:
                yield session, rates

    def _row(self, session: Session, rates: Rates) -> dict[str, object]:
        return {
            "session_id": session.session_id,
            "tunnel_id": session.tunnel_id,
            "user": session.user,
            "ip": str(IPv4Address(session.ip)),
            "lac": session.lac_address,
            "down_bps": rates.out_bps,
            "up_bps": rates.in_bps,
        }

    def _summary_lines(self) -> Iterator[str]:
        context = self.context
        wall = context.lns.wall()
        clock = time.strftime("%H:%M:%S", time.localtime(wall))
        up = duration(int(max(0.0, wall - context.started_time)))
        load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
        rates = context.bandwidth()
        sessions, tunnels = len(context.lns.sessions), len(context.lns.endpoint.tunnels)
        yield f"{context.hostname}  {clock} up {up}, load average: {load}"
        yield f"Sessions: {sessions}   Tunnels: {tunnels}"
        yield (
            f"In:  {rates.up_received_bps / MEGA:9.1f} Mbit/s {rates.up_pps:9.0f} packets/s   "
            "(from subscribers)"
        )
        yield (
            f"Out: {rates.down_sent_bps / MEGA:9.1f} Mbit/s {rates.down_pps:9.0f} packets/s   "
            "(to subscribers)"
        )

    def _radius_lines(self) -> Iterator[str]:
        servers = list(self.context.radius.servers())
        if not servers:
            yield "RADIUS: no server"
        for server in servers:
            state = "given up for now" if server.is_dead else "up"
            yield (
                f"RADIUS: {server.address}:{server.port} {server.purpose} {state}, "
                f"{_latency_text(server)}, {server.pending} under way, {server.waiting} waiting"
            )


@COMMANDS.command(
    "show top",
    "Show rates, RADIUS reply times and the busiest users",
    Argument("count", f"How many users, 1 to {KEPT} ({SHOWN})", optional=True),
)
def show_top(call: Call) -> Answer:
    text = call.arguments[0] if call.arguments else str(SHOWN)
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= count <= KEPT:
        raise CommandError(f"Invalid number of users {shown(text)} (1-{KEPT})")
    return Top(call.context, count)


def _server_data(server: ServerView) -> dict[str, Any]:
    data = {
        "address": server.address,
        "port": server.port,
        "purpose": server.purpose,
        "dead": server.is_dead,
        "pending": server.pending,
        "waiting": server.waiting,
    }
    names = ("latency_min_s", "latency_mean_s", "latency_max_s")
    return {**data, **dict(zip(names, server.latency or (None,) * 3, strict=True))}


def _latency_text(server: ServerView) -> str:
    if server.latency is None:
        return "no reply of late"
    least, mean, most = (1000 * value for value in server.latency)
    return f"replies in {mean:.1f} ms ({least:.1f} to {most:.1f})"
