"""Joins plugins to a running LNS: what each is given, its settings, and what stays when it goes."""

import asyncio
import logging
import math
from pathlib import Path
from typing import Protocol

from l2tpns_core.lns import Lns
from l2tpns_core.plugins.api import PluginApi
from l2tpns_core.plugins.discovery import available
from l2tpns_core.plugins.manager import PluginManager
from l2tpns_core.plugins.scope import PluginScope
from l2tpns_core.plugins.settings import FILE_NAME, SettingsError, SettingsFile, SettingsTables

log = logging.getLogger("l2tpns.plugins")


class SettingsSource(Protocol):
    """Something like plugins.toml."""

    def read(self) -> SettingsTables:
        """What is in it now. Raises SettingsError."""


class PluginHost:
    """Makes the API objects of a manager's plugins. `directory` is that of the startup-config."""

    def __init__(
        self,
        lns: Lns,
        plugins: PluginManager,
        loop: asyncio.AbstractEventLoop,
        directory: Path,
        settings: SettingsSource | None = None,
    ) -> None:
        """`settings` is read in the place of the plugins.toml of the directory."""
        self._lns = lns
        self._plugins = plugins
        self._loop = loop
        self._directory = directory
        self._file = settings or SettingsFile(directory / FILE_NAME)
        plugins.make_api = self.make_api
        plugins.on_unload = lns.forget_plugin
        self.configure()

    def make_api(self, name: str, plugin_class: type) -> PluginApi:
        """What a plugin is instantiated with. Raises PluginError when its settings cannot be
        used; those of other plugins do not matter to it."""
        schema = getattr(plugin_class, "Settings", None)
        settings = self._file.read().of(name, schema) if schema is not None else None
        scope = PluginScope(name, self._loop, self._plugins.watch)
        return PluginApi(name, self._lns, scope, self._directory, settings)

    def configure(self) -> None:
        """Follow the directives."""
        limit = self._lns.config.plugin_slow_ms
        self._plugins.watch.slow_s = limit / 1000 if limit else math.inf

    def reload_settings(self) -> None:
        """Read plugins.toml again and give the plugins what is theirs."""
        try:
            tables = self._file.read()
        except SettingsError as error:
            log.error("%s; all plugins keep their settings", error)
            return
        self._plugins.take_settings(tables)
        self.report_unused(tables)

    def report_unused(self, tables: SettingsTables | None = None) -> None:
        """Tell of tables that no installed plugin will ever read."""
        try:
            tables = tables or self._file.read()
        except SettingsError as error:
            log.error("%s", error)
            return
        known = {plugin.name for plugin in available()}
        known.update(plugin.name for plugin in self._plugins.loaded())
        for name in tables.unused(known):
            log.warning("%s: [%s] is for no plugin that is installed", tables.path, name)
