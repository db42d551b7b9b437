"""Commands about access lists: what they say, and whose packets they let pass."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from l2tpns_core.access_lists.lists import AccessList
from l2tpns_core.access_lists.offers import next_words
from l2tpns_core.access_lists.parse import parse_name, parse_rule
from l2tpns_core.access_lists.rules import AccessListError, Kind
from l2tpns_core.cli.answer import Answer, Listing, Message, ModeChange
from l2tpns_core.cli.commands.targets import USER_HELP, name_of, sessions_meant
from l2tpns_core.cli.context import CommandContext
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, Choice, CommandSet, Mode
from l2tpns_core.observe.text import printable

COMMANDS = CommandSet()
MODE_OF = {Kind.STANDARD: Mode.STANDARD_LIST, Kind.EXTENDED: Mode.EXTENDED_LIST}
WHAT = {
    Kind.STANDARD: "whose rules look at the source address",
    Kind.EXTENDED: "whose rules look at both addresses, protocol, ports and flags",
}
DIRECTIONS = {"in": "What the subscriber sends", "out": "What the subscriber receives"}
INVALID = "Invalid filter specification"
SPECIFY_NAME = "Specify a filter name"
NAME_HELP = "Name of an access list"


def _filter_words(given: Sequence[str]) -> Iterator[Choice]:
    """What may follow the user: a direction before each list."""
    words = [word.lower() for word in given[1:]]
    if len(words) % 2:
        yield Choice("<name>", NAME_HELP)
        return
    for direction, text in DIRECTIONS.items():
        if direction not in words[::2]:
            yield Choice(direction, text)


@COMMANDS.command(
    "show access-list",
    "Show named access-list",
    Argument("name", NAME_HELP, repeated=True, missing=SPECIFY_NAME),
)
def show_access_list(call: Call) -> Answer:
    lists = call.context.access_lists
    chosen = [_find(call.context, name) for name in call.arguments]
    return Listing(
        rows=chosen,
        line=lambda shown: _lines(shown, lists.hits(shown)),
        data=lambda shown: _data(shown, lists.hits(shown)),
    )


@COMMANDS.command(
    "filter",
    "Add filtering to a session (in NAME, out NAME)",
    Argument("user", USER_HELP, missing="Specify a user and filters"),
    Argument("filter", "in NAME, out NAME", repeated=True, missing=INVALID, values=_filter_words),
    privileged=True,
    at_master=True,
)
def add_filter(call: Call) -> Answer:
    user, *words = call.arguments
    wanted = _wanted(call.context, words)
    sessions = sessions_meant(call.context.lns, user)
    for session in sessions:
        if "in" in wanted and session.filter_in:
            raise CommandError("Input already filtered")
        if "out" in wanted and session.filter_out:
            raise CommandError("Output already filtered")
    for session in sessions:
        filter_in = wanted.get("in", session.filter_in)
        call.context.lns.filter(session, filter_in, wanted.get("out", session.filter_out))
    return Message([f"Filtering user {name_of(sessions, user)}"])


@COMMANDS.command(
    "no filter",
    "Remove filtering from a session (in, out, or both when neither is named)",
    Argument("user", USER_HELP, missing="Specify a user to remove filters from"),
    Argument("direction", "Only this direction", optional=True, choices=tuple(DIRECTIONS)),
    privileged=True,
    at_master=True,
)
def remove_filter(call: Call) -> Answer:
    user, *directions = call.arguments
    sessions = sessions_meant(call.context.lns, user)
    name = name_of(sessions, user)
    directions = directions or list(DIRECTIONS)
    changes = [
        (session, keep_in, keep_out)
        for session in sessions
        for keep_in in ["" if "in" in directions else session.filter_in]
        for keep_out in ["" if "out" in directions else session.filter_out]
        if (keep_in, keep_out) != (session.filter_in, session.filter_out)
    ]
    if not changes:
        raise CommandError(f"User {name} not filtered")
    for session, keep_in, keep_out in changes:
        call.context.lns.filter(session, keep_in, keep_out)
    return Message([f"Removing filters from user {name}"])


def _enter(call: Call, kind: Kind) -> Answer:
    try:
        made = call.context.access_lists.define(kind, parse_name(call.arguments[0]))
    except AccessListError as error:
        raise CommandError(str(error)) from None
    return ModeChange(MODE_OF[kind], made.name)


def _remove(call: Call, kind: Kind) -> Answer:
    name = call.arguments[0]
    try:
        call.context.access_lists.remove(kind, name)
    except AccessListError as error:
        raise CommandError(str(error)) from None
    return ModeChange(Mode.CONFIG) if name == call.access.section else Message()


def _declare_definitions() -> None:
    """The commands that begin and remove a list, for each kind."""
    name = Argument("name", NAME_HELP, missing=SPECIFY_NAME)
    modes = (Mode.CONFIG, *MODE_OF.values())
    for kind, what in WHAT.items():
        for words, text, action in (
            ("ip access-list", "Add an access list", _enter),
            ("no ip access-list", "Remove an access list", _remove),
        ):
            COMMANDS.command(
                f"{words} {kind.value}", f"{text} {what}", name, modes=modes, privileged=True
            )(partial(action, kind=kind))


_declare_definitions()


def _add_rule(call: Call, kind: Kind, action: str) -> Answer:
    try:
        rule = parse_rule(kind, [action, *call.arguments])
        call.context.access_lists.add_rule(kind, parse_name(call.access.section), rule)
    except AccessListError as error:
        raise CommandError(str(error)) from None
    return Message()


def _rule_words(kind: Kind, given: Sequence[str]) -> Iterator[Choice]:
    return (Choice(*offer) for offer in next_words(kind, given))


def _declare_rules() -> None:
    """permit and deny, for each kind of list."""
    for kind, mode in MODE_OF.items():
        rule = Argument(
            "rule", "What packets have", repeated=True, values=partial(_rule_words, kind)
        )
        for action, text in (("permit", "Let packets pass"), ("deny", "Drop packets")):
            COMMANDS.command(action, f"{text} that match", rule, modes=(mode,), privileged=True)(
                partial(_add_rule, kind=kind, action=action)
            )


_declare_rules()


def _find(context: CommandContext, name: str) -> AccessList:
    found = context.access_lists.get(name)
    if found is None:
        raise CommandError(f"Access-list {printable(name)} not defined")
    return found


def _wanted(context: CommandContext, words: Sequence[str]) -> dict[str, str]:
    """The list for each direction that is named. Raises CommandError."""
    wanted: dict[str, str] = {}
    if len(words) % 2:
        raise CommandError(INVALID)
    for direction, name in zip(words[::2], words[1::2], strict=True):
        if direction.lower() not in DIRECTIONS or direction.lower() in wanted:
            raise CommandError(INVALID)
        wanted[direction.lower()] = _find(context, name).name
    return wanted


def _lines(shown: AccessList, hits: Sequence[int]) -> Iterator[str]:
    yield f"{shown.kind.value.capitalize()} IP access list {shown.name}"
    for rule, count in zip(shown.rules, hits, strict=True):
        matches = f" ({count} match{'' if count == 1 else 'es'})" if count else ""
        yield f" {rule}{matches}"


def _data(shown: AccessList, hits: Sequence[int]) -> Mapping[str, object]:
    return {
        "name": shown.name,
        "type": shown.kind.value,
        "rules": [
            {"rule": str(rule), "matches": count}
            for rule, count in zip(shown.rules, hits, strict=True)
        ],
    }
