"""The events: rates come from RADIUS when a subscriber logs in, and go back with the accounting."""

from typing import TYPE_CHECKING, Final

from l2tpns_core.plugins import (
    PLUGIN_API_VERSION,
    ParamRadiusAccount,
    ParamRadiusReset,
    ParamRadiusResponse,
    hookimpl,
)
from l2tpns_plugins_autothrottle.rates import KEEP, RateError, pairs_of, rates_of

if TYPE_CHECKING:
    from l2tpns_core.plugins import PluginApi
    from l2tpns_core.session import Session

NOTHING: Final = (0, 0)


class AutoThrottlePlugin:
    """Limits what a subscriber may send and receive."""

    api_version = PLUGIN_API_VERSION

    def __init__(self, api: "PluginApi") -> None:
        self._api = api

    def plugin_done(self) -> None:
        """Lift the limits that came from here."""
        for session in list(self._api.sessions()):
            self._lift(session)

    @hookimpl
    def radius_response(self, param: ParamRadiusResponse) -> None:
        """throttle=… and lcp:interface-config=service-policy …"""
        session = param.session
        try:
            speed = self._api.config("throttle_speed")
            rates = rates_of(param.key, param.value, speed if isinstance(speed, int) else 0)
        except RateError as error:
            self._api.log.warning("ignored: %s", error, extra=session.log_ids())
            return
        if rates is None:
            return
        self._api.throttle(session, *rates)
        ours = tuple(
            old if rate == KEEP else rate
            for rate, old in zip(rates, self._given(session), strict=True)
        )
        self._remember(session, ours)

    @hookimpl
    def radius_reset(self, param: ParamRadiusReset) -> None:
        self._lift(param.session)

    @hookimpl
    def radius_account(self, param: ParamRadiusAccount) -> None:
        """Tell the rates in force, whoever set them."""
        session = param.session
        for pair in pairs_of(session.throttle_in, session.throttle_out):
            param.packet.append(("Cisco-AVPair", pair))

    def _lift(self, session: "Session") -> None:
        """Remove the limits that came from here and that nobody has changed since."""
        given_in, given_out = self._given(session)
        self._remember(session, NOTHING)
        lifted_in = bool(given_in) and session.throttle_in == given_in
        lifted_out = bool(given_out) and session.throttle_out == given_out
        if lifted_in or lifted_out:
            self._api.throttle(session, 0 if lifted_in else KEEP, 0 if lifted_out else KEEP)

    def _given(self, session: "Session") -> tuple[int, ...]:
        """The rates in and out that came from here, 0 for none."""
        given = (session.plugin_data or {}).get(self._api.name, NOTHING)
        return given if isinstance(given, tuple) else NOTHING

    def _remember(self, session: "Session", rates: tuple[int, ...]) -> None:
        if any(rates):
            session.plugin_data = {**(session.plugin_data or {}), self._api.name: rates}
        elif session.plugin_data is not None:
            session.plugin_data.pop(self._api.name, None)
