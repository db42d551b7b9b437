"""Loads and unloads plugins, and runs an event through those that listen to it.

pluggy checks what a plugin implements against hookspecs.py. From what it found, a Chain is compiled
for each event in the order in which the plugins were loaded. A load or unload builds all chains
anew and swaps them in when they are known to be right, so that one that fails changes nothing.
"""

import difflib
import inspect
import logging
from collections.abc import Callable
from typing import Literal

import pluggy

from l2tpns_core.plugins import discovery
from l2tpns_core.plugins.api import PluginApi
from l2tpns_core.plugins.chain import Chain, LoadedPlugin, Step
from l2tpns_core.plugins.discovery import AvailablePlugin, PluginError, describe
from l2tpns_core.plugins.events import (
    Param,
    ParamBecomeMaster,
    ParamControl,
    ParamKillSession,
    ParamNewSession,
    ParamNewSessionMaster,
    ParamPacketRx,
    ParamPacketTx,
    ParamPostAuth,
    ParamPreAuth,
    ParamRadiusAccount,
    ParamRadiusReset,
    ParamRadiusResponse,
    ParamSettingsChanged,
    ParamTimer,
    PluginResult,
)
from l2tpns_core.plugins.hookspecs import EVENTS, PROJECT, Hooks
from l2tpns_core.plugins.settings import SettingsTables
from l2tpns_core.plugins.watch import FAILURES, HookStatistics, Watch

log = logging.getLogger("l2tpns.plugins")

EventName = Literal[
    "pre_auth",
    "post_auth",
    "packet_rx",
    "packet_tx",
    "timer",
    "new_session",
    "kill_session",
    "radius_response",
    "radius_reset",
    "radius_account",
    "control",
    "become_master",
    "new_session_master",
    "settings_changed",
]

LIFECYCLE = ("plugin_init", "plugin_done")
"""Methods that a plugin may have beside its hooks: run once after loading, once after unloading."""


MakeApi = Callable[[str, type], PluginApi]
"""(name of a plugin, its class) -> what it is instantiated with. Raises PluginError."""


