"""The file of users of the lab's RADIUS server."""

from pathlib import Path

import pytest

from l2tpns_core.lab.main import main
from l2tpns_core.lab.radius_users import (
    EXAMPLE,
    RadiusUser,
    UsersError,
    find_user,
    load_users,
    parse_users,
)


def test_the_example_is_a_good_file() -> None:
    file = parse_users(EXAMPLE)
    assert (file.secret, file.auth_port, file.accounting_file) == (
        "testing123",
        1812,
        "accounting.jsonl",
    )
    alice = file.users["alice"]
    assert alice.password == "wonder"
    assert alice.reply["Framed-IP-Address"] == ["10.20.5.5"]
    assert len(alice.reply["Framed-Route"]) == 2
    assert file.users["locked"].reject


def test_the_command_prints_the_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["radius", "--example"]) == 0
    assert capsys.readouterr().out == EXAMPLE


def test_an_exact_name_wins_over_a_pattern() -> None:
    users = {"user*": RadiusUser("many"), "user7": RadiusUser("one")}
    found = [find_user(users, name) for name in ("user7", "user8", "other")]
    assert [user and user.password for user in found] == ["one", "many", None]


def test_a_star_in_a_login_name_is_not_a_pattern() -> None:
    assert find_user({"alice": RadiusUser("x")}, "a*") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", r"no \[users.NAME\]"),
        ("x = [\ny = ]", "line 2"),
        ("colour = 1\n[users.a]\n", "unknown key colour"),
        ("auth_port = 'x'\n[users.a]\n", "auth_port is not of type int"),
        ("[users]\na = 1\n", "user a: not a table"),
        ("[users.a]\npasswort = 'x'\n", "user a: unknown key passwort"),
        ("[users.a]\npassword = 7\n", "password is not a string"),
        ("[users.a]\nreject = 'no'\n", "reject is neither true nor false"),
        ("[users.a]\nreply = 7\n", "reply is not a table"),
        ("[users.a.reply]\nFramed-Ip = 'x'\n", "user a: no attribute Framed-Ip"),
        ("[users.a.reply]\nFramed-IP-Address = 'x'\n", "user a: Framed-IP-Address"),
        ("[users.a.reply]\nSession-Timeout = 'x'\n", "user a: Session-Timeout"),
    ],
)
def test_mistakes_are_named(text: str, expected: str) -> None:
    with pytest.raises(UsersError, match=expected):
        parse_users(text)


def test_a_missing_file_ends_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsersError, match="No such file"):
        load_users(tmp_path / "none.toml")
    assert main(["radius", str(tmp_path / "none.toml")]) == 2
    assert main(["radius"]) == 2
    assert "l2tpns-lab radius --example > users.toml" in capsys.readouterr().err
