"""The access lists of a daemon: by name, with what each rule has matched so far."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from l2tpns_core.access_lists.matching import NO_MATCH, Matcher
from l2tpns_core.access_lists.rules import MAX_LISTS, MAX_RULES, AccessListError, Kind, Rule

IN_USE: Final = "Access-list in use"
NOT_DEFINED: Final = "Access-list not defined"


@dataclass(slots=True)
class ListText:
    """A list as it is configured."""

    kind: Kind
    rules: list[Rule] = field(default_factory=list)

    def add(self, rule: Rule) -> None:
        """Append a rule; one that is there already changes nothing. Raises AccessListError."""
        if rule in self.rules:
            return
        if len(self.rules) >= MAX_RULES:
            raise AccessListError(f"An access-list has at most {MAX_RULES} rules")
        self.rules.append(rule)

    def lines(self, name: str) -> Iterator[str]:
        """As in startup-config."""
        yield f"ip access-list {self.kind.value} {name}"
        for rule in self.rules:
            yield f" {rule}"


class AccessList:
    """A list at work. Sessions hold the object: what changes here acts on their next packet."""

    __slots__ = ("_matcher", "hits", "kind", "name", "number", "rules")

    def __init__(self, name: str, kind: Kind, number: int) -> None:
        self.name = name
        self.kind = kind
        self.number = number
        """Its place among the lists; free again when it is removed."""
        self.rules: tuple[Rule, ...] = ()
        self.hits: list[int] = []
        """Packets by rule, without those that the kernel looked at."""
        self._matcher = Matcher(())

    def replace(self, rules: Sequence[Rule]) -> None:
        """Take other rules; those that stay keep their count."""
        counted = dict(zip(self.rules, self.hits, strict=True))
        self.rules = tuple(rules)
        self.hits = [counted.get(rule, 0) for rule in self.rules]
        self._matcher = Matcher(self.rules)

    def passes(self, packet: bytes) -> bool:
        """Whether a packet may pass. What no rule matches may not."""
        matcher = self._matcher
        index = matcher.find(packet)
        if index == NO_MATCH:
            return False
        self.hits[index] += 1
        return matcher.permits[index]

    @property
    def text(self) -> ListText:
        """As it would be configured."""
        return ListText(self.kind, list(self.rules))


def _ignore(changed: AccessList) -> None:
    """There is nobody else who knows the rules."""


def _no_hits(asked: AccessList) -> Sequence[int]:
    return [0] * len(asked.rules)


class AccessLists:
    """All lists of the daemon."""

    def __init__(self) -> None:
        self._lists: dict[str, AccessList] = {}
        self.in_use: Callable[[str], bool] = lambda name: False
        """Whether a session is filtered by a list of that name."""
        self.before_change: Callable[[AccessList], None] = _ignore
        self.on_change: Callable[[AccessList], None] = _ignore
        """Told that a list is about to get, or has got other rules."""
        self.hits_elsewhere: Callable[[AccessList], Sequence[int]] = _no_hits
        """What the rules matched in the kernel."""

    def __iter__(self) -> Iterator[AccessList]:
        return iter(list(self._lists.values()))

    def get(self, name: str) -> AccessList | None:
        return self._lists.get(name)

    def define(self, kind: Kind, name: str) -> AccessList:
        """The list of that name, which is made if it is not there. Raises AccessListError."""
        known = self._lists.get(name)
        if known is not None:
            if known.kind is not kind:
                raise AccessListError(f"Access-list is {known.kind.value}")
            return known
        if len(self._lists) >= MAX_LISTS:
            raise AccessListError(f"There are {MAX_LISTS} access-lists already")
        used = {each.number for each in self._lists.values()}
        number = next(number for number in range(1, MAX_LISTS + 1) if number not in used)
        made = self._lists[name] = AccessList(name, kind, number)
        self._change(made, ())
        return made

    def add_rule(self, kind: Kind, name: str, rule: Rule) -> None:
        """Append a rule to a list. Raises AccessListError."""
        target = self.define(kind, name)
        text = ListText(kind, list(target.rules))
        text.add(rule)
        if len(text.rules) != len(target.rules):
            self._change(target, text.rules)

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a list that filters no session. Raises AccessListError."""
        known = self._lists.get(name)
        if known is None:
            raise AccessListError(NOT_DEFINED)
        if known.kind is not kind:
            raise AccessListError(f"Access-list is {known.kind.value}")
        if self.in_use(name):
            raise AccessListError(IN_USE)
        del self._lists[name]
        self._change(known, ())

    def load(self, texts: Mapping[str, ListText], keep: Iterable[str] = ()) -> list[str]:
        """Have exactly the lists of a configuration, but for those to keep as they are; return
        what was not done."""
        problems = []
        kept = set(keep)
        for name, known in list(self._lists.items()):
            text = texts.get(name)
            if name in kept or (text is not None and text.kind is known.kind):
                continue
            try:
                self.remove(known.kind, name)
            except AccessListError as error:
                problems.append(f"access-list {name} stays as it is: {error}")
                kept.add(name)
        for name, text in texts.items():
            if name in kept and name in self._lists:
                continue
            try:
                target = self.define(text.kind, name)
            except AccessListError as error:
                problems.append(f"access-list {name}: {error}")
                continue
            if target.rules != tuple(text.rules):
                self._change(target, text.rules)
        return problems

    def hits(self, asked: AccessList) -> list[int]:
        """Packets that each rule has matched."""
        elsewhere = self.hits_elsewhere(asked)
        return [here + there for here, there in zip(asked.hits, elsewhere, strict=True)]

    def lines(self) -> Iterator[str]:
        """All lists as in startup-config."""
        for each in self:
            yield from each.text.lines(each.name)

    def _change(self, target: AccessList, rules: Sequence[Rule]) -> None:
        self.before_change(target)
        target.replace(rules)
        self.on_change(target)