class PluginManager:
    """The plugins of one daemon. `make_api` may also be set before the first one is loaded."""

    def __init__(self, make_api: MakeApi | None = None) -> None:
        self.make_api = make_api
        self.watch = Watch()
        self.on_change: Callable[[], None] | None = None
        """Called after each load and unload: who listens to what may be different now."""
        self.on_unload: Callable[[str], None] | None = None
        """Told the name of a plugin that is gone."""
        self._plugins: dict[str, LoadedPlugin] = {}
        self._chains: dict[str, Chain] = {}

    # Loading and unloading

    def load(self, name: str) -> LoadedPlugin:
        """Load an installed plugin behind those that are loaded. Raises PluginError, with nothing
        changed."""
        self._refuse_twice(name)
        found = discovery.find(name)
        plugin = self._instantiate(name, str(found), discovery.import_class(found))
        plugin.distribution, plugin.version = found.distribution, found.version
        return self._add(plugin)

    def register(self, name: str, plugin: object) -> LoadedPlugin:
        """Load a plugin that is no distribution but a class at hand, or an object that needs no
        api. Raises PluginError."""
        self._refuse_twice(name)
        if not isinstance(plugin, type):
            return self._add(LoadedPlugin(name, plugin))
        label = f'plugin "{name}"'
        discovery.check_version(label, name, plugin)
        return self._add(self._instantiate(name, label, plugin))

    def unload(self, name: str) -> None:
        """Take a plugin out of every chain, run its plugin_done(), end what it has running. Raises
        PluginError when no such plugin is loaded; a plugin_done() that fails is only logged."""
        plugin = self._plugins.get(name)
        if plugin is None:
            listed = ", ".join(self._plugins) or "none"
            raise PluginError(f'plugin "{name}" is not loaded (loaded: {listed})')
        self._swap({key: value for key, value in self._plugins.items() if key != name})
        plugin.is_loaded = False
        _done(plugin)
        self._end(plugin)
        log.warning("plugin %s unloaded", name)

    def close(self) -> None:
        """Unload every plugin, the last loaded first."""
        for name in reversed(list(self._plugins)):
            if name in self._plugins:  # a plugin_done() may unload others
                self.unload(name)

    def take_settings(self, tables: SettingsTables) -> None:
        """Give each plugin the settings that it has in a file that was read again, and tell those
        for whom they are others. What cannot be used is logged and changes nothing."""
        for plugin in list(self._plugins.values()):
            if plugin.api is None or not plugin.is_loaded:
                continue
            schema = getattr(type(plugin.instance), "Settings", None)
            try:
                settings = tables.of(plugin.name, schema)
            except PluginError as error:
                log.error("%s; plugin %s keeps its settings", error, plugin.name)
                continue
            if settings != plugin.api.settings:
                self._tell_settings(plugin, plugin.api, settings)

    # What is there

    def loaded(self) -> list[LoadedPlugin]:
        """The plugins in load order, with their statistics."""
        return list(self._plugins.values())

    def available(self) -> list[AvailablePlugin]:
        """The plugins that are installed, loaded or not, by name."""
        return discovery.available()

    def listens(self, event: EventName) -> bool:
        """Whether any plugin listens to an event; ask before building a param for nothing."""
        return event in self._chains

    # The events

    def pre_auth(self, param: ParamPreAuth) -> PluginResult:
        return self._run("pre_auth", param)

    def post_auth(self, param: ParamPostAuth) -> PluginResult:
        return self._run("post_auth", param)

    def packet_rx(self, param: ParamPacketRx) -> PluginResult:
        return self._run("packet_rx", param)

    def packet_tx(self, param: ParamPacketTx) -> PluginResult:
        return self._run("packet_tx", param)

    def timer(self, param: ParamTimer) -> PluginResult:
        return self._run("timer", param)

    def new_session(self, param: ParamNewSession) -> PluginResult:
        return self._run("new_session", param)

    def kill_session(self, param: ParamKillSession) -> PluginResult:
        return self._run("kill_session", param)

    def radius_response(self, param: ParamRadiusResponse) -> PluginResult:
        return self._run("radius_response", param)

    def radius_reset(self, param: ParamRadiusReset) -> PluginResult:
        return self._run("radius_reset", param)

    def radius_account(self, param: ParamRadiusAccount) -> PluginResult:
        return self._run("radius_account", param)

    def control(self, param: ParamControl) -> PluginResult:
        return self._run("control", param)

    def become_master(self, param: ParamBecomeMaster) -> PluginResult:
        return self._run("become_master", param)

    def new_session_master(self, param: ParamNewSessionMaster) -> PluginResult:
        return self._run("new_session_master", param)

    def _tell_settings(self, plugin: LoadedPlugin, api: PluginApi, settings: object) -> None:
        chain = self._chains.get("settings_changed")
        own = chain.of(plugin) if chain is not None else None
        previous, api.settings = api.settings, settings
        if own is None:
            log.warning(
                "plugin %s has other settings now: if they do not show, load it anew", plugin.name
            )
            return
        statistics = plugin.statistics["settings_changed"]
        errors = statistics.errors
        succeeded = own.run(ParamSettingsChanged(settings, previous)).succeeded
        if succeeded and statistics.errors == errors:
            log.warning("plugin %s has taken its new settings", plugin.name)
            return
        api.settings = previous
        log.error("plugin %s refused its new settings and keeps the old ones", plugin.name)

    def _instantiate(self, name: str, label: str, plugin_class: type) -> LoadedPlugin:
        if self.make_api is None:
            raise PluginError(f"{label} cannot be started here: there is no LNS for it")
        api = self.make_api(name, plugin_class)
        try:
            return LoadedPlugin(name, discovery.instantiate(label, plugin_class, api), api=api)
        except PluginError:
            api.scope.close()
            raise

    def _end(self, plugin: LoadedPlugin) -> None:
        """End what a plugin has running, once it is in no chain any more."""
        if plugin.api is not None:
            plugin.api.scope.close()
        if self.on_unload is not None and plugin.name not in self._plugins:
            self.on_unload(plugin.name)

    def _run(self, event: EventName, param: Param) -> PluginResult:
        chain = self._chains.get(event)
        return PluginResult.OK if chain is None else chain.run(param)

    def _refuse_twice(self, name: str) -> None:
        if name in self._plugins:
            raise PluginError(f'plugin "{name}" is loaded already: remove it first to start anew')

    def _add(self, plugin: LoadedPlugin) -> LoadedPlugin:
        is_up = False
        try:
            _check_methods(plugin)
            _compile({**self._plugins, plugin.name: plugin}, self.watch)
            _init(plugin)
            is_up = True
            self._refuse_twice(plugin.name)  # its plugin_init() may load plugins too
            self._swap({**self._plugins, plugin.name: plugin})
        except PluginError:
            if is_up:
                _done(plugin)
            self._end(plugin)
            raise
        log.warning("plugin %s loaded", " ".join(filter(None, (plugin.name, plugin.version))))
        return plugin

    def _swap(self, plugins: dict[str, LoadedPlugin]) -> None:
        self._chains = _compile(plugins, self.watch)  # raises before anything has changed
        self._plugins = plugins
        if self.on_change is not None:
            self.on_change()


