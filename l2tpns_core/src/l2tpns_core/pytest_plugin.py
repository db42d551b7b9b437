"""Fixtures for the tests of plugins. pytest finds them by itself where l2tpns-core is installed.

`lns_world` is an LNS in memory (lab.world): no root, no kernel, virtual time. `lns_site` is a real
daemon between network namespaces (lab.live): it needs root. Directives are given by a mark:

    @pytest.mark.lns(throttle_speed=128)
    def test_something(lns_world): ...

Every run of pytest in such an environment imports this module, so it is not part of the package
`lab`, and imports that only when a fixture is asked for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from l2tpns_core.lab.live import LiveSite
    from l2tpns_core.lab.world import LnsWorld

MARK = "lns"


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, also where unknown marks are errors."""
    config.addinivalue_line(
        "markers", f"{MARK}(**directives): directives of lns_world and lns_site"
    )


@pytest.fixture
def lns_world(request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[LnsWorld]":
    """A running LNS in memory. When the test is over all plugins are unloaded, and nothing of them
    may be left."""
    from l2tpns_core.lab.world import LnsWorld

    mark = request.node.get_closest_marker(MARK)
    world = LnsWorld(tmp_path, **(mark.kwargs if mark is not None else {}))
    yield world
    world.close()


@pytest.fixture
def lns_site(request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[LiveSite]":
    """A running daemon with a LAC, a RADIUS server and a host. The mark may also have `plugins`, a
    list of names to load, and `settings`, the text of plugins.toml. Without `dataplane` in the mark
    the plane is that of the environment variable L2TPNS_TEST_DATAPLANE."""
    from l2tpns_core.lab.live import LiveSite
    from l2tpns_core.lab.netns import LabError

    mark = request.node.get_closest_marker(MARK)
    site = LiveSite(tmp_path, **(mark.kwargs if mark is not None else {}))
    refusal = None
    try:
        site.__enter__()
    except LabError as error:
        refusal = f"lns_site: {error}"
    if refusal is not None:  # out here, so that pytest does not print the errors behind it
        pytest.fail(refusal, pytrace=False)
    yield site
    site.__exit__(None, None, None)
