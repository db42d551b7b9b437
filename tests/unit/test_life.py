"""The record of a session's life: order, bounds, memory."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.life import FIRST_STEPS, MAX_DETAIL, MAX_OCTETS, Happening, Life, Step


def test_steps_come_back_as_they_were_noted() -> None:
    life = Life()
    life.add(1000.25, Step.CALLED, "192.0.2.2 0155>0800")
    life.add(1000.5, Step.ONLINE)
    assert list(life) == [
        Happening(1000.25, Step.CALLED, "192.0.2.2 0155>0800"),
        Happening(1000.5, Step.ONLINE, ""),
    ]


@given(st.lists(st.tuples(st.sampled_from(Step), st.text(max_size=300)), max_size=200))
def test_a_life_is_bounded_and_keeps_its_beginning_and_its_end(
    steps: list[tuple[Step, str]],
) -> None:
    life = Life()
    for number, (step, detail) in enumerate(steps):
        life.add(float(number), step, detail)
    found = list(life)
    assert len(found) + life.left_out == len(steps)
    assert sys.getsizeof(life._packed) <= 2 * MAX_OCTETS
    numbers = [int(happening.at) for happening in found]
    kept = min(FIRST_STEPS, len(steps))
    assert numbers[:kept] == list(range(kept))
    assert numbers == sorted(numbers)
    if steps:
        assert numbers[-1] == len(steps) - 1
    for happening in found:
        detail = steps[int(happening.at)][1].encode("utf-8", "surrogateescape")[:MAX_DETAIL]
        assert happening.detail == detail.decode("utf-8", "replace")


def test_a_name_that_is_no_utf8_does_no_harm() -> None:
    life = Life()
    life.add(0.0, Step.LOGIN, "PAP " + b"\xff\xfe".decode("utf-8", "surrogateescape"))
    (happening,) = life
    assert happening.detail == "PAP \ufffd\ufffd"
