"""An embedded RADIUS server for labs and tests: PAP, CHAP-MD5, accounting (RFC 2865, 2866).

It checks what a client sends: request authenticators of accounting requests, and any
Message-Authenticator. Access replies carry a Message-Authenticator as their first attribute.
"""

import asyncio
import hmac
import json
import random
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pyrad.packet import (
    AccessReject,
    AccessRequest,
    AccountingRequest,
    AcctPacket,
    AuthPacket,
    PacketError,
    StatusServer,
)

from l2tpns_core.lab.radius_users import RadiusUser, check_user, dictionary, find_user
from l2tpns_core.lab.transport import (
    Address,
    SocketMaker,
    enlarge_receive_buffer,
    make_udp_socket,
)

READ_BATCH: Final = 64
MAX_RECORDS: Final = 200_000  # requests kept; at this many the older half goes
REMEMBERED_S: Final = 30.0  # how long a repetition of a request is told from a new one
MAX_REMEMBERED: Final = 65_536
MESSAGE_AUTHENTICATOR: Final = 80


@dataclass(slots=True)
class RadiusRecord:
    """A request that the server accepted as genuine. `record["User-Name"]` is the first value."""

    time: float
    """Unix seconds."""
    client: Address
    attributes: dict[str, list[Any]]
    """Every attribute by dictionary name (or number), decoded."""
    accepted: bool | None = None
    """The verdict on an Access-Request; None for accounting."""

    def __getitem__(self, name: str) -> Any:
        return self.attributes[name][0]

    def __contains__(self, name: object) -> bool:
        return name in self.attributes

    def get(self, name: str, default: Any = None) -> Any:
        """The first value of an attribute."""
        values = self.attributes.get(name)
        return values[0] if values else default

    def as_json(self) -> str:
        """One line; octets in hexadecimal."""
        flat = {
            name: values[0] if len(values) == 1 else values
            for name, values in self.attributes.items()
            if name != "User-Password"
        }
        if self.accepted is not None:
            flat["accepted"] = self.accepted
        record = {"time": self.time, "client": f"{self.client[0]}:{self.client[1]}", **flat}
        return json.dumps(record, default=lambda octets: octets.hex())


@dataclass(slots=True)
class RadiusCounters:
    access_requests: int = 0
    accepts: int = 0
    rejects: int = 0
    accounting_requests: int = 0
    duplicates: int = 0
    malformed: int = 0
    bad_authenticator: int = 0
    """A wrong Request Authenticator or Message-Authenticator: the secrets differ."""
    without_message_authenticator: int = 0
    dropped: int = 0
    """Because of `silent` or `drop_percent`."""


@dataclass(slots=True)
class _Known:
    """A request that has been seen, and its answer once there is one."""

    at: float
    reply: bytes | None = None


Watcher = Callable[[RadiusRecord], None]


