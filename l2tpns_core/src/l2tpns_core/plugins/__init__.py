"""The plugin interface: what a plugin imports. docs/plugins/ describes every event.

from l2tpns_core.plugins import PLUGIN_API_VERSION, ParamPreAuth, PluginApi, hookimpl

class StripDomain:
    api_version = PLUGIN_API_VERSION

    def __init__(self, api: PluginApi) -> None:
        self.api = api

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> None:
        param.username = param.username.partition("@")[0]
"""

from l2tpns_core.plugins.api import KEEP_RATE, PluginApi
from l2tpns_core.plugins.events import (
    PLUGIN_RET_ERROR,
    PLUGIN_RET_NOTMASTER,
    PLUGIN_RET_OK,
    PLUGIN_RET_STOP,
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
from l2tpns_core.plugins.hookspecs import PLUGIN_API_VERSION, Hooks, hookimpl

__all__ = [
    "KEEP_RATE",
    "PLUGIN_API_VERSION",
    "PLUGIN_RET_ERROR",
    "PLUGIN_RET_NOTMASTER",
    "PLUGIN_RET_OK",
    "PLUGIN_RET_STOP",
    "Hooks",
    "ParamBecomeMaster",
    "ParamControl",
    "ParamKillSession",
    "ParamNewSession",
    "ParamNewSessionMaster",
    "ParamPacketRx",
    "ParamPacketTx",
    "ParamPostAuth",
    "ParamPreAuth",
    "ParamRadiusAccount",
    "ParamRadiusReset",
    "ParamRadiusResponse",
    "ParamSettingsChanged",
    "ParamTimer",
    "PluginApi",
    "PluginResult",
    "hookimpl",
]
