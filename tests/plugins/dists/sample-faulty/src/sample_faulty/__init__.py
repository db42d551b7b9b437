"""Fails at everything that it tries."""

from typing import Any

from l2tpns_core.plugins import PLUGIN_API_VERSION, ParamPreAuth, ParamTimer, hookimpl


class Faulty:
    api_version = PLUGIN_API_VERSION

    def __init__(self, api: Any) -> None:
        self._sessions: dict[int, str] = {}

    def plugin_done(self) -> None:
        raise RuntimeError("cannot stop")

    @hookimpl
    def timer(self, param: ParamTimer) -> str:
        return self._sessions[param.time_now]

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> None:
        param.username = None  # type: ignore[assignment]
