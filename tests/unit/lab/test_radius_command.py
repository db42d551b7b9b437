"""`l2tpns-lab radius` as a process, and what it prints."""

import argparse
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyrad.packet import AcctPacket, AuthPacket

from l2tpns_core.lab import RadiusRecord
from l2tpns_core.lab.radius_command import add_parser, describe, server_from
from l2tpns_core.lab.radius_users import EXAMPLE, dictionary

CLIENT = ("127.0.0.1", 4000)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users.toml"
    path.write_text(EXAMPLE.replace("accounting.jsonl", str(tmp_path / "accounting.jsonl")))
    return path


@pytest.fixture
def server(users: Path) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "l2tpns_core.lab.main", "radius", str(users)]
    process = subprocess.Popen(
        [*command, "--auth-port", "0", "--acct-port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def line_of(stream: object) -> str:
    ready, _, _ = select.select([stream], [], [], 20)
    assert ready, "no line came"
    return stream.readline()  # type: ignore[attr-defined,no-any-return]


def test_it_serves_prints_keeps_accounting_and_ends_on_sigterm(
    server: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    banner = line_of(server.stderr)
    found = re.search(r"ready on 127.0.0.1, ports (\d+) \(logins\) and (\d+) ", banner)
    assert found, banner
    login = AuthPacket(secret=b"testing123", authenticator=os.urandom(16), dict=dictionary())
    login["User-Name"] = "alice"
    login[2] = [login.PwCrypt("wonder")]
    stop = AcctPacket(secret=b"testing123", dict=dictionary(), User_Name="alice")
    stop["Acct-Status-Type"] = "Stop"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.sendto(login.RequestPacket(), ("127.0.0.1", int(found[1])))
        assert sock.recv(4096)[0] == 2
        assert line_of(server.stdout) == "accept alice (PAP)\n"
        sock.sendto(stop.RequestPacket(), ("127.0.0.1", int(found[2])))
        assert sock.recv(4096)[0] == 5
    assert line_of(server.stdout) == "accounting Stop alice\n"
    server.send_signal(signal.SIGTERM)
    _, errors = server.communicate(timeout=20)
    assert server.returncode == 0
    assert "access requests 1, accepts 1, accounting requests 1" in errors
    assert '"Acct-Status-Type": "Stop"' in (tmp_path / "accounting.jsonl").read_text()


def test_options_on_the_command_line_win_over_the_file(users: Path) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    plain = server_from(parser.parse_args(["radius", str(users)]))
    assert (plain.secret, plain.auth_port, plain.acct_port) == (b"testing123", 1812, 1813)
    options = ["--secret", "x", "--auth-port", "0", "--drop", "5", "--delay", "0.5", "--reject"]
    other = server_from(parser.parse_args(["radius", str(users), *options]))
    assert (other.secret, other.auth_port, other.acct_port) == (b"x", 0, 1813)
    assert (other.drop_percent, other.delay_s, other.reject, other.silent) == (5, 0.5, True, False)


def test_requests_are_described_for_people() -> None:
    chap = RadiusRecord(0, CLIENT, {"User-Name": ["bob"], "CHAP-Password": [b""]}, accepted=False)
    assert describe(chap) == "reject bob (CHAP)"
    values = {
        "User-Name": ["bob"],
        "Acct-Status-Type": ["Stop"],
        "Acct-Session-Time": [7],
        "Acct-Input-Octets": [100],
    }
    stop = RadiusRecord(0, CLIENT, values)  # type: ignore[arg-type]
    assert describe(stop) == "accounting Stop bob after 7 s, 100 bytes in, 0 out"


def test_a_taken_port_ends_with_status_2(users: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "l2tpns_core.lab.main", "radius", str(users)]
        done = subprocess.run(
            [*command, "--auth-port", port], capture_output=True, text=True, timeout=20, check=False
        )
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1, ports {port} and 1813" in done.stderr
    assert "Traceback" not in done.stderr
