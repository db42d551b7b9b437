"""The tree of command words: what a line means, how it may go on, and what `?` says.

Commands are declared with their words and arguments (see CommandSet) and merged into one tree. Any
word may be shortened as long as only one word of the tree fits; upper and lower case are the same.
Nothing here knows what a command does.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.words import split_last
from l2tpns_core.config.errors import shown

if TYPE_CHECKING:
    from l2tpns_core.cli.answer import Answer
    from l2tpns_core.cli.context import CommandContext

MAX_CHOICES: Final = 200
"""Words that a completion offers at most."""
END_OF_LINE: Final = "<cr>"
FILTER_MARK: Final = "|"
FILTERS: Final = (
    ("begin", "Begin with the first line that has a text"),
    ("count", "Count the lines"),
    ("exclude", "Leave out lines that have a text"),
    ("grep", "Like include; -i takes any case, -v excludes"),
    ("include", "Only lines that have a text"),
)
"""What may follow a FILTER_MARK; cli.filters carries them out."""


class Mode(enum.Enum):
    """Where the operator is; the value is what the prompt shows in brackets."""

    EXEC = ""
    CONFIG = "config"
    STANDARD_LIST = "config-std-nacl"
    EXTENDED_LIST = "config-ext-nacl"


@dataclass(slots=True, frozen=True)
class Access:
    """What the operator may use now."""

    mode: Mode = Mode.EXEC
    privileged: bool = True
    section: str = ""
    """What the mode is about: the name of the access list."""


class Choice(NamedTuple):
    """A word that may come next."""

    word: str
    help: str


LiveValues = Callable[["CommandContext", str], Iterable[Choice]]
"""The values of this moment that begin with a text."""
Values = Callable[[Sequence[str]], Iterable[Choice]]
"""The values that an argument can have, given the arguments before it."""


@dataclass(slots=True, frozen=True)
class Argument:
    """A place for a value after the words of a command."""

    name: str
    help: str
    optional: bool = False
    repeated: bool = False
    """Takes all words that are left; only as the last argument."""
    missing: str = "Incomplete command"
    """What is said when it is not there."""
    choices: tuple[str, ...] = ()
    """The only words that are taken, when there are any; may be shortened."""
    values: Values | None = None
    """Words to offer; others are taken too."""
    live: LiveValues | None = None
    """More words that Tab offers; not listed by `?`, because there may be very many."""

    @property
    def placeholder(self) -> str:
        return f"<{self.name}>"


@dataclass(slots=True, frozen=True)
class Call:
    """One command line, as its action gets it."""

    context: "CommandContext"
    arguments: list[str]
    access: Access
    grammar: "Grammar"


Action = Callable[[Call], "Answer"]
"""Carries out a command. Raises CommandError."""


@dataclass(slots=True, frozen=True)
class Command:
    """One command: its words, what may follow them, and who may use it where."""

    words: tuple[str, ...]
    help: str
    action: Action
    arguments: tuple[Argument, ...] = ()
    modes: frozenset[Mode] = frozenset((Mode.EXEC,))
    privileged: bool = False
    """Only for operators who are let in to change things."""
    hidden: bool = False
    """Another spelling: works, but is neither listed nor completed, and never makes a shortened
    word ambiguous."""
    whole: bool = False
    """Must be typed out, because it cannot be taken back; never makes a shortened word
    ambiguous."""

    at_master: bool = False
    """Is about sessions, of which the master of a cluster knows: a slave has it carried out
    there."""

    def open_to(self, access: Access) -> bool:
        return access.mode in self.modes and (access.privileged or not self.privileged)


class CommandSet:
    """The commands of one module, in the order in which `help` lists them."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def command(
        self,
        words: str,
        help_text: str,
        *arguments: Argument,
        modes: Iterable[Mode] = (Mode.EXEC,),
        privileged: bool = False,
        hidden: bool = False,
        whole: bool = False,
        at_master: bool = False,
    ) -> Callable[[Action], Action]:
        """Declare the decorated function to be a command."""

        def declare(action: Action) -> Action:
            self.commands.append(
                Command(
                    tuple(words.split()),
                    help_text,
                    action,
                    arguments,
                    frozenset(modes),
                    privileged,
                    hidden,
                    whole,
                    at_master,
                )
            )
            return action

        return declare


