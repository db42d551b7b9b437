"""Which server a request goes to, when it is repeated, and when a server counts as dead.

A request goes to the first server that is alive. Without a reply it is repeated there, then moves
on to the next one; dead servers come last. A server is dead when it let a request run out of tries
and was silent meanwhile, or when the network says that nobody is there. After `dead_time_s` one
request is risked on it, and its reply brings the server back.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from l2tpns_core.radius.access import UnsendableError
from l2tpns_core.radius.attributes import Nas
from l2tpns_core.radius.config import RadiusConfig
from l2tpns_core.radius.exchange import AccessExchange, Exchange
from l2tpns_core.radius.server import ServerPort
from l2tpns_core.radius.status import RadiusCounters
from l2tpns_core.radius.transport import Slot, SocketLink
from l2tpns_core.radius.wire import Code
from l2tpns_core.timers import TimerQueue

log = logging.getLogger("l2tpns.radius")

MAX_PENDING: Final = 262_144
"""Requests of all kinds; one more fails at once."""
WAIT_S: Final = {Code.ACCESS_REQUEST: 20.0, Code.ACCOUNTING_REQUEST: 60.0}
"""How long a request may wait for its turn at a busy server before it goes on to the next."""
EXPIRE_LIMIT: Final = 256
"""Timers that fire before the loop may do something else."""
NOBODY_THERE: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.ENETDOWN,
        errno.EACCES,
        errno.EPERM,
    }
)


class Dispatcher:
    """Moves requests along until they are answered or have failed."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        counters: RadiusCounters,
        on_datagram: Callable[[ServerPort, SocketLink, bytes], None],
        wall: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self.counters = counters
        self.config = RadiusConfig()
        self.pending: dict[int, Exchange] = {}
        self.idle = asyncio.Event()
        self.idle.set()
        self.ports: dict[Code, list[ServerPort]] = {
            Code.ACCESS_REQUEST: [],
            Code.ACCOUNTING_REQUEST: [],
        }
        self._loop = loop
        self._on_datagram = on_datagram
        self._wall = wall
        self._random = random
        self._retired: list[ServerPort] = []
        self._has_told_unusable = False
        self._timers = TimerQueue()
        self._timers.on_earlier = self._arm
        self._alarm: asyncio.TimerHandle | None = None

    # Configuration

    def configure(self, config: RadiusConfig) -> None:
        """Use a configuration from now on; requests that are out follow it at their next try."""
        self.config = config
        self._has_told_unusable = False
        servers = config.servers if config.secret else ()
        old = [port for ports in self.ports.values() for port in ports]
        self.ports = {
            Code.ACCESS_REQUEST: self._keep_or_add(
                "auth", [(server.address, server.auth_port) for server in servers]
            ),
            Code.ACCOUNTING_REQUEST: self._keep_or_add(
                "acct", [(server.address, server.acct_port) for server in servers]
            ),
        }
        kept = [port for ports in self.ports.values() for port in ports]
        for port in kept:
            port.nas = None
        now = self._loop.time()
        for port in old:
            if port not in kept:
                self._retired.append(port)
                self._move_waiting(port, now)
                self._close_if_done(port)

    def _keep_or_add(self, purpose: str, addresses: list[tuple[str, int]]) -> list[ServerPort]:
        """The ports in order, each once; those that were in use keep what is known of them."""
        known = {
            (port.purpose, port.address, port.port): port
            for ports in self.ports.values()
            for port in ports
        }
        ports: list[ServerPort] = []
        for address, number in dict.fromkeys(addresses):
            port = known.get((purpose, address, number))
            if port is None:
                port = ServerPort(
                    self._loop,
                    address,
                    number,
                    purpose,
                    self._on_datagram,
                    self._network_error,
                    self._pump,
                )
            ports.append(port)
        return ports

    def _close_if_done(self, port: ServerPort) -> None:
        if port in self._retired and not port.in_flight and not port.waiting:
            self._retired.remove(port)
            self._close_port(port)

    def _close_port(self, port: ServerPort) -> None:
        self._timers.cancel(port.pump_timer)
        port.pool.close()

    def close(self) -> None:
        """Close the sockets and forget what is pending, without a word to who asked."""
        for exchange in self.pending.values():
            self._timers.cancel(exchange.timer)
        self.pending.clear()
        self.idle.set()
        for port in [*self._retired, *(port for ports in self.ports.values() for port in ports)]:
            self._close_port(port)
        self._retired.clear()
        self.ports = {code: [] for code in self.ports}
        self._timers.on_earlier = None
        if self._alarm is not None:
            self._alarm.cancel()

    # The way of a request

    def begin(self, exchange: Exchange) -> None:
        """Take on a request. Whatever becomes of it, it is told so from the loop, not from here."""
        is_full = len(self.pending) >= MAX_PENDING
        self.pending[exchange.handle] = exchange
        self.idle.clear()
        if is_full:
            self.counters.refused_full += 1
            self._loop.call_soon(self._fail, exchange)
            return
        if not self.ports[exchange.code] and not self._has_told_unusable:
            self._has_told_unusable = True
            log.error("no RADIUS server or no RADIUS secret is configured; requests fail")
        self._advance(exchange, self._loop.time())

    def _advance(self, exchange: Exchange, now: float) -> None:
        """Give it to the next server; without one it has failed."""
        server = self._choose(exchange, now)
        if server is None:
            exchange.server = None
            self._loop.call_soon(self._fail, exchange)
            return
        if exchange.server is not None and exchange.server is not server:
            self.counters.failovers += 1
            exchange.server.counters.failovers += 1
        if server.is_dead and server.may_be_asked(now):
            server.probe = exchange
        exchange.server = server
        exchange.tries_here = 0
        server.waiting[exchange] = None
        self._set_timer(exchange, now + WAIT_S[exchange.code])
        self._pump(server, now)

    def _choose(self, exchange: Exchange, now: float) -> ServerPort | None:
        """The first server alive that has not had its tries, or else the first dead one."""
        left = [port for port in self.ports[exchange.code] if port not in exchange.tried]
        for port in left:
            if port.may_be_asked(now):
                return port
        return left[0] if left else None

    def _pump(self, server: ServerPort, now: float) -> None:
        """Send what waits for a server, as far as its window and the identifiers reach."""
        while server.waiting and server.has_room:
            exchange = next(iter(server.waiting))
            if not self._send(exchange, server, now):
                wake_at = server.pool.next_free_at()
                if wake_at is not None:
                    self._timers.set(server.pump_timer, max(wake_at, now))
                return
            del server.waiting[exchange]
            server.in_flight[exchange] = None
            exchange.first_sent_at = now

    def _send(self, exchange: Exchange, server: ServerPort, now: float) -> bool:
        """One try under a new identifier; False when none is free."""
        try:
            nas = self._nas(server)
            slot = server.pool.acquire(now)
        except OSError as error:
            self._network_error(server, error)
            self._note_try(exchange, now)
            return True
        if slot is None:
            return False
        slot.take(exchange, self.config.secret, now)
        exchange.slots.append(slot)
        self._note_try(exchange, now)
        try:
            datagram = exchange.encode(slot, nas, self._random, self._wall())
        except UnsendableError as error:
            self._loop.call_soon(self._refuse, exchange, error)
            return True
        server.counters.requests += 1
        if not server.pool.send(slot, datagram):
            self.counters.send_failures += 1
        return True

    def _note_try(self, exchange: Exchange, now: float) -> None:
        exchange.tries += 1
        exchange.tries_here += 1
        self._set_timer(exchange, now + self.config.timeout_s)

    def _nas(self, server: ServerPort) -> Nas:
        if server.nas is None:
            configured = self.config.nas_ip
            is_set = configured not in ("", "0.0.0.0")
            address = configured if is_set else server.pool.local_address()
            server.nas = Nas(ip_address(address), self.config.nas_identifier)
        return server.nas

    def timed_out(self, exchange: Exchange, now: float) -> None:
        """The timer of a request fired."""
        server = exchange.server
        if server is None:
            return
        if exchange in server.waiting:
            self._leave(exchange, server, now)
            exchange.tried.append(server)
            self._advance(exchange, now)
            return
        server.missed(now, self.config.timeout_s)
        if self._deserves_another_try(exchange, server):
            self._repeat(exchange, server, now)
            return
        if server.heard_at < exchange.first_sent_at:
            self._give_up_server(server, now, "no reply")
        self._leave(exchange, server, now)
        exchange.tried.append(server)
        self._advance(exchange, now)

    def _deserves_another_try(self, exchange: Exchange, server: ServerPort) -> bool:
        if server not in self.ports[exchange.code]:
            return False
        if exchange.tries_here >= self.config.tries_per_server:
            return False
        return not (server.is_dead and self._has_alternative(exchange, server))

    def _has_alternative(self, exchange: Exchange, server: ServerPort) -> bool:
        """Whether a server that is alive has not been tried yet."""
        return any(
            port is not server and not port.is_dead and port not in exchange.tried
            for port in self.ports[exchange.code]
        )

    def _repeat(self, exchange: Exchange, server: ServerPort, now: float) -> None:
        self.counters.repetitions += 1
        server.counters.repetitions += 1
        slot = exchange.slots[-1] if exchange.slots else None
        if (
            slot is None
            or not isinstance(exchange, AccessExchange)
            or slot.link.pool is not server.pool
            or slot.secret != self.config.secret
        ):
            if not self._send(exchange, server, now):
                self._note_try(exchange, now)
            return
        self._note_try(exchange, now)
        server.counters.requests += 1
        if not server.pool.send(slot, exchange.datagram):
            self.counters.send_failures += 1

    def _leave(self, exchange: Exchange, server: ServerPort, now: float) -> None:
        """Take it away from a server, which makes room for another one."""
        server.waiting.pop(exchange, None)
        server.in_flight.pop(exchange, None)
        if server.probe is exchange:
            server.probe = None
        self._pump(server, now)
        self._close_if_done(server)

    def finish(self, exchange: Exchange, now: float, answered: Slot | None = None) -> None:
        """It is over, by the reply to `answered` or without one; nothing can reach it any more."""
        del self.pending[exchange.handle]
        self._timers.cancel(exchange.timer)
        exchange.timer.callback = _ignore
        for slot in exchange.slots:
            slot.link.pool.release(slot, now, answered=slot is answered)
        if exchange.server is not None:
            self._leave(exchange, exchange.server, now)
        if not self.pending:
            self.idle.set()

    def _fail(self, exchange: Exchange) -> None:
        if exchange.handle in self.pending:
            self.counters.timeouts += 1
            self.finish(exchange, self._loop.time())
            exchange.fail()

    def _refuse(self, exchange: Exchange, error: UnsendableError) -> None:
        if exchange.handle in self.pending:
            self.counters.unsendable += 1
            self.finish(exchange, self._loop.time())
            exchange.refuse(error)

    # What the network says

    def _network_error(self, server: ServerPort, error: OSError) -> None:
        self.counters.network_errors += 1
        log.debug("RADIUS server %s: %s", server, error)
        if error.errno in NOBODY_THERE:
            self._loop.call_soon(self._nobody_there, server, error)

    def _nobody_there(self, server: ServerPort, error: OSError) -> None:
        """The network says that nothing listens. With another server alive, do not wait."""
        code = Code.ACCESS_REQUEST if server.purpose == "auth" else Code.ACCOUNTING_REQUEST
        if not any(p is not server and not p.is_dead for p in self.ports[code]):
            return
        now = self._loop.time()
        self._give_up_server(server, now, os.strerror(error.errno or 0))
        for exchange in list(server.in_flight):
            if self._has_alternative(exchange, server):
                self._leave(exchange, server, now)
                exchange.tried.append(server)
                self._advance(exchange, now)

    def _give_up_server(self, server: ServerPort, now: float, reason: str) -> None:
        """Do not ask it for a while."""
        if server in self._retired:
            return
        was_dead = server.is_dead
        server.dead_until = now + self.config.dead_time_s
        if was_dead:
            return
        self.counters.deaths += 1
        log.warning("RADIUS server %s (%s) is dead: %s", server, server.purpose, reason)
        self._move_waiting(server, now)

    def _move_waiting(self, server: ServerPort, now: float) -> None:
        """Requests that were never sent need not wait for a server that is dead or gone."""
        waiting, server.waiting = server.waiting, {}
        for exchange in waiting:
            self._advance(exchange, now)

    # Time

    def _set_timer(self, exchange: Exchange, at: float) -> None:
        exchange.retry_at = at
        self._timers.set(exchange.timer, at)

    def _arm(self, deadline: float) -> None:
        if self._alarm is not None:
            if self._alarm.when() <= deadline:
                return
            self._alarm.cancel()
        self._alarm = self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._alarm = None
        try:
            self._timers.expire(self._loop.time(), EXPIRE_LIMIT)
        finally:
            deadline = self._timers.next_deadline()
            if deadline is not None:
                self._arm(deadline)


def _ignore(_now: float) -> None:
    """The timer of a request that is over; it no longer refers to the request."""
