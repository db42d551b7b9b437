"""Commands about plugins (manual, "load plugin", "remove plugin", "show plugins")."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from l2tpns_core.cli.answer import Answer, Message, Report
from l2tpns_core.cli.context import CommandContext
from l2tpns_core.cli.errors import CommandError
from l2tpns_core.cli.grammar import Argument, Call, Choice, CommandSet, Mode
from l2tpns_core.observe.text import printable
from l2tpns_core.plugins.chain import LoadedPlugin
from l2tpns_core.plugins.discovery import AvailablePlugin, PluginError, available
from l2tpns_core.plugins.watch import HookStatistics

COMMANDS = CommandSet()
BACKGROUND = "tasks, timers"
HEADER = (
    f"{'Plugin':<16} {'Version':<10} {'Distribution':<32} {'Calls':>10} {'Time ms':>10} "
    f"{'Mean us':>8} {'Slow':>5} {'Errors':>6}"
)


def _installed(given: Sequence[str]) -> Iterator[Choice]:
    for plugin in available():
        yield Choice(plugin.name, f"{plugin.distribution} {plugin.version}")


@COMMANDS.command(
    "load plugin",
    "Load a plugin that is installed, behind those that are loaded",
    Argument("name", "Name of the plugin", missing="Specify a plugin to load", values=_installed),
    modes=(Mode.CONFIG,),
    privileged=True,
)
def load_plugin(call: Call) -> Answer:
    return _done(call.context.load_plugin, call.arguments[0])


@COMMANDS.command(
    "remove plugin",
    "Remove a plugin that is loaded",
    Argument("name", "Name of the plugin", missing="Specify a plugin to remove", values=_installed),
    modes=(Mode.CONFIG,),
    privileged=True,
)
def remove_plugin(call: Call) -> Answer:
    return _done(call.context.remove_plugin, call.arguments[0])


@COMMANDS.command("show plugins", "Show plugins, what they hook, and what they cost")
def show_plugins(call: Call) -> Answer:
    loaded, idle = call.context.plugins.loaded(), _idle(call.context)
    return Report(
        lambda: _lines(loaded, idle),
        lambda: {
            "loaded": [_data(plugin) for plugin in loaded],
            "installed": [
                {
                    "name": plugin.name,
                    "distribution": plugin.distribution,
                    "version": plugin.version,
                }
                for plugin in idle
            ],
        },
    )


def _done(act: Callable[[str], str], name: str) -> Answer:
    try:
        return Message([act(name)])
    except PluginError as error:
        raise CommandError(printable(str(error))) from None


def _idle(context: CommandContext) -> list[AvailablePlugin]:
    """What is installed, but not loaded."""
    names = {plugin.name for plugin in context.plugins.loaded()}
    return [plugin for plugin in context.plugins.available() if plugin.name not in names]


def _lines(loaded: list[LoadedPlugin], idle: list[AvailablePlugin]) -> Iterator[str]:
    yield HEADER
    for plugin in loaded:
        total = _total(list(_rows(plugin).values()))
        yield _line(plugin.name, plugin.version, plugin.distribution, total)
        for name, statistics in _rows(plugin).items():
            yield _line(f"  {name}", "", "", statistics)
    if not loaded:
        yield "No plugin is loaded"
    if idle:
        yield ""
        yield "Installed, not loaded:"
        for available_plugin in idle:
            yield (
                f"{available_plugin.name:<16} {available_plugin.version:<10} "
                f"{available_plugin.distribution}"
            )


def _line(name: str, version: str, distribution: str, statistics: HookStatistics) -> str:
    mean = statistics.seconds / statistics.calls if statistics.calls else 0.0
    label = f"{name:<16} {version:<10} {distribution:<32}" if version else f"{name:<60}"
    return (
        f"{label} {statistics.calls:>10} {statistics.seconds * 1e3:>10.1f} "
        f"{mean * 1e6:>8.1f} {statistics.slow:>5} {statistics.errors:>6}"
    )


def _rows(plugin: LoadedPlugin) -> Mapping[str, HookStatistics]:
    """What a plugin has done, by event, and beside the events."""
    rows = dict(plugin.statistics)
    if plugin.background is not None and plugin.background.calls:
        rows[BACKGROUND] = plugin.background
    return rows


def _total(rows: list[HookStatistics]) -> HookStatistics:
    return HookStatistics(
        calls=sum(row.calls for row in rows),
        errors=sum(row.errors for row in rows),
        seconds=sum(row.seconds for row in rows),
        slow=sum(row.slow for row in rows),
        slowest=max((row.slowest for row in rows), default=0.0),
    )


def _data(plugin: LoadedPlugin) -> dict[str, object]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "hooks": {
            name: {
                "calls": row.calls,
                "seconds": row.seconds,
                "errors": row.errors,
                "slow": row.slow,
                "slowest_s": row.slowest,
            }
            for name, row in _rows(plugin).items()
        },
    }
