"""Fixtures of the garden's tests on a real kernel."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.garden.place import Place, install_tools, place


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tools")
    install_tools(directory)
    return directory


@pytest.fixture
def router(tools: Path) -> Iterator[Place]:
    with place(tools) as made:
        yield made
