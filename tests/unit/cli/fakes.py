"""A daemon for commands to look at: real sessions and a real pool, made-up traffic and tunnels."""

import enum
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

from l2tpns_core.access_lists.lists import AccessLists
from l2tpns_core.addresses import AddressPool
from l2tpns_core.cli.commands import build_grammar
from l2tpns_core.cli.evaluate import evaluate
from l2tpns_core.cli.grammar import Access, Mode
from l2tpns_core.config.directives import Config, find_directive, format_value, with_value
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.dataplane.plane import SessionCounters
from l2tpns_core.lns.lives import Lives
from l2tpns_core.observe.bgp_report import PeerStatus
from l2tpns_core.observe.busiest import Busiest
from l2tpns_core.observe.cluster_report import ClusterPeerReport, ClusterReport
from l2tpns_core.observe.counters import Bandwidth, CounterBoard, Traffic, TrafficTotals
from l2tpns_core.observe.plane_report import PlaneReport
from l2tpns_core.ppp.automaton import State
from l2tpns_core.ppp.link import Phase
from l2tpns_core.radius.spool.status import SpoolStatus
from l2tpns_core.session import Session, SessionState

NOW = 5000.0
WALL = 1_795_346_481.0
GRAMMAR = build_grammar()


class FakeTunnelState(enum.Enum):
    IDLE = 0
    WAIT_CTL_CONN = 1
    ESTABLISHED = 2
    CLOSING = 3


@dataclass
class FakeChannel:
    next_ns: int = 3
    next_nr: int = 6
    queue_length: int = 0
    peer_window: int = 4
    retransmissions: int = 0


@dataclass
class FakeTunnel:
    local_id: int
    hostname: str = "rig-a"
    peer: tuple[str, int] = ("10.9.0.101", 1701)
    state: FakeTunnelState = FakeTunnelState.ESTABLISHED
    calls: dict[int, object] = field(default_factory=dict)
    peer_id: int = 77
    local: str = "10.9.0.1"
    vendor_name: str = "xelerance.com"
    opened_at: float = NOW - 60
    last_heard_at: float = NOW - 16
    channel: FakeChannel = field(default_factory=FakeChannel)


@dataclass
class FakeRequest:
    id: int = 13
    identifier: int | None = 0
    socket: int | None = 13
    server: str = "127.0.0.1:1812"
    state: str = "AUTH"
    session_key: int | None = 4 << 16 | 5
    retry_at: float = NOW + 3
    tries: int = 1


@dataclass
class FakeServer:
    address: str = "127.0.0.1"
    port: int = 1812
    purpose: str = "auth"
    is_dead: bool = False
    pending: int = 1
    waiting: int = 0
    latency: tuple[float, float, float] | None = (0.001, 0.0025, 0.0103)


@dataclass
class FakeThrottle:
    queued_in: int = 0
    queued_out: int = 0
    dropped_in: int = 0
    dropped_out: int = 0


