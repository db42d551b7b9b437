"""Log lines: their form, their levels, where they go, and that nobody can forge one."""

import io
import json
import logging
import os
import re
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.observe import log as log_module
from l2tpns_core.observe import syslog as syslog_module
from l2tpns_core.observe.log import (
    ALWAYS,
    CALLS,
    LEVELS,
    JsonFormatter,
    LineFormatter,
    LogControl,
    StreamLines,
    log_for,
    setup_logging,
)
from l2tpns_core.observe.syslog import SyslogHandler, severity_of

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (\d\d+)/(\d\d+) (?:\[(\S+)\] )?(.*)")
logger = logging.getLogger("l2tpns.test")


@pytest.fixture
def control() -> Iterator[LogControl]:
    control = setup_logging(5, "")
    yield control
    control.close()


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_line_has_time_ids_user_and_message(
    control: LogControl, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.info("plain %d", 1)
    logger.info("of one", extra={"tunnel": 3, "session": 117, "user": "alice"})
    log_for(4, 5, "bob").warning("adapter")
    log_for(4).warning("tunnel", extra={"session": 9})
    found = [LINE.fullmatch(line) for line in lines_of(capsys)]
    assert [match.groups() for match in found if match] == [
        ("00", "00", None, "plain 1"),
        ("03", "117", "alice", "of one"),
        ("04", "05", "bob", "adapter"),
        ("04", "09", None, "tunnel"),
    ]


@given(user=st.text(min_size=1), message=st.text())
def test_nothing_from_the_net_can_forge_a_line(user: str, message: str) -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (message,), "tunnel": 1, "user": user})
    text = LineFormatter(stamped=True).format(record)
    assert text.isprintable()
    match = LINE.fullmatch(text)
    assert match is not None
    assert match[3] is not None
    assert match[1] == "01"


