"""Where the kernel takes packets of LACs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import Stage, ping, scene, until

pytestmark = [pytest.mark.daemon, pytest.mark.netns]


@pytest.fixture
def stage(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with Stage(tmp_path, dataplane="ebpf", lac_interfaces=request.param) as stage:
        yield stage


@pytest.mark.parametrize("stage", [""], indirect=True)
@scene
async def test_it_is_where_the_routes_to_lacs_lead(stage: Stage) -> None:
    assert stage.ask("show dataplane")["kernel"]["interfaces"] == {}
    client = await stage.log_in("user1")
    await until(lambda: stage.ask("show dataplane")["kernel"]["interfaces"], "not attached")
    await ping(client, once=True)
    kernel = stage.ask("show dataplane")["kernel"]
    assert list(kernel["interfaces"]) == ["lac"]
    assert kernel["lacs"] == {"192.0.2.2": "lac"}
    assert kernel["hits"] == {"up": 1, "down": 1}


@pytest.mark.parametrize("stage", ["net, nowhere"], indirect=True)
@scene
async def test_it_is_where_the_operator_says_and_nowhere_else(stage: Stage) -> None:
    client = await stage.log_in("user1")
    await until(lambda: stage.ask("show dataplane")["kernel"]["interfaces"], "not attached")
    await ping(client, once=True)
    report = stage.ask("show dataplane")
    assert list(report["kernel"]["interfaces"]) == ["net"]
    assert report["process"]["up"] == 1
    assert "there is no interface nowhere (see lac_interfaces)" in stage.site.log()
