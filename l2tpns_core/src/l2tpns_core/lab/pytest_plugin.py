"""Fixtures for the tests of plugins. pytest finds them by itself where l2tpns-core is installed.

`lns_world` is an LNS in memory (lab.world): no root, no kernel, virtual time. Directives are given
by a mark:

    @pytest.mark.lns(throttle_speed=128)
    def test_something(lns_world): ...
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from l2tpns_core.lab.world import LnsWorld

MARK = "lns"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, also where unknown marks are errors."""
    config.addinivalue_line("markers", f"{MARK}(**directives): directives of the fixture lns_world")


@pytest.fixture
def lns_world(request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[LnsWorld]":
    """A running LNS in memory. When the test is over all plugins are unloaded, and nothing of them
    may be left."""
    from l2tpns_core.lab.world import LnsWorld

    mark = request.node.get_closest_marker(MARK)
    world = LnsWorld(tmp_path, **(mark.kwargs if mark is not None else {}))
    yield world
    world.close()