def _check_methods(plugin: LoadedPlugin) -> None:
    """Find the mistakes that pluggy does not see: a hook without its mark, and coroutines."""
    for name in (*EVENTS, *LIFECYCLE):
        method = getattr(type(plugin.instance), name, None)
        if method is None or method is getattr(Hooks, name, None):
            continue
        if name in EVENTS and not hasattr(method, f"{PROJECT}_impl"):
            raise PluginError(
                f'plugin "{plugin.name}": {name} would never be called, mark it with @hookimpl'
            )
        if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
            raise PluginError(f'plugin "{plugin.name}": {name} must be a plain function')


def _compile(plugins: dict[str, LoadedPlugin], watch: Watch) -> dict[str, Chain]:
    """The chains of the events that have listeners. Raises PluginError."""
    registry = pluggy.PluginManager(PROJECT)
    registry.add_hookspecs(Hooks)
    for plugin in plugins.values():
        try:
            registry.register(plugin.instance, plugin.name)
        except FAILURES as error:
            raise PluginError(
                f'plugin "{plugin.name}" is refused: {describe(error)}; '
                "a hook takes one argument, param"
            ) from error
        _check_names(registry, plugin)
    order = {name: place for place, name in enumerate(plugins)}
    chains = {}
    for event, param_class in EVENTS.items():
        impls = getattr(registry.hook, event).get_hookimpls()
        # pluggy promises no order of what it lists
        impls.sort(key=lambda impl: order[impl.plugin_name])
        if impls:
            steps = [_step(event, impl, plugins[impl.plugin_name]) for impl in impls]
            chains[event] = Chain(event, param_class, steps, watch)
    return chains


def _check_names(registry: pluggy.PluginManager, plugin: LoadedPlugin) -> None:
    """Refuse hooks for events that do not exist, unless they are marked optional."""
    for caller in registry.get_hookcallers(plugin.instance) or ():
        if caller.has_spec() or all(impl.optionalhook for impl in caller.get_hookimpls()):
            continue
        near = difflib.get_close_matches(caller.name, EVENTS, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"events are {', '.join(EVENTS)}"
        raise PluginError(f'plugin "{plugin.name}": there is no event "{caller.name}", {hint}')


def _step(event: str, impl: pluggy.HookImpl, plugin: LoadedPlugin) -> Step:
    function = impl.function
    if impl.wrapper or impl.hookwrapper or impl.tryfirst or impl.trylast:
        raise PluginError(
            f'plugin "{plugin.name}": {event} must not be a wrapper, tryfirst or trylast: '
            "plugins run in the order in which they are loaded"
        )
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise PluginError(f'plugin "{plugin.name}": {event} must be a plain function')
    statistics = plugin.statistics.setdefault(event, HookStatistics())
    if "param" in (*impl.argnames, *impl.kwargnames):
        return Step(plugin, function, statistics)
    return Step(plugin, lambda param: function(), statistics)


def _init(plugin: LoadedPlugin) -> None:
    try:
        result = _run_lifecycle(plugin, "plugin_init")
    except FAILURES as error:
        raise PluginError(
            f'plugin "{plugin.name}" cannot start: plugin_init raised {describe(error)}'
        ) from error
    if isinstance(result, int) and result == PluginResult.ERROR:
        raise PluginError(
            f'plugin "{plugin.name}" refused to start: what it logged before this says why'
        )


def _done(plugin: LoadedPlugin) -> None:
    try:
        _run_lifecycle(plugin, "plugin_done")
    except FAILURES:  # border: not our code
        log.exception("plugin %s failed in plugin_done", plugin.name)


def _run_lifecycle(plugin: LoadedPlugin, name: str) -> object:
    method = getattr(plugin.instance, name, None)
    return None if method is None else method()
