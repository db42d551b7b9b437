"""What `plugins.toml` may say about the garden.

[garden]
check_interval = 30

[garden.unpaid]      # a garden of its own, for who gets garden=unpaid from RADIUS
"""

import math
import re
from dataclasses import dataclass, field
from typing import Final

from l2tpns_plugins_garden.firewall import GardenError
from l2tpns_plugins_garden.rules import IPV4, Garden, Layout

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,16}")
"""iptables takes 28 characters for a chain, of which `garden_` is 7."""
RESERVED_NAMES: Final = frozenset(("users", "mark", "drop", "reply", "yes", "no"))
SHORTEST_S: Final = 0.01


@dataclass(slots=True)
class NamedGarden:
    """One `[garden.NAME]`."""

    mark: int = 0
    """Which of the values of the mark is its own, from 2; 0 for the next free one."""


@dataclass(slots=True)
class Settings:
    """The table `[garden]`."""

    build_garden: str = "build-garden"
    """Shell file that fills the gardens; beside the startup-config unless it is absolute."""
    build_timeout: float = 30.0
    """Seconds after which it is killed."""
    check_interval: float = 30.0
    """Seconds between two looks at the rules."""
    mark_mask: int = 0x000F0000
    """The bits of the packet mark that are the garden's; they must be one beside the other."""
    gardens: dict[str, NamedGarden] = field(default_factory=dict, metadata={"tables": True})
    """The named gardens, one for each sub-table."""


def layout_of(settings: Settings) -> Layout:
    """The gardens with their marks. Raises GardenError with the mistake in the settings."""
    _check_times(settings)
    mask = settings.mark_mask
    if not 0 < mask <= 0xFFFFFFFF:
        raise GardenError(f"mark_mask {mask:#x} is not a mask of 32 bits")
    unit = mask & -mask
    values = mask // unit
    if values & (values + 1) or values < 3:
        raise GardenError(
            f"mark_mask {mask:#010x} must have at least two bits, one beside the other"
        )
    taken = {1: ""}
    for name, garden in settings.gardens.items():
        _check_name(name)
        if not garden.mark:
            continue
        if not 2 <= garden.mark < values:
            raise GardenError(f"mark of garden {name} must be 2 to {values - 1}")
        if garden.mark in taken:
            raise GardenError(f"gardens {taken[garden.mark]} and {name} have the same mark")
        taken[garden.mark] = name
    for name in settings.gardens:
        if name not in taken.values():
            taken[_next_free(taken, values)] = name
    gardens = tuple(Garden(name, value * unit) for value, name in sorted(taken.items()))
    return Layout(gardens, mask, IPV4)


def _next_free(taken: dict[int, str], values: int) -> int:
    for value in range(2, values):
        if value not in taken:
            return value
    raise GardenError(f"mark_mask has room for {values - 1} gardens: give it more bits")


def _check_times(settings: Settings) -> None:
    for name in ("build_timeout", "check_interval"):
        seconds = getattr(settings, name)
        if not SHORTEST_S <= seconds < math.inf:
            raise GardenError(f"{name} must be {SHORTEST_S} seconds or more, not {seconds:g}")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise GardenError(f'"{name}" cannot name a garden: 1 to 16 letters, digits, _ and -')
    if name in RESERVED_NAMES:
        raise GardenError(f'a garden cannot be named "{name}"')
