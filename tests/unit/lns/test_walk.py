"""Random lives: whatever LACs, clients, RADIUS, operators and plugins do in whatever order, what
the LNS keeps agrees with itself at each step, and nothing is left at the end."""

import random
import struct
from collections import Counter
from typing import Any

import pytest

from l2tpns_core.plugins import (
    ParamKillSession,
    ParamNewSession,
    ParamPostAuth,
    ParamPreAuth,
    ParamRadiusAccount,
    ParamRadiusResponse,
    hookimpl,
)
from l2tpns_core.radius.model import (
    AccessOutcome,
    AccessReply,
    AccessRequest,
    AccountingStatus,
    FramedRoute,
)
from l2tpns_core.session import SessionState
from support.memory import Client, Lac, World, avp, ip

SEEDS = 25
STEPS = 150
OUTSIDE = ip("192.168.7.7")
ADDRESSES = (0xFFFFFFFF, 0xFFFFFFFE, ip("10.0.0.2"), ip("203.0.113.5"), OUTSIDE, ip("127.0.0.1"))
ROUTES = (
    FramedRoute(ip("198.51.100.0"), 24),
    FramedRoute(ip("198.51.0.0"), 16),
    FramedRoute(ip("203.0.113.5"), 32),
    FramedRoute(OUTSIDE, 32),
)


class WalkClient(Client):
    """Speaks PAP or CHAP, whichever it is asked for."""

    def receive(self, frame: bytes) -> None:
        plain = frame.removeprefix(b"\xff\x03")
        protocol, code, identifier = struct.unpack_from("!HBB", plain)
        if protocol != 0xC223:
            super().receive(frame)
        elif code == 1 and not self.silent:
            self.send(0xC223, 2, identifier, b"\x10" + bytes(16) + self.user.encode())
        elif code == 3 and not self.silent:
            self.send(0x8021, 1, 1, self._ask())


