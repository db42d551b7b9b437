"""The walled garden, as a Linux client, the operator's iptables and FreeRADIUS see it."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from interop.accounting import start_of, stop_of
from interop.clientsession import ClientSession
from interop.freeradius import FreeRadius, octets
from interop.lineup import DIRECTIVES, HOST, PASSWORD, POOL
from interop.lnsdaemon import LnsDaemon
from interop.namespaces import Namespace, wait_for
from interop.nat import Nat
from interop.outside import GARDEN, LOGIN_PORT, NAME_SERVER, UNPAID, WEB, Outside
from interop.realclient import RealClient

pytestmark = [pytest.mark.daemon, pytest.mark.interop, pytest.mark.netns]

BUILD_GARDEN = f"""\
iptables -t nat -A garden -p tcp -m tcp --dport 25 -j DNAT --to {GARDEN}
iptables -t nat -A garden -p udp -m udp --dport 53 -j DNAT --to {GARDEN}
iptables -t nat -A garden -p tcp -m tcp --dport 53 -j DNAT --to {GARDEN}
iptables -t nat -A garden -p tcp -m tcp --dport 80 -j DNAT --to {GARDEN}
iptables -t nat -A garden -p tcp -m tcp --dport 110 -j DNAT --to {GARDEN}
iptables -t nat -A garden -p tcp -m tcp --dport 443 -j DNAT --to {GARDEN}
iptables -t nat -A garden -p icmp -m icmp --icmp-type echo-request -j DNAT --to {GARDEN}
iptables -t nat -A garden -p icmp -j ACCEPT
iptables -t nat -A garden -j DROP
iptables -t nat -A garden_unpaid -p tcp --dport 80 -j DNAT --to {UNPAID}
iptables -t nat -A garden_unpaid -j DROP
"""
"""The manual's example as it is there, and a garden with a name."""
PLUGINS_TOML = """\
[garden]
check_interval = 0.5
[garden.unpaid]
"""
OPERATORS = """\
table inet operator {
    set blocked { type ipv4_addr; elements = { 198.51.100.66 } }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ip saddr @blocked counter drop
    }
}
"""
"""What is there before the daemon, besides a rule in table nat."""
OPERATORS_NAT = "PREROUTING -d 198.51.100.77/32 -p tcp -m tcp --dport 8080 -j REDIRECT"
NOWHERE = ("198.18.0.1", "8.8.8.8")
"""Addresses where nobody is."""
HTTP_RULE = f"DNAT tcp dpt:80 to:{GARDEN}"
DNS_RULE = f"DNAT udp dpt:53 to:{GARDEN}"
ECHO_RULE = f"DNAT icmptype 8 to:{GARDEN}"
DROP_RULE = "MARK MARK or 0xf0000"
OPEN = "0x000f0000 == 0x000f0000"
"""In the rule that drops: only what build-garden says."""
REPAIR_TIMEOUT_S = 10
DROP_TIMEOUT_S = 5


@pytest.fixture(scope="module")
def nat(lns_namespace: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nat]:
    """netfilter with the operator's own rules in it."""
    directory = tmp_path_factory.mktemp("programs")
    found = Nat(lns_namespace, directory)
    rules = directory / "operators.nft"
    rules.write_text(OPERATORS)
    found.nft(f"-f {rules}")
    found.iptables(f"-t nat -A {OPERATORS_NAT}")
    yield found
    found.nft("flush ruleset")


@pytest.fixture(scope="module")
def before(nat: Nat) -> str:
    """The rules before the daemon."""
    return nat.listing()


@pytest.fixture(scope="module")
def daemon(
    lns_namespace: Namespace,
    client: RealClient,
    radius: FreeRadius,
    outside: Outside,
    nat: Nat,
    before: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LnsDaemon]:
    running = LnsDaemon(
        lns_namespace,
        tmp_path_factory.mktemp("lns"),
        DIRECTIVES,
        f"{POOL}\n",
        plugins=["garden"],
        files={"build-garden": BUILD_GARDEN, "plugins.toml": PLUGINS_TOML},
        programs=nat.programs,
    )
    yield running
    running.close()


@pytest.fixture
def filled(lns: LnsDaemon, nat: Nat) -> LnsDaemon:
    """The daemon, once build-garden has run."""
    wait_for(lambda: is_filled(nat), REPAIR_TIMEOUT_S, "rules from build-garden")
    return lns


