"""autosnoop on an LNS in memory: from RADIUS to the plane and back, and nothing in the log."""

import asyncio
import logging
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from l2tpns_core.plugin_host import PluginHost
from l2tpns_core.plugins import ParamRadiusReset
from l2tpns_core.radius.avpair import split_avpair
from l2tpns_core.radius.dictionary import encode_named
from l2tpns_core.radius.model import AccessOutcome, AccessReply, AccountingStatus
from l2tpns_core.session import Session
from l2tpns_plugins_autosnoop import AutoSnoopPlugin
from l2tpns_plugins_autosnoop.plugin import TargetError, target_of
from support.memory import Lac, World, ip

TARGET = ("198.51.100.9", 9000)
CONFIGURED: dict[str, object] = {"snoop_host": IPv4Address(TARGET[0]), "snoop_port": TARGET[1]}
OTHER = ("203.0.113.4", 7)


class Place:
    """An LNS with the plugin, whose RADIUS gives everybody the same pairs."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, directory: Path, **directives: object
    ) -> None:
        self.world = World(**directives)  # type: ignore[arg-type]
        self.host = PluginHost(self.world.lns, self.world.plugins, loop, directory)
        self.world.plugins.register("autosnoop", AutoSnoopPlugin)
        self.lac = Lac(self.world).open()

    def login(self, *avpairs: str, user: str = "alice") -> Session:
        pairs = tuple(pair for text in avpairs for pair in split_avpair(text))
        self.world.radius.policy = lambda request: AccessReply(AccessOutcome.ACCEPT, avpairs=pairs)
        client = self.lac.call(user)
        assert client.up
        return self.world.lns.sessions[client.key]

    def snoop(self, session: Session, target: tuple[str, int]) -> None:
        """What an operator does."""
        self.world.lns.snoop(session, ip(target[0]), target[1])

    def reset(self, session: Session) -> None:
        self.world.plugins.radius_reset(
            ParamRadiusReset(t=session.tunnel_id, s=session.session_id, session=session)
        )

    def planned(self, session: Session) -> tuple[str, int] | None:
        """What the plane was told."""
        return self.world.plane.routes[session.key].snoop


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def place(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Place:
    return Place(loop, tmp_path, **CONFIGURED)


@pytest.mark.parametrize(
    ("avpairs", "expected"),
    [
        (["intercept=yes"], TARGET),
        (["Intercept=YES"], TARGET),
        (["intercept=203.0.113.4:7"], OTHER),
        (["intercept=yes,throttle=yes"], TARGET),
        (["throttle=yes,intercept=203.0.113.4:7"], OTHER),
        (["intercept=yes", "intercept=no"], None),
        (["intercept=yes", "intercept=203.0.113.4:7"], OTHER),
        (["intercept=no"], None),
        (["intercept=maybe"], None),
        ([], None),
    ],
)
def test_copies_are_made_from_the_first_packet(
    place: Place, avpairs: list[str], expected: tuple[str, int] | None
) -> None:
    assert place.planned(place.login(*avpairs)) == expected


def test_a_value_that_cannot_be_used_leaves_what_there_is(place: Place) -> None:
    assert place.planned(place.login("intercept=203.0.113.4:7", "intercept=1.2.3.4:0")) == OTHER


@pytest.mark.parametrize("missing", ["snoop_host", "snoop_port"])
def test_yes_does_nothing_while_nobody_is_configured(
    loop: asyncio.AbstractEventLoop,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    missing: str,
) -> None:
    directives = {name: value for name, value in CONFIGURED.items() if name != missing}
    place = Place(loop, tmp_path, **directives)
    caplog.set_level(logging.DEBUG)
    assert place.planned(place.login("intercept=yes")) is None
    (record,) = [each for each in caplog.records if "snoop_host" in each.getMessage()]
    assert record.levelno == logging.DEBUG


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "1.2.3.4",
        "1.2.3.4:",
        ":9",
        "a:9",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "1.2.3.4:\N{SUPERSCRIPT TWO}",
        "1.2.3.4:9:9",
        "0.0.0.0:9",
        "255.255.255.255:9",
        "[::1]:9",
    ],
)
def test_targets_that_are_none(text: str) -> None:
    with pytest.raises(TargetError, match="not yes, no or IP:PORT"):
        target_of(text)


def test_reset_ends_what_came_from_here(place: Place) -> None:
    session = place.login("intercept=yes")
    place.reset(session)
    assert place.planned(session) is None
    assert not session.plugin_data


def test_reset_leaves_what_an_operator_has_directed_elsewhere(place: Place) -> None:
    session = place.login("intercept=yes")
    place.snoop(session, OTHER)
    place.reset(session)
    assert place.planned(session) == OTHER


def test_unloading_ends_its_own_interceptions_and_no_others(place: Place) -> None:
    ours, changed, foreign = (
        place.login("intercept=yes", user="a"),
        place.login("intercept=yes", user="b"),
        place.login(user="c"),
    )
    place.snoop(changed, OTHER)
    place.snoop(foreign, OTHER)
    place.world.plugins.unload("autosnoop")
    place.world.run()
    assert [place.planned(each) for each in (ours, changed, foreign)] == [None, OTHER, OTHER]
    assert not any(each.plugin_data for each in (ours, changed, foreign))


def test_accounting_tells_where_the_copies_go(place: Place) -> None:
    session = place.login("intercept=203.0.113.4:7")
    (start,) = place.world.radius.of(AccountingStatus.START)
    pair = "intercept=203.0.113.4:7"
    assert start.extra == [("Cisco-AVPair", pair)]
    assert encode_named("Cisco-AVPair", pair).endswith(pair.encode())
    place.world.lns.snoop(session, 0, 0)
    place.world.lns.drop_session(session, "test")
    place.world.run(5)
    (stop,) = place.world.radius.of(AccountingStatus.STOP)
    assert stop.extra == []


def test_the_log_of_an_intercepted_session_is_that_of_any_other(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """From login to unload, at the levels 0 to 4 of the manual."""

    def life(*avpairs: str) -> list[str]:
        caplog.clear()
        session = place.login(*avpairs)
        place.world.run(3600)
        place.snoop(session, TARGET)
        place.reset(session)
        place.snoop(session, OTHER)
        place.world.lns.drop_session(session, "test")
        place.world.run(60)
        place.world.plugins.unload("autosnoop")
        place.world.plugins.register("autosnoop", AutoSnoopPlugin)
        return [each.getMessage() for each in caplog.records if each.levelno > logging.DEBUG]

    caplog.set_level(1)
    plain = life()
    assert plain
    for avpair in ("intercept=yes", "intercept=203.0.113.4:7", "intercept=junk", "intercept=no"):
        assert life(avpair) == plain
