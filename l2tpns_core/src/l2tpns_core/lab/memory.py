"""An LNS in memory with LACs and subscribers that speak raw bytes; time is walked by hand.

No socket, no kernel, no root, and no waiting: an hour of retransmissions passes in a millisecond.
The encoders here are written apart from l2tpns_core.l2tp and .ppp, so that a mistake there does not
cancel itself out. lab.world puts on top of this what the tests of plugins want.
"""

import struct
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from l2tpns_core.addresses import AddressPool
from l2tpns_core.config.directives import Config
from l2tpns_core.dataplane.recording import RecordingPlane
from l2tpns_core.lns import Lns
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    AccountingRecord,
    AccountingStatus,
)

LAC = ("192.0.2.1", 1701)


def ip(text: str) -> int:
    return int(IPv4Address(text))


class MemoryRadius:
    """Keeps what it is asked; answers when told to, or at once through `policy`."""

    def __init__(self) -> None:
        self.requests: list[AccessRequest] = []
        self.records: list[AccountingRecord] = []
        self.cancelled: list[int] = []
        self.policy: Callable[[AccessRequest], AccessReply | None] = lambda request: AccessReply(
            AccessOutcome.ACCEPT
        )
        self._pending: dict[int, tuple[AccessRequest, Callable[[AccessReply], None]]] = {}
        self._unsettled: list[Callable[[bool], None]] = []
        self._handle = 0

    def authenticate(self, request: AccessRequest, done: Callable[[AccessReply], None]) -> int:
        self._handle += 1
        self.requests.append(request)
        self._pending[self._handle] = (request, done)
        return self._handle

    def account(self, record: AccountingRecord, done: Callable[[bool], None]) -> int:
        self._handle += 1
        self.records.append(record)
        self._unsettled.append(done)
        return self._handle

    def settle_all(self) -> None:
        """A server acknowledges every record so far."""
        unsettled, self._unsettled = self._unsettled, []
        for done in unsettled:
            done(True)

    def cancel(self, handle: int) -> None:
        self.cancelled.append(handle)
        self._pending.pop(handle, None)

    def answer_all(self) -> bool:
        """Answer what the policy has an answer for; True if there was any."""
        answered = False
        for handle, (request, done) in list(self._pending.items()):
            reply = self.policy(request)
            if reply is not None and self._pending.pop(handle, None) is not None:
                done(reply)
                answered = True
        return answered

    def of(self, status: AccountingStatus) -> list[AccountingRecord]:
        return [record for record in self.records if record.status is status]


class MemoryRoutes:
    """Kernel routes as a set."""

    def __init__(self) -> None:
        self.routes: set[tuple[int, int]] = set()
        self.pool: tuple[tuple[int, int], ...] = ((ip("10.0.0.0"), 24),)

    def add(self, network: int, prefix_length: int) -> None:
        self.routes.add((network, prefix_length))

    def remove(self, network: int, prefix_length: int) -> None:
        self.routes.discard((network, prefix_length))

    def covers(self, ip: int) -> bool:
        return any(ip >> (32 - bits) == net >> (32 - bits) for net, bits in self.pool)


