"""Who gets a slot when there are too many, and how fast passwords may be tried."""

import pytest

from l2tpns_core.cli.telnet_limits import (
    LOGIN_SLOTS,
    MAX_DELAY_S,
    MAX_LOGINS_PER_SOURCE,
    MAX_PER_SOURCE,
    MAX_PUNISHED,
    MAX_TRUSTED,
    MIN_LOGIN_S,
    RESERVED_SLOTS,
    Lockout,
    Slots,
    TooManyError,
    Visitor,
)

HONEST = "198.51.100.7"


class Crowd:
    """Clients of Slots, and those that were hung up."""

    def __init__(self, max_operators: int = 16) -> None:
        self.slots = Slots(max_operators)
        self.hung_up: list[str] = []

    def arrive(self, address: str, now: float = 0.0) -> Visitor:
        return self.slots.admit(address, now, lambda: self.hung_up.append(address))

    def fill(self, each: int, now: float = 0.0) -> None:
        for number in range(LOGIN_SLOTS):
            self.arrive(f"203.0.113.{number // each}", now)


def test_one_source_gets_no_more_than_its_share() -> None:
    crowd = Crowd()
    visitors = [crowd.arrive(HONEST) for _ in range(MAX_LOGINS_PER_SOURCE)]
    with pytest.raises(TooManyError, match="4 logins of this address"):
        crowd.arrive(HONEST)
    for visitor in visitors:
        crowd.slots.promote(visitor, 0.0)
    for _ in range(MAX_PER_SOURCE - MAX_LOGINS_PER_SOURCE):
        crowd.arrive(HONEST)
    with pytest.raises(TooManyError, match="8 connections of this address"):
        crowd.arrive(HONEST)
    crowd.slots.leave(visitors[0])
    crowd.slots.leave(visitors[1])
    crowd.arrive("192.0.2.1")


def test_a_newcomer_takes_the_oldest_of_the_source_with_most() -> None:
    crowd = Crowd()
    crowd.fill(MAX_LOGINS_PER_SOURCE)
    crowd.arrive(HONEST)
    assert crowd.hung_up == ["203.0.113.0"]
    for number in range(5):
        crowd.arrive(f"198.51.100.{100 + number}")
    assert HONEST not in crowd.hung_up
    assert len(crowd.hung_up) == 6


def test_a_whole_network_counts_as_one_attacker() -> None:
    crowd = Crowd()
    crowd.fill(1)
    crowd.arrive(HONEST, 1.0)
    assert crowd.hung_up == ["203.0.113.0"]
    with pytest.raises(TooManyError):
        crowd.arrive("203.0.113.200", 1.0)
    for number in range(20):
        crowd.arrive(f"192.0.{number}.1", 1.0)
    assert HONEST not in crowd.hung_up
    assert len(crowd.hung_up) == 21


def test_when_all_sources_are_alike_somebody_goes_who_has_had_time() -> None:
    crowd = Crowd()
    for number in range(LOGIN_SLOTS):
        crowd.arrive(f"203.0.{number}.1")
    with pytest.raises(TooManyError, match="32 clients that have not logged in"):
        crowd.arrive(HONEST, MIN_LOGIN_S - 1)
    crowd.arrive(HONEST, MIN_LOGIN_S)
    assert crowd.hung_up == ["203.0.0.1"]


@pytest.mark.parametrize("trusted", ["127.0.0.1", HONEST])
def test_slots_are_kept_for_who_has_been_here(trusted: str) -> None:
    crowd = Crowd()
    known = crowd.arrive(HONEST)
    crowd.slots.promote(known, 0.0)
    crowd.slots.leave(known)
    for number in range(LOGIN_SLOTS):
        crowd.arrive(f"203.0.{number}.1")
    first = crowd.arrive(trusted, 1.0)
    assert crowd.hung_up == []
    for number in range(RESERVED_SLOTS):
        with pytest.raises(TooManyError):
            crowd.arrive(f"192.0.{number}.1", 1.0)
    crowd.slots.leave(first)
    crowd.arrive(trusted, 90_000.0)
    assert crowd.hung_up == ([] if trusted == "127.0.0.1" else ["203.0.0.1"])


def test_all_of_loopback_is_one_source() -> None:
    crowd = Crowd()
    for number in range(MAX_LOGINS_PER_SOURCE):
        crowd.arrive(f"127.0.0.{number + 1}")
    with pytest.raises(TooManyError):
        crowd.arrive("127.9.9.9")


def test_operators_are_counted_apart() -> None:
    crowd = Crowd(max_operators=2)
    first, second, third = (crowd.arrive(f"192.0.2.{number}") for number in range(3))
    crowd.slots.promote(first, 0.0)
    crowd.slots.promote(second, 0.0)
    with pytest.raises(TooManyError, match="2 operators"):
        crowd.slots.promote(third, 0.0)
    crowd.slots.leave(third)
    crowd.fill(MAX_LOGINS_PER_SOURCE)
    assert crowd.hung_up.count("192.0.2.0") == 0
    crowd.slots.leave(first)
    crowd.slots.promote(crowd.arrive("192.0.2.9"), 0.0)


def test_who_is_trusted_is_bounded() -> None:
    slots = Slots(10_000)
    for number in range(MAX_TRUSTED + 5):
        slots.promote(slots.admit(f"10.0.0.{number}", 0.0, bool), 0.0)
    assert not slots.trusts("10.0.0.4", 1.0)
    assert slots.trusts("10.0.0.5", 1.0)


def test_wrong_passwords_make_the_next_ones_wait() -> None:
    lockout, now, waits = Lockout(), 0.0, []
    for _ in range(7):
        wait = lockout.delay(HONEST, now)
        waits.append(wait)
        now += wait
    assert waits == [0, 1, 2, 4, 8, MAX_DELAY_S, MAX_DELAY_S]
    assert lockout.delay("192.0.2.1", now) == 0
    lockout.success(HONEST)
    assert lockout.delay(HONEST, now) == 0


def test_attempts_at_the_same_time_wait_one_behind_the_other() -> None:
    lockout = Lockout()
    assert [lockout.delay(HONEST, 0.0) for _ in range(4)] == [0, 1, 3, 7]


def test_failures_are_forgiven_and_bounded() -> None:
    lockout = Lockout()
    for _ in range(3):
        lockout.delay(HONEST, 0.0)
    assert lockout.delay(HONEST, 10_000.0) == 0
    assert lockout.delay(HONEST, 10_000.0) == 1
    for number in range(MAX_PUNISHED):
        lockout.delay(f"10.0.{number >> 8}.{number & 255}", 10_000.0)
    assert len(lockout._failures) == MAX_PUNISHED
    assert lockout.delay(HONEST, 10_000.0) == 0
