"""What a slave has counted is reported once, whatever comes in between."""

from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.cluster.counts import Count, together
from l2tpns_core.clustering.counting import AT_ONCE, Counting, as_counters
from l2tpns_core.dataplane.plane import SessionCounters

AHEAD = 1_000.0
ZERO = Count(0, 0, 0, 0)


class Plane:
    """Counters that only grow."""

    def __init__(self) -> None:
        self.totals: dict[int, SessionCounters] = {}

    def counters(self, key: int) -> SessionCounters:
        return self.totals.get(key, SessionCounters())

    def use(self, key: int, octets: int) -> None:
        before = self.counters(key)
        self.totals[key] = SessionCounters(
            before.octets_in + octets,
            before.octets_out + 2 * octets,
            before.packets_in + 1,
            before.packets_out + 2,
            5.0,
            5.0,
        )

    def remove(self, key: int) -> SessionCounters:
        return self.totals.pop(key, SessionCounters())


def make() -> tuple[Plane, Counting]:
    plane = Plane()
    return plane, Counting(plane, lambda: AHEAD)


def test_the_difference_is_taken_once() -> None:
    plane, counting = make()
    plane.use(1, 100)
    assert counting.take([1, 2]) == {1: Count(100, 200, 1, 2, 1005)}
    assert counting.take([1, 2]) == {}
    plane.use(1, 50)
    assert counting.take([1]) == {1: Count(50, 100, 1, 2, 1005)}


def test_what_could_not_be_reported_is_taken_again() -> None:
    plane, counting = make()
    plane.use(1, 100)
    counting.give_back(counting.take([1]))
    plane.use(1, 1)
    assert counting.take([1]) == {1: Count(101, 202, 2, 4, 1005)}


def test_a_session_that_leaves_the_plane_is_reported_to_the_end() -> None:
    plane, counting = make()
    plane.use(1, 100)
    counting.take([1])
    plane.use(1, 10)
    counting.leave(1, plane.remove(1))
    assert counting.take([]) == {1: Count(10, 20, 1, 2, 1005)}
    plane.use(1, 7)  # the key is another session's
    assert counting.take([1]) == {1: Count(7, 14, 1, 2, 1005)}


def test_a_former_master_reports_what_the_new_one_does_not_know() -> None:
    plane, counting = make()
    plane.use(1, 100)
    told = plane.counters(1)
    plane.use(1, 5)
    counting.start({1: told})
    assert counting.take([1]) == {1: Count(5, 10, 1, 2, 1005)}


def test_all_have_their_turn() -> None:
    _, counting = make()
    keys = range(3 * AT_ONCE)
    seen = [counting.in_turn(keys, len(keys)) for _ in range(3)]
    assert sorted(key for turn in seen for key in turn) == list(keys)
    assert counting.in_turn([7], 1) == [7]
    assert counting.in_turn([], 0) == []


def test_times_are_those_of_our_clock() -> None:
    counters = as_counters(Count(1, 2, 3, 4, 1005), AHEAD)
    assert (counters.octets_in, counters.heard_at, counters.data_at) == (1, 5.0, 5.0)
    assert as_counters(Count(0, 2, 0, 4, 1005), AHEAD).heard_at == 0.0


steps = st.lists(
    st.tuples(
        st.sampled_from(["use", "take", "fail", "leave"]), st.integers(1, 3), st.integers(0, 99)
    ),
    max_size=60,
)


@given(steps)
def test_no_octet_is_lost_or_counted_twice(plan: list[tuple[str, int, int]]) -> None:
    plane, counting = make()
    used = dict.fromkeys((1, 2, 3), 0)
    reported = dict.fromkeys((1, 2, 3), ZERO)

    def report(counts: dict[int, Count]) -> None:
        for key, count in counts.items():
            reported[key] = together(reported[key], count)

    for what, key, octets in plan:
        if what == "use":
            plane.use(key, octets)
            used[key] += octets
        elif what == "take":
            report(counting.take([key]))
        elif what == "fail":
            counting.give_back(counting.take([key]))
        else:
            counting.leave(key, plane.remove(key))
    report(counting.take([1, 2, 3]))
    assert {key: count.octets_in for key, count in reported.items()} == used
    assert {key: count.octets_out for key, count in reported.items()} == {
        key: 2 * octets for key, octets in used.items()
    }


def test_what_a_former_process_has_counted_in_the_kernel_is_not_counted_again() -> None:
    plane, counting = make()
    plane.use(1, 100)
    counting.begin(1)
    plane.use(1, 5)
    assert counting.take([1]) == {1: Count(5, 10, 1, 2, 1005)}
