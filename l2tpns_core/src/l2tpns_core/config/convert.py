"""`l2tpns --convert`: what becomes of a startup-config of the C program, line by line."""

import enum
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Final

from l2tpns_core.config.access_list_section import AccessListReader, AccessListStatement
from l2tpns_core.config.directives import DIRECTIVES, Config, find_directive, with_value
from l2tpns_core.config.errors import ConfigError, OtherReleaseError
from l2tpns_core.config.other_releases import CHANGED, OTHER_DIRECTIVES, OTHER_PLUGINS
from l2tpns_core.config.quoting import quote
from l2tpns_core.config.router_section import RouterReader, RouterStatement
from l2tpns_core.config.startup_config import LoadPlugin, SetStatement, Statement, parse_line

SHIPPED_PLUGINS: Final = ("autosnoop", "autothrottle", "garden")
RENAMED: Final = {
    "lcp_echo_timeout": "echo_timeout",
    "lcp_idle_timeout": "idle_echo_timeout",
    "nexthop": "nexthop_address",
    "nexthop6": "nexthop6_address",
}
"""Names of forks and misspellings in the examples of the C program."""


class Fate(enum.Enum):
    """What becomes of a line."""

    TAKEN = "taken"
    CHANGED = "changed"
    """Taken, but it means something else."""
    RENAMED = "renamed"
    IDLE = "no effect"
    """Taken, but this release does nothing with it."""
    MEANINGLESS = "meaningless"
    WRONG = "wrong"
    """Not even the C program could use it, as far as one can tell."""


@dataclass(slots=True, frozen=True)
class Verdict:
    """What is said of one line."""

    line: int
    """Counted from 1."""
    fate: Fate
    subject: str
    """The directive, plugin or command; never a value, which may be a secret."""
    note: str = ""


@dataclass(slots=True)
class Conversion:
    """The verdicts on all lines that say something, and the new file."""

    verdicts: list[Verdict] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    def report(self) -> Iterator[str]:
        """For people."""
        for verdict in self.verdicts:
            note = f": {verdict.note}" if verdict.note else ""
            yield f"{verdict.line:>5}  {verdict.fate.value:<11}  {verdict.subject}{note}"
        counts = ((fate, sum(each.fate is fate for each in self.verdicts)) for fate in Fate)
        yield ", ".join(f"{count} {fate.value}" for fate, count in counts if count) or "nothing"

    def json(self) -> str:
        """For scripts."""
        rows = [{**asdict(each), "fate": each.fate.value} for each in self.verdicts]
        return json.dumps({"lines": rows}, indent=2)


def convert(data: bytes) -> Conversion:
    """Look at a file of the C program. Never raises."""
    converter = _Converter()
    for number, line in enumerate(data.replace(b"\r\n", b"\n").split(b"\n"), 1):
        converter.read(number, line)
    while converter.done.lines and not converter.done.lines[-1]:
        converter.done.lines.pop()
    return converter.done


