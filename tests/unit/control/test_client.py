"""The command line of nsctl and what it says, without a network."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from l2tpns_core.control import client, seal, wire
from l2tpns_core.control.client import ClientError, UsageError
from l2tpns_core.control.wire import Format, Kind, Reply

NONCE = bytes(16)


@pytest.fixture(autouse=True)
def _no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NSCTL_SECRET", raising=False)


@pytest.mark.parametrize(
    ("line", "host", "port", "words"),
    [
        ("drop 5", "127.0.0.1", 1702, "drop 5"),
        ("-h lns1 drop 5", "lns1", 1702, "drop 5"),
        ("-h lns1:99 -d -t 0.5 drop 5", "lns1", 99, "drop 5"),
        ("-h :99 help", "127.0.0.1", 99, "help"),
        ("192.0.2.1 garden 5", "192.0.2.1", 1702, "garden 5"),
        ("192.0.2.1:99 ungarden 5", "192.0.2.1", 99, "ungarden 5"),
        ("lns1 garden 5", "lns1", 1702, "garden 5"),
        ("lns1 drop alice", "lns1", 1702, "drop alice"),
        ("lns1:99 frob alice", "lns1", 99, "frob alice"),
        ("lns1.example.net frob", "lns1.example.net", 1702, "frob"),
        ("localhost help", "localhost", 1702, "help"),
        ("drop kill", "127.0.0.1", 1702, "drop kill"),
        ("drop 192.0.2.1", "127.0.0.1", 1702, "drop 192.0.2.1"),
        ("frob alice", "127.0.0.1", 1702, "frob alice"),
        ("-h lns1 192.0.2.1 garden", "lns1", 1702, "192.0.2.1 garden"),
        ("drop 5 -d", "127.0.0.1", 1702, "drop 5 -d"),
        ("-- drop 5", "127.0.0.1", 1702, "drop 5"),
    ],
)
def test_both_forms_of_the_command_line(line: str, host: str, port: int, words: str) -> None:
    options = client.parse(line.split())
    assert (options.host, options.port) == (host, port)
    assert list(options.words) == words.split()


def test_what_is_not_given_has_a_default() -> None:
    options = client.parse(["help"])
    assert (options.timeout_s, options.debug, options.secret) == (2.0, False, b"")
    options = client.parse(["-t", "0", "-d", "help"])
    assert (options.timeout_s, options.debug) == (0.0, True)


@pytest.mark.parametrize("line", ["", "-h lns1", "-x", "-t", "-t soon drop 5", "-t -1 drop 5"])
def test_a_senseless_command_line_gets_the_usage_and_status_1(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError):
        client.parse(line.split())
    assert client.run(line.split()) == 1
    printed = capsys.readouterr()
    assert "Usage: nsctl" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("port", ["0", "65536", "http", "", "9" * 5000, "٣"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert client.run(["-h", f"lns1:{port}", "drop"]) == 1
    assert capsys.readouterr().err == f"nsctl: invalid port `{port}'\n"


def test_a_host_that_is_unknown_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert client.run(["-h", "nowhere", "drop"]) == 1
    assert capsys.readouterr().err == "nsctl: invalid host `nowhere'\n"


def test_an_argument_that_is_too_long_is_not_sent(capsys: pytest.CaptureFixture[str]) -> None:
    assert client.run(["drop", "a" * 256]) == 1
    assert capsys.readouterr().err == "nsctl: error packing request (argument too long)\n"


@pytest.mark.parametrize(
    ("words", "kind", "argv"),
    [
        (["load_plugin", "garden"], Kind.LOAD, ("garden",)),
        (["unload_plugin", "garden"], Kind.UNLOAD, ("garden",)),
        (["help"], Kind.HELP, ()),
        (["drop", "5"], Kind.CONTROL, ("drop", "5")),
    ],
)
def test_commands_become_requests(words: list[str], kind: Kind, argv: tuple[str, ...]) -> None:
    request = wire.decode_request(client.encode(words))
    assert (request.kind, request.argv) == (kind, argv)


def test_the_secret_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    path.write_text(" sesame \nrest\n")
    assert client.parse(["-s", str(path), "help"]).secret == b"sesame"
    monkeypatch.setenv("NSCTL_SECRET", "other")
    assert client.parse(["help"]).secret == b"other"
    assert client.parse(["-s", str(path), "help"]).secret == b"sesame"
    path.write_text("\n")
    with pytest.raises(ClientError, match="no secret in"):
        client.parse(["-s", str(path), "help"])
    with pytest.raises(ClientError, match="No such file"):
        client.parse(["-s", str(tmp_path / "none"), "help"])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "short packet"),
        (b"\x90\x13\x21\x00\xff\x00", "extra data"),
        (b"\x90\x99\x21\x00\xff", "bad magic"),
        (b"\x90\x13\x14\x00\xff", "invalid type"),
    ],
)
def test_a_bad_answer_is_named(answer: bytes, why: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.decode(answer, b"", NONCE)
    assert str(caught.value) == f"error receiving response ({why})"


def test_with_a_secret_only_a_sealed_answer_to_this_request_counts() -> None:
    done = wire.encode_reply_as(Reply.error("forged"), Format.SECOND)
    with pytest.raises(ClientError, match="not authenticated; it says: forged"):
        client.decode(done, b"sesame", NONCE)
    other = seal.seal_reply(done, b"sesame", b"x" * 16, 0)
    with pytest.raises(ClientError, match="repeated"):
        client.decode(other, b"sesame", NONCE)
    right = seal.seal_reply(done, b"sesame", NONCE, 0)
    assert client.decode(right, b"sesame", NONCE) == Reply.error("forged")


def test_help_about_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert client.run(["--help"]) == 0
    assert capsys.readouterr().out == client.USAGE


def test_the_client_does_not_load_the_daemon() -> None:
    program = "import sys, l2tpns_core.control.client; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = [name for name in done.stdout.split() if name.startswith("l2tpns_core")]
    assert set(loaded) == {
        "l2tpns_core",
        "l2tpns_core.control",
        "l2tpns_core.control.client",
        "l2tpns_core.control.seal",
        "l2tpns_core.control.wire",
    }
