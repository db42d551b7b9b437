"""Log lines behind the levels of the manual ("debug", "log_file").

Everything is logged through the standard loggers below `l2tpns`. A record may carry `tunnel`,
`session` and `user` (see SessionLog, or Session.log_ids() for `extra=`); the line begins with them:

    2026-11-23 10:15:00 03/17 [alice] login accepted

Nothing that comes from the net can end a line or pass for its beginning.
"""

import errno
import io
import json
import logging
import sys
import time
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any, Final

from l2tpns_core.observe.syslog import SYSLOG_PREFIX, SyslogHandler
from l2tpns_core.observe.text import printable, token

CALLS: Final = 15
"""Level 4 of the manual: for tracing the execution."""
ALWAYS: Final = 60
"""For the few lines that are there at every level, such as the one that says `ready`."""
LEVELS: Final = (
    logging.CRITICAL,
    logging.ERROR,
    logging.WARNING,
    logging.INFO,
    CALLS,
    logging.DEBUG,
)
"""The standard level for each level of the manual, 0 to 5."""
LEVEL_NAMES: Final = {
    logging.CRITICAL: "critical",
    logging.ERROR: "error",
    logging.WARNING: "warning",
    logging.INFO: "info",
    CALLS: "calls",
    logging.DEBUG: "debug",
    ALWAYS: "notice",
}
"""In JSON."""
TEXT: Final = "text"
JSON: Final = "json"
LOGGER_NAMES: Final = ("l2tpns", "asyncio")
NO_IDS: Final[Mapping[str, object]] = {}

logging.addLevelName(CALLS, "CALLS")
logging.addLevelName(ALWAYS, "ALWAYS")


