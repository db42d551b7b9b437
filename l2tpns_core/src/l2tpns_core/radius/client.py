"""The RADIUS client of the LNS: takes questions, and takes for answers only what is proven so."""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator

from l2tpns_core.radius.config import RadiusConfig, RadiusServer
from l2tpns_core.radius.dispatch import Dispatcher
from l2tpns_core.radius.exchange import AccessExchange, AccountingExchange, Exchange
from l2tpns_core.radius.model import AccessReply, AccessRequest, AccountingRecord
from l2tpns_core.radius.server import ServerPort
from l2tpns_core.radius.status import PendingInfo, RadiusCounters, ServerInfo
from l2tpns_core.radius.transport import SocketLink
from l2tpns_core.radius.wire import (
    Code,
    Discard,
    Reply,
    ReplyError,
    decode_reply,
    has_right_authenticator,
    verify_reply,
)

__all__ = ["PendingInfo", "RadiusClient", "RadiusConfig", "RadiusCounters", "RadiusServer"]

log = logging.getLogger("l2tpns.radius")


class RadiusClient:
    """Implements model.Authenticator over UDP. All of it runs on the loop that it is given."""

    def __init__(
        self,
        config: RadiusConfig,
        loop: asyncio.AbstractEventLoop,
        *,
        wall: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.counters = RadiusCounters()
        self._loop = loop
        self._last_handle = 0
        self._dispatcher = Dispatcher(loop, self.counters, self._received, wall, random)
        self._dispatcher.configure(config)

    def authenticate(self, request: AccessRequest, done: Callable[[AccessReply], None]) -> int:
        """Ask for a verdict. Without servers or a secret the outcome is TIMEOUT, soon."""
        self.counters.access_requests += 1
        return self._begin(
            AccessExchange(self._next_handle(), self._dispatcher.timed_out, request, done)
        )

    def account(self, record: AccountingRecord, done: Callable[[bool], None]) -> int:
        """Report; done(False) when every server was silent."""
        self.counters.accounting_requests += 1
        return self._begin(
            AccountingExchange(self._next_handle(), self._dispatcher.timed_out, record, done)
        )

    def cancel(self, handle: int) -> None:
        """Forget a request; unknown handles are ignored."""
        exchange = self._dispatcher.pending.get(handle)
        if exchange is not None:
            self.counters.cancelled += 1
            self._dispatcher.finish(exchange, self._loop.time())

    def take_back(self, handle: int) -> bool:
        """Forget a request if it was never sent; True when it was not, and is forgotten."""
        exchange = self._dispatcher.pending.get(handle)
        if exchange is None or exchange.tries:
            return False
        self.cancel(handle)
        return True

    def reconfigure(self, config: RadiusConfig) -> None:
        """Use another configuration. Requests that are out follow it at their next try."""
        self._dispatcher.configure(config)

    def pending(self) -> Iterator[PendingInfo]:
        """The requests that are under way, the oldest first."""
        for exchange in self._dispatcher.pending.values():
            slot = exchange.slots[-1] if exchange.slots else None
            yield PendingInfo(
                exchange.handle,
                slot.identifier if slot else None,
                slot.link.index if slot else None,
                str(exchange.server) if exchange.server else "",
                exchange.state,
                exchange.session_key,
                exchange.retry_at,
                exchange.tries,
            )

    def servers(self) -> list[ServerInfo]:
        """State and reply times of every server, in order of preference."""
        now = self._loop.time()
        return [port.info(now) for ports in self._dispatcher.ports.values() for port in ports]

    async def drain(self, timeout_s: float) -> int:
        """Wait until nothing is pending; return how many requests still are after timeout_s."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._dispatcher.pending:  # a callback may have asked again
                    await self._dispatcher.idle.wait()
        except TimeoutError:
            pass
        return len(self._dispatcher.pending)

    def close(self) -> None:
        """Close the sockets and forget what is pending, without a word to who asked."""
        self._dispatcher.close()

    def _next_handle(self) -> int:
        self._last_handle += 1
        return self._last_handle

    def _begin(self, exchange: Exchange) -> int:
        self._dispatcher.begin(exchange)
        return exchange.handle

    def _received(self, server: ServerPort, link: SocketLink, datagram: bytes) -> None:
        now = self._loop.time()
        try:
            reply = decode_reply(datagram)
            exchange = self._verify(server, link, reply, now)
        except ReplyError as error:
            self.counters.count(error.kind)
            log.debug("datagram from %s discarded: %s", server, error)
            return
        self.counters.replies += 1
        exchange.succeed(reply)

    def _verify(self, server: ServerPort, link: SocketLink, reply: Reply, now: float) -> Exchange:
        """Find the request that a reply answers, and end it; raises ReplyError."""
        slot = link.slots[reply.identifier]
        if slot is None or not slot.sendings:
            raise ReplyError(Discard.UNKNOWN_ID, f"identifier {reply.identifier} is not in use")
        exchange = slot.exchange
        if exchange is None:
            if not has_right_authenticator(reply, slot.authenticator, slot.secret):
                raise ReplyError(Discard.WRONG_AUTHENTICATOR, "wrong Response Authenticator")
            kind = Discard.DUPLICATE if slot.answered else Discard.LATE
            raise ReplyError(kind, "the request is over")
        requirement = self._dispatcher.config.require_message_authenticator
        is_signed = verify_reply(
            reply,
            exchange.code,
            slot.authenticator,
            slot.secret,
            requirement == "yes" or (requirement == "auto" and server.sends_message_authenticator),
        )
        if is_signed and exchange.code is Code.ACCESS_REQUEST:
            server.sends_message_authenticator = True
        if server.is_dead:
            log.warning("RADIUS server %s (%s) is back", server, server.purpose)
        server.heard(now, now - slot.sent_at if slot.sendings == 1 else None)
        self._dispatcher.finish(exchange, now, slot)
        return exchange