def test_traceback_goes_on_in_lines_of_the_same_form(
    control: LogControl, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logger.exception("failed", extra={"tunnel": 2})
    lines = lines_of(capsys)
    assert len(lines) > 4
    assert all(LINE.fullmatch(line) for line in lines)
    assert all(" 02/00 | " in line for line in lines[1:])


@pytest.mark.parametrize("level", range(6))
def test_levels_of_the_manual(level: int, capsys: pytest.CaptureFixture[str]) -> None:
    control = setup_logging(level, "")
    for number, standard in enumerate((*LEVELS, ALWAYS)):
        logger.log(standard, "%d", number)
    control.close()
    said = [int(line[-1]) for line in lines_of(capsys)]
    assert said == [*range(level + 1), 6]


def test_level_changes_at_once(control: LogControl, capsys: pytest.CaptureFixture[str]) -> None:
    control.set_level(3)
    logger.log(CALLS, "not this")
    assert not logger.isEnabledFor(CALLS)
    control.set_level(4)
    logger.log(CALLS, "this")
    control.set_level(99)
    logger.debug("and this")
    assert [line[26:] for line in lines_of(capsys)] == ["this", "and this"]


def test_line_that_is_off_is_not_put_together() -> None:
    class Costly:
        def __str__(self) -> str:
            raise AssertionError

    control = setup_logging(2, "")
    logger.info("%s", Costly())
    log_for(1, 2, "x").info("%s", Costly())
    control.close()


def test_asyncio_reports_through_us(
    control: LogControl, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.getLogger("asyncio").error("exception in callback")
    assert "00/00 exception in callback" in capsys.readouterr().out


@pytest.mark.parametrize("make", [StreamLines, lambda: handler_to("/nonexistent")])
def test_wrong_log_call_does_not_raise(
    make: Callable[[], logging.Handler], capsys: pytest.CaptureFixture[str]
) -> None:
    handler = make()
    record = {"msg": "%d", "args": ("no number",), "levelno": logging.INFO}
    handler.handle(logging.makeLogRecord(record))
    handler.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Logging error" in captured.err


def test_file_is_appended_to_and_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "l2tpns.log"
    path.write_text("before\n")
    control = setup_logging(3, str(path))
    logger.info("one")
    path.rename(tmp_path / "old")
    logger.info("two")
    control.reopen()
    logger.info("three")
    control.close()
    assert [line[-3:] for line in (tmp_path / "old").read_text().splitlines()] == [
        "ore",
        "one",
        "two",
    ]
    assert path.read_text().endswith("three\n")


def test_destination_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    control = setup_logging(3, "")
    control.set_destination(str(tmp_path / "log"))
    logger.info("to the file")
    control.set_destination("")
    logger.info("to stdout")
    control.close()
    assert (tmp_path / "log").read_text().endswith("to the file\n")
    assert [line[26:] for line in lines_of(capsys)] == ["to stdout"]


@pytest.mark.parametrize("destination", ["/nonexistent/dir/log", "syslog:nosuch"])
def test_destination_that_fails_is_replaced_by_stdout(
    destination: str, capsys: pytest.CaptureFixture[str]
) -> None:
    control = setup_logging(0, destination)
    logger.critical("still here")
    control.close()
    first, second = lines_of(capsys)
    assert f"cannot log to {destination}" in first
    assert second.endswith("still here")


def test_file_that_cannot_be_opened_anew_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """For instance in a directory where the daemon's user may not make files."""
    path, old = tmp_path / "logs" / "log", tmp_path / "old"
    path.parent.mkdir()
    control = setup_logging(3, str(path))
    path.rename(old)
    path.parent.rmdir()
    control.reopen()
    logger.info("goes on")
    first, second = old.read_text().splitlines()
    assert f"cannot log to {path}" in first
    assert second.endswith("goes on")
    path.parent.mkdir()
    control.reopen()
    logger.info("in the new file")
    control.close()
    assert path.read_text().endswith("in the new file\n")
    assert "in the new file" not in old.read_text()
    assert lines_of(capsys) == []


def test_full_disk_loses_lines_and_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk(io.StringIO):
        full = True

        def flush(self) -> None:
            if self.full:
                self.truncate(0)
                raise OSError(28, "No space left on device")

    disk = Disk()
    monkeypatch.setattr(sys, "stdout", disk)
    control = setup_logging(3, "")
    for number in range(3):
        logger.info("%d", number)
    disk.full = False
    disk.seek(0)
    logger.info("back")
    control.close()
    lines = disk.getvalue().splitlines()
    assert [LINE.fullmatch(line)[4] for line in lines] == ["3 log lines were lost", "back"]  # type: ignore[index]


def test_line_that_was_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    """A disk that is full takes the beginning of a line."""
    path = tmp_path / "log"
    control = setup_logging(3, str(path), "json")
    logger.info("one")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        logger.info("two")
        logger.info("three")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    logger.info("four")
    logger.info("five")
    control.close()
    first, cut, *rest = path.read_text().splitlines()
    assert json.loads(first)["message"] == "one"
    assert len(cut) == 20
    messages = [json.loads(line)["message"] for line in rest]
    assert messages == ["2 log lines were lost", "four", "five"]


def test_close_gives_the_loggers_back(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(5, "").close()
    for name in log_module.LOGGER_NAMES:
        assert logging.getLogger(name).handlers == []
        assert logging.getLogger(name).propagate


@pytest.fixture
def syslog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A syslog daemon's socket, `log` in the current directory."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("log")
        receiver.settimeout(10)
        yield receiver


def handler_to(path: str, fallback: io.StringIO | None = None) -> SyslogHandler:
    handler = SyslogHandler("local5", path=path, fallback=fallback)
    handler.setFormatter(LineFormatter(stamped=False))
    return handler


def record(level: int, message: str) -> logging.LogRecord:
    return logging.makeLogRecord({"levelno": level, "msg": message, "tunnel": 1, "session": 2})


def test_syslog_gets_facility_severity_ident_and_text(syslog: socket.socket) -> None:
    handler = handler_to("log")
    handler.handle(record(logging.ERROR, "100% of it"))
    handler.close()
    text = syslog.recv(4096).decode()
    assert re.fullmatch(
        rf"<{21 << 3 | 3}>\w{{3}} [ \d]\d \d\d:\d\d:\d\d l2tpns\[{os.getpid()}\]: 01/02 100% of it",
        text,
    )


def test_severities_are_those_of_the_original() -> None:
    assert [severity_of(level) for level in LEVELS] == [2, 3, 4, 5, 6, 7]
    assert severity_of(ALWAYS) == 5


def test_syslog_that_is_not_there_is_replaced_by_stdout_with_one_line(tmp_path: Path) -> None:
    output = io.StringIO()
    handler = handler_to(str(tmp_path / "none"), output)
    handler.handle(record(logging.ERROR, "one"))
    handler.handle(record(logging.ERROR, "two"))
    handler.close()
    lines = output.getvalue().splitlines()
    assert "syslog does not take log lines" in lines[0]
    assert [line[20:] for line in lines[1:]] == ["01/02 one", "01/02 two"]


def test_syslog_that_was_restarted_is_found_again(syslog: socket.socket) -> None:
    handler = handler_to("log")
    handler.handle(record(logging.ERROR, "one"))
    assert syslog.recv(4096).endswith(b"one")
    os.unlink("log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as second:
        second.bind("log")
        second.settimeout(10)
        syslog.close()
        handler.handle(record(logging.ERROR, "two"))
        assert second.recv(4096).endswith(b"two")
    handler.close()


def test_syslog_that_hangs_never_holds_up_the_caller(
    syslog: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog_module, "MAX_QUEUED_LINES", 50)
    monkeypatch.setattr(syslog_module, "SEND_TIMEOUT_S", 0.5)
    handler = handler_to("log", io.StringIO())
    began = time.monotonic()
    for number in range(5000):
        handler.handle(record(logging.ERROR, f"{number}"))
    assert time.monotonic() - began < 0.5
    text = ""
    while "log lines were lost" not in text:  # there is room again: syslog reads
        handler.handle(record(logging.ERROR, "more"))
        text = syslog.recv(4096).decode()
    handler.close()
    lost = int(re.findall(r"00/00 (\d+) log lines", text)[0])
    assert 0 < lost < 5000


# JSON


@pytest.fixture
def json_lines(tmp_path: Path) -> Iterator[Callable[[], list[dict[str, object]]]]:
    path = tmp_path / "log"
    control = setup_logging(5, str(path), "json")
    yield lambda: [json.loads(line) for line in path.read_text().splitlines()]
    control.close()


def test_json_has_what_is_known(json_lines: Callable[[], list[dict[str, object]]]) -> None:
    log_for(3, 17, "alice", name="l2tpns.lns").warning("login %s", "accepted")
    logger.log(ALWAYS, "ready")
    login, ready = json_lines()
    assert datetime.fromisoformat(str(login.pop("time"))).tzinfo is not None
    assert login == {
        "level": "warning",
        "part": "lns",
        "message": "login accepted",
        "tunnel": 3,
        "session": 17,
        "user": "alice",
    }
    assert {name: ready[name] for name in ("level", "part", "message")} == {
        "level": "notice",
        "part": "test",
        "message": "ready",
    }
    assert "tunnel" not in ready


def test_json_has_tracebacks(json_lines: Callable[[], list[dict[str, object]]]) -> None:
    try:
        raise ValueError("no\n{}")
    except ValueError:
        logger.exception("it failed")
    (entry,) = json_lines()
    assert entry["message"] == "it failed"
    assert str(entry["trace"]).endswith("ValueError: no\n{}")


@given(st.text(), st.text())
def test_nobody_forges_a_line_of_json(text: str, user: str) -> None:
    record = logging.makeLogRecord({"name": "l2tpns.x", "msg": text, "user": user, "session": 1})
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert line.isascii()
    assert set(json.loads(line)) - {"user"} == {"time", "level", "part", "message", "session"}


def test_the_form_changes_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "log"
    control = setup_logging(3, str(path))
    logger.info("one")
    control.set_destination(str(path), "json")
    logger.info("two")
    control.close()
    first, second = path.read_text().splitlines()
    assert first.endswith("00/00 one")
    assert json.loads(second)["message"] == "two"
