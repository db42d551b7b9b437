"""Commands of operators at slaves: the master's answer arrives whole, or not at all."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.cluster.asking import MAX_OPEN, MAX_PARTS, Answer, Asking, Outcome, parts_of
from l2tpns_core.cluster.errors import ClusterError
from l2tpns_core.cluster.events import Answered, Asked
from unit.cluster.test_node import three


def ask(asking: Asking) -> int:
    return asking.ask("show session", privileged=True, as_json=False).request


@given(st.text(max_size=300), st.booleans(), st.randoms(use_true_random=False))
def test_parts_come_in_any_order_and_twice(text: str, failed: bool, shuffle: random.Random) -> None:
    asking = Asking()
    request = ask(asking)
    parts = parts_of(request, text, failed=failed) * 2
    shuffle.shuffle(parts)
    outcomes = [outcome for part in parts if (outcome := asking.take(part)) is not None]
    assert outcomes == [Outcome(request, text, failed)]


def test_a_long_answer_is_in_several_parts() -> None:
    asking = Asking()
    text = "".join(random.Random(1).choices("abcdefghijklmnop", k=400_000))
    parts = parts_of(ask(asking), text, failed=False)
    assert len(parts) > 1
    *_, outcome = [asking.take(part) for part in parts]
    assert outcome is not None
    assert outcome.text == text


@pytest.mark.parametrize(
    "part",
    [
        Answer(1, 0, 0, b""),
        Answer(1, 1, 1, b""),
        Answer(1, 0, MAX_PARTS + 1, b""),
        Answer(1, 0, 1, b"not packed"),
    ],
)
def test_what_makes_no_sense_is_refused(part: Answer) -> None:
    asking = Asking()
    assert ask(asking) == 1
    with pytest.raises(ClusterError):
        asking.take(part)


def test_nobody_waits_for_what_was_not_asked_or_was_given_up() -> None:
    asking = Asking()
    assert asking.take(Answer(9, 0, 1, b"x")) is None
    request = ask(asking)
    asking.forget(request)
    assert asking.take(parts_of(request, "late", failed=False)[0]) is None


def test_no_more_wait_than_there_may_be() -> None:
    asking = Asking()
    for _ in range(MAX_OPEN):
        ask(asking)
    with pytest.raises(ClusterError):
        ask(asking)


def test_a_slave_asks_and_the_master_answers() -> None:
    world = three()
    master, slave = world.master.node, world.computers[2].node
    request = slave.ask("drop user alice", world.now, privileged=True, as_json=False)
    world.run(0.5)
    (asked,) = world.master.of(Asked)
    assert (asked.node, asked.line, asked.privileged, asked.as_json) == (
        *(2, "drop user alice", True, False),
    )
    master.answer(asked.node, asked.request, "Dropped", world.now, failed=False)
    world.run(0.5)
    (answered,) = world.computers[2].of(Answered)
    assert answered.outcome == Outcome(request, "Dropped", False)
    with pytest.raises(LookupError):
        master.ask("show session", world.now, privileged=True, as_json=False)
