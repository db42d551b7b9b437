"""Who may take the key, when, and until when a master may be one; in virtual time."""

from collections.abc import Iterable

from l2tpns_core.cluster_etcd.election import (
    NEVER,
    Election,
    Enrol,
    HandOver,
    Own,
    Release,
    Take,
    Times,
)
from l2tpns_core.cluster_etcd.records import MasterKey, Member, Roster, View

TIMES = Times(interval=0.5, timeout=5.0, ttl=5.0, hold=60.0)
ME, OTHER, THIRD = "10.0.0.1", "10.0.0.2", "10.0.0.3"
STARTED, LEASE = 1000, 77


def member(address: str = ME, *, up_to_date: bool = True, sequence: int = 0) -> Member:
    return Member(address, STARTED, up_to_date=up_to_date, sequence=sequence, lease=LEASE)


def view(
    *members: Member,
    master: MasterKey | None = None,
    roster: Iterable[str] | None = None,
    revision: int = 1,
) -> View:
    found = None if roster is None else Roster(frozenset(roster), TIMES.hold, revision)
    return View(revision, {each.address: each for each in members}, master, found)


def election(seen: View, now: float = 100.0) -> Election:
    """Of a node with a lease that has looked once."""
    made = Election(ME, STARTED, TIMES)
    made.granted(LEASE, now)
    made.saw(seen, now, now)
    return made


def takes_after(made: Election, own: Own, limit: float = 200.0, began: float = 100.0) -> float:
    """How long it waits with a key that nobody has; infinity for longer than the limit."""
    for tenths in range(int(limit * 10)):
        now = began + tenths / 10
        made.renewed(now)
        if isinstance(made.step(own, now), Take):
            return tenths / 10
    return NEVER


def test_one_that_is_up_to_date_and_followed_the_master_takes_the_key_soon() -> None:
    made = election(view(member(), member(OTHER), roster=[ME, OTHER, THIRD]))
    assert takes_after(made, Own(member(sequence=5))) <= 2 * TIMES.settle


def test_of_two_the_one_that_knows_more_goes_first() -> None:
    seen = view(member(), member(OTHER, sequence=9), roster=[ME, OTHER])
    first = takes_after(election(seen), Own(member(sequence=10)))
    second = takes_after(election(seen), Own(member(sequence=5)))
    assert first + TIMES.settle <= second < TIMES.timeout


def test_nobody_takes_the_key_from_a_master_that_it_hears() -> None:
    made = election(view(member(), roster=[ME, OTHER]))
    assert takes_after(made, Own(member(), hears_master=True)) == NEVER


def test_one_that_is_draining_or_hears_too_few_takes_nothing() -> None:
    made = election(view(member(), roster=[ME]))
    draining = Member(ME, STARTED, up_to_date=True, draining=True)
    assert takes_after(made, Own(draining)) == NEVER
    assert takes_after(made, Own(member(), eligible=False)) == NEVER


def test_one_that_is_not_up_to_date_leaves_the_key_to_one_that_is() -> None:
    made = election(view(member(), member(OTHER), roster=[ME, OTHER]))
    assert takes_after(made, Own(member(up_to_date=False))) == NEVER


def test_one_that_is_not_up_to_date_waits_for_those_who_are_missing() -> None:
    own = Own(member(up_to_date=False))
    missing = election(view(member(up_to_date=False), roster=[ME, OTHER]))
    assert takes_after(missing, own) >= TIMES.hold
    others = member(OTHER, up_to_date=False)
    complete = election(view(member(up_to_date=False), others, roster=[ME, OTHER]))
    assert TIMES.timeout <= takes_after(complete, own) < TIMES.hold / 2
    first = election(view(member(up_to_date=False)))
    assert TIMES.timeout <= takes_after(first, own) < TIMES.hold / 2


def test_one_that_the_roster_does_not_name_waits_though_it_is_up_to_date() -> None:
    made = election(view(member(), roster=[OTHER]))
    assert takes_after(made, Own(member())) >= TIMES.hold


def test_the_wait_begins_anew_when_there_was_a_master_in_between() -> None:
    own = Own(member(up_to_date=False))
    made = election(view(member(up_to_date=False), roster=[ME, OTHER]))
    assert takes_after(made, own, limit=TIMES.hold - 5) == NEVER
    made.saw(view(member(), roster=[ME, OTHER], revision=9), 155.0, 155.0)
    assert takes_after(made, own, began=155.0) >= TIMES.hold


def mine(revision: int = 5, lease: int = LEASE, started: int = STARTED) -> MasterKey:
    return MasterKey(ME, started, lease, revision)