class LineFormatter(logging.Formatter):
    """`YYYY-MM-DD HH:MM:SS TT/SS [user] message`, or without the time for syslog. A traceback goes
    on in lines of the same form."""

    def __init__(self, *, stamped: bool) -> None:
        super().__init__()
        self._stamped = stamped
        self._second = -1
        self._stamp = ""

    def format(self, record: logging.LogRecord) -> str:
        fields = record.__dict__
        tunnel, session = fields.get("tunnel") or 0, fields.get("session") or 0
        prefix = f"{tunnel:02}/{session:02} "
        user = fields.get("user")
        if user:
            prefix += f"[{token(str(user))}] "
        if self._stamped:
            prefix = f"{self._time_of(record)} {prefix}"
        text = prefix + printable(record.getMessage())
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            text += "".join(f"\n{prefix}| {printable(line)}" for line in trace.split("\n"))
        return text

    def _time_of(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return self._stamp


class JsonFormatter(logging.Formatter):
    """One JSON object for each record: `time` (RFC 3339, with the zone), `level`, `part` and
    `message`, `tunnel`, `session` and `user` where they are known, and `trace` for a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        fields = record.__dict__
        stamp = datetime.fromtimestamp(record.created).astimezone()
        entry: dict[str, object] = {
            "time": stamp.isoformat(timespec="milliseconds"),
            "level": LEVEL_NAMES.get(record.levelno, record.levelname.lower()),
            "part": record.name.removeprefix("l2tpns."),
            "message": printable(record.getMessage()),
        }
        for name in ("tunnel", "session"):
            if fields.get(name):
                entry[name] = int(fields[name])
        if fields.get("user"):
            entry["user"] = printable(str(fields["user"]))
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class StreamLines(logging.Handler):
    """Lines to a file or to stdout. A line that cannot be written is lost and counted; the number
    is written when there is room again."""

    def __init__(self, path: str = "") -> None:
        """`path` is appended to; "" is stdout. Raises OSError."""
        super().__init__()
        self._file: io.FileIO | None = None
        if path:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - open until close()
        self._lost = 0
        self._is_cut = False
        """The file ends within a line, as on a disk that is full."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record) + "\n"
        except Exception:  # noqa: BLE001 - a wrong log call must not end what is being logged
            self.handleError(record)
            return
        if self._lost:
            text = self.format(_lost_lines(self._lost, record.created)) + "\n" + text
        try:
            self._write(text)
        except (OSError, ValueError):
            self._lost += 1
        else:
            self._lost = 0

    def close(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except OSError:
                pass
        super().close()

    def _write(self, text: str) -> None:
        if self._file is not None:
            data = text.encode("utf-8", "backslashreplace")
            if self._is_cut:
                data = b"\n" + data
            written = self._file.write(data)
            if written:
                self._is_cut = written < len(data)
            if written != len(data):
                raise OSError(errno.ENOSPC, "only a part of a line was written")
        else:
            sys.stdout.write(text)
            sys.stdout.flush()


class LogControl:
    """The one place that log lines leave by; made by setup_logging()."""

    def __init__(self, level: int, destination: str, form: str = TEXT) -> None:
        self._loggers = [logging.getLogger(name) for name in LOGGER_NAMES]
        self._destination = destination
        self._form = form
        self._opened = ""
        """Where the handler leads."""
        self._handler: logging.Handler | None = None
        self.set_level(level)
        self.reopen()

    def set_level(self, level: int) -> None:
        """Let through what has at most this level of the manual, 0 to 5."""
        self._loggers[0].setLevel(LEVELS[max(0, min(level, len(LEVELS) - 1))])

    def set_destination(self, destination: str, form: str = TEXT) -> None:
        """Go on elsewhere or in another form: a path, `syslog:FACILITY`, or "" for stdout; `text`
        or `json`."""
        if (destination, form) != (self._destination, self._form):
            self._destination, self._form = destination, form
            self.reopen()

    def reopen(self) -> None:
        """Open the destination anew, for instance after the file was renamed. When that cannot be
        done lines go on to the file that is open, or else to stdout, with one that says so."""
        failure = ""
        is_same, self._opened = self._opened == self._destination, self._destination
        try:
            handler = _handler_for(self._destination, self._form)
        except (OSError, KeyError) as error:
            failure = f"cannot log to {self._destination} ({error})"
            if is_same and self._handler is not None:
                self._handler.setFormatter(_formatter_for(self._destination, self._form))
                self._loggers[0].critical("%s, log lines go on to the file that is open", failure)
                return
            handler = _handler_for("", self._form)
            self._opened = ""
            failure += ", log lines go to stdout"
        old, self._handler = self._handler, handler
        for logger in self._loggers:
            logger.addHandler(handler)
            logger.propagate = False
            if old is not None:
                logger.removeHandler(old)
        if old is not None:
            old.close()
        if failure:
            self._loggers[0].critical("%s", failure)

    def close(self) -> None:
        """Write what is left and give the loggers back as they were."""
        if self._handler is None:
            return
        for logger in self._loggers:
            logger.removeHandler(self._handler)
            logger.propagate = True
        self._loggers[0].setLevel(logging.NOTSET)
        self._handler.close()
        self._handler = None


def setup_logging(level: int, destination: str, form: str = TEXT) -> LogControl:
    """Send the lines of all loggers below `l2tpns` to a destination (directives debug, log_file
    and log_format). Never raises."""
    return LogControl(level, destination, form)


class SessionLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose lines carry the ids of one session and its user."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or NO_IDS), **(kwargs.get("extra") or NO_IDS)}
        return msg, kwargs


def log_for(
    tunnel_id: int = 0, session_id: int = 0, user: str = "", *, name: str = "l2tpns"
) -> SessionLog:
    """A logger for what happens to one tunnel or session; costs one test when its level is off."""
    ids = {"tunnel": tunnel_id, "session": session_id, "user": user}
    return SessionLog(logging.getLogger(name), ids)


def _lost_lines(count: int, created: float) -> logging.LogRecord:
    fields = {"name": "l2tpns", "levelno": ALWAYS, "created": created}
    return logging.makeLogRecord({"msg": f"{count} log lines were lost", **fields})


def _handler_for(destination: str, form: str) -> logging.Handler:
    handler: logging.Handler
    if destination.startswith(SYSLOG_PREFIX):
        handler = SyslogHandler(destination.removeprefix(SYSLOG_PREFIX))
    else:
        handler = StreamLines(destination)
    handler.setFormatter(_formatter_for(destination, form))
    return handler


def _formatter_for(destination: str, form: str) -> logging.Formatter:
    if form == JSON:
        return JsonFormatter()
    return LineFormatter(stamped=not destination.startswith(SYSLOG_PREFIX))