class FakeLns:
    """The part of the LNS that operators look at, and a record of what they did."""

    def __init__(self) -> None:
        self.sessions: dict[int, Session] = {}
        self.endpoint = SimpleNamespace(tunnels={})
        self.pool = AddressPool()
        self.ends: Counter[object] = Counter()
        self.login = SimpleNamespace(refusals=Counter())
        self.traffic: dict[int, SessionCounters] = {}
        self.buckets: dict[int, FakeThrottle] = {}
        self.dropped: list[tuple[str, int]] = []
        self.access_lists = AccessLists()
        self.access_lists.in_use = lambda name: any(
            name in (each.filter_in, each.filter_out) for each in self.sessions.values()
        )
        self.lives = Lives(lambda: WALL)

    def clock(self) -> float:
        return NOW

    def wall(self) -> float:
        return WALL

    def usage(self, session: Session) -> SessionCounters:
        return self.traffic.get(session.key, SessionCounters())

    def sessions_of_user(self, user: str) -> list[Session]:
        return [
            session
            for session in self.sessions.values()
            if session.user.casefold() == user.casefold() and not session.walled_garden
        ]

    def find_session(self, text: str) -> Session:
        tunnel, _, number = text.rpartition("/")
        if not number.isdigit():
            raise LookupError(f'Invalid session id "{text}"')
        for session in self.sessions.values():
            if session.session_id == int(number) and tunnel in ("", str(session.tunnel_id)):
                return session
        raise LookupError(f"Session {text} is not active.")

    def drop_session(self, session: Session, reason: str) -> None:
        self.dropped.append(("session", session.session_id))

    def throttle_state(self, session: Session) -> FakeThrottle | None:
        return self.buckets.get(session.key)

    def throttle(self, session: Session, rate_in: int, rate_out: int) -> None:
        session.throttle_in = rate_in if rate_in >= 0 else session.throttle_in
        session.throttle_out = rate_out if rate_out >= 0 else session.throttle_out

    def snoop(self, session: Session, ip: int, port: int) -> None:
        session.snoop_ip, session.snoop_port = ip, port

    def filter(self, session: Session, filter_in: str, filter_out: str) -> None:
        session.filter_in, session.filter_out = filter_in, filter_out

    def drop_tunnel(self, tunnel: Any, reason: str) -> None:
        self.dropped.append(("tunnel", tunnel.local_id))

    def add(
        self, tunnel_id: int, session_id: int, user: str = "", *, age: int = 20, **values: Any
    ) -> Session:
        """A session that is up, `age` seconds old."""
        link: Any = SimpleNamespace(
            phase=Phase.NETWORK, lcp_state=State.OPENED, ipcp_state=State.OPENED, quality=None
        )
        session = Session(
            tunnel_id=tunnel_id,
            session_id=session_id,
            peer_session_id=session_id + 100,
            unique=session_id,
            opened=WALL - age,
            link=link,
            lac_address="10.9.0.101",
            state=SessionState.NETWORK,
            user=user,
            network_up=True,
            network_up_at=NOW - age,
            **{"mru": 1492, **values},
        )
        self.sessions[session.key] = session
        tunnel = self.endpoint.tunnels.setdefault(tunnel_id, FakeTunnel(tunnel_id))
        tunnel.calls[session_id] = object()
        return session


class FakeBgp:
    """BGP with one peer that is up; keeps what it is told."""

    settings = SimpleNamespace(asn=64_512, router_id=IPv4Address("10.9.0.1"), restart_s=120)

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.is_suspended = False

    def peers(self) -> list[PeerStatus]:
        return [
            PeerStatus(
                "192.0.2.9", 64_513, "Established", WALL, 1, self.is_suspended,
                not self.is_suspended, 3, 0, 180, "",
            )
        ]  # fmt: skip

    def suspend(self, peer: str, *, suspended: bool = True) -> list[str]:
        self.is_suspended = suspended
        return self._note("suspend" if suspended else "no suspend", peer)

    def restart(self, peer: str) -> list[str]:
        return self._note("restart", peer)

    def _note(self, what: str, peer: str) -> list[str]:
        if peer not in ("", "192.0.2.9"):
            raise LookupError(f"{peer} is no BGP peer (peers: 192.0.2.9)")
        self.told.append((what, peer))
        return ["192.0.2.9"]


class FakeCluster:
    """A cluster of two; this node is its master, or a slave."""

    def __init__(self, *, decides: bool = True) -> None:
        self.decides = decides
        self.is_draining = False
        self.asked: list[tuple[str, bool, bool]] = []
        self.answer: tuple[str, bool] | None = ("what the master says", False)

    def report(self) -> ClusterReport:
        return ClusterReport(
            "master" if self.decides else "slave",
            decides=self.decides,
            address="10.8.0.1",
            vip="203.0.113.1",
            interface="eth1",
            group="239.192.13.13",
            port=32_792,
            since=WALL - 90,
            master="10.8.0.1" if self.decides else "10.8.0.2",
            up_to_date=True,
            draws_traffic=not self.decides,
            draining=self.is_draining,
            reign=(7 << 32) + 0x0A080001,
            sequence=1234,
            followers=1,
            sessions=4,
            tunnels=2,
            takeovers=1,
            lost_changes=0,
            peers=(
                ClusterPeerReport(
                    "10.8.0.2", "slave", WALL - 3700, 0.2, up_to_date=True, draining=False, behind=0
                ),
            ),
            counters={"elections": 1},
            refused={"replay": 3, "key": 0},
        )

    def draining(self) -> Callable[[], bool]:
        def drain() -> bool:
            self.is_draining = True
            return self.answer is not None

        return drain

    def undrain(self) -> None:
        self.is_draining = False

    def asking(
        self, line: str, *, privileged: bool, as_json: bool
    ) -> Callable[[], tuple[str, bool]]:
        self.asked.append((line, privileged, as_json))

        def wait() -> tuple[str, bool]:
            if self.answer is None:
                raise LookupError("The master 10.8.0.2 does not answer")
            return self.answer

        return wait


