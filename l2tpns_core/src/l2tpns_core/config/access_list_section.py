"""The sections of a startup-config that define access lists.

    ip access-list extended NAME
     permit tcp any host 192.0.2.1 eq 80
     deny ip any any
    no ip access-list standard NAME

The rules belong to the list that was named last; any other statement ends the section.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from l2tpns_core.access_lists.lists import NOT_DEFINED, ListText
from l2tpns_core.access_lists.parse import ACTIONS, parse_kind, parse_name, parse_rule
from l2tpns_core.access_lists.rules import MAX_LISTS, AccessListError, Kind
from l2tpns_core.config.errors import ConfigError

ACCESS_LIST: Final = "access-list"


@dataclass(slots=True, frozen=True)
class AccessListStatement:
    """A line of such a section, in words."""

    line: int
    words: tuple[str, ...]


def is_access_list(words: Sequence[str]) -> bool:
    """Whether a line is about access lists."""
    start = [word.lower() for word in words[:3]]
    return (
        start[:1] in ([word] for word in ACTIONS)
        or start[:2] == ["ip", ACCESS_LIST]
        or start == ["no", "ip", ACCESS_LIST]
    )


def list_named(statement: AccessListStatement) -> str | None:
    """The list that a line begins or removes; empty for a rule, None when the line is wrong."""
    words = statement.words
    if words[0].lower() in ACTIONS:
        return ""
    try:
        return _target(words[3:] if words[0].lower() == "no" else words[2:])[1]
    except (AccessListError, ConfigError):
        return None


class AccessListReader:
    """Puts the lists of a file together, statement by statement."""

    __slots__ = ("broken", "lists", "name")

    def __init__(self) -> None:
        self.lists: dict[str, ListText] = {}
        self.broken: set[str] = set()
        """Lists with a line that cannot be used."""
        self.name = ""
        """The list that rules go to; empty outside of a section."""

    def leave(self) -> None:
        """A statement about something else has come."""
        self.name = ""

    def read(self, statement: AccessListStatement) -> None:
        """Raises ConfigError."""
        words = statement.words
        try:
            if words[0].lower() in ACTIONS:
                self._add(words)
            elif words[0].lower() == "no":
                self._remove(words[3:])
            else:
                self._enter(words[2:])
        except AccessListError as error:
            if self.name:
                self.broken.add(self.name)
            raise ConfigError(str(error)) from None

    def _enter(self, words: Sequence[str]) -> None:
        self.name = ""
        kind, name = _target(words)
        known = self.lists.get(name)
        if known is not None and known.kind is not kind:
            raise AccessListError(f"Access-list is {known.kind.value}")
        if known is None and len(self.lists) >= MAX_LISTS:
            raise AccessListError(f"There are {MAX_LISTS} access-lists already")
        self.lists.setdefault(name, ListText(kind))
        self.name = name

    def _add(self, words: Sequence[str]) -> None:
        if not self.name:
            raise AccessListError(f"{words[0].lower()} is for an access-list, and none is named")
        text = self.lists[self.name]
        text.add(parse_rule(text.kind, words))

    def _remove(self, words: Sequence[str]) -> None:
        self.name = ""
        kind, name = _target(words)
        known = self.lists.get(name)
        if known is None or known.kind is not kind:
            raise AccessListError(NOT_DEFINED)
        del self.lists[name]


def _target(words: Sequence[str]) -> tuple[Kind, str]:
    kind = parse_kind(words[0] if words else "")
    if len(words) != 2:
        raise AccessListError("Specify a filter name")
    return kind, parse_name(words[1])
