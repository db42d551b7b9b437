"""Tests on an LNS in memory: l2tpns-core brings the fixture lns_world."""

import pytest
from l2tpns_login_watch import LoginWatch

from l2tpns_core.lab.world import LnsWorld
from l2tpns_core.plugins.discovery import PluginError


def test_too_many_logins_are_reported(
    lns_world: LnsWorld, caplog: pytest.LogCaptureFixture
) -> None:
    lns_world.load(LoginWatch, settings={"per_minute": 2})
    for _ in range(3):
        assert lns_world.dial("alice").up
    assert "alice has logged in 3 times in a minute" in caplog.text


def test_they_are_refused_if_so_set(lns_world: LnsWorld) -> None:
    lns_world.load(LoginWatch, settings={"per_minute": 1, "refuse": True})
    assert lns_world.dial("alice").up
    assert lns_world.dial("alice").refusal
    assert lns_world.dial("bob").up


def test_a_minute_later_all_is_well_again(lns_world: LnsWorld) -> None:
    lns_world.load(LoginWatch, settings={"per_minute": 1, "refuse": True})
    lns_world.dial("alice")
    lns_world.run(61.0)
    assert lns_world.dial("alice").up


def test_radius_gives_a_limit_of_ones_own(lns_world: LnsWorld) -> None:
    lns_world.load(LoginWatch, settings={"per_minute": 1, "refuse": True})
    lns_world.radius.add_user("alice", avpairs=["login_watch=2"])
    assert lns_world.dial("alice").up
    assert lns_world.dial("alice").up
    assert lns_world.dial("alice").refusal


def test_settings_count_from_their_change_on(lns_world: LnsWorld) -> None:
    lns_world.load(LoginWatch, settings={"per_minute": 1, "refuse": True})
    lns_world.dial("alice")
    lns_world.change_settings("login_watch", per_minute=5, refuse=True)
    assert lns_world.dial("alice").up


def test_nsctl_tells_how_many(lns_world: LnsWorld) -> None:
    lns_world.load(LoginWatch)
    lns_world.dial("alice")
    assert lns_world.nsctl("login_watch", "alice").text == "alice: 1"
    assert lns_world.nsctl("login_watch").text == "requires a user name"


def test_a_setting_that_makes_no_sense_is_refused(lns_world: LnsWorld) -> None:
    with pytest.raises(PluginError, match="per_minute must be 1 or more"):
        lns_world.load(LoginWatch, settings={"per_minute": 0})
