"""What the directives of BGP make of ExaBGP's configuration and of what is announced."""

import dataclasses
import json
import subprocess
import sys
from base64 import b64decode
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.config.directives import Config
from l2tpns_core.routing.settings import (
    BgpSettings,
    announce,
    bgp_settings,
    configuration_text,
    end_of_rib,
    teardown,
    withdraw,
)
from l2tpns_core.startup import StartError

PREFIX = (0x0A400000, 19)


def settings_of(*, is_clustered: bool = False, **directives: Any) -> BgpSettings:
    config = Config(
        as_number=64_512,
        bgp_peer1="127.0.0.1",
        bgp_peer1_as=64_513,
        bind_address=IPv4Address("203.0.113.1"),
    )
    found = bgp_settings(dataclasses.replace(config, **directives), is_clustered=is_clustered)
    assert found is not None
    return found


def test_without_a_peer_there_is_no_bgp() -> None:
    assert bgp_settings(Config(as_number=64_512), is_clustered=False) is None


def test_a_peer_without_our_number_is_a_mistake() -> None:
    with pytest.raises(StartError, match="as_number"):
        bgp_settings(Config(bgp_peer1="127.0.0.1"), is_clustered=False)


def test_two_peers_are_told_apart() -> None:
    settings = settings_of(
        bgp_peer2="127.0.0.2",
        bgp_peer2_as=0,
        bgp_peer2_source=IPv4Address("127.0.0.9"),
        bgp_peer2_hold=30,
        bgp_peer2_password='a "b" \\c',
    )
    first, second = settings.peers
    assert (str(first.address), first.asn, str(first.source), first.hold_s) == (
        *("127.0.0.1", 64_513, "127.0.0.1", 180),
    )
    assert (str(second.address), second.asn, str(second.source), second.hold_s) == (
        *("127.0.0.2", 64_512, "127.0.0.9", 30),
    )
    text = configuration_text(settings, ["relay", "/sock"])
    one, two = text.split("neighbor 127.0.0.2")
    assert "md5-password" not in one
    assert "md5-password" in two
    assert "hold-time 30;" in two
    assert "local-preference 100" not in announce(settings, first, PREFIX)
    assert "local-preference 100" in announce(settings, second, PREFIX)
    assert "127.0.0.2" in withdraw(settings, second, PREFIX)
    assert 'a "b"' not in repr(settings)


def test_how_long_routers_keep_our_routes() -> None:
    assert settings_of(save_state=True).restart_s == 120
    assert settings_of(save_state=False).restart_s == 0
    assert settings_of(save_state=True, is_clustered=True).restart_s == 0
    assert settings_of(is_clustered=True, bgp_graceful_restart="30").restart_s == 30
    assert "graceful-restart disable" in configuration_text(settings_of(), ["r"])


def test_the_commands() -> None:
    settings = settings_of(nexthop_address=IPv4Address("192.0.2.77"))
    (peer,) = settings.peers
    assert announce(settings, peer, PREFIX) == (
        "neighbor 127.0.0.1 announce route 10.64.0.0/19 next-hop 192.0.2.77 origin igp med 1 "
        "community [no-export]"
    )
    assert withdraw(settings, peer, PREFIX).endswith("10.64.0.0/19 next-hop 192.0.2.77")
    assert end_of_rib(peer) == "neighbor 127.0.0.1 announce eor ipv4 unicast"
    assert teardown(peer) == "neighbor 127.0.0.1 teardown 4"
    assert "next-hop self" in announce(settings_of(), peer, PREFIX)


HOSTILE = 'x"; } process own { run /bin/touch /tmp/x; } neighbor 10.0.0.1 { #'


@pytest.mark.parametrize("password", ['with "quotes" and blanks', "it's", "deadbeef", "ß", HOSTILE])
def test_exabgp_takes_any_password_as_it_is(tmp_path: Path, password: str) -> None:
    settings = settings_of(bgp_peer1_password=password, save_state=True)
    file = tmp_path / "exabgp.conf"
    file.write_text(configuration_text(settings, [sys.executable, "-c", "0"]))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    processes, key = json.loads(done.stdout.splitlines()[-1])
    assert processes == ["lns"]
    assert b64decode(key) == password.encode()


READ = """
import json, sys
from exabgp.environment import getenv
from exabgp.logger import log
log.init(getenv())
from exabgp.configuration.configuration import Configuration
found = Configuration([sys.argv[1]])
if not found.reload():
    sys.exit(f"refused: {found.error}")
(neighbour,) = found.neighbors.values()
assert neighbour["md5-base64"] is True
print(json.dumps([list(found.processes), neighbour["md5-password"]]))
"""


def test_passwords_that_the_kernel_does_not_take_are_a_mistake() -> None:
    settings_of(bgp_peer1_password="ß" * 40)
    with pytest.raises(StartError, match="more than 80 octets"):
        settings_of(bgp_peer1_password="ß" * 41)


def test_peers_that_are_none_are_mistakes() -> None:
    with pytest.raises(StartError, match=r"BGP peer a\.\.b: it is no name"):
        settings_of(bgp_peer1="a..b")
    with pytest.raises(StartError, match=r"are the same: 127\.0\.0\.1"):
        settings_of(bgp_peer2="127.0.0.1", bgp_peer2_as=64_514)
