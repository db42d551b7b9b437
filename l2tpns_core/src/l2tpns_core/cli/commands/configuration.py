"""Commands about the configuration (manual, "configure terminal", "show running-config")."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from l2tpns_core.cli.answer import Answer, Deferred, Message, ModeChange, Report
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, Choice, CommandSet, Mode
from l2tpns_core.config.directive import Kind, expectation
from l2tpns_core.config.directives import DIRECTIVES
from l2tpns_core.config.errors import ConfigError
from l2tpns_core.config.startup_config import running_config

COMMANDS = CommandSet()
SPECIFY = "Specify variable and value"


def _names(given: Sequence[str]) -> Iterator[Choice]:
    for name, entry in DIRECTIVES.items():
        yield Choice(name, entry.help)


def _values(given: Sequence[str]) -> Iterator[Choice]:
    entry = DIRECTIVES.get(given[0])
    if entry is None:
        return
    words = entry.choices or (("yes", "no") if entry.kind is Kind.BOOLEAN else ())
    for word in words or ("<value>",):
        yield Choice(word, f"{entry.help} ({expectation(entry)})")


@COMMANDS.command(
    "show running-config", "Show the currently running configuration", privileged=True
)
def show_running_config(call: Call) -> Answer:
    return _running_config(call)


@COMMANDS.command("write terminal", "Show the running config", privileged=True)
def write_terminal(call: Call) -> Answer:
    return _running_config(call)


@COMMANDS.command(
    "write memory",
    "Save the running config: what differs from the defaults, into the startup-config",
    Argument(
        "force",
        "Also over changes that somebody made in the file and nobody loaded",
        optional=True,
        choices=("force",),
    ),
    privileged=True,
)
def write_memory(call: Call) -> Answer:
    save = call.context.saving(force=bool(call.arguments))

    def work() -> list[str]:
        try:
            return [save()]
        except ConfigError as error:
            raise CommandError(str(error)) from None

    return Deferred(work)


@COMMANDS.command("configure terminal", "Configure from the terminal", privileged=True)
def configure(call: Call) -> Answer:
    return ModeChange(Mode.CONFIG)


@COMMANDS.command(
    "set",
    "Set a configuration variable",
    Argument("name", "Name of a directive", missing=SPECIFY, values=_names),
    Argument("value", "Its new value", missing=SPECIFY, values=_values),
    modes=(Mode.CONFIG,),
    privileged=True,
)
def set_directive(call: Call) -> Answer:
    name, text = call.arguments
    try:
        return Message([call.context.set_directive(name, text)])
    except ConfigError as error:
        raise CommandError(str(error)) from None


def _running_config(call: Call) -> Answer:
    config, plugins = call.context.config, list(call.context.plugin_names())
    access_lists = list(call.context.access_lists.lines())

    def data() -> dict[str, object]:
        values = {name: getattr(config, name) for name in DIRECTIVES}
        return {
            "directives": {
                name: str(value) if isinstance(value, IPv4Address) else value
                for name, value in values.items()
            },
            "plugins": plugins,
            "access_lists": access_lists,
        }

    return Report(lambda: running_config(config, plugins, access_lists=access_lists), data)
