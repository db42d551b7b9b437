"""Commands about the cluster, and those that a slave leaves to its master."""

import json

import pytest

from l2tpns_core.cli.grammar import Access
from unit.cli.fakes import GRAMMAR, FakeCluster, FakeContext, four_sessions


def slave() -> tuple[FakeContext, FakeCluster]:
    context, cluster = four_sessions(), FakeCluster(decides=False)
    context.cluster = cluster
    return context, cluster


def test_the_screen_of_a_master() -> None:
    context = four_sessions()
    context.cluster = FakeCluster()
    lines = context.run("show cluster").lines
    assert lines[0].startswith("Cluster status   : Master for ")
    assert "VIP address      : 203.0.113.1" in lines
    assert "Sequence         : 1234 of reign 7 (10.8.0.1)" in lines
    assert "1 slaves are up to date" in lines
    assert "Messages refused : 3 replay" in lines
    words = lines[-1].split()
    assert (words[:2], words[3:]) == (["10.8.0.2", "slave"], ["0.2", "s", "Yes", "0"])


def test_the_screen_of_a_slave() -> None:
    context, _ = slave()
    lines = context.run("show cluster").lines
    assert "My master        : 10.8.0.2 (last heard 0.2 seconds ago)" in lines
    assert "Uptodate         : Yes" in lines
    assert "Draws traffic    : Yes" in lines
    found = json.loads(context.run("show cluster", json=True).text)
    assert (found["role"], found["clustered"], found["refused"]["replay"]) == ("slave", True, 3)


@pytest.mark.parametrize("line", ["show session", 'drop user "a b"', "why alice", "show pool"])
def test_a_slave_leaves_it_to_the_master(line: str) -> None:
    context, cluster = slave()
    assert context.run(line).lines == ["what the master says"]
    assert cluster.asked == [(line, True, False)]
    cluster.answer = ('[{"user": "alice"}]', False)
    assert context.run(f"{line}", json=True).lines == ['[{"user": "alice"}]']


def test_filters_of_output_are_the_slaves_own() -> None:
    context, cluster = slave()
    cluster.answer = ("one\ntwo", False)
    assert context.run("show session | include two").lines == ["two"]
    assert cluster.asked == [("show session", True, False)]


def test_what_the_master_refuses_is_refused() -> None:
    context, cluster = slave()
    cluster.answer = ("User nobody is not logged in", True)
    assert context.run("drop user nobody").error == "User nobody is not logged in"
    cluster.answer = None
    assert context.run("show session").error == "The master 10.8.0.2 does not answer"


def test_rights_are_checked_at_the_slave_and_told_to_the_master() -> None:
    context, cluster = slave()
    plain = Access(privileged=False)
    assert context.run("drop user alice", access=plain).error
    assert not cluster.asked
    context.run("show session", access=plain)
    assert cluster.asked == [("show session", False, False)]


def test_a_slave_answers_for_itself_what_is_about_itself() -> None:
    context, cluster = slave()
    for line in ("show version", "show counters", "show dataplane", "show cluster"):
        assert not context.run(line).error
    assert not cluster.asked


def test_every_command_about_sessions_is_the_masters() -> None:
    found = {" ".join(command.words) for command in GRAMMAR.commands(Access()) if command.at_master}
    assert found >= {
        *("show session", "show users", "show tunnels", "show pool", "show throttle", "why"),
        *("drop session", "drop user", "drop tunnel", "throttle", "no throttle", "snoop"),
        *("no snoop", "filter", "no filter", "show histogram idle", "show histogram open"),
    }


def test_drain_says_when_nobody_takes_over() -> None:
    context = four_sessions()
    context.cluster = cluster = FakeCluster()
    cluster.answer = None
    assert "No other node took over" in context.run("cluster drain").error
    context.cluster = None
    assert "stands alone" in context.run("cluster drain").error
