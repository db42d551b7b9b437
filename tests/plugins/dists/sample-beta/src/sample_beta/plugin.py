"""Ends chains in every way there is."""

from typing import Any

from l2tpns_core.plugins import (
    PLUGIN_API_VERSION,
    PLUGIN_RET_ERROR,
    PLUGIN_RET_NOTMASTER,
    PLUGIN_RET_STOP,
    Hooks,
    ParamKillSession,
    ParamNewSession,
    ParamPreAuth,
    ParamTimer,
    PluginResult,
    hookimpl,
)


class Beta(Hooks):
    api_version = PLUGIN_API_VERSION

    def __init__(self, api: Any) -> None:
        self._api = api

    @hookimpl
    def timer(self, param: ParamTimer) -> None:
        self._api.note(f"beta timer {param.time_now}")

    @hookimpl
    def kill_session(self, param: ParamKillSession) -> PluginResult:
        self._api.note(f"beta kill_session {param.t}/{param.s}")
        return PLUGIN_RET_STOP

    @hookimpl
    def new_session(self, param: ParamNewSession) -> PluginResult:
        self._api.note(f"beta new_session {param.t}/{param.s}")
        return PLUGIN_RET_NOTMASTER

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> PluginResult:
        param.username = param.username.partition("@")[0]
        return PLUGIN_RET_ERROR
