"""The startup-config on the disk: replaced as a whole, by what has read it."""

import os
from pathlib import Path

import pytest

from l2tpns_core.config.directives import Config
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.merge import Wanted
from l2tpns_core.config.startup_config import load
from l2tpns_core.config.startup_file import StartupFile

WANTED = Wanted(Config(debug=2))


def opened(path: Path) -> StartupFile:
    return StartupFile(path, load(path).digest)


def test_a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "startup-config"
    path.write_text("set debug 1\n")
    path.chmod(0o640)
    said = opened(path).save(WANTED)
    assert said == f"Configuration written to {path} (12 bytes)"
    assert path.read_text() == "set debug 2\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_its_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "startup-config"
    path.write_text("")
    os.chown(path, 65534, 65534)
    opened(path).save(WANTED)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "startup-config"
    opened(path).save(WANTED)
    assert path.read_text() == "set debug 2\n"
    assert path.stat().st_mode & 0o7777 == 0o600


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("")
    path = tmp_path / "startup-config"
    path.symlink_to("real")
    opened(path).save(WANTED)
    assert path.is_symlink()
    assert (tmp_path / "real").read_text() == "set debug 2\n"


def test_nothing_is_written_when_the_file_says_it(tmp_path: Path) -> None:
    path = tmp_path / "startup-config"
    path.write_text("set debug 2\n")
    before = path.stat()
    assert opened(path).save(WANTED) == f"{path} says that already"
    assert path.stat().st_ino == before.st_ino


def test_what_somebody_else_wrote_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "startup-config"
    path.write_text("set debug 1\n")
    file = opened(path)
    path.write_text("set debug 1\nset l2tp_mtu 1400\n")
    with pytest.raises(ConfigError, match="has changed since it was read: `reload` takes"):
        file.save(WANTED)
    assert path.read_text() == "set debug 1\nset l2tp_mtu 1400\n"
    file.save(WANTED, force=True)
    assert path.read_text() == "set debug 2\n"
    file.save(Wanted(Config(debug=3)))  # nobody else wrote since
    assert path.read_text() == "set debug 3\n"


def test_a_disk_that_refuses_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "startup-config"
    path.write_text("set debug 1\n")
    file = opened(path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=f"cannot write {path}: No space left on device"):
        file.save(WANTED)
    assert path.read_text() == "set debug 1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    file = opened(tmp_path / "gone" / "startup-config")
    with pytest.raises(ConfigError, match=r"cannot write .*No such file"):
        file.save(WANTED)


def test_a_file_that_would_be_too_long_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "startup-config"
    path.write_bytes(b"#" * 1023 + b"\n")
    path.write_bytes(path.read_bytes() * 1024)
    with pytest.raises(ConfigError, match="would get longer than"):
        opened(path).save(WANTED)
