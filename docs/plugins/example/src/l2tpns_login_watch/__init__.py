"""Notices users who log in too often.

A line that flaps, or a password that is being guessed, shows as many logins of one user in a
minute. This plugin counts them, says so in the log, and refuses further ones if it is told to.
"""

from collections import deque
from dataclasses import dataclass

from l2tpns_core.plugins import (
    PLUGIN_RET_STOP,
    ParamControl,
    ParamPreAuth,
    ParamRadiusResponse,
    ParamSettingsChanged,
    PluginApi,
    PluginResult,
    hookimpl,
)

WINDOW_S = 60.0
FORGET_S = 30.0
"""How often users are forgotten who have not logged in for WINDOW_S."""


@dataclass
class Settings:
    """The table [login_watch] of plugins.toml."""

    per_minute: int = 10
    """Logins of one user in a minute that are still all right."""
    refuse: bool = False
    """Whether further ones are refused, and not only reported."""

    def __post_init__(self) -> None:
        if self.per_minute < 1:
            raise ValueError(f"per_minute must be 1 or more, not {self.per_minute}")


class LoginWatch:
    """One instance of this class is made when the plugin is loaded."""

    api_version = 1
    Settings = Settings
    plugin_control_help = ("  login_watch USER                            Count logins of a user",)

    def __init__(self, api: PluginApi) -> None:
        self._api = api
        self._logins: dict[str, deque[float]] = {}
        """When each user logged in within the last minute, oldest first."""
        self._limits: dict[str, int] = {}
        """Limits that RADIUS gave."""

    def plugin_init(self) -> None:
        self._api.every(FORGET_S, self._forget)

    def plugin_done(self) -> None:
        self._api.log.info("%d users were being watched", len(self._logins))

    @hookimpl
    def pre_auth(self, param: ParamPreAuth) -> None:
        """A user wants to log in."""
        user, now = param.username, self._api.now()
        logins = self._recent(user, now)
        logins.append(now)
        limit = self._limits.get(user, self._api.settings.per_minute)
        if len(logins) <= limit:
            return
        self._api.log.warning(
            "%s has logged in %d times in a minute",
            user,
            len(logins),
            extra=param.session.log_ids(),
        )
        if self._api.settings.refuse:
            param.continue_auth = 0

    @hookimpl
    def radius_response(self, param: ParamRadiusResponse) -> None:
        """login_watch=NUMBER: a limit of the user's own."""
        if param.key == "login_watch" and param.value.isdecimal():
            self._limits[param.session.user] = int(param.value)

    @hookimpl
    def settings_changed(self, param: ParamSettingsChanged) -> None:
        """Nothing to do: the settings are looked at whenever they are needed."""

    @hookimpl
    def control(self, param: ParamControl) -> PluginResult | None:
        """nsctl login_watch USER"""
        if param.argv[:1] != ("login_watch",):
            return None
        words = param.argv[1:]
        lines = [f"{user}: {len(self._recent(user, self._api.now()))}" for user in words]
        param.response = "\n".join(lines or ["requires a user name"]).encode()
        return PLUGIN_RET_STOP

    def _recent(self, user: str, now: float) -> deque[float]:
        """When a user has logged in within the last minute."""
        logins = self._logins.setdefault(user, deque())
        while logins and logins[0] <= now - WINDOW_S:
            logins.popleft()
        return logins

    def _forget(self) -> None:
        """What is kept must not grow with every name that somebody makes up."""
        now = self._api.now()
        for user in [user for user in self._logins if not self._recent(user, now)]:
            del self._logins[user]
            self._limits.pop(user, None)
