"""The users file: who may log in to the command-line interface (manual, "users").

    # name:password, in plain text or as a hash of crypt(3)
    admin:$6$wRmVJv1W$…
    enable:secret

`enable` is no user: it is the password that makes an operator privileged. The file is read again
when it has changed. Without the file, nobody can log in; who connects from the machine itself does
not have to.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from l2tpns_core.config.errors import Problem
from l2tpns_core.config.password import HashUnusableError, Kind, StoredPassword
from l2tpns_core.observe.text import printable

ENABLE: Final = "enable"
MAX_FILE_BYTES: Final = 1 << 20
MAX_USERS: Final = 10_000
MAX_NAME_CHARS: Final = 64
MAX_PROBLEMS: Final = 20
OTHERS: Final = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH
"""What nobody but the owner should be allowed while passwords can be read from the file."""


@dataclass(slots=True)
class Users:
    """What the file says."""

    exists: bool = False
    passwords: dict[str, StoredPassword] = field(default_factory=dict)
    enable: StoredPassword | None = None
    problems: list[Problem] = field(default_factory=list)
    """Without passwords."""

    def knows(self, name: str, password: str) -> bool:
        """Whether a user may log in. Takes as long for a name that does not exist."""
        stored = self.passwords.get(name)
        if stored is None:
            decoy = self._slowest()
            if decoy is not None:
                decoy.matches(password)
            return False
        return stored.matches(password)

    def enables(self, password: str) -> bool:
        """Whether this is the `enable` password."""
        return self.enable is not None and self.enable.matches(password)

    def _slowest(self) -> StoredPassword | None:
        hashes = (one for one in self.passwords.values() if one.kind is Kind.HASH)
        return next(hashes, None) or next(iter(self.passwords.values()), None)


class _Signature(NamedTuple):
    """Differs when the file may have changed."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class UsersFile:
    """The file at a path, read again when it has changed."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._signature: _Signature | None = None
        self._users = Users()
        self._is_read = False

    def current(self) -> tuple[Users, list[Problem]]:
        """What the file says now, and the problems when it was read just now."""
        signature = self._look()
        if self._is_read and signature == self._signature and signature is not None:
            return self._users, []
        was_there, known = self._users.exists, self._is_read
        self._users = read_users(self._path)
        self._signature, self._is_read = signature, True
        if known and not was_there and not self._users.exists:
            return self._users, []
        return self._users, self._users.problems

    def _look(self) -> _Signature | None:
        try:
            status = os.stat(self._path)
        except OSError:
            return None
        return _Signature(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


def read_users(path: Path) -> Users:
    """Read a users file. What cannot be used is left out and reported; nothing is raised."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return Users(problems=[_about(path, "does not exist: nobody can log in from elsewhere")])
    except OSError as error:
        return Users(True, problems=[_about(path, f"cannot be read: {error.strerror or error}")])
    if len(data) > MAX_FILE_BYTES:
        return Users(True, problems=[_about(path, f"larger than {MAX_FILE_BYTES} bytes: not read")])
    users = parse_users(data.decode("utf-8", "surrogateescape"), str(path))
    stored = [*users.passwords.values(), *([users.enable] if users.enable else [])]
    if mode & OTHERS and any(one.is_weak for one in stored):
        text = (
            "may be read by others than its owner, and has passwords in plain text or as weak "
            "hashes: chmod 600"
        )
        users.problems.append(Problem(str(path), 0, text, harmless=True))
    if len(users.problems) > MAX_PROBLEMS:
        more = len(users.problems) - MAX_PROBLEMS
        users.problems[MAX_PROBLEMS:] = [_about(path, f"and {more} more problems")]
    return users


def parse_users(text: str, source: str = "users") -> Users:
    """Read the lines of a users file."""
    users = Users(exists=True)
    for number, name, password in _entries(text):
        if not password and ":" not in name:
            text = "a line without a colon is not name:password"
            users.problems.append(Problem(source, number, text))
            continue
        name = name.partition(":")[0]
        try:
            _add(users, name, password)
        except HashUnusableError as error:
            text = f"{printable(name[:MAX_NAME_CHARS])}: {error}"
            users.problems.append(Problem(source, number, text))
    return users


def _about(path: Path, text: str) -> Problem:
    return Problem(str(path), 0, text)


def _entries(text: str) -> Iterator[tuple[int, str, str]]:
    """Number, name and password of every line that has something; for a line without a colon the
    name is the whole line, else it ends with the colon."""
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip("\r")
        if not line.strip() or line[0] == "#":
            continue
        name, colon, password = line.partition(":")
        yield number, name + colon, password


def _add(users: Users, name: str, password: str) -> None:
    if not name or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise HashUnusableError(f"a name has 1 to {MAX_NAME_CHARS} printable characters")
    if name == ENABLE:
        if users.enable is not None:
            raise HashUnusableError("there is an enable password already; the first one counts")
        users.enable = StoredPassword(password)
        return
    if name in users.passwords:
        raise HashUnusableError("there is such a user already; the first one counts")
    if len(users.passwords) >= MAX_USERS:
        raise HashUnusableError(f"there are {MAX_USERS} users already")
    users.passwords[name] = StoredPassword(password)
