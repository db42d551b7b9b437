"""A PPP client and a line for tests, written apart from the code under test.

Packets are built and read with struct here, never with the codec of the package. Time is virtual.
"""

import hashlib
import heapq
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from l2tpns_core.ppp.config import AuthProtocol, LinkConfig, NetworkConfig, ProxyLcp
from l2tpns_core.ppp.events import (
    AuthenticationRequested,
    ChapLogin,
    Event,
    LinkClosed,
    MsChapV2Login,
    PapLogin,
)
from l2tpns_core.ppp.link import Link

LCP, IPCP, PAP, CHAP = 0xC021, 0x8021, 0xC023, 0xC223
REQUEST, ACK, NAK, REJECT, TERM_REQUEST, TERM_ACK, CODE_REJECT, PROTO_REJECT = range(1, 9)
ECHO_REQUEST, ECHO_REPLY, DISCARD, IDENTIFICATION, TIME_REMAINING = range(9, 14)

USER, PASSWORD = b"u1", b"wonder"
NETWORK = NetworkConfig(local_ip=0x0A140001, peer_ip=0x0A140101, dns=(0x0A140035, 0x0A140036))


def packet(code: int, identifier: int, data: bytes = b"") -> bytes:
    return struct.pack("!BBH", code, identifier, 4 + len(data)) + data


def frame(protocol: int, code: int, identifier: int, data: bytes = b"") -> bytes:
    return b"\xff\x03" + struct.pack("!H", protocol) + packet(code, identifier, data)


def opts(*options: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("BB", kind, 2 + len(value)) + value for kind, value in options)