class World:
    """An LNS, its surroundings, and one clock. `pool` is the number of addresses."""

    def __init__(self, pool: int = 4, **directives: object) -> None:
        self.now = 1000.0
        self.wall_offset = 1_790_000_000.0
        directives.setdefault("hostname", "lns")
        directives.setdefault("radius_accounting", True)
        self.config = Config(**directives)  # type: ignore[arg-type]
        self.plane = RecordingPlane()
        self.radius = MemoryRadius()
        self.routes = MemoryRoutes()
        self.plugins = PluginManager()
        self._noise = 0
        self.lns = Lns(
            self.config,
            plane=self.plane,
            radius=self.radius,
            pool=AddressPool(ip("10.0.0.1") + i for i in range(pool)),
            plugins=self.plugins,
            routes=self.routes,
            clock=lambda: self.now,
            wall=lambda: self.now + self.wall_offset,
            random=self._random,
        )
        self.plane.events = self.lns
        self.lacs: list[Lac] = []

    def _random(self, count: int) -> bytes:
        self._noise += 1
        return struct.pack("!Q", self._noise * 0x9E3779B97F4A7C15 & (1 << 64) - 1).ljust(
            count, b"x"
        )[:count]

    def run(self, seconds: float = 0.0) -> None:
        """Let everything happen that happens without, and then within, so many seconds."""
        end = self.now + seconds
        while True:
            while self.settle():
                pass
            deadline = self.lns.timers.next_deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.lns.handle_timers(self.now)
        self.now = end

    def settle(self) -> bool:
        """Answer what RADIUS is asked, and pass on what is on the wire; False when nothing was."""
        busy = self.radius.answer_all()
        for sent in self.plane.take_control():
            for lac in self.lacs:
                if lac.peer == sent.peer:
                    lac.receive(sent.datagram)
                    busy = True
        for lac in self.lacs:
            for client in list(lac.clients.values()):
                for frame in self.plane.take_frames(client.key):
                    client.receive(frame)
                    busy = True
        return busy


def avp(kind: int, value: bytes, mandatory: bool = True) -> bytes:
    return struct.pack("!HHH", mandatory << 15 | 6 + len(value), 0, kind) + value


