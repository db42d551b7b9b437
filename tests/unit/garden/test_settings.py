"""From plugins.toml to gardens with marks."""

import pytest

from l2tpns_plugins_garden.firewall import GardenError
from l2tpns_plugins_garden.settings import NamedGarden, Settings, layout_of


def gardens(**named: int) -> dict[str, NamedGarden]:
    return {name: NamedGarden(mark) for name, mark in named.items()}


def test_each_garden_has_a_chain_and_a_mark() -> None:
    layout = layout_of(Settings(gardens=gardens(unpaid=0, abuse=0)))
    assert [(garden.chain, garden.mark) for garden in layout.gardens] == [
        ("garden", 0x10000),
        ("garden_unpaid", 0x20000),
        ("garden_abuse", 0x30000),
    ]


def test_chosen_mark_is_kept_and_the_others_go_round_it() -> None:
    layout = layout_of(Settings(gardens=gardens(first=0, fixed=2, last=0)))
    assert {garden.name: garden.mark >> 16 for garden in layout.gardens} == {
        "": 1,
        "fixed": 2,
        "first": 3,
        "last": 4,
    }


def test_mask_may_be_anywhere() -> None:
    layout = layout_of(Settings(mark_mask=0xC0000000, gardens=gardens(unpaid=0)))
    assert [garden.mark for garden in layout.gardens] == [0x40000000, 0x80000000]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(check_interval=0.0), "check_interval must be 0.01 seconds or more, not 0"),
        (Settings(check_interval=float("inf")), "check_interval must be"),
        (Settings(check_interval=float("nan")), "check_interval must be"),
        (Settings(build_timeout=-1.0), "build_timeout must be 0.01 seconds or more, not -1"),
        (Settings(mark_mask=0), "not a mask"),
        (Settings(mark_mask=1 << 32), "not a mask"),
        (Settings(mark_mask=0x10000), "at least two bits"),
        (Settings(mark_mask=0x50000), "one beside the other"),
        (Settings(gardens=gardens(a=15)), "must be 2 to 14"),
        (Settings(gardens=gardens(a=1)), "must be 2 to 14"),
        (Settings(gardens=gardens(a=3, b=3)), "gardens a and b have the same mark"),
        (Settings(mark_mask=3, gardens=gardens(a=0, b=0)), "room for 2 gardens"),
        (Settings(gardens=gardens(users=0)), 'cannot be named "users"'),
        (Settings(gardens={"ä": NamedGarden()}), "cannot name a garden"),
        (Settings(gardens={"x" * 17: NamedGarden()}), "cannot name a garden"),
    ],
)
def test_mistake_is_named(settings: Settings, message: str) -> None:
    with pytest.raises(GardenError, match=message):
        layout_of(settings)
