"""Plugins of which none can be loaded, each for a reason of its own."""

from typing import Any

from l2tpns_core.plugins import PLUGIN_API_VERSION, PLUGIN_RET_ERROR, PluginResult, hookimpl


class _Plugin:
    api_version = PLUGIN_API_VERSION

    def __init__(self, api: Any) -> None:
        self._api = api


class Misspelt(_Plugin):
    @hookimpl
    def post_aut(self, param: object) -> None:
        """There is no event of this name."""


class Renamed(_Plugin):
    @hookimpl
    def post_auth(self, data: object) -> None:
        """A hook's argument is called param."""


class Unwilling(_Plugin):
    def plugin_init(self) -> PluginResult:
        self._api.note("unwilling init")
        return PLUGIN_RET_ERROR

    def plugin_done(self) -> None:
        self._api.note("unwilling done")


class Ancient(_Plugin):
    api_version = PLUGIN_API_VERSION - 1


class Futuristic(_Plugin):
    api_version = PLUGIN_API_VERSION + 1


class Undated:
    def __init__(self, api: Any) -> None:
        """Does not say which version of the interface it needs."""


class Argless:
    api_version = PLUGIN_API_VERSION


def function(api: Any) -> None:
    """A plugin is a class."""
