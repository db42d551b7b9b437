"""The UDP socket of nsctl in the daemon: limits, seals, and the border to what a request does."""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from l2tpns_core.control import seal, wire
from l2tpns_core.control.dispatch import Dispatcher, Source
from l2tpns_core.control.limits import LogLimit, PluginLimit, RequestLimit
from l2tpns_core.control.wire import Fault, Format, Kind, Reply, WireError

log = logging.getLogger("l2tpns.control")

AT_ONCE: Final = 64
"""Datagrams that are read before the loop is free again."""
LOOPBACK: Final = "127."


@dataclass(slots=True)
class ControlCounters:
    """What has come, for `show counters`."""

    requests: int = 0
    """Datagrams of any kind."""
    answered: int = 0
    malformed: int = 0
    unauthenticated: int = 0
    """Without a seal although there is a secret, with a wrong one, too old, or repeated."""
    rate_limited: int = 0
    replies_ignored: int = 0
    """Replies that came to the server; to answer them could go on for ever."""
    failures: int = 0
    """Requests that ended in a mistake of ours, each in the log with a traceback."""
    send_failures: int = 0


class ControlServer:
    """Receives control requests and answers them. Give it a `secret` and only requests sealed with
    it count. `clock` is monotonic, `wall` Unix time, both in seconds."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        *,
        secret: str = "",
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self.counters = ControlCounters()
        self._dispatcher = dispatcher
        self._secret = secret.encode(errors="surrogateescape")
        self._clock = clock
        self._wall = wall
        self._limit = RequestLimit(clock())
        self._plugin_limit = PluginLimit(clock())
        self._log_limit = LogLimit(clock())
        self._guard = seal.ReplayGuard(wall())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: socket.socket | None = None

    @property
    def address(self) -> Source:
        """Where it listens."""
        assert self._socket is not None
        address, port = self._socket.getsockname()
        return address, port

    def open(self, loop: asyncio.AbstractEventLoop, address: str, port: int) -> None:
        """Begin to listen. Raises OSError when the address cannot be bound."""
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            opened.bind((address, port))
        except OSError:
            opened.close()
            raise
        self._loop, self._socket = loop, opened
        loop.add_reader(opened, self._drain)
        self._warn_if_open_to_all()

    def close(self) -> None:
        """Stop to listen; a second call does nothing."""
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def configure(self, secret: str) -> None:
        """Take over another secret."""
        changed = secret.encode(errors="surrogateescape")
        if changed != self._secret:
            self._secret = changed
            self._warn_if_open_to_all()

    def receive(self, datagram: bytes, source: Source) -> bytes | None:
        """The answer to a datagram, if it gets one. Never raises."""
        self.counters.requests += 1
        now = self._clock()
        if not self._limit.allows(source[0], now):
            self.counters.rate_limited += 1
            self._log_refusal(source, "too many requests", now)
            return None
        if wire.is_reply(datagram):
            self.counters.replies_ignored += 1
            self._log_refusal(source, "a reply instead of a request", now)
            return None
        try:
            if seal.is_sealed(datagram) or self._secret:
                return self._receive_sealed(datagram, source)
            return self._receive_plain(datagram, source)
        except WireError as error:
            return self._refuse(datagram, source, error.fault, now)

    def _receive_plain(self, packet: bytes, source: Source) -> bytes:
        """Answer a packet of the first or second format. Raises WireError."""
        request = wire.decode_request(packet)
        if request.kind in _ABOUT_PLUGINS and not self._plugin_limit.allows(self._clock()):
            self.counters.rate_limited += 1
            return wire.encode_reply(Reply.error("too many requests, try again"), request)
        try:
            reply = self._dispatcher.answer(request, packet, source)
        except Exception:  # border: a request must not end the daemon
            self.counters.failures += 1
            log.exception("a control request failed")
            reply = Reply.error("internal error")
        self.counters.answered += 1
        return wire.encode_reply(reply, request)

    def _receive_sealed(self, datagram: bytes, source: Source) -> bytes:
        """Answer a sealed packet. Raises WireError."""
        opened = seal.open_request(datagram, self._secret)
        now = self._wall()
        self._guard.take(opened, now)
        try:
            answer = self._receive_plain(opened.packet, source)
        except WireError as error:
            answer = self._refuse(opened.packet, source, error.fault, self._clock())
        return seal.seal_reply(answer, self._secret, opened.nonce, now)

    def _refuse(self, packet: bytes, source: Source, fault: Fault, now: float) -> bytes:
        is_ours = fault in _SEAL_FAULTS
        if is_ours:
            self.counters.unauthenticated += 1
        else:
            self.counters.malformed += 1
        self._log_refusal(source, fault.value, now)
        text = _SEAL_FAULTS[fault] if is_ours else "error unpacking control packet"
        try:
            wire_format = wire.format_of(packet)
        except WireError:
            wire_format = Format.SECOND
        request_id = int.from_bytes(packet[6:10]) if wire_format is Format.FIRST else 0
        return wire.encode_reply_as(Reply.error(text), wire_format, request_id)

    def _log_refusal(self, source: Source, why: str, now: float) -> None:
        kept_back = self._log_limit.take(now)
        if kept_back is None:
            return
        more = f" ({kept_back} more refusals since the last such line)" if kept_back else ""
        log.warning("nsctl from %s port %d refused: %s%s", *source, why, more)

    def _warn_if_open_to_all(self) -> None:
        if self._socket is None or self._secret or self.address[0].startswith(LOOPBACK):
            return
        log.warning(
            "nsctl listens on %s port %d without a secret: whoever reaches it controls this LNS "
            "(set nsctl_secret)",
            *self.address,
        )

    def _drain(self) -> None:
        assert self._socket is not None
        for _ in range(AT_ONCE):
            try:
                datagram, source = self._socket.recvfrom(seal.MAX_SEALED + 1)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error for an earlier answer
                log.debug("nsctl socket: %s", error)
                return
            answer = self.receive(datagram, source)
            if answer is None or self._socket is None:
                continue
            try:
                self._socket.sendto(answer, source)
            except OSError as error:
                self.counters.send_failures += 1
                log.debug("nsctl answer to %s cannot be sent: %s", source[0], error)


_ABOUT_PLUGINS: Final = frozenset((Kind.LOAD, Kind.UNLOAD))

_SEAL_FAULTS: Final = {
    Fault.NOT_SEALED: "not authenticated: this server wants a secret",
    Fault.WRONG_SEAL: Fault.WRONG_SEAL.value,
    Fault.STALE: Fault.STALE.value,
    Fault.REPLAYED: Fault.REPLAYED.value,
}
