"""What is given to the user of `setuid`, and what that user cannot make root give."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from l2tpns_core.config.directives import Config
from l2tpns_core.rights import Identity, find_user, hand_over_places
from l2tpns_core.startup import StartError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

USER = Identity("somebody", 54321, 54321, ())


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A directory of root, for instance /etc."""
    directory = tmp_path / "etc"
    directory.mkdir()
    (directory / "shadow").write_text("secret")
    yield directory
    for path in (directory, directory / "shadow"):
        assert path.stat().st_uid == 0, "root gave away what is its own"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory that the user has since the last start."""
    directory = tmp_path / "state"
    directory.mkdir()
    os.chown(directory, USER.uid, USER.gid)
    return directory


def config(home: Path, **directives: object) -> Config:
    known: dict[str, object] = {
        "state_dir": str(home),
        "cli_socket": str(home / "run" / "cli.sock"),
        "bpf_directory": "",
        **{name: str(value) for name, value in directives.items()},
    }
    return Config(**known)  # type: ignore[arg-type]


def link(target: Path, name: Path) -> None:
    """A symbolic link of the user."""
    name.symlink_to(target)
    os.lchown(name, USER.uid, USER.gid)


def test_what_the_daemon_writes_becomes_the_users(home: Path) -> None:
    (home / "old").mkdir()
    (home / "old" / "file").write_text("")
    spool, log = home.parent / "spool" / "deep", home.parent / "log"
    hand_over_places(config(home, accounting_spool=spool, log_file=log), USER)
    for path in (home, home / "old", home / "old" / "file", home / "run", spool, log):
        assert path.stat().st_uid == USER.uid, path
    assert spool.parent.stat().st_uid == 0
    assert spool.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("directive", ["accounting_spool", "accounting_dir"])
@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_directory_is_not_given_through_a_link_of_the_user(
    home: Path, victim: Path, directive: str, below: str
) -> None:
    link(victim, home / "trap")
    with pytest.raises(OSError, match="symbolic link"):
        hand_over_places(config(home, **{directive: home / "trap" / below}), USER)


def test_the_directory_of_the_socket_is_not_given_through_a_link(home: Path, victim: Path) -> None:
    (victim / "shadow").rename(victim.parent / "shadow")
    link(victim, home / "run")
    with pytest.raises(OSError, match="symbolic link"):
        hand_over_places(config(home), USER)
    (victim.parent / "shadow").rename(victim / "shadow")


@pytest.mark.parametrize("directive", ["log_file", "pid_file"])
def test_a_file_is_not_given_by_another_name(home: Path, victim: Path, directive: str) -> None:
    os.link(victim / "shadow", home / "name")
    hand_over_places(config(home, **{directive: home / "name"}), USER)
    link(victim / "shadow", home / "link")
    with pytest.raises(OSError, match="symbolic link"):
        hand_over_places(config(home, **{directive: home / "link"}), USER)


def test_links_of_root_are_followed(home: Path) -> None:
    (home.parent / "way").symlink_to(home)
    hand_over_places(config(home.parent / "way" / "below"), USER)
    assert (home / "below").stat().st_uid == USER.uid


@pytest.mark.parametrize("text", ["9" * 5000, str(2**40), "a\0b", "nobody-at-all"])
def test_a_user_who_cannot_be_is_an_error_of_one_line(text: str) -> None:
    with pytest.raises(StartError, match="no user"):
        find_user(text)


@pytest.mark.parametrize("place", ["/", "/etc", "/var/lib", "/tmp/", "/var/../etc"])
def test_what_is_the_systems_is_not_given_away(home: Path, place: str) -> None:
    """A state_dir that has lost its last word."""
    before = os.stat(place)
    with pytest.raises(OSError, match="it is the system's, name one below it"):
        hand_over_places(config(Path(place), cli_socket=home / "cli.sock"), USER)
    assert os.stat(place).st_uid == before.st_uid