def split_avps(body: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while body:
        length = struct.unpack_from("!H", body)[0] & 0x3FF
        found[struct.unpack_from("!H", body, 4)[0]] = body[6:length]
        body = body[length:]
    return found


class Lac:
    """One tunnel from a LAC: acknowledges everything, retransmits nothing."""

    def __init__(self, world: World, peer: tuple[str, int] = LAC, tunnel_id: int = 77) -> None:
        self.world = world
        self.peer = peer
        self.tunnel_id = tunnel_id
        self.lns_tunnel_id = 0
        self.ns = self.nr = 0
        self.clients: dict[int, Client] = {}
        self.calls: dict[int, Client] = {}
        self.messages: list[tuple[int, int, dict[int, bytes]]] = []
        self.silent = False
        world.lacs.append(self)

    def open(self) -> "Lac":
        self.send(
            1,
            avp(2, b"\1\0")
            + avp(3, bytes(4))
            + avp(7, b"lac")
            + avp(9, struct.pack("!H", self.tunnel_id))
            + avp(10, b"\0\x80"),
        )
        self.world.run()
        return self

    def send(self, kind: int, avps: bytes, session_id: int = 0) -> None:
        body = avp(0, struct.pack("!H", kind)) + avps
        self._datagram(session_id, self.ns, body)
        self.ns = self.ns + 1 & 0xFFFF

    def _datagram(self, session_id: int, ns: int, body: bytes) -> None:
        header = struct.pack(
            "!6H", 0xC802, 12 + len(body), self.lns_tunnel_id, session_id, ns, self.nr
        )
        self.world.plane.receive_control(header + body, self.peer, "", self.world.now)

    def receive(self, datagram: bytes) -> None:
        if self.silent:
            return
        _flags, length, tunnel, session, ns, _nr = struct.unpack_from("!6H", datagram)
        assert length == len(datagram)
        assert tunnel == self.tunnel_id
        if length == 12:
            return
        if ns != self.nr:
            assert (self.nr - ns) & 0xFFFF < 0x8000, "a message was skipped"
            self._datagram(0, self.ns, b"")
            return
        self.nr = self.nr + 1 & 0xFFFF
        avps = split_avps(datagram[12:])
        kind = struct.unpack("!H", avps[0])[0]
        self.messages.append((kind, session, avps))
        if kind == 2:
            self.lns_tunnel_id = struct.unpack("!H", avps[9])[0]
            self.send(3, b"")
        elif kind == 11:
            self.calls[session].answered(struct.unpack("!H", avps[14])[0])
        else:
            self._datagram(0, self.ns, b"")

    def kinds(self) -> list[int]:
        return [kind for kind, _session, _avps in self.messages]

    def call(self, user: str = "alice", password: str = "pw", **options: Any) -> "Client":
        client = Client(self, user, password, 100 + len(self.calls), **options)
        self.calls[client.call_id] = client
        self.send(
            10, avp(14, struct.pack("!H", client.call_id)) + avp(15, bytes(4)) + avp(22, b"0123456")
        )
        self.world.run()
        return client


class Client:
    """A PPP client behind the LAC: PAP, then IPCP with both DNS options."""

    def __init__(
        self,
        lac: Lac,
        user: str,
        password: str,
        call_id: int,
        *,
        echoes: bool = True,
        connect: bool = True,
        wanted: int = 0,
    ) -> None:
        self.lac = lac
        self.user, self.password = user, password
        self.call_id = call_id
        self.echoes = echoes
        self.connect = connect
        self.session_id = 0
        self.key = 0
        self.ip = wanted
        self.dns: tuple[int, int] = (0, 0)
        self.up = False
        self.rejected: set[int] = set()
        self.refused = b""
        self.terminated = False
        self.frames: list[bytes] = []
        self.silent = False

    def answered(self, session_id: int) -> None:
        self.session_id = session_id
        self.key = self.lac.lns_tunnel_id << 16 | session_id
        self.lac.clients[self.key] = self
        if self.connect:
            self.lac.send(
                12,
                avp(24, struct.pack("!I", 1_000_000)) + avp(19, struct.pack("!I", 1)),
                session_id,
            )
            self.send(0xC021, 1, 1, bytes([5, 6]) + b"abcd")

    def send(self, protocol: int, code: int, identifier: int, data: bytes = b"") -> None:
        frame = struct.pack("!HHBBH", 0xFF03, protocol, code, identifier, 4 + len(data)) + data
        world = self.lac.world
        world.plane.receive_frame(self.key, frame, world.now)

    def receive(self, frame: bytes) -> None:
        self.frames.append(frame)
        if self.silent:
            return
        frame = frame.removeprefix(b"\xff\x03")
        protocol, code, identifier, length = struct.unpack_from("!HBBH", frame)
        data = frame[6 : 2 + length]
        handler = {0xC021: self._lcp, 0xC023: self._pap, 0x8021: self._ipcp}[protocol]
        handler(code, identifier, data)

    def _lcp(self, code: int, identifier: int, data: bytes) -> None:
        if code == 1:
            self.send(0xC021, 2, identifier, data)
            if b"\x03\x04\xc0\x23" in data:
                self.login()
        elif code == 5:
            self.terminated = True
            self.up = False
            self.send(0xC021, 6, identifier)
        elif code == 9 and self.echoes:
            self.send(0xC021, 10, identifier, b"abcd")

    def login(self) -> None:
        name, password = self.user.encode(), self.password.encode()
        self.send(0xC023, 1, 7, bytes([len(name)]) + name + bytes([len(password)]) + password)

    def _pap(self, code: int, identifier: int, data: bytes) -> None:
        if code == 3:
            self.refused = data[1:] or b"refused"
        else:
            self.send(0x8021, 1, 1, self._ask())

    def _ask(self) -> bytes:
        options = ((3, self.ip), (129, self.dns[0]), (131, self.dns[1]))
        return b"".join(
            struct.pack("!BBI", kind, 6, value)
            for kind, value in options
            if kind not in self.rejected
        )

    def _ipcp(self, code: int, identifier: int, data: bytes) -> None:
        if code == 1:
            self.send(0x8021, 2, identifier, data)
        elif code == 2:
            self.up = True
        elif code == 3:
            values = {
                data[i]: struct.unpack_from("!I", data, i + 2)[0] for i in range(0, len(data), 6)
            }
            self.ip = values.get(3, self.ip)
            self.dns = (values.get(129, self.dns[0]), values.get(131, self.dns[1]))
            self.send(0x8021, 1, identifier + 1, self._ask())
        elif code == 4:
            self.rejected |= {data[i] for i in range(0, len(data), 6)}
            self.send(0x8021, 1, identifier + 1, self._ask())
