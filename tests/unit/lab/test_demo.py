"""The demo: its parts, and the whole of it where namespaces are allowed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from l2tpns_core.lab import demo_command
from l2tpns_core.lab.demo import TABLES, DemoResult
from l2tpns_core.lab.demo_cast import cast, radius_users
from l2tpns_core.lab.main import main
from l2tpns_core.lab.netns import LabError
from l2tpns_core.lab.radius_users import check_user

UP = {"up": True, "refused": False, "pings": 3, "answers": 3}
REFUSED = {"up": False, "refused": True, "pings": 0, "answers": 0}


def result(*subscribers: dict[str, Any], violations: int = 0, stops: int = 1) -> DemoResult:
    tables = dict.fromkeys(TABLES, "-")
    return DemoResult(list(subscribers), tables, ["x"] * violations, 1, stops)


def test_radius_knows_everyone_and_all_passwords_but_one() -> None:
    subscribers = cast(has_garden=True)
    users = radius_users(subscribers)
    wrong = [one.name for one in subscribers if users[one.name].password != one.password]
    assert wrong == ["mallory"]
    for name, user in users.items():
        check_user(name, user)


def test_without_a_garden_the_wrong_password_is_to_be_refused() -> None:
    assert [one.name for one in cast(has_garden=False) if one.is_to_be_refused] == ["mallory"]
    assert not any(one.is_to_be_refused for one in cast(has_garden=True))


@pytest.mark.parametrize(
    ("outcome", "ok"),
    [
        (result(UP, REFUSED), True),
        (result(UP | {"answers": 0}), False),
        (result(UP | {"up": False}), False),
        (result(UP, violations=1), False),
        (result(UP, stops=0), False),
    ],
)
def test_the_verdict_needs_subscribers_traffic_and_accounting(
    outcome: DemoResult, ok: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome.ok == ok
    demo_command.print_result(outcome)
    assert capsys.readouterr().out.endswith("all is well\n" if ok else "NOT as it should be\n")


def test_a_system_that_does_not_allow_it_gets_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise LabError("not allowed here: run as root")

    monkeypatch.setattr(demo_command, "become_lab_root", refuse)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "l2tpns-lab demo: not allowed here: run as root\n"


@pytest.mark.daemon
@pytest.mark.netns
def test_the_demo_runs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "lns.log"
    command = [sys.executable, "-m", "l2tpns_core.lab.main", "demo", "--json", "--hold", "1.5"]
    done = subprocess.run(
        [*command, "--log", str(log)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    outcome = json.loads(done.stdout)
    assert outcome["ok"]
    fates = {one["user"]: (one["up"], one["refused"]) for one in outcome["subscribers"]}
    assert set(fates.values()) == {(True, False)}
    rows = [line.split() for line in outcome["tables"]["show session"].splitlines()[1:]]
    assert {row[2]: "".join(row[4:7]) for row in rows} == {
        "alice": "NNN",
        "bob": "NYN",
        "carol": "YNN",
        "dave": "NNN",
        "erin": "NNN",
        "mallory": "NNY",
    }
    assert "10.64.2.99" in outcome["tables"]["show session"]
    assert outcome["accounting"] == {"starts": 5, "stops": 5}
    (carol,) = (one for one in outcome["subscribers"] if one["user"] == "carol")
    assert outcome["intercepted"] == carol["pings"] + carol["answers"]
    assert "ready" in log.read_text()
    assert "wonderland" not in log.read_text()
