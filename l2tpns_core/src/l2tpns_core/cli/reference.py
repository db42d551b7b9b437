"""The reference page of all commands, as Markdown (docs/reference/commands.md)."""

from collections.abc import Iterator
from typing import Final

from l2tpns_core.cli.commands import build_grammar
from l2tpns_core.cli.grammar import FILTERS, Access, Argument, Command, Mode

INTRODUCTION: Final = """\
# Commands

What [the shell](../shell.md) understands, in `l2tpns-cli` and by telnet. Any word may be shortened
as long as only one word fits (`sh ses`), `?` after any word tells what may follow it, and
`l2tpns-cli -c 'COMMAND' --json` gives the answer of a `show` command to a script.

This page is generated from the commands themselves, in `l2tpns_core/cli/commands/`.
"""
SECTIONS: Final = {
    Mode.EXEC: "Commands",
    Mode.CONFIG: "In configuration mode (after `configure terminal`)",
    Mode.STANDARD_LIST: "In a standard access list (after `ip access-list standard NAME`)",
    Mode.EXTENDED_LIST: "In an extended access list (after `ip access-list extended NAME`)",
}


def commands_page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_body()])


def _body() -> Iterator[str]:
    grammar = build_grammar()
    for mode, heading in SECTIONS.items():
        yield f"## {heading}\n"
        yield "| command | what it does |\n|---|---|"
        for command in sorted(grammar.commands(Access(mode)), key=lambda each: each.words):
            yield f"| `{_usage(command)}` | {command.help} |"
        yield ""
    yield "## Filters\n"
    yield "Any command may be followed by `|` and one of these.\n"
    yield "| filter | what it does |\n|---|---|"
    for word, text in FILTERS:
        yield f"| `{word}` | {text} |"
    yield ""


def _usage(command: Command) -> str:
    return " ".join([*command.words, *map(_placeholder, command.arguments)])


def _placeholder(argument: Argument) -> str:
    name = "|".join(argument.choices) or argument.name.upper()
    name = f"{name}…" if argument.repeated else name
    return f"[{name}]" if argument.optional else name


if __name__ == "__main__":
    print(commands_page(), end="")
