"""How often something may be done."""

from l2tpns_core.dataplane.ratelimit import RateLimit


def test_a_second_allows_the_rate_at_once_and_no_more() -> None:
    limit = RateLimit(3)
    assert [limit.allow(10.0) for _ in range(5)] == [True, True, True, False, False]


def test_credit_comes_back_with_time() -> None:
    limit = RateLimit(10)
    assert all(limit.allow(0.0) for _ in range(10))
    assert not limit.allow(0.05)
    assert limit.allow(0.16)
    assert not limit.allow(0.16)


def test_silence_earns_no_more_than_a_second() -> None:
    limit = RateLimit(2)
    limit.allow(0.0)
    assert [limit.allow(1000.0) for _ in range(3)] == [True, True, False]


def test_a_rate_of_zero_allows_nothing() -> None:
    limit = RateLimit(0)
    assert not limit.allow(0.0)
    assert not limit.allow(1000.0)


def test_a_clock_that_goes_back_does_no_harm() -> None:
    limit = RateLimit(1)
    assert limit.allow(10.0)
    assert not limit.allow(5.0)
