"""The events as pluggy hooks: a plugin implements those that it wants to hear of.

A hook takes one argument, `param`, and returns a PluginResult or None. It runs in the daemon's only
thread and must not block: while it runs, nothing else does.
"""

from typing import Final, get_type_hints

import pluggy

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

PROJECT: Final = "l2tpns"

PLUGIN_API_VERSION: Final = 1
"""Counts the changes that break plugins; a plugin states in `api_version` which it was written for.
A new event, or a new field of one, does not count."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a method of a plugin as its hook for the event of that name."""


class Hooks:
    """Every event. A plugin may derive from this class, so that mypy checks its signatures."""

    @hookspec
    def pre_auth(self, param: ParamPreAuth) -> PluginResult | None:
        """Before RADIUS is asked."""

    @hookspec
    def post_auth(self, param: ParamPostAuth) -> PluginResult | None:
        """After RADIUS has answered."""

    @hookspec
    def packet_rx(self, param: ParamPacketRx) -> PluginResult | None:
        """For each IP packet from a subscriber."""

    @hookspec
    def packet_tx(self, param: ParamPacketTx) -> PluginResult | None:
        """For each IP packet to a subscriber."""

    @hookspec
    def timer(self, param: ParamTimer) -> PluginResult | None:
        """Every second."""

    @hookspec
    def new_session(self, param: ParamNewSession) -> PluginResult | None:
        """When a session is set up."""

    @hookspec
    def kill_session(self, param: ParamKillSession) -> PluginResult | None:
        """When a session is about to end."""

    @hookspec
    def radius_response(self, param: ParamRadiusResponse) -> PluginResult | None:
        """For each pair of a Cisco-AVPair."""

    @hookspec
    def radius_reset(self, param: ParamRadiusReset) -> PluginResult | None:
        """Before RADIUS changes a session that is up."""

    @hookspec
    def radius_account(self, param: ParamRadiusAccount) -> PluginResult | None:
        """For each Accounting-Request about a session."""

    @hookspec
    def control(self, param: ParamControl) -> PluginResult | None:
        """For each request of nsctl."""

    @hookspec
    def become_master(self, param: ParamBecomeMaster) -> PluginResult | None:
        """When this node becomes the master of its cluster."""

    @hookspec
    def new_session_master(self, param: ParamNewSessionMaster) -> PluginResult | None:
        """For each session of a new master."""

    @hookspec
    def settings_changed(self, param: ParamSettingsChanged) -> PluginResult | None:
        """When plugins.toml has new settings for this plugin."""


def _param_classes() -> dict[str, type[Param]]:
    specs = {name: spec for name, spec in vars(Hooks).items() if not name.startswith("_")}
    return {name: get_type_hints(spec)["param"] for name, spec in specs.items()}


EVENTS: Final[dict[str, type[Param]]] = _param_classes()
"""Every event by name, with the class of its argument."""
