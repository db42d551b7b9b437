"""Finding plugins among whatever is installed."""

import sys
from pathlib import Path

import pytest

from l2tpns_core.plugins import discovery


def package(path: Path, name: str, files: dict[str, bytes]) -> None:
    directory = path / f"{name}-1.0.dist-info"
    directory.mkdir()
    for file, data in files.items():
        (directory / file).write_bytes(data)


def test_a_broken_package_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = b"[l2tpns.plugins]\n"
    package(tmp_path, "broken", {"METADATA": b"Name: broken\n", "entry_points.txt": b"\xff\xfe["})
    package(tmp_path, "nameless", {"entry_points.txt": group + b"nameless = nameless:It\n"})
    metadata = b"Metadata-Version: 2.1\nName: whole\nVersion: 1.0\n"
    package(
        tmp_path, "whole", {"METADATA": metadata, "entry_points.txt": group + b"whole = whole:It\n"}
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    found = {plugin.name: plugin for plugin in discovery.available()}
    assert found["whole"].distribution == "whole"
    assert (found["nameless"].distribution, found["nameless"].version) == ("?", "?")


def test_an_error_that_cannot_be_told_is_told_by_its_name() -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert discovery.describe(UnspeakableError()) == "UnspeakableError"
