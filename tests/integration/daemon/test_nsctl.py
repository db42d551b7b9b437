"""nsctl against a daemon that runs: what it does to a subscriber, and who may."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from integration.daemon.stage import Stage, assert_terminated, down, scene, soon

pytestmark = [pytest.mark.daemon, pytest.mark.netns]

SECRET = "open sesame"
Ended = tuple[int, str, str]
"""Exit status, what was printed, and what was complained."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("nsctl"), nsctl_secret=SECRET) as running:
        yield running


async def nsctl(stage: Stage, *arguments: str, secret: str = SECRET) -> Ended:
    """Run nsctl on the machine of the LNS."""
    program = stage.site.lns.popen(
        [sys.executable, "-m", "l2tpns_core.control.client", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "NSCTL_SECRET": secret},
    )
    out, err = await soon(asyncio.to_thread(program.communicate))
    return program.returncode, out.decode(), err.decode()


@scene
async def test_drop_ends_the_session_of_a_user(stage: Stage) -> None:
    client = await stage.log_in("user-dropped")
    assert await nsctl(stage, "drop", "user-dropped", "moved out") == (0, "", "")
    await down(client, 3, 0, "moved out")
    assert_terminated(client)
    await stage.stop_of("user-dropped", "Admin-Reset")
    assert await nsctl(stage, "drop", "user-dropped") == (1, "", "session not found\n")


@scene
async def test_kill_ends_a_session_by_its_number(stage: Stage) -> None:
    client = await stage.log_in("user-killed")
    row = stage.session_of("user-killed")
    number = f"{row['tunnel_id']}/{row['session_id']}"
    assert await nsctl(stage, "kill", number) == (0, "", "")
    assert stage.ask("show session") == []
    await down(client, 3, 0, "Requested by administrator.")
    await stage.stop_of("user-killed", "Admin-Reset")


@scene
async def test_the_secret_protects_and_follows_the_configuration(stage: Stage) -> None:
    client = await stage.log_in("user-safe")
    refused = "not authenticated: this server wants a secret\n"
    assert await nsctl(stage, "drop", "user-safe", secret="") == (1, "", refused)
    assert (await nsctl(stage, "drop", "user-safe", secret="other"))[0] == 1
    assert client.is_up
    assert "nsctl from 127.0.0.1" in stage.site.log()
    assert SECRET not in stage.site.log()
    stage.site.write_config(nsctl_secret="another")
    await stage.reload()
    assert await nsctl(stage, "drop", "user-safe", secret="another") == (0, "", "")
    await soon(client.down)
    stage.site.write_config(nsctl_secret=SECRET)
    await stage.reload()


@scene
async def test_a_plugin_that_is_not_installed(stage: Stage) -> None:
    assert await nsctl(stage, "load_plugin", "nope") == (1, "", "error loading plugin\n")
    assert 'no plugin "nope" is installed' in stage.site.log()
    assert await nsctl(stage, "unload_plugin", "nope") == (1, "", "plugin not found\n")
