"""The startup-config file: commands of the command-line interface, one per line (manual,
"startup-config").

Nothing in the file is fatal: a line that cannot be used is reported with its number and skipped, so
that a file written for the C program starts the daemon too.
"""

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from l2tpns_core.access_lists.lists import ListText
from l2tpns_core.config.access_list_section import (
    AccessListReader,
    AccessListStatement,
    is_access_list,
)
from l2tpns_core.config.directives import (
    DIRECTIVES,
    Config,
    find_directive,
    format_value,
    with_value,
)
from l2tpns_core.config.errors import ConfigError, OtherReleaseError, Problem, shown
from l2tpns_core.config.other_releases import OTHER_COMMANDS, OTHER_DIRECTIVES
from l2tpns_core.config.quoting import quote, split_words
from l2tpns_core.config.router_section import RouterReader, RouterStatement, is_router

MAX_FILE_BYTES: Final = 1 << 20
MAX_LINE_BYTES: Final = 4096
MAX_PROBLEMS: Final = 500
"""Problems reported of one file; more are only counted."""
MAX_PLUGIN_NAME_CHARS: Final = 64

STATEMENTS: Final = ("set", "load plugin", "remove plugin", "router bgp", "neighbour")
SILENT_COMMANDS: Final = frozenset(("enable", "configure", "exit", "end", "quit"))
"""Commands of a pasted session that change nothing here."""


@dataclass(slots=True, frozen=True)
class SetStatement:
    line: int
    name: str
    text: str = field(repr=False)


@dataclass(slots=True, frozen=True)
class LoadPlugin:
    line: int
    name: str


@dataclass(slots=True, frozen=True)
class RemovePlugin:
    line: int
    name: str


Statement = SetStatement | LoadPlugin | RemovePlugin | AccessListStatement | RouterStatement


@dataclass(slots=True)
class LoadResult:
    """What a startup-config comes to. A directive that it does not set has its default."""

    config: Config = field(default_factory=Config)
    plugins: list[str] = field(default_factory=list)
    """In load order, without those that a later line removes."""
    access_lists: dict[str, ListText] = field(default_factory=dict)
    broken_lists: frozenset[str] = frozenset()
    """Access lists with a line that cannot be used."""
    problems: list[Problem] = field(default_factory=list)
    broken: frozenset[str] = frozenset()
    """Directives with a line that cannot be used."""
    broken_plugins: bool = False
    """Whether a line about a plugin cannot be used: `plugins` may lack what it means."""
    readable: bool = True
    """False when there was no file to read; `config` is all defaults then."""
    digest: bytes = b""
    """Of the text, as digest_of() says."""