@dataclass(slots=True)
class Node:
    """A place in the tree; a command may end here, and other words may follow."""

    children: dict[str, "Node"] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)

    def command_for(self, access: Access) -> Command | None:
        return next((command for command in self.commands if command.open_to(access)), None)

    def is_open_to(self, access: Access, *, hidden: bool = False, whole: bool = True) -> bool:
        """Whether a command begins here; with `hidden`, also one that is not listed; without
        `whole`, only one that may be shortened."""
        command = self.command_for(access)
        if command is not None and (hidden or not command.hidden) and (whole or not command.whole):
            return True
        below = self.children.values()
        return any(child.is_open_to(access, hidden=hidden, whole=whole) for child in below)

    def matching(self, prefix: str, access: Access) -> dict[str, "Node"]:
        """The next words that begin with a prefix; only the word itself when it is complete."""
        prefix = prefix.lower()
        exact = self.children.get(prefix)
        if exact is not None and exact.is_open_to(access, hidden=True):
            return {prefix: exact}
        return {
            word: child
            for word, child in self.children.items()
            if word.startswith(prefix) and child.is_open_to(access, whole=False)
        }

    def must_be_typed(self, word: str, access: Access) -> bool:
        """Whether a next word is only for commands that must be typed out."""
        child = self.children.get(word)
        return child is not None and not child.is_open_to(access, hidden=True, whole=False)

    def summary(self, access: Access) -> str:
        """The help of the command that ends here, or of the only one below."""
        command = self.command_for(access)
        if command is not None:
            return command.help
        below = [child for child in self.children.values() if child.is_open_to(access)]
        return below[0].summary(access) if len(below) == 1 else ""


class Match(NamedTuple):
    """A command and the words for its arguments."""

    command: Command
    arguments: list[str]


