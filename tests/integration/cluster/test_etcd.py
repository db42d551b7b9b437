"""Nodes that etcd elects: three members of etcd and three nodes, as processes on a bridge.

Whatever happens, no two nodes decide at one time: each writes down when it began to decide and when
it stopped.
"""

import contextlib
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from support.etcd_site import EtcdNode, EtcdSite, wait

pytestmark = [pytest.mark.netns, pytest.mark.slow, pytest.mark.interop]

SESSIONS = 200
HOLD_S = 30
TTL_S = 3.0


@contextlib.contextmanager
def running(hold: float = HOLD_S) -> Iterator[EtcdSite]:
    """Three of each; one node is master and has sessions."""
    with contextlib.ExitStack() as stack:
        site = EtcdSite(stack, hold)
        site.start()
        site.master.ask(f"many {SESSIONS}")
        wait(lambda: site.all_have(SESSIONS, "user-0"))
        settle(site)
        yield site
        reigns = site.reigns()
        for (_, end, name), (begin, _, other) in pairwise(reigns):
            assert end <= begin, f"{name} and {other} decide at one time: {reigns}"


@pytest.fixture
def site() -> Iterator[EtcdSite]:
    with running() as found:
        yield found


def settle(site: EtcdSite) -> None:
    """Wait until the master knows all that may go on without it."""
    running = [node for node in site.nodes if node.process is not None]
    wait(lambda: len(site.master.ask()["etcd"]["roster"]) == len(running))


def change(site: EtcdSite, user: str) -> None:
    """Have the master change a session, and everybody know it."""
    site.master.ask(f"change 0 {user}")
    wait(lambda: site.all_have(SESSIONS, user))


def another(site: EtcdSite, than: EtcdNode) -> EtcdNode:
    """The master, when it is another one."""
    wait(lambda: any(node.is_master for node in site.others(than)))
    return next(node for node in site.others(than) if node.is_master)


def test_another_goes_on_when_the_master_is_killed(site: EtcdSite) -> None:
    first = site.master
    change(site, "before")
    first.kill()
    second = another(site, first)
    assert site.all_have(SESSIONS, "before", [second]), "what was known is not lost"
    second.ask("change 0 after")
    first.start()
    wait(lambda: site.all_have(SESSIONS, "after"))
    assert site.master is second


def test_a_master_that_etcd_has_lost_gives_way_to_one_that_it_has_not(site: EtcdSite) -> None:
    first = site.master
    change(site, "before")
    first.cut_from_etcd()
    second = another(site, first)
    assert site.all_have(SESSIONS, "before", [second])
    second.ask("change 0 after")
    wait(lambda: site.all_have(SESSIONS, "after"))  # all still reach each other
    first.cut_from_etcd(cut=False)
    settle(site)
    assert site.master is second


def test_a_master_that_is_cut_off_steps_down_by_itself(site: EtcdSite) -> None:
    first = site.master
    change(site, "before")
    first.cut()
    wait(lambda: not first.is_master)
    second = another(site, first)
    second.ask("change 0 after")
    first.heal()
    wait(lambda: site.all_have(SESSIONS, "after"))
    assert site.master is second


def test_a_master_that_was_stopped_does_not_go_on(site: EtcdSite) -> None:
    """It gets no processor for longer than its lease."""
    first = site.master
    first.freeze()
    second = another(site, first)
    first.thaw()
    wait(lambda: not first.is_master)
    change(site, "after")
    assert site.master is second


def test_nothing_happens_when_one_of_three_of_etcd_dies(site: EtcdSite) -> None:
    before = site.reigns()
    for number, member in enumerate(site.etcd):
        member.kill()
        time.sleep(2.5 * TTL_S)
        change(site, f"user-{number}-is-gone")
        member.start()
        wait(lambda: site.master.ask()["etcd"]["lease_left"] > 0)
        time.sleep(TTL_S)
    assert site.reigns() == before


def test_a_master_goes_on_without_etcd_when_all_nodes_let_it(site: EtcdSite) -> None:
    before = site.reigns()
    for member in site.etcd:
        member.kill()
    time.sleep(3 * TTL_S)
    assert site.master.ask()["etcd"]["holding"]
    change(site, "without")
    for member in site.etcd:
        member.start()
    wait(lambda: not site.master.ask()["etcd"]["holding"])
    change(site, "with")
    assert len(site.reigns()) <= len(before) + 1  # it may have found its key expired


def test_a_master_that_a_node_does_not_answer_steps_down_without_etcd(site: EtcdSite) -> None:
    """That node may be where etcd is."""
    first = site.master
    for member in site.etcd:
        member.kill()
    change(site, "without")
    site.others(first)[0].kill()
    wait(lambda: not first.is_master)
    for member in site.etcd:
        member.start()
    wait(lambda: len(site.masters) == 1)
    assert site.master.ask()["last"] == "without"


def test_a_master_does_not_go_on_without_etcd_when_that_is_not_wanted() -> None:
    with running(hold=0) as site:
        first = site.master
        for member in site.etcd:
            member.kill()
        wait(lambda: not first.is_master)
        time.sleep(2 * TTL_S)
        assert not site.masters
        assert all(node.ask()["sessions"] == SESSIONS for node in site.nodes), "to forward for"
        for member in site.etcd:
            member.start()
        change(site, "again")


def test_a_drained_master_hands_over_at_once(site: EtcdSite) -> None:
    first = site.master
    change(site, "before")
    first.ask("drain")
    took = wait(lambda: any(node.is_master for node in site.others(first)))
    assert took < TTL_S, "no lease has to end"
    wait(lambda: bool(first.ask()["drained"]))
    assert site.all_have(SESSIONS, "before", [another(site, first)])
    first.ask("leave")
    first.stop()
    wait(lambda: len(site.master.ask()["etcd"]["members"]) == 2)


def test_all_are_stopped_and_started(site: EtcdSite) -> None:
    for node in site.nodes:
        node.kill()
    for node in site.nodes:
        node.start()
    assert len(site.master.ask()["etcd"]["members"]) == 3