def load(path: str | Path) -> LoadResult:
    """Read a startup-config. A file that cannot be read is a problem, not an exception."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        problem = Problem(str(path), 0, f"cannot be read: {error.strerror or error}")
        return LoadResult(problems=[problem], readable=False)
    result = parse(data, str(path))
    result.digest = digest_of(data)
    return result


def digest_of(data: bytes | None) -> bytes:
    """By which one text of the file is told from another; empty when there is no file."""
    return b"" if data is None else hashlib.sha256(data).digest()


def parse(data: bytes, file: str) -> LoadResult:
    """Evaluate the text of a startup-config; `file` is its name in problems. Never raises."""
    statements, problems = parse_statements(data, file)
    result = LoadResult(problems=problems)
    reader, router = AccessListReader(), RouterReader()
    for statement in statements:
        try:
            if isinstance(statement, AccessListStatement):
                reader.read(statement)
                continue
            reader.leave()
            if isinstance(statement, RouterStatement):
                for name, text in router.read(statement):
                    result.config = with_value(result.config, name, text)
                continue
            _apply(statement, result, file)
        except ConfigError as error:
            problems.append(Problem.of(error, file, statement.line))
    result.access_lists, result.broken_lists = reader.lists, frozenset(reader.broken)
    result.broken = frozenset(_broken_directives(data, problems))
    result.broken_plugins = any(
        words[:1] in (["load"], ["remove"]) for words in _broken_lines(data, problems)
    )
    problems.sort(key=lambda problem: problem.line or MAX_FILE_BYTES)
    if len(problems) > MAX_PROBLEMS:
        more = Problem(file, 0, f"{len(problems) - MAX_PROBLEMS} more lines cannot be used")
        problems[MAX_PROBLEMS:] = [more]
    return result


def parse_statements(data: bytes, file: str) -> tuple[list[Statement], list[Problem]]:
    """Split a startup-config into its statements, not yet looking at names and values."""
    statements: list[Statement] = []
    problems: list[Problem] = []
    if len(data) > MAX_FILE_BYTES:
        data = data[: data.rfind(b"\n", 0, MAX_FILE_BYTES) + 1]
        problems.append(Problem(file, 0, f"only the first {MAX_FILE_BYTES} bytes are read"))
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            statement = parse_line(line, number)
        except ConfigError as error:
            problems.append(Problem.of(error, file, number))
        else:
            if statement is not None:
                statements.append(statement)
    return statements, problems


def parse_line(line: bytes, number: int = 1) -> Statement | None:
    """The statement of a line, or None for an empty line, a comment, or a command without effect.

    Raises ConfigError, whose text does not repeat what may be a secret.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ConfigError(f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        raise ConfigError("the line is not UTF-8 text") from None
    if not text or text[0] in "#!":
        return None
    words = split_words(text, comments=True)
    command = words[0].lower() if words else ""
    if command == "set":
        return _set_statement(words, number)
    if command in ("load", "remove") and len(words) > 1 and words[1].lower() == "plugin":
        name = _plugin_name(words)
        return LoadPlugin(number, name) if command == "load" else RemovePlugin(number, name)
    if is_access_list(words):
        return AccessListStatement(number, tuple(words))
    if is_router(words):
        return RouterStatement(number, tuple(words))
    if command in SILENT_COMMANDS:
        return None
    if command in OTHER_COMMANDS:
        raise OtherReleaseError(shown(command), "the line is skipped", OTHER_COMMANDS[command])
    nearest = difflib.get_close_matches(command[:64], STATEMENTS, n=1)
    raise ConfigError(
        f"Unknown command {shown(command)}",
        value=command,
        expected=" or ".join(STATEMENTS),
        nearest=nearest[0] if nearest else "",
    )


def render(config: Config, plugins: Iterable[str] = (), *, only_changed: bool = False) -> str:
    """The text of `show running-config`: load() makes the same configuration of it.

    Secrets are in it in clear. `only_changed` leaves out what has its default.
    """
    lines = running_config(config, plugins, only_changed=only_changed)
    return "".join(f"{line}\n" for line in lines)


def running_config(
    config: Config,
    plugins: Iterable[str] = (),
    *,
    access_lists: Iterable[str] = (),
    only_changed: bool = False,
) -> Iterator[str]:
    """The lines of render(); `access_lists` are the lines of their sections."""
    yield "# Current configuration:"
    for name, entry in DIRECTIVES.items():
        value = getattr(config, name)
        if not only_changed or value != entry.default:
            yield f"set {name} {format_value(entry, value)}"
    yield "# Plugins"
    for plugin in plugins:
        yield f"load plugin {quote(plugin)}"
    for number, line in enumerate(access_lists):
        if not number:
            yield "# Filters"
        yield line
    yield "# end"


def _broken_directives(data: bytes, problems: Iterable[Problem]) -> Iterator[str]:
    """The directives that the lines with problems were meant to set."""
    for words in _broken_lines(data, problems):
        if len(words) > 1 and words[0] == "set" and words[1] in DIRECTIVES:
            yield words[1]


def _broken_lines(data: bytes, problems: Iterable[Problem]) -> Iterator[list[str]]:
    """The lines that cannot be used: the command, the next word, and the rest."""
    lines = data.split(b"\n")
    for problem in problems:
        if not problem.line or problem.harmless:
            continue
        words = lines[problem.line - 1][:MAX_LINE_BYTES].decode(errors="replace").split(maxsplit=2)
        yield [word.lower() if place == 0 else word for place, word in enumerate(words)]


def _set_statement(words: list[str], number: int) -> SetStatement:
    if len(words) < 3:
        raise ConfigError("Specify variable and value")
    if len(words) > 3:
        raise ConfigError(f"{shown(words[1])}: a value that contains blanks must be quoted")
    return SetStatement(number, words[1], words[2])


def _plugin_name(words: list[str]) -> str:
    if len(words) != 3 or not words[2]:
        raise ConfigError(f"Specify a plugin to {words[0].lower()}")
    name = words[2]
    if len(name) > MAX_PLUGIN_NAME_CHARS or not name.isprintable():
        raise ConfigError(
            f"{shown(name)} is not a plugin",
            value=name,
            expected=f"a name of at most {MAX_PLUGIN_NAME_CHARS} characters",
        )
    return name


def _apply(
    statement: SetStatement | LoadPlugin | RemovePlugin, result: LoadResult, file: str
) -> None:
    if isinstance(statement, LoadPlugin):
        if statement.name not in result.plugins:
            result.plugins.append(statement.name)
        return
    if isinstance(statement, RemovePlugin):
        if statement.name not in result.plugins:
            raise ConfigError("Plugin is not loaded", value=statement.name)
        result.plugins.remove(statement.name)
        return
    if statement.name in OTHER_DIRECTIVES:
        why = OTHER_DIRECTIVES[statement.name]
        raise OtherReleaseError(shown(statement.name), "skipped", why)
    result.config = with_value(result.config, statement.name, statement.text)
    entry = find_directive(statement.name)
    if not entry.acts and getattr(result.config, entry.name) != entry.default:
        text = f"{entry.name} has no effect in this release"
        result.problems.append(Problem(file, statement.line, text, harmless=True))
