"""Who the lab's RADIUS server knows, and what it answers them: a TOML file."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any, Final

import tomli
from pyrad.dictionary import Dictionary
from pyrad.packet import AuthPacket

from l2tpns_core.lab.netns import LabError

EXAMPLE: Final = """\
# Users of the lab's RADIUS server: l2tpns-lab radius FILE
# Everything above the first [users...] may be left out; options on the command line win.

secret = "testing123"
address = "127.0.0.1"
auth_port = 1812
acct_port = 1813
# Every accounting request is added to this file, one JSON object a line.
accounting_file = "accounting.jsonl"

[users.alice]
password = "wonder"

# What an Access-Accept carries, by the names of the dictionary; a list gives an attribute twice.
[users.alice.reply]
Framed-IP-Address = "10.20.5.5"
Framed-Route = ["10.30.0.0/24 0.0.0.0 1", "10.31.0.0/24 0.0.0.0 1"]
Session-Timeout = 3600
Cisco-AVPair = ["throttle=yes"]

# A name with * or ? stands for many.
[users."user*"]
password = "password"

[users.locked]
password = "right"
reject = true
reply = { Reply-Message = "your account is locked" }

# Any password is right (PAP and CHAP).
[users."guest-?"]
any_password = true
"""

_USER_KEYS: Final = {"password", "reject", "any_password", "reply"}
_TOP_KEYS: Final = {
    "secret": str,
    "address": str,
    "auth_port": int,
    "acct_port": int,
    "accounting_file": str,
}


class UsersError(LabError):
    """The file of users is wrong; the text says where."""


@dataclass(slots=True)
class RadiusUser:
    """One user, or all whose names match a pattern."""

    password: str = field(default="", repr=False)
    reply: dict[str, list[Any]] = field(default_factory=dict)
    """Attributes of the Access-Accept (with `reject`: of the Access-Reject) by dictionary name."""
    reject: bool = False
    any_password: bool = False


@dataclass(slots=True)
class UsersFile:
    users: dict[str, RadiusUser]
    secret: str = ""
    address: str = ""
    auth_port: int = 0
    acct_port: int = 0
    accounting_file: str = ""


@functools.cache
def dictionary() -> Any:
    """The attributes that the server knows by name: the files that the core ships."""
    known = Dictionary()
    folder = resources.files("l2tpns_core").joinpath("radius", "dictionary")
    for name in ("dictionary.rfc", "dictionary.vendor"):
        with folder.joinpath(name).open(encoding="ascii") as file:
            known.ReadDictionary(file)
    return known


def find_user(users: Mapping[str, RadiusUser], name: str) -> RadiusUser | None:
    """The user of this name: the exact entry, else the first pattern that matches."""
    exact = users.get(name)
    if exact is not None:
        return exact
    for pattern, user in users.items():
        if ("*" in pattern or "?" in pattern) and fnmatchcase(name, pattern):
            return user
    return None


def check_user(name: str, user: RadiusUser) -> None:
    """Raise UsersError for a reply attribute that cannot be sent."""
    packet = AuthPacket(secret=b"x", authenticator=bytes(16), dict=dictionary())
    for attribute, values in user.reply.items():
        try:
            for value in values:
                packet.AddAttribute(attribute, value)
        except KeyError:
            raise UsersError(f"user {name}: no attribute {attribute}") from None
        except (AttributeError, TypeError, ValueError) as error:
            raise UsersError(f"user {name}: {attribute}: {error}") from error


def load_users(path: Path) -> UsersFile:
    """Read a file of users. Raises UsersError with file and place."""
    try:
        return parse_users(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsersError(f"{path}: {error.strerror}") from error
    except (UsersError, UnicodeDecodeError) as error:
        raise UsersError(f"{path}: {error}") from error


def parse_users(text: str) -> UsersFile:
    """The users in a TOML text. Raises UsersError."""
    try:
        document = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise UsersError(str(error)) from error
    tables = document.pop("users", {})
    if not isinstance(tables, dict) or not tables:
        raise UsersError("no [users.NAME] in it")
    for key, value in document.items():
        wanted = _TOP_KEYS.get(key)
        if wanted is None:
            raise UsersError(f"unknown key {key}: there are {', '.join(sorted(_TOP_KEYS))}, users")
        if not isinstance(value, wanted):
            raise UsersError(f"{key} is not of type {wanted.__name__}")
    users = {name: _parse_user(name, table) for name, table in tables.items()}
    return UsersFile(users, **document)


def _parse_user(name: str, table: object) -> RadiusUser:
    if not isinstance(table, dict):
        raise UsersError(f"user {name}: not a table")
    unknown = sorted(table.keys() - _USER_KEYS)
    if unknown:
        raise UsersError(
            f"user {name}: unknown key {unknown[0]}: there are {', '.join(sorted(_USER_KEYS))}"
        )
    reply = table.get("reply", {})
    if not isinstance(reply, dict):
        raise UsersError(f"user {name}: reply is not a table")
    password = table.get("password", "")
    if not isinstance(password, str):
        raise UsersError(f"user {name}: password is not a string")
    for flag in ("reject", "any_password"):
        if not isinstance(table.get(flag, False), bool):
            raise UsersError(f"user {name}: {flag} is neither true nor false")
    user = RadiusUser(
        password,
        {key: value if isinstance(value, list) else [value] for key, value in reply.items()},
        table.get("reject", False),
        table.get("any_password", False),
    )
    check_user(name, user)
    return user
