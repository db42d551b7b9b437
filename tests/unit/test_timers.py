"""The timer queue in virtual time, and against a plain sorted list."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.timers import DEFAULT_RESOLUTION_S, Timer, TimerQueue

TICK = DEFAULT_RESOLUTION_S
MOVE, CANCEL, EXPIRE = range(3)


class Alarm:
    """A timer that notes when it fired."""

    def __init__(self) -> None:
        self.fired_at: list[float] = []
        self.timer = Timer(self.fired_at.append)


@pytest.fixture
def queue() -> TimerQueue:
    return TimerQueue()


def test_a_timer_fires_once_at_its_deadline_and_not_before(queue: TimerQueue) -> None:
    alarm = Alarm()
    queue.set(alarm.timer, 10.0)
    assert alarm.timer.active
    assert queue.expire(10.0 - TICK / 2) == 0
    assert queue.expire(10.0) == 1
    assert queue.expire(11.0) == 0
    assert alarm.fired_at == [10.0]
    assert not alarm.timer.active


def test_callbacks_are_told_the_time_and_not_the_deadline(queue: TimerQueue) -> None:
    alarm = Alarm()
    queue.set(alarm.timer, 10.0)
    queue.expire(12.5)
    assert alarm.fired_at == [12.5]


def test_a_cancelled_timer_does_not_fire(queue: TimerQueue) -> None:
    alarm = Alarm()
    queue.set(alarm.timer, 10.0)
    queue.cancel(alarm.timer)
    queue.cancel(alarm.timer)
    assert not alarm.timer.active
    assert queue.expire(20.0) == 0
    assert queue.next_deadline() is None


def test_setting_no_deadline_cancels(queue: TimerQueue) -> None:
    alarm = Alarm()
    queue.set(alarm.timer, 10.0)
    queue.set(alarm.timer, None)
    assert len(queue) == 0


@pytest.mark.parametrize(("first", "then"), [(10.0, 20.0), (20.0, 10.0)])
def test_a_moved_timer_fires_only_at_the_later_word(
    queue: TimerQueue, first: float, then: float
) -> None:
    alarm = Alarm()
    queue.set(alarm.timer, first)
    queue.set(alarm.timer, then)
    assert len(queue) == 1
    assert queue.next_deadline() == then
    queue.expire(then - TICK)
    assert alarm.fired_at == []
    queue.expire(then)
    queue.expire(30.0)
    assert alarm.fired_at == [then]


def test_next_deadline_skips_what_was_cancelled(queue: TimerQueue) -> None:
    early, late = Alarm(), Alarm()
    queue.set(early.timer, 5.0)
    queue.set(late.timer, 7.0)
    queue.cancel(early.timer)
    assert queue.next_deadline() == 7.0


def test_deadlines_are_rounded_up_to_a_tick(queue: TimerQueue) -> None:
    alarm = Alarm()
    queue.set(alarm.timer, 1.0 + TICK / 3)
    assert queue.next_deadline() == 1.0 + TICK


def test_a_deadline_in_the_past_fires_at_the_next_occasion(queue: TimerQueue) -> None:
    alarm = Alarm()
    queue.set(alarm.timer, -3.0)
    assert queue.expire(0.0) == 1


def test_ticks_fire_in_order(queue: TimerQueue) -> None:
    fired: list[float] = []
    for deadline in (3.0, 1.0, 2.0):
        queue.set(Timer(lambda now, at=deadline: fired.append(at)), deadline)  # type: ignore[misc]
    queue.expire(5.0)
    assert fired == [1.0, 2.0, 3.0]


def test_a_callback_that_sets_its_own_timer_for_now_does_not_hang_the_queue(
    queue: TimerQueue,
) -> None:
    fired: list[float] = []

    def again(now: float) -> None:
        fired.append(now)
        queue.set(timer, now)

    timer = Timer(again)
    queue.set(timer, 1.0)
    assert queue.expire(1.0) == 1
    assert timer.active
    assert queue.next_deadline() == 1.0 + TICK
    assert queue.expire(1.0 + TICK) == 1
    assert fired == [1.0, 1.0 + TICK]


def test_a_callback_may_cancel_its_neighbour(queue: TimerQueue) -> None:
    alarms: list[Alarm] = []

    def cancel_all(now: float) -> None:
        for alarm in alarms:
            queue.cancel(alarm.timer)

    queue.set(Timer(cancel_all), 1.0)
    for deadline in (1.0 + TICK, 2.0):
        alarms.append(Alarm())
        queue.set(alarms[-1].timer, deadline)
    assert queue.expire(5.0) == 1
    assert [alarm.fired_at for alarm in alarms] == [[], []]
    assert len(queue) == 0


def test_the_limit_leaves_the_rest_for_later(queue: TimerQueue) -> None:
    alarms = [Alarm() for _ in range(5)]
    for alarm in alarms:
        queue.set(alarm.timer, 1.0)
    assert queue.expire(1.0, limit=3) == 3
    assert len(queue) == 2
    assert queue.next_deadline() == 1.0
    assert queue.expire(1.5, limit=3) == 2
    assert sum(len(alarm.fired_at) for alarm in alarms) == 5


def test_a_callback_that_raises_does_not_lose_the_others(queue: TimerQueue) -> None:
    def fail(now: float) -> None:
        raise ValueError("broken on purpose")

    alarm, failing = Alarm(), Timer(fail)
    queue.set(failing, 1.0)
    queue.set(alarm.timer, 2.0)
    with pytest.raises(ValueError, match="broken on purpose"):
        queue.expire(3.0)
    assert not failing.active
    assert queue.expire(3.0) == 1
    assert alarm.fired_at == [3.0]


def test_on_earlier_is_told_of_the_first_deadline_only(queue: TimerQueue) -> None:
    told: list[float] = []
    queue.on_earlier = told.append
    queue.set(Alarm().timer, 5.0)
    queue.set(Alarm().timer, 7.0)
    queue.set(Alarm().timer, 3.0)
    assert told == [5.0, 3.0]


def test_on_earlier_is_silent_while_timers_fire(queue: TimerQueue) -> None:
    told: list[float] = []
    queue.set(Timer(lambda now: queue.set(Alarm().timer, now + 1)), 1.0)
    queue.on_earlier = told.append
    queue.expire(1.0)
    assert told == []
    assert queue.next_deadline() == 2.0


def test_memory_follows_the_timers_that_are_set_and_not_their_moves(queue: TimerQueue) -> None:
    alarm = Alarm()
    for second in range(1000):
        queue.set(alarm.timer, float(second))
        queue.expire(second - 0.5)
    assert len(queue) == 1
    assert len(queue._ticks) <= 2
    assert len(queue._buckets) <= 2


STEPS = st.lists(
    st.tuples(
        st.sampled_from((MOVE, MOVE, CANCEL, EXPIRE)),
        st.integers(0, 5),
        st.floats(0, 20, allow_nan=False),
    ),
    max_size=60,
)


def _firings(
    queue: TimerQueue, alarms: list[Alarm], steps: list[tuple[int, int, float]]
) -> Iterator[tuple[list[int], list[int]]]:
    """What fired and what should have, by number of the alarm, after each expire()."""
    deadlines: dict[int, float] = {}
    now = 0.0
    for action, number, value in steps:
        timer = alarms[number].timer
        if action == MOVE:
            deadlines[number] = now + value
            queue.set(timer, deadlines[number])
        elif action == CANCEL:
            deadlines.pop(number, None)
            queue.cancel(timer)
        else:
            now += value
            counts = [len(alarm.fired_at) for alarm in alarms]
            queue.expire(now)
            fired = [i for i, alarm in enumerate(alarms) if len(alarm.fired_at) > counts[i]]
            due = [i for i, at in deadlines.items() if -(-at // TICK) * TICK <= now]
            for number in due:
                del deadlines[number]
            yield fired, sorted(due)
        assert {i for i, alarm in enumerate(alarms) if alarm.timer.active} == set(deadlines)
        assert len(queue) == len(deadlines)


@given(STEPS)
def test_the_queue_fires_what_a_plain_list_of_deadlines_would(
    steps: list[tuple[int, int, float]],
) -> None:
    for fired, due in _firings(TimerQueue(), [Alarm() for _ in range(6)], steps):
        assert fired == due


@given(STEPS)
def test_next_deadline_is_never_later_than_any_timer(steps: list[tuple[int, int, float]]) -> None:
    queue, alarms = TimerQueue(), [Alarm() for _ in range(6)]
    for _ in _firings(queue, alarms, steps):
        ticks = [alarm.timer.tick for alarm in alarms if alarm.timer.tick is not None]
        assert queue.next_deadline() == (min(ticks) * TICK if ticks else None)
