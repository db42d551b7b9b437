"""The files of accounting_dir, from the real daemon."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.daemon.stage import Stage, ping, soon, until

pytestmark = [pytest.mark.daemon, pytest.mark.netns]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    directory = tmp_path / "usage"
    with Stage(tmp_path, accounting_dir=directory, accounting_dir_interval=1) as stage:
        yield stage


def files_of(stage: Stage) -> list[Path]:
    """All that are complete; one that is being written has a name that begins with a dot."""
    return sorted((stage.site.directory / "usage").glob("[!.]*"))


def used(stage: Stage, user: str) -> tuple[int, int]:
    """What all files together say that a user has sent and received."""
    lines = [
        line.split()
        for path in files_of(stage)
        for line in path.read_text().splitlines()
        if line.startswith(f"{user} ")
    ]
    return sum(int(line[3]) for line in lines), sum(int(line[4]) for line in lines)


def test_every_byte_of_a_session_is_in_one_file(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        client = await stage.log_in("user1")
        assert files_of(stage) == []
        for size in (100, 200):
            await ping(client, size, once=True)
            known = len(files_of(stage))
            await until(lambda known=known: len(files_of(stage)) > known, "no file")
        await until(lambda: used(stage, "user1") == (300, 300), "not all is told")
        first = files_of(stage)[0]
        time.strptime(first.name, "%Y%m%d%H%M%S")
        lines = first.read_text().splitlines()
        assert lines[0] == "# dslwatch.pl dump file V1.01"
        assert lines[2] == "# endpoint: 192.0.2.1"
        assert lines[5] == "# format: username ip qos uptxoctets downrxoctets"
        (line,) = lines[6:]
        assert line.split()[:3] == ["user1", client.ip, "1"]
        await stage.command("throttle user1 1000")
        await ping(client, 150, once=True)
        client.hangup()
        await stage.stop_of("user1", "User-Request")
        await until(lambda: used(stage, "user1") == (450, 450), "the end is missing")
        assert files_of(stage)[-1].read_text().splitlines()[6].split()[2] == "2"

    stage.play(scene)


def test_the_rest_is_written_at_the_stop(stage: Stage) -> None:
    async def scene(stage: Stage) -> None:
        stage.site.write_config(accounting_dir_interval=3600)
        await stage.reload()
        client = await stage.log_in("user1")
        await ping(client, 100, once=True)
        stage.site.daemon.send_signal(signal.SIGTERM)
        await soon(client.down)
        await asyncio.to_thread(stage.site.daemon.wait)
        assert used(stage, "user1") == (100, 100)

    stage.play(scene)
