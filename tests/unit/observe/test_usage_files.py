"""Files of accounting_dir."""

import asyncio
import re
import time
from pathlib import Path

import pytest

from l2tpns_core.observe import usage_files
from l2tpns_core.observe.usage_files import UsageFiles, write_file

AT = 1_795_439_001.7
NAME = time.strftime("%Y%m%d%H%M%S", time.localtime(AT))


def put(directory: Path, *batches: list[str]) -> None:
    """Write files one after the other."""

    async def main() -> None:
        files = UsageFiles(asyncio.get_running_loop(), "192.0.2.1")
        for lines in batches:
            files.put(str(directory), "lns1", AT, lines)
            await files.close()

    asyncio.run(main())


def test_name_and_content_are_those_of_the_manual(tmp_path: Path) -> None:
    put(tmp_path / "new" / "deep", ["alice 10.0.0.1 1 5 6", "bob 10.0.0.2 2 7 8"])
    (path,) = (tmp_path / "new" / "deep").iterdir()
    assert path.name == NAME
    lines = path.read_text().splitlines()
    assert lines[:4] == [
        "# dslwatch.pl dump file V1.01",
        "# host: lns1",
        "# endpoint: 192.0.2.1",
        "# time: 1795439001",
    ]
    assert re.fullmatch(r"# uptime: -?\d+", lines[4])
    assert lines[5:] == [
        "# format: username ip qos uptxoctets downrxoctets",
        "alice 10.0.0.1 1 5 6",
        "bob 10.0.0.2 2 7 8",
    ]


def test_two_files_of_one_second_are_both_there(tmp_path: Path) -> None:
    put(tmp_path, ["alice 10.0.0.1 1 5 6"], ["bob 10.0.0.2 1 7 8"])
    first, second = sorted(tmp_path.iterdir())
    assert first.name == NAME
    assert first.read_text().endswith("alice 10.0.0.1 1 5 6\n")
    assert second.read_text().endswith("bob 10.0.0.2 1 7 8\n")


def test_a_file_is_never_seen_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = usage_files.os.fsync

    def look(descriptor: int) -> None:
        seen.append([path.name for path in tmp_path.iterdir() if not path.name.startswith(".")])
        real(descriptor)

    monkeypatch.setattr(usage_files.os, "fsync", look)
    write_file(tmp_path, AT, ["# h"], ["line"])
    assert seen == [[]]
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_what_cannot_be_written_is_in_the_next_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "dir"
    blocked.write_text("a file where the directory should be")

    async def main() -> None:
        files = UsageFiles(asyncio.get_running_loop(), "192.0.2.1")
        files.put(str(blocked), "lns1", AT, ["alice 10.0.0.1 1 5 6"])
        await files.close()
        blocked.unlink()
        files.put(str(blocked), "lns1", AT, ["bob 10.0.0.2 1 7 8"])
        await files.close()

    asyncio.run(main())
    assert f"cannot write usage to {blocked}" in caplog.text
    assert (blocked / NAME).read_text().endswith("alice 10.0.0.1 1 5 6\nbob 10.0.0.2 1 7 8\n")


def test_what_waits_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(usage_files, "MAX_KEPT", 3)
    put(tmp_path, [f"user{number} 10.0.0.1 1 5 6" for number in range(5)])
    assert [line[:5] for line in (tmp_path / NAME).read_text().splitlines()[6:]] == [
        "user2",
        "user3",
        "user4",
    ]
    assert "2 usage lines are lost" in caplog.text
