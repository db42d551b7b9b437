"""What a Cisco-AVPair says about rates, and what is said back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.radius.avpair import split_avpair
from l2tpns_plugins_autothrottle.rates import KEEP, MAX_RATE, RateError, pairs_of, rates_of

INTERFACE = "lcp:interface-config#1"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("throttle", "yes", (28, 28)),
        ("throttle", "YES", (28, 28)),
        ("Throttle", " no ", (0, 0)),
        ("throttle", "512", (512, 512)),
        ("throttle", "10000000", (MAX_RATE, MAX_RATE)),
        (INTERFACE, "service-policy input 256", (256, KEEP)),
        (INTERFACE, "service-policy output 1024", (KEEP, 1024)),
        ("lcp:interface-config", "serv i 1", (1, KEEP)),
        ("lcp:interface-config#99", "SERVICE-POLICY  Out 0", (KEEP, 0)),
        ("intercept", "yes", None),
        ("throttled", "5", None),
        ("lcp:interface-configuration", "service-policy input 5", None),
        (INTERFACE, "", None),
        (INTERFACE, "ser input 5", None),
        (INTERFACE, "ip unnumbered Loopback0", None),
        ("", "", None),
    ],
)
def test_pairs_that_can_be_used(key: str, value: str, expected: tuple[int, int] | None) -> None:
    assert rates_of(key, value, 28) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("throttle", ""),
        ("throttle", "0"),
        ("throttle", "-1"),
        ("throttle", "fast"),
        ("throttle", "1.5"),
        ("throttle", "10000001"),
        ("throttle", "9" * 400),
        ("throttle", "\N{ARABIC-INDIC DIGIT ONE}"),
        (INTERFACE, "service-policy"),
        (INTERFACE, "service-policy input"),
        (INTERFACE, "service-policy input -5"),
        (INTERFACE, "service-policy input 5 6"),
        (INTERFACE, "service-policy sideways 5"),
        (INTERFACE, "service-polici input 5"),
    ],
)
def test_pairs_that_cannot_be_used_are_named_in_one_short_line(key: str, value: str) -> None:
    with pytest.raises(RateError) as caught:
        rates_of(key, value, 28)
    assert len(str(caught.value)) < 160
    assert key.partition("#")[0] in str(caught.value)


def test_yes_needs_a_throttle_speed() -> None:
    with pytest.raises(RateError, match="throttle_speed is 0"):
        rates_of("throttle", "yes", 0)


@given(st.sampled_from(["throttle", INTERFACE]), st.text())
def test_any_text_is_a_rate_or_a_rate_error(key: str, value: str) -> None:
    try:
        rates = rates_of(key, value, 28)
    except RateError:
        return
    if rates is None:
        assert key == INTERFACE
        assert not value.lower().split()[:1] or not value.lower().split()[0].startswith("serv")
    else:
        assert all(KEEP <= rate <= MAX_RATE for rate in rates)


@pytest.mark.parametrize(
    ("rates", "pairs"),
    [
        ((0, 0), []),
        ((256, 0), ["lcp:interface-config#1=service-policy input 256"]),
        ((0, 128), ["lcp:interface-config#1=service-policy output 128"]),
        (
            (256, 128),
            [
                "lcp:interface-config#1=service-policy input 256",
                "lcp:interface-config#2=service-policy output 128",
            ],
        ),
    ],
)
def test_pairs_of_the_accounting(rates: tuple[int, int], pairs: list[str]) -> None:
    assert list(pairs_of(*rates)) == pairs


@given(st.integers(1, MAX_RATE), st.integers(1, MAX_RATE))
def test_what_is_said_is_understood(rate_in: int, rate_out: int) -> None:
    first, second = pairs_of(rate_in, rate_out)
    ((key, value),) = split_avpair(first)
    assert rates_of(key, value, 0) == (rate_in, KEEP)
    ((key, value),) = split_avpair(second)
    assert rates_of(key, value, 0) == (KEEP, rate_out)
