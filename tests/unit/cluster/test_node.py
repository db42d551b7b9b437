"""A cluster as its operator sees it: who is master, who knows what, and what a failure costs."""

import pytest

from l2tpns_core.cluster.counts import Count
from l2tpns_core.cluster.errors import Refusal
from l2tpns_core.cluster.events import Drained, Forwarded, Replaced, RoutesWanted, SteppedDown
from l2tpns_core.cluster.node import ClusterNode
from l2tpns_core.cluster.role import NotMasterError, Role
from unit.cluster.world import WALL, World, key_of, row_of


def three(sessions: int = 200, **network: float) -> World:
    """Three nodes with a master, and slaves that are up to date."""
    world = World(**network)  # type: ignore[arg-type]
    for address in (1, 2, 3):
        world.start(address)
        world.run(0.2)
    world.run_until(world.masters, 10)
    for number in range(sessions):
        world.master.change(number, f"user-{number}")
    world.run_until(lambda: all(c.node.up_to_date for c in world.computers.values()), 10)
    world.run(1)
    return world


def test_a_node_alone_becomes_master_after_the_timeout_and_draws_the_traffic() -> None:
    world = World()
    alone = world.start(7)
    world.run(4.9)
    assert not alone.node.is_master
    world.run(1.0)
    assert alone.node.is_master
    assert alone.of(RoutesWanted) == [RoutesWanted(True)]


def test_the_node_with_the_highest_uptime_wins() -> None:
    world = three()
    assert world.masters() == [1]


def test_equal_uptimes_are_decided_by_the_highest_address() -> None:
    world = World()
    for address in (5, 9, 7):
        world.start(address)
    world.run(8)
    assert world.masters() == [9]


def test_slaves_know_what_the_master_knows() -> None:
    world = three()
    world.master.change(3, None)
    world.master.change(4, "somebody else")
    world.run(1)
    for address in (2, 3):
        assert world.computers[address].known == world.computers[1].table


def test_the_master_gives_up_its_routes_while_a_slave_is_up_to_date() -> None:
    world = three()
    world.run(4)
    assert world.computers[1].of(RoutesWanted)[-1] == RoutesWanted(False)
    world.kill(2)
    world.kill(3)
    world.run(4)
    assert world.computers[1].of(RoutesWanted)[-1] == RoutesWanted(True)


def test_the_state_survives_the_master() -> None:
    world = three()
    table = dict(world.master.table)
    world.kill(1)
    taken = world.run_until(world.masters, 10)
    assert taken < 5 + 2 * 0.5 + 0.2
    assert world.masters() == [2]
    assert world.master.table == table
    world.master.change(999, "new")
    world.run(1)
    assert world.computers[3].known == world.master.table
    assert not world.computers[3].of(Replaced)[1:], "it had nothing to fetch again"


def test_a_node_that_is_not_up_to_date_never_wins_over_one_that_is() -> None:
    world = three(sessions=2000)
    world.cut({1, 3}, {2})  # 2 has run for longer than 3
    world.master.change(1, "changed while 2 was away")
    world.run(2)
    world.kill(1)
    world.heal()
    world.run_until(world.masters, 15)
    assert world.masters() == [3]
    assert world.master.table[1] == "changed while 2 was away"


def test_a_master_that_comes_back_steps_down() -> None:
    world = three()
    world.frozen.add(1)
    world.run_until(lambda: 2 in world.masters(), 10)
    world.computers[2].change(5, "by the new master")
    world.run(3)
    world.frozen.clear()
    world.run(2)
    assert world.masters() == [2]
    assert world.computers[1].of(SteppedDown)
    world.run_until(lambda: world.computers[1].node.up_to_date, 5)
    assert world.computers[1].known == world.computers[2].table


def test_of_two_masters_the_one_with_more_slaves_stays() -> None:
    world = three()
    world.start(4)
    world.run(3)
    world.cut({1, 3, 4}, {2})
    world.run(12)
    assert sorted(world.masters()) == [1, 2]
    world.computers[2].change(11, "lost")
    world.computers[2].change(12, "lost")
    world.computers[1].change(13, "kept")
    world.heal()
    taken = world.run_until(lambda: len(world.masters()) == 1, 5)
    assert taken <= 2 * 0.5
    assert world.masters() == [1]
    assert world.computers[2].of(SteppedDown)[-1].lost_changes > 0
    world.run(3)
    assert world.computers[2].known == world.computers[1].table
    assert world.computers[1].table[13] == "kept"


def test_a_slave_that_knows_more_than_its_new_master_starts_over() -> None:
    world = three()
    world.cut({1, 3}, {2})
    world.master.change(1, "only 1 and 3 knew")
    world.run(1)
    world.frozen.add(3)
    world.kill(1)
    world.heal()
    world.run_until(lambda: world.masters() == [2], 15)
    world.computers[2].change(2, "later")
    world.frozen.clear()
    world.run(5)
    assert world.computers[3].known == world.computers[2].table
    assert world.computers[3].node.counters.transfers == 2


def test_with_a_quorum_the_smaller_side_has_no_master() -> None:
    world = World()
    for address in (1, 2, 3):
        world.start(address, quorum=2)
        world.run(0.2)
    world.run(8)
    assert world.masters() == [1]
    world.cut({1}, {2, 3})
    world.run(12)
    assert world.masters() == [2]


