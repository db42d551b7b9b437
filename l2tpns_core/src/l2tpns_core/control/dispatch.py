"""What a control request does: the plugins are asked first, then the commands of the core."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from l2tpns_core.control import commands, wire
from l2tpns_core.control.wire import Kind, Outcome, Reply, Request
from l2tpns_core.observe.text import printable, token
from l2tpns_core.plugins.discovery import PluginError
from l2tpns_core.plugins.events import ParamControl, PluginResult
from l2tpns_core.plugins.manager import PluginManager

log = logging.getLogger("l2tpns.control")

DONE: Final = Reply(Outcome.OK)
MAX_LOGGED_CHARACTERS: Final = 200

Source = tuple[str, int]
"""Address and UDP port that a request came from."""


@dataclass(slots=True)
class Cluster:
    """Where this node stands in its cluster; a node of its own is the master."""

    is_master: Callable[[], bool] = lambda: True
    master_address: Callable[[], str] = lambda: ""
    """Address of the master; "" when none is elected."""


class Dispatcher:
    """Turns requests into replies."""

    def __init__(
        self, lns: commands.ControlLns, plugins: PluginManager, cluster: Cluster | None = None
    ) -> None:
        self._lns = lns
        self._plugins = plugins
        self._cluster = cluster or Cluster()

    def answer(self, request: Request, packet: bytes, source: Source) -> Reply:
        """Do what `request` asks for. `packet` is what it was decoded from."""
        if request.kind is Kind.HELP:
            return self._help()
        if request.kind is Kind.CONTROL:
            return self._control(request, packet, source)
        if len(request.argv) != 1:
            return Reply.error("name of plugin required")
        _log(request, source)
        if request.kind is Kind.LOAD:
            return self._load(request.argv[0])
        return self._unload(request.argv[0])

    def _load(self, name: str) -> Reply:
        if self._is_loaded(name):
            return Reply.error("plugin already loaded")
        try:
            self._plugins.load(name)
        except PluginError as error:
            log.error("%s", printable(str(error)))
            return Reply.error("error loading plugin")
        return DONE

    def _unload(self, name: str) -> Reply:
        if not self._is_loaded(name):
            is_installed = any(plugin.name == name for plugin in self._plugins.available())
            return Reply.error("plugin not loaded" if is_installed else "plugin not found")
        self._plugins.unload(name)
        return DONE

    def _is_loaded(self, name: str) -> bool:
        return any(plugin.name == name for plugin in self._plugins.loaded())

    def _help(self) -> Reply:
        lines = [command.help_line() for command in commands.COMMANDS.values()]
        for plugin in self._plugins.loaded():
            offered = getattr(plugin.instance, "plugin_control_help", ())
            if isinstance(offered, Iterable) and not isinstance(offered, str | bytes):
                lines += [printable(line) for line in offered if isinstance(line, str)]
        return Reply(Outcome.OK, tuple(lines))

    def _control(self, request: Request, packet: bytes, source: Source) -> Reply:
        param = ParamControl(
            buf=packet,
            l=len(packet),
            source_ip=source[0],
            source_port=source[1],
            type=request.type,
            id=request.id,
            data=request.data,
            data_length=len(request.data),
            argc=len(request.argv),
            argv=request.argv,
            iam_master=int(self._cluster.is_master()),
        )
        result = self._plugins.control(param)
        if result is PluginResult.NOTMASTER:
            return self._ask_the_master()
        if result is PluginResult.ERROR:
            return _reply_of(param, Outcome.ERROR, ("error returned by plugin",))
        if result is PluginResult.STOP or param.send_response:
            _log(request, source)
            return _reply_of(param, Outcome.OK, ())
        return self._own_command(request, source)

    def _own_command(self, request: Request, source: Source) -> Reply:
        command = commands.COMMANDS.get(request.argv[0]) if request.argv else None
        if command is None:
            return Reply.error("unhandled action")
        if not self._cluster.is_master():
            return self._ask_the_master()
        _log(request, source)
        try:
            commands.execute(self._lns, request.argv)
        except commands.CommandError as error:
            return Reply.error(str(error))
        return DONE

    def _ask_the_master(self) -> Reply:
        address = self._cluster.master_address() or "none elected"
        return Reply.error(f"must be run on master: {address}")


def _reply_of(param: ParamControl, outcome: Outcome, default: tuple[str, ...]) -> Reply:
    """The answer that a plugin left behind, a line of it for each argument."""
    length = param.response_length or len(param.response)
    if not 0 <= length <= len(param.response):
        return Reply.error("unrecognised response value from plugin")
    text = param.response[:length].decode(errors="surrogateescape").rstrip("\0\n")
    lines = tuple(text.split("\n")) if text else default
    if not wire.fits(lines):
        return Reply.error("unrecognised response value from plugin")
    return Reply(outcome, lines)


def _log(request: Request, source: Source) -> None:
    command = commands.COMMANDS.get(request.argv[0]) if request.argv else None
    if command is not None and command.is_secret:
        return
    words = " ".join(token(word) for word in (*_KIND_WORDS[request.kind], *request.argv))
    log.info("nsctl from %s: %s", source[0], words[:MAX_LOGGED_CHARACTERS])


_KIND_WORDS: Final = {
    Kind.LOAD: ("load_plugin",),
    Kind.UNLOAD: ("unload_plugin",),
    Kind.HELP: ("help",),
    Kind.CONTROL: (),
}
