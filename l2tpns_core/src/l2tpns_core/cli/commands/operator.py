"""Commands about the operator's own session, which the shell carries out: privileges, history, the
size of the terminal, and log lines (manual, "Command-Line Interface")."""

from collections.abc import Iterator, Sequence
from typing import Final

from l2tpns_core.cli.answer import Answer, ShellAction
from l2tpns_core.cli.commands.shell import ALL_MODES
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, Choice, CommandSet
from l2tpns_core.cli.live_log import CRITICAL, FLAGS
from l2tpns_core.config.errors import shown

COMMANDS = CommandSet()
ALL: Final = "all"
DATA: Final = "data"
MIN_WIDTH: Final = 20
MAX_SIZE: Final = 512
HELP: Final = {
    ALL: "Everything but data",
    "critical": "What keeps the daemon from working",
    "error": "Errors",
    "warning": "Warnings",
    "info": "Logins, ends of sessions, changes",
    "calls": "Control packets, when the directive debug is 3 or more",
    DATA: "Packets as hex dumps, when the directive debug is 5",
}


def _kinds(given: Sequence[str]) -> Iterator[Choice]:
    return (Choice(*one) for one in HELP.items())


FLAG = Argument("flag", "Kind of log lines", optional=True, repeated=True, values=_kinds)


@COMMANDS.command("enable", "Turn on privileged commands", modes=ALL_MODES)
def enable(call: Call) -> Answer:
    return ShellAction(["enable"])


@COMMANDS.command("disable", "Turn off privileged commands", privileged=True)
def disable(call: Call) -> Answer:
    return ShellAction(["disable"])


@COMMANDS.command("history", "Show a list of previously run commands", modes=ALL_MODES)
def history(call: Call) -> Answer:
    return ShellAction(["history"])


@COMMANDS.command(
    "terminal length",
    "Set the lines of a page; 0 does not stop at pages",
    Argument("lines", f"0 to {MAX_SIZE}", missing="Specify a number of lines"),
)
def terminal_length(call: Call) -> Answer:
    return ShellAction(["terminal", "length", _size(call.arguments[0], 0)])


@COMMANDS.command(
    "terminal width",
    "Set the columns of the terminal",
    Argument("columns", f"{MIN_WIDTH} to {MAX_SIZE}", missing="Specify a number of columns"),
)
def terminal_width(call: Call) -> Answer:
    return ShellAction(["terminal", "width", _size(call.arguments[0], MIN_WIDTH)])


@COMMANDS.command("debug", "Set the level of logging that is shown on the console", FLAG)
def debug(call: Call) -> Answer:
    return ShellAction(["debug", *_flags(call.arguments)])


@COMMANDS.command("no debug", "Turn off logging of a certain level of debugging", FLAG)
def no_debug(call: Call) -> Answer:
    return ShellAction(["no", "debug", *_flags(call.arguments or [ALL, DATA])])


def _flags(words: list[str]) -> list[str]:
    """The kinds that are meant. Words may be shortened; a `c` alone is `critical`."""
    chosen: set[str] = set()
    for word in words:
        known = [CRITICAL] if word.lower() == "c" else _fitting(word)
        if len(known) != 1:
            raise CommandError(f"Invalid debugging flag {shown(word)}")
        chosen.update(set(FLAGS) - {DATA} if known == [ALL] else known)
    return [flag for flag in FLAGS if flag in chosen]


def _fitting(word: str) -> list[str]:
    return [flag for flag in (ALL, *FLAGS) if flag.startswith(word.lower())]


def _size(text: str, least: int) -> str:
    if not (
        text.isascii() and text.isdigit() and len(text) <= 3 and least <= int(text) <= MAX_SIZE
    ):
        raise CommandError(f"Specify a number from {least} to {MAX_SIZE}")
    return str(int(text))