def test_draining_the_master_hands_over_without_loss() -> None:
    world = three()
    table = dict(world.master.table)
    world.computers[1].node.drain(world.now)
    assert world.computers[1].node.role is Role.RESIGNING
    taken = world.run_until(lambda: bool(world.computers[1].of(Drained)), 3)
    assert taken < 1.5
    assert world.masters() == [2]
    assert world.master.table == table
    world.computers[1].node.leave(world.now)
    world.run(10)
    assert world.masters() == [2]


def test_a_master_that_leaves_is_followed_at_once() -> None:
    world = three()
    world.computers[1].node.leave(world.now)
    assert world.run_until(lambda: bool(world.masters()), 5) < 2
    assert world.masters() == [2]


def test_a_draining_slave_is_not_elected_and_draws_no_traffic() -> None:
    world = three()
    world.computers[2].node.drain(world.now)
    world.run(1)
    assert world.computers[2].of(Drained)
    assert world.computers[2].of(RoutesWanted)[-1] == RoutesWanted(False)
    world.kill(1)
    world.run(8)
    assert world.masters() == [3]


def test_bytes_counted_by_slaves_arrive_exactly_once_also_when_the_master_dies() -> None:
    world = three(loss=0.2)
    total = 0
    for _ in range(20):
        for address in (2, 3):
            node = world.computers[address].node
            assert node.report({key_of(1): Count(1000, 0, 1, 0)})
            node.send_reports(world.now)
            total += 1000
        world.run(0.3)
    world.run(5)
    assert world.computers[1].counts == {key_of(1): total}


def test_what_only_the_master_may_handle_is_forwarded() -> None:
    world = three()
    assert world.computers[3].node.forward(1, b"a packet", world.now, (0x0A000001, 1701), 5)
    world.run(0.1)
    assert world.computers[1].of(Forwarded) == [Forwarded(3, 1, 0x0A000001, 1701, 5, b"a packet")]
    with pytest.raises(NotMasterError):
        world.computers[3].node.offer([["S", 1]], world.now)


def test_heartbeats_go_on_during_a_transfer() -> None:
    world = three(sessions=5000)
    world.start(4)
    beats = world.computers[2].node.counters.heartbeats
    world.run_until(lambda: world.computers[4].node.up_to_date, 10)
    world.run(3)
    assert world.computers[2].node.counters.heartbeats - beats >= 5
    assert world.computers[4].known == world.master.table


def test_a_transfer_is_right_while_everything_changes() -> None:
    world = three(sessions=3000, loss=0.05)
    world.start(4)
    for step in range(300):
        world.master.change(step * 7 % 3000, f"changed-{step}")
        world.master.change(step * 11 % 3000, None)
        world.run(0.01)
    world.run_until(lambda: world.computers[4].node.up_to_date, 20)
    world.run(2)
    assert world.computers[4].known == world.master.table
    assert world.computers[2].known == world.master.table


def test_rows_of_a_later_version_are_taken_as_far_as_they_are_known() -> None:
    world = three(sessions=5)
    later = row_of(7, "of a later version")
    later[1] |= {"invented": 1, "link": {"auth": "\xc0#", "asked_auth": "\xc0#", "new": [1]}}
    world.master.node.offer([later, ["invented", 1]], world.now)
    world.run(1)
    image = world.computers[2].node.replica.image
    assert image is not None
    assert image.sessions[key_of(7)].user == "of a later version"
    assert image.sessions[key_of(7)].link is not None
    assert world.computers[2].node.counters.rows_refused == 1


def test_a_wrong_secret_makes_another_cluster() -> None:
    world = three()
    stranger = world.start(8, secret=b"another")
    world.run(10)
    assert sorted(world.masters()) == [1, 8]
    assert sum(stranger.node.counters.refused.values()) > 0
    assert isinstance(stranger.node, ClusterNode)


def test_a_slave_that_does_not_hear_the_master_waits_while_another_does() -> None:
    world = three()
    world.deaf = {(1, 2)}
    world.run(30)
    assert world.masters() == [1]
    world.deaf = set()
    world.master.change(3, "later-1")
    world.run_until(lambda: world.computers[2].known == world.computers[1].table, 20)
    assert world.masters() == [1]


def test_a_master_that_nobody_hears_gives_way() -> None:
    world = three()
    world.deaf = {(1, 2), (1, 3)}
    world.run_until(lambda: world.masters() not in ([1], []), 30)
    world.run(5)
    assert world.masters() in ([2], [3])
    world.deaf = set()
    world.run(20)
    assert len(world.masters()) == 1
    tables = [computer.known for computer in world.computers.values()]
    assert tables[0] == tables[1] == tables[2]


def test_a_node_whose_clock_is_set_wrong_is_out_until_it_is_right() -> None:
    world = three()
    strange = world.computers[3].node
    strange.set_wall_ahead(WALL + 3600)
    world.run(20)
    assert 1 in world.masters(), "the others go on"
    assert world.computers[1].node.counters.refused[Refusal.TIME] > 0
    world.computers[1].change(7, "meanwhile-1")
    strange.set_wall_ahead(WALL)
    world.run_until(lambda: world.masters() == [1], 30)
    world.run(5)
    assert world.computers[3].known == world.computers[1].table