class Meddler:
    """A plugin that drops sessions in any event, and counts."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world, self.dice = world, dice
        self.news: Counter[int] = Counter()
        self.kills: Counter[int] = Counter()

    def meddle(self, param: Any) -> None:
        lns, luck = self.world.lns, self.dice.random()
        if luck < 0.03:
            lns.drop_session(param.session, "plugin")
        elif luck < 0.05 and lns.sessions:
            lns.drop_session(self.dice.choice(list(lns.sessions.values())), "plugin")

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> None:
        self.meddle(param)

    @hookimpl
    def post_auth(self, param: ParamPostAuth) -> None:
        if self.dice.random() < 0.1:
            param.session.walled_garden, param.auth_allowed = True, 1
        self.meddle(param)

    @hookimpl
    def radius_response(self, param: ParamRadiusResponse) -> None:
        self.meddle(param)

    @hookimpl
    def radius_account(self, param: ParamRadiusAccount) -> None:
        self.meddle(param)

    @hookimpl
    def new_session(self, param: ParamNewSession) -> None:
        self.news[param.session.unique] += 1
        self.meddle(param)

    @hookimpl
    def kill_session(self, param: ParamKillSession) -> None:
        self.kills[param.session.unique] += 1
        self.meddle(param)


class Walk:
    """One world, and the dice that say what happens in it."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        self.world = World(
            pool=dice.choice((3, 10, 40)),
            radius_authtypes=dice.choice(("pap", "chap", "pap,chap")),
            chap_rechallenge=dice.choice((0, 30)),
            duplicate_login=dice.choice(("replace", "refuse")),
            allow_duplicate_users=dice.random() < 0.3,
            guest_account="u1",
            max_sessions=dice.choice((8, 65535)),
        )
        self.lns = self.world.lns
        self.world.routes.pool = ((ip("10.0.0.0"), 24), (ip("203.0.113.0"), 24))
        self.world.radius.policy = self.answer
        self.plugin = Meddler(self.world, dice)
        self.world.plugins.register("meddler", self.plugin)
        self.lns.cleanup.start(self.world.now)
        self.lacs: list[Lac] = []

    @property
    def clients(self) -> list[Client]:
        return [client for lac in self.lacs for client in lac.clients.values()]

    def answer(self, _request: AccessRequest) -> AccessReply | None:
        dice, luck = self.dice, self.dice.random()
        if luck < 0.1:
            return None
        if luck < 0.2:
            return AccessReply(AccessOutcome.REJECT)
        if luck < 0.25:
            return AccessReply(AccessOutcome.TIMEOUT)
        offered: dict[str, Any] = {
            "framed_ip": dice.choice(ADDRESSES),
            "routes": tuple(dice.sample(ROUTES, 2)),
            "session_timeout": dice.choice((0, 50)),
            "idle_timeout": 40,
            "interim_interval": 60,
            "avpairs": (("a", "b"), ("c", "d")),
        }
        chosen = {name: value for name, value in offered.items() if dice.random() < 0.3}
        return AccessReply(AccessOutcome.ACCEPT, **chosen)

    # What may happen

    def open_tunnel(self) -> None:
        number = len(self.lacs) + 1
        self.lacs.append(Lac(self.world, (f"192.0.2.{number}", 1701), 100 + number).open())

    def dial(self) -> None:
        lac = self.dice.choice(self.lacs)
        client = WalkClient(
            lac,
            f"u{self.dice.randint(0, 5)}",
            "pw",
            100 + len(lac.calls),
            echoes=self.dice.random() < 0.9,
            connect=self.dice.random() < 0.95,
            wanted=self.dice.choice((0, OUTSIDE, ip("10.0.0.3"), ip("203.0.113.5"))),
        )
        lac.calls[client.call_id] = client
        lac.send(10, avp(14, struct.pack("!H", client.call_id)) + avp(15, bytes(4)))

    def hang_up(self, client: Client) -> None:
        result = avp(1, struct.pack("!H", self.dice.randint(1, 3)))
        call = avp(14, struct.pack("!H", client.call_id))
        client.lac.send(14, result + call, client.session_id)

    def stop_tunnel(self) -> None:
        lac = self.dice.choice(self.lacs)
        lac.send(4, avp(1, struct.pack("!H", 1)) + avp(9, struct.pack("!H", lac.tunnel_id)))

    def disturb_client(self) -> None:
        client, what = self.dice.choice(self.clients), self.dice.randrange(6)
        if what == 0:
            client.silent = True
        elif what == 1:
            magic = struct.pack("!I", self.dice.getrandbits(32) | 1)
            client.send(0xC021, 1, 2, bytes([5, 6]) + magic)
        elif what == 2:
            client.user = f"u{self.dice.randint(0, 5)}"
        elif what == 3:
            client.send(0xC021, 5, 9)
        elif what == 4:
            client.send(0x8021, 1, 3, client._ask())
        else:
            self.hang_up(client)

    def operate(self) -> None:
        what, tunnels = self.dice.randrange(8), list(self.lns.endpoint.tunnels.values())
        if what == 0 and tunnels:
            self.lns.drop_tunnel(self.dice.choice(tunnels), "operator")
        elif what == 1:
            first = self.dice.choice((ip("10.0.0.1"), ip("203.0.113.4")))
            self.lns.replace_pool(range(first, first + self.dice.choice((0, 5, 20))))
        elif what == 2:
            self.lns.refresh_routes()
        elif self.lns.sessions:
            session = self.dice.choice(list(self.lns.sessions.values()))
            self.lns.drop_session(session, "operator")

    def step(self) -> None:
        luck = self.dice.random()
        if not self.lacs or (luck < 0.05 and len(self.lacs) < 6):
            self.open_tunnel()
        elif luck < 0.45:
            self.dial()
        elif luck < 0.65 and self.clients:
            self.disturb_client()
        elif luck < 0.8:
            self.operate()
        elif luck < 0.82:
            self.stop_tunnel()
        elif luck < 0.84:
            self.dice.choice(self.lacs).silent = True
        else:
            self.world.run(self.dice.choice((0.01, 1, 5, 20, 70)))
        if self.dice.random() < 0.9:
            self.world.run()

    # What must hold

    def check(self) -> None:
        lns, world = self.lns, self.world
        addresses = [session.ip for session in lns.sessions.values() if session.ip]
        assert len(addresses) == len(set(addresses))
        assert set(world.plane.routes) <= set(lns.sessions)
        for address in lns.pool.leased():
            assert lns.sessions[lns.pool.holder(address) or 0].ip == address
        wanted = set()
        for session in lns.sessions.values():
            assert session.state is not SessionState.ENDED
            assert session.timer is not None
            assert session.timer.active
            wanted |= set(lns.login.networks(session))
            if not session.ip:
                continue
            assert lns.session_by_ip(session.ip) is session
            assert session.ip not in lns.pool or lns.pool.holder(session.ip) == session.key
            if not world.routes.covers(session.ip):
                wanted.add((session.ip, 32))
        assert wanted <= world.routes.routes
        assert all(world.routes.covers(net) for net, _bits in world.routes.routes - wanted)
        for number in range(6):
            assert all(
                lns.sessions.get(session.key) is session
                for session in lns.sessions_of_user(f"u{number}")
            )
        assert lns.cleanup.repaired == 0
        assert lns.counters.session_failed == 0

    def finish(self) -> None:
        self.lns.shut_down("the end")
        self.world.run(15)
        self.check()
        if self.dice.random() < 0.5:
            self.lns.cut_off("the end", len(self.lns.sessions))
        self.world.run(200)
        self.check()
        assert not self.lns.sessions
        assert not self.lns.endpoint.tunnels
        assert not self.world.plane.routes
        assert not self.world.routes.routes
        assert self.lns.pool.used_count == 0
        assert set(self.plugin.kills.values()) <= {1}
        assert set(self.plugin.news.values()) <= {1}
        assert len(self.plugin.kills) == self.lns.counters.session_created
        assert self.lns.counters.session_ended == self.lns.counters.session_created
        self.check_accounting()

    def check_accounting(self) -> None:
        starts, stops = (
            [record.identity.accounting_id for record in self.world.radius.of(status)]  # type: ignore[union-attr]
            for status in (AccountingStatus.START, AccountingStatus.STOP)
        )
        assert len(starts) == len(set(starts))
        assert sorted(starts) == sorted(stops)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_left_of_random_lives(seed: int) -> None:
    walk = Walk(seed)
    for _ in range(STEPS):
        walk.step()
        walk.check()
    walk.finish()
