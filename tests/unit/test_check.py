"""`l2tpns --check` and `--convert`: all that can be said of files without starting."""

import json
import os
from pathlib import Path

import pytest

from l2tpns_core.check import check
from l2tpns_core.daemon import main

GOOD = """\
set primary_radius 192.0.2.9
set radius_secret "site-secret"
set bind_address 192.0.2.1
set primary_dns 192.0.2.53
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A startup-config without a fault, with its state and its pool beside it."""
    path = tmp_path / "startup-config"
    path.write_text(f'{GOOD}set state_dir "{tmp_path}"\n')
    (tmp_path / "ip_pool").write_text("10.20.1.0/24\n")
    return path


def errors(path: Path) -> list[str]:
    return [finding.text("error") for finding in check(path).errors]


def warnings(path: Path) -> list[str]:
    return [finding.text("warning") for finding in check(path).warnings]


def add(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_a_good_configuration(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(config), "--check", "--strict"]) == 0
    assert capsys.readouterr().out == f"{config}: 0 errors, 0 warnings\n"


def test_everything_is_told_at_once(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(config, "set debug loud\nset hostnam lns\nset kernel_accel yes\nset as_number 64512\n")
    add(config, 'load plugin "gardn"\nfoo\n')
    (config.parent / "ip_pool").write_text("10.20.1.0/24\n10.20.300.1\n")
    (config.parent / "users").write_text("admin\n")
    assert main(["-c", str(config), "--check"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out == [
        f'{config.parent}/ip_pool:2: error: "10.20.300.1" is not valid: expected an IPv4 address '
        "or a network such as 192.0.2.0/24",
        f'{config}:0: error: no plugin "gardn" is installed: did you mean "garden"?'.replace(
            ":0:", ":"
        ),
        f'{config}:6: error: debug: "loud" is not valid: expected an integer from 0 to 5',
        f'{config}:7: error: Unknown variable "hostnam"; did you mean "hostname"?',
        f'{config}:11: error: Unknown command "foo": expected set or load plugin or remove plugin '
        "or router bgp or neighbour",
        f"{config.parent}/users:1: error: a line without a colon is not name:password",
        f"{config}: warning: there is an as_number, but no bgp_peer1: nothing is announced",
        f'{config}:8: warning: "kernel_accel" is not known to this release, skipped: the kernel '
        "forwards by itself, see dataplane",
        f"{config}: 6 errors, 2 warnings",
    ]


def test_warnings_count_when_they_are_asked_to(config: Path) -> None:
    add(config, "set kernel_accel yes\n")
    assert main(["-c", str(config), "--check"]) == 0
    assert main(["-c", str(config), "--check", "--strict"]) == 1


def test_the_report_for_scripts(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(config, "set debug loud\n")
    assert main(["-c", str(config), "--check", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report == {
        "ok": False,
        "file": str(config),
        "errors": [
            {
                "file": str(config),
                "line": 6,
                "message": 'debug: "loud" is not valid: expected an integer from 0 to 5',
            }
        ],
        "warnings": [],
    }


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert errors(path) == [f"{path}: error: cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ('set radius_secret ""\n', "there is a RADIUS server and no radius_secret"),
        ("set l2tp_challenge_lac yes\n", "l2tp_challenge_lac needs an l2tp_secret"),
        ('set log_file "/nowhere/log"\n', "log_file: there is no directory /nowhere"),
        ('set log_file "/proc"\n', "log_file: /proc is a directory"),
        ('set accounting_dir "/dev/null/x"\n', "accounting_dir: /dev/null is not a directory"),
        ('set accounting_spool "/dev/null"\n', "accounting_spool: /dev/null is not a directory"),
    ],
)
def test_what_does_not_go_together(config: Path, lines: str, text: str) -> None:
    add(config, lines)
    (found,) = errors(config)
    assert text in found


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ("set primary_radius 0.0.0.0\n", "there is no primary_radius: nobody can log in"),
        ("set secondary_radius 192.0.2.9\n", "are the same server"),
        ("set l2tp_hide_avps yes\n", "hides nothing without an l2tp_secret"),
        ("set primary_dns 0.0.0.0\n", "given no DNS server"),
        ("set bind_address 0.0.0.0\n", "there is no bind_address"),
        ("set nsctl_bind_address 0.0.0.0\n", "without an nsctl_secret"),
        ("set cli_bind_address 0.0.0.0\n", "users: warning: is not there: nobody can use telnet"),
        ("set cli_bind_address 0.0.0.0\nset cli_open yes\n", "lets anybody in"),
    ],
)
def test_what_is_hardly_meant(config: Path, lines: str, text: str) -> None:
    add(config, lines)
    (found,) = warnings(config)
    assert text in found
    assert errors(config) == []


def test_a_pool_is_missed_but_not_needed(config: Path) -> None:
    (config.parent / "ip_pool").unlink()
    (found,) = warnings(config)
    assert found.startswith(f"{config.parent}/ip_pool: warning: is not there")


def test_passwords_that_others_may_read(config: Path) -> None:
    users = config.parent / "users"
    users.write_text("admin:secret\n")
    users.chmod(0o644)
    (found,) = warnings(config)
    assert "chmod 600" in found
    assert errors(config) == []


def test_settings_of_plugins(config: Path) -> None:
    add(config, "load plugin garden\n")
    settings = config.parent / "plugins.toml"
    settings.write_text("[garden]\nbuild_timeout = 'long'\n[nobody]\n")
    (found,) = errors(config)
    assert "[garden] build_timeout" in found
    assert warnings(config) == [f"{settings}: warning: [nobody] is for no plugin that is installed"]
    settings.write_text("[garden\n")
    (found,) = errors(config)
    assert found.startswith(f"{settings}: error: ")


def test_a_plugin_looks_at_its_own_files(config: Path) -> None:
    add(config, "load plugin garden\n")
    script = config.parent / "build-garden"
    script.write_text("iptables -t nat -A garden -j DROP\n")
    assert errors(config) == []
    script.write_text("if true\n")
    (found,) = errors(config)
    assert f'plugin "garden": {script}: ' in found


def test_nothing_is_written(config: Path) -> None:
    add(config, f'set save_state yes\nset log_file "{config.parent}/log"\nload plugin garden\n')
    before = sorted(os.listdir(config.parent))
    check(config)
    assert sorted(os.listdir(config.parent)) == before


def test_a_converted_file_is_written_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text('set debug 3\nset radius_dae_port 3799\nset l2tp_secret "s"\n')
    assert main(["--convert", str(old), "-o", str(new)]) == 0
    assert capsys.readouterr().out == (
        "    1  taken        debug\n"
        "    2  meaningless  radius_dae_port: requests of the RADIUS server (CoA, Disconnect) are "
        "not taken\n"
        "    3  taken        l2tp_secret\n"
        "2 taken, 1 meaningless\n"
    )
    assert new.read_text() == 'set debug 3\n# set radius_dae_port 3799\nset l2tp_secret "s"\n'
    assert new.stat().st_mode & 0o7777 == 0o600
    assert main(["--convert", str(old), "-o", str(new)]) == 1
    assert capsys.readouterr().err == f"l2tpns: {new}: File exists\n"
    assert main(["--convert", str(tmp_path / "none")]) == 1
    assert main(["--convert", str(old), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["lines"]
    assert rows[1]["fate"] == "meaningless"


@pytest.mark.parametrize(
    "arguments",
    [["--strict"], ["--json"], ["-o", "x"], ["--check", "--convert", "x"], ["--nonsense"]],
)
def test_a_wrong_command_line(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
