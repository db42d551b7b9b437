"""What no operator sees without privileges, whatever is asked."""

from dataclasses import replace

import pytest

from l2tpns_core.cli.grammar import Access, Mode
from l2tpns_core.config.directives import DIRECTIVES
from unit.cli.fakes import GRAMMAR, FakeContext, four_sessions

SECRET = "hush-hush"
SECRETS = sorted(name for name, entry in DIRECTIVES.items() if entry.secret)
ARGUMENTS = {
    "show access-list": "show access-list none",
    "why": "why alice",
}
"""How to ask what cannot be asked without words."""
DETAILS = ("show session 4", "show users alice", "show tunnels 2", "show pool all", "show top 5")
OTHERS = ("write terminal", "write memory", "uptime", "why alice", "configure terminal")


def context() -> FakeContext:
    made = four_sessions()
    made.config = replace(made.config, **dict.fromkeys(SECRETS, SECRET))  # type: ignore[arg-type]
    return made


def commands() -> list[str]:
    """Every command that shows something, also of one thing that is there."""
    words = [" ".join(command.words) for command in GRAMMAR.commands(Access(Mode.EXEC))]
    shows = [ARGUMENTS.get(line, line) for line in words if line.startswith("show")]
    return [*shows, *DETAILS, *OTHERS]


def test_there_are_secrets_and_commands_to_try() -> None:
    assert {"radius_secret", "l2tp_secret", "nsctl_secret"} <= set(SECRETS)
    assert len(commands()) > 15


@pytest.mark.parametrize("line", commands())
@pytest.mark.parametrize("as_json", [False, True])
def test_no_secret_without_privileges(line: str, as_json: bool) -> None:
    screen = context().run(line, access=Access(Mode.EXEC, privileged=False), json=as_json)
    assert SECRET not in screen.text + screen.error


def test_a_privileged_operator_sees_them() -> None:
    screen = context().run("show running-config")
    assert screen.text.count(SECRET) == len(SECRETS)
