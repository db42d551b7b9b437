"""The rules in a real kernel: what they do to packets, what they leave alone, their repair."""

import errno
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.garden.place import (
    ANYWHERE,
    FREE,
    GARDEN_SERVER,
    TIMEOUT_S,
    TRAPPED,
    Place,
    ask,
    number,
)
from l2tpns_core.lab.netns import Namespace
from l2tpns_plugins_garden.conntrack import Connections
from l2tpns_plugins_garden.firewall import Firewall, GardenError
from l2tpns_plugins_garden.netlink import NetfilterError
from l2tpns_plugins_garden.rules import Garden, Layout

pytestmark = pytest.mark.netns

DEFAULT, UNPAID = Garden("", 0x10000), Garden("unpaid", 0x20000)
LAYOUT = Layout((DEFAULT, UNPAID), 0xF0000)
DNAT = f"-p tcp --dport 80 -j DNAT --to {GARDEN_SERVER}"


class Gate:
    """A Firewall whose socket is in the router."""

    def __init__(self, router: Place) -> None:
        self.reports: list[str] = []
        self.firewall = Firewall(LAYOUT, report=self.reports.append)
        self.connections = Connections(report=self.reports.append)
        router.router.call(lambda: self.firewall.kernel)
        self._router = router

    def trap(self, address: str, garden: Garden | None = DEFAULT) -> None:
        self.firewall.change({number(address): garden})
        self._router.router.call(self.connections.forget, [number(address)])

    def close(self) -> None:
        self.firewall.close()
        self.connections.close()


@pytest.fixture
def gate(router: Place) -> Iterator[Gate]:
    made = Gate(router)
    made.firewall.set_up(refill=False)
    yield made
    made.close()


def iptables(router: Place, line: str) -> str:
    return router.run("iptables", *line.split())


