"""Properties of the tree of words: shortening, completion, `?`, filters, errors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2tpns_core.cli.answer import Answer, Message
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import (
    FILTERS,
    Access,
    Argument,
    Call,
    Choice,
    CommandSet,
    Grammar,
    Mode,
)
from l2tpns_core.cli.words import MAX_LINE_CHARS, MAX_WORDS, split_line
from l2tpns_core.config.directives import DIRECTIVES
from unit.cli.fakes import GRAMMAR, four_sessions

ACCESSES = [Access(mode, privileged) for mode in Mode for privileged in (True, False)]
EXEC, CONFIG = Access(Mode.EXEC), Access(Mode.CONFIG)


TYPED_OUT = {"shutdown", "reload"}


def words_of(choices: list[Choice]) -> list[str]:
    return [choice.word for choice in choices]


@pytest.mark.parametrize("access", ACCESSES)
def test_every_listed_command_is_found_by_its_words(access: Access) -> None:
    for command in GRAMMAR.commands(access):
        words = [*command.words, *("1" for argument in command.arguments if not argument.optional)]
        assert GRAMMAR.match(words, access).command is command


@pytest.mark.parametrize("access", ACCESSES)
def test_any_prefix_that_fits_one_word_is_that_word(access: Access) -> None:
    for command in GRAMMAR.commands(access):
        levels = [
            {
                other.words[depth]
                for other in GRAMMAR.commands(access)
                if len(other.words) > depth and other.words[:depth] == command.words[:depth]
            }
            for depth in range(len(command.words))
        ]
        needed = ["1" for argument in command.arguments if not argument.optional]
        for shortened in shortenings(command.words, levels):
            assert GRAMMAR.match([*shortened, *needed], access).command is command, shortened


def shortenings(words: tuple[str, ...], levels: list[set[str]]) -> list[list[str]]:
    result: list[list[str]] = [[]]
    for word, others in zip(words, levels, strict=True):
        clear = [
            word[:length]
            for length in range(1, len(word) + 1)
            if word not in TYPED_OUT
            and sum(other.startswith(word[:length]) for other in others) == 1
        ]
        result = [[*before, prefix.upper()] for before in result for prefix in (clear or [word])]
    return result


def test_shortened_word_that_fits_several_names_them() -> None:
    with pytest.raises(CommandError, match=r'^Invalid command "show r" \(could be .*radius'):
        GRAMMAR.match(["show", "r"], EXEC)


def test_what_cannot_be_taken_back_is_typed_out_and_makes_nothing_ambiguous() -> None:
    for word in TYPED_OUT:
        assert GRAMMAR.match([word.upper()], EXEC).command.whole
        for length in range(1, len(word)):
            assert "shutdown" not in str(refusal([word[:length]], EXEC))
            with pytest.raises(CommandError):
                GRAMMAR.match([word[:length]], EXEC)
    assert GRAMMAR.match(["sh", "ver"], EXEC).command.words == ("show", "version")


def test_every_command_that_configures_is_for_the_privileged() -> None:
    harmless = {"help", "quit", "logout", "exit", "end", "enable", "history"}
    viewer = Access(Mode.CONFIG, privileged=False)
    assert {" ".join(command.words) for command in GRAMMAR.commands(viewer)} == harmless


def test_tab_knows_the_users_sessions_and_tunnels_of_this_moment() -> None:
    context = four_sessions()
    context.lns.add(3, 5, "bad \x1b name")
    context.lns.add(3, 6, "it's")
    for line, expected in (
        ("show session ", ["1", "2", "3", "4", "5", "6"]),
        ("show session 3/", ["3/3", "3/4", "3/5", "3/6"]),
        ("drop session 2", ["2"]),
        ("show user AL", ["alice"]),
        ("drop user ", ["u1", "alice", "carol", "frank"]),
        ("drop user u1 c", ["carol"]),
        ("snoop f", ["frank"]),
        ("no thr ca", ["carol"]),
        ("show tunnel ", ["2", "3"]),
        ("snoop alice ", []),
        ("show version ", []),
        ("show session | ", [name for name, _ in FILTERS]),
    ):
        assert words_of(GRAMMAR.complete(line, EXEC, context)[1]) == expected, line
    viewer = Access(privileged=False)
    assert GRAMMAR.complete("drop user ", viewer, context)[1] == []
    assert words_of(GRAMMAR.help("show users ", EXEC)) == ["<user>", "<cr>"]


def test_other_spelling_works_but_makes_nothing_ambiguous() -> None:
    assert GRAMMAR.match(["show", "sessions"], EXEC).command.hidden
    assert not GRAMMAR.match(["show", "sess"], EXEC).command.hidden


def test_privileged_commands_do_not_exist_for_others() -> None:
    low = Access(Mode.EXEC, privileged=False)
    for words in (["show", "running-config"], ["drop", "user", "x"], ["configure", "terminal"]):
        with pytest.raises(CommandError, match=f'^Invalid command "{words[0]}'):
            GRAMMAR.match(words, low)
    assert not any(command.privileged for command in GRAMMAR.commands(low))
    assert words_of(GRAMMAR.complete("dro", low)[1]) == []


@pytest.mark.parametrize(
    ("line", "access", "words"),
    [
        (
            "",
            EXEC,
            ["help", "quit", "logout", "exit", "enable", "disable", "history", "terminal", "debug"],
        ),
        ("sh", EXEC, ["show"]),
        ("shu", EXEC, ["shutdown"]),
        ("show se", EXEC, ["session"]),
        ("show h", EXEC, ["histogram"]),
        ("no debug c", EXEC, ["critical", "calls"]),
        ("sh poo", EXEC, ["pool"]),
        ("show pool ", EXEC, ["all"]),
        ("show version ", EXEC, []),
        ("nonsense ", EXEC, []),
        ("set l2tp_se", CONFIG, ["l2tp_secret"]),
        ("set radius_accounting ", CONFIG, ["yes", "no"]),
        ("set dataplane e", CONFIG, ["ebpf"]),
        ("set debug ", CONFIG, []),
        ("set nosuch ", CONFIG, []),
        ("show session | ", EXEC, [name for name, _ in FILTERS]),
        ("show session | in", EXEC, ["include"]),
        ("show session | include al", EXEC, []),
        ('set hostname "a b', CONFIG, []),
    ],
)
def test_completion(line: str, access: Access, words: list[str]) -> None:
    start, choices = GRAMMAR.complete(line, access)
    found = words_of(choices)
    assert found[: len(words)] == words if not line else found == words
    assert all(word.startswith(line[start:]) for word in found)


def test_help_names_placeholders_and_the_end_of_the_line() -> None:
    assert words_of(GRAMMAR.help("show session ", EXEC)) == ["<ID>", "<cr>"]
    assert words_of(GRAMMAR.help("show session 5 ", EXEC)) == ["<ID>", "<cr>"]
    assert words_of(GRAMMAR.help("drop session ", EXEC)) == ["<ID>"]
    assert words_of(GRAMMAR.help("show version ", EXEC)) == ["<cr>"]
    assert words_of(GRAMMAR.help("set debug ", CONFIG)) == ["<value>"]
    assert words_of(GRAMMAR.help("set debug 3 ", CONFIG)) == ["<cr>"]
    assert words_of(GRAMMAR.help("set ", CONFIG)) == list(DIRECTIVES)


def test_help_of_a_value_says_what_is_expected() -> None:
    (choice,) = GRAMMAR.help("set l2tp_mtu ", CONFIG)
    assert "an integer from 576 to 2600 (bytes)" in choice.help


def test_two_commands_of_one_name_are_refused() -> None:
    commands = CommandSet()
    for _ in range(2):
        commands.command("show it", "")(nothing)
    with pytest.raises(ValueError, match="show it"):
        Grammar([commands])


def test_one_name_may_mean_different_things_in_different_modes() -> None:
    commands = CommandSet()
    commands.command("go", "here", modes=(Mode.EXEC,))(nothing)
    commands.command("go", "there", modes=(Mode.CONFIG,))(nothing)
    grammar = Grammar([commands])
    assert grammar.match(["go"], EXEC).command.help == "here"
    assert grammar.match(["go"], CONFIG).command.help == "there"


def test_choices_may_be_shortened_and_nothing_else_is_taken() -> None:
    commands = CommandSet()
    commands.command("go", "", Argument("way", "", choices=("left", "leftish", "right")))(nothing)
    grammar = Grammar([commands])
    assert grammar.match(["go", "R"], EXEC).arguments == ["right"]
    assert grammar.match(["go", "left"], EXEC).arguments == ["left"]
    for word in ("l", "up"):
        with pytest.raises(CommandError, match="Invalid argument"):
            grammar.match(["go", word], EXEC)


def nothing(call: Call) -> Answer:
    return Message()


def test_quotes_keep_bars_and_blanks_together() -> None:
    assert split_line("set hostname 'a | b' | include \"x | y\"") == (
        ["set", "hostname", "a | b"],
        [["include", "x | y"]],
    )


def test_lines_are_bounded() -> None:
    with pytest.raises(CommandError, match="longer than"):
        split_line("x" * (MAX_LINE_CHARS + 1))
    with pytest.raises(CommandError, match="words"):
        split_line("x " * (MAX_WORDS + 1))
    with pytest.raises(CommandError, match="not closed"):
        split_line('show "x')


pieces = st.sampled_from(
    ["show", "sh", "session", "set", "drop", "|", "include", "count", '"', "'", "?", " ", "5", "\t"]
)
lines = st.one_of(st.text(max_size=60), st.lists(pieces, max_size=12).map(" ".join))


@given(line=lines, access=st.sampled_from(ACCESSES))
def test_any_line_is_answered_or_refused(line: str, access: Access) -> None:
    screen = four_sessions().run(line, access.mode)
    assert all(text.replace("\t", "").isprintable() for text in screen.lines)
    assert screen.error.isprintable() or "\n" in screen.error


@given(line=lines, access=st.sampled_from(ACCESSES))
def test_completion_and_help_take_any_line(line: str, access: Access) -> None:
    start, choices = GRAMMAR.complete(line, access)
    assert 0 <= start <= len(line)
    typed = line[start:].lower()
    assert all(choice.word.lower().startswith(typed) for choice in choices)
    assert all(choice.word for choice in GRAMMAR.help(line, access))


@given(line=lines, access=st.sampled_from(ACCESSES))
def test_what_completion_offers_is_never_refused_as_a_command(line: str, access: Access) -> None:
    start, choices = GRAMMAR.complete(line, access)
    if "|" in line or "'" in line or '"' in line:
        return
    for choice in choices:
        assert "Invalid command" not in refusal((line[:start] + choice.word).split(), access)


def refusal(words: list[str], access: Access) -> str:
    try:
        GRAMMAR.match(words, access)
    except CommandError as error:
        return str(error)
    return ""