class Grammar:
    """All commands in one tree."""

    def __init__(self, sets: Iterable[CommandSet]) -> None:
        """Raises ValueError when two commands cannot be told apart."""
        self._root = Node()
        self._commands: list[Command] = []
        for commands in sets:
            for command in commands.commands:
                self._add(command)

    def commands(self, access: Access) -> Iterator[Command]:
        """What `help` lists."""
        return (
            command for command in self._commands if command.open_to(access) and not command.hidden
        )

    def match(self, words: Sequence[str], access: Access) -> Match:
        """Find the command of a line. Raises CommandError in the words of the original."""
        node, position = self._root, 0
        while position < len(words) and node.children:
            found = node.matching(words[position], access)
            if len(found) != 1:
                if node.command_for(access) is not None:
                    break
                raise _invalid_command(words[: position + 1], found)
            node = next(iter(found.values()))
            position += 1
        command = node.command_for(access)
        if command is None:
            raise CommandError("Incomplete command")
        return Match(command, _bind(command, words[position:]))

    def complete(
        self, line: str, access: Access, context: "CommandContext | None" = None
    ) -> tuple[int, list[Choice]]:
        """The words that the last word of a line may become, and where in the line it begins."""
        words, last = split_last(line)
        choices = [
            choice
            for choice in self._choices(words, access)
            if choice.word.lower().startswith(last.lower()) and not choice.word.startswith("<")
        ]
        if last and len(choices) > 1:
            node, _ = self._walk(words, access)
            choices = [choice for choice in choices if not node.must_be_typed(choice.word, access)]
        if context is not None and FILTER_MARK not in words:
            choices.extend(islice(self._live(words, last, access, context), MAX_CHOICES))
        return len(line) - len(last), choices[:MAX_CHOICES]

    def help(self, line: str, access: Access) -> list[Choice]:
        """What `?` at the end of a line lists: words, placeholders, and <cr> where it may end."""
        words, last = split_last(line)
        return [
            choice
            for choice in self._choices(words, access)
            if choice.word.lower().startswith(last.lower())
            or (choice.word.startswith("<") and choice.word != END_OF_LINE)
        ][:MAX_CHOICES]

    def _choices(self, words: Sequence[str], access: Access) -> Iterator[Choice]:
        if FILTER_MARK not in words:
            return self._next(words, access)
        named = words[-1] != FILTER_MARK
        return iter(()) if named else (Choice(*one) for one in FILTERS)

    def _live(
        self, words: Sequence[str], last: str, access: Access, context: "CommandContext"
    ) -> Iterable[Choice]:
        node, rest = self._walk(words, access)
        command = node.command_for(access)
        argument = _argument_at(command, len(rest)) if command is not None else None
        return argument.live(context, last) if argument is not None and argument.live else ()

    def _walk(self, words: Sequence[str], access: Access) -> tuple[Node, Sequence[str]]:
        """The place in the tree that words lead to, and those that lead no further."""
        node, position = self._root, 0
        while position < len(words):
            found = node.matching(words[position], access)
            if len(found) != 1:
                break
            node = next(iter(found.values()))
            position += 1
        return node, words[position:]

    def _next(self, words: Sequence[str], access: Access) -> Iterator[Choice]:
        """What may follow after complete (or shortened) words."""
        node, rest = self._walk(words, access)
        if not rest:
            for word, child in node.children.items():
                if child.is_open_to(access):
                    yield Choice(word, child.summary(access))
        command = node.command_for(access)
        if command is not None:
            yield from _next_argument(command, rest)

    def _add(self, command: Command) -> None:
        node = self._root
        for word in command.words:
            node = node.children.setdefault(word, Node())
        for other in node.commands:
            if other.modes & command.modes:
                raise ValueError(f"two commands are called {' '.join(command.words)!r}")
        node.commands.append(command)
        self._commands.append(command)


def _bind(command: Command, words: Sequence[str]) -> list[str]:
    """Check the words for the arguments of a command, and write shortened choices out."""
    bound = list(words)
    for index, argument in enumerate(command.arguments):
        if index >= len(bound):
            if not argument.optional:
                raise CommandError(argument.missing)
            break
        if argument.choices:
            bound[index] = _choose(argument, bound[index])
    repeats = bool(command.arguments) and command.arguments[-1].repeated
    if len(bound) > len(command.arguments) and not repeats:
        raise CommandError(f"Invalid argument {shown(bound[len(command.arguments)])}")
    return bound


def _choose(argument: Argument, word: str) -> str:
    found = [choice for choice in argument.choices if choice.startswith(word.lower())]
    if word.lower() in found:
        return word.lower()
    if len(found) != 1:
        raise CommandError(f"Invalid argument {shown(word)}")
    return found[0]


def _argument_at(command: Command, position: int) -> Argument | None:
    """The argument that a word at a position is for."""
    arguments = command.arguments
    if position < len(arguments):
        return arguments[position]
    return arguments[-1] if arguments and arguments[-1].repeated else None


def _next_argument(command: Command, given: Sequence[str]) -> Iterator[Choice]:
    argument = _argument_at(command, len(given))
    if argument is None:
        if len(given) == len(command.arguments):
            yield Choice(END_OF_LINE, "")
        return
    may_end = argument.optional or len(given) >= len(command.arguments)
    if argument.choices:
        for word in argument.choices:
            yield Choice(word, argument.help)
    elif argument.values is not None:
        yield from argument.values(given)
    else:
        yield Choice(argument.placeholder, argument.help)
    if may_end:
        yield Choice(END_OF_LINE, "")


def _invalid_command(words: Sequence[str], candidates: Iterable[str]) -> CommandError:
    text = f"Invalid command {shown(' '.join(words))}"
    several = ", ".join(candidates)
    return CommandError(f"{text} (could be {several})" if several else text)