def parse_opts(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        found.append((data[0], data[2 : data[1]]))
        data = data[data[1] :]
    return found


@dataclass(frozen=True)
class Sent:
    """A frame taken apart."""

    protocol: int
    code: int
    identifier: int
    data: bytes
    compressed: bool = False

    @property
    def options(self) -> dict[int, bytes]:
        return dict(parse_opts(self.data))


def parse(raw: bytes) -> Sent:
    compressed = not raw.startswith(b"\xff\x03")
    body = raw if compressed else raw[2:]
    protocol, code, identifier, length = struct.unpack("!HBBH", body[:6])
    assert length == len(body) - 2
    return Sent(protocol, code, identifier, body[6:], compressed)


def counting_random() -> Callable[[int], bytes]:
    """Random bytes that are the same in every run."""
    return random.Random(7).randbytes


def make_link(**settings: object) -> Link:
    return Link(LinkConfig("lns", **settings), counting_random())  # type: ignore[arg-type]


def sent(link: Link) -> list[Sent]:
    return [parse(raw) for raw in link.frames_to_send()]


def events(link: Link) -> list[Event]:
    found = []
    while (event := link.next_event()) is not None:
        found.append(event)
    return found


def open_lcp(link: Link, now: float = 0.0, *options: tuple[int, bytes]) -> int:
    """Bring LCP up by hand with the peer's options; return the magic number of the link."""
    link.open(now)
    request = sent(link)[0]
    link.receive(frame(LCP, REQUEST, 1, opts(*options)), now)
    assert [(s.code, s.identifier) for s in sent(link)] == [(REQUEST, request.identifier), (ACK, 1)]
    link.receive(frame(LCP, ACK, request.identifier, request.data), now)
    assert link.lcp_state.name == "OPENED"
    return int.from_bytes(request.options.get(5, b""), "big")


def log_in(link: Link, now: float = 0.0, *options: tuple[int, bytes]) -> None:
    """LCP by hand, then a PAP login that is accepted; the link is in phase NETWORK after it."""
    open_lcp(link, now, *options)
    link.receive(frame(PAP, 1, 9, b"\x02u1\x06wonder"), now)
    assert len(events(link)) == 1
    link.accept(now)
    link.frames_to_send()


def open_ipcp(link: Link, now: float = 0.0, *options: tuple[int, bytes]) -> None:
    """A logged in link whose IPCP is Opened."""
    log_in(link, now, *options)
    link.open_network(NETWORK, now)
    request = sent(link)[0]
    link.receive(frame(IPCP, ACK, request.identifier, request.data), now)
    link.receive(frame(IPCP, REQUEST, 1, opts((3, b"\x0a\x14\x01\x01"))), now)
    assert [type(event).__name__ for event in events(link)] == ["NetworkOpened"]
    link.frames_to_send()


@dataclass
class Client:
    """What pppd does, in short: it retransmits every 3 s and takes what it is given."""

    methods: tuple[AuthProtocol, ...] = (AuthProtocol.PAP, AuthProtocol.CHAP_MD5)
    password: bytes = PASSWORD
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    extra_lcp: tuple[tuple[int, bytes], ...] = ()
    wants_dns: bool = True
    echoes: bool = True
    magic: bytes = b"\x58\xff\x75\x4c"
    out: list[bytes] = field(default_factory=list)
    deadline: float | None = None
    lcp_acked: bool = False  # the server took our options
    lcp_acks: bool = False  # we took the server's
    auth: AuthProtocol | None = None
    logged_in: bool = False
    failed: bool = False
    terminated: bool = False
    ipcp_acked: bool = False
    ipcp_acks: bool = False
    address: bytes = bytes(4)
    dns: tuple[bytes, bytes] = (bytes(4), bytes(4))
    _id: int = 0
    _rejected: frozenset[int] = frozenset()

    def start(self, now: float) -> None:
        self.lcp_acked = self.lcp_acks = self.logged_in = False
        self.ipcp_acked = self.ipcp_acks = False
        self.auth = None
        self._send_lcp_request(now)

    @property
    def up(self) -> bool:
        return self.ipcp_acked and self.ipcp_acks

    def tick(self, now: float) -> None:
        """The retransmission timer fired."""
        if self.terminated:
            return
        if not (self.lcp_acked and self.lcp_acks):
            self._send_lcp_request(now)
        elif not self.logged_in:
            self._send_pap(now)
        elif not self.up:
            self._send_ipcp_request(now)

    def receive(self, raw: bytes, now: float) -> None:
        got = parse(raw)
        if got.protocol == LCP:
            self._lcp(got, now)
        elif not (self.lcp_acked and self.lcp_acks):
            return
        elif got.protocol == PAP:
            self._verdict(got.code == 2, now)
        elif got.protocol == CHAP:
            self._chap(got, now)
        elif got.protocol == IPCP and self.logged_in:
            self._ipcp(got, now)

    def _send(self, protocol: int, code: int, identifier: int, data: bytes = b"") -> None:
        self.out.append(frame(protocol, code, identifier, data))

    def _next_id(self) -> int:
        self._id = (self._id + 1) % 256
        return self._id

    def _send_lcp_request(self, now: float) -> None:
        self.deadline = now + 3
        wanted = ((2, bytes(4)), (5, self.magic), *self.extra_lcp)
        kept = [option for option in wanted if option[0] not in self._rejected]
        self._send(LCP, REQUEST, self._next_id(), opts(*kept))

    def _lcp(self, got: Sent, now: float) -> None:
        if got.code == REQUEST:
            if self.lcp_acked and self.lcp_acks:
                self.start(now)
            self._answer_lcp_request(got, now)
        elif got.code == ACK and got.identifier == self._id and not self.lcp_acked:
            self.lcp_acked = True
            self._lcp_up(now)
        elif got.code == REJECT and got.identifier == self._id:
            self._rejected |= set(got.options)
            self._send_lcp_request(now)
        elif got.code == TERM_REQUEST:
            self.terminated = True
            self._send(LCP, TERM_ACK, got.identifier)
        elif got.code == ECHO_REQUEST and self.echoes:
            self._send(LCP, ECHO_REPLY, got.identifier, self.magic + got.data[4:])

    def _answer_lcp_request(self, got: Sent, now: float) -> None:
        asked = next((auth for auth in AuthProtocol if auth.value == got.options[3]), None)
        if asked in self.methods:
            self.auth = asked
            self._send(LCP, ACK, got.identifier, got.data)
            if not self.lcp_acks:
                self.lcp_acks = True
                self._lcp_up(now)
        elif self.methods:
            self._send(LCP, NAK, got.identifier, opts((3, self.methods[0].value)))
        else:
            self._send(LCP, REJECT, got.identifier, opts((3, got.options[3])))

    def _lcp_up(self, now: float) -> None:
        if self.lcp_acked and self.lcp_acks:
            self._send_pap(now)

    def _send_pap(self, now: float) -> None:
        self.deadline = now + 3
        if self.auth is AuthProtocol.PAP:
            body = struct.pack("B2sB", 2, USER, len(self.password)) + self.password
            self._send(PAP, 1, self._next_id(), body)

    def _chap(self, got: Sent, now: float) -> None:
        if got.code != 1:
            self._verdict(got.code == 3, now)
            return
        challenge = got.data[1 : 1 + got.data[0]]
        if self.auth is AuthProtocol.CHAP_MD5:
            value = hashlib.md5(bytes((got.identifier,)) + self.password + challenge).digest()
        else:
            value = bytes(24) + self.password.ljust(24, b"\0") + b"\0"
        self._send(CHAP, 2, got.identifier, bytes((len(value),)) + value + USER)

    def _verdict(self, passed: bool, now: float) -> None:
        if not passed:
            self.failed = True
        elif not self.logged_in:
            self.logged_in = True
            self._send_ipcp_request(now)

    def _send_ipcp_request(self, now: float) -> None:
        self.deadline = now + 3
        wanted = [(3, self.address)]
        if self.wants_dns:
            wanted += [(129, self.dns[0]), (131, self.dns[1])]
        self._send(IPCP, REQUEST, self._next_id(), opts(*wanted))

    def _ipcp(self, got: Sent, now: float) -> None:
        if got.code == REQUEST:
            self.ipcp_acks = True
            self._send(IPCP, ACK, got.identifier, got.data)
        elif got.identifier != self._id:
            return
        elif got.code == ACK:
            self.ipcp_acked = True
        elif got.code == NAK:
            self.address = got.options.get(3, self.address)
            self.dns = (got.options.get(129, self.dns[0]), got.options.get(131, self.dns[1]))
            self._send_ipcp_request(now)
        elif got.code == REJECT:
            self.wants_dns = False
            self._send_ipcp_request(now)


@dataclass
class Line:
    """A link and a client joined by a line with delay and loss, and an owner who judges logins."""

    link: Link
    client: Client
    loss: float = 0.0
    delay: float = 0.01
    seed: int = 1
    client_starts_at: float = 0.0
    network: NetworkConfig = NETWORK
    now: float = 0.0
    seen: list[Event] = field(default_factory=list)
    frames: list[tuple[str, Sent]] = field(default_factory=list)
    _queue: list[tuple[float, int, str, bytes]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def dial(self, proxy: ProxyLcp | None = None) -> None:
        self._push(self.client_starts_at, "start", b"")
        self.link.open(self.now, proxy)
        self._flush()

    def run(self, until: Callable[[], bool], limit: float = 300.0) -> bool:
        """Let time pass until the condition holds; False when the limit comes first."""
        while not until():
            due = self._next_time()
            if due is None or due > limit:
                self.now = limit
                return False
            self.now = max(self.now, due)
            self._do_due()
            self._flush()
        return True

    def _next_time(self) -> float | None:
        times = [self._queue[0][0]] if self._queue else []
        times += [at for at in (self.link.get_timer(), self.client.deadline) if at is not None]
        return min(times, default=None)

    def _do_due(self) -> None:
        timer = self.link.get_timer()
        if timer is not None and timer <= self.now:
            self.link.handle_timer(self.now)
        if self.client.deadline is not None and self.client.deadline <= self.now:
            self.client.deadline = None
            self.client.tick(self.now)
        while self._queue and self._queue[0][0] <= self.now:
            _, _, target, raw = heapq.heappop(self._queue)
            if target == "start":
                self.client.start(self.now)
            elif target == "link":
                self.link.receive(raw, self.now)
            elif self.now >= self.client_starts_at:
                self.client.receive(raw, self.now)
            self._flush()

    def _flush(self) -> None:
        for event in events(self.link):
            self.seen.append(event)
            if isinstance(event, AuthenticationRequested):
                self._judge(event)
        for raw in self.link.frames_to_send():
            self._transmit("client", raw)
        for raw in self.client.out:
            self._transmit("link", raw)
        self.client.out = []

    def _judge(self, event: AuthenticationRequested) -> None:
        login = event.credentials
        if isinstance(login, PapLogin):
            good = login.password == PASSWORD
        elif isinstance(login, ChapLogin):
            text = bytes((login.identifier,)) + PASSWORD + login.challenge
            good = hashlib.md5(text).digest() == login.response
        else:
            assert isinstance(login, MsChapV2Login)
            good = login.response49[24:48].rstrip(b"\0") == PASSWORD
        if good and event.user == USER:
            self.link.accept(self.now, b"S=1234" if isinstance(login, MsChapV2Login) else b"")
            self.link.open_network(self.network, self.now)
        else:
            self.link.reject(self.now, b"no")

    def _transmit(self, target: str, raw: bytes) -> None:
        self.frames.append((target, parse(raw)))
        if self._rng.random() >= self.loss:
            self._push(self.now + self.delay, target, raw)

    def _push(self, at: float, target: str, raw: bytes) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, target, raw))

    @property
    def closed(self) -> LinkClosed | None:
        return next((event for event in self.seen if isinstance(event, LinkClosed)), None)

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.seen]
