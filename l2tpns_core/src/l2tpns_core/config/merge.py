"""What `write memory` makes of a startup-config: the text that is there, changed as little as it
takes to mean the configuration that runs (manual, "Configuration commands").

Comments, blank lines, the order of lines and lines that cannot be used stay. Only what differs from
the defaults is said; a line that says a default goes, unless a comment stands behind it.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from l2tpns_core.access_lists.lists import ListText
from l2tpns_core.config.access_list_section import (
    AccessListReader,
    AccessListStatement,
    list_named,
)
from l2tpns_core.config.directives import (
    DIRECTIVES,
    Config,
    Value,
    format_value,
    parse_value,
)
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.quoting import comment_at, quote
from l2tpns_core.config.router_section import RouterStatement, said_by
from l2tpns_core.config.startup_config import (
    LoadPlugin,
    RemovePlugin,
    SetStatement,
    Statement,
    parse_line,
)


@dataclass(slots=True, frozen=True)
class Wanted:
    """What the file is to mean."""

    config: Config
    plugins: Sequence[str] = ()
    """In load order."""
    removed_plugins: frozenset[str] = frozenset()
    """What an operator unloaded. A plugin of the file that is neither loaded nor one of these could
    not be loaded: its line stays."""
    access_lists: Mapping[str, ListText] = field(default_factory=dict)


def merged(data: bytes, wanted: Wanted) -> bytes:
    """The new text of a startup-config. Lines that are longer than a line may be, or that are no
    UTF-8 text, stay as they are."""
    text = _Text(data)
    text.write_directives(wanted.config)
    text.write_plugins(wanted.plugins, wanted.removed_plugins)
    text.write_access_lists(wanted.access_lists)
    return text.joined()


class _Text:
    """A startup-config that is being changed."""

    def __init__(self, data: bytes) -> None:
        self._end = b"\r\n" if b"\r\n" in data else b"\n"
        lines = data.replace(b"\r\n", b"\n").split(b"\n") if data else []
        if lines and not lines[-1]:
            lines.pop()
        self._lines: list[list[bytes]] = [[line] for line in lines]
        """What each line of the file has become: no line, itself, another one, or several."""
        self._statements = [_statement(line) for line in lines]
        self._added: list[bytes] = []

    def joined(self) -> bytes:
        lines = [line for place in self._lines for line in place] + self._added
        return b"".join(line + self._end for line in lines)

    # Directives

    def write_directives(self, config: Config) -> None:
        said = self._router_section(config)
        places = self._set_lines()
        last = max((max(numbers) for numbers in places.values()), default=None)
        added = []
        for name, entry in DIRECTIVES.items():
            value = getattr(config, name)
            *others, number = places.get(name, [None])
            for other in others:
                self._drop(other)
            new = f"set {name} {format_value(entry, value)}".encode()
            if number is None:
                if value != entry.default and name not in said:
                    added.append(new)
            elif not self._says(number, value):
                keeps = value != entry.default or self._comment(number)
                self._lines[number] = [self._replaced(number, new)] if keeps else []
            elif value == entry.default and not self._comment(number):
                self._drop(number)
        if last is None:
            self._added += added
        else:
            self._lines[last] += added

    def _router_section(self, config: Config) -> frozenset[str]:
        """The directives that lines of `router bgp` set as they are wanted. Where one of them is
        wanted otherwise, lines that set directives take the place of the section."""
        places = [
            (number, statement)
            for number, statement in enumerate(self._statements)
            if isinstance(statement, RouterStatement)
        ]
        said = said_by(statement for _, statement in places)
        if all(_parsed(name, text) == getattr(config, name) for name, text in said.items()):
            return frozenset(said)
        for number, _ in places:
            self._drop(number)
        return frozenset()

    def _set_lines(self) -> dict[str, list[int]]:
        """The lines that set each directive to something that it can be."""
        places: dict[str, list[int]] = {}
        for number, statement in enumerate(self._statements):
            if isinstance(statement, SetStatement) and _value(statement) is not None:
                places.setdefault(statement.name, []).append(number)
        return places

    def _says(self, number: int, value: Value) -> bool:
        statement = self._statements[number]
        return isinstance(statement, SetStatement) and _value(statement) == value

    # Plugins

    def write_plugins(self, plugins: Sequence[str], removed: frozenset[str]) -> None:
        """Lines of plugins that stay take the loaded plugins in their order."""
        free, absent = [], set[str]()
        for number, name in self._plugin_lines().items():
            if name in plugins:
                free.append(number)
            elif name in removed or name in absent:
                self._drop(number)
            else:
                absent.add(name)
        last = max(free, default=None)
        for number, name in zip(free, plugins, strict=False):
            statement = self._statements[number]
            if not isinstance(statement, LoadPlugin) or statement.name != name:
                self._lines[number] = [_load_line(name)]
        more = [_load_line(name) for name in plugins[len(free) :]]
        if last is None:
            self._added += more
        else:
            self._lines[last] += more

    def _plugin_lines(self) -> dict[int, str]:
        """The lines that load a plugin, without those that another takes back or repeats."""
        lines: dict[str, int] = {}
        for number, statement in enumerate(self._statements):
            if isinstance(statement, LoadPlugin):
                if statement.name in lines:
                    self._drop(number)
                else:
                    lines[statement.name] = number
            elif isinstance(statement, RemovePlugin):
                self._drop(number)
                loaded = lines.pop(statement.name, None)
                if loaded is not None:
                    self._drop(loaded)
        return {number: name for name, number in lines.items()}

    # Access lists

    def write_access_lists(self, wanted: Mapping[str, ListText]) -> None:
        """A section that says what its list says stays; one that does not begins anew where its
        first line is. A list that cannot be read is left alone unless it is in force."""
        owners, found, broken = self._sections()
        left = dict(wanted)
        for name, numbers in owners.items():
            text = left.pop(name, None)
            is_unknown = name in broken and text is None
            is_said = name not in broken and text is not None and text == found.get(name)
            if is_unknown or is_said:
                continue
            for number in numbers:
                self._drop(number)
            self._lines[numbers[0]] = _section(name, text)
        for name, text in left.items():
            self._added += _section(name, text)

    def _sections(self) -> tuple[dict[str, list[int]], dict[str, ListText], frozenset[str]]:
        """The lines of each list, what they come to, and the lists with lines of no use."""
        reader = AccessListReader()
        owners: dict[str, list[int]] = {}
        owner: str | None = None
        for number, statement in enumerate(self._statements):
            if not isinstance(statement, AccessListStatement):
                if statement is not None:
                    reader.leave()
                    owner = None
                continue
            with contextlib.suppress(ConfigError):
                reader.read(statement)
            name = list_named(statement)
            owner = owner if name == "" else name
            if owner is not None:
                owners.setdefault(owner, []).append(number)
            elif name == "":  # a rule of no list, which must not become one of the list before it
                self._lines[number] = [b"#" + line for line in self._lines[number]]
        return owners, reader.lists, frozenset(reader.broken)

    # Lines

    def _drop(self, number: int | None) -> None:
        if number is not None:
            self._lines[number] = []

    def _comment(self, number: int) -> bytes:
        """The comment behind a statement, with the blanks before it."""
        line = self._lines[number][0] if self._lines[number] else b""
        text = line.decode(errors="replace")
        at = comment_at(text)
        return b"" if at is None else text[len(text[:at].rstrip()) :].encode()

    def _replaced(self, number: int, new: bytes) -> bytes:
        line = self._lines[number][0]
        indent = line[: len(line) - len(line.lstrip())]
        return indent + new + self._comment(number)


def _statement(line: bytes) -> Statement | None:
    try:
        return parse_line(line)
    except ConfigError:
        return None


def _value(statement: SetStatement) -> Value | None:
    """What a line sets its directive to; None when it does not set one."""
    return _parsed(statement.name, statement.text)


def _parsed(name: str, text: str) -> Value | None:
    entry = DIRECTIVES.get(name)
    try:
        return None if entry is None else parse_value(entry, text)
    except ConfigError:
        return None


def _load_line(name: str) -> bytes:
    return f"load plugin {quote(name)}".encode()


def _section(name: str, text: ListText | None) -> list[bytes]:
    return [] if text is None else [line.encode() for line in text.lines(name)]
