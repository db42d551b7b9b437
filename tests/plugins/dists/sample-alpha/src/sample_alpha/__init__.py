"""Notes every event that it hears of."""

from typing import Any

from l2tpns_core.plugins import (
    PLUGIN_API_VERSION,
    PLUGIN_RET_OK,
    ParamKillSession,
    ParamTimer,
    PluginResult,
    hookimpl,
)


class Alpha:
    api_version = PLUGIN_API_VERSION

    def __init__(self, api: Any) -> None:
        self._api = api

    def plugin_init(self) -> None:
        self._api.note("alpha init")

    def plugin_done(self) -> None:
        self._api.note("alpha done")

    @hookimpl
    def timer(self, param: ParamTimer) -> PluginResult:
        self._api.note(f"alpha timer {param.time_now}")
        return PLUGIN_RET_OK

    @hookimpl
    def kill_session(self, param: ParamKillSession) -> None:
        self._api.note(f"alpha kill_session {param.t}/{param.s}")