@dataclass(slots=True)
class RadiusServer:
    """A server on two UDP ports; port 0 takes any (see `auth_address`, `acct_address`).

    The switches may be changed while it runs.
    """

    users: Mapping[str, RadiusUser]
    secret: bytes = field(default=b"testing123", repr=False)
    address: str = "127.0.0.1"
    auth_port: int = 1812
    acct_port: int = 1813
    accounting_file: Path | None = None
    """Accounting requests are appended to it as JSON lines."""
    make_socket: SocketMaker = make_udp_socket
    silent: bool = False
    """Answer nobody, as if the server were off."""
    delay_s: float = 0.0
    """Answer this much later."""
    reject: bool = False
    """Reject every login."""
    drop_percent: float = 0.0
    """Lose so many requests."""
    require_message_authenticator: bool = False
    """Drop Access-Requests without one."""
    watch: Watcher | None = None
    """Called with each genuine request that is no repetition."""
    counters: RadiusCounters = field(default_factory=RadiusCounters)
    requests: list[RadiusRecord] = field(default_factory=list)
    """Access-Requests, oldest first."""
    accounting: list[RadiusRecord] = field(default_factory=list)
    """Accounting-Requests, oldest first."""
    _sockets: list[socket.socket] = field(default_factory=list, repr=False)
    _known: OrderedDict[tuple[Address, bytes], _Known] = field(
        default_factory=OrderedDict, repr=False
    )
    _waiters: list[asyncio.Future[None]] = field(default_factory=list, repr=False)
    _random: random.Random = field(default_factory=random.Random, repr=False)
    _loop: asyncio.AbstractEventLoop | None = field(default=None, repr=False)

    def start(self) -> None:
        """Open the sockets; call it inside a running loop. Raises OSError and UsersError."""
        for name, user in self.users.items():
            check_user(name, user)
        self._loop = asyncio.get_running_loop()
        try:
            for port in (self.auth_port, self.acct_port):
                self._sockets.append(self.make_socket(self.address, port))
        except OSError:
            self.stop()
            raise
        for sock, handle in zip(
            self._sockets, (self._receive_access, self._receive_accounting), strict=True
        ):
            enlarge_receive_buffer(sock)
            self._loop.add_reader(sock.fileno(), self._read, sock, handle)

    def stop(self) -> None:
        """Close the sockets; what is delayed is not sent any more."""
        for sock in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(sock.fileno())
            sock.close()
        self._sockets.clear()

    @property
    def auth_address(self) -> Address:
        host, port = self._sockets[0].getsockname()
        return host, port

    @property
    def acct_address(self) -> Address:
        host, port = self._sockets[1].getsockname()
        return host, port

    def records(self, status: str = "", user: str = "") -> list[RadiusRecord]:
        """Accounting records of this Acct-Status-Type (`Start`, `Stop` …) and user."""
        return [
            record
            for record in self.accounting
            if status in ("", record.get("Acct-Status-Type"))
            and user in ("", record.get("User-Name"))
        ]

    async def wait_for_records(
        self, status: str = "", user: str = "", count: int = 1, timeout_s: float = 5.0
    ) -> list[RadiusRecord]:
        """Wait until there are `count` such records. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while len(found := self.records(status, user)) < count:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiters.append(future)
                await future
        return found

    # -- receiving ------------------------------------------------------------------------------

    def _read(self, sock: socket.socket, handle: Callable[[bytes, Address], bytes | None]) -> None:
        for _ in range(READ_BATCH):
            try:
                datagram, source = sock.recvfrom(65535)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._take(sock, handle, datagram, source)

    def _take(
        self,
        sock: socket.socket,
        handle: Callable[[bytes, Address], bytes | None],
        datagram: bytes,
        source: Address,
    ) -> None:
        if self.silent or self._random.random() * 100 < self.drop_percent:
            self.counters.dropped += 1
            return
        # Code, identifier, length and authenticator tell a repetition from a new request.
        key = (source, datagram[:20])
        now = time.monotonic()
        known = self._known.get(key)
        if known is not None and now - known.at < REMEMBERED_S:
            self.counters.duplicates += 1
            if known.reply is not None:
                self._send(sock, known.reply, source)
            return
        try:
            reply = handle(datagram, source)
        except (PacketError, ValueError, KeyError, IndexError, TypeError):
            self.counters.malformed += 1
            return
        if reply is None:
            return
        known = self._remember(key, now)
        if self.delay_s:
            assert self._loop is not None
            self._loop.call_later(self.delay_s, self._answer, sock, known, reply, source)
        else:
            self._answer(sock, known, reply, source)

    def _remember(self, key: tuple[Address, bytes], now: float) -> _Known:
        known = self._known[key] = _Known(now)
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
        return known

    def _answer(self, sock: socket.socket, known: _Known, reply: bytes, to: Address) -> None:
        known.reply = reply
        self._send(sock, reply, to)

    def _send(self, sock: socket.socket, reply: bytes, to: Address) -> None:
        if sock.fileno() < 0 or self.silent:
            return
        try:
            sock.sendto(reply, to)
        except OSError:
            self.counters.dropped += 1

    def _receive_access(self, datagram: bytes, source: Address) -> bytes | None:
        packet = AuthPacket(packet=datagram, secret=self.secret, dict=dictionary())
        if packet.code not in (AccessRequest, StatusServer):
            self.counters.malformed += 1
            return None
        if not self._has_good_message_authenticator(packet):
            return None
        reply = packet.CreateReply()
        if packet.code == AccessRequest:
            self._decide(packet, reply, source)
        encoded: bytes = reply.ReplyPacket()
        return encoded

    def _has_good_message_authenticator(self, packet: Any) -> bool:
        if not packet.message_authenticator:
            self.counters.without_message_authenticator += 1
            return not self.require_message_authenticator and packet.code != StatusServer
        values = packet[MESSAGE_AUTHENTICATOR]
        if len(values) != 1 or len(values[0]) != 16 or not packet.verify_message_authenticator():
            self.counters.bad_authenticator += 1
            return False
        return True

    def _decide(self, packet: Any, reply: Any, source: Address) -> None:
        self.counters.access_requests += 1
        record = RadiusRecord(time.time(), source, _decode(packet))
        user = find_user(self.users, str(record.get("User-Name", "")))
        record.accepted = (
            user is not None
            and not self.reject
            and not user.reject
            and (user.any_password or _is_right_password(packet, user.password))
        )
        if record.accepted:
            self.counters.accepts += 1
        else:
            self.counters.rejects += 1
            reply.code = AccessReject
        if user is not None and (record.accepted or user.reject):
            for name, values in user.reply.items():
                for value in values:
                    reply.AddAttribute(name, value)
        self._keep(self.requests, record)

    def _receive_accounting(self, datagram: bytes, source: Address) -> bytes | None:
        packet = AcctPacket(packet=datagram, secret=self.secret, dict=dictionary())
        if packet.code not in (AccountingRequest, StatusServer):
            self.counters.malformed += 1
            return None
        if not packet.VerifyAcctRequest():
            self.counters.bad_authenticator += 1
            return None
        if packet.message_authenticator and not self._has_good_message_authenticator(packet):
            return None
        if packet.code == AccountingRequest:
            self.counters.accounting_requests += 1
            record = RadiusRecord(time.time(), source, _decode(packet))
            if self.accounting_file is not None:
                with self.accounting_file.open("a", encoding="utf-8") as file:
                    file.write(record.as_json() + "\n")
            self._keep(self.accounting, record)
        encoded: bytes = packet.CreateReply().ReplyPacket()
        return encoded

    def _keep(self, records: list[RadiusRecord], record: RadiusRecord) -> None:
        records.append(record)
        if len(records) > MAX_RECORDS:
            del records[: MAX_RECORDS // 2]
        if self.watch is not None:
            self.watch(record)
        for future in self._waiters:
            if not future.done():
                future.set_result(None)
        self._waiters.clear()


def _decode(packet: Any) -> dict[str, list[Any]]:
    """Every attribute by name; what cannot be decoded stays octets."""
    attributes: dict[str, list[Any]] = {}
    for key in packet.keys():  # noqa: SIM118  (the packet's own keys(), which gives names)
        try:
            values = packet[key]
        except (PacketError, ValueError, TypeError):
            values = packet.get(packet._EncodeKey(key))
        attributes[str(key)] = list(values)
    return attributes


def _is_right_password(packet: Any, password: str) -> bool:
    hidden = packet.get(2)
    if hidden:
        given = packet.PwDecrypt(hidden[0])
        return hmac.compare_digest(given.encode(), password.encode())
    return bool(packet.get(3)) and bool(packet.VerifyChapPasswd(password.encode()))
