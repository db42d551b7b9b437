"""The address pool against a plain model, and its promises one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.addresses import AddressPool


def test_unused_addresses_go_out_in_the_order_of_the_file() -> None:
    pool = AddressPool([5, 3, 9])
    assert [pool.allocate(f"u{i}", i) for i in range(3)] == [5, 3, 9]


def test_exhausted_pool_gives_none() -> None:
    pool = AddressPool([1])
    pool.allocate("a", 1)
    assert pool.allocate("b", 2) is None


def test_user_gets_the_former_address_back() -> None:
    pool = AddressPool([1, 2, 3])
    pool.allocate("a", 1)
    pool.release(1, 1, 10.0)
    pool.allocate("b", 2)
    assert pool.allocate("a", 3) == 1


def test_never_used_address_is_preferred_to_one_kept_for_another() -> None:
    pool = AddressPool([1, 2])
    pool.allocate("a", 1)
    pool.release(1, 1, 10.0)
    assert pool.allocate("b", 2) == 2


def test_longest_free_address_is_taken_when_none_is_unused() -> None:
    pool = AddressPool([1, 2])
    pool.allocate("a", 1)
    pool.allocate("b", 2)
    pool.release(2, 2, 10.0)
    pool.release(1, 1, 11.0)
    assert pool.allocate("c", 3) == 2


def test_release_by_a_session_that_does_not_hold_it_changes_nothing() -> None:
    pool = AddressPool([1])
    pool.allocate("a", 1)
    assert not pool.release(1, 99, 10.0)
    assert pool.used_count == 1


def test_unsticky_release_forgets_the_user() -> None:
    pool = AddressPool([1, 2])
    pool.allocate("a", 1)
    pool.release(1, 1, 10.0, sticky=False)
    assert pool.allocate("a", 2) == 2


def test_claimed_address_is_not_given_to_another() -> None:
    pool = AddressPool([1, 2])
    assert pool.claim(1, "static", 7)
    assert pool.allocate("a", 1) == 2
    assert not pool.claim(1, "other", 8)


def test_address_that_left_the_file_is_not_given_out_again() -> None:
    pool = AddressPool([1, 2])
    pool.allocate("a", 1)
    pool.replace([2, 3])
    assert pool.release(1, 1, 10.0)
    assert {pool.allocate("x", 2), pool.allocate("y", 3)} == {2, 3}
    assert pool.allocate("z", 4) is None


def test_rows_show_used_kept_and_unused() -> None:
    pool = AddressPool([1, 2, 3])
    pool.allocate("a", 1)
    pool.allocate("b", 2)
    pool.release(2, 2, 10.0)
    rows = [(r.ip, r.used, r.user, r.freed_ago_s) for r in pool.rows(15.0, include_unused=True)]
    assert rows == [(1, True, "a", None), (2, False, "b", 5.0), (3, False, "", None)]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["in", "out", "claim"]))))
def test_no_address_is_held_twice_and_none_is_lost(steps: list[tuple[str, str]]) -> None:
    pool = AddressPool(range(1, 4))
    held: dict[int, int] = {}
    for key, (user, step) in enumerate(steps):
        if step == "in":
            ip = pool.allocate(user, key)
            assert (ip is None) == (len(held) == 3)
        elif step == "claim":
            ip = ord(user) % 4
            if not pool.claim(ip, user, key):
                assert ip in held or ip == 0
                continue
        else:
            if held:
                ip, owner = held.popitem()
                assert pool.release(ip, owner, float(key))
            continue
        if ip is not None:
            assert ip not in held
            held[ip] = key
        assert {ip: pool.holder(ip) for ip in pool.leased()} == held
        assert pool.free_count + pool.used_count == 3


@pytest.mark.parametrize("ip", [1, 2])
def test_holder_names_the_session(ip: int) -> None:
    pool = AddressPool([1, 2])
    pool.claim(ip, "a", 42)
    assert pool.holder(ip) == 42
