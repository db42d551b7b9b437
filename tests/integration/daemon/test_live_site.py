"""The fixture that gives plugin authors a real daemon."""

import pytest

from l2tpns_core.lab import CallError
from l2tpns_core.lab.live import LiveSite

pytestmark = [pytest.mark.daemon, pytest.mark.netns]


@pytest.mark.lns(plugins=["autothrottle"], throttle_speed=64)
def test_a_subscriber_of_a_real_daemon(lns_site: LiveSite) -> None:
    lns_site.add_user("alice", "pw", ["throttle=yes"])
    client = lns_site.dial("alice", "pw")
    assert lns_site.ping(client)
    (row,) = lns_site.show("show throttle")
    assert (row["user"], row["throttle_in_kbps"]) == ("alice", 64)
    with pytest.raises(CallError):
        lns_site.dial("alice", "wrong")
    assert "login by alice" in lns_site.log()


@pytest.mark.lns(plugins=["garden"], settings="[garden]\ncheck_interval = 7\n")
def test_settings_and_plugins_are_those_of_the_mark(lns_site: LiveSite) -> None:
    lns_site.add_user("alice", "right")
    lns_site.dial("alice", "wrong")
    (row,) = lns_site.show("show session")
    assert row["walled_garden"]
