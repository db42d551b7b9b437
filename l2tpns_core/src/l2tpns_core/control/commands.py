"""The commands that the core answers itself: drop, kill, throttle, unthrottle, snoop, unsnoop.

Later releases shipped them as plugins (sessionctl, throttlectl, snoopctl); the words of the answers
are theirs. A plugin that answers a command of the same name comes first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Final, Protocol

from l2tpns_core.config.directives import Config
from l2tpns_core.observe.text import printable
from l2tpns_core.session import Session, SessionState

DEFAULT_REASON: Final = "Requested by administrator."
KEEP: Final = -1
"""As a rate: leave that direction as it is."""
MAX_RATE: Final = 10_000_000
"""kbit/s, that of throttle_speed."""
HELP_COLUMN: Final = 46
MAX_DIGITS: Final = 8
_BROADCAST: Final = 0xFFFFFFFF


class ControlLns(Protocol):
    """What the commands need of the LNS."""

    config: Config

    def find_session(self, text: str) -> Session: ...
    def sessions_of_user(self, user: str) -> list[Session]: ...
    def drop_session(self, session: Session, reason: str) -> None: ...
    def kill_session(self, session: Session, reason: str) -> None: ...
    def throttle(self, session: Session, rate_in: int, rate_out: int) -> None: ...
    def snoop(self, session: Session, ip: int, port: int) -> None: ...


class CommandError(Exception):
    """A command cannot be carried out; the text is the answer."""


Run = Callable[[ControlLns, Session, Sequence[str]], None]


@dataclass(slots=True, frozen=True)
class Command:
    """One command. Its first argument names the session, `run` gets the others."""

    usage: str
    help: str
    counts: range
    """How many arguments it takes."""
    requires: str
    """The answer when it has more or fewer."""
    run: Run
    is_secret: bool = False
    """Nothing in the log tells that it was used."""

    def help_line(self) -> str:
        return help_line(self.usage, self.help)


def help_line(usage: str, text: str) -> str:
    """A line of `nsctl help`."""
    return f"  {usage}".ljust(HELP_COLUMN) + text


def execute(lns: ControlLns, argv: Sequence[str]) -> None:
    """Carry out a command of COMMANDS. Raises CommandError."""
    command, arguments = COMMANDS[argv[0]], argv[1:]
    if len(arguments) not in command.counts:
        raise CommandError(command.requires)
    command.run(lns, find_session(lns, arguments[0]), arguments[1:])


def find_session(lns: ControlLns, text: str) -> Session:
    """The session `5` or `3/5`, else the oldest of a user; only one that has an address, and is
    not about to end, counts.

    Raises CommandError."""
    if text[:1].isdigit() and text.replace("/", "", 1).isdigit() and text.isascii():
        try:
            found = [lns.find_session(text)]
        except LookupError:
            found = []
    else:
        found = lns.sessions_of_user(text)
    for session in found:
        if session.ip and session.state is not SessionState.CLOSING:
            return session
    raise CommandError("session not found")


def _drop(lns: ControlLns, session: Session, arguments: Sequence[str]) -> None:
    lns.drop_session(session, _reason(arguments))


def _kill(lns: ControlLns, session: Session, arguments: Sequence[str]) -> None:
    lns.kill_session(session, _reason(arguments))


def _throttle(lns: ControlLns, session: Session, arguments: Sequence[str]) -> None:
    rate_in, rate_out = _rates(arguments, lns.config.throttle_speed)
    if (rate_in, rate_out) == (session.throttle_in, session.throttle_out):
        raise CommandError("already throttled")
    lns.throttle(session, rate_in, rate_out)


def _unthrottle(lns: ControlLns, session: Session, arguments: Sequence[str]) -> None:
    if not session.throttle_in and not session.throttle_out:
        raise CommandError("not throttled")
    lns.throttle(session, 0, 0)


def _snoop(lns: ControlLns, session: Session, arguments: Sequence[str]) -> None:
    try:
        ip = int(IPv4Address(arguments[0]))
    except AddressValueError:
        ip = 0
    if ip in (0, _BROADCAST):
        raise CommandError("invalid ip address")
    port = _number(arguments[1])
    if not 0 < port <= 65_535:
        raise CommandError("invalid port")
    if (ip, port) == (session.snoop_ip, session.snoop_port):
        raise CommandError("already intercepted")
    lns.snoop(session, ip, port)


def _unsnoop(lns: ControlLns, session: Session, arguments: Sequence[str]) -> None:
    if not session.snoop_ip:
        raise CommandError("not intercepted")
    lns.snoop(session, 0, 0)


def _reason(arguments: Sequence[str]) -> str:
    return printable(arguments[0]) if arguments and arguments[0] else DEFAULT_REASON


def _rates(arguments: Sequence[str], default: int) -> tuple[int, int]:
    """The rates in and out: none given, one for both, or each with its direction."""
    if not arguments:
        rate = _rate(str(default))
        return rate, rate
    if len(arguments) == 1:
        rate = _rate(arguments[0])
        return rate, rate
    rates = {"in": KEEP, "out": KEEP}
    if len(arguments) % 2:
        raise CommandError("invalid rate")
    for word, number in zip(arguments[::2], arguments[1::2], strict=True):
        direction = next((name for name in rates if word and name.startswith(word.lower())), "")
        if not direction:
            raise CommandError("invalid rate")
        rates[direction] = _rate(number)
    return rates["in"], rates["out"]


def _rate(text: str) -> int:
    rate = _number(text)
    if not 0 < rate <= MAX_RATE:
        raise CommandError("invalid rate")
    return rate


def _number(text: str) -> int:
    """A decimal number, or -1."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else -1


_ONE: Final = "requires username or session id"
_REASON: Final = f"{_ONE} and optional reason"

COMMANDS: Final[dict[str, Command]] = {
    "drop": Command("drop USER|SID [REASON]", "Disconnect a session", range(1, 3), _REASON, _drop),
    "kill": Command(
        "kill USER|SID [REASON]",
        "End a session without waiting for its client",
        range(1, 3),
        _REASON,
        _kill,
    ),
    "throttle": Command(
        "throttle USER|SID [RATE|[in|out] RATE ...]",
        "Limit a session to so many kbit/s",
        range(1, 6),
        f"{_ONE} and optional rate(s)",
        _throttle,
    ),
    "unthrottle": Command(
        "unthrottle USER|SID", "Remove the limit of a session", range(1, 2), _ONE, _unthrottle
    ),
    "snoop": Command(
        "snoop USER|SID IP PORT",
        "Send copies of a session's packets",
        range(3, 4),
        f"{_ONE} and host, port",
        _snoop,
        is_secret=True,
    ),
    "unsnoop": Command(
        "unsnoop USER|SID",
        "End the copies of a session's packets",
        range(1, 2),
        _ONE,
        _unsnoop,
        is_secret=True,
    ),
}
