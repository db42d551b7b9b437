"""autothrottle on an LNS in memory: rates from RADIUS to the plane, and back in the accounting."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2tpns_core.plugin_host import PluginHost
from l2tpns_core.plugins import ParamRadiusReset
from l2tpns_core.radius.avpair import split_avpair
from l2tpns_core.radius.dictionary import encode_named
from l2tpns_core.radius.model import AccessOutcome, AccessReply, AccountingStatus
from l2tpns_core.session import Session
from l2tpns_plugins_autothrottle import AutoThrottlePlugin
from support.memory import Lac, World

INPUT = "lcp:interface-config#1=service-policy input 256"
OUTPUT = "lcp:interface-config#2=service-policy output 1024"


class Place:
    """An LNS with the plugin, whose RADIUS gives everybody the same pairs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, directory: Path, speed: int = 28) -> None:
        self.world = World(throttle_speed=speed)
        self.host = PluginHost(self.world.lns, self.world.plugins, loop, directory)
        self.world.plugins.register("autothrottle", AutoThrottlePlugin)
        self.lac = Lac(self.world).open()

    def login(self, *avpairs: str, user: str = "alice") -> Session:
        pairs = tuple(pair for text in avpairs for pair in split_avpair(text))
        self.world.radius.policy = lambda request: AccessReply(AccessOutcome.ACCEPT, avpairs=pairs)
        client = self.lac.call(user)
        assert client.up
        return self.world.lns.sessions[client.key]

    def reset(self, session: Session) -> None:
        self.world.plugins.radius_reset(
            ParamRadiusReset(t=session.tunnel_id, s=session.session_id, session=session)
        )

    def planned(self, session: Session) -> tuple[int, int]:
        """What the plane was told."""
        route = self.world.plane.routes[session.key]
        return route.throttle_in, route.throttle_out


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    loop = asyncio.new_event_loop()
    yield Place(loop, tmp_path)
    loop.close()


@pytest.mark.parametrize(
    ("avpairs", "expected"),
    [
        (["throttle=yes"], (28, 28)),
        (["throttle=512"], (512, 512)),
        (["throttle=no"], (0, 0)),
        (["intercept=no,throttle=yes"], (28, 28)),
        ([INPUT], (256, 0)),
        ([OUTPUT], (0, 1024)),
        ([INPUT, OUTPUT], (256, 1024)),
        (["throttle=512", INPUT], (256, 512)),
        (["throttle=512", "throttle=no"], (0, 0)),
        (["throttle=512", "lcp:interface-config#1=service-policy input 0"], (0, 512)),
        ([], (0, 0)),
    ],
)
def test_rates_of_a_login_are_in_force_from_its_first_packet(
    place: Place, avpairs: list[str], expected: tuple[int, int]
) -> None:
    session = place.login(*avpairs)
    assert (session.throttle_in, session.throttle_out) == expected
    assert place.planned(session) == expected


def test_what_cannot_be_used_is_logged_once_and_ignored(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    session = place.login("throttle=fast", OUTPUT)
    assert place.planned(session) == (0, 1024)
    (record,) = [each for each in caplog.records if "ignored" in each.getMessage()]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "autothrottle: ignored: throttle=fast: no rate from 1 to 10000000, yes or no"
    )
    assert record.__dict__["user"] == "alice"


def test_yes_without_a_throttle_speed_does_not_throttle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.new_event_loop()
    place = Place(loop, tmp_path, speed=0)
    assert place.planned(place.login("throttle=yes")) == (0, 0)
    assert "throttle=yes: throttle_speed is 0" in caplog.text
    loop.close()


def test_reset_lifts_what_came_from_here(place: Place) -> None:
    session = place.login("throttle=512")
    place.reset(session)
    assert place.planned(session) == (0, 0)
    assert not session.plugin_data


def test_reset_leaves_what_an_operator_has_set_since(place: Place) -> None:
    session = place.login("throttle=512")
    place.world.lns.throttle(session, -1, 64)
    place.reset(session)
    assert place.planned(session) == (0, 64)
    place.world.lns.throttle(session, 32, 64)
    place.reset(session)
    assert place.planned(session) == (32, 64)


def test_unloading_lifts_its_own_limits_and_no_others(place: Place) -> None:
    ours, changed, foreign = (
        place.login("throttle=512", user="a"),
        place.login("throttle=512", user="b"),
        place.login(user="c"),
    )
    place.world.lns.throttle(changed, 100, 100)
    place.world.lns.throttle(foreign, 5, 5)
    place.world.plugins.unload("autothrottle")
    place.world.run()
    assert place.planned(ours) == (0, 0)
    assert place.planned(changed) == (100, 100)
    assert place.planned(foreign) == (5, 5)
    assert not any(each.plugin_data for each in (ours, changed, foreign))
    place.world.plugins.register("autothrottle", AutoThrottlePlugin)
    assert place.planned(place.login("throttle=7", user="d")) == (7, 7)


def test_accounting_tells_the_rates_in_force(place: Place) -> None:
    session = place.login(INPUT, OUTPUT)
    (start,) = place.world.radius.of(AccountingStatus.START)
    assert start.extra == [("Cisco-AVPair", INPUT), ("Cisco-AVPair", OUTPUT)]
    place.world.lns.throttle(session, 0, 64)
    place.world.lns.drop_session(session, "test")
    place.world.run(5)
    (stop,) = place.world.radius.of(AccountingStatus.STOP)
    assert stop.extra == [("Cisco-AVPair", "lcp:interface-config#1=service-policy output 64")]


def test_accounting_of_a_session_without_limits_has_nothing_more(place: Place) -> None:
    place.login()
    (start,) = place.world.radius.of(AccountingStatus.START)
    assert start.extra == []


def test_the_pairs_can_be_put_into_a_packet() -> None:
    octets = bytes([26, 6 + 2 + len(INPUT), 0, 0, 0, 9, 1, 2 + len(INPUT)]) + INPUT.encode()
    assert encode_named("Cisco-AVPair", INPUT) == octets