class FakeContext:
    """A CommandContext whose clock stands still."""

    hostname = "vm"
    version = "9.9.9"
    started_time = WALL - 26

    def __init__(self) -> None:
        self.lns = FakeLns()
        self.config = Config()
        self.requests: list[FakeRequest] = []
        self.servers: list[FakeServer] = [FakeServer()]
        self.radius = SimpleNamespace(
            pending=lambda: iter(self.requests), servers=lambda: self.servers
        )
        self.busiest = Busiest()
        self.spool = SpoolStatus(0, 0, 1_000_000, None, 0, 0, is_down=False, on_disk=True)
        self.rates = Bandwidth()
        self.totals = TrafficTotals(Traffic(22556, 43, 0, 0, 22160, 40, 0), Traffic())
        self.values = {"tunnel_created": 2, "session_created": 4}
        self.counters = CounterBoard(
            lambda: self.totals, {"lns": lambda: self.values}, lambda: WALL
        )
        self.plugins: list[str] = ["garden"]
        self.saved_elsewhere = False
        self.plane = PlaneReport("user", "user", "dataplane says so", "tun0", 0)
        self.bgp: Any = None
        self.cluster: Any = None

    @property
    def access_lists(self) -> AccessLists:
        return self.lns.access_lists

    def bandwidth(self) -> Bandwidth:
        return self.rates

    def spool_status(self) -> SpoolStatus:
        return self.spool

    def plane_report(self) -> PlaneReport:
        return self.plane

    def plugin_names(self) -> Sequence[str]:
        return self.plugins

    def set_directive(self, name: str, text: str) -> str:
        self.config = with_value(self.config, name, text)
        return (
            f'Setting "{name}" to {format_value(find_directive(name), getattr(self.config, name))}'
        )

    def saving(self, *, force: bool) -> Callable[[], str]:
        if self.saved_elsewhere and not force:
            return self._refuse
        return lambda: "Configuration written to startup-config (7 bytes)"

    def _refuse(self) -> str:
        raise ConfigError("startup-config has changed since it was read")

    def run(
        self,
        line: str,
        mode: Mode = Mode.EXEC,
        *,
        json: bool = False,
        access: Access | None = None,
    ) -> "Screen":
        """Carry out a line to its end."""
        result = evaluate(line, self, GRAMMAR, access or Access(mode), as_json=json)
        if result.wait is not None:
            result.wait()
        lines = [text for text in result.lines if text is not None]
        return Screen(lines, result.error, result.mode, result.section)


@dataclass
class Screen:
    """What a command came to."""

    lines: list[str]
    error: str
    mode: Mode | None
    section: str = ""

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def four_sessions() -> FakeContext:
    """The four subscribers of the reference screens."""
    context = FakeContext()
    lns = context.lns
    lns.pool = AddressPool(range(0x0A140101, 0x0A140105))
    sessions = [
        lns.add(2, 1, "u1", age=19, ip=0x0A140101),
        lns.add(2, 2, "alice", age=15, ip=0x0A140505, throttle_in=2000, throttle_out=2000),
        lns.add(3, 3, "carol", age=11, ip=0x0A140606),
        lns.add(3, 4, "frank", age=7, ip=0x0A140102, ends_at=NOW + 3592, session_timeout=3600),
    ]
    lns.pool.claim(0x0A140101, "u1", sessions[0].key)
    lns.pool.claim(0x0A140102, "frank", sessions[3].key)
    lns.traffic[sessions[0].key] = SessionCounters(1680, 1690, 20, 21, NOW - 1, NOW - 3)
    lns.traffic[sessions[1].key] = SessionCounters(20560, 20561, 20, 20, NOW - 1, NOW - 1)
    return context