@pytest.fixture
def trapped(filled: LnsDaemon, client: RealClient) -> Iterator[ClientSession]:
    """A session with a wrong password."""
    with client.dial("carol", "wrong") as session:
        assert session.is_up(), session.log
        session.take_default_route()
        yield session
    wait_until_empty(filled)


def is_filled(nat: Nat) -> bool:
    """Whether the gardens are filled and open."""
    is_open = OPEN in nat.nft("list chain ip l2tpns garden_drop")
    return is_open and DROP_RULE in nat.counts("garden") and bool(nat.counts("garden_unpaid"))


def row_of(lns: LnsDaemon) -> dict[str, Any]:
    (row,) = lns.sessions()
    return row


def wait_until_empty(lns: LnsDaemon) -> None:
    wait_for(lambda: not lns.sessions(), DROP_TIMEOUT_S, "empty session table")


@pytest.mark.parametrize("auth", ["chap", "pap"])
def test_wrong_password_is_let_into_the_garden(
    filled: LnsDaemon, client: RealClient, radius: FreeRadius, nat: Nat, auth: str
) -> None:
    """The client hears that it is in; RADIUS hears no accounting, the kernel its address."""
    already = len(radius.accounting())
    with client.dial("carol", "wrong", auth) as session:
        assert session.is_up(), session.log
        row = row_of(filled)
        assert (row["walled_garden"], row["ip"]) == (True, session.given["local"])
        flags = filled.cli("show session").splitlines()[1].split()[4:7]
        assert flags == ["N", "N", "Y"]
        assert nat.members() == {session.given["local"]}
        assert f"elements = {{ {session.given['local']} }}" in nat.nft("list ruleset")
    wait_until_empty(filled)
    assert nat.members() == set()
    assert len(radius.accounting()) == already


def test_client_that_checks_the_server_hangs_up(filled: LnsDaemon, client: RealClient) -> None:
    """MS-CHAPv2 has the server prove itself, which it cannot after a rejection."""
    with client.dial("carol", "wrong", "mschapv2") as session:
        assert session.is_over()
    wait_until_empty(filled)


def test_http_to_anywhere_lands_on_the_gardens_server(
    trapped: ClientSession, nat: Nat, outside: Outside
) -> None:
    """Whatever address the client asks, the garden answers; iptables has counted each of them."""
    before, already = nat.counts("garden"), len(outside.asked())
    everywhere = (WEB, HOST, *NOWHERE)
    for address in everywhere:
        assert trapped.fetch(f"http://{address}/") == f"this is {GARDEN}\n"
    ours = trapped.given["local"]
    asked = [f"http {GARDEN} {ours} {address}" for address in everywhere]
    assert outside.asked()[already:] == asked
    assert nat.counts("garden") == {**before, HTTP_RULE: before[HTTP_RULE] + len(everywhere)}


def test_names_are_resolved_as_build_garden_says(
    trapped: ClientSession, nat: Nat, outside: Outside
) -> None:
    """The name server that the client was given is out of reach: the garden's answers."""
    before, already = nat.counts("garden"), len(outside.asked())
    assert trapped.dns[0] == NAME_SERVER
    assert trapped.resolve("www.example.test") == GARDEN
    asked = [line for line in outside.asked()[already:] if line.startswith("dns")]
    assert set(asked) == {f"dns {GARDEN} {trapped.given['local']} www.example.test"}
    assert nat.counts("garden")[DNS_RULE] > before[DNS_RULE]
    assert trapped.fetch("http://www.example.test/") == f"this is {GARDEN}\n"


def test_the_rest_is_dropped(trapped: ClientSession, nat: Nat) -> None:
    """Pings are answered by the garden, as its file says; everything else gets nowhere."""
    counts, dropped = nat.counts("garden"), nat.dropped()
    assert trapped.ping(NOWHERE[0]) == 3
    assert nat.counts("garden")[ECHO_RULE] == counts[ECHO_RULE] + 1
    assert nat.dropped() == dropped
    assert trapped.greeting(WEB, LOGIN_PORT) == ""
    assert trapped.fetch(f"http://{WEB}:8080/") == ""
    assert nat.counts("garden")[DROP_RULE] >= counts[DROP_RULE] + 2
    assert nat.dropped() >= dropped + 2


def test_another_subscriber_is_free(trapped: ClientSession, client: RealClient, nat: Nat) -> None:
    with client.dial("alice", PASSWORD, beside=trapped) as free:
        free.take_default_route()
        assert free.fetch(f"http://{WEB}/") == f"this is {WEB}\n"
        assert free.greeting(WEB, LOGIN_PORT) == "login:"
        assert nat.members() == {trapped.given["local"]}
        trapped.take_default_route()
        assert trapped.fetch(f"http://{WEB}/") == f"this is {GARDEN}\n"


