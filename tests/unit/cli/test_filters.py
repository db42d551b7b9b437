"""Output filters, as in the screens of the original."""

import pytest

from l2tpns_core.cli.filters import MAX_FILTERS
from unit.cli.fakes import four_sessions


def sids(line: str) -> list[str]:
    """The first words of what a command prints."""
    screen = four_sessions().run(line)
    assert screen.error == ""
    return [text.split()[0] for text in screen.lines]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ("include alice", ["2"]),
        ("inc alice", ["2"]),
        ("exclude alice", ["SID", "1", "3", "4"]),
        ("grep carol", ["3"]),
        ("grep -i CAROL", ["3"]),
        ("grep -v -i ALICE", ["SID", "1", "3", "4"]),
        ("grep CAROL", []),
        ("begin carol", ["3", "4"]),
        ("count", ["5"]),
        ("exclude SID | count", ["4"]),
        ("count | include 9", []),
        ("begin alice | exclude frank | count", ["2"]),
        ("include 'N Y N'", ["2"]),
        ("include N Y N", ["2"]),
    ],
)
def test_filters(filters: str, left: list[str]) -> None:
    assert sids(f"show session | {filters}") == left


@pytest.mark.parametrize(
    ("filters", "error"),
    [
        ("count u", "Count filter does not take arguments"),
        ("include", "Include filter needs a text"),
        ("grep -x a", "grep filter takes the options -i and -v"),
        ("nosuch a", 'Invalid filter "nosuch"'),
        ("", "Incomplete command"),
        ("count | " * MAX_FILTERS + "count", f"A line may have at most {MAX_FILTERS} filters"),
    ],
)
def test_bad_filters_are_refused_before_anything_is_printed(filters: str, error: str) -> None:
    screen = four_sessions().run(f"drop session 2 | {filters}")
    assert (screen.lines, screen.error) == ([], error)


def test_refused_filter_keeps_the_command_from_running() -> None:
    context = four_sessions()
    context.run("drop session 2 | nosuch")
    assert context.lns.dropped == []
