"""Commands of the shell itself: help, and the ways out."""

from collections.abc import Iterator

from l2tpns_core.cli.answer import Answer, ModeChange, Report
from l2tpns_core.cli.grammar import Call, CommandSet, Mode

COMMANDS = CommandSet()
LIST_MODES = (Mode.STANDARD_LIST, Mode.EXTENDED_LIST)
ALL_MODES = (Mode.EXEC, Mode.CONFIG, *LIST_MODES)


@COMMANDS.command("help", "Show available commands", modes=ALL_MODES)
def show_help(call: Call) -> Answer:
    commands = [
        (" ".join(command.words), command.help) for command in call.grammar.commands(call.access)
    ]

    def lines() -> Iterator[str]:
        yield ""
        yield "Commands available:"
        for words, text in commands:
            yield f"  {words:<20} {text}"
        yield ""
        yield "A ? after any word tells what may follow it; words may be shortened."

    return Report(lines, lambda: {"commands": [{"command": w, "help": t} for w, t in commands]})


@COMMANDS.command("quit", "Disconnect", modes=ALL_MODES)
def leave_shell(call: Call) -> Answer:
    return ModeChange(None)


@COMMANDS.command("logout", "Disconnect", modes=ALL_MODES)
def log_out(call: Call) -> Answer:
    return ModeChange(None)


@COMMANDS.command("exit", "Exit from current mode", modes=ALL_MODES)
def leave_mode(call: Call) -> Answer:
    if call.access.mode in LIST_MODES:
        return ModeChange(Mode.CONFIG)
    return ModeChange(Mode.EXEC if call.access.mode is Mode.CONFIG else None)


@COMMANDS.command("end", "Return to the first mode", modes=(Mode.CONFIG, *LIST_MODES))
def leave_configuration(call: Call) -> Answer:
    return ModeChange(Mode.EXEC)