def test_radius_chooses_a_garden(filled: LnsDaemon, client: RealClient, nat: Nat) -> None:
    """A right password, and garden=unpaid in the answer."""
    with client.dial("late", PASSWORD) as session:
        session.take_default_route()
        assert session.fetch(f"http://{WEB}/") == f"this is {UNPAID}\n"
        assert session.greeting(WEB, LOGIN_PORT) == ""
        assert (nat.members(), nat.members("garden_unpaid")) == (set(), {session.given["local"]})
    wait_until_empty(filled)


def test_ungarden_makes_a_customer(
    trapped: ClientSession, filled: LnsDaemon, radius: FreeRadius, nat: Nat
) -> None:
    """The session becomes the named user's: free, and accounted for from then on."""
    assert trapped.fetch(f"http://{WEB}/") == f"this is {GARDEN}\n"
    before = trapped.traffic_at_rest()
    assert min(before.sent, before.received) > 0
    assert radius.accounting("freed") == radius.accounting("carol") == []
    filled.nsctl("ungarden", str(trapped.session_id), "freed")
    row = row_of(filled)
    assert (row["walled_garden"], row["user"]) == (False, "freed")
    assert filled.cli("show session").splitlines()[1].split()[4:7] == ["N", "N", "N"]
    assert nat.members() == set()
    start = start_of(radius, trapped, "freed")
    assert trapped.fetch(f"http://{WEB}/") == f"this is {WEB}\n"
    assert trapped.resolve("www.example.test") == WEB
    assert trapped.greeting(WEB, LOGIN_PORT) == "login:"
    after = trapped.traffic_at_rest()
    with pytest.raises(RuntimeError, match="not in walled garden"):
        filled.nsctl("ungarden", str(trapped.session_id))
    trapped.hangup("ppp")
    assert trapped.traffic() == after
    stop = stop_of(radius, start)
    assert octets(stop) == (after.sent - before.sent, after.received - before.received)
    assert stop["User-Name"] == "freed"
    assert stop["Acct-Terminate-Cause"] == "User-Request"
    assert radius.accounting("carol") == []


def test_flushed_rules_are_repaired(trapped: ClientSession, filled: LnsDaemon, nat: Nat) -> None:
    """Somebody's firewall script empties table nat and a set: it is put right within seconds."""
    listing = nat.listing()
    nat.nft("flush chain ip nat garden")
    nat.nft("flush chain ip nat garden_users")
    nat.nft("flush set ip l2tpns garden")
    wait_for(lambda: nat.listing() == listing, REPAIR_TIMEOUT_S, "repair of the rules")
    assert "chain garden has lost its rules" in filled.log()
    assert "the garden is repaired: " in filled.log()
    assert trapped.fetch(f"http://{WEB}/") == f"this is {GARDEN}\n"


def test_killed_daemon_finds_its_rules_again(
    filled: LnsDaemon, client: RealClient, nat: Nat
) -> None:
    """After kill -9 who was trapped stays so; the next daemon makes the rules what they were."""
    listing = nat.listing()
    with client.dial("carol", "wrong") as session:
        trapped = nat.listing()
        filled.process.stop(signal.SIGKILL)
        assert nat.listing() == trapped
        assert nat.members() == {session.given["local"]}
    nat.iptables("-t nat -A PREROUTING -j garden_users")
    nat.nft("flush chain ip nat garden_users")
    filled.start()
    wait_for(lambda: is_filled(nat), REPAIR_TIMEOUT_S, "rules from build-garden")
    assert nat.listing() == listing
    with client.dial("carol", "wrong") as session:
        session.take_default_route()
        assert session.fetch(f"http://{WEB}/") == f"this is {GARDEN}\n"
    wait_until_empty(filled)


def test_nothing_is_left_when_the_daemon_ends(
    filled: LnsDaemon, client: RealClient, nat: Nat, before: str
) -> None:
    """At a clean end only what was there before is there, to the letter, also with users in it."""
    with client.dial("carol", "wrong") as session:
        assert nat.members() == {session.given["local"]}
        assert filled.process.stop() == 0
        assert nat.listing() == before
        session.wait_over()
    filled.start()
    wait_for(lambda: is_filled(nat), REPAIR_TIMEOUT_S, "rules from build-garden")