def test_the_key_makes_a_master_until_shortly_before_the_lease_ends() -> None:
    made = election(view(member(), master=mine(), roster=[ME, OTHER]))
    assert made.office(100.0) == 5
    end = made.deadline(lambda _: -NEVER)
    assert end == 100.0 + TIMES.ttl - TIMES.margin
    assert not made.office(end)
    made.renewed(102.0)
    assert made.deadline(lambda _: -NEVER) == 102.0 + TIMES.ttl - TIMES.margin


def test_a_key_with_another_lease_or_of_another_process_makes_no_master() -> None:
    assert not election(view(member(), master=mine(lease=1))).office(100.0)
    former = election(view(member(), master=mine(started=1)))
    assert not former.office(100.0)
    assert former.step(Own(member()), 100.0) == Release(5), "that process is dead"


def test_without_etcd_a_master_may_go_on_as_long_as_all_have_promised() -> None:
    made = election(view(member(), master=mine(), roster=[ME, OTHER, THIRD]))
    assert made.deadline({OTHER: 130.0, THIRD: 120.0}.__getitem__) == 125.0 - TIMES.margin
    assert made.deadline({OTHER: 130.0, THIRD: -NEVER}.__getitem__) == 105.0 - TIMES.margin
    assert made.deadline(lambda _: 500.0) == 100.0 + TIMES.hold - TIMES.margin


def test_nodes_that_may_be_in_the_roster_by_now_must_have_promised_too() -> None:
    made = election(view(member(), member(OTHER), master=mine(), roster=[ME]))
    step = made.step(Own(member(), is_master=True), 100.0)
    assert step == Enrol(5, 1, frozenset([ME, OTHER]))
    assert made.deadline(lambda _: -NEVER) > 150.0
    made.begin(step)
    assert made.deadline(lambda _: -NEVER) == 105.0 - TIMES.margin
    made.saw(view(member(), master=mine(), roster=[ME], revision=2), 101.0, 101.0)
    assert made.deadline(lambda _: -NEVER) > 150.0, "somebody else has changed it"


def test_promises_count_for_nothing_when_another_has_the_key() -> None:
    made = election(view(member(), master=mine(), roster=[ME, OTHER]))
    other = MasterKey(OTHER, STARTED, 3, 8)
    made.saw(view(member(), master=other, roster=[ME, OTHER]), 101.0, 101.0)
    assert made.deadline(lambda _: 500.0) == -NEVER


def test_a_master_whose_key_is_gone_takes_it_again() -> None:
    made = election(view(member(), roster=[ME, OTHER]))
    step = made.step(Own(member(), is_master=True), 100.0)
    assert step == Take(0, 1, frozenset([ME]))


def test_a_key_that_was_given_away_makes_nobody_a_master_again() -> None:
    made = election(view(member(), member(OTHER), master=mine(), roster=[ME, OTHER]))
    step = made.hand_over(OTHER, 100.0)
    assert step == HandOver(5, member(OTHER))
    made.begin(step)
    assert not made.office(100.0)
    assert made.deadline(lambda _: 500.0) == -NEVER
    assert made.step(Own(member()), 100.0) == Release(5)
    again = view(member(), master=mine(revision=6), roster=[ME, OTHER])
    made.saw(again, 101.0, 101.0)
    assert made.office(101.0) == 6


def test_a_slave_that_reaches_etcd_does_not_let_a_master_go_on_that_does_not() -> None:
    made = election(view(member(), roster=[ME, OTHER]))
    own = Own(member(), hears_master=True)
    assert made.may_promise(own, 101.0)
    made.saw(view(member(), roster=[ME, OTHER]), 103.0, 103.0)
    made.renewed(103.0)
    assert not made.may_promise(own, 103.0)
    assert made.may_promise(own, 120.0), "etcd has not answered since"


def test_nothing_is_done_without_a_lease() -> None:
    made = election(view(member(), roster=[ME]))
    made.lease_gone()
    assert takes_after(election(view(member())), Own(member())) < NEVER
    assert made.step(Own(member(), is_master=True), 100.0) is None


def test_the_shorter_hold_counts_for_a_master() -> None:
    """Its own, which may be in the roster by now, and the one that it has seen there."""
    for others in (10.0, 1000.0):
        made = election(view(member(), master=mine(), roster=[ME]))
        roster = Roster(frozenset([ME]), others, 2)
        made.saw(View(2, {}, mine(), roster), 100.0, 100.0)
        assert made.deadline(lambda _: 500.0) == 100.0 + min(others, TIMES.hold) - TIMES.margin
