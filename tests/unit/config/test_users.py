"""The users file: every form of password, and what is left out and why."""

import os
import time
from pathlib import Path

import pytest

from l2tpns_core.config import password
from l2tpns_core.config.password import HashUnusableError, Kind, StoredPassword
from l2tpns_core.config.users import (
    MAX_FILE_BYTES,
    MAX_PROBLEMS,
    MAX_USERS,
    UsersFile,
    parse_users,
    read_users,
)

MD5 = "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"
SHA256 = "$5$abcdefgh$gruCpC7VkOTspMQTTSAR8mtlO9Upms.fwqE5y16JVM."
SHA512 = (
    "$6$abcdefgh$ltjgWl6579NluT/Vi1nwEvcil.G5Nbc4NiXZaNGStk8PSwGfQv72N2CKPPrVACtLtip"
    "/cZ/1GM/O6IND4WQhG."
)
YESCRYPT = "$y$j9T$abcdefghijkl$XFQnRmFDoRnfefa6tLCdzcaB9xoGhmmkRgfG1lm0pK1"
BCRYPT = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
DES = "abNANd1rDfiNc"


@pytest.mark.parametrize(
    "stored",
    ["secret", MD5, SHA256, SHA512, YESCRYPT, BCRYPT, "{crypt}" + DES, "{crypt}" + SHA512],
)
def test_every_form_takes_its_password_and_no_other(stored: str) -> None:
    one = StoredPassword(stored)
    assert one.matches("secret")
    for wrong in ("", "Secret", "secret ", "secre", MD5, DES, "secret\0", "s" * 129):
        assert not one.matches(wrong)


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        ("p:with:colons", Kind.PLAIN),
        ("$ecret", Kind.PLAIN),
        ("!secret", Kind.PLAIN),
        (DES, Kind.PLAIN),
        ("grün", Kind.PLAIN),
        (SHA512, Kind.HASH),
    ],
)
def test_what_is_plain_text(stored: str, kind: Kind) -> None:
    one = StoredPassword(stored)
    assert one.kind is kind
    assert one.matches(stored) is (kind is Kind.PLAIN)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ("", "there is no password"),
        ("*", "there is no password"),
        ("!", "there is no password"),
        ("{crypt}", "what follows {crypt} is not a hash"),
        ("{crypt}secret", "what follows {crypt} is not a hash"),
        ("$argon2id$v=19$x", "hashes of the kind $argon2id$ are not known"),
    ],
)
def test_what_no_password_can_match_is_refused(stored: str, reason: str) -> None:
    with pytest.raises(HashUnusableError) as caught:
        StoredPassword(stored)
    assert str(caught.value).startswith(reason)


def test_a_damaged_hash_matches_nothing() -> None:
    for stored in (SHA512[:-1], BCRYPT[:-1], "$2b$99$abcdefghijklmnopqrstuu2r9O", "$1$salt$"):
        assert not StoredPassword(stored).matches("secret")


def test_a_hash_never_shows() -> None:
    assert "cHJi5" not in repr(StoredPassword(MD5))
    assert "secret" not in repr(StoredPassword("secret"))


def test_without_libcrypt_hashes_are_refused_and_plain_text_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(password, "LIBRARIES", ("libdoesnotexist.so.1",))
    password._library_function.cache_clear()
    try:
        assert StoredPassword("secret").matches("secret")
        with pytest.raises(HashUnusableError, match="there is no libcrypt on this system"):
            StoredPassword(MD5)
    finally:
        monkeypatch.undo()
        password._library_function.cache_clear()


def test_the_file_of_the_manual() -> None:
    users = parse_users(
        f"# who may log in\r\n\r\nadmin:admin\r\nbob:{MD5}\r\n"
        f"carol:{{crypt}}{DES}\r\nenable:{SHA256}\n"
    )
    assert users.problems == []
    assert sorted(users.passwords) == ["admin", "bob", "carol"]
    assert users.knows("admin", "admin")
    assert users.knows("bob", "secret")
    assert users.knows("carol", "secret")
    assert users.enables("secret")
    assert not users.enables("admin")
    for name in ("enable", "nobody", "", "Admin", "#"):
        assert not users.knows(name, "secret")