class _Converter:
    def __init__(self) -> None:
        self.done = Conversion()
        self._lists = AccessListReader()
        self._router = RouterReader()

    def read(self, number: int, line: bytes) -> None:
        text = line.decode(errors="replace")
        try:
            statement = parse_line(line, number)
        except ConfigError as error:
            self._read_other(number, text, error)
            return
        if statement is not None:
            self._judge(number, text, statement)
        elif text.strip() and text.strip()[0] not in "#!":  # a command of a pasted session
            self._say(number, Fate.MEANINGLESS, text.split()[0], "", [f"# {text}"])
        else:
            self.done.lines.append(text)

    def _say(self, number: int, fate: Fate, subject: str, note: str, lines: Iterable[str]) -> None:
        self.done.verdicts.append(Verdict(number, fate, subject, note))
        self.done.lines += lines

    def _judge(self, number: int, text: str, statement: Statement) -> None:
        if isinstance(statement, SetStatement):
            self._set(number, text, statement)
        elif isinstance(statement, AccessListStatement):
            self._access_list(number, text, statement)
        elif isinstance(statement, RouterStatement):
            self._route(number, text, statement)
        elif isinstance(statement, LoadPlugin):
            self._plugin(number, text, statement)
        else:
            self._say(number, Fate.TAKEN, f"remove plugin {statement.name}", "", [text])

    def _set(self, number: int, text: str, statement: SetStatement) -> None:
        name = statement.name
        new = RENAMED.get(name, name)
        if new in OTHER_DIRECTIVES:
            note = OTHER_DIRECTIVES[new]
            self._say(number, Fate.MEANINGLESS, name, note, [f"# {text}"])
            return
        try:
            with_value(Config(), new, statement.text)
        except ConfigError as error:
            self._say(number, Fate.WRONG, name, str(error), [f"# {text}"])
            return
        if new != name:
            line = f"set {new} {quote(statement.text)}"
            self._say(number, Fate.RENAMED, name, f"is {new} now", [line])
        elif not find_directive(name).acts:
            self._say(number, Fate.IDLE, name, "it waits for a later release", [text])
        elif name in CHANGED:
            self._say(number, Fate.CHANGED, name, CHANGED[name], [text])
        else:
            self._say(number, Fate.TAKEN, name, "", [text])

    def _access_list(self, number: int, text: str, statement: AccessListStatement) -> None:
        subject = " ".join(statement.words[:3])
        try:
            self._lists.read(statement)
        except ConfigError as error:
            self._say(number, Fate.WRONG, subject, str(error), [f"# {text}"])
        else:
            self._say(number, Fate.TAKEN, subject, "", [text])

    def _plugin(self, number: int, text: str, statement: LoadPlugin) -> None:
        name = statement.name.removesuffix(".so")
        subject = f"load plugin {statement.name}"
        if name in OTHER_PLUGINS:
            self._say(number, Fate.MEANINGLESS, subject, OTHER_PLUGINS[name], [f"# {text}"])
        elif name not in SHIPPED_PLUGINS:
            note = "plugins in C cannot be loaded; one in Python has to take its place"
            self._say(number, Fate.MEANINGLESS, subject, note, [f"# {text}"])
        elif name != statement.name:
            line = f"load plugin {quote(name)}"
            self._say(number, Fate.RENAMED, subject, f"is {name} now", [line])
        else:
            note = f"its distribution is l2tpns-plugins-{name}"
            self._say(number, Fate.TAKEN, subject, note, [text])

    def _read_other(self, number: int, text: str, error: ConfigError) -> None:
        """A line that cannot be used, or that this release has no statement for."""
        words = text.split()
        fate = Fate.MEANINGLESS if isinstance(error, OtherReleaseError) else Fate.WRONG
        subject = words[0].lower() if words else ""
        self._say(number, fate, subject, str(error), [f"# {text}"])

    def _route(self, number: int, text: str, statement: RouterStatement) -> None:
        subject = statement.words[0].lower()
        try:
            for name, value in self._router.read(statement):
                with_value(Config(), name, value)
        except ConfigError as error:
            self._say(number, Fate.WRONG, subject, str(error), [f"# {text}"])
        else:
            self._say(number, Fate.TAKEN, subject, "", [text])

    def _rename(self, number: int, subject: str, values: list[tuple[str, str]]) -> None:
        try:
            for name, value in values:
                with_value(Config(), name, value)
        except ConfigError as error:
            lines = [f"# set {name} {quote(value)}" for name, value in values]
            self._say(number, Fate.WRONG, subject, str(error), lines)
            return
        names = " and ".join(name for name, _ in values)
        waits = "" if all(DIRECTIVES[name].acts for name, _ in values) else ", without effect yet"
        lines = [f"set {name} {quote(value)}" for name, value in values]
        self._say(number, Fate.RENAMED, subject, f"is {names} now{waits}", lines)
