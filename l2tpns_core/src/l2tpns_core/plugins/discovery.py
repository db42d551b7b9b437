"""Finding plugins: entry points of the group `l2tpns.plugins`, each of which names a class.

Every way in which that can fail ends as a PluginError, one line that says what is wrong and what
to do about it.
"""

import difflib
import importlib
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, distributions
from typing import Final

from l2tpns_core.plugins.hookspecs import PLUGIN_API_VERSION
from l2tpns_core.plugins.watch import FAILURES

log = logging.getLogger("l2tpns.plugins")

GROUP: Final = "l2tpns.plugins"


class PluginError(Exception):
    """A plugin cannot be loaded or unloaded; the text is one line for the operator."""


@dataclass(slots=True, frozen=True)
class AvailablePlugin:
    """A plugin that is installed, loaded or not."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def __str__(self) -> str:
        return f'plugin "{self.name}" ({self.distribution} {self.version})'


def available() -> list[AvailablePlugin]:
    """What is installed now, by name; two distributions may offer the same name."""
    importlib.invalidate_caches()
    found: dict[tuple[str, str, str], AvailablePlugin] = {}
    seen: set[str] = set()
    for distribution in distributions():
        try:
            offered = [each for each in distribution.entry_points if each.group == GROUP]
            if not offered:  # as nearly all; the name would have to be read from another file
                continue
            name, version = distribution.name or "?", distribution.version or "?"
            if name in seen:  # the first on the path is the one that is imported
                continue
            seen.add(name)
            for each in offered:
                # an editable install may list the same entry point twice
                key = (each.name, each.value, name)
                found[key] = AvailablePlugin(each.name, name, version, each)
        except Exception as error:  # noqa: BLE001  (of any package, and not ours to mend)
            log.warning("an installed package cannot be looked at: %s", describe(error))
    return sorted(found.values(), key=lambda plugin: (plugin.name, plugin.distribution))


def find(name: str) -> AvailablePlugin:
    """The installed plugin of that name. Raises PluginError."""
    installed = available()
    candidates = [plugin for plugin in installed if plugin.name == name]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        owners = " and ".join(plugin.distribution for plugin in candidates)
        raise PluginError(f'plugin "{name}" is in {owners}: uninstall all but one of them')
    names = list(dict.fromkeys(plugin.name for plugin in installed))
    near = difflib.get_close_matches(name, names, 1)
    if near:
        raise PluginError(f'no plugin "{name}" is installed: did you mean "{near[0]}"?')
    listed = f"installed are {', '.join(names)}" if names else "no plugin is"
    raise PluginError(
        f'no plugin "{name}" is installed ({listed}): '
        "install its distribution with pip into the environment of l2tpns"
    )


def import_class(plugin: AvailablePlugin) -> type:
    """Import a plugin's class, and see that it fits. Raises PluginError."""
    try:
        loaded = plugin.entry_point.load()
    except FAILURES as error:
        raise PluginError(
            f"{plugin} cannot be imported: {describe(error)}; "
            f"install what is missing, or {plugin.distribution} again"
        ) from error
    if not inspect.isclass(loaded):
        raise PluginError(
            f"{plugin}: its entry point {plugin.entry_point.value} must name a class, "
            f"not a {type(loaded).__name__}"
        )
    check_version(str(plugin), plugin.distribution, loaded)
    return loaded


def instantiate(label: str, plugin_class: type, api: object) -> object:
    """Make an instance of a plugin's class with the api. Raises PluginError."""
    make: Callable[[object], object] = plugin_class
    try:
        return make(api)
    except FAILURES as error:
        raise PluginError(
            f"{label} cannot be started: {plugin_class.__name__}(api) raised {describe(error)}"
        ) from error


def describe(error: BaseException) -> str:
    """An exception in one line."""
    try:
        text = " ".join(str(error).split())
    except FAILURES:  # its __str__ is not ours either
        text = ""
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def check_version(label: str, distribution: str, plugin_class: type) -> None:
    """See that a plugin was written for this API. Raises PluginError."""
    version = getattr(plugin_class, "api_version", None)
    if version == PLUGIN_API_VERSION:
        return
    if not isinstance(version, int):
        raise PluginError(
            f"{label} does not say which plugin API it was written for: "
            f"its class needs `api_version = {PLUGIN_API_VERSION}`"
        )
    outdated = distribution if version < PLUGIN_API_VERSION else "l2tpns-core"
    raise PluginError(
        f"{label} was written for plugin API {version}, this is {PLUGIN_API_VERSION}: "
        f"upgrade {outdated} with pip"
    )