def test_an_empty_file_lets_nobody_in_or_up() -> None:
    users = parse_users("")
    assert users.exists
    assert not users.knows("admin", "")
    assert not users.enables("")


def test_what_is_wrong_is_said_without_passwords() -> None:
    users = parse_users(
        "no colon here\nann:\nbob:one\nbob:two\n:x\n"
        + "n" * 65
        + ":x\nevil\x1b[2J:hush\nenable:a\nenable:b\n",
        "/etc/l2tpns/users",
    )
    assert list(map(str, users.problems)) == [
        "/etc/l2tpns/users:1: a line without a colon is not name:password",
        "/etc/l2tpns/users:2: ann: there is no password",
        "/etc/l2tpns/users:4: bob: there is such a user already; the first one counts",
        "/etc/l2tpns/users:5: : a name has 1 to 64 printable characters",
        f"/etc/l2tpns/users:6: {'n' * 64}: a name has 1 to 64 printable characters",
        "/etc/l2tpns/users:7: evil\\x1b[2J: a name has 1 to 64 printable characters",
        "/etc/l2tpns/users:9: enable: there is an enable password already; the first one counts",
    ]
    assert users.knows("bob", "one")
    assert not users.knows("bob", "two")
    assert users.enables("a")


def test_a_name_that_does_not_exist_takes_as_long_as_one_that_does() -> None:
    users = parse_users(f"plain:x\nbob:{SHA512.replace('$6$', '$6$rounds=100000$')}")

    def took(name: str) -> float:
        begin = time.perf_counter()
        assert not users.knows(name, "wrong")
        return time.perf_counter() - begin

    slow = min(took("bob") for _ in range(3))
    assert slow > 0.02
    assert slow / 3 < min(took("nobody") for _ in range(3)) < slow * 3


def test_the_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "users"
    file = UsersFile(path)
    users, problems = file.current()
    assert not users.exists
    assert [str(each) for each in problems] == [
        f"{path}: does not exist: nobody can log in from elsewhere"
    ]
    assert file.current()[1] == []

    path.write_text("admin:one\n")
    path.chmod(0o600)
    users, problems = file.current()
    assert users.exists
    assert users.knows("admin", "one")
    assert problems == []
    assert file.current()[0] is users

    before = path.stat()
    path.write_text("admin:two\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.current()[0].knows("admin", "two")

    replacement = tmp_path / "new"
    replacement.write_text("admin:six\n")
    replacement.rename(path)
    assert file.current()[0].knows("admin", "six")

    path.unlink()
    users, problems = file.current()
    assert not users.exists
    assert len(problems) == 1


def test_a_file_that_cannot_be_read_is_not_a_missing_file(tmp_path: Path) -> None:
    users = read_users(tmp_path)
    assert users.exists
    assert users.passwords == {}
    assert list(map(str, users.problems)) == [f"{tmp_path}: cannot be read: Is a directory"]


def test_passwords_that_others_can_read_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "users"
    for text, mode, count in (
        (f"a:{MD5}\n", 0o644, 1),
        ("enable:x\n", 0o640, 1),
        (f"a:{SHA512}\n", 0o644, 0),
        ("a:x\n", 0o600, 0),
    ):
        path.write_text(text)
        path.chmod(mode)
        assert len(read_users(path).problems) == count


def test_bounds(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_bytes(b"a" * (MAX_FILE_BYTES + 1))
    assert list(map(str, read_users(path).problems)) == [
        f"{path}: larger than {MAX_FILE_BYTES} bytes: not read"
    ]
    path.write_bytes(b"\xff\0junk\n" * 1000)
    problems = read_users(path).problems
    assert len(problems) == MAX_PROBLEMS + 1
    assert str(problems[-1]).endswith("and 980 more problems")
    users = parse_users("".join(f"u{number}:x\n" for number in range(MAX_USERS + 1)))
    assert len(users.passwords) == MAX_USERS
    assert len(users.problems) == 1
