import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from unit.radius.lab import Lab
from unit.radius.virtual_loop import VirtualLoop


@pytest.fixture
def run() -> Iterator[Callable[[Callable[[Lab], Awaitable[None]]], None]]:
    """Run a coroutine function with a lab on virtual time, and close all of it."""
    loop = VirtualLoop()

    def run_scenario(scenario: Callable[[Lab], Awaitable[None]]) -> None:
        async def main() -> None:
            lab = Lab(loop)
            try:
                await scenario(lab)
            finally:
                lab.close()
                await asyncio.sleep(0)

        loop.run_until_complete(main())

    yield run_scenario
    loop.close()