def test_only_the_trapped_source_lands_in_the_garden(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    gate.trap(TRAPPED)
    assert router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER
    assert router.reaches(FREE, ANYWHERE, 80) == ANYWHERE
    gate.trap(TRAPPED, None)
    assert router.reaches(TRAPPED, ANYWHERE, 80) == ANYWHERE


def test_iptables_lists_rules_and_counters(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    gate.trap(TRAPPED)
    router.reaches(TRAPPED, ANYWHERE, 80)
    listing = iptables(router, "-t nat -L garden -nvx")
    packets, octets, target = listing.splitlines()[2].split()[:3]
    assert (packets, octets, target) == ("1", "60", "DNAT")
    saved = iptables(router, "-t nat -S")
    assert "-A PREROUTING -j garden_users\n" in saved
    assert "-A garden_users -m mark --mark 0x10000/0xf0000 -j garden\n" in saved
    assert "-A garden_users -m mark --mark 0x20000/0xf0000 -j garden_unpaid\n" in saved


def test_named_garden_has_its_own_rules(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden_unpaid {DNAT}")
    gate.trap(TRAPPED, UNPAID)
    gate.trap(FREE, DEFAULT)
    assert router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER
    assert router.reaches(FREE, ANYWHERE, 80) == ANYWHERE
    gate.trap(TRAPPED, DEFAULT)
    assert router.members("garden_unpaid") == set()
    assert router.reaches(TRAPPED, ANYWHERE, 80) == ANYWHERE


def test_open_connection_ends_when_its_user_is_trapped(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    with router.connect(TRAPPED, ANYWHERE, 80) as before, router.connect(FREE, ANYWHERE, 80) as his:
        assert ask(before) == ANYWHERE
        gate.trap(TRAPPED)
        with pytest.raises(OSError, match=r"timed out|reset"):
            ask(before)
        assert ask(his) == ANYWHERE, "the connection of another was cut"


def test_connection_of_the_garden_ends_when_its_user_leaves(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    gate.trap(TRAPPED)
    with router.connect(TRAPPED, ANYWHERE, 80) as before:
        assert ask(before) == GARDEN_SERVER
        gate.trap(TRAPPED, None)
        with pytest.raises(OSError, match=r"timed out|reset"):
            ask(before)


def test_connections_are_found_among_those_of_many_addresses(router: Place, gate: Gate) -> None:
    iptables(
        router, f"-t nat -A garden {DNAT}"
    )  # the kernel tracks none before there is a NAT rule
    with router.connect(TRAPPED, ANYWHERE, 80), router.connect(FREE, ANYWHERE, 80):
        others = [number("10.9.0.0") + i for i in range(20)]
        assert router.router.call(gate.connections.forget, others) == 0
        assert router.router.call(gate.connections.forget, [*others, number(TRAPPED)]) == 1


def test_closed_garden_lets_nobody_through(router: Place, gate: Gate) -> None:
    gate.trap(TRAPPED)
    gate.firewall.empty()
    assert router.reaches(TRAPPED, ANYWHERE, 80) == ""
    assert router.reaches(FREE, ANYWHERE, 80) == ANYWHERE
    gate.firewall.open()
    assert router.reaches(TRAPPED, ANYWHERE, 80) == ANYWHERE


def test_trapped_user_answers_nobody_outside_but_this_machine(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")  # without a NAT rule the kernel tracks nothing
    router.world.add_route("10.0.0.0/24", "198.51.100.254")
    gate.trap(TRAPPED)
    assert _is_answered(router, router.world, ANYWHERE, FREE)
    assert not _is_answered(router, router.world, ANYWHERE, TRAPPED)
    assert _is_answered(router, router.router, "10.0.0.254", TRAPPED)
    gate.trap(TRAPPED, None)
    assert _is_answered(router, router.world, ANYWHERE, TRAPPED)


def _is_answered(router: Place, asking: Namespace, source: str, subscriber: str) -> bool:
    """Whether somebody who speaks to a subscriber first gets an answer."""

    def bound(where: Namespace, address: str) -> socket.socket:
        made = where.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(TIMEOUT_S)
        made.bind((address, 0))
        return made

    with bound(asking, source) as out, bound(router.client, subscriber) as client:
        out.sendto(b"knock", client.getsockname())
        client.sendto(b"who is there?", client.recvfrom(100)[1])
        try:
            return bool(out.recv(100))
        except TimeoutError:
            return False


def test_operators_rules_stay_as_they_are(router: Place) -> None:
    iptables(router, "-t nat -A PREROUTING -p tcp --dport 2222 -j DNAT --to 192.0.2.5:22")
    iptables(router, "-t nat -A POSTROUTING -o r1 -j MASQUERADE")
    iptables(router, "-t mangle -A PREROUTING -s 192.0.2.9 -j MARK --set-mark 7")
    router.nft("add table inet mine")
    router.nft("add chain inet mine input { type filter hook input priority 0 ; }")
    router.nft("add rule inet mine input tcp dport 9 drop")
    before = router.nft("list ruleset")
    gate = Gate(router)
    gate.firewall.set_up(refill=True)
    gate.firewall.open()
    gate.trap(TRAPPED)
    with_garden = router.nft("list ruleset")
    for line in before.splitlines():
        assert line in with_garden
    assert gate.firewall.tear_down(emptied=True) == []
    assert router.nft("list ruleset") == before
    gate.close()


def test_nothing_is_left_on_a_system_that_had_nothing(router: Place, gate: Gate) -> None:
    gate.trap(TRAPPED)
    assert gate.firewall.tear_down(emptied=True) == []
    assert router.nft("list ruleset") == ""


def test_chain_that_the_operator_uses_stays(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    iptables(router, "-t nat -A PREROUTING -s 10.0.0.77 -j garden")
    assert gate.firewall.tear_down(emptied=True) == ["garden"]
    saved = iptables(router, "-t nat -S")
    assert "-A PREROUTING -s 10.0.0.77/32 -j garden\n" in saved
    assert "-A garden -p tcp" in saved
    assert "garden_users" not in saved


def test_rules_that_no_script_of_ours_made_stay(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    gate.firewall.set_up(refill=False)
    assert gate.firewall.tear_down(emptied=False) == ["garden"]
    assert "-A garden -p tcp" in iptables(router, "-t nat -S")


@pytest.mark.parametrize(
    ("damage", "report"),
    [
        ("flush ruleset", "chain PREROUTING is missing"),
        ("flush chain ip nat PREROUTING", "jumps to garden_users 0 times"),
        ("add rule ip nat PREROUTING counter jump garden_users", "garden_users 2 times"),
        ("flush chain ip nat garden_users", "the rules of garden_users were changed"),
        ("insert rule ip nat garden_users accept", "the rules of garden_users were changed"),
        ("delete table ip l2tpns", "set garden is missing"),
        ("flush chain ip l2tpns garden_mark", "the rules of garden_mark were changed"),
        ("flush chain ip l2tpns garden_drop", "the rules of garden_drop were changed"),
        ("flush set ip l2tpns garden", "1 members of set garden were changed"),
        ("add element ip l2tpns garden { 10.7.7.7 }", "1 members of set garden were changed"),
    ],
)
def test_damage_is_repaired_and_reported(
    router: Place, gate: Gate, damage: str, report: str
) -> None:
    gate.trap(TRAPPED)
    good = router.listing()
    router.nft(damage)
    assert router.listing() != good
    gate.firewall.check()
    assert report in gate.reports[-1]
    assert router.members() == {TRAPPED}
    assert router.listing() == good
    gate.reports.clear()
    gate.firewall.check()
    assert gate.reports == []


def test_lost_rules_of_the_operator_are_noticed(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    gate.firewall.open()
    assert gate.firewall.check() is False
    iptables(router, "-t nat -F garden")
    assert gate.firewall.check() is True
    assert gate.reports == ["chain garden has lost its rules"]


def test_table_that_iptables_restores_is_taken_as_it_is(router: Place, gate: Gate) -> None:
    saved = router.run("iptables", "-t", "nat", "-S")
    iptables(router, "-t nat -F PREROUTING")
    iptables(router, "-t nat -A PREROUTING -j garden_users")
    gate.firewall.check()
    assert gate.reports == []
    assert router.run("iptables", "-t", "nat", "-S") == saved


def test_change_finds_the_set_gone_and_makes_everything_anew(router: Place, gate: Gate) -> None:
    gate.trap(TRAPPED)
    router.nft("flush ruleset")
    gate.trap(FREE)
    assert router.members() == {TRAPPED, FREE}
    assert "making it anew" in gate.reports[0]


def test_successor_of_a_killed_daemon_finds_its_own(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    gate.trap(TRAPPED)
    gate.close()  # a killed daemon does not even do that
    successor = Gate(router)
    successor.firewall.set_up(refill=True)
    assert router.members() == set()
    assert router.rules("nat", "garden") == []
    assert len(router.rules("nat", "PREROUTING")) == 1
    assert len(router.rules("nat", "garden_users")) == 2
    assert len(router.rules("l2tpns", "garden_mark")) == 2
    assert len(router.rules("l2tpns", "garden_drop")) == 1
    successor.close()


def test_other_gardens_keep_who_is_trapped(router: Place, gate: Gate) -> None:
    iptables(router, f"-t nat -A garden {DNAT}")
    gate.trap(TRAPPED, UNPAID)
    gate.trap(FREE, DEFAULT)
    virus = Garden("virus", 0x30000)
    gate.firewall.rearrange(Layout((DEFAULT, virus), 0xF0000), refill=False)
    assert gate.firewall.members == {number(TRAPPED): DEFAULT, number(FREE): DEFAULT}
    assert router.reaches(TRAPPED, ANYWHERE, 80) == GARDEN_SERVER
    assert router.reaches(FREE, ANYWHERE, 80) == GARDEN_SERVER
    rules = router.run("nft", "list", "ruleset")
    assert "garden_virus" in rules
    assert "garden_unpaid" not in rules
    assert not gate.firewall.check()
    assert gate.reports == []


def test_a_garden_that_goes_leaves_what_the_operator_has_put_into_it(
    router: Place, gate: Gate
) -> None:
    iptables(router, f"-t nat -A garden_unpaid {DNAT}")
    gate.firewall.rearrange(Layout((DEFAULT,), 0xF0000), refill=False)
    assert GARDEN_SERVER in iptables(router, "-t nat -S garden_unpaid")
    gate.firewall.rearrange(LAYOUT, refill=False)
    gate.firewall.rearrange(Layout((DEFAULT,), 0xF0000), refill=True)
    assert "unpaid" not in router.run("nft", "list", "ruleset")


def test_ten_thousand_cost_what_one_costs(router: Place, gate: Gate) -> None:
    def cost() -> float:
        started_at = time.perf_counter()
        for i in range(50):
            gate.firewall.change({number("10.200.0.0") + i: DEFAULT})
            gate.firewall.change({number("10.200.0.0") + i: None})
        return time.perf_counter() - started_at

    gate.trap(TRAPPED)
    rules = len(router.rule_set()["rule"])
    with_one = min(cost() for _ in range(3))
    crowd = {number("10.100.0.0") + i: DEFAULT for i in range(10_000)}
    gate.firewall.change(crowd)
    assert len(router.members()) == 10_001
    assert len(router.rule_set()["rule"]) == rules
    assert min(cost() for _ in range(3)) < 3 * with_one
    gate.firewall.change(dict.fromkeys(crowd))
    assert router.members() == {TRAPPED}


def test_every_address_of_a_full_lns_fits_into_one_transaction(router: Place, gate: Gate) -> None:
    crowd = {number("10.100.0.0") + i: DEFAULT for i in range(65_535)}
    gate.firewall.change(crowd)
    router.nft("flush ruleset")
    gate.firewall.check()
    found = router.rule_set()["set"]
    assert sum(len(each.get("elem", ())) for each in found) == 65_535


def test_rules_that_change_meanwhile_are_looked_at_again(router: Place, gate: Gate) -> None:
    kernel, generations = gate.firewall.kernel, [1]
    real = kernel.generation
    kernel.generation = lambda: generations.pop() if generations else real()  # type: ignore[method-assign]
    gate.firewall.set_up(refill=False)
    assert generations == []
    assert len(router.rules("nat", "PREROUTING")) == 1


POWERLESS = """
import os
from l2tpns_plugins_garden.firewall import Firewall, GardenError
from l2tpns_plugins_garden.rules import Garden, Layout
os.setresuid(65534, 65534, 65534)
try:
    Firewall(Layout((Garden("", 1),), 3)).set_up(refill=False)
except GardenError as error:
    print(error)
"""


def test_without_the_right_to_it_there_is_one_sentence(router: Place) -> None:
    done = router.router.run([sys.executable, "-c", POWERLESS])
    assert done.stdout == "the daemon may not change the firewall: it needs CAP_NET_ADMIN\n"
    assert router.nft("list ruleset") == ""


@pytest.mark.parametrize("code", [errno.EPROTONOSUPPORT, errno.EINVAL, errno.ENOENT])
def test_kernel_without_nftables_is_told_what_it_lacks(code: int) -> None:
    class Kernel:
        def generation(self) -> int:
            raise NetfilterError(code, "asking netfilter")

    firewall = Firewall(LAYOUT)
    firewall._kernel = Kernel()  # type: ignore[assignment]
    with pytest.raises(GardenError, match="this kernel lacks what the garden needs of netfilter"):
        firewall.set_up(refill=False)


def test_foreign_chain_named_prerouting_is_refused(router: Place) -> None:
    router.nft("add table ip nat")
    router.nft("add chain ip nat PREROUTING")
    before = router.nft("list ruleset")
    gate = Gate(router)
    with pytest.raises(GardenError, match="PREROUTING of table ip nat is not what iptables makes"):
        gate.firewall.set_up(refill=False)
    assert router.nft("list ruleset") == before
    gate.close()


def test_iptables_legacy_is_refused(router: Place, tmp_path: Path) -> None:
    names = tmp_path / "ip_tables_names"
    names.write_text("filter\nnat\n")
    firewall = Firewall(LAYOUT, names)
    with pytest.raises(GardenError, match="iptables-legacy holds the nat table"):
        router.router.call(firewall.set_up, refill=False)
    assert router.nft("list ruleset") == ""
